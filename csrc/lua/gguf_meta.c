/* lua/gguf_meta.c - core.gguf: lists of metadata that are to be written.
 *
 * meta() makes a list m: m:copy(g, shard), m:set(key, type, value, elem),
 * m:remove(key), m:has(key), m:count(). Values are checked against their type
 * and encoded here; a value that does not fit raises. World failures give nil,
 * message, code. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "gguf/parts.h"
#include "gguf/write.h"
#include "lua/gguf.h"

static void free_meta(void *obj) {
  wn_meta_free(obj);
}

int wn_new_meta(lua_State *L) {
  wn_err e = {0};
  wn_meta *m = NULL;
  wn_handle *h = wn_handle_new(L, &wn_meta_class);
  if (wn_meta_new(&m, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = m;
  return 1;
}

static int meta_copy(lua_State *L) {
  wn_err e = {0};
  wn_meta *m = wn_handle_check(L, 1, &wn_meta_class);
  wn_gguf *g = wn_handle_check(L, 2, &wn_gguf_class);
  int64_t shard = 1, n = (int64_t)wn_gguf_n_shards(g);
  if (!lua_isnoneornil(L, 3)) shard = wn_check_int(L, 3, 1, n);
  return wn_push_result(L, wn_meta_copy(m, g, (uint32_t)shard - 1, &e), &e);
}

static int kv_type_of_name(const char *name) {
  for (int i = 0; i < WN_KV_N_TYPES; i++)
    if (strcmp(wn_kv_type_name(i), name) == 0) return i;
  return -1;
}

static int check_kv_type(lua_State *L, int arg) {
  int type = kv_type_of_name(luaL_checkstring(L, arg));
  luaL_argcheck(L, type >= 0, arg,
                "want u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool, "
                "string or array");
  return type;
}

/* Where an encoded value goes. First only counted (p == NULL), then written:
 * neither pass allocates, so nothing can change between its steps. */
typedef struct encoder {
  uint8_t *p;
  size_t n, cap;
} encoder;

static void add_bytes(lua_State *L, encoder *out, const void *p, size_t n) {
  if (out->p != NULL) {
    if (n > out->cap - out->n) luaL_error(L, "wane: value changed meanwhile");
    if (n > 0) memcpy(out->p + out->n, p, n);
  }
  out->n += n;
}

static void add_int(lua_State *L, encoder *out, uint64_t v, size_t n) {
  uint8_t le[8];
  for (size_t i = 0; i < 8; i++)
    le[i] = (uint8_t)(v >> (8 * i));
  add_bytes(L, out, le, n);
}

static int bad_value(lua_State *L, int type) {
  if (lua_type(L, -1) == LUA_TNUMBER)
    return luaL_error(L, "wane: %f does not fit in %s", lua_tonumber(L, -1),
                      wn_kv_type_name(type));
  return luaL_error(L, "wane: want a value for %s, found %s",
                    wn_kv_type_name(type), luaL_typename(L, -1));
}

/* A decimal string of a 64-bit type, whole and in range. */
static bool int_of_text(const char *s, int type, uint64_t *v) {
  char *end = NULL;
  const char *digits = s + (*s == '-');
  if (*digits < '0' || *digits > '9') return false;
  errno = 0;
  if (type == WN_KV_U64)
    *v = *s == '-' ? 0 : strtoull(s, &end, 10);
  else
    *v = (uint64_t)strtoll(s, &end, 10);
  return end != NULL && errno == 0 && *end == 0;
}

static bool is_signed(int type) {
  return type == WN_KV_I8 || type == WN_KV_I16 || type == WN_KV_I32 ||
         type == WN_KV_I64;
}

/* The integer on top of the stack as a value of `type`; raises when it is
 * none or out of range. */
static uint64_t int_value(lua_State *L, int type) {
  size_t bits = 8 * wn_kv_scalar_bytes((uint32_t)type);
  double d = lua_tonumber(L, -1), top;
  uint64_t v = 0;
  if (bits == 64 && lua_type(L, -1) == LUA_TSTRING) {
    if (!int_of_text(lua_tostring(L, -1), type, &v)) bad_value(L, type);
    return v;
  }
  if (lua_type(L, -1) != LUA_TNUMBER || d != floor(d)) bad_value(L, type);
#if WN_HAS_INTEGERS
  if (bits == 64 && lua_isinteger(L, -1)) {
    if (type == WN_KV_U64 && lua_tointeger(L, -1) < 0) bad_value(L, type);
    return (uint64_t)lua_tointeger(L, -1);
  }
#endif
  top = ldexp(1, (int)bits - (is_signed(type) ? 1 : 0));
  if (d >= top || d < (is_signed(type) ? -top : 0)) bad_value(L, type);
  return d < 0 ? (uint64_t)(int64_t)d : (uint64_t)d;
}

