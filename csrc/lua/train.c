/* lua/train.c - core.train: steps forwards and backwards (run/train.h).
 *
 *   open(model, { tokens, train = { weight names }, outputs, split, threads,
 *        max_bytes }) -> t | nil, message, code
 *     t:forward(ids [, { want = { row numbers, from 1 } }]) -> rows | nil, ...
 *     t:logits([i]) -> buffer of row i, or of all
 *     t:ce(targets [, scale])   -> sum, rows counted; targets: a list, one for
 *                                 each row; -1: does not count
 *     t:kl(logits [, scale])    -> sum; logits: buffer, one row each
 *     t:sample(seed [, scale])  -> sum
 *     t:back() -> true while there was a segment to walk
 *     t:products() -> { { op, weight, first, rows, width, tokens }, ... }
 *     t:rows(i) -> inputs and output gradients of product i: two buffers
 *     t:trained() -> list of names
 *     t:get(name [, part]) -> buffer (a copy): "weight", "grad", "mean",
 *                            "square"; nil when there is none yet
 *     t:put(name, buffer [, part])
 *     t:adam{ rate, step, beta1, beta2, eps, decay, clip } -> length
 *     t:zero()
 *     t:info() -> { bytes }
 *   effect(x, g, w, q) -> sum, sum of squares over tokens of g (w - q) x */
#include <string.h>

#include "lua/buffer.h"
#include "lua/names.h"
#include "lua/run.h"
#include "run/train.h"

static void unref_train(void *obj) {
  wn_train_unref(obj);
}

static const wn_class_def train_class; /* at the end */

static wn_train *check_train(lua_State *L) {
  return wn_handle_check(L, 1, &train_class);
}

/* -- opening -------------------------------------------------------------- */

/* Field `train` of the table at t: its strings live as long as the list, which
 * stays on the stack. */
static wn_names *read_names(lua_State *L, int t) {
  lua_getfield(L, t, "train");
  size_t n = 0;
  if (!lua_isnil(L, -1)) {
    luaL_checktype(L, lua_gettop(L), LUA_TTABLE);
    n = lua_rawlen(L, -1);
  }
  wn_names *list = lua_newuserdata(L, sizeof *list + (n + 1) * sizeof(char *));
  list->n = n;
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, -2, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "wane: option 'train': want weight names");
    list->name[i] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
  return list;
}

/* Every name must be one of the program's weights. */
static int check_names(const wn_model *m, const wn_names *list, wn_err *e) {
  const wn_prog *p = wn_model_prog(m);
  for (size_t i = 0; i < list->n; i++) {
    uint32_t k = 0;
    while (k < p->n_weights &&
           strcmp(wn_prog_str(p, p->weights[k].name), list->name[i]) != 0)
      k++;
    if (k == p->n_weights)
      return wn_fail(e, WN_EARG, "train: the model uses no weight %.200s",
                     list->name[i]);
  }
  return WN_OK;
}

static const char *const option_names[] = {
    "tokens", "train", "outputs", "split", "threads", "max_bytes", NULL};

