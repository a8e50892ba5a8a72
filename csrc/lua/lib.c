/* lib.c - see lib.h. */
#include "lua/lib.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int wn_push_error(lua_State *L, const wn_err *e) {
  if (e->code == WN_EARG) return luaL_error(L, "wane: %s", e->msg);
  lua_pushnil(L);
  lua_pushstring(L, e->msg);
  lua_pushstring(L, wn_code_name(e->code));
  return 3;
}

/* True and *v when the value at idx is a number with an exact integer value. */
static bool to_int(lua_State *L, int idx, int64_t *v) {
  if (lua_type(L, idx) != LUA_TNUMBER) return false;
#if WN_HAS_INTEGERS
  if (lua_isinteger(L, idx)) {
    *v = (int64_t)lua_tointeger(L, idx);
    return true;
  }
#endif
  double d = lua_tonumber(L, idx);
  if (!(d >= -9007199254740992.0 && d <= 9007199254740992.0)) return false;
  if (d != floor(d)) return false;
  *v = (int64_t)d;
  return true;
}

int64_t wn_check_int(lua_State *L, int arg, int64_t min, int64_t max) {
  int64_t v = 0;
  char want[96];
  if (to_int(L, arg, &v) && v >= min && v <= max) return v;
  snprintf(want, sizeof want, "want an integer from %lld to %lld",
           (long long)min, (long long)max);
  return luaL_argerror(L, arg, want);
}

int64_t wn_check_item(lua_State *L, const char *what, size_t i, int64_t min,
                      int64_t max) {
  int64_t v = 0;
  char want[96];
  if (to_int(L, -1, &v) && v >= min && v <= max) return v;
  snprintf(want, sizeof want, "item %lld: want an integer from %lld to %lld",
           (long long)i, (long long)min, (long long)max);
  bool number = lua_type(L, -1) == LUA_TNUMBER;
  luaL_error(L, "wane: %s: %s, got %s", what, want,
             number ? lua_tostring(L, -1) : luaL_typename(L, -1));
  return 0;
}

int64_t wn_opt_int(lua_State *L, int table, const char *key, int64_t def,
                   int64_t min, int64_t max) {
  int64_t v = def;
  char want[96];
  lua_getfield(L, table, key);
  if (!lua_isnil(L, -1) && (!to_int(L, -1, &v) || v < min || v > max)) {
    snprintf(want, sizeof want, "an integer from %lld to %lld", (long long)min,
             (long long)max);
    return luaL_error(L, "wane: option '%s': want %s", key, want);
  }
  lua_pop(L, 1);
  return v;
}

double wn_opt_num(lua_State *L, int table, const char *key, double def,
                  double min, double max) {
  double v = def;
  lua_getfield(L, table, key);
  if (!lua_isnil(L, -1)) {
    bool number = lua_type(L, -1) == LUA_TNUMBER;
    v = number ? lua_tonumber(L, -1) : 0;
    if (!number || !(v >= min && v <= max)) {
      char want[96];
      snprintf(want, sizeof want, "a number from %g to %g", min, max);
      luaL_error(L, "wane: option '%s': want %s", key, want);
    }
  }
  lua_pop(L, 1);
  return v;
}

bool wn_opt_bool(lua_State *L, int table, const char *key, bool def) {
  lua_getfield(L, table, key);
  if (!lua_isnil(L, -1)) {
    if (!lua_isboolean(L, -1))
      luaL_error(L, "wane: option '%s': want true or false", key);
    def = lua_toboolean(L, -1);
  }
  lua_pop(L, 1);
  return def;
}

void wn_check_options(lua_State *L, int t, const char *const *names) {
  const char *unknown = NULL; /* the first of the alphabet: always the same */
  lua_pushnil(L);
  while (lua_next(L, t) != 0) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "wane: option names are strings, found a %s",
                 luaL_typename(L, -1));
    const char *key = lua_tostring(L, -1); /* the table holds it */
    const char *const *n = names;
    while (*n != NULL && strcmp(*n, key) != 0)
      n++;
    if (*n == NULL && (unknown == NULL || strcmp(key, unknown) < 0))
      unknown = key;
  }
  if (unknown == NULL) return;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (const char *const *n = names; *n != NULL; n++) {
    if (n != names) luaL_addstring(&b, ", ");
    luaL_addstring(&b, *n);
  }
  luaL_pushresult(&b);
  luaL_error(L, "wane: unknown option '%s': want one of %s", unknown,
             lua_tostring(L, -1));
}

void wn_push_i64(lua_State *L, int64_t v) {
#if WN_HAS_INTEGERS
  lua_pushinteger(L, (lua_Integer)v);
#else
  if (v >= -9007199254740992LL && v <= 9007199254740992LL) {
    lua_pushnumber(L, (lua_Number)v);
  } else {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)v);
    lua_pushstring(L, text);
  }
#endif
}

void wn_push_u64(lua_State *L, uint64_t v) {
  if (v <= INT64_MAX) {
    wn_push_i64(L, (int64_t)v);
    return;
  }
  char text[32];
  snprintf(text, sizeof text, "%llu", (unsigned long long)v);
  lua_pushstring(L, text);
}

void wn_set_num(lua_State *L, const char *key, double v) {
  lua_pushnumber(L, v);
  lua_setfield(L, -2, key);
}

void wn_set_int(lua_State *L, const char *key, int64_t v) {
  wn_push_i64(L, v);
  lua_setfield(L, -2, key);
}

void wn_set_u64(lua_State *L, const char *key, uint64_t v) {
  wn_push_u64(L, v);
  lua_setfield(L, -2, key);
}

void wn_set_bool(lua_State *L, const char *key, bool v) {
  lua_pushboolean(L, v);
  lua_setfield(L, -2, key);
}

void wn_set_str(lua_State *L, const char *key, const char *v) {
  lua_pushstring(L, v);
  lua_setfield(L, -2, key);
}
