/* probe.c - core.probe: the limits of the machine (kern/probe.h), for benches.
 *
 * core.probe.units() -> list of the names of what this machine offers
 * core.probe.peak(unit, threads) -> operations a second
 * core.probe.barrier(threads) -> seconds of one barrier
 * core.probe.run(threads, idle) -> seconds of an empty run of the pool, begun
 *   `idle` seconds after the one before */
#include "kern/probe.h"

#include "base/pool.h"
#include "lua/lib.h"

static int probe_units(lua_State *L) {
  int n = 0;
  lua_newtable(L);
  for (int p = 0; p < WN_PROBE_N; p++) {
    if (!wn_probe_offered((wn_probe)p)) continue;
    lua_pushstring(L, wn_probe_name((wn_probe)p));
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static int probe_peak(lua_State *L) {
  static const char *const names[] = {
#define X(id, name) name,
      WN_PROBES(X)
#undef X
          NULL};
  int p = luaL_checkoption(L, 1, NULL, names);
  int n = (int)wn_check_int(L, 2, 1, WN_MAX_THREADS);
  lua_pushnumber(L, wn_probe_peak((wn_probe)p, n));
  return 1;
}

static int probe_barrier(lua_State *L) {
  int n = (int)wn_check_int(L, 1, 1, WN_MAX_THREADS);
  lua_pushnumber(L, wn_probe_barrier(n));
  return 1;
}

static int probe_run(lua_State *L) {
  int n = (int)wn_check_int(L, 1, 1, WN_MAX_THREADS);
  double idle = luaL_checknumber(L, 2);
  luaL_argcheck(L, idle >= 0 && idle <= 1, 2, "want 0 to 1 seconds");
  lua_pushnumber(L, wn_probe_run(n, idle));
  return 1;
}

int wn_open_probe(lua_State *L) {
  static const luaL_Reg funcs[] = {{"units", probe_units},
                                   {"peak", probe_peak},
                                   {"barrier", probe_barrier},
                                   {"run", probe_run},
                                   {NULL, NULL}};
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
