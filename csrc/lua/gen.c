/* gen.c - Lua: generation loops and background jobs.
 *
 * core.job.gen(ctx, sampler, ids, opts) -> gen
 *   gen:step() -> true while running, the text that became ready
 * core.job.start(ctx, sampler, ids, opts) -> job
 *   job:poll() -> text ("" when nothing is new), running
 *   job:fd(), job:cancel(), job:stats() */
#include <string.h>

#include "base/mem.h"
#include "lua/buffer.h"
#include "lua/lib.h"
#include "lua/run.h"
#include "run/gen.h"
#include "run/job.h"
#include "run/sample.h"

/* ---- what loops and jobs share */

static const char *const gen_names[] = {"seq", "max_tokens", "special", "stop",
                                        NULL};

/* Copies the list of ids at `arg` into a userdata it pushes. */
static int32_t *check_ids(lua_State *L, int arg, size_t *n) {
  luaL_checktype(L, arg, LUA_TTABLE);
  *n = lua_rawlen(L, arg);
  int32_t *ids = lua_newuserdata(L, (*n + 1) * sizeof *ids);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    double id = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(id >= 0 && id < 2147483648.0) || id != (double)(int32_t)id)
      luaL_error(L, "wane: token %d is not an id", (int)i + 1);
    ids[i] = (int32_t)id;
    lua_pop(L, 1);
  }
  return ids;
}

/* The stop strings of opts.stop into a userdata it pushes; the strings stay
 * alive in the option table. */
static wn_str *check_stops(lua_State *L, int opts, size_t *n) {
  *n = 0;
  lua_getfield(L, opts, "stop");
  if (lua_isnil(L, -1)) return NULL;
  luaL_argcheck(L, lua_istable(L, -1), opts, "stop: want a list of strings");
  *n = lua_rawlen(L, -1);
  wn_str *s = lua_newuserdata(L, (*n + 1) * sizeof *s);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, -2, (int)i + 1);
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, opts,
                  "stop: want a list of strings");
    s[i].p = lua_tolstring(L, -1, &s[i].n);
    lua_pop(L, 1);
  }
  return s;
}

/* (ctx, sampler, ids, opts) -> a generator, or WN_E*. */
static int new_gen(lua_State *L, wn_ctx **ctx, wn_gen **gen, wn_err *e) {
  *ctx = wn_handle_check(L, 1, &wn_ctx_class);
  wn_sampler *s = wn_handle_check(L, 2, &wn_sampler_class);
  luaL_checktype(L, 4, LUA_TTABLE);
  wn_check_options(L, 4, gen_names);
  size_t n;
  wn_gen_opts o = {
      .seq = (uint32_t)wn_opt_int(L, 4, "seq", 1, 1, 65536) - 1,
      .max_tokens = (uint32_t)wn_opt_int(L, 4, "max_tokens", 0, 0, INT32_MAX),
      .special = wn_opt_bool(L, 4, "special", false)};
  if (wn_sampler_n_vocab(s) != wn_model_n_vocab(wn_ctx_model(*ctx)))
    return wn_fail(e, WN_EARG, "the sampler is for another vocabulary");
  int32_t *ids = check_ids(L, 3, &n);
  o.stop = check_stops(L, 4, &o.n_stop);
  /* metamethods and finalizers may have run: only what is open counts */
  *ctx = wn_handle_check(L, 1, &wn_ctx_class);
  s = wn_handle_check(L, 2, &wn_sampler_class);
  if (!wn_ctx_begin(*ctx))
    return wn_fail(e, WN_EBUSY, "generate: the context is busy");
  int rc = WN_EBUSY;
  if (wn_sampler_begin(s)) {
    rc = wn_gen_new(*ctx, s, ids, n, &o, gen, e);
    wn_sampler_end(s);
  } else {
    wn_fail(e, rc, "generate: the sampler is busy");
  }
  wn_ctx_end(*ctx);
  return rc;
}

static int push_stats(lua_State *L, const wn_gen_stats *s, wn_gen_end end) {
  lua_newtable(L);
  lua_pushinteger(L, s->n_prompt);
  lua_setfield(L, -2, "n_prompt");
  lua_pushinteger(L, s->n_prompt_done);
  lua_setfield(L, -2, "n_prompt_done");
  lua_pushinteger(L, s->n_tokens);
  lua_setfield(L, -2, "n_tokens");
  lua_pushnumber(L, s->prompt_seconds);
  lua_setfield(L, -2, "prompt_seconds");
  lua_pushnumber(L, s->token_seconds);
  lua_setfield(L, -2, "token_seconds");
  lua_pushstring(L, wn_gen_end_name(end));
  lua_setfield(L, -2, "state");
  return 1;
}

