/* core.c - luaopen_wane_core: one table with a sub-table per binding, and the
 * few functions about the library itself. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "lua/lib.h"

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

/* core.memory() -> { blocks, bytes, peak_bytes, n_allocs, owners = {...} } */
static int core_memory(lua_State *L) {
  wn_mem_stats s;
  wn_mem_get_stats(&s);
  lua_newtable(L);
  wn_set_int(L, "blocks", s.blocks);
  wn_set_int(L, "bytes", s.bytes);
  wn_set_int(L, "peak_bytes", s.peak_bytes);
  wn_set_int(L, "n_allocs", s.n_allocs);
  lua_newtable(L);
  for (int i = 0; i < WN_MEM_N_OWNERS; i++)
    wn_set_int(L, wn_mem_owner_name((wn_owner)i), s.owner_bytes[i]);
  lua_setfield(L, -2, "owners");
  return 1;
}

static int core_reset_peak(lua_State *L) {
  (void)L;
  wn_mem_reset_peak();
  return 0;
}

/* core.fail_alloc(n [, later]): test hook, see wn_mem_fail_at */
static int core_fail_alloc(lua_State *L) {
  int64_t n = wn_check_int(L, 1, 0, INT64_MAX);
  wn_mem_fail_at(n, lua_toboolean(L, 2));
  return 0;
}

/* core.limits() -> { MAX_KEYS = 65536, ... } */
static int core_limits(lua_State *L) {
  lua_newtable(L);
#define X(id, value, text) wn_set_int(L, &#id[3], id);
  WN_LIMITS(X)
#undef X
  return 1;
}

/* core.cpu() -> { isa, best, name, threads, live_threads } */
static int core_cpu(lua_State *L) {
  const wn_cpu *c = wn_cpu_get();
  lua_newtable(L);
  lua_pushstring(L, wn_isa_name(c->isa));
  lua_setfield(L, -2, "isa");
  lua_pushstring(L, wn_isa_name(c->best));
  lua_setfield(L, -2, "best");
  lua_pushstring(L, c->name);
  lua_setfield(L, -2, "name");
  wn_set_int(L, "threads", wn_pool_default_threads());
  wn_set_int(L, "live_threads", wn_pool_live());
  return 1;
}

/* core.set_isa(name) -> true | false when this machine lacks it */
static int core_set_isa(lua_State *L) {
  int isa = wn_isa_of_name(luaL_checkstring(L, 1));
  luaL_argcheck(L, isa >= 0, 1, "want ref, neon, avx2, avx512 or amx");
  lua_pushboolean(L, wn_cpu_set_isa((wn_isa)isa));
  return 1;
}

/* core.now() -> seconds of a clock that only goes forward */
static int core_now(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + 1e-9 * (lua_Number)t.tv_nsec);
  return 1;
}

/* core.is_terminal(fd) -> is it one? */
static int core_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty((int)wn_check_int(L, 1, 0, 1 << 20)));
  return 1;
}

static const luaL_Reg core_funcs[] = {{"memory", core_memory},
                                      {"reset_peak", core_reset_peak},
                                      {"fail_alloc", core_fail_alloc},
                                      {"limits", core_limits},
                                      {"cpu", core_cpu},
                                      {"set_isa", core_set_isa},
                                      {"now", core_now},
                                      {"is_terminal", core_is_terminal},
                                      {NULL, NULL}};

/* Keeps this library in memory for the life of the process: worker threads
 * run its code even after the last lua_State has closed it. */
static void pin_library(void) {
#if defined(__unix__) || defined(__APPLE__)
  Dl_info info;
  static int anchor;
  if (dladdr(&anchor, &info) != 0 && info.dli_fname != NULL)
    (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
#endif
}

/* Which Lua this library is for: lua/wane/native.lua looks for the mark in a
 * library that another Lua could not load. */
#if LUA_VERSION_NUM < 502
#define WN_LUA_NAME "LuaJIT"
#else
#define WN_LUA_NAME LUA_VERSION
#endif
static const char mark[] = "wane.core for " WN_LUA_NAME;

static void open_part(lua_State *L, const char *name, lua_CFunction open) {
  lua_pushcfunction(L, open);
  lua_call(L, 0, 1); /* at load time only: nothing of ours is live yet */
  lua_setfield(L, -2, name);
}

__attribute__((visibility("default"))) int luaopen_wane_core(lua_State *L);

int luaopen_wane_core(lua_State *L) {
  pin_library();
  lua_newtable(L);
  wn_setfuncs(L, core_funcs);
  wn_set_str(L, "mark", mark);
  /* PARTS: one line per binding file */
  open_part(L, "gguf", wn_open_gguf);
  open_part(L, "prog", wn_open_prog);
  open_part(L, "model", wn_open_model);
  open_part(L, "ctx", wn_open_ctx);
  open_part(L, "quant", wn_open_quant);
  open_part(L, "stream", wn_open_stream);
  open_part(L, "imatrix", wn_open_imatrix);
  open_part(L, "file", wn_open_file);
  open_part(L, "fence", wn_open_fence);
  open_part(L, "calib", wn_open_calib);
  open_part(L, "foreign", wn_open_foreign);
  open_part(L, "tap", wn_open_tap);
  open_part(L, "terminal", wn_open_terminal);
  open_part(L, "sample", wn_open_sample);
  open_part(L, "grammar", wn_open_grammar);
  open_part(L, "job", wn_open_job);
  open_part(L, "lora", wn_open_lora);
  open_part(L, "train", wn_open_train);
  open_part(L, "learn", wn_open_learn);
  open_part(L, "score", wn_open_score);
  open_part(L, "probe", wn_open_probe);
  open_part(L, "kern", wn_open_kern);
  open_part(L, "vector", wn_open_vector);
  open_part(L, "vocab", wn_open_vocab);
  return 1;
}
