// The C half of wane, for a Defold game: require "wane.core" finds it loaded.
#include <dmsdk/sdk.h>

extern "C" int luaopen_wane_core(lua_State *L);

static dmExtension::Result Start(dmExtension::Params *params) {
  lua_State *L = params->m_L;
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_pushcfunction(L, luaopen_wane_core);
  lua_pushstring(L, "wane.core");
  int failed = lua_pcall(L, 1, 1, 0);
  if (failed) dmLogError("wane: %s", lua_tostring(L, -1));
  else lua_setfield(L, -2, "wane.core");
  lua_pop(L, failed ? 3 : 2);
  return failed ? dmExtension::RESULT_INIT_ERROR : dmExtension::RESULT_OK;
}

static dmExtension::Result End(dmExtension::Params *) {
  return dmExtension::RESULT_OK;
}

DM_DECLARE_EXTENSION(Wane, "Wane", 0, 0, Start, 0, 0, End)
