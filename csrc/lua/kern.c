/* kern.c - core.kern: the matrix multiply by itself, for specs and benches.
 * The library's own work reaches the kernels through contexts. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "kern/timing.h"
#include "kern/vec.h"
#include "lua/buffer.h"
#include "lua/lib.h"

/* ---- arguments --------------------------------------------------------- */

static const wn_mm_tier *check_tier(lua_State *L, int arg) {
  const char *name = luaL_checkstring(L, arg);
  const wn_mm_tier *t;
  for (size_t i = 0; (t = wn_mm_tier_at(i)) != NULL; i++)
    if (strcmp(t->name, name) == 0) return t;
  luaL_argerror(L, arg, "this machine has no such tier");
  return NULL;
}

/* A type that the tier multiplies. */
static int check_type(lua_State *L, int arg, const wn_mm_tier *t) {
  int type = wn_type_of_name(luaL_checkstring(L, arg));
  luaL_argcheck(L, type >= 0 && t->op[type].run != NULL, arg,
                "want a type that can be multiplied");
  return type;
}

/* Bytes of a row of k values. */
static size_t row_bytes(lua_State *L, int arg, int type, size_t k) {
  uint64_t bytes;
  luaL_argcheck(L, wn_row_bytes(type, k, &bytes, NULL) == WN_OK, arg,
                "rows are no multiple of the type's block");
  return (size_t)bytes;
}

/* A range first..last (1-based, both within) from two optional arguments. */
static void opt_range(lua_State *L, int arg, size_t n, size_t *from,
                      size_t *to) {
  *from = 0, *to = n;
  if (lua_isnoneornil(L, arg)) return;
  *from = (size_t)wn_check_int(L, arg, 1, (int64_t)n) - 1;
  *to = (size_t)wn_check_int(L, arg + 1, (int64_t)*from + 1, (int64_t)n);
}

/* ---- multiplying ------------------------------------------------------- */

