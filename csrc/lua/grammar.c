/* grammar.c - Lua: grammars, and texts under them. See lua/wane/grammar.lua.
 *
 * core.grammar.new(text [, root [, vocab]]) -> grammar | nil, message, code
 * core.grammar.tokens(vocab) -> the vocabulary as a trie, shared by matches
 * core.grammar.match(grammar, tokens [, { triggers =, after = }]) -> m
 *   m:allows(id) -> boolean               m:count() -> tokens that may come
 *   m:ids() -> list of them               m:accept(id) -> true
 *   m:forced() -> text that must come, ids of its tokens
 *   m:waits(), m:may_end(), m:complete() -> boolean, m:reset()
 * A grammar holds no more than its text needs; a match learns while it reads,
 * so one that is used again is faster. */
#include <string.h>

#include "base/mem.h"
#include "lua/lib.h"
#include "lua/run.h"
#include "lua/vocab.h"

static void grammar_unref(void *g) {
  wn_grammar_unref(g);
}
static void tokens_unref(void *t) {
  wn_tokens_unref(t);
}
static void match_unref(void *m) {
  wn_match_free(m);
}

const wn_class_def wn_grammar_class = {"wane.grammar", NULL, NULL,
                                       grammar_unref};
const wn_class_def wn_tokens_class = {"wane.tokens", NULL, NULL, tokens_unref};
static const wn_class_def match_class;

