// The C half of wane, for a Defold game: require "wane.core" finds it here.
#include <dmsdk/sdk.h>

extern "C" int luaopen_wane_core(lua_State *L);

static dmExtension::Result Start(dmExtension::Params *params) {
  lua_State *L = params->m_L;
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  lua_pushcfunction(L, luaopen_wane_core);
  lua_setfield(L, -2, "wane.core");
  lua_pop(L, 2);
  return dmExtension::RESULT_OK;
}

static dmExtension::Result End(dmExtension::Params *) {
  return dmExtension::RESULT_OK;
}

DM_DECLARE_EXTENSION(Wane, "Wane", 0, 0, Start, 0, 0, End)
