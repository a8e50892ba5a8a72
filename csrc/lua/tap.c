/* lua/tap.c - core.tap: watching the inputs of matrices (run/tap.h).
 *
 *   open(ctx, { weight names }, { squares, sizes, rows, stop, enter, leave })
 *       -> tap; enter and leave: prefixes of weight names (run/tap.h)
 *     tap:enter(buffer)    rows for the next step to enter with
 *     tap:left()           -> buffer of the rows kept of the latest step
 *     tap:items() -> { { weights = { names }, width, experts }, ... }
 *     tap:squares(i), tap:sizes(i) -> packed float32 sums, experts * width
 *     tap:counts(i) -> list of rows seen, one per expert
 *     tap:n_rows(i [, expert]) -> rows kept of the latest step
 *     tap:rows(i [, expert]) -> buffer of those rows, or nil when there are
 *                               none
 *     tap:reset()
 *
 * A tap holds its context. While a context steps, nobody may read its tap:
 * calls of one Lua state are in order anyway. */
#include <string.h>

#include "lua/buffer.h"
#include "lua/names.h"
#include "lua/run.h"
#include "run/tap.h"

static void unref_watch(void *obj) {
  wn_watch_unref(obj);
}

static const wn_class_def tap_class; /* defined at the end */

static wn_watch *check_tap(lua_State *L) {
  return wn_handle_check(L, 1, &tap_class);
}

static wn_tap_item *check_item(lua_State *L) {
  wn_watch *w = check_tap(L);
  int64_t i = wn_check_int(L, 2, 1, w->tap.n_items);
  return &check_tap(L)->tap.items[i - 1];
}

/* -- opening -------------------------------------------------------------- */

/* The strings stay alive in the table at argument 2, which is on the stack. */
static wn_names *read_names(lua_State *L) {
  luaL_checktype(L, 2, LUA_TTABLE);
  size_t n = lua_rawlen(L, 2);
  wn_names *list = lua_newuserdata(L, sizeof *list + (n + 1) * sizeof(char *));
  list->n = n;
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, 2, (int)i + 1);
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 2, "want tensor names");
    list->name[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return list;
}

static const char *const option_names[] = {"squares", "sizes", "rows", "stop",
                                           "enter",   "leave", NULL};

/* A string option; it stays alive in the table at `arg`. */
static const char *prefix_option(lua_State *L, int arg, const char *key) {
  lua_getfield(L, arg, key);
  const char *s = lua_isnil(L, -1) ? NULL : luaL_checkstring(L, -1);
  lua_pop(L, 1);
  return s;
}

static int tap_open(lua_State *L) {
  wn_err e = {0};
  wn_watch *w = NULL;
  lua_settop(L, 3);
  wn_handle_check(L, 1, &wn_ctx_class);
  luaL_checktype(L, 3, LUA_TTABLE);
  wn_check_options(L, 3, option_names);
  wn_watch_opts o = {.squares = wn_opt_bool(L, 3, "squares", false),
                     .sizes = wn_opt_bool(L, 3, "sizes", false),
                     .rows = wn_opt_bool(L, 3, "rows", false),
                     .stop = wn_opt_bool(L, 3, "stop", false),
                     .enter = prefix_option(L, 3, "enter"),
                     .leave = prefix_option(L, 3, "leave")};
  wn_names *list = read_names(L);
  wn_handle *h = wn_handle_new(L, &tap_class);
  wn_ctx *c = wn_handle_check(L, 1, &wn_ctx_class);
  if (!wn_ctx_begin(c)) return luaL_error(L, "wane: context is busy");
  int rc = wn_watch_new(c, &o, wn_is_named, list, &w, &e);
  wn_ctx_end(c);
  if (rc != WN_OK) return wn_push_error(L, &e);
  h->obj = w;
  return 1;
}

/* -- asking --------------------------------------------------------------- */

