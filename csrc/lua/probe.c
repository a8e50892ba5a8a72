/* probe.c - core.probe: the limits of the machine (kern/probe.h), for benches.
 *
 * core.probe.units() -> list of the names of what this machine offers
 * core.probe.peak(unit, threads) -> operations a second
 * core.probe.read(buffer, threads, streams) -> bytes a second read from it */
#include "kern/probe.h"

#include "base/pool.h"
#include "lua/buffer.h"
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

static int probe_read(lua_State *L) {
  const wn_buffer *b = wn_buffer_check(L, 1);
  int n_threads = (int)wn_check_int(L, 2, 1, WN_MAX_THREADS);
  int n_streams = (int)wn_check_int(L, 3, 1, 8);
  size_t bytes = b->rows * b->cols * sizeof *b->data;
  lua_pushnumber(
      L, wn_probe_read((const uint8_t *)b->data, bytes, n_threads, n_streams));
  return 1;
}

int wn_open_probe(lua_State *L) {
  static const luaL_Reg funcs[] = {{"units", probe_units},
                                   {"peak", probe_peak},
                                   {"read", probe_read},
                                   {NULL, NULL}};
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
