/* job.c - Lua: generations, pulled or in the background (run/batch.h).
 *
 * core.job.gen(ctx, sampler, ids, opts) -> gen
 *   opts: seq (from 1; 0: any, the prompt is the whole text), max_tokens,
 *   special, bytes, stop (list), max_prompt_ms, max_token_ms, shift, keep,
 *   n_draft, draft (a context), gains (factors of adapters), logprobs (0 to
 *   1024; -1: none), echo, n_shift
 *   gen:step([budget]) -> true while running, the text that became ready
 *   gen:add()            into the batch: batch_step works for it
 *   gen:take() -> text   gen:ids([from]) -> ids   gen:stats()   gen:cancel()
 *   gen:error() -> nil | nil, message, code
 *   gen:logprobs([from], [prompt]) -> list of { id, text, logprob, top }
 *   gen:stage() -> the place of a stage of the sampler that is the host's turn
 *   now; the next call goes on behind it. nil: none is
 * core.job.start(ctx, sampler, ids, opts) -> job
 *   job:poll() -> text ("" when nothing is new), running; once nil, message,
 *   code when it failed
 *   job:fd(), job:cancel(), job:stats(), job:ids([from]), job:logprobs()
 * core.job.batch_step(ctx, budget) -> how many have not ended
 *   budget: { ms = , tokens = }
 * core.job.idle(ctx, seconds) -> true when no job runs on it (any more)
 * core.job.settle(seconds) -> true when no background thread is left */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "lua/lib.h"
#include "lua/run.h"
#include "run/batch.h"
#include "run/job.h"
#include "run/sample.h"

/* ---- options */

static const char *const gen_names[] = {
    "seq",      "max_tokens",    "special",      "bytes",
    "stop",     "max_prompt_ms", "max_token_ms", "shift",
    "keep",     "draft",         "n_draft",      "gains",
    "logprobs", "echo",          "n_shift",      NULL};

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

static wn_gen_opts check_opts(lua_State *L, int t) {
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, gen_names);
  wn_gen_opts o = {
      /* 0 becomes WN_GEN_ANY */
      .seq = (uint32_t)wn_opt_int(L, t, "seq", 1, 0, 65536) - 1,
      .max_tokens =
          (uint32_t)wn_opt_int(L, t, "max_tokens", INT32_MAX, 0, INT32_MAX),
      .special = wn_opt_bool(L, t, "special", false),
      .raw = wn_opt_bool(L, t, "bytes", false),
      .max_prompt_seconds = wn_opt_num(L, t, "max_prompt_ms", 0, 0, 1e12) / 1e3,
      .max_token_seconds = wn_opt_num(L, t, "max_token_ms", 0, 0, 1e12) / 1e3,
      .shift = wn_opt_bool(L, t, "shift", false),
      .keep = (uint32_t)wn_opt_int(L, t, "keep", 0, 0, INT32_MAX),
      .n_shift = (uint32_t)wn_opt_int(L, t, "n_shift", 0, 0, INT32_MAX),
      .n_draft = (uint32_t)wn_opt_int(L, t, "n_draft", 0, 0, 64),
      .n_logprobs = (int32_t)wn_opt_int(L, t, "logprobs", -1, -1, 1024),
      .echo = wn_opt_bool(L, t, "echo", false)};
  o.stop = check_stops(L, t, &o.n_stop);
  lua_getfield(L, t, "draft"); /* stays on the stack: it is in use */
  if (!lua_isnil(L, -1))
    o.draft = wn_handle_check(L, lua_gettop(L), &wn_ctx_class);
  return o;
}

static wn_budget check_budget(lua_State *L, int t) {
  static const char *const names[] = {"ms", "tokens", NULL};
  wn_budget o = {0, 0};
  if (lua_isnoneornil(L, t)) return o;
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, names);
  o.seconds = wn_opt_num(L, t, "ms", 0, 0, 1e12) / 1e3;
  o.tokens = (uint32_t)wn_opt_int(L, t, "tokens", 0, 0, INT32_MAX);
  return o;
}

/* Is the sampler free? One that somebody is inside of now may be for long. */
static int probe(wn_sampler *s, wn_err *e) {
  if (!wn_sampler_begin(s))
    return wn_fail(e, WN_EBUSY, "generate: the sampler is busy");
  wn_sampler_end(s);
  return WN_OK;
}

