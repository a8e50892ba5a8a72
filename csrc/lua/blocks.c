/* blocks.c - see blocks.h: the blocks handle and its methods. */
#include "lua/blocks.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/explain.h"
#include "quant/quant.h"

void wn_blocks_unref(void *obj) {
  wn_blocks *q = obj;
  if (atomic_fetch_sub(&q->refs, 1) != 1) return;
  if (q->pooled) wn_pool_leave();
  wn_free(q->data);
  wn_free(q);
}

wn_blocks *wn_blocks_new(int type, size_t rows, size_t cols, wn_err *e) {
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

static wn_blocks *check_blocks(lua_State *L) {
  return wn_handle_check(L, 1, &wn_blocks_class);
}

void wn_settle_importance(lua_State *L, int arg, size_t n_cols) {
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

const float *wn_importance_at(lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) ? NULL : wn_buffer_check(L, arg)->data;
}

/* How far `b` is from `a`, in doubles. Values that are not finite on either
 * side are counted and left out. */
int wn_push_distance(lua_State *L, const float *a, const float *b, size_t n,
                     size_t cols, const float *importance) {
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
  wn_set_num(L, "rmse", sqrt(e2 / m));
  wn_set_num(L, "max", max);
  wn_set_int(L, "max_at", (int64_t)worst + 1);
  wn_set_num(L, "mean", sum / m);
  wn_set_num(L, "relative", a2 > 0 ? sqrt(e2 / a2) : e2 > 0 ? HUGE_VAL : 0);
  if (importance != NULL)
    wn_set_num(L, "weighted",
               wa2 > 0   ? sqrt(we2 / wa2)
               : we2 > 0 ? HUGE_VAL
                         : 0);
  wn_set_int(L, "n", (int64_t)used);
  wn_set_int(L, "n_nonfinite", (int64_t)(n - used));
  return 1;
}

void wn_check_shape(lua_State *L, int arg, const wn_buffer *b, size_t rows,
                    size_t cols) {
  if (b->rows == rows && b->cols == cols) return;
  lua_pushfstring(L, "the buffer is %d x %d, want %d x %d", (int)b->rows,
                  (int)b->cols, (int)rows, (int)cols);
  luaL_argerror(L, arg, lua_tostring(L, -1));
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
  wn_check_shape(L, 2, wn_buffer_check(L, 2), q->rows, q->cols);
  wn_settle_importance(L, 3, q->cols);
  if (push_decoded(L, 0, q->rows) != 1) return 3;
  wn_buffer *w = wn_buffer_check(L, 2), *b = wn_buffer_check(L, -1);
  return wn_push_distance(L, w->data, b->data, w->rows * w->cols, w->cols,
                          wn_importance_at(L, 3));
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
  wn_set_int(L, "n", x->n);
  wn_set_int(L, "sub", x->sub);
  wn_set_str(L, "formula", x->formula);
  wn_set_num(L, "d", (double)x->d);
  set_floats(L, "scales", x->scale, n_sub);
  set_ints(L, "scale_codes", x->scale_code, n_sub);
  if (x->has_min) {
    wn_set_num(L, "dmin", (double)x->dmin);
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
  wn_set_str(L, "type", t->name);
  wn_set_int(L, "block", i);
  wn_set_int(L, "row", (i - 1) / (int64_t)per_row + 1);
  wn_set_int(L, "column", (i - 1) % (int64_t)per_row * t->block + 1);
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
                                      blocks_meta, wn_blocks_unref};