/* core.kern.tiers() -> { "ref", ..., the best of this machine } */
static int kern_tiers(lua_State *L) {
  const wn_mm_tier *t;
  lua_newtable(L);
  for (int i = 0; (t = wn_mm_tier_at((size_t)i)) != NULL; i++) {
    lua_pushstring(L, t->name);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* core.kern.mm(tier, type, weights, x, y [, r1, r2 [, c1, c2]]) -> y
 * weights: string of rows of as many values as x has columns; x: one
 * activation column per row; y: buffer of (rows of x) x (rows of weights, or
 * more); only rows r1..r2 of the weights for rows c1..c2 of x are written. */
static int kern_mm(lua_State *L) {
  const wn_mm_tier *t = check_tier(L, 1);
  int type = check_type(L, 2, t);
  size_t n_bytes, r0, r1, c0, c1;
  const char *w = luaL_checklstring(L, 3, &n_bytes);
  wn_buffer *x = wn_buffer_check(L, 4), *y = wn_buffer_check(L, 5);
  size_t bytes = row_bytes(L, 4, type, x->cols), rows = n_bytes / bytes;
  luaL_argcheck(L, n_bytes % bytes == 0, 3, "want whole rows");
  luaL_argcheck(L, y->rows == x->rows && y->cols >= rows, 5,
                "too small for the result");
  opt_range(L, 6, rows, &r0, &r1);
  opt_range(L, 8, x->rows, &c0, &c1);
  void *packed =
      wn_alloc(WN_MEM_LUA, wn_tier_pack_bytes(t, type, x->cols, x->rows));
  void *scratch = wn_alloc(WN_MEM_LUA, WN_MM_SCRATCH);
  bool ok = packed != NULL && scratch != NULL;
  if (ok) {
    wn_tier_pack(t, type, x->data, x->cols, x->cols, 0, x->rows, packed);
    wn_tier_mm(t, type, w, bytes, x->cols, r0, r1, packed, c0, c1, y->data,
               y->cols, scratch);
  }
  wn_free(packed);
  wn_free(scratch);
  if (!ok) {
    wn_err e;
    wn_fail(&e, WN_ENOMEM, "no memory for a product");
    return wn_push_error(L, &e);
  }
  lua_settop(L, 5);
  return 1;
}

/* Value i of a packed column, parts or levels with a scale per `block`. */
static float packed_value(wn_pack pack, const uint8_t *column, size_t d_off,
                          size_t i) {
  if (pack == WN_PACK_BF16) {
    const uint16_t *high =
        (const uint16_t *)(const void *)column + wn_bf16_place(i);
    return wn_f32_of_bf16(high[0]) + wn_f32_of_bf16(high[32]);
  }
  float d;
  size_t block = pack == WN_PACK_Q8_32 ? 32 : 256;
  memcpy(&d, column + d_off + i / block * 4, sizeof d);
  return d * (float)(int8_t)column[i];
}

/* What a packed column stands for, as float. */
static void unpack_column(wn_pack pack, const uint8_t *column, size_t k,
                          float *out) {
  wn_column col = wn_column_of(pack, k);
  if (pack == WN_PACK_F32)
    memcpy(out, column, 4 * k);
  else
    for (size_t i = 0; i < k; i++)
      out[i] = packed_value(pack, column, col.d, i);
}

/* core.kern.activations(tier, type, x) -> buffer: x as the kernels for
 * weights of `type` see it; and the packed bytes of the first row. */
static int kern_activations(lua_State *L) {
  const wn_mm_tier *t = check_tier(L, 1);
  int type = check_type(L, 2, t);
  wn_buffer *x = wn_buffer_check(L, 3);
  row_bytes(L, 3, type, x->cols);
  wn_err e;
  size_t n = wn_tier_pack_bytes(t, type, x->cols, 1);
  wn_buffer *out = wn_buffer_push(L, x->rows, x->cols, &e);
  if (out == NULL) return wn_push_error(L, &e);
  uint8_t *column = lua_newuserdata(L, n + 64); /* aligned by hand */
  column += 64 - (uintptr_t)column % 64;
  for (size_t r = x->rows; r-- > 0;) {
    memset(column, 0, n);
    wn_tier_pack(t, type, x->data + r * x->cols, 0, x->cols, 0, 1, column);
    unpack_column(t->op[type].pack, column, x->cols, out->data + r * x->cols);
  }
  lua_pushlstring(L, (const char *)column, n);
  lua_replace(L, -2);
  return 2;
}

/* ---- attention --------------------------------------------------------- */

static const char *const row_kinds[] = {"f32",  "f16",  "bf16",
                                        "q8_0", "q4_0", NULL};

/* Rows of `width` numbers of a type: the string at `arg`. */
static size_t count_rows(lua_State *L, int arg, size_t row) {
  size_t n;
  luaL_checklstring(L, arg, &n);
  luaL_argcheck(L, n % row == 0 && n / row <= WN_PANEL, arg,
                "want whole rows, 64 at most");
  return n / row;
}

/* The first and last key of each row of queries, from the table at `arg`. */
static wn_range *check_ranges(lua_State *L, int arg, size_t n, size_t n_keys) {
  wn_range *r = lua_newuserdata(L, (n + 1) * sizeof *r);
  luaL_checktype(L, arg, LUA_TTABLE);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, arg, (int)(2 * i + 1));
    lua_rawgeti(L, arg, (int)(2 * i + 2));
    r[i].hi =
        (uint32_t)wn_check_item(L, "ranges", 2 * i + 2, 1, (int64_t)n_keys);
    lua_pop(L, 1);
    r[i].lo = (uint32_t)wn_check_item(L, "ranges", 2 * i + 1, 1, r[i].hi) - 1;
    lua_pop(L, 1);
  }
  return r;
}

/* core.kern.attend(type, queries, keys, values, ranges, group, scale, cap,
 * scores, states): a step of attention in the tier in force (core.set_isa).
 * keys, values: strings of rows of that type; ranges: first and last key of
 * every `group` queries. scores (queries x 64) receives the weights; states
 * (queries x 32 and the values' width, or more) are running softmaxes as in
 * vec.h with the weighted values behind. */
