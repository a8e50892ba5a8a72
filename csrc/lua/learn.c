/* lua/learn.c - core.learn: numbers of blocks learned by gradients
 * (quant/learn.h).
 *
 *   open(type, bytes, w) -> l: the blocks of the rows of buffer w
 *     l:step(grad, rate [, threads])   grad: buffer like w
 *     l:values([threads]) -> buffer: what the blocks decode to now
 *     l:bytes([threads]) -> string: the blocks
 *     l:twins([buffer]) -> buffer: a copy of all that changes; given one, that
 *                          is what it is from now on
 *     l:size() -> bytes that it takes */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "gguf/types.h"
#include "lua/buffer.h"
#include "lua/lib.h"
#include "quant/learn.h"
#include "quant/rebuild.h"

static void unref_learn(void *obj) {
  wn_learn_free(obj);
  wn_pool_leave();
}

static const wn_class_def learn_class; /* at the end */

static wn_learn *check_learn(lua_State *L) {
  return wn_handle_check(L, 1, &learn_class);
}

static int threads_at(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return wn_pool_default_threads();
  return (int)wn_check_int(L, arg, 1, WN_MAX_THREADS);
}

static int learn_open(lua_State *L) {
  wn_err e = {0};
  size_t n;
  uint64_t row_bytes;
  wn_learn *l;
  lua_settop(L, 3);
  const char *name = luaL_checkstring(L, 1);
  int type = wn_type_of_name(name);
  const char *bytes = luaL_checklstring(L, 2, &n);
  const wn_buffer *w = wn_buffer_check(L, 3);
  if (!wn_rebuild_supported(type)) {
    wn_fail(&e, WN_EUNSUP, "learn: the numbers of %.20s cannot be chosen",
            name);
    return wn_push_error(L, &e);
  }
  if (wn_row_bytes(type, w->cols, &row_bytes, &e) != WN_OK)
    return wn_push_error(L, &e);
  luaL_argcheck(L, n / row_bytes == w->rows && n % row_bytes == 0, 2,
                "want the blocks of as many rows as w has");
  wn_handle *h = wn_handle_new(L, &learn_class);
  if (wn_learn_new(type, bytes, w->data, w->rows, w->cols, &l, &e) != WN_OK)
    return wn_push_error(L, &e);
  wn_pool_enter();
  h->obj = l;
  return 1;
}

static int learn_step(lua_State *L) {
  size_t n_rows, n_cols, bytes;
  wn_learn *l = check_learn(L);
  const wn_buffer *g = wn_buffer_check(L, 2);
  double rate = luaL_checknumber(L, 3);
  wn_learn_shape(l, &n_rows, &n_cols, &bytes);
  luaL_argcheck(L, g->rows == n_rows && g->cols == n_cols, 2,
                "want a value for each weight");
  luaL_argcheck(L, rate >= 0 && rate <= 1, 3, "want 0 to 1");
  wn_learn_step(l, g->data, (float)rate, threads_at(L, 4));
  return 0;
}

static int learn_values(lua_State *L) {
  wn_err e = {0};
  size_t n_rows, n_cols, bytes;
  int n_threads = threads_at(L, 2);
  wn_learn_shape(check_learn(L), &n_rows, &n_cols, &bytes);
  wn_buffer *b = wn_buffer_push(L, n_rows, n_cols, &e);
  if (b == NULL) return wn_push_error(L, &e);
  wn_learn_values(check_learn(L), b->data, n_threads);
  return 1;
}

static int learn_bytes(lua_State *L) {
  size_t n_rows, n_cols, bytes;
  int n_threads = threads_at(L, 2);
  wn_learn_shape(check_learn(L), &n_rows, &n_cols, &bytes);
  void *dst = lua_newuserdata(L, bytes + 1);
  wn_learn_blocks(check_learn(L), dst, n_threads);
  lua_pushlstring(L, dst, bytes);
  return 1;
}

static int learn_twins(lua_State *L) {
  wn_err e = {0};
  size_t n;
  lua_settop(L, 2);
  float *twins = wn_learn_twins(check_learn(L), &n);
  if (!lua_isnil(L, 2)) {
    const wn_buffer *given = wn_buffer_check(L, 2);
    luaL_argcheck(L, given->rows * given->cols == n, 2,
                  "want what twins() gave");
    memcpy(twins, given->data, n * sizeof *twins);
    return 1;
  }
  wn_buffer *b = wn_buffer_push(L, 1, n, &e);
  if (b == NULL) return wn_push_error(L, &e);
  memcpy(b->data, wn_learn_twins(check_learn(L), &n), n * sizeof *b->data);
  return 1;
}

static int learn_size(lua_State *L) {
  size_t n_rows, n_cols, bytes, n;
  wn_learn *l = check_learn(L);
  wn_learn_shape(l, &n_rows, &n_cols, &bytes);
  wn_learn_twins(l, &n);
  lua_pushnumber(L, (lua_Number)(bytes + n * sizeof(float)));
  return 1;
}

static const luaL_Reg learn_methods[] = {
    {"step", learn_step},   {"values", learn_values}, {"bytes", learn_bytes},
    {"twins", learn_twins}, {"size", learn_size},     {NULL, NULL}};

static const wn_class_def learn_class = {"wane.learn", learn_methods, NULL,
                                         unref_learn};

int wn_open_learn(lua_State *L) {
  static const luaL_Reg funcs[] = {{"open", learn_open}, {NULL, NULL}};
  wn_class_register(L, &learn_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
