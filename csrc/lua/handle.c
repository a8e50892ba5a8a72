/* handle.c - handles, and the calls that use them; see lib.h.
 *
 * A function that Lua can call runs inside of `guarded`, which keeps a list of
 * the handles it uses: one record each, linked into the handle as well. The
 * innermost call is found through a variable of the thread. Calls nest as C
 * frames do (ours never yield), and lua_pcall brings every error back to the
 * guard, so a record cannot outlive its call.
 *
 * A handle is closed
 *   with no user:   its object is dropped at once,
 *   with users:     the object waits in `late`; the outermost user drops it,
 *   by the collector while a call still uses the object (the handle came from
 *   a table that has lost it since): the outermost record takes the object
 *   over. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "lua/lib.h"

struct wn_use {
  wn_handle *h; /* NULL: collected meanwhile */
  void *obj;
  const wn_class_def *def;
  wn_use *outer; /* the next call that uses the same handle */
  bool owns;     /* obj is this record's to drop */
};

/* Records come in blocks, for their addresses must stay; one block is enough
 * for everything but long lists of handles. */
enum { BLOCK = 6 };
typedef struct block {
  struct block *before;
  size_t n;
  wn_use uses[BLOCK];
} block;

typedef struct call {
  struct call *below;
  block first, *last;
} call;

static _Thread_local call *top;

/* "wane.model" -> "model" */
static const char *short_name(const wn_class_def *def) {
  const char *dot = strrchr(def->name, '.');
  return dot != NULL ? dot + 1 : def->name;
}

/* -- uses ----------------------------------------------------------------- */

/* The running call's record of h, or NULL. */
static wn_use *use_of(const wn_handle *h) {
  if (top == NULL) return NULL;
  for (block *b = top->last; b != NULL; b = b->before)
    for (size_t i = 0; i < b->n; i++)
      if (b->uses[i].h == h) return &b->uses[i];
  return NULL;
}

static void add_use(lua_State *L, wn_handle *h, const wn_class_def *def) {
  block *b = top->last;
  if (b->n == BLOCK) {
    b = wn_calloc(WN_MEM_LUA, 1, sizeof *b);
    if (b == NULL) luaL_error(L, "wane: out of memory");
    b->before = top->last;
    top->last = b;
  }
  wn_use *u = &b->uses[b->n++];
  u->h = h;
  u->obj = h->obj;
  u->def = def;
  u->outer = h->use;
  u->owns = false;
  h->use = u;
}

static void end_use(wn_use *u) {
  if (u->owns) u->def->unref(u->obj);
  if (u->h == NULL) return;
  u->h->use = u->outer;
  if (u->outer != NULL || u->h->late == NULL) return;
  void *late = u->h->late;
  u->h->late = NULL;
  u->def->unref(late);
}

/* The end of the call c: what it used is free. */
static void leave(call *c) {
  while (c->last != NULL) {
    block *b = c->last;
    while (b->n > 0)
      end_use(&b->uses[--b->n]);
    c->last = b->before;
    if (b != &c->first) wn_free(b);
  }
}

/* -- guarded calls -------------------------------------------------------- */

/* Raises the error on the top of the stack. Messages were made where the
 * function has neither name nor line, one frame too deep: they get both. */
