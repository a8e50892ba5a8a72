/* score.c - Lua: judging the logits of a context's last step.
 *
 * core.score.nll(ctx, targets) -> list of nll, list of top tokens
 * core.score.compare(ctx_p, ctx_q, targets) -> list of
 *   { nll_p, nll_q, kld, p_diff, top_p, top_q } as six parallel lists
 * targets: one token id per row of logits. */
#include "run/score.h"

#include "base/mem.h"
#include "base/pool.h"
#include "lua/lib.h"
#include "lua/run.h"
#include "run/ctx.h"

/* The targets at `arg` in a userdata; there must be n of them, all ids. */
static int32_t *check_targets(lua_State *L, int arg, size_t n,
                              uint32_t n_vocab) {
  luaL_checktype(L, arg, LUA_TTABLE);
  luaL_argcheck(L, lua_rawlen(L, arg) == n, arg,
                "want one target per row of logits");
  int32_t *t = lua_newuserdata(L, (n + 1) * sizeof *t);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    double id = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    bool good = id >= 0 && id < (double)n_vocab && id == (double)(int32_t)id;
    luaL_argcheck(L, good, arg, "a target is not a token id");
    t[i] = (int32_t)id;
    lua_pop(L, 1);
  }
  return t;
}

static void set_number(lua_State *L, int list, size_t i, double v) {
  lua_pushnumber(L, v);
  lua_rawseti(L, list, (int)i + 1);
}

/* The context at `arg`, entered: wn_ctx_end must follow, with no Lua call that
 * can raise in between. */
static wn_ctx *enter(lua_State *L, int arg) {
  wn_ctx *c = wn_handle_check(L, arg, &wn_ctx_class);
  if (!wn_ctx_begin(c)) luaL_error(L, "wane: context is busy");
  return c;
}

/* Rows of the last step of the context at `arg`. */
static size_t count_rows(lua_State *L, int arg, uint32_t *n_vocab) {
  size_t n = 0;
  wn_ctx *c = enter(L, arg);
  wn_ctx_logits(c, 0, &n);
  *n_vocab = wn_model_n_vocab(wn_ctx_model(c));
  wn_ctx_end(c);
  return n;
}

static int score_nll(lua_State *L) {
  uint32_t n_vocab;
  size_t n = count_rows(L, 1, &n_vocab), now = 0;
  const int32_t *target = check_targets(L, 2, n, n_vocab);
  double *nll = lua_newuserdata(L, (n + 1) * sizeof *nll);
  int32_t *top = lua_newuserdata(L, (n + 1) * sizeof *top);
  wn_ctx *c = enter(L, 1);
  const float *logits = wn_ctx_logits(c, 0, &now);
  if (now == n)
    wn_score_nll(logits, n_vocab, n, n_vocab, target, nll, top,
                 wn_pool_default_threads());
  wn_ctx_end(c);
  if (now != n)
    return luaL_error(L, "wane: the context took another step meanwhile");
  lua_createtable(L, (int)n, 0);
  lua_createtable(L, (int)n, 0);
  int at = lua_gettop(L);
  for (size_t i = 0; i < n; i++) {
    set_number(L, at - 1, i, nll[i]);
    set_number(L, at, i, top[i]);
  }
  return 2;
}

/* Compares the rows of both contexts, which may be the same one, into d; false
 * when they are not n rows (any more). */
static bool compare_rows(lua_State *L, size_t n, uint32_t n_vocab,
                         const int32_t *target, wn_divergence *d) {
  size_t n_p = 0, n_q = 0;
  wn_ctx *q = wn_handle_check(L, 2, &wn_ctx_class), *p = enter(L, 1);
  bool both = q == p || wn_ctx_begin(q);
  if (both) {
    const float *lp = wn_ctx_logits(p, 0, &n_p);
    const float *lq = wn_ctx_logits(q, 0, &n_q);
    both = n_p == n && n_q == n;
    if (both)
      wn_score_compare(lp, n_vocab, lq, n_vocab, n, n_vocab, target, d,
                       wn_pool_default_threads());
    if (q != p) wn_ctx_end(q);
  }
  wn_ctx_end(p);
  return both;
}

static int score_compare(lua_State *L) {
  uint32_t n_vocab, n_vocab_q;
  size_t n = count_rows(L, 1, &n_vocab), n_q = count_rows(L, 2, &n_vocab_q);
  luaL_argcheck(L, n_vocab == n_vocab_q, 2,
                "the models have different vocabularies");
  luaL_argcheck(L, n == n_q, 2, "the contexts hold different rows of logits");
  const int32_t *target = check_targets(L, 3, n, n_vocab);
  wn_divergence *d = lua_newuserdata(L, (n + 1) * sizeof *d);
  if (!compare_rows(L, n, n_vocab, target, d))
    return luaL_error(L, "wane: a context is busy or took another step");
  for (int k = 0; k < 6; k++)
    lua_createtable(L, (int)n, 0);
  int at = lua_gettop(L);
  for (size_t i = 0; i < n; i++) {
    set_number(L, at - 5, i, d[i].nll_p);
    set_number(L, at - 4, i, d[i].nll_q);
    set_number(L, at - 3, i, d[i].kld);
    set_number(L, at - 2, i, d[i].p_diff);
    set_number(L, at - 1, i, d[i].top_p);
    set_number(L, at, i, d[i].top_q);
  }
  return 6;
}

int wn_open_score(lua_State *L) {
  static const luaL_Reg funcs[] = {
      {"nll", score_nll}, {"compare", score_compare}, {NULL, NULL}};
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
