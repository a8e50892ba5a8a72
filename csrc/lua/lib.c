/* lib.c - see lib.h. */
#include "lua/lib.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* "wane.model" -> "model" */
static const char *short_name(const wn_class_def *def) {
  const char *dot = strrchr(def->name, '.');
  return dot != NULL ? dot + 1 : def->name;
}

/* True when an active C function below the current one holds the handle at
 * `arg` among its values: it is inside one of our methods, and what runs now
 * is a finalizer or metamethod that this method triggered. A few levels are
 * enough: such code runs right above the method. */
static bool in_use(lua_State *L, int arg) {
  enum { LEVELS = 64 };
  lua_Debug ar;
  bool found = false;
  luaL_checkstack(L, 4, "wane: stack overflow");
  for (int level = 1; !found && level < LEVELS; level++) {
    if (!lua_getstack(L, level, &ar)) break;
    if (!lua_getinfo(L, "S", &ar) || ar.what[0] != 'C') continue;
    for (int i = 1; !found && lua_getlocal(L, &ar, i) != NULL; i++) {
      found = lua_rawequal(L, -1, arg);
      lua_pop(L, 1);
    }
  }
  return found;
}

/* The collector's close: nothing can be using the handle any more. */
static int handle_gc(lua_State *L) {
  const wn_class_def *def = lua_touserdata(L, lua_upvalueindex(1));
  wn_handle *h = luaL_checkudata(L, 1, def->name);
  void *obj = h->obj, *late = h->late;
  h->obj = h->late = NULL;
  if (late != NULL) def->unref(late);
  if (obj != NULL) def->unref(obj);
  return 0;
}

static int handle_close(lua_State *L) {
  const wn_class_def *def = lua_touserdata(L, lua_upvalueindex(1));
  wn_handle *h = luaL_checkudata(L, 1, def->name);
  if (!in_use(L, 1)) {
    handle_gc(L);
  } else if (h->obj != NULL) {
    h->late = h->obj; /* the method under us still works with it */
    h->obj = NULL;
  }
  lua_pushboolean(L, 1);
  return 1;
}

void *wn_handle_take(lua_State *L, int arg, const wn_class_def *def) {
  void *obj = wn_handle_check(L, arg, def);
  if (in_use(L, arg)) luaL_error(L, "wane: %s is busy", short_name(def));
  ((wn_handle *)lua_touserdata(L, arg))->obj = NULL;
  return obj;
}

static void push_close(lua_State *L, const wn_class_def *def,
                       lua_CFunction close) {
  /* def is static data of its binding: it outlives the state */
  lua_pushlightuserdata(L, (void *)(uintptr_t)def);
  lua_pushcclosure(L, close, 1);
}

void wn_class_register(lua_State *L, const wn_class_def *def) {
  if (!luaL_newmetatable(L, def->name)) {
    lua_pop(L, 1);
    return;
  }
  lua_newtable(L);
  if (def->methods != NULL) wn_setfuncs(L, def->methods);
  push_close(L, def, handle_close);
  lua_setfield(L, -2, "close");
  lua_setfield(L, -2, "__index");
  if (def->meta != NULL) wn_setfuncs(L, def->meta);
  push_close(L, def, handle_gc);
  lua_setfield(L, -2, "__gc");
  push_close(L, def, handle_close);
  lua_setfield(L, -2, "__close");
  lua_pushstring(L, def->name);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

wn_handle *wn_handle_new(lua_State *L, const wn_class_def *def) {
  wn_handle *h = lua_newuserdata(L, sizeof *h);
  h->obj = h->late = NULL;
  luaL_getmetatable(L, def->name);
  lua_setmetatable(L, -2);
  return h;
}

/* luaL_testudata, which 5.1 lacks. */
static wn_handle *to_handle(lua_State *L, int arg, const char *name) {
  void *p = lua_touserdata(L, arg);
  if (p == NULL || !lua_getmetatable(L, arg)) return NULL;
  luaL_getmetatable(L, name);
  if (!lua_rawequal(L, -1, -2)) p = NULL;
  lua_pop(L, 2);
  return p;
}

void *wn_handle_test(lua_State *L, int arg, const wn_class_def *def) {
  wn_handle *h = to_handle(L, arg, def->name);
  if (h != NULL && h->obj == NULL)
    luaL_error(L, "wane: %s is closed", short_name(def));
  return h != NULL ? h->obj : NULL;
}

void *wn_handle_check(lua_State *L, int arg, const wn_class_def *def) {
  void *obj = wn_handle_test(L, arg, def);
  if (obj == NULL) luaL_checkudata(L, arg, def->name); /* raises */
  return obj;
}

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
  lua_pushnil(L);
  while (lua_next(L, t) != 0) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "wane: option names are strings, found a %s",
                 luaL_typename(L, -1));
    const char *key = lua_tostring(L, -1);
    const char *const *n = names;
    while (*n != NULL && strcmp(*n, key) != 0)
      n++;
    if (*n == NULL) luaL_error(L, "wane: unknown option '%s'", key);
  }
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
