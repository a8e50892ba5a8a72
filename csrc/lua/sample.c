/* sample.c - Lua: samplers. See lua/wane/sample.lua for the face users see.
 *
 * core.sample.new { n_vocab =, vocab =, stages =, temperature =, ... }
 *     -> sampler | nil, message, code
 *     stages: a list of names; true in it is a stage of the host's
 *   s:pick(logits) -> id                 logits: a buffer of n_vocab values
 *   s:start(logits) -> true              then, until there is an id:
 *   s:resume() -> id | nil, place        place of the host's stage in `stages`
 *   s:apply(logits) -> true              all stages, no draw
 *   s:candidates() -> c                  while the host has them, or after
 *   s:accept(id)                         a token of the prompt
 *   s:take(id) -> true                   a token that was chosen
 *   s:bias(id, add)
 *   s:constrain(grammar, tokens [, { triggers =, after = }]), s:constrain(nil)
 *   s:ban(tokens, strings)
 *   s:forced() -> ids                    s:complete() -> boolean
 *   #c, c[i] (logit, also to set), c:id(i), c:p(i), c:remove(i), c:keep(n),
 *   c:sort(), c:pointer() -> light userdata: { int32 id; float logit, p; }[#c]
 * core.sample.logprobs(logits, id, n [, row]) -> value, ids, values */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "lua/buffer.h"
#include "lua/lib.h"
#include "lua/run.h"
#include "lua/vocab.h"
#include "run/logprob.h"
#include "run/sample.h"

static void sampler_unref(void *s) {
  wn_sampler_unref(s);
}

static const char *const sample_names[] = {"temperature",
                                           "dynatemp_range",
                                           "dynatemp_exponent",
                                           "top_k",
                                           "top_p",
                                           "min_p",
                                           "typical_p",
                                           "top_n_sigma",
                                           "xtc_probability",
                                           "xtc_threshold",
                                           "adaptive_target",
                                           "adaptive_decay",
                                           "mirostat_tau",
                                           "mirostat_eta",
                                           "repeat_penalty",
                                           "frequency_penalty",
                                           "presence_penalty",
                                           "repeat_last_n",
                                           "dry_multiplier",
                                           "dry_base",
                                           "dry_allowed_length",
                                           "dry_last_n",
                                           "dry_breakers",
                                           "min_keep",
                                           "ignore_eos",
                                           "seed",
                                           "n_vocab",
                                           "stages",
                                           "vocab",
                                           NULL};

#define STAGE_NAME(id, name) name,
static const char *const stage_names[] = {WN_PICKS(STAGE_NAME)};
#undef STAGE_NAME

static wn_pick_kind check_stage(lua_State *L, int at) {
  if (lua_isboolean(L, at) && lua_toboolean(L, at)) return WN_PICK_HOST;
  const char *name = lua_type(L, at) == LUA_TSTRING ? lua_tostring(L, at) : "";
  for (size_t i = 0; i < sizeof stage_names / sizeof *stage_names; i++)
    if (strcmp(name, stage_names[i]) == 0) return (wn_pick_kind)i;
  luaL_error(L, "wane: sampler: unknown stage '%s'", name);
  return WN_PICK_HOST;
}

/* opts.stages into `kinds`; NULL when it is absent. */
static const wn_pick_kind *check_stages(lua_State *L, int t,
                                        wn_pick_kind *kinds, size_t *n) {
  *n = 0;
  lua_getfield(L, t, "stages");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return NULL;
  }
  luaL_checktype(L, -1, LUA_TTABLE);
  *n = lua_rawlen(L, -1);
  if (*n > WN_MAX_PICKS)
    luaL_error(L, "wane: sampler: at most %d stages", WN_MAX_PICKS);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, -1, (int)i + 1);
    kinds[i] = check_stage(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return kinds;
}

