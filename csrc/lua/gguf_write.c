/* lua/gguf_write.c - core.gguf: writing, the raw face of gguf/write.h. The
 * metadata lists m are in gguf_meta.c.
 *
 * layout(m, tensors, opts) makes a layout l; tensors is a file handle or a
 * list of { name =, type =, shape = , shard = }: l:files(), l:file(k),
 * l:path(base, k), l:tensor(i).
 *
 * writer(l, k, path, opts) makes a writer w of file k: w:put(string), w:copy(g,
 * i, off, n), w:tell(), w:seal(), w:commit(), and w.abort, w:had(), w:skip(i)
 * for giving up and resuming.
 *
 * World failures give nil, message, code. Collecting an open writer removes
 * its .part. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"
#include "gguf/write.h"
#include "lua/gguf.h"

static int push_true(lua_State *L) {
  lua_pushboolean(L, 1);
  return 1;
}

int wn_push_result(lua_State *L, int rc, const wn_err *e) {
  return rc == WN_OK ? push_true(L) : wn_push_error(L, e);
}

/* --- layout --------------------------------------------------------------- */

static void unref_layout(void *obj) {
  wn_layout_unref(obj);
}

/* A tensor record with room for its name: the list given by Lua is copied
 * before anything looks at it. */
typedef struct named_tensor {
  wn_tensor t;
  char name[256];
} named_tensor;

/* Field `key` of the table on top, pushed; raises unless it is a `type`. */
static void push_field(lua_State *L, size_t i, const char *key, int type) {
  lua_pushstring(L, key);
  lua_rawget(L, -2);
  if (lua_type(L, -1) != type)
    luaL_error(L, "wane: tensor %d: field '%s' is %s, want %s", (int)i + 1, key,
               luaL_typename(L, -1), lua_typename(L, type));
}

