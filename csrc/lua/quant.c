/* quant.c - core.quant: formats, encoding, decoding, and the blocks handle.
 *
 * A blocks handle holds the encoded rows of one matrix. Encoding and decoding
 * run in the calling thread; wane.quantize has its own, threaded path. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "lua/blocks.h"
#include "lua/buffer.h"
#include "lua/gguf.h"
#include "lua/lib.h"
#include "quant/explain.h"
#include "quant/quant.h"

static void blocks_unref(void *obj) {
  wn_blocks *q = obj;
  if (atomic_fetch_sub(&q->refs, 1) != 1) return;
  wn_free(q->data);
  wn_free(q);
}

static wn_blocks *check_blocks(lua_State *L) {
  return wn_handle_check(L, 1, &wn_blocks_class);
}

/* New blocks with uninitialised bytes, or NULL with *e filled. */
static wn_blocks *blocks_new(int type, size_t rows, size_t cols, wn_err *e) {
  uint64_t row_bytes, bytes;
  size_t n;
  if (wn_row_bytes(type, cols, &row_bytes, e) != WN_OK) return NULL;
  if (!wn_mul(rows, row_bytes, &bytes) || !wn_size(bytes, &n)) {
    wn_fail(e, WN_ELIMIT, "%zu rows of %llu bytes are too many", rows,
            (unsigned long long)row_bytes);
    return NULL;
  }
  wn_blocks *q = wn_calloc(WN_MEM_QUANT, 1, sizeof *q);
  if (q != NULL) q->data = wn_alloc(WN_MEM_QUANT, n);
  if (q == NULL || q->data == NULL) {
    wn_free(q);
    wn_fail(e, WN_ENOMEM, "no memory for %zu bytes of blocks", n);
    return NULL;
  }
  atomic_init(&q->refs, 1);
  q->type = type;
  q->rows = rows;
  q->cols = cols;
  q->row_bytes = (size_t)row_bytes;
  q->bytes = n;
  return q;
}

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

/* Makes the importance vector at arg (nil, a buffer, or a table of numbers)
 * nil or a buffer of n_cols values, in place; raises for anything else. */
static void settle_importance(lua_State *L, int arg, size_t n_cols) {
  if (lua_isnoneornil(L, arg)) return;
  if (lua_istable(L, arg)) {
    wn_err e;
    wn_buffer *t = wn_buffer_push(L, 1, lua_rawlen(L, arg), &e);
    if (t == NULL) luaL_error(L, "wane: %s", e.msg);
    wn_buffer_fill(L, arg, t);
    lua_replace(L, arg);
  }
  wn_buffer *b = wn_buffer_check(L, arg);
  if (b->rows * b->cols != n_cols)
    luaL_error(L,
               "wane: the importance vector has %d values, want one for each"
               " of %d columns",
               (int)(b->rows * b->cols), (int)n_cols);
}

/* The values of a settled importance vector, or NULL. */
static const float *importance_at(lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) ? NULL : wn_buffer_check(L, arg)->data;
}

/* -- functions ------------------------------------------------------------ */

static void set_bool(lua_State *L, const char *key, bool v) {
  lua_pushboolean(L, v);
  lua_setfield(L, -2, key);
}

static void set_num(lua_State *L, const char *key, double v) {
  lua_pushnumber(L, v);
  lua_setfield(L, -2, key);
}

static void set_int(lua_State *L, const char *key, int64_t v) {
  wn_push_i64(L, v);
  lua_setfield(L, -2, key);
}

static void set_str(lua_State *L, const char *key, const char *v) {
  lua_pushstring(L, v);
  lua_setfield(L, -2, key);
}