static int kern_attend(lua_State *L) {
  wn_row_kind kind = (wn_row_kind)luaL_checkoption(L, 1, NULL, row_kinds);
  int type = wn_type_of_name(row_kinds[kind]);
  wn_buffer *q = wn_buffer_check(L, 2), *s = wn_buffer_check(L, 9);
  wn_buffer *st = wn_buffer_check(L, 10);
  size_t k_row = row_bytes(L, 2, type, q->cols), n = count_rows(L, 3, k_row);
  size_t v_bytes, group = (size_t)wn_check_int(L, 6, 1, 1 << 20);
  const char *k = lua_tostring(L, 3), *v = luaL_checklstring(L, 4, &v_bytes);
  luaL_argcheck(L, n > 0 && v_bytes % n == 0, 4, "want a value for each key");
  size_t v_row = v_bytes / n, unit = row_bytes(L, 4, type, 32);
  size_t width = v_row / unit * 32 + v_row % unit * 32 / unit;
  luaL_argcheck(L, row_bytes(L, 4, type, width) == v_row, 4, "want whole rows");
  luaL_argcheck(L, q->rows % group == 0, 6, "want whole groups");
  luaL_argcheck(L, s->rows == q->rows && s->cols == WN_PANEL, 9, "wrong size");
  luaL_argcheck(L, st->rows == q->rows && st->cols >= 32 + width, 10,
                "too small for the result");
  wn_range *seen = check_ranges(L, 5, q->rows / group, n);
  float factor = (float)luaL_checknumber(L, 7);
  float cap = (float)luaL_checknumber(L, 8);
  float *panel = lua_newuserdata(L, q->cols * WN_PANEL * sizeof *panel);
  float *keep = lua_newuserdata(L, (q->rows + 16) * sizeof *keep);
  memset(panel, 0xff, q->cols * WN_PANEL * sizeof *panel); /* NaN */
  const wn_vec *t = wn_vec_get();
  t->panel(kind, k, k_row, n, q->cols, panel);
  t->product(q->data, q->cols, q->rows, WN_ROW_F32, panel,
             WN_PANEL * sizeof *panel, q->cols, (n + 15) / 16 * 16, NULL,
             s->data, WN_PANEL);
  t->soften(s->data, q->rows, seen, group, factor, cap, st->data, st->cols,
            keep);
  t->product(s->data, WN_PANEL, q->rows, kind, v, v_row, n, width, keep,
             st->data + 32, st->cols);
  return 0;
}

/* ---- measuring --------------------------------------------------------- */

static const char *const time_options[] = {
    "tier", "type",    "weights", "rows",    "k",
    "n",    "threads", "copies",  "seconds", NULL};

/* core.kern.time { tier, type, weights, rows, k, n, threads, copies, seconds }
 * -> seconds of one product; see wn_timed_mm. */
static int kern_time(lua_State *L) {
  wn_timed_mm p = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  wn_check_options(L, 1, time_options);
  lua_settop(L, 1);
  lua_getfield(L, 1, "tier");
  p.tier = check_tier(L, 2);
  lua_getfield(L, 1, "type");
  p.type = check_type(L, 3, p.tier);
  lua_getfield(L, 1, "weights");
  p.bytes = luaL_checklstring(L, 4, &p.n_bytes);
  p.rows = (size_t)wn_opt_int(L, 1, "rows", 1024, 1, WN_MAX_ELEMENTS);
  p.k = (size_t)wn_opt_int(L, 1, "k", 1024, 1, WN_MAX_ELEMENTS);
  p.n_cols = (size_t)wn_opt_int(L, 1, "n", 1, 1, 1 << 20);
  p.copies = (size_t)wn_opt_int(L, 1, "copies", 1, 1, 1 << 20);
  p.threads = (int)wn_opt_int(L, 1, "threads", 1, 1, WN_MAX_THREADS);
  p.seconds = wn_opt_num(L, 1, "seconds", 0.2, 0, 60);
  wn_err e;
  double seconds;
  if (wn_time_mm(&p, &seconds, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushnumber(L, seconds);
  return 1;
}

/* core.kern.peak(tier, "float" | "int8", threads) -> operations a second */
static int kern_peak(lua_State *L) {
  static const char *const kinds[] = {"float", "int8", NULL};
  const wn_mm_tier *t = check_tier(L, 1);
  char kind = luaL_checkoption(L, 2, NULL, kinds) == 0 ? 'f' : 'i';
  int threads = (int)wn_check_int(L, 3, 1, WN_MAX_THREADS);
  lua_pushnumber(L, wn_time_peak(t, kind, threads));
  return 1;
}

/* core.kern.read(tier, bytes, streams, threads) -> bytes a second */
static int kern_read(lua_State *L) {
  const wn_mm_tier *t = check_tier(L, 1);
  size_t bytes = (size_t)wn_check_int(L, 2, 1 << 16, INT64_C(1) << 36);
  size_t streams = (size_t)wn_check_int(L, 3, 1, 64);
  int threads = (int)wn_check_int(L, 4, 1, WN_MAX_THREADS);
  wn_err e;
  double rate;
  if (wn_time_read(t, bytes, streams, threads, &rate, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushnumber(L, rate);
  return 1;
}

static const luaL_Reg functions[] = {{"tiers", kern_tiers},
                                     {"mm", kern_mm},
                                     {"activations", kern_activations},
                                     {"attend", kern_attend},
                                     {"time", kern_time},
                                     {"peak", kern_peak},
                                     {"read", kern_read},
                                     {NULL, NULL}};

int wn_open_kern(lua_State *L) {
  lua_newtable(L);
  wn_setfuncs(L, functions);
  return 1;
}
