/* quant.c - core.quant: formats, encoding, reading. Decoding runs in the
 * calling thread, and so does encoding unless more threads are asked for. */
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "lua/blocks.h"
#include "lua/buffer.h"
#include "lua/gguf.h"
#include "lua/lib.h"
#include "quant/quant.h"

/* -- arguments ------------------------------------------------------------ */

/* A type name (any case) or id with a known row in types.def. */
static int check_type(lua_State *L, int arg) {
  if (lua_type(L, arg) == LUA_TNUMBER) {
    int64_t id = wn_check_int(L, arg, 0, WN_N_TYPE_IDS - 1);
    luaL_argcheck(L, wn_type(id) != NULL, arg, "no type has this id");
    return (int)id;
  }
  const char *name = luaL_checkstring(L, arg);
  int type = wn_type_of_name(name);
  if (type < 0) {
    char shown[64];
    wn_printable(shown, sizeof shown, name, strlen(name));
    luaL_error(L, "wane: unknown type '%s'", shown);
  }
  return type;
}

/* -- functions ------------------------------------------------------------ */

static void push_type(lua_State *L, int id) {
  static const char *const classes[] = {"none", "plain", "quant", "act"};
  const wn_type_info *t = wn_type(id);
  const wn_format *f = wn_format_of(id);
  lua_createtable(L, 0, 8);
  wn_set_int(L, "id", id);
  wn_set_str(L, "name", t->name);
  wn_set_int(L, "block", t->block);
  wn_set_int(L, "bytes", t->bytes);
  wn_set_str(L, "class", classes[t->class]);
  wn_set_bool(L, "needs_importance", f != NULL && f->needs_importance);
  wn_set_bool(L, "uses_importance", f != NULL && f->uses_importance);
  wn_set_bool(L, "encodable", f != NULL && f->encode != NULL);
}

/* core.quant.types() -> list of { id, name, block, bytes, class,
 * needs_importance, uses_importance, encodable }, by id */
