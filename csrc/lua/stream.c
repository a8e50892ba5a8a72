/* lua/stream.c - core.stream: the streaming quantizer, digests, type facts.
 *
 *   types() -> { { id, name, block, bytes, class, needs_importance,
 *                  uses_importance, encodable }, ... }
 *   open(layout, opts) -> s | nil, message, code
 *     s:step() -> "more" | "importance" | "done"
 *     s:importance(bytes) -> vectors left out    s:progress() -> table
 *     s:abort([keep])
 *   measure(g, i, type [, importance [, rows]]) -> relative error
 *   now() -> seconds of a clock that only goes forward
 *   digest(state | nil, bytes) -> state          digest_hex(state) -> 32 digits
 *   sha256(state | nil, bytes) -> state          sha256_hex(state) -> 64 digits
 *
 * opts of open: path, from (gguf), sources (tensor number of `from` for each
 * tensor of the layout), wants (booleans: importance), reuse (gguf),
 * reused (tensor number of `reuse`, or false), inputs (more paths that must
 * not be the output), first_file, n_files, threads, overwrite, resume,
 * zero_nonfinite, identity. Collecting an open stream keeps its .part. */
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "base/os.h"
#include "base/pool.h"
#include "base/sha256.h"
#include "lua/gguf.h"
#include "quant/convert.h"
#include "quant/quant.h"
#include "quant/stream.h"

/* -- facts -------------------------------------------------------------- */

static void push_facts(lua_State *L, int id) {
  static const char *const classes[] = {"none", "plain", "quant", "act"};
  const wn_type_info *t = wn_type(id);
  const wn_format *f = wn_format_of(id);
  lua_createtable(L, 0, 8);
  lua_pushinteger(L, id);
  lua_setfield(L, -2, "id");
  lua_pushstring(L, t->name);
  lua_setfield(L, -2, "name");
  lua_pushinteger(L, (lua_Integer)t->block);
  lua_setfield(L, -2, "block");
  lua_pushinteger(L, (lua_Integer)t->bytes);
  lua_setfield(L, -2, "bytes");
  lua_pushstring(L, classes[t->class]);
  lua_setfield(L, -2, "class");
  lua_pushboolean(L, f != NULL && f->needs_importance);
  lua_setfield(L, -2, "needs_importance");
  lua_pushboolean(L, f != NULL && f->uses_importance);
  lua_setfield(L, -2, "uses_importance");
  lua_pushboolean(L, f != NULL && f->encode != NULL);
  lua_setfield(L, -2, "encodable");
}

static int stream_types(lua_State *L) {
  int n = 0;
  lua_newtable(L);
  for (int id = 0; id < WN_N_TYPE_IDS; id++)
    if (wn_type(id) != NULL) {
      push_facts(L, id);
      lua_rawseti(L, -2, ++n);
    }
  return 1;
}

/* -- the stream ------------------------------------------------------------ */

static void free_stream(void *obj) {
  wn_stream_free(obj, true);
}

static int stream_step(lua_State *L);
static int stream_importance(lua_State *L);
static int stream_progress(lua_State *L);
static int stream_abort(lua_State *L);

static const luaL_Reg methods[] = {{"step", stream_step},
                                   {"importance", stream_importance},
                                   {"progress", stream_progress},
                                   {"abort", stream_abort},
                                   {NULL, NULL}};

static const wn_class_def stream_class = {"wane.stream", methods, NULL,
                                          free_stream};

/* A job as Lua gives it: numbers only, nothing that a finalizer can close. */
typedef struct plain_job {
  size_t source, reused; /* tensor numbers from 1; reused 0: not */
  bool wants;
} plain_job;

/* Integer at list[i], 0 for false or nil; raises when out of range. */
static size_t list_int(lua_State *L, const char *list, size_t i, size_t max) {
  lua_getfield(L, 2, list);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return 0;
  }
  luaL_checktype(L, -1, LUA_TTABLE);
  lua_rawgeti(L, -1, (int)i);
  size_t v = 0;
  if (lua_toboolean(L, -1))
    v = (size_t)wn_check_item(L, list, i, 1, (int64_t)max);
  lua_pop(L, 2);
  return v;
}

