/* compat.h - the only place that knows which Lua it is: 5.4 or LuaJIT (5.1). */
#ifndef WN_LUA_COMPAT_H
#define WN_LUA_COMPAT_H

#include <lauxlib.h>
#include <lua.h>

#if LUA_VERSION_NUM < 502
#define lua_rawlen(L, i) lua_objlen(L, i)
#define lua_setuservalue(L, i) lua_setfenv(L, i)
#define lua_getuservalue(L, i) lua_getfenv(L, i)
#endif

#if LUA_VERSION_NUM >= 503
#define WN_HAS_INTEGERS 1
#else
#define WN_HAS_INTEGERS 0
#endif

#endif
