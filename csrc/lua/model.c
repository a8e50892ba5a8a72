/* lua/model.c - core.model: loading (run/model.h).
 *
 *   load(g, program [, options [, vocab]]) -> m | nil, message, code
 *       options: map (true), fuse (true), max_bytes, n_ctx, replace
 *       ({ [tensor name] = float32 buffer or blocks }: used instead of the
 *       file's data, copied)
 *   foresee(program, { [weight] = type name }, n_ctx [, options]) ->
 *       { cache, cache_windowed, buffers, matrices, vectors } in bytes: what
 *       such a model and a context would take; weights without a type are
 *       float32; cache_windowed: if windows kept nothing but themselves
 *   m:context([options]) -> ctx (lua/ctx.c)
 *   m:estimate([options]) -> { cache, buffers } in bytes
 *   m:info() -> { weight_bytes, heap_bytes, mapped, map_error, n_vocab, n_ctx,
 *                 stages, causal, result, path } */
#include "base/arith.h"
#include "lua/blocks.h"
#include "lua/buffer.h"
#include "lua/gguf.h"
#include "lua/run.h"
#include "lua/vocab.h"

static void unref_model(void *obj) {
  wn_model_unref(obj);
}

static const char *const load_options[] = {"map",   "fuse",    "max_bytes",
                                           "n_ctx", "replace", NULL};

static void read_options(lua_State *L, int t, wn_model_opts *o) {
  if (lua_isnoneornil(L, t)) return;
  luaL_checktype(L, t, LUA_TTABLE);
  wn_check_options(L, t, load_options);
  o->map = wn_opt_bool(L, t, "map", o->map);
  o->fuse = wn_opt_bool(L, t, "fuse", o->fuse);
  o->max_bytes = (uint64_t)wn_opt_int(L, t, "max_bytes", 0, 0, INT64_MAX);
  o->n_ctx = (uint32_t)wn_opt_int(L, t, "n_ctx", 0, 0, UINT32_MAX);
}

/* The buffer or blocks on the top of the stack as the data of a tensor. */
static void read_replacement(lua_State *L, wn_replacement *r) {
  const wn_blocks *q = wn_handle_test(L, lua_gettop(L), &wn_blocks_class);
  if (q != NULL) {
    r->type = q->type, r->rows = q->rows, r->cols = q->cols;
    r->data = q->data;
    return;
  }
  const wn_buffer *b = wn_buffer_check(L, lua_gettop(L));
  r->type = WN_TYPE_F32, r->rows = b->rows, r->cols = b->cols;
  r->data = b->data;
}

/* Room for the replacements of the options at t, on the stack; nothing when
 * there are none. */
