/* lua/fence.c - core.fence: a limit on what Lua may allocate, for code that is
 * not trusted.
 *
 *   fence(live, total)   from now on this state gets at most `live` more bytes
 *                        at once and `total` in all; more is "not enough
 *                        memory", which a protected call catches. What is
 *                        freed counts for `live`, garbage of before as well,
 *                        but never beyond it
 *   fence() -> hit       the fence is down again; has it held anything back?
 *
 * Strings that are joined or repeated, tables that grow: whatever Lua does to
 * get memory goes through the state's allocator, which is wrapped while the
 * fence stands. Fences do not nest. */
#include "lua/lib.h"

typedef struct fence {
  lua_Alloc alloc; /* what was there before */
  void *ud;
  size_t live, total; /* bytes left */
  size_t limit;       /* what live was at first */
  bool up, hit;
} fence;

static const char key = 'f';

/* The state's fence; made on first use, lives as long as the state. */
static fence *get(lua_State *L) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)&key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  fence *f = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (f != NULL) return f;
  lua_pushlightuserdata(L, (void *)(uintptr_t)&key);
  f = lua_newuserdata(L, sizeof *f);
  *f = (fence){0};
  lua_rawset(L, LUA_REGISTRYINDEX);
  return f;
}

static void *fenced(void *ud, void *p, size_t had, size_t n) {
  fence *f = ud;
  if (p == NULL) had = 0; /* then it is a kind of object, no size */
  if (n > had && (n - had > f->live || n - had > f->total)) {
    f->hit = true;
    return NULL;
  }
  void *q = f->alloc(f->ud, p, had, n);
  if (n > 0 && q == NULL) return NULL;
  if (n > had)
    f->live -= n - had, f->total -= n - had;
  else
    f->live = had - n < f->limit - f->live ? f->live + (had - n) : f->limit;
  return q;
}

static int core_fence(lua_State *L) {
  fence *f = get(L);
  if (lua_isnoneornil(L, 1)) {
    if (f->up) lua_setallocf(L, f->alloc, f->ud);
    f->up = false;
    lua_pushboolean(L, f->hit);
    return 1;
  }
  int64_t live = wn_check_int(L, 1, 0, (int64_t)1 << 40);
  int64_t total = wn_check_int(L, 2, 0, (int64_t)1 << 40);
  if (f->up) return luaL_error(L, "wane: a fence stands already");
  f->live = f->limit = (size_t)live;
  f->total = (size_t)total;
  f->hit = false;
  f->up = true;
  f->alloc = lua_getallocf(L, &f->ud);
  lua_setallocf(L, fenced, f);
  return 0;
}

int wn_open_fence(lua_State *L) {
  lua_pushcfunction(L, core_fence);
  return 1;
}
