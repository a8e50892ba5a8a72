/* calib.c - Lua: encoding under the Hessian of a layer's inputs.
 *
 * core.calib.hessian(n [, floats]) -> hessian of n columns, zero or given as a
 *                                     buffer of n x n values
 *   hessian:add(x)           adds x^T x of a buffer of n columns
 *   hessian:merge(other)     adds another hessian of the same width
 *   hessian:factor(damp)     ready for error feedback; damps the diagonal
 *   hessian:matrix()         -> buffer n x n (a copy)
 *   hessian:diagonal()       -> buffer 1 x n
 *   hessian:aim(cross, w [, strength]) -> buffer: rows to encode instead of w
 * core.calib.error(w [, q [, h]]) -> sum of (w - q)^T H (w - q); h: hessian,
 *                                   diagonal, or nil for the identity
 * core.calib.scaled(w, s [, inverse]), scaled_rows(w, s [, inverse]) -> buffer
 * core.calib.clipped(w, ratio) -> buffer: rows limited to ratio of their
 * largest core.calib.zeros(rows, cols) -> buffer core.calib.cross(sum, x, y)
 * sum += x^T y core.calib.rebuild(type, w, hessian, { feedback, sweeps,
 * threads, importance }) -> bytes, error before, error after
 * core.calib.supported(type) -> boolean */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "gguf/types.h"
#include "lua/buffer.h"
#include "lua/lib.h"
#include "quant/rebuild.h"

static void hessian_unref(void *obj) {
  wn_hessian_free(obj);
  wn_free(obj);
  wn_pool_leave();
}

static const wn_class_def hessian_class; /* defined at the end */

static wn_hessian *check_hessian(lua_State *L, int arg) {
  return wn_handle_check(L, arg, &hessian_class);
}

static int no_memory(lua_State *L, wn_err *e) {
  wn_fail(e, WN_ENOMEM, "hessian: out of memory");
  return wn_push_error(L, e);
}

static int hessian_new(lua_State *L) {
  int64_t n = wn_check_int(L, 1, 1, WN_MAX_WIDTH);
  wn_err e = {0};
  wn_buffer *given = lua_isnoneornil(L, 2) ? NULL : wn_buffer_check(L, 2);
  if (given != NULL && (given->rows != (size_t)n || given->cols != (size_t)n))
    return luaL_argerror(L, 2, "want a buffer of n x n values");
  wn_handle *h = wn_handle_new(L, &hessian_class);
  wn_hessian *hs = wn_calloc(WN_MEM_QUANT, 1, sizeof *hs);
  if (hs == NULL) return no_memory(L, &e);
  if (wn_hessian_init(hs, (size_t)n, &e) != WN_OK) {
    wn_free(hs);
    return wn_push_error(L, &e);
  }
  if (given != NULL)
    memcpy(hs->h, given->data, (size_t)(n * n) * sizeof *hs->h);
  wn_pool_enter();
  h->obj = hs;
  return 1;
}

static int hessian_add(lua_State *L) {
  wn_hessian *hs = check_hessian(L, 1);
  const wn_buffer *x = wn_buffer_check(L, 2);
  luaL_argcheck(L, x->cols == hs->n, 2, "want one column per column of H");
  wn_hessian_add(hs, x->data, x->cols, x->rows, wn_pool_default_threads());
  return 0;
}

/* h:aim(cross, w, strength) -> buffer of the rows to encode instead of w */
static int hessian_aim(lua_State *L) {
  const wn_hessian *hs = check_hessian(L, 1);
  const wn_buffer *c = wn_buffer_check(L, 2), *w = wn_buffer_check(L, 3);
  double strength = luaL_optnumber(L, 4, 1);
  wn_err e = {0};
  luaL_argcheck(L, c->rows == hs->n && c->cols == hs->n, 2, "want n x n");
  luaL_argcheck(L, w->cols == hs->n, 3, "want one column per column of H");
  wn_buffer *out = wn_buffer_push(L, w->rows, w->cols, &e);
  if (out == NULL) return wn_push_error(L, &e);
  hs = check_hessian(L, 1);
  if (wn_hessian_aim(hs, c->data, w->data, out->data, w->rows, strength,
                     wn_pool_default_threads(), &e) != WN_OK)
    return wn_push_error(L, &e);
  return 1;
}

/* cross(sum, x, y): sum += x^T y, all buffers */
static int calib_cross(lua_State *L) {
  wn_buffer *c = wn_buffer_check(L, 1);
  const wn_buffer *x = wn_buffer_check(L, 2), *y = wn_buffer_check(L, 3);
  luaL_argcheck(L, c->rows == x->cols && c->cols == x->cols, 1, "want n x n");
  luaL_argcheck(L, x->cols == y->cols && x->rows == y->rows, 3,
                "want the shape of the other rows");
  wn_hessian_cross(c->data, x->cols, x->data, y->data, x->rows,
                   wn_pool_default_threads());
  return 0;
}

/* error(w [, q [, h]]): sum over rows of (w - q)^T H (w - q); q nil: 0; h a
 * hessian, a buffer with its diagonal, or nil: the identity */
