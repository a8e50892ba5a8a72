/* lib.h - what every binding shares: handles, errors, checked arguments.
 *
 * A handle is a userdata that holds one pointer to a counted C object. It is
 * made closed with its metatable set; only then is the resource acquired and
 * stored (STYLE, the Lua/C boundary, 1). `close` is idempotent and is also
 * __gc and __close; every later method raises "wane: <what> is closed".
 *
 * Any Lua allocation may run finalizers, and reading an option table may run
 * metamethods: either may close the very handle that the running function
 * works with. So every function that Lua can call runs as a guarded call
 * (wn_setfuncs): what it checks with wn_handle_check counts as used until it
 * returns or raises, and a close meanwhile takes effect then. */
#ifndef WN_LUA_LIB_H
#define WN_LUA_LIB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "lua/compat.h"

typedef struct wn_use wn_use;
typedef struct wn_handle {
  void *obj;   /* NULL: closed */
  void *late;  /* closed while in use: dropped when the last user is done */
  wn_use *use; /* the running calls that use it, innermost first; or NULL */
} wn_handle;

/* What a class of handles is. `name` is the registry key and what messages
 * say ("wane: model is closed"); unref drops the handle's reference. */
typedef struct wn_class_def {
  const char *name;
  const luaL_Reg *methods; /* without close, __gc, __close: added here */
  const luaL_Reg *meta;    /* __len, __tostring, ..., or NULL */
  void (*unref)(void *obj);
} wn_class_def;

/* Adds the functions of a NULL-terminated list to the table on top of the
 * stack, each as a guarded call. */
void wn_setfuncs(lua_State *L, const luaL_Reg *funcs);

/* Registers the class: metatable with __index = methods, __metatable set. */
void wn_class_register(lua_State *L, const wn_class_def *def);

/* Pushes a closed handle of the class; the caller stores h->obj. */
wn_handle *wn_handle_new(lua_State *L, const wn_class_def *def);

/* The open object at `arg`; raises an argument error for anything that is not
 * a handle of the class and "wane: <name> is closed" for a closed one. Until
 * the running function is done the object lives, whoever closes the handle. */
void *wn_handle_check(lua_State *L, int arg, const wn_class_def *def);
/* Same, but NULL for another kind of value (a closed handle still raises). */
void *wn_handle_test(lua_State *L, int arg, const wn_class_def *def);

/* The object of the open handle at `arg`, which is closed from now on; raises
 * "busy" when a call under the current one uses it. */
void *wn_handle_take(lua_State *L, int arg, const wn_class_def *def);

/* The world failed: pushes nil, message, "CODE" and returns 3. WN_EARG is
 * raised instead. */
int wn_push_error(lua_State *L, const wn_err *e);

/* An integer argument or field value within [min, max]; raises "want an
 * integer from min to max". Accepts floats with an integer value. */
int64_t wn_check_int(lua_State *L, int arg, int64_t min, int64_t max);
/* The same for item i (from 1) of the list that the message calls `what`; the
 * value is on top of the stack and stays there. */
int64_t wn_check_item(lua_State *L, const char *what, size_t i, int64_t min,
                      int64_t max);
/* The same for a field of an option table: absent gives `def`. */
int64_t wn_opt_int(lua_State *L, int table, const char *key, int64_t def,
                   int64_t min, int64_t max);
double wn_opt_num(lua_State *L, int table, const char *key, double def,
                  double min, double max);
bool wn_opt_bool(lua_State *L, int table, const char *key, bool def);

/* Raises "unknown option 'x'" when the table at `t` has a string key that is
 * not in `names` (NULL-terminated) or any other key. */
void wn_check_options(lua_State *L, int t, const char *const *names);

/* Pushes an integer without loss: a Lua integer or float where exact, else
 * its decimal string. */
void wn_push_i64(lua_State *L, int64_t v);
void wn_push_u64(lua_State *L, uint64_t v);

/* table[key] = v for the table on the top of the stack. */
void wn_set_num(lua_State *L, const char *key, double v);
void wn_set_int(lua_State *L, const char *key, int64_t v);
void wn_set_u64(lua_State *L, const char *key, uint64_t v);
void wn_set_bool(lua_State *L, const char *key, bool v);
void wn_set_str(lua_State *L, const char *key, const char *v);

/* Each binding file: registers its classes and pushes its table of
 * functions, which becomes wane.core.<name>. */
int wn_open_core(lua_State *L);
int wn_open_gguf(lua_State *L);
int wn_open_quant(lua_State *L);
int wn_open_stream(lua_State *L);
int wn_open_imatrix(lua_State *L);
int wn_open_file(lua_State *L);
int wn_open_fence(lua_State *L);
int wn_open_vocab(lua_State *L);
int wn_open_prog(lua_State *L);
int wn_open_model(lua_State *L);
int wn_open_ctx(lua_State *L);
int wn_open_sample(lua_State *L);
int wn_open_grammar(lua_State *L);
int wn_open_job(lua_State *L);
int wn_open_lora(lua_State *L);
int wn_open_train(lua_State *L);
int wn_open_learn(lua_State *L);
int wn_open_kern(lua_State *L);
int wn_open_vector(lua_State *L);
int wn_open_score(lua_State *L);
int wn_open_probe(lua_State *L);
int wn_open_calib(lua_State *L);
int wn_open_foreign(lua_State *L);
int wn_open_tap(lua_State *L);
int wn_open_terminal(lua_State *L);

#endif