static int grammar_new(lua_State *L) {
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  const char *root = luaL_optstring(L, 2, "root");
  wn_err e = {0};
  wn_grammar *g;
  lua_settop(L, 3);
  wn_handle *h = wn_handle_new(L, &wn_grammar_class);
  const wn_vocab *v = NULL;
  if (!lua_isnil(L, 3)) v = wn_handle_check(L, 3, &wn_vocab_class);
  if (wn_grammar_new(text, n, root, v, &g, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = g;
  return 1;
}

static int grammar_tokens(lua_State *L) {
  wn_err e = {0};
  wn_tokens *t;
  wn_handle *h = wn_handle_new(L, &wn_tokens_class);
  wn_vocab *v = wn_handle_check(L, 1, &wn_vocab_class);
  if (wn_tokens_new(v, &t, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = t;
  return 1;
}

/* ---- what a match waits for */

static const char *const match_names[] = {"triggers", "after", NULL};

void wn_match_options(lua_State *L, int t, wn_match_opts *o) {
  *o = (wn_match_opts){0};
  if (lua_isnoneornil(L, t)) return;
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, match_names);
  lua_getfield(L, t, "after");
  if (!lua_isnil(L, -1)) {
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "wane: grammar: after: want a string");
    o->after.p = lua_tolstring(L, -1, &o->after.n);
  }
  lua_getfield(L, t, "triggers");
  if (lua_isnil(L, -1)) return;
  luaL_checktype(L, -1, LUA_TTABLE);
  int list = lua_gettop(L);
  size_t n = lua_rawlen(L, list);
  wn_str *words = lua_newuserdata(L, (n + 1) * sizeof *words);
  int32_t *ids = lua_newuserdata(L, (n + 1) * sizeof *ids);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    wn_str *w = &words[o->n_words];
    if (lua_type(L, -1) == LUA_TSTRING) {
      w->p = lua_tolstring(L, -1, &w->n);
      o->n_words++;
    } else {
      ids[o->n_tokens++] =
          (int32_t)wn_check_item(L, "grammar: triggers", i + 1, 0, INT32_MAX);
    }
    lua_pop(L, 1);
  }
  o->words = words;
  o->tokens = ids;
}

static int match_new(lua_State *L) {
  wn_match_opts o;
  wn_err e = {0};
  wn_match *m;
  lua_settop(L, 3);
  wn_handle *h = wn_handle_new(L, &match_class);
  wn_match_options(L, 3, &o);
  wn_grammar *g = wn_handle_check(L, 1, &wn_grammar_class);
  wn_tokens *t = wn_handle_check(L, 2, &wn_tokens_class);
  if (wn_match_new(g, t, &o, &m, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = m;
  lua_pushvalue(L, 4);
  return 1;
}

/* ---- a match */

static wn_match *check_match(lua_State *L) {
  return wn_handle_check(L, 1, &match_class);
}

static int match_allows(lua_State *L) {
  wn_match *m = check_match(L);
  int32_t id =
      (int32_t)wn_check_int(L, 2, 0, (int64_t)wn_match_tokens(m)->n_vocab - 1);
  const wn_mask *mask;
  wn_err e = {0};
  if (wn_match_mask(m, &mask, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, mask == NULL || wn_mask_has(mask, id));
  return 1;
}

static int match_count(lua_State *L) {
  wn_match *m = check_match(L);
  const wn_mask *mask;
  wn_err e = {0};
  if (wn_match_mask(m, &mask, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushinteger(L, mask != NULL ? (lua_Integer)mask->n
                                  : (lua_Integer)wn_match_tokens(m)->n_vocab);
  return 1;
}

static int match_ids(lua_State *L) {
  wn_match *m = check_match(L);
  const wn_mask *mask;
  wn_err e = {0};
  if (wn_match_mask(m, &mask, &e) != WN_OK) return wn_push_error(L, &e);
  uint32_t n = wn_match_tokens(m)->n_vocab;
  int k = 0;
  lua_newtable(L); /* collecting may not close m: it is an argument */
  for (uint32_t id = 0; id < n; id++) {
    if (mask != NULL && !wn_mask_has(mask, (int32_t)id)) continue;
    lua_pushinteger(L, (lua_Integer)id);
    lua_rawseti(L, -2, ++k);
  }
  return 1;
}

static int match_accept(lua_State *L) {
  int32_t id = (int32_t)wn_check_int(L, 2, 0, INT32_MAX);
  wn_err e = {0};
  if (wn_match_accept(check_match(L), id, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static int match_forced(lua_State *L) {
  char text[256];
  size_t n_text;
  int32_t ids[64];
  uint32_t n;
  wn_err e = {0};
  wn_match *m = check_match(L);
  if (wn_match_forced(m, text, sizeof text, &n_text, &e) != WN_OK ||
      wn_match_forced_tokens(m, ids, 64, &n, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushlstring(L, text, n_text);
  lua_createtable(L, (int)n, 0);
  for (uint32_t i = 0; i < n; i++) {
    lua_pushinteger(L, ids[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 2;
}

static int match_waits(lua_State *L) {
  lua_pushboolean(L, wn_match_waits(check_match(L)));
  return 1;
}

static int match_may_end(lua_State *L) {
  lua_pushboolean(L, wn_match_may_end(check_match(L)));
  return 1;
}

static int match_complete(lua_State *L) {
  lua_pushboolean(L, wn_match_complete(check_match(L)));
  return 1;
}

static int match_reset(lua_State *L) {
  wn_match_reset(check_match(L));
  return 0;
}

static const luaL_Reg match_methods[] = {
    {"allows", match_allows},   {"count", match_count},
    {"ids", match_ids},         {"accept", match_accept},
    {"forced", match_forced},   {"waits", match_waits},
    {"may_end", match_may_end}, {"complete", match_complete},
    {"reset", match_reset},     {NULL, NULL}};

static const wn_class_def match_class = {"wane.match", match_methods, NULL,
                                         match_unref};

int wn_open_grammar(lua_State *L) {
  static const luaL_Reg funcs[] = {{"new", grammar_new},
                                   {"tokens", grammar_tokens},
                                   {"match", match_new},
                                   {NULL, NULL}};
  wn_class_register(L, &wn_grammar_class);
  wn_class_register(L, &wn_tokens_class);
  wn_class_register(L, &match_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