static int quant_types(lua_State *L) {
  int n = 0;
  lua_newtable(L);
  for (int id = 0; id < WN_N_TYPE_IDS; id++) {
    if (wn_type(id) == NULL) continue;
    push_type(L, id);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* Replaces the buffer at stack index 2 by a copy without NaN and infinity;
 * 0, or the results of an error. */
static int clean_copy(lua_State *L) {
  wn_err e;
  wn_buffer *b = wn_buffer_check(L, 2);
  wn_buffer *clean = wn_buffer_push(L, b->rows, b->cols, &e);
  if (clean == NULL) return wn_push_error(L, &e);
  b = wn_buffer_check(L, 2); /* a finalizer may have closed it */
  memcpy(clean->data, b->data, b->rows * b->cols * sizeof *b->data);
  wn_zero_nonfinite(clean->data, b->rows * b->cols);
  lua_replace(L, 2);
  return 0;
}

/* core.quant.encode(type, buffer [, importance [, nonfinite [, threads]]])
 * -> blocks; nonfinite: "error" (default), or "zero": such values count as 0.
 * With threads > 1 the blocks keep the pool alive. */
static int quant_encode(lua_State *L) {
  static const char *const policies[] = {"error", "zero", NULL};
  wn_err e;
  int type = check_type(L, 1);
  wn_buffer *b = wn_buffer_check(L, 2);
  int policy = luaL_checkoption(L, 4, "error", policies);
  int threads = 1;
  if (!lua_isnoneornil(L, 5))
    threads = (int)wn_check_int(L, 5, 1, WN_MAX_THREADS);
  lua_settop(L, 3);
  wn_settle_importance(L, 3, b->cols);
  if (policy == 1 && clean_copy(L) != 0) return 3;
  wn_handle *h = wn_handle_new(L, &wn_blocks_class);
  b = wn_buffer_check(L, 2); /* no Lua allocation from here on */
  const float *importance = wn_importance_at(L, 3);
  wn_blocks *q = wn_blocks_new(type, b->rows, b->cols, &e);
  if (q == NULL) return wn_push_error(L, &e);
  h->obj = q;
  q->pooled = threads > 1;
  if (q->pooled) wn_pool_enter();
  int rc = wn_encode_rows(type, b->data, q->data, q->rows, q->cols, importance,
                          threads, &e);
  if (rc == WN_OK) return 1;
  h->obj = NULL;
  wn_blocks_unref(q);
  return wn_push_error(L, &e);
}

/* core.quant.blocks(type, bytes, rows, cols) -> blocks with these bytes */
static int quant_blocks(lua_State *L) {
  wn_err e;
  size_t n;
  int type = check_type(L, 1);
  const char *bytes = luaL_checklstring(L, 2, &n);
  size_t rows = (size_t)wn_check_int(L, 3, 0, WN_MAX_ELEMENTS);
  size_t cols = (size_t)wn_check_int(L, 4, 1, WN_MAX_ELEMENTS);
  uint64_t row_bytes, want;
  if (wn_row_bytes(type, cols, &row_bytes, &e) != WN_OK)
    return wn_push_error(L, &e);
  if (!wn_mul(rows, row_bytes, &want)) want = UINT64_MAX;
  if (want != n) { /* before any memory is taken */
    char message[80];
    snprintf(message, sizeof message,
             "the string has %zu bytes, want %llu (%zu rows of %llu)", n,
             (unsigned long long)want, rows, (unsigned long long)row_bytes);
    return luaL_error(L, "wane: %s", message);
  }
  wn_handle *h = wn_handle_new(L, &wn_blocks_class);
  wn_blocks *q = wn_blocks_new(type, rows, cols, &e);
  if (q == NULL) return wn_push_error(L, &e);
  h->obj = q;
  memcpy(q->data, bytes, n);
  return 1;
}

/* core.quant.distance(a, b [, importance]) -> error table of b against a */
static int quant_distance(lua_State *L) {
  wn_buffer *a = wn_buffer_check(L, 1), *b = wn_buffer_check(L, 2);
  wn_check_shape(L, 2, b, a->rows, a->cols);
  lua_settop(L, 3);
  wn_settle_importance(L, 3, a->cols);
  a = wn_buffer_check(L, 1), b = wn_buffer_check(L, 2);
  return wn_push_distance(L, a->data, b->data, a->rows * a->cols, a->cols,
                          wn_importance_at(L, 3));
}

/* Decodes rows [first, first + n) of t into dst, through a scratch of a few
 * megabytes (at least one row). */
static int read_rows(const wn_gguf *g, const wn_tensor *t, uint64_t first,
                     uint64_t n, float *dst, wn_err *e) {
  enum { CHUNK = 4 << 20 };
  uint64_t step = t->row_bytes < CHUNK ? CHUNK / t->row_bytes : 1;
  if (step > n) step = n;
  void *raw = wn_alloc(WN_MEM_QUANT, (size_t)(step * t->row_bytes));
  int rc = WN_OK;
  if (raw == NULL) rc = wn_fail(e, WN_ENOMEM, "no memory to read rows");
  for (uint64_t r = 0; rc == WN_OK && r < n; r += step) {
    if (step > n - r) step = n - r;
    rc = wn_gguf_read(g, t, (first + r) * t->row_bytes, raw,
                      (size_t)(step * t->row_bytes), e);
    if (rc == WN_OK)
      rc = wn_decode_rows(t->type, raw, dst + r * t->ne[0], (size_t)step,
                          (size_t)t->ne[0], e);
  }
  wn_free(raw);
  return rc;
}

/* core.quant.read(g, i [, first [, last]]) -> buffer: rows first..last (all
 * by default) of tensor i, as float32 */
static int quant_read(lua_State *L) {
  lua_settop(L, 4);
  wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  size_t i = (size_t)wn_check_int(L, 2, 1, (int64_t)wn_gguf_n_tensors(g)) - 1;
  const wn_tensor *t = wn_gguf_tensor(g, i);
  int64_t first = 1, last = (int64_t)t->n_rows;
  wn_err e;
  if (!lua_isnoneornil(L, 3)) {
    first = last = wn_check_int(L, 3, 1, (int64_t)t->n_rows);
    if (!lua_isnoneornil(L, 4))
      last = wn_check_int(L, 4, first, (int64_t)t->n_rows);
  }
  uint64_t n = (uint64_t)(last - first + 1);
  wn_buffer *b = wn_buffer_push(L, (size_t)n, (size_t)t->ne[0], &e);
  int rc = b == NULL ? e.code : wn_gguf_whole(g, &e);
  if (rc == WN_OK) rc = read_rows(g, t, (uint64_t)first - 1, n, b->data, &e);
  return rc == WN_OK ? 1 : wn_push_error(L, &e);
}

static const luaL_Reg functions[] = {{"types", quant_types},
                                     {"buffer", wn_buffer_make},
                                     {"encode", quant_encode},
                                     {"blocks", quant_blocks},
                                     {"distance", quant_distance},
                                     {"read", quant_read},
                                     {NULL, NULL}};

int wn_open_quant(lua_State *L) {
  wn_buffer_register(L);
  wn_class_register(L, &wn_blocks_class);
  lua_newtable(L);
  wn_setfuncs(L, functions);
  wn_buffer_push_methods(L); /* Lua adds methods of its own */
  lua_setfield(L, -2, "buffer_methods");
  return 1;
}