/* ---- the loop, stepped from Lua */

static void gen_unref(void *g) {
  wn_gen_free(g);
}
static const wn_class_def gen_class;

static int gen_new(lua_State *L) {
  wn_handle *h = wn_handle_new(L, &gen_class);
  wn_err e = {0};
  wn_ctx *ctx;
  wn_gen *g = NULL;
  int at = lua_gettop(L);
  if (new_gen(L, &ctx, &g, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = g;
  lua_pushvalue(L, at);
  return 1;
}

/* gen:step() -> running (boolean), text | nil, msg, code */
static int gen_step(lua_State *L) {
  wn_gen *g = wn_handle_check(L, 1, &gen_class);
  const char *text;
  wn_err e = {0};
  if (!wn_gen_enter(g))
    return luaL_error(L, "wane: context or sampler is busy");
  int rc = wn_gen_step(g, &e);
  wn_gen_leave(g);
  if (rc != WN_OK) return wn_push_error(L, &e);
  size_t n = wn_gen_take(g, &text);
  lua_pushboolean(L, wn_gen_ended(g) == WN_GEN_RUNNING);
  lua_pushlstring(L, n > 0 ? text : "", n);
  return 2;
}

static int gen_stats(lua_State *L) {
  wn_gen *g = wn_handle_check(L, 1, &gen_class);
  wn_gen_stats s;
  wn_gen_get_stats(g, &s);
  return push_stats(L, &s, wn_gen_ended(g));
}

static int gen_ids(lua_State *L) {
  wn_gen *g = wn_handle_check(L, 1, &gen_class);
  size_t n;
  const int32_t *ids = wn_gen_ids(g, &n);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_pushinteger(L, ids[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static const luaL_Reg gen_methods[] = {
    {"step", gen_step}, {"stats", gen_stats}, {"ids", gen_ids}, {NULL, NULL}};

static const wn_class_def gen_class = {"wane.generator", gen_methods, NULL,
                                       gen_unref};

/* ---- the loop in a thread */

static void job_unref(void *j) {
  wn_job_free(j);
}
static const wn_class_def job_class;

static int job_start(lua_State *L) {
  wn_handle *h = wn_handle_new(L, &job_class);
  wn_err e = {0};
  wn_ctx *ctx;
  wn_gen *g = NULL;
  wn_job *j = NULL;
  int at = lua_gettop(L);
  if (new_gen(L, &ctx, &g, &e) != WN_OK ||
      wn_job_start(g, ctx, &j, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = j;
  lua_pushvalue(L, at);
  return 1;
}

/* job:poll() -> text, running | nil, msg, code */
static int job_poll(lua_State *L) {
  wn_job *j = wn_handle_check(L, 1, &job_class);
  const char *text;
  size_t n;
  bool running;
  wn_err e = {0};
  if (wn_job_poll(j, &text, &n, &running, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushlstring(L, n > 0 ? text : "", n);
  lua_pushboolean(L, running);
  return 2;
}

static int job_fd(lua_State *L) {
  lua_pushinteger(L, wn_job_fd(wn_handle_check(L, 1, &job_class)));
  return 1;
}

static int job_cancel(lua_State *L) {
  wn_job_cancel(wn_handle_check(L, 1, &job_class));
  return 0;
}

static int job_stats(lua_State *L) {
  wn_job *j = wn_handle_check(L, 1, &job_class);
  wn_gen_stats s;
  wn_job_get_stats(j, &s);
  return push_stats(L, &s, wn_job_ended(j));
}

static const luaL_Reg job_methods[] = {{"poll", job_poll},
                                       {"fd", job_fd},
                                       {"cancel", job_cancel},
                                       {"stats", job_stats},
                                       {NULL, NULL}};

static const wn_class_def job_class = {"wane.job", job_methods, NULL,
                                       job_unref};

int wn_open_job(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"gen", gen_new}, {"start", job_start}, {NULL, NULL}};
  wn_class_register(L, &gen_class);
  wn_class_register(L, &job_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
