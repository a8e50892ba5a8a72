/* lua/gguf.c - core.gguf: reading. See gguf.lua for the face that users see.
 *
 *   open(path [, one [, look]]) -> g | nil, message, code
 *     one: this file alone; look: types that are unknown are let through
 *   fail_os(call, n, error), os_uses(call)            test hooks (base/os.h)
 *
 * g is a handle. */
#include "lua/gguf.h"

#include <errno.h>
#include <string.h>

#include "gguf/parts.h"

static void unref_gguf(void *obj) {
  wn_gguf_unref(obj);
}

/* --- metadata values ------------------------------------------------------ */

static const uint8_t *push_element(lua_State *L, int type, const uint8_t *p,
                                   int depth);

/* Pushes `count` packed elements as a table; returns the byte after them.
 * The parser has checked that they are all there. */
static const uint8_t *push_elements(lua_State *L, int elem, uint64_t count,
                                    const uint8_t *p, int depth) {
  luaL_checkstack(L, 8, "nested arrays");
  lua_createtable(L, (int)count, 0); /* at most 2^26 */
  for (uint64_t i = 0; i < count; i++) {
    p = push_element(L, elem, p, depth);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return p;
}

static void push_scalar(lua_State *L, int type, const uint8_t *p) {
  float f;
  double d;
  uint64_t u = 0;
  size_t n = wn_kv_scalar_bytes((uint32_t)type);
  for (size_t i = n; i > 0; i--)
    u = u << 8 | p[i - 1];
  switch (type) {
    case WN_KV_BOOL:
      lua_pushboolean(L, u != 0);
      break;
    case WN_KV_F32:
      memcpy(&f, &(uint32_t){(uint32_t)u}, sizeof f);
      lua_pushnumber(L, (lua_Number)f);
      break;
    case WN_KV_F64:
      memcpy(&d, &u, sizeof d);
      lua_pushnumber(L, d);
      break;
    case WN_KV_I8:
    case WN_KV_I16:
    case WN_KV_I32:
    case WN_KV_I64: /* move the sign bit to the top and back */
      wn_push_i64(L, (int64_t)(u << (64 - 8 * n)) >> (64 - 8 * n));
      break;
    default:
      wn_push_u64(L, u);
  }
}

/* Pushes one packed element of an array; inner arrays carry their element
 * type in the field `elem`. */
static const uint8_t *push_element(lua_State *L, int type, const uint8_t *p,
                                   int depth) {
  if (type == WN_KV_STRING) {
    size_t n = (size_t)wn_le64(p);
    lua_pushlstring(L, (const char *)p + 8, n);
    return p + 8 + n;
  }
  if (type == WN_KV_ARRAY) {
    int elem = (int)wn_le32(p);
    p = push_elements(L, elem, wn_le64(p + 4), p + 12, depth + 1);
    wn_set_str(L, "elem", wn_kv_type_name(elem));
    return p;
  }
  push_scalar(L, type, p);
  return p + wn_kv_scalar_bytes((uint32_t)type);
}

/* g:kv(i) -> key, type name, value [, element type name] */
static int gguf_kv(lua_State *L) {
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  int64_t i = wn_check_int(L, 2, 1, (int64_t)wn_gguf_n_kv(g));
  const wn_kv *kv = wn_gguf_kv(g, (size_t)i - 1);
  lua_pushlstring(L, kv->key.p, kv->key.n);
  lua_pushstring(L, wn_kv_type_name(kv->type));
  if (kv->type == WN_KV_ARRAY) {
    push_elements(L, kv->elem, kv->count, kv->data, 1);
    lua_pushstring(L, wn_kv_type_name(kv->elem));
    return 4;
  }
  push_element(L, kv->type, kv->raw, 0);
  return 3;
}

/* g:key(i) -> key, type name [, element type name, count]: without the value */
static int gguf_key(lua_State *L) {
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  int64_t i = wn_check_int(L, 2, 1, (int64_t)wn_gguf_n_kv(g));
  const wn_kv *kv = wn_gguf_kv(g, (size_t)i - 1);
  lua_pushlstring(L, kv->key.p, kv->key.n);
  lua_pushstring(L, wn_kv_type_name(kv->type));
  int n = 2;
  if (kv->type == WN_KV_ARRAY) {
    lua_pushstring(L, wn_kv_type_name(kv->elem));
    wn_push_u64(L, kv->count);
    n = 4;
  }
  return n;
}

/* g:find_kv(key) -> index | nil */
static int gguf_find_kv(lua_State *L) {
  size_t n;
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  const char *key = luaL_checklstring(L, 2, &n);
  const wn_kv *kv = wn_gguf_find_kv(g, key, n);
  if (kv == NULL)
    lua_pushnil(L);
  else
    wn_push_i64(L, kv - wn_gguf_kv(g, 0) + 1);
  return 1;
}

/* --- tensors -------------------------------------------------------------- */

int wn_gguf_whole(const wn_gguf *g, wn_err *e) {
  if (!wn_gguf_strangers(g)) return WN_OK;
  return wn_fail(e, WN_EUNSUP, "%s: some tensors have types that are unknown",
                 wn_gguf_path(g));
}

void wn_push_tensor(lua_State *L, const wn_tensor *t) {
  const wn_type_info *type = wn_type(t->type);
  lua_createtable(L, 0, 9);
  lua_pushlstring(L, t->name.p, t->name.n);
  lua_setfield(L, -2, "name");
  if (type != NULL) {
    wn_set_str(L, "type", type->name);
  } else {
    lua_pushfstring(L, "type %d (unknown)", t->type);
    lua_setfield(L, -2, "type");
  }
  wn_set_u64(L, "type_id", (uint64_t)t->type);
  lua_createtable(L, (int)t->n_dims, 0);
  for (uint32_t i = 0; i < t->n_dims; i++) {
    wn_push_u64(L, t->ne[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "shape");
  wn_set_u64(L, "n_rows", t->n_rows);
  wn_set_u64(L, "row_bytes", t->row_bytes);
  wn_set_u64(L, "bytes", t->bytes);
  wn_set_u64(L, "off", t->off);
  wn_set_u64(L, "shard", (uint64_t)t->shard + 1);
}

/* The tensor whose number is argument 2. */
static const wn_tensor *check_tensor(lua_State *L, const wn_gguf *g) {
  int64_t i = wn_check_int(L, 2, 1, (int64_t)wn_gguf_n_tensors(g));
  return wn_gguf_tensor(g, (size_t)i - 1);
}

/* g:tensor(i) -> { name, type, type_id, shape, n_rows, row_bytes, ... } */
static int gguf_tensor(lua_State *L) {
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  wn_push_tensor(L, check_tensor(L, g));
  return 1;
}

/* g:find_tensor(name) -> index | nil */
static int gguf_find_tensor(lua_State *L) {
  size_t n;
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  const char *name = luaL_checklstring(L, 2, &n);
  const wn_tensor *t = wn_gguf_find_tensor(g, name, n);
  if (t == NULL)
    lua_pushnil(L);
  else
    wn_push_i64(L, t - wn_gguf_tensor(g, 0) + 1);
  return 1;
}

/* Arguments `off`, `n` at 3 and 4: a range of the tensor's bytes. */
static void check_range(lua_State *L, const wn_tensor *t, uint64_t *off,
                        size_t *n) {
  int64_t bytes = (int64_t)t->bytes; /* < 2^51 */
  *off = (uint64_t)wn_check_int(L, 3, 0, bytes);
  *n = (size_t)wn_check_int(L, 4, 0, bytes - (int64_t)*off);
}

/* g:read(i, off, n) -> string | nil, message, code */
static int gguf_read(lua_State *L) {
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  const wn_tensor *t = check_tensor(L, g);
  wn_err e = {0};
  uint64_t off;
  size_t n;
  check_range(L, t, &off, &n);
  void *buf = lua_newuserdata(L, n > 0 ? n : 1);
  int rc = wn_gguf_read(g, t, off, buf, n, &e);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushlstring(L, buf, n);
  return 1;
}

/* --- files ---------------------------------------------------------------- */

/* g:info() -> { path, version, alignment, shards, file_bytes, data_off,
 * header_bytes, n_kv, n_tensors } */
static int gguf_info(lua_State *L) {
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  static const char *const lists[] = {"shards", "file_bytes", "data_off",
                                      "header_bytes"};
  uint32_t n = wn_gguf_n_shards(g);
  lua_createtable(L, 0, 10);
  wn_set_str(L, "path", wn_gguf_path(g));
  wn_set_u64(L, "version", wn_gguf_version(g));
  wn_set_u64(L, "alignment", wn_gguf_alignment(g));
  wn_set_u64(L, "n_kv", wn_gguf_n_kv(g));
  wn_set_u64(L, "n_tensors", wn_gguf_n_tensors(g));
  for (int k = 0; k < 4; k++) {
    lua_createtable(L, (int)n, 0);
    for (uint32_t i = 0; i < n; i++) {
      if (k == 0) lua_pushstring(L, wn_gguf_shard_path(g, i));
      if (k == 1) wn_push_u64(L, wn_gguf_file_bytes(g, i));
      if (k == 2) wn_push_u64(L, wn_gguf_data_off(g, i));
      if (k == 3) wn_push_u64(L, wn_gguf_header_bytes(g, i));
      lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, lists[k]);
  }
  return 1;
}

/* g:map() -> true | nil, message, code */
static int gguf_map(lua_State *L) {
  wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  wn_err e = {0};
  if (wn_gguf_map(g, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

/* g:mapped(i, off, n) -> string from the map | nil when not mapped */
static int gguf_mapped(lua_State *L) {
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  const wn_tensor *t = check_tensor(L, g);
  uint64_t off;
  size_t n;
  check_range(L, t, &off, &n);
  const char *p = wn_gguf_data(g, t);
  if (p == NULL)
    lua_pushnil(L);
  else
    lua_pushlstring(L, p + off, n);
  return 1;
}

/* g:check([full]) -> true | nil, message, "ECHANGED" */
static int gguf_check(lua_State *L) {
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  wn_err e = {0};
  if (wn_gguf_check(g, lua_toboolean(L, 2), &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg gguf_methods[] = {{"info", gguf_info},
                                        {"kv", gguf_kv},
                                        {"key", gguf_key},
                                        {"find_kv", gguf_find_kv},
                                        {"tensor", gguf_tensor},
                                        {"find_tensor", gguf_find_tensor},
                                        {"read", gguf_read},
                                        {"map", gguf_map},
                                        {"mapped", gguf_mapped},
                                        {"check", gguf_check},
                                        {NULL, NULL}};

const wn_class_def wn_gguf_class = {"wane.gguf", gguf_methods, NULL,
                                    unref_gguf};

static int open_gguf(lua_State *L) {
  size_t n;
  wn_err e = {0};
  wn_gguf *g = NULL;
  const char *path = luaL_checklstring(L, 1, &n);
  bool one = lua_toboolean(L, 2);
  luaL_argcheck(L, strlen(path) == n, 1, "a path has no NUL byte");
  wn_handle *h = wn_handle_new(L, &wn_gguf_class);
  bool look = lua_toboolean(L, 3);
  int rc = look  ? wn_gguf_look(path, one, &g, &e)
           : one ? wn_gguf_open_one(path, &g, &e)
                 : wn_gguf_open(path, &g, &e);
  if (rc != WN_OK) return wn_push_error(L, &e);
  h->obj = g;
  return 1;
}

/* --- test hooks ----------------------------------------------------------- */

static int check_call(lua_State *L) {
  int call = wn_os_call_of_name(luaL_checkstring(L, 1));
  luaL_argcheck(L, call >= 0, 1, "unknown system call");
  return call;
}

/* fail_os(call, n, error): the n-th use of the call from now fails so; n = 0
 * switches it off. */
static int fail_os(lua_State *L) {
  static const struct {
    const char *name;
    int err;
  } errors[] = {{"EIO", EIO},
                {"ENOSPC", ENOSPC},
                {"EDQUOT", EDQUOT},
                {"EINTR", EINTR},
                {"EFBIG", EFBIG},
                {"EACCES", EACCES},
                {"EROFS", EROFS},
                {"ENOMEM", ENOMEM},
                {"EMFILE", EMFILE},
                {"ENODEV", ENODEV},
                {"ENOENT", ENOENT},
                {"EEXIST", EEXIST},
                {"short", WN_OS_SHORT},
                {"kill", WN_OS_KILL},
                {"kill_after", WN_OS_KILL_AFTER}};
  int call = check_call(L);
  int64_t n = wn_check_int(L, 2, 0, INT64_MAX);
  const char *name = n == 0 ? "EIO" : luaL_checkstring(L, 3);
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
    if (strcmp(errors[i].name, name) != 0) continue;
    wn_os_fail_at((wn_os_call)call, n, errors[i].err);
    return 0;
  }
  return luaL_argerror(L, 3, "unknown error name");
}

/* os_uses(call) -> how often it was used so far */
static int os_uses(lua_State *L) {
  wn_push_i64(L, wn_os_uses((wn_os_call)check_call(L)));
  return 1;
}

static const luaL_Reg gguf_funcs[] = {{"open", open_gguf},
                                      {"fail_os", fail_os},
                                      {"os_uses", os_uses},
                                      {NULL, NULL}};

int wn_open_gguf(lua_State *L) {
  wn_class_register(L, &wn_gguf_class);
  lua_newtable(L);
  wn_setfuncs(L, gguf_funcs);
  wn_open_gguf_write(L);
  return 1;
}