static int train_open(lua_State *L) {
  wn_err e = {0};
  wn_train *t = NULL;
  lua_settop(L, 2);
  wn_handle_check(L, 1, &wn_model_class);
  luaL_checktype(L, 2, LUA_TTABLE);
  wn_check_options(L, 2, option_names);
  wn_train_opts o = {
      .n_tokens = (uint32_t)wn_opt_int(L, 2, "tokens", 0, 0, UINT32_MAX),
      .n_threads = (int)wn_opt_int(L, 2, "threads", 0, 0, 256),
      .split = wn_opt_bool(L, 2, "split", true),
      .outputs = wn_opt_bool(L, 2, "outputs", false),
      .max_bytes = (uint64_t)wn_opt_int(L, 2, "max_bytes", 0, 0, INT64_MAX),
      .asked = wn_is_named};
  wn_names *list = read_names(L, 2);
  o.arg = list;
  wn_handle *h = wn_handle_new(L, &train_class);
  wn_model *m = wn_handle_check(L, 1, &wn_model_class);
  if (check_names(m, list, &e) != WN_OK || wn_train_new(m, &o, &t, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = t;
  return 1;
}

/* -- a step --------------------------------------------------------------- */

/* A list of integers at `arg`, in a userdata that it pushes. */
static int32_t *read_ids(lua_State *L, int arg, size_t *n) {
  luaL_checktype(L, arg, LUA_TTABLE);
  *n = lua_rawlen(L, arg);
  luaL_argcheck(L, *n <= (size_t)1 << 24, arg, "too many");
  int32_t *ids = lua_newuserdata(L, (*n + 1) * sizeof *ids);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    if (!lua_isnumber(L, -1))
      luaL_error(L, "wane: number %d of a list is a %s, want an integer",
                 (int)i + 1, luaL_typename(L, -1));
    ids[i] = (int32_t)wn_check_int(L, lua_gettop(L), INT32_MIN, INT32_MAX);
    lua_pop(L, 1);
  }
  return ids;
}

/* Field want of the table at t as a byte for each token, or NULL. */
static uint8_t *read_want(lua_State *L, int t, size_t n) {
  static const char *const known[] = {"want", NULL};
  size_t n_rows;
  if (lua_isnoneornil(L, t)) return NULL;
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, known);
  lua_getfield(L, t, "want");
  if (lua_isnil(L, -1)) return NULL;
  int32_t *rows = read_ids(L, lua_gettop(L), &n_rows);
  uint8_t *want = lua_newuserdata(L, n + 1);
  memset(want, 0, n + 1);
  for (size_t i = 0; i < n_rows; i++) {
    if (rows[i] < 1 || (size_t)rows[i] > n)
      luaL_error(L, "wane: option 'want': row %d of %d", (int)rows[i], (int)n);
    want[rows[i] - 1] = 1;
  }
  return want;
}

static int train_forward(lua_State *L) {
  wn_err e = {0};
  size_t n, n_rows;
  lua_settop(L, 3);
  check_train(L);
  int32_t *ids = read_ids(L, 2, &n);
  uint8_t *want = read_want(L, 3, n);
  wn_train *t = check_train(L);
  if (wn_train_forward(t, ids, want, n, &e) != WN_OK)
    return wn_push_error(L, &e);
  wn_train_result(t, 0, &n_rows);
  lua_pushinteger(L, (lua_Integer)n_rows);
  return 1;
}

static int train_logits(lua_State *L) {
  wn_err e = {0};
  size_t n_rows;
  wn_train *t = check_train(L);
  wn_train_result(t, 0, &n_rows);
  size_t n = wn_model_n_vocab(wn_train_model(t));
  if (n_rows == 0) return luaL_error(L, "wane: train: there are no logits");
  bool one = !lua_isnoneornil(L, 2);
  size_t first = one ? (size_t)wn_check_int(L, 2, 1, (int64_t)n_rows) - 1 : 0;
  wn_buffer *b = wn_buffer_push(L, one ? 1 : n_rows, n, &e);
  if (b == NULL) return wn_push_error(L, &e);
  t = check_train(L);
  for (size_t r = 0; r < b->rows; r++) {
    const float *x = wn_train_result(t, first + r, &n_rows);
    memcpy(b->data + r * n, x, n * sizeof *x);
  }
  return 1;
}