/* (ctx, sampler, ids, opts) -> a generation, or WN_E*. */
static int new_gen(lua_State *L, wn_gen **gen, wn_err *e) {
  size_t n;
  wn_handle_check(L, 1, &wn_ctx_class);
  wn_handle_check(L, 2, &wn_sampler_class);
  int32_t *ids = check_ids(L, 3, &n);
  wn_gen_opts o = check_opts(L, 4);
  lua_getfield(L, 4, "gains");
  if (!lua_isnil(L, -1)) {
    wn_ctx *c = wn_handle_check(L, 1, &wn_ctx_class);
    o.gains = wn_check_gains(L, lua_gettop(L),
                             wn_model_prog(wn_ctx_model(c))->n_gains);
  }
  /* metamethods and finalizers may have run: only what is open counts */
  wn_ctx *ctx = wn_handle_check(L, 1, &wn_ctx_class);
  wn_sampler *s = wn_handle_check(L, 2, &wn_sampler_class);
  if (wn_sampler_n_vocab(s) != wn_model_n_vocab(wn_ctx_model(ctx)))
    return wn_fail(e, WN_EARG, "the sampler is for another vocabulary");
  int rc = probe(s, e);
  return rc == WN_OK ? wn_gen_new(ctx, s, ids, n, &o, gen, e) : rc;
}

/* ---- what generations and jobs tell */

static int push_stats(lua_State *L, wn_gen *g) {
  wn_gen_stats s;
  wn_gen_get_stats(g, &s);
  lua_newtable(L);
  wn_set_int(L, "n_prompt", s.n_prompt);
  wn_set_int(L, "n_prompt_done", s.n_prompt_done);
  wn_set_int(L, "n_reused", s.n_reused);
  wn_set_int(L, "n_tokens", s.n_tokens);
  wn_set_int(L, "n_drafted", s.n_drafted);
  wn_set_int(L, "n_accepted", s.n_accepted);
  wn_set_int(L, "n_shifted", s.n_shifted);
  wn_set_num(L, "prompt_seconds", s.prompt_seconds);
  wn_set_num(L, "token_seconds", s.token_seconds);
  wn_set_str(L, "state", wn_gen_end_name(wn_gen_ended(g)));
  if (s.seq != WN_GEN_ANY) wn_set_int(L, "seq", (int64_t)s.seq + 1);
  return 1;
}