wn_str *wn_check_strings(lua_State *L, int arg, const char *what, size_t *n) {
  *n = 0;
  if (lua_isnoneornil(L, arg)) {
    lua_pushnil(L);
    return NULL;
  }
  if (!lua_istable(L, arg))
    luaL_error(L, "wane: %s: want a list of strings", what);
  *n = lua_rawlen(L, arg);
  wn_str *s = lua_newuserdata(L, (*n + 1) * sizeof *s);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "wane: %s: want a list of strings", what);
    s[i].p = lua_tolstring(L, -1, &s[i].n);
    lua_pop(L, 1);
  }
  return s;
}

static float num(lua_State *L, const char *key, double def, double min,
                 double max) {
  return (float)wn_opt_num(L, 1, key, def, min, max);
}

static uint32_t whole(lua_State *L, const char *key, int64_t def, int64_t max) {
  return (uint32_t)wn_opt_int(L, 1, key, def, 0, max);
}

/* The numbers among the options at 1. */
static void read_numbers(lua_State *L, wn_sample_opts *o) {
  o->temperature = num(L, "temperature", 0.8, 0, 1e6);
  o->dynatemp_range = num(L, "dynatemp_range", 0, 0, 1e6);
  o->dynatemp_exponent = num(L, "dynatemp_exponent", 1, -1e6, 1e6);
  o->top_k = whole(L, "top_k", 40, INT32_MAX);
  o->top_p = num(L, "top_p", 0.95, 0, 1);
  o->min_p = num(L, "min_p", 0.05, 0, 1);
  o->typical_p = num(L, "typical_p", 1, 0, 1);
  o->top_n_sigma = num(L, "top_n_sigma", -1, -1, 1e6);
  o->xtc_probability = num(L, "xtc_probability", 0, 0, 1);
  o->xtc_threshold = num(L, "xtc_threshold", 0.1, 0, 1);
  o->adaptive_target = num(L, "adaptive_target", -1, -1, 1);
  o->adaptive_decay = num(L, "adaptive_decay", 0.9, 0, 0.99);
  o->mirostat_tau = num(L, "mirostat_tau", 5, 0, 1e6);
  o->mirostat_eta = num(L, "mirostat_eta", 0.1, 0, 1e6);
  o->repeat_penalty = num(L, "repeat_penalty", 1, 1e-6, 1e6);
  o->frequency_penalty = num(L, "frequency_penalty", 0, -1e6, 1e6);
  o->presence_penalty = num(L, "presence_penalty", 0, -1e6, 1e6);
  o->repeat_last_n = whole(L, "repeat_last_n", 64, 1 << 20);
  o->dry_multiplier = num(L, "dry_multiplier", 0, -1e6, 1e6);
  o->dry_base = num(L, "dry_base", 1.75, 0, 1e6);
  o->dry_allowed_length = whole(L, "dry_allowed_length", 2, INT32_MAX);
  o->dry_last_n = whole(L, "dry_last_n", 4096, 1 << 20);
  o->min_keep = whole(L, "min_keep", 0, INT32_MAX);
  o->ignore_eos = wn_opt_bool(L, 1, "ignore_eos", false);
  o->seed = (uint64_t)wn_opt_int(L, 1, "seed", 0, 0, 9007199254740992);
}