static int train_ce(lua_State *L) {
  wn_err e = {0};
  double sum;
  size_t n, n_rows, counted;
  double scale = luaL_optnumber(L, 3, 1);
  check_train(L);
  int32_t *targets = read_ids(L, 2, &n);
  wn_train *t = check_train(L);
  wn_train_result(t, 0, &n_rows);
  luaL_argcheck(L, n == n_rows, 2, "want a target for each row");
  if (wn_train_ce(t, targets, scale, &sum, &counted, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushnumber(L, sum);
  lua_pushinteger(L, (lua_Integer)counted);
  return 2;
}

static int train_kl(lua_State *L) {
  wn_err e = {0};
  double sum, scale = luaL_optnumber(L, 3, 1);
  size_t n_rows;
  const wn_buffer *b = wn_buffer_check(L, 2);
  wn_train *t = check_train(L);
  wn_train_result(t, 0, &n_rows);
  luaL_argcheck(
      L, b->rows == n_rows && b->cols == wn_model_n_vocab(wn_train_model(t)), 2,
      "want a row of logits for each row");
  if (wn_train_kl(t, b->data, scale, &sum, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushnumber(L, sum);
  return 1;
}

static int train_sample(lua_State *L) {
  wn_err e = {0};
  double sum, scale = luaL_optnumber(L, 3, 1);
  uint64_t seed = (uint64_t)wn_check_int(L, 2, 0, INT64_MAX);
  if (wn_train_sample(check_train(L), seed, scale, &sum, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushnumber(L, sum);
  return 1;
}

static int train_back(lua_State *L) {
  wn_err e = {0};
  bool done;
  if (wn_train_back(check_train(L), &done, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushboolean(L, !done);
  return 1;
}

/* -- products ------------------------------------------------------------- */

static int train_products(lua_State *L) {
  wn_product p;
  check_train(L);
  lua_newtable(L);
  for (uint32_t k = 0; wn_train_product(check_train(L), k, &p); k++) {
    const wn_prog *prog = wn_model_prog(wn_train_model(check_train(L)));
    lua_createtable(L, 0, 6);
    wn_set_str(L, "weight", wn_prog_str(prog, prog->weights[p.weight].name));
    wn_set_u64(L, "op", p.op);
    wn_set_u64(L, "first", p.row0 + 1);
    wn_set_u64(L, "rows", p.n_rows);
    wn_set_u64(L, "width", p.n_in);
    wn_set_u64(L, "tokens", p.n_tokens);
    lua_rawseti(L, -2, (int)k + 1);
  }
  return 1;
}

static int train_rows(lua_State *L) {
  wn_err e = {0};
  wn_product p;
  uint32_t k = (uint32_t)wn_check_int(L, 2, 1, UINT32_MAX);
  if (!wn_train_product(check_train(L), k - 1, &p))
    return luaL_error(L, "wane: train: there is no product %d", (int)k);
  wn_buffer *x = wn_buffer_push(L, p.n_tokens, p.n_in, &e);
  wn_buffer *g = x != NULL ? wn_buffer_push(L, p.n_tokens, p.n_rows, &e) : NULL;
  if (g == NULL) return wn_push_error(L, &e);
  wn_train_copy(check_train(L), &p, x->data, g->data);
  return 2;
}

/* -- trained weights ------------------------------------------------------ */

static int train_trained(lua_State *L) {
  uint32_t n = wn_train_n_trained(check_train(L));
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 0; i < n; i++) {
    lua_pushstring(L, wn_train_trained(check_train(L), i)->name);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static const char *const part_names[] = {"weight", "grad", "mean", "square",
                                         NULL};

static const wn_trained *check_trained(lua_State *L, const char *name) {
  const wn_train *t = check_train(L);
  for (uint32_t i = 0; i < wn_train_n_trained(t); i++)
    if (strcmp(wn_train_trained(t, i)->name, name) == 0)
      return wn_train_trained(t, i);
  luaL_error(L, "wane: train: weight %s is not trained", name);
  return NULL;
}

static int train_get(lua_State *L) {
  wn_err e = {0};
  const char *name = luaL_checkstring(L, 2);
  int part = luaL_checkoption(L, 3, "weight", part_names);
  const wn_trained *r = check_trained(L, name);
  if (r->part[part] == NULL) return 0;
  wn_buffer *b = wn_buffer_push(L, r->rows, r->cols, &e);
  if (b == NULL) return wn_push_error(L, &e);
  r = check_trained(L, name);
  memcpy(b->data, r->part[part], (size_t)r->rows * r->cols * sizeof(float));
  return 1;
}

static int train_put(lua_State *L) {
  const char *name = luaL_checkstring(L, 2);
  const wn_buffer *b = wn_buffer_check(L, 3);
  int part = luaL_checkoption(L, 4, "weight", part_names);
  wn_err e = {0};
  const wn_trained *r = check_trained(L, name);
  luaL_argcheck(L, b->rows == r->rows && b->cols == r->cols, 3,
                "want the weight's shape");
  if (wn_train_make(check_train(L), part, &e) != WN_OK)
    return wn_push_error(L, &e);
  memcpy(r->part[part], b->data, b->rows * b->cols * sizeof(float));
  lua_pushboolean(L, 1);
  return 1;
}

static int train_adam(lua_State *L) {
  static const char *const known[] = {"rate", "step",  "beta1", "beta2",
                                      "eps",  "decay", "clip",  NULL};
  wn_err e = {0};
  double length;
  luaL_checktype(L, 2, LUA_TTABLE);
  wn_check_options(L, 2, known);
  wn_adam a = {.rate = wn_opt_num(L, 2, "rate", 1e-3, 0, 1e6),
               .beta1 = wn_opt_num(L, 2, "beta1", 0.9, 0, 1),
               .beta2 = wn_opt_num(L, 2, "beta2", 0.999, 0, 1),
               .eps = wn_opt_num(L, 2, "eps", 1e-8, 1e-30, 1),
               .decay = wn_opt_num(L, 2, "decay", 0, 0, 1e6),
               .clip = wn_opt_num(L, 2, "clip", 0, 0, 1e30),
               .step = (uint64_t)wn_opt_int(L, 2, "step", 1, 1, INT64_MAX)};
  if (wn_train_adam(check_train(L), &a, &length, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushnumber(L, length);
  return 1;
}

static int train_zero(lua_State *L) {
  wn_train_zero(check_train(L));
  return 0;
}

static int train_info(lua_State *L) {
  uint64_t bytes = wn_train_bytes(check_train(L));
  lua_newtable(L);
  wn_set_u64(L, "bytes", bytes);
  return 1;
}

static int train_effect(lua_State *L) {
  const wn_buffer *b[4];
  double sum, squares;
  for (int i = 0; i < 4; i++)
    b[i] = wn_buffer_check(L, i + 1);
  luaL_argcheck(L, b[1]->rows == b[0]->rows, 2, "want a row for each of x");
  luaL_argcheck(L, b[2]->cols == b[0]->cols && b[2]->rows == b[1]->cols, 3,
                "want a row for each column of g, as wide as x");
  luaL_argcheck(L, b[3]->cols == b[2]->cols && b[3]->rows == b[2]->rows, 4,
                "want the shape of w");
  wn_product p = {.n_rows = (uint32_t)b[2]->rows,
                  .n_in = (uint32_t)b[2]->cols,
                  .n_tokens = (uint32_t)b[0]->rows};
  double *of = lua_newuserdata(L, (b[0]->rows + 1) * sizeof *of);
  float *row = lua_newuserdata(L, (b[2]->cols + 1) * sizeof *row);
  for (int i = 0; i < 4; i++)
    b[i] = wn_buffer_check(L, i + 1);
  wn_train_effect(&p, b[0]->data, b[1]->data, b[2]->data, b[3]->data, of, row,
                  &sum, &squares);
  lua_pushnumber(L, sum);
  lua_pushnumber(L, squares);
  return 2;
}

static const luaL_Reg train_methods[] = {{"forward", train_forward},
                                         {"logits", train_logits},
                                         {"ce", train_ce},
                                         {"kl", train_kl},
                                         {"sample", train_sample},
                                         {"back", train_back},
                                         {"products", train_products},
                                         {"rows", train_rows},
                                         {"trained", train_trained},
                                         {"get", train_get},
                                         {"put", train_put},
                                         {"adam", train_adam},
                                         {"zero", train_zero},
                                         {"info", train_info},
                                         {NULL, NULL}};

static const wn_class_def train_class = {"wane.train", train_methods, NULL,
                                         unref_train};

int wn_open_train(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"open", train_open}, {"effect", train_effect}, {NULL, NULL}};
  wn_class_register(L, &train_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
