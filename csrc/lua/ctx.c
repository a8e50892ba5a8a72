/* lua/ctx.c - core.ctx: contexts (run/ctx.h). Sequences count from 1 here.
 *
 *   ctx:step(tokens [, { seq = n | {n, ...}, want = "last" | "all" | "none" |
 *            {bool, ...} }]) -> true | nil, message, code
 *   ctx:logits([i]) -> buffer of row i, or of all rows of the last step
 *   ctx:logits_into(buffer, at) -> rows copied there
 *   ctx:pool("mean" | "first" | "last") -> one row from all of the last step
 *   ctx:n_past([seq])   ctx:copy(from, to, n)
 *   ctx:truncate(n [, seq]) -> tokens left
 *   ctx:gains(list [, seq])  factors of adapters; without seq: of all, from now
 *   ctx:held([seq]) -> ids of the tokens that the sequence holds
 *   ctx:save([path [, { seq =, overwrite = }]]) -> true, or the bytes
 *   ctx:load(path or bytes [, { seq = }]) -> true | nil, message, code
 *   ctx:info() -> { n_ctx, n_seq, n_batch, n_out, bytes, cache_bytes, regions }
 *
 * One caller at a time: a second raises "busy". Arguments are read and
 * results allocated while nothing is held. */
#include <math.h>
#include <string.h>

#include "lua/buffer.h"
#include "lua/run.h"
#include "run/saved.h"

static void unref_ctx(void *obj) {
  wn_ctx_unref(obj);
}

/* -- making --------------------------------------------------------------- */

static const char *const ctx_options[] = {
    "n_ctx",  "n_seq",     "n_batch", "n_out",       "threads", "type_k",
    "type_v", "max_bytes", "marks",   "activations", NULL};

/* What the values that meet matrices are, for judging; nil: what the kernels
 * make of them. */
static const char *const activations[] = {"kernel", "float", "int8", "fp8",
                                          NULL};

/* Positions of a sequence to return to, where that takes copies. */
#define DEFAULT_MARKS 2

static int option_type(lua_State *L, int t, const char *key) {
  int type = WN_TYPE_F16;
  lua_getfield(L, t, key);
  if (!lua_isnil(L, -1)) {
    if (lua_type(L, -1) == LUA_TSTRING)
      type = wn_type_of_name(lua_tostring(L, -1));
    else
      type = -1;
    if (type < 0) luaL_error(L, "wane: option '%s': want a type name", key);
  }
  lua_pop(L, 1);
  return type;
}

static uint32_t option_count(lua_State *L, int t, const char *key) {
  return (uint32_t)wn_opt_int(L, t, key, 0, 0, 1 << 30);
}

void wn_ctx_options(lua_State *L, int t, wn_ctx_opts *o) {
  memset(o, 0, sizeof *o);
  o->type_k = o->type_v = WN_TYPE_F16;
  o->n_marks = DEFAULT_MARKS;
  if (lua_isnoneornil(L, t)) return;
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, ctx_options);
  o->n_ctx = option_count(L, t, "n_ctx");
  o->n_seq = option_count(L, t, "n_seq");
  o->n_batch = option_count(L, t, "n_batch");
  o->n_out = option_count(L, t, "n_out");
  o->n_threads = (int)wn_opt_int(L, t, "threads", 0, 0, WN_MAX_THREADS);
  o->n_marks = (uint32_t)wn_opt_int(L, t, "marks", DEFAULT_MARKS, 0, 64);
  o->max_bytes = (uint64_t)wn_opt_int(L, t, "max_bytes", 0, 0, INT64_MAX);
  o->type_k = option_type(L, t, "type_k");
  o->type_v = option_type(L, t, "type_v");
  lua_getfield(L, t, "activations");
  int kind = luaL_checkoption(L, -1, activations[0], activations);
  lua_pop(L, 1);
  o->exact = kind > 0;
  o->rounding = kind > 1 ? (wn_rounding)(kind - 1) : WN_ROUND_NONE;
}