static int raise_again(lua_State *L) {
  int arg, n = 0;
  const char *msg = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  if (sscanf(msg, "bad argument #%d to '?' (%n", &arg, &n) == 1 && n > 0) {
    lua_pushlstring(L, msg + n, strlen(msg + n) - 1);
    return luaL_argerror(L, arg, lua_tostring(L, -1));
  }
  if (strncmp(msg, "wane: ", 6) == 0) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

/* Calls upvalue 1, a C function, with the arguments. */
static int guarded(lua_State *L) {
  call c;
  int n = lua_gettop(L);
  c.below = top;
  c.first.before = NULL;
  c.first.n = 0;
  c.last = &c.first;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  top = &c;
  int rc = lua_pcall(L, n, LUA_MULTRET, 0); /* a C function of ours */
  top = c.below;
  leave(&c);
  return rc == 0 ? lua_gettop(L) : raise_again(L);
}

void wn_setfuncs(lua_State *L, const luaL_Reg *funcs) {
  for (; funcs->name != NULL; funcs++) {
    lua_pushcfunction(L, funcs->func);
    lua_pushcclosure(L, guarded, 1);
    lua_setfield(L, -2, funcs->name);
  }
}

/* -- closing -------------------------------------------------------------- */

static int handle_close(lua_State *L) {
  const wn_class_def *def = lua_touserdata(L, lua_upvalueindex(1));
  wn_handle *h = luaL_checkudata(L, 1, def->name);
  void *obj = h->obj;
  h->obj = NULL;
  if (obj != NULL && h->use != NULL)
    h->late = obj; /* the call under us still works with it */
  else if (obj != NULL)
    def->unref(obj);
  lua_pushboolean(L, 1);
  return 1;
}

/* The collector's close: no Lua value is the handle any more. */
static int handle_gc(lua_State *L) {
  const wn_class_def *def = lua_touserdata(L, lua_upvalueindex(1));
  wn_handle *h = luaL_checkudata(L, 1, def->name);
  void *obj = h->obj != NULL ? h->obj : h->late;
  wn_use *u = h->use;
  h->obj = h->late = NULL;
  h->use = NULL;
  for (; u != NULL; u = u->outer) {
    u->h = NULL;
    if (u->outer == NULL && obj != NULL) {
      u->owns = true;
      obj = NULL;
    }
  }
  if (obj != NULL) def->unref(obj);
  return 0;
}

/* -- classes and handles -------------------------------------------------- */

static void push_close(lua_State *L, const wn_class_def *def,
                       lua_CFunction close) {
  /* def is static data of its binding: it outlives the state */
  lua_pushlightuserdata(L, (void *)(uintptr_t)def);
  lua_pushcclosure(L, close, 1);
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

/* "wane.job", "wane.job (closed)": what classes without their own say. */
static int handle_tostring(lua_State *L) {
  const wn_class_def *def = lua_touserdata(L, lua_upvalueindex(1));
  const wn_handle *h = to_handle(L, 1, def->name);
  if (h == NULL) return luaL_argerror(L, 1, def->name);
  lua_pushfstring(L, h->obj != NULL ? "%s" : "%s (closed)", def->name);
  return 1;
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
  push_close(L, def, handle_tostring);
  lua_setfield(L, -2, "__tostring");
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
  h->use = NULL;
  luaL_getmetatable(L, def->name);
  lua_setmetatable(L, -2);
  return h;
}

void *wn_handle_test(lua_State *L, int arg, const wn_class_def *def) {
  wn_handle *h = to_handle(L, arg, def->name);
  if (h == NULL) return NULL;
  wn_use *u = use_of(h);
  if (u != NULL) return u->obj; /* this call goes on with it, closed or not */
  if (h->obj == NULL) luaL_error(L, "wane: %s is closed", short_name(def));
  if (top != NULL) add_use(L, h, def);
  return h->obj;
}

void *wn_handle_check(lua_State *L, int arg, const wn_class_def *def) {
  void *obj = wn_handle_test(L, arg, def);
  if (obj == NULL) luaL_checkudata(L, arg, def->name); /* raises */
  return obj;
}

void *wn_handle_take(lua_State *L, int arg, const wn_class_def *def) {
  void *obj = wn_handle_check(L, arg, def);
  wn_handle *h = lua_touserdata(L, arg);
  wn_use *u = h->use;
  if (h->obj == NULL) luaL_error(L, "wane: %s is closed", short_name(def));
  if (u != NULL && (u->outer != NULL || u != use_of(h)))
    luaL_error(L, "wane: %s is busy", short_name(def));
  if (u != NULL) u->h = NULL; /* the record ends with the handle's object */
  h->obj = NULL;
  h->use = NULL;
  return obj;
}