static int calib_error(lua_State *L) {
  const wn_buffer *w = wn_buffer_check(L, 1);
  const wn_buffer *q = lua_isnoneornil(L, 2) ? NULL : wn_buffer_check(L, 2);
  const wn_hessian *hs = NULL;
  const wn_buffer *diagonal = NULL;
  if (!lua_isnoneornil(L, 3)) {
    hs = wn_handle_test(L, 3, &hessian_class);
    if (hs == NULL) diagonal = wn_buffer_check(L, 3);
  }
  size_t n = w->cols;
  luaL_argcheck(L, q == NULL || q->rows * q->cols == w->rows * n, 2,
                "want the shape of the weights");
  luaL_argcheck(L, hs == NULL || hs->n == n, 3, "want the same width");
  luaL_argcheck(L, diagonal == NULL || diagonal->rows * diagonal->cols == n, 3,
                "want one value per column");
  wn_err e = {0};
  double sum;
  if (wn_output_error(w->data, q != NULL ? q->data : NULL, w->rows, n, hs,
                      diagonal != NULL ? diagonal->data : NULL,
                      wn_pool_default_threads(), &sum, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushnumber(L, sum);
  return 1;
}

/* A new buffer of the shape of the one at 1, which *w then is. */
static wn_buffer *push_like(lua_State *L, const wn_buffer **w) {
  wn_err e = {0};
  *w = wn_buffer_check(L, 1);
  wn_buffer *out = wn_buffer_push(L, (*w)->rows, (*w)->cols, &e);
  if (out == NULL) luaL_error(L, "wane: %s", e.msg);
  *w = wn_buffer_check(L, 1);
  return out;
}

/* Factor k of the buffer at 2, or its inverse when argument 3 is true. */
static float factor_at(const wn_buffer *s, size_t k, bool inverse) {
  return inverse ? 1 / s->data[k] : s->data[k];
}

/* scaled(w, s [, inverse]): column c times (divided by) s[c] */
static int calib_scaled(lua_State *L) {
  const wn_buffer *w, *s = wn_buffer_check(L, 2);
  bool inverse = lua_toboolean(L, 3);
  wn_buffer *out = push_like(L, &w);
  size_t n = w->cols;
  luaL_argcheck(L, s->rows * s->cols == n, 2, "want one factor per column");
  for (size_t i = 0; i < w->rows * n; i++)
    out->data[i] = w->data[i] * factor_at(s, i % n, inverse);
  return 1;
}

/* powers(x) -> buffer: the mean square of each row */
static int calib_powers(lua_State *L) {
  wn_err e = {0};
  const wn_buffer *x = wn_buffer_check(L, 1);
  wn_buffer *out = wn_buffer_push(L, 1, x->rows, &e);
  if (out == NULL) return wn_push_error(L, &e);
  x = wn_buffer_check(L, 1);
  for (size_t r = 0; r < x->rows; r++) {
    double sum = 0;
    for (size_t i = 0; i < x->cols; i++)
      sum += (double)x->data[r * x->cols + i] * x->data[r * x->cols + i];
    out->data[r] = (float)(sum / (double)x->cols);
  }
  return 1;
}

/* scaled_rows(w, s [, inverse]): row r times (divided by) s[r] */
static int calib_scaled_rows(lua_State *L) {
  const wn_buffer *w, *s = wn_buffer_check(L, 2);
  bool inverse = lua_toboolean(L, 3);
  wn_buffer *out = push_like(L, &w);
  luaL_argcheck(L, s->rows * s->cols == w->rows, 2, "want one factor per row");
  for (size_t i = 0; i < w->rows * w->cols; i++)
    out->data[i] = w->data[i] * factor_at(s, i / w->cols, inverse);
  return 1;
}

/* clipped(w, ratio): each row limited to ratio times its largest magnitude */
static int calib_clipped(lua_State *L) {
  const wn_buffer *w;
  float ratio = (float)luaL_checknumber(L, 2);
  wn_buffer *out = push_like(L, &w);
  for (size_t r = 0; r < w->rows; r++) {
    const float *x = w->data + r * w->cols;
    float *y = out->data + r * w->cols, most = 0;
    for (size_t i = 0; i < w->cols; i++)
      most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    most *= ratio;
    for (size_t i = 0; i < w->cols; i++)
      y[i] = x[i] > most ? most : x[i] < -most ? -most : x[i];
  }
  return 1;
}

/* zeros(rows, cols) -> buffer */
static int calib_zeros(lua_State *L) {
  wn_err e = {0};
  size_t rows = (size_t)wn_check_int(L, 1, 1, WN_MAX_WIDTH);
  size_t cols = (size_t)wn_check_int(L, 2, 1, WN_MAX_WIDTH);
  wn_buffer *b = wn_buffer_push(L, rows, cols, &e);
  if (b == NULL) return wn_push_error(L, &e);
  memset(b->data, 0, rows * cols * sizeof *b->data);
  return 1;
}

static int hessian_merge(lua_State *L) {
  wn_hessian *hs = check_hessian(L, 1);
  const wn_hessian *other = check_hessian(L, 2);
  luaL_argcheck(L, other->n == hs->n, 2, "the hessians differ in width");
  for (size_t i = 0; i < hs->n * hs->n; i++)
    hs->h[i] += other->h[i];
  return 0;
}

/* h:shrink(s): what lies off the diagonal times 1 - s */
static int hessian_shrink(lua_State *L) {
  wn_hessian *hs = check_hessian(L, 1);
  double s = luaL_checknumber(L, 2);
  luaL_argcheck(L, s >= 0 && s <= 1, 2, "want 0 to 1");
  wn_hessian_shrink(hs, s);
  return 0;
}

static int hessian_factor(lua_State *L) {
  wn_hessian *hs = check_hessian(L, 1);
  double damp = luaL_checknumber(L, 2);
  wn_err e = {0};
  luaL_argcheck(L, damp >= 0 && damp <= 1e6, 2, "want 0 or more");
  if (wn_hessian_factor(hs, damp, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static int hessian_matrix(lua_State *L) {
  wn_hessian *hs = check_hessian(L, 1);
  wn_err e = {0};
  wn_buffer *b = wn_buffer_push(L, hs->n, hs->n, &e);
  if (b == NULL) return wn_push_error(L, &e);
  memcpy(b->data, hs->h, hs->n * hs->n * sizeof *b->data);
  return 1;
}

static int hessian_diagonal(lua_State *L) {
  wn_hessian *hs = check_hessian(L, 1);
  wn_err e = {0};
  wn_buffer *b = wn_buffer_push(L, 1, hs->n, &e);
  if (b == NULL) return wn_push_error(L, &e);
  for (size_t i = 0; i < hs->n; i++)
    b->data[i] = hs->h[i * hs->n + i];
  return 1;
}

static const char *const rebuild_names[] = {"feedback", "sweeps", "threads",
                                            "importance", NULL};

static int calib_rebuild(lua_State *L) {
  int type = wn_type_of_name(luaL_checkstring(L, 1));
  const wn_buffer *w = wn_buffer_check(L, 2);
  const wn_hessian *hs = check_hessian(L, 3);
  luaL_checktype(L, 4, LUA_TTABLE);
  wn_check_options(L, 4, rebuild_names);
  luaL_argcheck(L, w->cols == hs->n, 3, "the hessian is for another width");
  wn_rebuild_opts o = {
      .feedback = wn_opt_bool(L, 4, "feedback", true),
      .n_sweeps = (int)wn_opt_int(L, 4, "sweeps", 8, 0, 1000),
      .n_threads = (int)wn_opt_int(L, 4, "threads", wn_pool_default_threads(),
                                   1, WN_MAX_THREADS)};
  lua_getfield(L, 4, "importance");
  const wn_buffer *imp = lua_isnil(L, -1) ? NULL : wn_buffer_check(L, -1);
  luaL_argcheck(L, imp == NULL || imp->rows * imp->cols == hs->n, 4,
                "importance: want one value per column");
  wn_err e = {0};
  uint64_t row_bytes;
  wn_rebuild_stats stats;
  if (!wn_rebuild_supported(type)) {
    wn_fail(&e, WN_EUNSUP,
            "rebuild: blocks of %s cannot be: only its own encoder chooses "
            "points and shifts",
            lua_tostring(L, 1));
    return wn_push_error(L, &e);
  }
  if (wn_row_bytes(type, w->cols, &row_bytes, &e) != WN_OK)
    return wn_push_error(L, &e);
  /* scratch as a userdata: an error in lua_pushlstring cannot leak it */
  void *dst = lua_newuserdata(L, w->rows * (size_t)row_bytes + 1);
  if (wn_rebuild_rows(type, w->data, dst, w->rows, hs,
                      imp != NULL ? imp->data : NULL, &o, &stats, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushlstring(L, dst, w->rows * (size_t)row_bytes);
  lua_pushnumber(L, stats.before);
  lua_pushnumber(L, stats.after);
  return 3;
}

static int calib_supported(lua_State *L) {
  lua_pushboolean(
      L, wn_rebuild_supported(wn_type_of_name(luaL_checkstring(L, 1))));
  return 1;
}

static const luaL_Reg hessian_methods[] = {
    {"add", hessian_add},       {"merge", hessian_merge},
    {"shrink", hessian_shrink}, {"factor", hessian_factor},
    {"matrix", hessian_matrix}, {"diagonal", hessian_diagonal},
    {"aim", hessian_aim},       {NULL, NULL}};

static const wn_class_def hessian_class = {"wane.hessian", hessian_methods,
                                           NULL, hessian_unref};

int wn_open_calib(lua_State *L) {
  static const luaL_Reg funcs[] = {{"hessian", hessian_new},
                                   {"rebuild", calib_rebuild},
                                   {"supported", calib_supported},
                                   {"cross", calib_cross},
                                   {"error", calib_error},
                                   {"scaled", calib_scaled},
                                   {"scaled_rows", calib_scaled_rows},
                                   {"powers", calib_powers},
                                   {"clipped", calib_clipped},
                                   {"zeros", calib_zeros},
                                   {NULL, NULL}};
  wn_class_register(L, &hessian_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