int wn_push_ctx(lua_State *L, int model_arg, int t) {
  wn_ctx_opts o;
  wn_err e = {0};
  wn_ctx *c = NULL;
  wn_ctx_options(L, t, &o);
  wn_handle *h = wn_handle_new(L, &wn_ctx_class);
  wn_model *m = wn_handle_check(L, model_arg, &wn_model_class);
  if (wn_ctx_new(m, &o, &c, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = c;
  return 1;
}

/* The context at argument 1, entered: wn_ctx_end must follow, with no Lua
 * call that can raise in between. */
static wn_ctx *enter(lua_State *L) {
  wn_ctx *c = wn_handle_check(L, 1, &wn_ctx_class);
  if (!wn_ctx_begin(c)) luaL_error(L, "wane: context is busy");
  return c;
}

/* -- a step --------------------------------------------------------------- */

/* n elements of scratch, owned by Lua: a raised error cannot leak it. */
static void *scratch(lua_State *L, size_t n, size_t elem) {
  return lua_newuserdata(L, (n != 0 ? n : 1) * elem);
}

static int32_t *read_tokens(lua_State *L, int arg, size_t *n) {
  luaL_checktype(L, arg, LUA_TTABLE);
  *n = lua_rawlen(L, arg);
  luaL_argcheck(L, *n <= (size_t)1 << 30, arg, "too many tokens");
  int32_t *ids = scratch(L, *n, sizeof *ids);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    ids[i] = (int32_t)wn_check_item(L, "ctx:step: tokens", i + 1, INT32_MIN,
                                    INT32_MAX);
    lua_pop(L, 1);
  }
  return ids;
}

/* Option seq: one number for all tokens, or one each. NULL: sequence 1. */
static uint32_t *read_seq(lua_State *L, int t, size_t n) {
  uint32_t *seq = NULL;
  lua_getfield(L, t, "seq");
  int at = lua_gettop(L);
  if (lua_isnil(L, at)) return NULL;
  bool each = lua_istable(L, at);
  if (!each && lua_type(L, at) != LUA_TNUMBER)
    luaL_error(L,
               "wane: ctx:step: option 'seq': want a number or a list with one "
               "for each token, got a %s",
               luaL_typename(L, at));
  if (each && lua_rawlen(L, at) != n)
    luaL_error(L, "wane: ctx:step: option 'seq': %d tokens, %d sequences",
               (int)n, (int)lua_rawlen(L, at));
  seq = scratch(L, n, sizeof *seq);
  for (size_t i = 0; i < n; i++) {
    if (each)
      lua_rawgeti(L, at, (int)i + 1);
    else
      lua_pushvalue(L, at);
    seq[i] = (uint32_t)wn_check_item(L, "ctx:step: option 'seq'", i + 1, 1,
                                     UINT32_MAX) -
             1;
    lua_pop(L, 1);
  }
  return seq;
}

/* Option want. NULL: the last token. */
static uint8_t *read_want(lua_State *L, int t, size_t n) {
  static const char *const names[] = {"last", "none", "all", NULL};
  lua_getfield(L, t, "want");
  int at = lua_gettop(L);
  if (lua_isnil(L, at)) return NULL;
  int which = 0;
  const char *name = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : "";
  while (names[which] != NULL && strcmp(names[which], name) != 0)
    which++;
  if (which == 3 && !lua_istable(L, at))
    luaL_error(L,
               "wane: ctx:step: option 'want': want \"last\", \"none\", "
               "\"all\" or a list of booleans, one for each token");
  if (which == 0) return NULL;
  uint8_t *want = scratch(L, n, 1);
  for (size_t i = 0; i < n; i++) {
    want[i] = which == 2;
    if (which != 3) continue;
    lua_rawgeti(L, at, (int)i + 1);
    want[i] = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
  }
  return want;
}

static int ctx_step(lua_State *L) {
  static const char *const names[] = {"seq", "want", NULL};
  size_t n = 0;
  wn_err e = {0};
  uint32_t *seq = NULL;
  uint8_t *want = NULL;
  lua_settop(L, 3);
  wn_handle_check(L, 1, &wn_ctx_class);
  int32_t *ids = read_tokens(L, 2, &n);
  if (!lua_isnil(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    wn_check_options(L, 3, names);
    seq = read_seq(L, 3, n);
    want = read_want(L, 3, n);
  }
  wn_ctx *c = enter(L);
  int rc = wn_ctx_step(c, ids, seq, want, n, &e);
  wn_ctx_end(c);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

/* -- results -------------------------------------------------------------- */

/* Rows and width of the last result. */
static void result_size(lua_State *L, size_t *rows, size_t *width) {
  wn_ctx *c = enter(L);
  wn_ctx_logits(c, 0, rows);
  *width = wn_model_n_vocab(wn_ctx_model(c));
  wn_ctx_end(c);
}

static int ctx_logits(lua_State *L) {
  size_t rows = 0, width = 0, first = 0;
  wn_err e = {0};
  result_size(L, &rows, &width);
  size_t n = rows;
  if (!lua_isnoneornil(L, 2)) {
    if (rows == 0)
      return luaL_error(L, "wane: ctx:logits: the last step made no rows");
    first = (size_t)wn_check_int(L, 2, 1, (int64_t)rows) - 1;
    n = 1;
  }
  if (rows == 0)
    return luaL_error(L, "wane: ctx:logits: the last step made no rows");
  wn_buffer *b = wn_buffer_push(L, n, width, &e);
  if (b == NULL) return wn_push_error(L, &e);
  memset(b->data, 0, n * width * sizeof *b->data);
  wn_ctx *c = enter(L);
  for (size_t i = 0; i < n; i++) {
    const float *row = wn_ctx_logits(c, first + i, NULL);
    if (row != NULL) memcpy(b->data + i * width, row, width * sizeof *row);
  }
  wn_ctx_end(c);
  return 1;
}

/* logits_into(buffer, at): copies all rows of the last step to rows at, at + 1
 * ... of the buffer; returns how many. */
static int ctx_logits_into(lua_State *L) {
  size_t n = 0;
  wn_buffer *b = wn_buffer_check(L, 2);
  size_t at = (size_t)wn_check_int(L, 3, 1, INT32_MAX) - 1;
  wn_ctx *c = enter(L);
  size_t width = wn_model_n_vocab(wn_ctx_model(c));
  wn_ctx_logits(c, 0, &n);
  bool fits = b->cols == width && at <= b->rows && n <= b->rows - at;
  for (size_t i = 0; i < n && fits; i++)
    memcpy(b->data + (at + i) * width, wn_ctx_logits(c, i, NULL),
           width * sizeof *b->data);
  wn_ctx_end(c);
  luaL_argcheck(L, fits, 2, "the buffer has another shape");
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* Adds up the rows that count for `kind`, in order; returns how many. */
static size_t pool_rows(const wn_ctx *c, int kind, size_t width, float *sum) {
  size_t rows = 0, used = 0;
  wn_ctx_logits(c, 0, &rows);
  memset(sum, 0, width * sizeof *sum);
  for (size_t i = 0; i < rows; i++) {
    if ((kind == 1 && i != 0) || (kind == 2 && i != rows - 1)) continue;
    const float *row = wn_ctx_logits(c, i, NULL);
    for (size_t k = 0; k < width; k++)
      sum[k] += row[k];
    used++;
  }
  return used;
}

static int ctx_pool(lua_State *L) {
  static const char *const kinds[] = {"mean", "first", "last", NULL};
  size_t rows = 0, width = 0;
  wn_err e = {0};
  int kind = luaL_checkoption(L, 2, "mean", kinds);
  result_size(L, &rows, &width);
  if (rows == 0)
    return luaL_error(L, "wane: ctx:pool: the last step made no rows");
  wn_buffer *b = wn_buffer_push(L, 1, width, &e);
  if (b == NULL) return wn_push_error(L, &e);
  wn_ctx *c = enter(L);
  size_t used = pool_rows(c, kind, width, b->data);
  wn_ctx_end(c);
  for (size_t k = 0; k < width && used > 1; k++)
    b->data[k] /= (float)used;
  return 1;
}

/* -- sequences ------------------------------------------------------------ */

static uint32_t check_seq(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg)) return 0;
  return (uint32_t)wn_check_int(L, arg, 1, UINT32_MAX) - 1;
}

static int ctx_n_past(lua_State *L) {
  uint32_t seq = check_seq(L, 2);
  const wn_ctx *c = wn_handle_check(L, 1, &wn_ctx_class);
  lua_pushinteger(L, (lua_Integer)wn_ctx_n_past(c, seq));
  return 1;
}

/* Read while nothing is allocated, as all else that others may change. */
static int ctx_held(lua_State *L) {
  uint32_t seq = check_seq(L, 2);
  wn_ctx *c = wn_handle_check(L, 1, &wn_ctx_class);
  luaL_argcheck(L, seq < wn_ctx_n_seq(c), 2, "no such sequence");
  size_t n_ctx = wn_ctx_n_ctx(c);
  int32_t *ids = scratch(L, n_ctx, sizeof *ids);
  c = enter(L);
  uint32_t n = wn_ctx_n_past(c, seq);
  memcpy(ids, wn_ctx_held(c, seq), n * sizeof *ids);
  wn_ctx_end(c);
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 0; i < n; i++) {
    lua_pushinteger(L, ids[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* Reads n factors from the list at `arg` into a userdata it pushes. */
float *wn_check_gains(lua_State *L, int arg, uint32_t n) {
  luaL_checktype(L, arg, LUA_TTABLE);
  float *gains = scratch(L, n, sizeof *gains);
  if (lua_rawlen(L, arg) != n)
    luaL_error(L, "wane: %d factors, the model has %d adapters",
               (int)lua_rawlen(L, arg), (int)n);
  for (uint32_t i = 0; i < n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    double v = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
    if (!(v >= -1e6 && v <= 1e6))
      luaL_error(L, "wane: factor %d: want a number", (int)i + 1);
    gains[i] = (float)v;
    lua_pop(L, 1);
  }
  return gains;
}

static int ctx_gains(lua_State *L) {
  wn_ctx *c = wn_handle_check(L, 1, &wn_ctx_class);
  uint32_t seq = WN_NONE, n_seq = wn_ctx_n_seq(c);
  if (!lua_isnoneornil(L, 3)) seq = (uint32_t)wn_check_int(L, 3, 1, n_seq) - 1;
  float *gains = wn_check_gains(L, 2, wn_model_prog(wn_ctx_model(c))->n_gains);
  c = enter(L);
  wn_ctx_set_gains(c, seq, gains);
  for (uint32_t s = 0; s < n_seq && seq == WN_NONE; s++)
    wn_ctx_set_gains(c, s, gains);
  wn_ctx_end(c);
  return 0;
}

static int ctx_truncate(lua_State *L) {
  wn_err e = {0};
  uint32_t n = (uint32_t)wn_check_int(L, 2, 0, UINT32_MAX);
  uint32_t seq = check_seq(L, 3);
  wn_ctx *c = enter(L);
  int rc = wn_ctx_truncate(c, seq, n, &e);
  n = wn_ctx_n_past(c, seq);
  wn_ctx_end(c);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

static int ctx_copy(lua_State *L) {
  wn_err e = {0};
  uint32_t from = (uint32_t)wn_check_int(L, 2, 1, UINT32_MAX) - 1;
  uint32_t to = (uint32_t)wn_check_int(L, 3, 1, UINT32_MAX) - 1;
  uint32_t n = (uint32_t)wn_check_int(L, 4, 0, UINT32_MAX);
  wn_ctx *c = enter(L);
  int rc = wn_ctx_copy(c, from, to, n, &e);
  wn_ctx_end(c);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

/* Option seq; absent: all. */
static uint32_t saved_seq(lua_State *L, int t) {
  static const char *const names[] = {"seq", "overwrite", NULL};
  if (lua_isnoneornil(L, t)) return WN_SAVED_ALL;
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, names);
  return (uint32_t)wn_opt_int(L, t, "seq", 0, 1, WN_SAVED_ALL) - 1;
}

static int put_memory(void *arg, const void *p, size_t n, wn_err *e) {
  uint8_t **to = arg;
  (void)e;
  memcpy(*to, p, n);
  *to += n;
  return WN_OK;
}

/* The bytes are made in a userdata: Lua's to free, whatever happens. */
static int save_to_string(lua_State *L, uint32_t seq) {
  wn_err e = {0};
  wn_ctx *c = enter(L);
  uint64_t bytes = wn_saved_bytes(c, seq);
  wn_ctx_end(c);
  uint8_t *all = lua_newuserdata(L, (size_t)bytes), *to = all;
  c = enter(L);
  int rc = wn_saved_bytes(c, seq) == bytes
               ? wn_saved_put(c, seq, put_memory, &to, &e)
               : wn_fail(&e, WN_EBUSY, "the context changed meanwhile");
  wn_ctx_end(c);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushlstring(L, (const char *)all, (size_t)bytes);
  return 1;
}

static int ctx_save(lua_State *L) {
  wn_err e = {0};
  lua_settop(L, 3);
  uint32_t seq = saved_seq(L, 3);
  bool over = !lua_isnil(L, 3) && wn_opt_bool(L, 3, "overwrite", false);
  if (lua_isnil(L, 2)) return save_to_string(L, seq);
  const char *path = luaL_checkstring(L, 2);
  wn_ctx *c = enter(L);
  int rc = wn_saved_write(c, seq, path, over, &e);
  wn_ctx_end(c);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

/* What begins as a state does is one: no path has a NUL. */
static int ctx_load(lua_State *L) {
  wn_err e = {0};
  size_t n;
  lua_settop(L, 3);
  uint32_t seq = saved_seq(L, 3);
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *s = lua_tolstring(L, 2, &n);
  wn_ctx *c = enter(L);
  int rc = strlen(s) != n || n == 0
               ? wn_saved_take(c, seq, (const uint8_t *)s, n, &e)
               : wn_saved_read(c, seq, s, &e);
  wn_ctx_end(c);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static int ctx_info(lua_State *L) {
  const wn_ctx *c = wn_handle_check(L, 1, &wn_ctx_class);
  const char *const names[] = {"n_ctx", "n_seq",       "n_batch", "n_out",
                               "bytes", "cache_bytes", "regions"};
  uint64_t v[] = {wn_ctx_n_ctx(c),  wn_ctx_n_seq(c), wn_ctx_n_batch(c),
                  wn_ctx_n_out(c),  wn_ctx_bytes(c), wn_ctx_cache_bytes(c),
                  wn_ctx_regions(c)};
  lua_newtable(L);
  for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
    wn_push_u64(L, v[i]);
    lua_setfield(L, -2, names[i]);
  }
  return 1;
}

static const luaL_Reg ctx_methods[] = {{"step", ctx_step},
                                       {"logits", ctx_logits},
                                       {"logits_into", ctx_logits_into},
                                       {"pool", ctx_pool},
                                       {"n_past", ctx_n_past},
                                       {"held", ctx_held},
                                       {"gains", ctx_gains},
                                       {"save", ctx_save},
                                       {"load", ctx_load},
                                       {"copy", ctx_copy},
                                       {"truncate", ctx_truncate},
                                       {"info", ctx_info},
                                       {NULL, NULL}};

const wn_class_def wn_ctx_class = {"wane.context", ctx_methods, NULL,
                                   unref_ctx};

int wn_open_ctx(lua_State *L) {
  wn_class_register(L, &wn_ctx_class);
  wn_buffer_register(L);
  lua_newtable(L);
  return 1;
}