static bool list_bool(lua_State *L, const char *list, size_t i) {
  lua_getfield(L, 2, list);
  bool v = false;
  if (lua_istable(L, -1)) {
    lua_rawgeti(L, -1, (int)i);
    v = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return v;
}

/* The handle in field `key`, pushed; its object or NULL when absent. */
static wn_gguf *gguf_field(lua_State *L, const char *key) {
  lua_getfield(L, 2, key);
  if (lua_isnil(L, -1)) return NULL;
  return wn_handle_check(L, lua_gettop(L), &wn_gguf_class);
}

/* Ids of all files that are read, in a userdata left on the stack. Paths of
 * option `inputs` that do not exist are no danger. */
static wn_file_id *input_ids(lua_State *L, wn_gguf *a, wn_gguf *b, size_t *n) {
  lua_getfield(L, 2, "inputs");
  size_t n_paths = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
  size_t cap = wn_gguf_n_shards(a) + n_paths + 1;
  int paths = lua_gettop(L);
  if (b != NULL) cap += wn_gguf_n_shards(b);
  wn_file_id *ids = lua_newuserdata(L, cap * sizeof *ids);
  *n = 0;
  for (uint32_t i = 0; i < wn_gguf_n_shards(a); i++)
    ids[(*n)++] = wn_gguf_file_id(a, i);
  for (uint32_t i = 0; b != NULL && i < wn_gguf_n_shards(b); i++)
    ids[(*n)++] = wn_gguf_file_id(b, i);
  for (size_t i = 1; i <= n_paths; i++) {
    struct stat st;
    lua_rawgeti(L, paths, (int)i);
    const char *path = lua_tostring(L, -1);
    if (path != NULL && wn_os_stat(path, &st) == 0)
      ids[(*n)++] = wn_id_of_stat(&st);
    lua_pop(L, 1);
  }
  return ids;
}

static void read_options(lua_State *L, wn_stream_opts *o) {
  static const char *const names[] = {
      "path",   "from",      "sources",  "wants",          "reuse",
      "reused", "inputs",    "threads",  "first_file",     "n_files",
      "resume", "overwrite", "identity", "zero_nonfinite", NULL};
  wn_check_options(L, 2, names);
  o->n_threads = (int)wn_opt_int(L, 2, "threads", 0, 0, WN_MAX_THREADS);
  o->overwrite = wn_opt_bool(L, 2, "overwrite", false);
  o->resume = wn_opt_bool(L, 2, "resume", false);
  o->zero_nonfinite = wn_opt_bool(L, 2, "zero_nonfinite", false);
  o->first_file = (size_t)wn_opt_int(L, 2, "first_file", 1, 1, 65535) - 1;
  o->n_files = (size_t)wn_opt_int(L, 2, "n_files", 1, 1, 65535);
  lua_getfield(L, 2, "path"); /* both stay on the stack */
  o->path = luaL_checkstring(L, -1);
  lua_getfield(L, 2, "identity");
  o->identity = lua_tolstring(L, -1, &o->identity_bytes);
}

/* Turns plain jobs into real ones; nothing here can raise half-way through
 * a change of ours. */
static wn_stream_job *real_jobs(lua_State *L, const plain_job *p, size_t n,
                                wn_gguf *from, wn_gguf *reuse) {
  wn_stream_job *jobs = lua_newuserdata(L, (n + 1) * sizeof *jobs);
  for (size_t i = 0; i < n; i++) {
    bool old = p[i].reused > 0 && reuse != NULL;
    jobs[i].from = old ? reuse : from;
    jobs[i].source = old ? wn_gguf_tensor(reuse, p[i].reused - 1)
                         : wn_gguf_tensor(from, p[i].source - 1);
    jobs[i].wants_importance = p[i].wants && !old;
  }
  return jobs;
}

/* open(layout, opts) */
static int stream_open(lua_State *L) {
  wn_err e = {0};
  wn_stream *s = NULL;
  wn_stream_opts o = {0};
  lua_settop(L, 2);
  luaL_checktype(L, 2, LUA_TTABLE);
  wn_layout *l = wn_handle_check(L, 1, &wn_layout_class);
  size_t n = wn_layout_n_tensors(l);
  wn_handle *h = wn_handle_new(L, &stream_class); /* index 3 */
  read_options(L, &o);
  wn_gguf *from = gguf_field(L, "from");
  int from_at = lua_gettop(L);
  luaL_argcheck(L, from != NULL, 2, "want a file in 'from'");
  wn_gguf *reuse = gguf_field(L, "reuse");
  int reuse_at = lua_gettop(L);
  plain_job *p = lua_newuserdata(L, (n + 1) * sizeof *p);
  for (size_t i = 0; i < n; i++) {
    p[i].source = list_int(L, "sources", i + 1, wn_gguf_n_tensors(from));
    luaL_argcheck(L, p[i].source > 0, 2, "'sources' is too short");
    p[i].wants = list_bool(L, "wants", i + 1);
    p[i].reused = reuse == NULL
                      ? 0
                      : list_int(L, "reused", i + 1, wn_gguf_n_tensors(reuse));
  }
  o.jobs = real_jobs(L, p, n, from, reuse);
  o.inputs = input_ids(L, from, reuse, &o.n_inputs);
  /* allocating may have run finalizers: all three must still be open */
  o.layout = wn_handle_check(L, 1, &wn_layout_class);
  wn_handle_check(L, from_at, &wn_gguf_class);
  if (reuse != NULL) wn_handle_check(L, reuse_at, &wn_gguf_class);
  if (wn_gguf_whole(from, &e) != WN_OK ||
      (reuse != NULL && wn_gguf_whole(reuse, &e) != WN_OK) ||
      wn_stream_open(&o, &s, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = s;
  lua_pushvalue(L, 3);
  return 1;
}

static int stream_step(lua_State *L) {
  static const char *const names[] = {"more", "importance", "done"};
  wn_err e = {0};
  wn_stream_state state;
  wn_stream *s = wn_handle_check(L, 1, &stream_class);
  if (wn_stream_step(s, &state, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushstring(L, names[state]);
  return 1;
}

/* s:importance(float32 bytes | nil) -> vectors that are all zero */
static int stream_importance(lua_State *L) {
  wn_err e = {0};
  size_t bytes, left_out;
  wn_stream *s = wn_handle_check(L, 1, &stream_class);
  const char *p = luaL_optlstring(L, 2, "", &bytes);
  luaL_argcheck(L, bytes % sizeof(float) == 0, 2, "want packed float32 values");
  /* Lua aligns long strings for any type, short ones may lie anywhere */
  float *copy = lua_newuserdata(L, bytes + 1);
  memcpy(copy, p, bytes);
  s = wn_handle_check(L, 1, &stream_class);
  int rc = wn_stream_importance(s, copy, bytes / sizeof(float), &left_out, &e);
  if (rc != WN_OK) return wn_push_error(L, &e);
  wn_push_u64(L, left_out);
  return 1;
}

static int stream_progress(lua_State *L) {
  wn_stream_progress p;
  wn_stream_get_progress(wn_handle_check(L, 1, &stream_class), &p);
  lua_createtable(L, 0, 9);
  wn_set_u64(L, "tensor", p.tensor + 1);
  wn_set_u64(L, "tensors_done", p.n_done);
  wn_set_u64(L, "n_tensors", p.n_tensors);
  wn_set_u64(L, "resumed", p.n_resumed);
  wn_set_u64(L, "bytes_in", p.bytes_in);
  wn_set_u64(L, "bytes_out", p.bytes_out);
  wn_set_u64(L, "total_in", p.total_in);
  wn_set_u64(L, "total_out", p.total_out);
  lua_pushboolean(L, p.verifying);
  lua_setfield(L, -2, "verifying");
  return 1;
}

/* s:abort([keep]): stops; keep leaves a .part that can be resumed */
static int stream_abort(lua_State *L) {
  bool keep = lua_toboolean(L, 2);
  wn_stream *s = wn_handle_take(L, 1, &stream_class);
  wn_stream_free(s, keep);
  lua_pushboolean(L, 1);
  return 1;
}

/* -- measuring ----------------------------------------------------------------
 */

/* measure(g, i, type [, importance bytes [, rows]]) */
static int stream_measure(lua_State *L) {
  wn_err e = {0};
  size_t bytes, left_out;
  double err = 0;
  wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  int64_t i = wn_check_int(L, 2, 1, (int64_t)wn_gguf_n_tensors(g));
  int type = wn_type_of_name(luaL_checkstring(L, 3));
  luaL_argcheck(L, type >= 0, 3, "unknown type");
  const char *p = luaL_optlstring(L, 4, "", &bytes);
  size_t rows = 64;
  if (!lua_isnoneornil(L, 5)) rows = (size_t)wn_check_int(L, 5, 1, 1 << 20);
  const wn_tensor *t = wn_gguf_tensor(g, (size_t)i - 1);
  luaL_argcheck(L, t->ne[2] <= SIZE_MAX / 2, 2, "too many matrices");
  float *copy = lua_newuserdata(L, bytes + 1);
  uint8_t *usable = lua_newuserdata(L, (size_t)t->ne[2]);
  memcpy(copy, p, bytes);
  wn_importance imp = {0};
  int rc = WN_OK;
  g = wn_handle_check(L, 1, &wn_gguf_class);
  if (bytes > 0) {
    rc = wn_importance_check(t, copy, bytes / sizeof(float), usable, &left_out,
                             &e);
    imp.values = copy;
    imp.n_cols = (size_t)t->ne[0];
    imp.n_matrices = (size_t)t->ne[2];
    imp.usable = usable;
  }
  if (rc == WN_OK) rc = wn_measure(g, t, type, &imp, rows, &err, &e);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushnumber(L, err);
  return 1;
}

/* -- digests
 * -------------------------------------------------------------------- The
 * state of a digest is a Lua string: nothing to close, nothing to leak. */

static void load_state(lua_State *L, void *state, size_t size) {
  size_t n;
  const char *p = luaL_checklstring(L, 1, &n);
  luaL_argcheck(L, n == size, 1, "want a state");
  memcpy(state, p, size);
}

static int push_digest(lua_State *L) {
  wn_digest d;
  size_t n;
  const char *p = luaL_checklstring(L, 2, &n);
  if (lua_isnil(L, 1))
    wn_digest_init(&d);
  else
    load_state(L, &d, sizeof d);
  wn_digest_add(&d, p, n);
  lua_pushlstring(L, (const char *)&d, sizeof d);
  return 1;
}

static int push_digest_hex(lua_State *L) {
  wn_digest d;
  char hex[33];
  load_state(L, &d, sizeof d);
  wn_digest_hex(wn_digest_end(&d), hex);
  lua_pushstring(L, hex);
  return 1;
}

static int push_sha256(lua_State *L) {
  wn_sha256 s;
  size_t n;
  const char *p = luaL_checklstring(L, 2, &n);
  memset(&s, 0, sizeof s);
  if (lua_isnil(L, 1))
    wn_sha256_init(&s);
  else
    load_state(L, &s, sizeof s);
  wn_sha256_add(&s, p, n);
  lua_pushlstring(L, (const char *)&s, sizeof s);
  return 1;
}

static int push_sha256_hex(lua_State *L) {
  wn_sha256 s;
  uint8_t digest[32];
  char hex[65];
  load_state(L, &s, sizeof s);
  wn_sha256_end(&s, digest);
  wn_sha256_hex(digest, hex);
  lua_pushstring(L, hex);
  return 1;
}

static int stream_now(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
  return 1;
}

static const luaL_Reg funcs[] = {{"types", stream_types},
                                 {"now", stream_now},
                                 {"open", stream_open},
                                 {"measure", stream_measure},
                                 {"digest", push_digest},
                                 {"digest_hex", push_digest_hex},
                                 {"sha256", push_sha256},
                                 {"sha256_hex", push_sha256_hex},
                                 {NULL, NULL}};

int wn_open_stream(lua_State *L) {
  wn_class_register(L, &stream_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