static int push_ids(lua_State *L, wn_gen *g) {
  size_t from =
      lua_isnoneornil(L, 2) ? 0 : (size_t)wn_check_int(L, 2, 1, INT32_MAX) - 1;
  size_t n = wn_gen_ids(g, from, NULL, 0);
  n = n > from ? n - from : 0;
  int32_t *ids = lua_newuserdata(L, (n + 1) * sizeof *ids);
  wn_gen_ids(g, from, ids, n);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_pushinteger(L, ids[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* id, text (the token's bytes) and logprob of one into the table on top. */
static void set_log(lua_State *L, wn_gen *g, const wn_logprob *p) {
  const wn_vocab *v = wn_gen_vocab(g);
  wn_set_int(L, "id", p->id);
  if (!isnan(p->value)) wn_set_num(L, "logprob", (double)p->value);
  if (v == NULL) return;
  size_t n = wn_vocab_piece(v, p->id, true, NULL, 0);
  char *text = lua_newuserdata(L, n + 1);
  wn_vocab_piece(v, p->id, true, text, n);
  lua_pushlstring(L, text, n);
  lua_setfield(L, -3, "text");
  lua_pop(L, 1);
}

/* ([from], [prompt]) -> list */
static int push_logs(lua_State *L, wn_gen *g) {
  size_t from =
      lua_isnoneornil(L, 2) ? 0 : (size_t)wn_check_int(L, 2, 1, INT32_MAX) - 1;
  bool prompt = lua_toboolean(L, 3);
  size_t n = wn_gen_logs(g, prompt, 0, NULL, 0);
  size_t each = (size_t)wn_gen_n_top(g) + 1;
  n = n > from ? n - from : 0;
  wn_logprob *p = lua_newuserdata(L, (n + 1) * each * sizeof *p);
  wn_gen_logs(g, prompt, from, p, n);
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++, p += each) {
    lua_createtable(L, 0, 4);
    set_log(L, g, p);
    lua_createtable(L, (int)each - 1, 0);
    for (size_t k = 1; k < each && p[k].id >= 0; k++) {
      lua_createtable(L, 0, 3);
      set_log(L, g, p + k);
      lua_rawseti(L, -2, (int)k);
    }
    lua_setfield(L, -2, "top");
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

/* ---- generations */

static void gen_unref(void *g) {
  wn_gen_free(g);
}

static wn_gen *to_gen(lua_State *L);

static void push_text(lua_State *L, wn_gen *g) {
  const char *text;
  size_t n = wn_gen_take(g, &text);
  lua_pushlstring(L, n > 0 ? text : "", n);
}

/* gen:step([budget]) -> running (boolean), text | nil, msg, code */
static int gen_step(lua_State *L) {
  wn_err e = {0};
  wn_budget o = check_budget(L, 2);
  wn_gen *g = to_gen(L);
  int rc = wn_gen_pull(g, &o, &e);
  if (rc == WN_EBUSY && wn_gen_ended(g) == WN_GEN_RUNNING)
    return luaL_error(L, "wane: %s", e.msg);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, wn_gen_ended(g) == WN_GEN_RUNNING);
  push_text(L, g);
  return 2;
}

static int gen_take(lua_State *L) {
  push_text(L, to_gen(L));
  return 1;
}

static int gen_add(lua_State *L) {
  wn_err e = {0};
  wn_batch *b = NULL;
  wn_gen *g = to_gen(L);
  if (wn_batch_of(wn_gen_ctx(g), &b, &e) != WN_OK ||
      wn_batch_add(b, g, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static int gen_error(lua_State *L) {
  wn_err e = {0};
  if (wn_gen_error(to_gen(L), &e) == WN_OK) return 0;
  return wn_push_error(L, &e);
}

static int gen_cancel(lua_State *L) {
  wn_gen_cancel(to_gen(L));
  return 0;
}

static int gen_stats(lua_State *L) {
  return push_stats(L, to_gen(L));
}

static int gen_ids(lua_State *L) {
  return push_ids(L, to_gen(L));
}

static int gen_logprobs(lua_State *L) {
  return push_logs(L, to_gen(L));
}

static int gen_stage(lua_State *L) {
  wn_err e = {0};
  int host = -1;
  if (wn_gen_resume(to_gen(L), &host, &e) != WN_OK)
    return luaL_error(L, "wane: %s", e.msg);
  if (host < 0) return 0;
  lua_pushinteger(L, host + 1);
  return 1;
}

static const luaL_Reg gen_methods[] = {
    {"step", gen_step},   {"take", gen_take},         {"add", gen_add},
    {"error", gen_error}, {"cancel", gen_cancel},     {"stats", gen_stats},
    {"ids", gen_ids},     {"logprobs", gen_logprobs}, {"stage", gen_stage},
    {NULL, NULL}};

static const wn_class_def gen_class = {"wane.generator", gen_methods, NULL,
                                       gen_unref};

static wn_gen *to_gen(lua_State *L) {
  return wn_handle_check(L, 1, &gen_class);
}

static int gen_new(lua_State *L) {
  wn_handle *h = wn_handle_new(L, &gen_class);
  wn_err e = {0};
  wn_gen *g = NULL;
  int at = lua_gettop(L);
  if (new_gen(L, &g, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = g;
  lua_pushvalue(L, at);
  return 1;
}

/* batch_step(ctx, budget) -> how many have not ended */
static int batch_step(lua_State *L) {
  wn_err e = {0};
  wn_batch *b = NULL;
  uint32_t n_live = 0;
  wn_budget o = check_budget(L, 2);
  wn_ctx *ctx = wn_handle_check(L, 1, &wn_ctx_class);
  if (wn_batch_of(ctx, &b, &e) != WN_OK) return wn_push_error(L, &e);
  int rc = wn_batch_step(b, &o, &n_live, &e);
  if (rc == WN_EBUSY) return luaL_error(L, "wane: %s", e.msg);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushinteger(L, (lua_Integer)n_live);
  return 1;
}

/* ---- jobs */

static void job_unref(void *j) {
  wn_job_free(j);
}
static const wn_class_def job_class;

static int job_start(lua_State *L) {
  wn_handle *h = wn_handle_new(L, &job_class);
  wn_err e = {0};
  wn_gen *g = NULL;
  wn_job *j = NULL;
  int at = lua_gettop(L);
  if (new_gen(L, &g, &e) != WN_OK || wn_job_start(g, &j, &e) != WN_OK)
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
  return push_stats(L, wn_job_gen(wn_handle_check(L, 1, &job_class)));
}

static int job_ids(lua_State *L) {
  return push_ids(L, wn_job_gen(wn_handle_check(L, 1, &job_class)));
}

static int job_logprobs(lua_State *L) {
  return push_logs(L, wn_job_gen(wn_handle_check(L, 1, &job_class)));
}

static const luaL_Reg job_methods[] = {
    {"poll", job_poll},   {"fd", job_fd},   {"cancel", job_cancel},
    {"stats", job_stats}, {"ids", job_ids}, {"logprobs", job_logprobs},
    {NULL, NULL}};

static const wn_class_def job_class = {"wane.job", job_methods, NULL,
                                       job_unref};

static int job_idle(lua_State *L) {
  double seconds = luaL_checknumber(L, 2);
  wn_ctx *ctx = wn_handle_check(L, 1, &wn_ctx_class);
  wn_batch *b = wn_ctx_batch(ctx);
  lua_pushboolean(L, b == NULL || wn_batch_idle(b, seconds));
  return 1;
}

static int job_settle(lua_State *L) {
  lua_pushboolean(L, wn_batch_settle(luaL_checknumber(L, 1)));
  return 1;
}

int wn_open_job(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"gen", gen_new},   {"start", job_start},   {"batch_step", batch_step},
      {"idle", job_idle}, {"settle", job_settle}, {NULL, NULL}};
  wn_class_register(L, &gen_class);
  wn_class_register(L, &job_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