/* The scalar or string on top of the stack. */
static void add_scalar(lua_State *L, encoder *out, int type) {
  size_t n = wn_kv_scalar_bytes((uint32_t)type);
  double d;
  uint64_t u = 0;
  uint32_t u32 = 0;
  if (type == WN_KV_STRING) {
    if (lua_type(L, -1) != LUA_TSTRING) bad_value(L, type);
    const char *s = lua_tolstring(L, -1, &n);
    add_int(L, out, n, 8);
    add_bytes(L, out, s, n);
    return;
  }
  if (type == WN_KV_BOOL) {
    if (!lua_isboolean(L, -1)) bad_value(L, type);
    u = (uint64_t)lua_toboolean(L, -1);
  } else if (type == WN_KV_F32 || type == WN_KV_F64) {
    if (lua_type(L, -1) != LUA_TNUMBER) bad_value(L, type);
    d = lua_tonumber(L, -1);
    float f = (float)d;
    memcpy(&u, &d, sizeof d);
    memcpy(&u32, &f, sizeof f);
    if (type == WN_KV_F32) u = u32;
  } else {
    u = int_value(L, type);
  }
  add_int(L, out, u, n);
}

/* The table on top of the stack as array of `elem`: type, count, elements. An
 * inner array names its element type in its field `elem`. */
static void add_array(lua_State *L, encoder *out, int elem, int depth) {
  if (!lua_istable(L, -1)) bad_value(L, WN_KV_ARRAY);
  if (depth > WN_MAX_NESTING)
    luaL_error(L, "wane: arrays nest deeper than %d", (int)WN_MAX_NESTING);
  luaL_checkstack(L, 8, "nested arrays");
  size_t n = lua_rawlen(L, -1);
  if (n > (size_t)WN_MAX_ARRAY)
    luaL_error(L, "wane: array has more than %d elements", (int)WN_MAX_ARRAY);
  add_int(L, out, (uint32_t)elem, 4);
  add_int(L, out, n, 8);
  for (size_t i = 1; i <= n; i++) {
    lua_rawgeti(L, -1, (int)i);
    if (elem == WN_KV_ARRAY) {
      int inner = -1;
      if (!lua_istable(L, -1)) bad_value(L, WN_KV_ARRAY);
      lua_pushliteral(L, "elem");
      lua_rawget(L, -2);
      if (lua_type(L, -1) == LUA_TSTRING)
        inner = kv_type_of_name(lua_tostring(L, -1));
      lua_pop(L, 1);
      if (inner < 0)
        luaL_error(L, "wane: an inner array wants its type in field 'elem'");
      add_array(L, out, inner, depth + 1);
    } else {
      add_scalar(L, out, elem);
    }
    lua_pop(L, 1);
  }
}

/* m:set(key, type, value [, elem]) */
static int meta_set(lua_State *L) {
  wn_err e = {0};
  size_t key_n;
  encoder out = {NULL, 0, 0};
  wn_handle_check(L, 1, &wn_meta_class);
  const char *key = luaL_checklstring(L, 2, &key_n);
  int type = check_kv_type(L, 3), elem = 0;
  if (type == WN_KV_ARRAY) elem = check_kv_type(L, 5);
  for (int pass = 0; pass < 2; pass++) {
    lua_pushvalue(L, 4);
    if (type == WN_KV_ARRAY)
      add_array(L, &out, elem, 1);
    else
      add_scalar(L, &out, type);
    lua_pop(L, 1);
    if (pass == 1) break;
    out.cap = out.n;
    out.n = 0;
    out.p = lua_newuserdata(L, out.cap > 0 ? out.cap : 1);
  }
  wn_meta *m = wn_handle_check(L, 1, &wn_meta_class);
  int rc = wn_meta_set(m, key, key_n, type, out.p, out.n, &e);
  return wn_push_result(L, rc, &e);
}

/* m:remove(key) -> true when it was there */
static int meta_remove(lua_State *L) {
  size_t n;
  wn_meta *m = wn_handle_check(L, 1, &wn_meta_class);
  const char *key = luaL_checklstring(L, 2, &n);
  lua_pushboolean(L, wn_meta_remove(m, key, n));
  return 1;
}

/* m:has(key) -> type name [, element type name] | nil */
static int meta_has(lua_State *L) {
  size_t n;
  wn_meta *m = wn_handle_check(L, 1, &wn_meta_class);
  const char *key = luaL_checklstring(L, 2, &n);
  const wn_kv *kv = wn_meta_find(m, key, n);
  if (kv == NULL) return 0;
  int type = kv->type, elem = kv->elem;
  lua_pushstring(L, wn_kv_type_name(type));
  if (type != WN_KV_ARRAY) return 1;
  lua_pushstring(L, wn_kv_type_name(elem));
  return 2;
}

static int meta_count(lua_State *L) {
  wn_meta *m = wn_handle_check(L, 1, &wn_meta_class);
  wn_push_i64(L, (int64_t)wn_meta_n(m));
  return 1;
}

static const luaL_Reg meta_methods[] = {
    {"copy", meta_copy}, {"set", meta_set},     {"remove", meta_remove},
    {"has", meta_has},   {"count", meta_count}, {NULL, NULL}};

const wn_class_def wn_meta_class = {"wane.meta", meta_methods, NULL, free_meta};