static void read_shape(lua_State *L, size_t i, wn_tensor *t) {
  push_field(L, i, "shape", LUA_TTABLE);
  size_t n = lua_rawlen(L, -1);
  t->n_dims = n > 4 ? 5 : (uint32_t)n; /* the layout says what is wrong */
  for (uint32_t d = 0; d < 4; d++)
    t->ne[d] = 1;
  for (uint32_t d = 0; d < t->n_dims && d < 4; d++) {
    lua_rawgeti(L, -1, (int)d + 1);
    double v = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (v != floor(v) || v < 0 || v > 9007199254740992.0)
      luaL_error(L, "wane: tensor %d: dimension %d is not a whole number",
                 (int)i + 1, (int)d + 1);
    t->ne[d] = (uint64_t)v;
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/* The tensor description on top of the stack. */
static void read_tensor(lua_State *L, size_t i, named_tensor *x) {
  size_t n;
  if (!lua_istable(L, -1))
    luaL_error(L, "wane: tensor %d is no table", (int)i + 1);
  push_field(L, i, "name", LUA_TSTRING);
  const char *name = lua_tolstring(L, -1, &n);
  if (n > sizeof x->name)
    luaL_error(L, "wane: tensor %d: the name is too long", (int)i + 1);
  memcpy(x->name, name, n);
  x->t.name.n = n;
  lua_pop(L, 1);
  push_field(L, i, "type", LUA_TSTRING);
  x->t.type = wn_type_of_name(lua_tostring(L, -1));
  if (x->t.type < 0)
    luaL_error(L, "wane: tensor %d: unknown type '%s'", (int)i + 1,
               lua_tostring(L, -1));
  lua_pop(L, 1);
  read_shape(L, i, &x->t);
  lua_pushliteral(L, "shard");
  lua_rawget(L, -2);
  if (!lua_isnil(L, -1))
    x->t.shard = (uint32_t)wn_check_item(L, "shards of tensors", i + 1, 1,
                                         WN_MAX_SHARDS) -
                 1;
  lua_pop(L, 1);
}

/* The tensor list at `arg`, as an array in a userdata that is left on the
 * stack. */
static const wn_tensor *read_tensors(lua_State *L, int arg, size_t *n) {
  luaL_checktype(L, arg, LUA_TTABLE);
  *n = lua_rawlen(L, arg);
  if (*n > (size_t)WN_MAX_TENSORS)
    luaL_error(L, "wane: more than %d tensors", (int)WN_MAX_TENSORS);
  named_tensor *x = lua_newuserdata(L, (*n + 1) * sizeof *x);
  wn_tensor *list = lua_newuserdata(L, (*n + 1) * sizeof *list);
  memset(x, 0, (*n + 1) * sizeof *x);
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    read_tensor(L, i, &x[i]);
    x[i].t.name.p = x[i].name;
    list[i] = x[i].t;
    lua_pop(L, 1);
  }
  return list;
}

static void read_layout_opts(lua_State *L, int arg, wn_layout_opts *o) {
  static const char *const names[] = {
      "version", "split_bytes", "split_tensors", "by_shard", "n_files",
      "like",    NULL};
  if (lua_isnoneornil(L, arg)) return;
  luaL_checktype(L, arg, LUA_TTABLE);
  wn_check_options(L, arg, names);
  o->version = (uint32_t)wn_opt_int(L, arg, "version", 3, 2, 3);
  o->split_bytes =
      (uint64_t)wn_opt_int(L, arg, "split_bytes", 0, 0, (int64_t)1 << 53);
  o->split_tensors =
      (uint64_t)wn_opt_int(L, arg, "split_tensors", 0, 0, WN_MAX_TENSORS);
  o->by_shard = wn_opt_bool(L, arg, "by_shard", false);
  o->n_files = (uint32_t)wn_opt_int(L, arg, "n_files", 0, 0, WN_MAX_SHARDS);
  lua_getfield(L, arg, "like"); /* stays on the stack: keeps it alive */
  if (!lua_isnil(L, -1))
    o->like = wn_handle_check(L, lua_gettop(L), &wn_gguf_class);
}

/* layout(m, tensors [, opts]) */
static int new_layout(lua_State *L) {
  wn_err e = {0};
  wn_layout *l = NULL;
  wn_layout_opts o = {0};
  const wn_tensor *tensors = NULL;
  size_t n = 0;
  wn_handle_check(L, 1, &wn_meta_class);
  lua_settop(L, 3);
  wn_handle *h = wn_handle_new(L, &wn_layout_class);
  wn_gguf *g = wn_handle_test(L, 2, &wn_gguf_class);
  if (g == NULL) tensors = read_tensors(L, 2, &n);
  read_layout_opts(L, 3, &o);
  wn_meta *m = wn_handle_check(L, 1, &wn_meta_class);
  if (o.like != NULL) /* a finalizer may have closed it meanwhile */
    o.like = wn_handle_check(L, lua_gettop(L), &wn_gguf_class);
  g = wn_handle_test(L, 2, &wn_gguf_class);
  if (g != NULL) {
    n = wn_gguf_n_tensors(g);
    tensors = n > 0 ? wn_gguf_tensor(g, 0) : NULL;
  }
  if (wn_layout_new(m, tensors, n, &o, &l, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = l;
  lua_pushvalue(L, 4);
  return 1;
}

static size_t check_file(lua_State *L, int arg, const wn_layout *l) {
  return (size_t)wn_check_int(L, arg, 1, (int64_t)wn_layout_n_files(l)) - 1;
}

static int layout_files(lua_State *L) {
  const wn_layout *l = wn_handle_check(L, 1, &wn_layout_class);
  wn_push_i64(L, (int64_t)wn_layout_n_files(l));
  return 1;
}

/* l:file(k) -> { first, n_tensors, header_bytes, data_off, bytes } */
static int layout_file(lua_State *L) {
  const wn_layout *l = wn_handle_check(L, 1, &wn_layout_class);
  const wn_layout_file *f = wn_layout_file_at(l, check_file(L, 2, l));
  lua_createtable(L, 0, 5);
  wn_set_u64(L, "first", f->first + 1);
  wn_set_u64(L, "n_tensors", f->n_tensors);
  wn_set_u64(L, "header_bytes", f->header_bytes);
  wn_set_u64(L, "data_off", f->data_off);
  wn_set_u64(L, "bytes", f->bytes);
  return 1;
}

/* l:path(base, k) -> name of file k */
static int layout_path(lua_State *L) {
  char buf[4096];
  wn_err e = {0};
  const wn_layout *l = wn_handle_check(L, 1, &wn_layout_class);
  const char *base = luaL_checkstring(L, 2);
  size_t k = check_file(L, 3, l);
  if (wn_layout_path(l, base, k, buf, sizeof buf, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushstring(L, buf);
  return 1;
}

static int layout_tensor(lua_State *L) {
  const wn_layout *l = wn_handle_check(L, 1, &wn_layout_class);
  int64_t i = wn_check_int(L, 2, 1, (int64_t)wn_layout_n_tensors(l));
  wn_push_tensor(L, wn_layout_tensor(l, (size_t)i - 1));
  return 1;
}

static const luaL_Reg layout_methods[] = {{"files", layout_files},
                                          {"file", layout_file},
                                          {"path", layout_path},
                                          {"tensor", layout_tensor},
                                          {NULL, NULL}};

const wn_class_def wn_layout_class = {"wane.layout", layout_methods, NULL,
                                      unref_layout};

/* --- writer --------------------------------------------------------------- */

static void abort_writer(void *obj) {
  wn_writer_abort(obj, false);
}

/* The files of option `inputs` (a list of handles) as ids in a userdata that
 * is left on the stack. */
static void read_inputs(lua_State *L, int arg, wn_save_opts *o) {
  size_t n = 0, files = 0;
  lua_getfield(L, arg, "inputs");
  if (lua_isnil(L, -1)) return;
  luaL_checktype(L, -1, LUA_TTABLE);
  int list = lua_gettop(L);
  size_t count = lua_rawlen(L, list);
  for (int pass = 0; pass < 2; pass++) {
    wn_file_id *ids = NULL;
    if (pass == 1) ids = lua_newuserdata(L, (files + 1) * sizeof *ids);
    for (size_t i = 1; i <= count; i++) {
      lua_rawgeti(L, list, (int)i);
      wn_gguf *g = wn_handle_check(L, lua_gettop(L), &wn_gguf_class);
      uint32_t k = 0;
      for (; pass == 1 && k < wn_gguf_n_shards(g) && n < files; k++)
        ids[n++] = wn_gguf_file_id(g, k);
      if (pass == 0) files += wn_gguf_n_shards(g);
      lua_pop(L, 1);
    }
    o->inputs = ids;
  }
  o->n_inputs = n;
}

/* writer(l, k, path [, { overwrite, resume, inputs }]) */
static int new_writer(lua_State *L) {
  static const char *const names[] = {"overwrite", "resume", "inputs", NULL};
  wn_err e = {0};
  wn_save_opts o = {0};
  wn_writer *w = NULL;
  size_t n;
  lua_settop(L, 4);
  size_t k = check_file(L, 2, wn_handle_check(L, 1, &wn_layout_class));
  const char *path = luaL_checklstring(L, 3, &n);
  luaL_argcheck(L, strlen(path) == n && n > 0, 3, "want a path without NUL");
  wn_handle *h = wn_handle_new(L, &wn_writer_class);
  if (!lua_isnil(L, 4)) {
    luaL_checktype(L, 4, LUA_TTABLE);
    wn_check_options(L, 4, names);
    o.overwrite = wn_opt_bool(L, 4, "overwrite", false);
    o.resume = wn_opt_bool(L, 4, "resume", false);
    read_inputs(L, 4, &o);
  }
  wn_layout *l = wn_handle_check(L, 1, &wn_layout_class);
  if (wn_writer_open(path, l, k, &o, &w, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = w;
  lua_pushvalue(L, 5);
  return 1;
}

/* w:put(string): the next bytes of tensor data */
static int writer_put(lua_State *L) {
  wn_err e = {0};
  size_t n;
  wn_writer *w = wn_handle_check(L, 1, &wn_writer_class);
  const char *p = luaL_checklstring(L, 2, &n);
  return wn_push_result(L, wn_writer_put(w, p, n, &e), &e);
}

/* w:copy(g, i, off, n): the next n bytes come from tensor i of g; at most
 * 16 MiB a call, so that calls stay short. */
static int writer_copy(lua_State *L) {
  wn_err e = {0};
  wn_writer *w = wn_handle_check(L, 1, &wn_writer_class);
  const wn_gguf *g = wn_handle_check(L, 2, &wn_gguf_class);
  int64_t i = wn_check_int(L, 3, 1, (int64_t)wn_gguf_n_tensors(g));
  const wn_tensor *t = wn_gguf_tensor(g, (size_t)i - 1);
  int64_t off = wn_check_int(L, 4, 0, (int64_t)t->bytes);
  int64_t most = (int64_t)t->bytes - off;
  if (most > 16 << 20) most = 16 << 20;
  size_t n = (size_t)wn_check_int(L, 5, 0, most);
  void *buf = wn_alloc(WN_MEM_GGUF, n);
  int rc = buf == NULL ? wn_fail(&e, WN_ENOMEM, "out of memory")
                       : wn_gguf_read(g, t, (uint64_t)off, buf, n, &e);
  if (rc == WN_OK) rc = wn_writer_put(w, buf, n, &e);
  wn_free(buf);
  return wn_push_result(L, rc, &e);
}

/* w:tell() -> tensor number, offset in it */
static int writer_tell(lua_State *L) {
  size_t tensor;
  uint64_t off;
  wn_writer_tell(wn_handle_check(L, 1, &wn_writer_class), &tensor, &off);
  wn_push_u64(L, tensor + 1);
  wn_push_u64(L, off);
  return 2;
}

static int writer_seal(lua_State *L) {
  wn_err e = {0};
  wn_writer *w = wn_handle_check(L, 1, &wn_writer_class);
  return wn_push_result(L, wn_writer_seal(w, &e), &e);
}

/* The handle's writer, which leaves the handle: it is closed from now on. */
static wn_writer *take_writer(lua_State *L) {
  return wn_handle_take(L, 1, &wn_writer_class);
}

static int writer_commit(lua_State *L) {
  wn_err e = {0};
  return wn_push_result(L, wn_writer_commit(take_writer(L), &e), &e);
}

/* Method abort with argument `keep`: leave the .part for a later resume. */
static int writer_abort(lua_State *L) {
  wn_writer_abort(take_writer(L), lua_toboolean(L, 2));
  return push_true(L);
}

/* w:had() -> number of whole tensors that an earlier .part may hold */
static int writer_had(lua_State *L) {
  wn_writer *w = wn_handle_check(L, 1, &wn_writer_class);
  wn_push_u64(L, wn_writer_had(w));
  return 1;
}

/* w:skip(i): tensors before i are taken as written */
static int writer_skip(lua_State *L) {
  wn_err e = {0};
  wn_writer *w = wn_handle_check(L, 1, &wn_writer_class);
  int64_t i = wn_check_int(L, 2, 1, WN_MAX_TENSORS + 1);
  return wn_push_result(L, wn_writer_skip(w, (size_t)i - 1, &e), &e);
}

static const luaL_Reg writer_methods[] = {
    {"put", writer_put},   {"copy", writer_copy},     {"tell", writer_tell},
    {"seal", writer_seal}, {"commit", writer_commit}, {"abort", writer_abort},
    {"had", writer_had},   {"skip", writer_skip},     {NULL, NULL}};

const wn_class_def wn_writer_class = {"wane.writer", writer_methods, NULL,
                                      abort_writer};

static const luaL_Reg write_funcs[] = {{"meta", wn_new_meta},
                                       {"layout", new_layout},
                                       {"writer", new_writer},
                                       {NULL, NULL}};

void wn_open_gguf_write(lua_State *L) {
  wn_class_register(L, &wn_meta_class);
  wn_class_register(L, &wn_layout_class);
  wn_class_register(L, &wn_writer_class);
  wn_setfuncs(L, write_funcs);
}
