/* lua/foreign.c - core.foreign: what a checkpoint holds, as buffers and blocks
 * (quant/foreign.h).
 *
 * decode(dtype, bytes, rows, cols) makes a buffer; mxfp4(packed, scales) and
 * nvfp4(packed, scales) make the bytes of such blocks; scale(buffer, scales,
 * block_rows, block_cols, scale_cols, first_row) multiplies a buffer's values
 * by the scale of their block, as FP8 checkpoints have them. */
#include <string.h>

#include "base/limits.h"
#include "lua/buffer.h"
#include "lua/lib.h"
#include "quant/foreign.h"

static int foreign_decode(lua_State *L) {
  static const char *const names[] = {"f8_e4m3", "f8_e5m2", "f64",
                                      "i32",     "u8",      NULL};
  wn_foreign type = (wn_foreign)luaL_checkoption(L, 1, NULL, names);
  size_t n;
  const char *bytes = luaL_checklstring(L, 2, &n);
  size_t rows = (size_t)wn_check_int(L, 3, 0, WN_MAX_ELEMENTS);
  size_t cols = (size_t)wn_check_int(L, 4, 1, WN_MAX_ELEMENTS);
  size_t size = wn_foreign_bytes(type);
  luaL_argcheck(
      L, n % size == 0 && n / size / cols == rows && n / size % cols == 0, 2,
      "want as many bytes as rows times cols values have");
  wn_err e = {0};
  wn_buffer *out = wn_buffer_push(L, rows, cols, &e);
  if (out == NULL) return wn_push_error(L, &e);
  wn_foreign_decode(type, (const uint8_t *)bytes, out->data, rows * cols);
  return 1;
}

static int foreign_mxfp4(lua_State *L) {
  size_t n, n_scales;
  const char *packed = luaL_checklstring(L, 1, &n);
  const char *scales = luaL_checklstring(L, 2, &n_scales);
  luaL_argcheck(L, n % 16 == 0 && n / 16 == n_scales, 2,
                "want one scale for 16 packed bytes");
  uint8_t *dst = lua_newuserdata(L, n_scales * 17 + 1);
  wn_repack_mxfp4((const uint8_t *)packed, (const uint8_t *)scales, dst,
                  n_scales);
  lua_pushlstring(L, (const char *)dst, n_scales * 17);
  return 1;
}

static int foreign_nvfp4(lua_State *L) {
  size_t n, n_scales;
  const char *packed = luaL_checklstring(L, 1, &n);
  const char *scales = luaL_checklstring(L, 2, &n_scales);
  luaL_argcheck(L, n % 32 == 0 && n / 8 == n_scales, 2,
                "want one scale for 8 packed bytes, in fours");
  size_t blocks = n / 32;
  uint8_t *dst = lua_newuserdata(L, blocks * 36 + 1);
  wn_repack_nvfp4((const uint8_t *)packed, (const uint8_t *)scales, dst,
                  blocks);
  lua_pushlstring(L, (const char *)dst, blocks * 36);
  return 1;
}

/* Row r of the buffer is row first + r of a matrix whose scales stand in rows
 * of n_cols, one for block_rows x block_cols values. */
static int foreign_scale(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  const wn_buffer *s = wn_buffer_check(L, 2);
  size_t block_rows = (size_t)wn_check_int(L, 3, 1, WN_MAX_ELEMENTS);
  size_t block_cols = (size_t)wn_check_int(L, 4, 1, WN_MAX_ELEMENTS);
  size_t n_cols = (size_t)wn_check_int(L, 5, 1, WN_MAX_ELEMENTS);
  size_t first = (size_t)wn_check_int(L, 6, 0, WN_MAX_ELEMENTS);
  size_t n = s->rows * s->cols;
  luaL_argcheck(
      L,
      b->rows == 0 || ((first + b->rows - 1) / block_rows + 1 <= n / n_cols &&
                       (b->cols - 1) / block_cols < n_cols),
      2, "too few scales for the matrix");
  for (size_t r = 0; r < b->rows; r++)
    for (size_t c = 0; c < b->cols; c++)
      b->data[r * b->cols + c] *=
          s->data[(first + r) / block_rows * n_cols + c / block_cols];
  return 0;
}

int wn_open_foreign(lua_State *L) {
  static const luaL_Reg funcs[] = {{"decode", foreign_decode},
                                   {"mxfp4", foreign_mxfp4},
                                   {"nvfp4", foreign_nvfp4},
                                   {"scale", foreign_scale},
                                   {NULL, NULL}};
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