static int tap_items(lua_State *L) {
  uint32_t n = check_tap(L)->tap.n_items;
  lua_newtable(L);
  for (uint32_t i = 0; i < n; i++) {
    int count = 0;
    wn_tap_item *t = &check_tap(L)->tap.items[i];
    uint32_t width = t->n, experts = t->n_experts;
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)width);
    lua_setfield(L, -2, "width");
    lua_pushinteger(L, (lua_Integer)experts);
    lua_setfield(L, -2, "experts");
    lua_newtable(L);
    for (uint32_t k = 0;; k++) {
      const wn_watch *w = check_tap(L);
      const wn_prog *p = wn_model_prog(wn_ctx_model(w->ctx));
      if (k >= p->n_weights) break;
      if (!wn_watch_has(w, &w->tap.items[i], k)) continue;
      lua_pushstring(L, wn_prog_str(p, p->weights[k].name));
      lua_rawseti(L, -2, ++count);
    }
    lua_setfield(L, -2, "weights");
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* Sums as packed float32. */
static int push_sums(lua_State *L, bool squares) {
  const wn_tap_item *t = check_item(L);
  size_t n = (size_t)t->n * t->n_experts;
  luaL_argcheck(L, (squares ? t->squares : t->sizes) != NULL, 1,
                "the tap was not opened for that");
  float *copy = lua_newuserdata(L, n * sizeof *copy);
  t = check_item(L);
  const double *sums = squares ? t->squares : t->sizes;
  for (size_t i = 0; i < n; i++)
    copy[i] = (float)sums[i];
  lua_pushlstring(L, (const char *)copy, n * sizeof *copy);
  return 1;
}

static int tap_squares(lua_State *L) {
  return push_sums(L, true);
}
static int tap_sizes(lua_State *L) {
  return push_sums(L, false);
}

static int tap_counts(lua_State *L) {
  uint32_t n = check_item(L)->n_experts;
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 0; i < n; i++) {
    wn_push_u64(L, check_item(L)->counts[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* First and number of the rows kept, of one expert or of all. */
static void row_range(lua_State *L, uint32_t *first, uint32_t *n) {
  const wn_tap_item *t = check_item(L);
  luaL_argcheck(L, t->rows != NULL, 1, "the tap was not opened for rows");
  *first = 0;
  *n = t->n_rows;
  if (lua_isnoneornil(L, 3)) return;
  int64_t i = wn_check_int(L, 3, 1, t->n_experts);
  t = check_item(L);
  *first = t->starts[i - 1];
  *n = t->starts[i] - *first;
}

static int tap_n_rows(lua_State *L) {
  uint32_t first, n;
  row_range(L, &first, &n);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

static int tap_rows(lua_State *L) {
  uint32_t first, n;
  wn_err e = {0};
  row_range(L, &first, &n);
  if (n == 0) {
    lua_pushnil(L);
    return 1;
  }
  uint32_t width = check_item(L)->n;
  wn_buffer *b = wn_buffer_push(L, n, width, &e);
  if (b == NULL) return wn_push_error(L, &e);
  memcpy(b->data, check_item(L)->rows + (size_t)first * width,
         (size_t)n * width * sizeof *b->data);
  return 1;
}

static int tap_enter(lua_State *L) {
  wn_tap_edge *t = check_tap(L)->tap.enter;
  const wn_buffer *b = wn_buffer_check(L, 2);
  luaL_argcheck(L, t != NULL, 1, "the tap was not opened to enter");
  luaL_argcheck(L, b->cols == t->width && b->rows <= t->cap, 2,
                "these rows are not from there");
  memcpy(t->rows, b->data, b->rows * b->cols * sizeof *b->data);
  t->n_rows = (uint32_t)b->rows;
  return 0;
}

static int tap_left(lua_State *L) {
  wn_err e = {0};
  const wn_tap_edge *t = check_tap(L)->tap.leave;
  if (t == NULL) return luaL_error(L, "wane: the tap was not opened to leave");
  wn_buffer *b = wn_buffer_push(L, t->n_rows, t->width, &e);
  if (b == NULL) return wn_push_error(L, &e);
  t = check_tap(L)->tap.leave;
  memcpy(b->data, t->rows, b->rows * b->cols * sizeof *b->data);
  return 1;
}

static int tap_reset(lua_State *L) {
  wn_watch_reset(check_tap(L));
  return 0;
}

static const luaL_Reg tap_methods[] = {
    {"items", tap_items},   {"squares", tap_squares},
    {"sizes", tap_sizes},   {"counts", tap_counts},
    {"n_rows", tap_n_rows}, {"rows", tap_rows},
    {"enter", tap_enter},   {"left", tap_left},
    {"reset", tap_reset},   {NULL, NULL}};

static const wn_class_def tap_class = {"wane.tap", tap_methods, NULL,
                                       unref_watch};

int wn_open_tap(lua_State *L) {
  static const luaL_Reg funcs[] = {{"open", tap_open}, {NULL, NULL}};
  wn_class_register(L, &tap_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