static void push_type(lua_State *L, int id) {
  static const char *const classes[] = {"none", "plain", "quant", "act"};
  const wn_type_info *t = wn_type(id);
  const wn_format *f = wn_format_of(id);
  lua_createtable(L, 0, 8);
  set_int(L, "id", id);
  set_str(L, "name", t->name);
  set_int(L, "block", t->block);
  set_int(L, "bytes", t->bytes);
  set_str(L, "class", classes[t->class]);
  set_bool(L, "needs_importance", f != NULL && f->needs_importance);
  set_bool(L, "uses_importance", f != NULL && f->uses_importance);
  set_bool(L, "encodable", f != NULL && f->encode != NULL);
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

/* core.quant.encode(type, buffer [, importance [, nonfinite]]) -> blocks;
 * nonfinite: "error" (default), or "zero": such values count as 0 */
static int quant_encode(lua_State *L) {
  static const char *const policies[] = {"error", "zero", NULL};
  wn_err e;
  int type = check_type(L, 1);
  wn_buffer *b = wn_buffer_check(L, 2);
  int policy = luaL_checkoption(L, 4, "error", policies);
  lua_settop(L, 3);
  settle_importance(L, 3, b->cols);
  if (policy == 1 && clean_copy(L) != 0) return 3;
  wn_handle *h = wn_handle_new(L, &wn_blocks_class);
  b = wn_buffer_check(L, 2); /* no Lua allocation from here on */
  const float *importance = importance_at(L, 3);
  wn_blocks *q = blocks_new(type, b->rows, b->cols, &e);
  if (q == NULL) return wn_push_error(L, &e);
  h->obj = q;
  int rc =
      wn_encode_rows(type, b->data, q->data, q->rows, q->cols, importance, &e);
  if (rc == WN_OK) return 1;
  h->obj = NULL;
  blocks_unref(q);
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
  wn_handle *h = wn_handle_new(L, &wn_blocks_class);
  wn_blocks *q = blocks_new(type, rows, cols, &e);
  if (q == NULL) return wn_push_error(L, &e);
  h->obj = q;
  if (q->bytes != n)
    return luaL_error(L, "wane: the string has %d bytes, want %d", (int)n,
                      (int)q->bytes);
  memcpy(q->data, bytes, n);
  return 1;
}

/* How far `b` is from `a`, in doubles. Values that are not finite on either
 * side are counted and left out. */
static int push_error_table(lua_State *L, const float *a, const float *b,
                            size_t n, size_t cols, const float *importance) {
  double e2 = 0, a2 = 0, we2 = 0, wa2 = 0, max = 0, sum = 0;
  size_t used = 0, worst = 0;
  for (size_t i = 0; i < n; i++) {
    double v = (double)a[i], d = (double)b[i] - v;
    if (!isfinite(d)) continue;
    double w = importance != NULL ? (double)importance[i % cols] : 1;
    used++;
    sum += d;
    e2 += d * d;
    a2 += v * v;
    we2 += w * d * d;
    wa2 += w * v * v;
    if (fabs(d) > max) max = fabs(d), worst = i;
  }
  double m = used > 0 ? (double)used : 1;
  lua_createtable(L, 0, 8);
  set_num(L, "rmse", sqrt(e2 / m));
  set_num(L, "max", max);
  set_int(L, "max_at", (int64_t)worst + 1);
  set_num(L, "mean", sum / m);
  set_num(L, "relative", a2 > 0 ? sqrt(e2 / a2) : e2 > 0 ? HUGE_VAL : 0);
  if (importance != NULL)
    set_num(L, "weighted", wa2 > 0 ? sqrt(we2 / wa2) : we2 > 0 ? HUGE_VAL : 0);
  set_int(L, "n", (int64_t)used);
  set_int(L, "n_nonfinite", (int64_t)(n - used));
  return 1;
}

static void check_shape(lua_State *L, int arg, const wn_buffer *b, size_t rows,
                        size_t cols) {
  if (b->rows == rows && b->cols == cols) return;
  lua_pushfstring(L, "the buffer is %d x %d, want %d x %d", (int)b->rows,
                  (int)b->cols, (int)rows, (int)cols);
  luaL_argerror(L, arg, lua_tostring(L, -1));
}

/* core.quant.distance(a, b [, importance]) -> error table of b against a */
static int quant_distance(lua_State *L) {
  wn_buffer *a = wn_buffer_check(L, 1), *b = wn_buffer_check(L, 2);
  check_shape(L, 2, b, a->rows, a->cols);
  lua_settop(L, 3);
  settle_importance(L, 3, a->cols);
  a = wn_buffer_check(L, 1), b = wn_buffer_check(L, 2);
  return push_error_table(L, a->data, b->data, a->rows * a->cols, a->cols,
                          importance_at(L, 3));
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
  wn_gguf *g = wn_gguf_pin(L, 1);
  int pin = lua_gettop(L);
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
  int rc =
      b == NULL ? e.code : read_rows(g, t, (uint64_t)first - 1, n, b->data, &e);
  wn_gguf_unpin(L, pin);
  return rc == WN_OK ? 1 : wn_push_error(L, &e);
}

/* -- methods of blocks ---------------------------------------------------- */

/* Pushes rows [first, first + n) of the blocks at index 1 as a new buffer. */
static int push_decoded(lua_State *L, size_t first, size_t n) {
  wn_err e;
  wn_buffer *b = wn_buffer_push(L, n, check_blocks(L)->cols, &e);
  if (b == NULL) return wn_push_error(L, &e);
  const wn_blocks *q = check_blocks(L);
  int rc = wn_decode_rows(q->type, q->data + first * q->row_bytes, b->data, n,
                          q->cols, &e);
  return rc == WN_OK ? 1 : wn_push_error(L, &e);
}

/* q:decode([first [, last]]) -> buffer of these rows (all by default) */
static int blocks_decode(lua_State *L) {
  wn_blocks *q = check_blocks(L);
  if (lua_isnoneornil(L, 2)) return push_decoded(L, 0, q->rows);
  int64_t first = wn_check_int(L, 2, 1, (int64_t)q->rows);
  int64_t last = lua_isnoneornil(L, 3)
                     ? first
                     : wn_check_int(L, 3, first, (int64_t)q->rows);
  return push_decoded(L, (size_t)first - 1, (size_t)(last - first + 1));
}

/* q:bytes() -> string */
static int blocks_bytes(lua_State *L) {
  wn_blocks *q = check_blocks(L);
  lua_pushlstring(L, (const char *)q->data, q->bytes);
  return 1;
}

/* q:error(w [, importance]) -> { rmse, max, max_at, mean, relative, n,
 * n_nonfinite [, weighted] } of the decoded blocks against w */
static int blocks_error(lua_State *L) {
  wn_blocks *q = check_blocks(L);
  lua_settop(L, 3);
  check_shape(L, 2, wn_buffer_check(L, 2), q->rows, q->cols);
  settle_importance(L, 3, q->cols);
  if (push_decoded(L, 0, q->rows) != 1) return 3;
  wn_buffer *w = wn_buffer_check(L, 2), *b = wn_buffer_check(L, -1);
  return push_error_table(L, w->data, b->data, w->rows * w->cols, w->cols,
                          importance_at(L, 3));
}

static void set_floats(lua_State *L, const char *key, const float *v, int n) {
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushnumber(L, (lua_Number)v[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, key);
}

static void set_ints(lua_State *L, const char *key, const int *v, int n) {
  lua_createtable(L, n, 0);
  for (int i = 0; i < n; i++) {
    lua_pushinteger(L, v[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, key);
}

static void push_explained(lua_State *L, const wn_explained *x) {
  int n_sub = x->n / x->sub;
  lua_newtable(L);
  set_int(L, "n", x->n);
  set_int(L, "sub", x->sub);
  set_str(L, "formula", x->formula);
  set_num(L, "d", (double)x->d);
  set_floats(L, "scales", x->scale, n_sub);
  set_ints(L, "scale_codes", x->scale_code, n_sub);
  if (x->has_min) {
    set_num(L, "dmin", (double)x->dmin);
    set_floats(L, "mins", x->min, n_sub);
    set_ints(L, "min_codes", x->min_code, n_sub);
  }
  set_floats(L, "levels", x->level, x->n);
  set_floats(L, "values", x->value, x->n);
}

/* q:explain(i) -> block i (from 1, row by row) taken apart: see explain.h;
 * and type, block, row, column (of its first value), bytes */
static int blocks_explain(lua_State *L) {
  wn_blocks *q = check_blocks(L);
  const wn_type_info *t = wn_type(q->type);
  size_t per_row = q->cols / t->block;
  int64_t i = wn_check_int(L, 2, 1, (int64_t)(q->rows * per_row));
  const unsigned char *block = q->data + (size_t)(i - 1) * t->bytes;
  wn_explained x;
  wn_err e;
  if (wn_explain(q->type, block, &x, &e) != WN_OK) return wn_push_error(L, &e);
  push_explained(L, &x);
  set_str(L, "type", t->name);
  set_int(L, "block", i);
  set_int(L, "row", (i - 1) / (int64_t)per_row + 1);
  set_int(L, "column", (i - 1) % (int64_t)per_row * t->block + 1);
  lua_pushlstring(L, (const char *)block, t->bytes);
  lua_setfield(L, -2, "bytes");
  return 1;
}

/* q:type() -> name;  q:shape() -> rows, cols */
static int blocks_type(lua_State *L) {
  lua_pushstring(L, wn_type(check_blocks(L)->type)->name);
  return 1;
}

static int blocks_shape(lua_State *L) {
  wn_blocks *q = check_blocks(L);
  wn_push_u64(L, q->rows);
  wn_push_u64(L, q->cols);
  return 2;
}

/* #q: the number of blocks */
static int blocks_len(lua_State *L) {
  wn_blocks *q = check_blocks(L);
  wn_push_u64(L, q->rows * (q->cols / wn_type(q->type)->block));
  return 1;
}

static int blocks_tostring(lua_State *L) {
  wn_blocks *q = check_blocks(L);
  lua_pushfstring(L, "wane.blocks: %s, %d x %d", wn_type(q->type)->name,
                  (int)q->rows, (int)q->cols);
  return 1;
}

static const luaL_Reg blocks_methods[] = {{"decode", blocks_decode},
                                          {"bytes", blocks_bytes},
                                          {"error", blocks_error},
                                          {"explain", blocks_explain},
                                          {"type", blocks_type},
                                          {"shape", blocks_shape},
                                          {NULL, NULL}};

static const luaL_Reg blocks_meta[] = {
    {"__len", blocks_len}, {"__tostring", blocks_tostring}, {NULL, NULL}};

const wn_class_def wn_blocks_class = {"wane.blocks", blocks_methods,
                                      blocks_meta, blocks_unref};

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