static int sample_new(lua_State *L) {
  wn_sample_opts o = {0};
  wn_pick_kind kinds[WN_MAX_PICKS];
  luaL_checktype(L, 1, LUA_TTABLE);
  wn_check_options(L, 1, sample_names);
  read_numbers(L, &o);
  uint32_t n_vocab = whole(L, "n_vocab", 0, INT32_MAX);
  o.stages = check_stages(L, 1, kinds, &o.n_stages);
  lua_getfield(L, 1, "dry_breakers");
  o.dry_breakers =
      wn_check_strings(L, lua_gettop(L), "dry_breakers", &o.n_dry_breakers);
  wn_handle *h = wn_handle_new(L, &wn_sampler_class);
  lua_getfield(L, 1, "vocab");
  if (!lua_isnil(L, -1))
    o.vocab = wn_handle_check(L, lua_gettop(L), &wn_vocab_class);
  wn_err e = {0};
  wn_sampler *s = NULL;
  if (wn_sampler_new(&o, n_vocab, &s, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = s;
  lua_pop(L, 1);
  return 1;
}

/* ---- methods */

static wn_sampler *check_sampler(lua_State *L, int arg) {
  return wn_handle_check(L, arg, &wn_sampler_class);
}

/* The sampler at `arg`, entered: wn_sampler_end must follow, with no Lua call
 * that can raise in between. */
static wn_sampler *enter_sampler(lua_State *L, int arg) {
  wn_sampler *s = check_sampler(L, arg);
  if (!wn_sampler_begin(s)) luaL_error(L, "wane: sampler is busy");
  return s;
}

/* The logits at 2, for the sampler at 1. */
static const float *check_logits(lua_State *L) {
  const wn_sampler *s = check_sampler(L, 1);
  const wn_buffer *b = wn_buffer_check(L, 2);
  luaL_argcheck(L, b->rows * b->cols == wn_sampler_n_vocab(s), 2,
                "want one logit per token of the vocabulary");
  return b->data;
}

/* Leaves the sampler; true on the stack, or the error. */
static int leave(lua_State *L, wn_sampler *s, int rc, const wn_err *e) {
  wn_sampler_end(s);
  if (rc != WN_OK) return wn_push_error(L, e);
  lua_pushboolean(L, 1);
  return 1;
}

static int sampler_pick(lua_State *L) {
  const float *logits = check_logits(L);
  wn_err e = {0};
  int32_t id = 0;
  wn_sampler *s = enter_sampler(L, 1);
  int rc = wn_sampler_pick(s, logits, &id, &e);
  wn_sampler_end(s);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushinteger(L, id);
  return 1;
}

static int sampler_start(lua_State *L) {
  const float *logits = check_logits(L);
  wn_err e = {0};
  /* otherwise the logits are not copied, and the buffer may go */
  luaL_argcheck(L, wn_sampler_has_host(check_sampler(L, 1)), 1,
                "no stage is a function: use pick");
  wn_sampler *s = enter_sampler(L, 1);
  return leave(L, s, wn_sampler_start(s, logits, &e), &e);
}

static int sampler_resume(lua_State *L) {
  wn_err e = {0};
  int host = -1;
  int32_t id = 0;
  wn_sampler *s = enter_sampler(L, 1);
  int rc = wn_sampler_resume(s, &host, &id, &e);
  wn_sampler_end(s);
  if (rc != WN_OK) return wn_push_error(L, &e);
  if (host < 0) {
    lua_pushinteger(L, id);
    return 1;
  }
  lua_pushnil(L);
  lua_pushinteger(L, host + 1);
  return 2;
}

static int sampler_apply(lua_State *L) {
  const float *logits = check_logits(L);
  wn_err e = {0};
  wn_sampler *s = enter_sampler(L, 1);
  return leave(L, s, wn_sampler_apply(s, logits, &e), &e);
}

static int sampler_accept(lua_State *L) {
  int32_t id = (int32_t)wn_check_int(L, 2, 0, INT32_MAX);
  wn_sampler *s = enter_sampler(L, 1);
  wn_sampler_accept(s, id);
  wn_sampler_end(s);
  return 0;
}

static int sampler_take(lua_State *L) {
  int32_t id = (int32_t)wn_check_int(L, 2, 0, INT32_MAX);
  wn_err e = {0};
  wn_sampler *s = enter_sampler(L, 1);
  return leave(L, s, wn_sampler_take(s, id, &e), &e);
}

static int sampler_bias(lua_State *L) {
  int32_t id = (int32_t)wn_check_int(L, 2, 0, INT32_MAX);
  float add = (float)luaL_checknumber(L, 3);
  wn_err e = {0};
  wn_sampler *s = enter_sampler(L, 1);
  return leave(L, s, wn_sampler_bias(s, id, add, &e), &e);
}

static int sampler_constrain(lua_State *L) {
  wn_match_opts o = {0};
  wn_match *m = NULL;
  wn_err e = {0};
  int rc = WN_OK;
  lua_settop(L, 4);
  if (!lua_isnil(L, 2)) {
    wn_match_options(L, 4, &o);
    wn_grammar *g = wn_handle_check(L, 2, &wn_grammar_class);
    wn_tokens *t = wn_handle_check(L, 3, &wn_tokens_class);
    check_sampler(L, 1);
    rc = wn_match_new(g, t, &o, &m, &e);
  }
  if (rc != WN_OK) return wn_push_error(L, &e);
  wn_sampler *s = check_sampler(L, 1);
  if (!wn_sampler_begin(s)) {
    wn_match_free(m);
    return luaL_error(L, "wane: sampler is busy");
  }
  wn_sampler_constrain(s, m);
  return leave(L, s, WN_OK, &e);
}

static int sampler_ban(lua_State *L) {
  size_t n;
  wn_err e = {0};
  lua_settop(L, 3);
  const wn_str *list = wn_check_strings(L, 3, "banned", &n);
  wn_tokens *t = wn_handle_check(L, 2, &wn_tokens_class);
  wn_sampler *s = enter_sampler(L, 1);
  return leave(L, s, wn_sampler_ban(s, t, list, n, &e), &e);
}

static int sampler_forced(lua_State *L) {
  int32_t ids[64];
  uint32_t n;
  wn_err e = {0};
  wn_sampler *s = enter_sampler(L, 1);
  int rc = wn_sampler_forced(s, ids, 64, &n, &e);
  wn_sampler_end(s);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 0; i < n; i++) {
    lua_pushinteger(L, ids[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int sampler_complete(lua_State *L) {
  wn_sampler *s = enter_sampler(L, 1);
  bool complete = wn_sampler_complete(s);
  wn_sampler_end(s);
  lua_pushboolean(L, complete);
  return 1;
}

/* ---- candidates: a view into the sampler, which it keeps */

static const wn_class_def cands_class;

static int sampler_candidates(lua_State *L) {
  wn_handle *h = wn_handle_new(L, &cands_class);
  h->obj = wn_sampler_ref(check_sampler(L, 1));
  return 1;
}

static wn_cands *check_cands(lua_State *L) {
  wn_sampler *s = wn_handle_check(L, 1, &cands_class);
  if (!wn_sampler_begin(s)) luaL_error(L, "wane: sampler is busy");
  wn_cands *c = wn_sampler_cands(s);
  wn_sampler_end(s);
  if (c == NULL) luaL_error(L, "wane: the candidates are in use");
  return c;
}

/* The candidate whose number is at `arg`. */
static wn_tok *check_cand(lua_State *L, int arg) {
  wn_cands *c = check_cands(L);
  return &c->d[wn_check_int(L, arg, 1, (int64_t)c->n) - 1];
}

static int cands_id(lua_State *L) {
  lua_pushinteger(L, check_cand(L, 2)->id);
  return 1;
}

static int cands_p(lua_State *L) {
  lua_pushnumber(L, (lua_Number)check_cand(L, 2)->p);
  return 1;
}

static int cands_remove(lua_State *L) {
  wn_tok *t = check_cand(L, 2);
  wn_cands *c = check_cands(L);
  memmove(t, t + 1, (size_t)(c->d + c->n - t - 1) * sizeof *t);
  c->n--;
  return 0;
}

static int cands_keep(lua_State *L) {
  wn_cands *c = check_cands(L);
  c->n = (uint32_t)wn_check_int(L, 2, 0, (int64_t)c->n);
  return 0;
}

static int cands_sort(lua_State *L) {
  wn_cands *c = check_cands(L);
  for (uint32_t i = 0; i < c->n; i++)
    luaL_argcheck(L, !isnan(c->d[i].logit), 1, "a logit is nan");
  c->sorted = false;
  wn_cands_sort(c);
  return 0;
}

static int cands_pointer(lua_State *L) {
  lua_pushlightuserdata(L, check_cands(L)->d);
  return 1;
}

static int cands_len(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)check_cands(L)->n);
  return 1;
}

/* c[i]: the logit, nil outside 1..#c; c.name: a method (upvalue 1) */
static int cands_index(lua_State *L) {
  if (lua_type(L, 2) != LUA_TNUMBER) {
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
  }
  const wn_cands *c = check_cands(L);
  double i = lua_tonumber(L, 2);
  if (!(i >= 1 && i <= (double)c->n) || i != floor(i)) return 0;
  lua_pushnumber(L, (lua_Number)c->d[(uint32_t)i - 1].logit);
  return 1;
}

static int cands_newindex(lua_State *L) {
  check_cand(L, 2)->logit = (float)luaL_checknumber(L, 3);
  return 0;
}

static const luaL_Reg cands_methods[] = {
    {"id", cands_id},     {"p", cands_p},       {"remove", cands_remove},
    {"keep", cands_keep}, {"sort", cands_sort}, {"pointer", cands_pointer},
    {NULL, NULL}};
static const luaL_Reg cands_meta[] = {
    {"__newindex", cands_newindex}, {"__len", cands_len}, {NULL, NULL}};
static const wn_class_def cands_class = {"wane.candidates", cands_methods,
                                         cands_meta, sampler_unref};

/* Numbers index candidates, names methods. */
static void register_cands(lua_State *L) {
  wn_class_register(L, &cands_class);
  luaL_getmetatable(L, cands_class.name);
  lua_getfield(L, -1, "__index");
  if (lua_istable(L, -1)) { /* first time */
    lua_pushcclosure(L, cands_index, 1);
    lua_setfield(L, -2, "__index");
  } else {
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* ---- log probabilities */

static int sample_logprobs(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  int64_t id = wn_check_int(L, 2, 0, (int64_t)b->cols - 1);
  int64_t most = b->cols < 1024 ? (int64_t)b->cols : 1024;
  uint32_t n = (uint32_t)wn_check_int(L, 3, 0, most);
  int64_t row =
      lua_isnoneornil(L, 4) ? 1 : wn_check_int(L, 4, 1, (int64_t)b->rows);
  wn_logprob *top = lua_newuserdata(L, (n + 1) * sizeof *top);
  wn_err e = {0};
  b = wn_buffer_check(L, 1);
  if (wn_logprobs(b->data + (size_t)(row - 1) * b->cols, (uint32_t)b->cols,
                  (int32_t)id, n, top, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushnumber(L, (lua_Number)top[0].value);
  lua_createtable(L, (int)n, 0);
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 1; i <= n; i++) {
    lua_pushinteger(L, top[i].id);
    lua_rawseti(L, -3, (int)i);
    lua_pushnumber(L, (lua_Number)top[i].value);
    lua_rawseti(L, -2, (int)i);
  }
  return 3;
}

static const luaL_Reg sampler_methods[] = {{"pick", sampler_pick},
                                           {"start", sampler_start},
                                           {"resume", sampler_resume},
                                           {"apply", sampler_apply},
                                           {"candidates", sampler_candidates},
                                           {"accept", sampler_accept},
                                           {"take", sampler_take},
                                           {"bias", sampler_bias},
                                           {"constrain", sampler_constrain},
                                           {"ban", sampler_ban},
                                           {"forced", sampler_forced},
                                           {"complete", sampler_complete},
                                           {NULL, NULL}};

const wn_class_def wn_sampler_class = {"wane.sampler", sampler_methods, NULL,
                                       sampler_unref};

int wn_open_sample(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"new", sample_new}, {"logprobs", sample_logprobs}, {NULL, NULL}};
  wn_class_register(L, &wn_sampler_class);
  register_cands(L);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