static wn_replacement *room_for_replacements(lua_State *L, int t) {
  size_t n = 0;
  if (!lua_istable(L, t)) return NULL;
  lua_getfield(L, t, "replace");
  if (lua_isnil(L, -1)) return NULL;
  luaL_checktype(L, lua_gettop(L), LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
    n++;
  return lua_newuserdata(L, (n + 1) * sizeof(wn_replacement));
}

/* Fills them in. Nothing is allocated on the way, so no finalizer can close
 * what was seen. Any order is fine: they are looked up by name. */
static void read_replacements(lua_State *L, wn_replacement *r,
                              wn_model_opts *o) {
  int table = lua_gettop(L) - 1;
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "wane: option 'replace': want tensor names as keys");
    read_replacement(L, &r[o->n_replace]);
    r[o->n_replace++].name = lua_tostring(L, -2);
  }
  o->replace = r;
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
  int result = lua_gettop(L);
  wn_replacement *r = room_for_replacements(L, 3);
  if (r != NULL) read_replacements(L, r, &o);
  wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  wn_prog *p = wn_handle_check(L, 2, &wn_prog_class);
  if (!lua_isnoneornil(L, 4)) v = wn_handle_check(L, 4, &wn_vocab_class);
  if (wn_gguf_whole(g, &e) != WN_OK ||
      wn_model_load(g, p, v, &o, &m, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = m;
  lua_settop(L, result);
  return 1;
}

static int model_context(lua_State *L) {
  wn_handle_check(L, 1, &wn_model_class);
  return wn_push_ctx(L, 1, 2);
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
  wn_set_u64(L, "cache", cache);
  wn_set_u64(L, "buffers", buffers);
  return 1;
}

/* The types of a program's weights by name, from the table at t; in a
 * userdata on the stack. */
static int *read_types(lua_State *L, const wn_prog *p, int t) {
  int *types = lua_newuserdata(L, (p->n_weights + 1) * sizeof *types);
  for (uint32_t i = 0; i < p->n_weights; i++) {
    lua_getfield(L, t, wn_prog_str(p, p->weights[i].name));
    types[i] = WN_TYPE_F32;
    if (p->weights[i].matrix && lua_type(L, -1) == LUA_TSTRING)
      types[i] = wn_type_of_name(lua_tostring(L, -1));
    lua_pop(L, 1);
    if (types[i] < 0)
      luaL_error(L, "wane: weight %s: want a type name",
                 wn_prog_str(p, p->weights[i].name));
  }
  return types;
}

/* Bytes of all weights: matrices in their types, vectors in float32. */
static int sum_weights(const wn_prog *p, const int *types, uint64_t bytes[2],
                       wn_err *e) {
  for (uint32_t i = 0; i < p->n_weights; i++) {
    const wn_weight *w = &p->weights[i];
    uint64_t row, all;
    int rc = wn_row_bytes(types[i], w->ne[0], &row, e);
    if (rc != WN_OK) return wn_fail_in(e, wn_prog_str(p, w->name));
    if (!wn_mul(row, (uint64_t)w->ne[1] * w->ne[2], &all) ||
        !wn_add(bytes[!w->matrix], all, &bytes[!w->matrix]))
      return wn_fail(e, WN_ELIMIT, "weights exceed 2^64 bytes");
  }
  return WN_OK;
}

/* Bytes that attention can look at: of slots with a window only that. */
static uint64_t windowed_cache(const wn_prog *p, const wn_ctx_opts *o,
                               uint32_t n_ctx) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < p->n_slots; i++) {
    const wn_slot *s = &p->slots[i];
    uint64_t n = s->window != 0 && s->window < n_ctx ? s->window : n_ctx;
    uint64_t k = 0, v = 0;
    wn_err e;
    if (s->keep == WN_KEEP_STATE) {
      sum += 2 * sizeof(float) * (uint64_t)s->n_state *
             (o->n_seq != 0 ? o->n_seq : 1);
      continue;
    }
    if (wn_row_bytes(o->type_k, s->width_k, &k, &e) != WN_OK ||
        wn_row_bytes(o->type_v, s->width_v, &v, &e) != WN_OK)
      return 0;
    if (s->keep == WN_KEEP_KEYS) v = 0;
    sum += (k + v) * s->n_head_kv * n * (o->n_seq != 0 ? o->n_seq : 1);
  }
  return sum; /* below the planned cache, which was checked */
}

static int model_foresee(lua_State *L) {
  wn_ctx_opts o = {0};
  wn_err e = {0};
  uint64_t cache = 0, buffers = 0, weights[2] = {0, 0};
  wn_prog *p = wn_handle_check(L, 1, &wn_prog_class);
  luaL_checktype(L, 2, LUA_TTABLE);
  uint32_t n_ctx = (uint32_t)wn_check_int(L, 3, 1, UINT32_MAX);
  wn_ctx_options(L, 4, &o);
  int *types = read_types(L, p, 2);
  p = wn_handle_check(L, 1, &wn_prog_class);
  int rc = sum_weights(p, types, weights, &e);
  if (rc == WN_OK)
    rc = wn_ctx_foresee(p, types, n_ctx, &o, &cache, &buffers, &e);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_newtable(L);
  wn_set_u64(L, "cache", cache);
  wn_set_u64(L, "cache_windowed",
             windowed_cache(p, &o, o.n_ctx != 0 ? o.n_ctx : n_ctx));
  wn_set_u64(L, "buffers", buffers);
  wn_set_u64(L, "matrices", weights[0]);
  wn_set_u64(L, "vectors", weights[1]);
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
  wn_set_u64(L, "weight_bytes", f.weight_bytes);
  wn_set_u64(L, "heap_bytes", f.heap_bytes);
  wn_set_u64(L, "n_vocab", f.n_vocab);
  wn_set_u64(L, "n_ctx", f.n_ctx);
  wn_set_u64(L, "stages", f.stages);
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

static const luaL_Reg model_funcs[] = {
    {"load", model_load}, {"foresee", model_foresee}, {NULL, NULL}};

int wn_open_model(lua_State *L) {
  wn_class_register(L, &wn_model_class);
  lua_newtable(L);
  wn_setfuncs(L, model_funcs);
  return 1;
}
