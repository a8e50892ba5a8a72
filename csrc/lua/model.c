/* lua/model.c - core.model: loading (run/model.h).
 *
 *   load(g, program [, options [, vocab]]) -> m | nil, message, code
 *       options: map (true), fuse (true), max_bytes, n_ctx, stand_ins (list of
 *       { tensor name, type, bytes } used instead of the file's)
 *   m:context([options]) -> ctx (lua/ctx.c)
 *   m:estimate([options]) -> { cache, buffers } in bytes
 *   m:info() -> { weight_bytes, heap_bytes, mapped, map_error, n_vocab, n_ctx,
 *                 stages, causal, result, path } */
#include "lua/gguf.h"
#include "lua/run.h"
#include "lua/vocab.h"

static void unref_model(void *obj) {
  wn_model_unref(obj);
}

static const char *const load_options[] = {"map",   "fuse",      "max_bytes",
                                           "n_ctx", "stand_ins", NULL};

/* Option stand_ins, a list of { name, type name, bytes }: what it points to
 * stays alive in the option table. */
static void read_stand_ins(lua_State *L, int t, wn_model_opts *o) {
  lua_getfield(L, t, "stand_ins");
  if (lua_isnil(L, -1)) return;
  luaL_checktype(L, -1, LUA_TTABLE);
  int list = lua_gettop(L);
  size_t n = lua_rawlen(L, list);
  wn_stand_in *s = lua_newuserdata(L, (n + 1) * sizeof *s);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    for (int k = 1; k <= 3; k++) {
      lua_rawgeti(L, -k, k);
      if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "wane: stand_ins: want { name, type, bytes }");
    }
    s[i].name = lua_tostring(L, -3);
    s[i].type = wn_type_of_name(lua_tostring(L, -2));
    if (s[i].type < 0) luaL_error(L, "wane: stand_ins: unknown type");
    s[i].data = lua_tolstring(L, -1, &s[i].bytes);
    lua_pop(L, 4);
  }
  o->stand_ins = s;
  o->n_stand_ins = n;
}

static void read_options(lua_State *L, int t, wn_model_opts *o) {
  if (lua_isnoneornil(L, t)) return;
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, load_options);
  o->map = wn_opt_bool(L, t, "map", o->map);
  o->fuse = wn_opt_bool(L, t, "fuse", o->fuse);
  o->max_bytes = (uint64_t)wn_opt_int(L, t, "max_bytes", 0, 0, INT64_MAX);
  o->n_ctx = (uint32_t)wn_opt_int(L, t, "n_ctx", 0, 0, UINT32_MAX);
  read_stand_ins(L, t, o);
}

static int model_load(lua_State *L) {
  wn_model_opts o = {.map = true, .fuse = true};
  wn_err e = {0};
  wn_model *m = NULL;
  wn_vocab *v = NULL;
  wn_handle_check(L, 1, &wn_gguf_class);
  wn_handle_check(L, 2, &wn_prog_class);
  read_options(L, 3, &o);
  lua_settop(L, 4);
  wn_handle *h = wn_handle_new(L, &wn_model_class);
  wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  wn_prog *p = wn_handle_check(L, 2, &wn_prog_class);
  if (!lua_isnoneornil(L, 4)) v = wn_handle_check(L, 4, &wn_vocab_class);
  if (wn_model_load(g, p, v, &o, &m, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = m;
  return 1;
}

static int model_context(lua_State *L) {
  wn_handle_check(L, 1, &wn_model_class);
  return wn_push_ctx(L, 1, 2);
}

static void set_u64(lua_State *L, const char *key, uint64_t v) {
  wn_push_u64(L, v);
  lua_setfield(L, -2, key);
}

static int model_estimate(lua_State *L) {
  wn_ctx_opts o = {0};
  wn_err e = {0};
  uint64_t cache = 0, buffers = 0;
  wn_handle_check(L, 1, &wn_model_class);
  wn_ctx_options(L, 2, &o);
  const wn_model *m = wn_handle_check(L, 1, &wn_model_class);
  if (wn_ctx_estimate(m, &o, &cache, &buffers, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_newtable(L);
  set_u64(L, "cache", cache);
  set_u64(L, "buffers", buffers);
  return 1;
}

/* Facts are copied out before the first Lua allocation: a finalizer may close
 * the handle. */
typedef struct facts {
  uint64_t weight_bytes, heap_bytes, n_vocab, n_ctx, stages;
  bool mapped, causal, embeddings;
  char why[WN_ERR_MSG];
} facts;

static void facts_of(const wn_model *m, facts *f) {
  const char *why = "";
  const wn_prog *p = wn_model_prog(m);
  f->weight_bytes = wn_model_weight_bytes(m);
  f->heap_bytes = wn_model_heap_bytes(m);
  f->n_vocab = wn_model_n_vocab(m);
  f->n_ctx = wn_model_n_ctx(m);
  f->stages = wn_model_sched(m)->n_stages;
  f->mapped = wn_model_is_mapped(m, &why);
  f->causal = p->causal;
  f->embeddings = p->result_kind == WN_RESULT_EMBEDDINGS;
  size_t n = 0;
  while (n + 1 < sizeof f->why && why[n] != 0) {
    f->why[n] = why[n];
    n++;
  }
  f->why[n] = 0;
}

static int model_info(lua_State *L) {
  facts f;
  facts_of(wn_handle_check(L, 1, &wn_model_class), &f);
  lua_newtable(L);
  set_u64(L, "weight_bytes", f.weight_bytes);
  set_u64(L, "heap_bytes", f.heap_bytes);
  set_u64(L, "n_vocab", f.n_vocab);
  set_u64(L, "n_ctx", f.n_ctx);
  set_u64(L, "stages", f.stages);
  lua_pushboolean(L, f.mapped);
  lua_setfield(L, -2, "mapped");
  lua_pushstring(L, f.why);
  lua_setfield(L, -2, "map_error");
  lua_pushboolean(L, f.causal);
  lua_setfield(L, -2, "causal");
  lua_pushstring(L, f.embeddings ? "embeddings" : "logits");
  lua_setfield(L, -2, "result");
  return 1;
}

static const luaL_Reg model_methods[] = {{"context", model_context},
                                         {"estimate", model_estimate},
                                         {"info", model_info},
                                         {NULL, NULL}};

const wn_class_def wn_model_class = {"wane.model", model_methods, NULL,
                                     unref_model};

static const luaL_Reg model_funcs[] = {{"load", model_load}, {NULL, NULL}};

int wn_open_model(lua_State *L) {
  wn_class_register(L, &wn_model_class);
  lua_newtable(L);
  wn_setfuncs(L, model_funcs);
  return 1;
}
