/* lua/prog.c - core.prog: building programs (graph/prog.h).
 *
 *   new() -> p
 *   p:weight(name, { ne0, ne1, ne2 }, matrix) -> weight id
 *   p:op(code, kind | nil, name, inputs, weights, integers, numbers) -> value
 *       inputs: values; weights: weight ids or false; arrays may be short
 *   p:finish(value, "logits" | "embeddings") -> true | nil, message, code
 *   p:lines() -> the program as text, one string an operation
 *   p:info() -> { ops, weights, slots, vocab, causal, finished }
 *
 * Ids are opaque small integers, only good for the program they came from
 * (the Lua builder sees to that; the verifier catches what does not fit). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "lua/run.h"

static void unref_prog(void *obj) {
  wn_prog_unref(obj);
}

static int prog_new(lua_State *L) {
  wn_err e = {0};
  wn_prog *p = NULL;
  wn_handle *h = wn_handle_new(L, &wn_prog_class);
  if (wn_prog_new(&p, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = p;
  return 1;
}

/* Element i of the array at t: an integer up to max, or `none` when the
 * element is absent or false. */
static uint32_t array_int(lua_State *L, int t, int i, int64_t max,
                          uint32_t none) {
  uint32_t v = none;
  lua_rawgeti(L, t, i);
  if (!lua_isnil(L, -1) && !(lua_isboolean(L, -1) && !lua_toboolean(L, -1)))
    v = (uint32_t)wn_check_item(L, "program", (size_t)i, 0, max);
  lua_pop(L, 1);
  return v;
}

/* A Lua number as float32; what does not fit becomes infinite and is refused
 * by the verifier. */
static float to_float(double d) {
  if (d > (double)FLT_MAX) return INFINITY;
  if (d < -(double)FLT_MAX) return -INFINITY;
  return (float)d;
}

static float array_float(lua_State *L, int t, int i) {
  lua_rawgeti(L, t, i);
  float v = 0;
  if (!lua_isnil(L, -1)) v = to_float(luaL_checknumber(L, -1));
  lua_pop(L, 1);
  return v;
}

static void check_length(lua_State *L, int arg, int most) {
  luaL_checktype(L, arg, LUA_TTABLE);
  luaL_argcheck(L, lua_rawlen(L, arg) <= (size_t)most, arg, "array too long");
}

static int prog_weight(lua_State *L) {
  size_t n;
  uint32_t ne[3], id = 0;
  wn_err e = {0};
  wn_handle_check(L, 1, &wn_prog_class);
  const char *name = luaL_checklstring(L, 2, &n);
  check_length(L, 3, 3);
  for (int i = 0; i < 3; i++)
    ne[i] = array_int(L, 3, i + 1, UINT32_MAX, 1);
  wn_prog *p = wn_handle_check(L, 1, &wn_prog_class);
  if (wn_prog_weight(p, name, n, ne, lua_toboolean(L, 4), &id, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

/* The opcode called `name`; raises for an unknown one. */
static wn_opcode check_code(lua_State *L, int arg) {
  const char *name = luaL_checkstring(L, arg);
  for (uint32_t c = 0; c < WN_N_OPS; c++)
    if (strcmp(name, wn_op_name(c)) == 0) return (wn_opcode)c;
  return (wn_opcode)luaL_error(L, "wane: unknown operation '%s'", name);
}

static uint16_t check_op_kind(lua_State *L, int arg, wn_opcode code) {
  if (lua_isnil(L, arg)) return 0;
  const char *name = luaL_checkstring(L, arg);
  int kind = wn_kind_of_name(code, name);
  if (kind < 0)
    luaL_error(L, "wane: %s has no kind '%s'", wn_op_name(code), name);
  return (uint16_t)kind;
}

static int prog_op(lua_State *L) {
  size_t n;
  uint32_t id = 0;
  wn_err e = {0};
  wn_handle_check(L, 1, &wn_prog_class);
  wn_opcode code = check_code(L, 2);
  wn_op op = wn_op_blank(code, check_op_kind(L, 3, code));
  const char *name = luaL_checklstring(L, 4, &n);
  static const int most[4] = {WN_OP_INS, WN_OP_WEIGHTS, WN_OP_INTS,
                              WN_OP_FLOATS};
  for (int k = 0; k < 4; k++)
    check_length(L, 5 + k, most[k]);
  for (int k = 0; k < WN_OP_INS; k++)
    op.in[k] = array_int(L, 5, k + 1, UINT32_MAX, WN_NONE);
  for (int k = 0; k < WN_OP_WEIGHTS; k++)
    op.w[k] = array_int(L, 6, k + 1, UINT32_MAX, WN_NONE);
  for (int k = 0; k < WN_OP_INTS; k++)
    op.i[k] = array_int(L, 7, k + 1, UINT32_MAX, 0);
  for (int k = 0; k < WN_OP_FLOATS; k++)
    op.f[k] = array_float(L, 8, k + 1);
  wn_prog *p = wn_handle_check(L, 1, &wn_prog_class);
  if (wn_prog_add(p, &op, name, n, &id, &e) != WN_OK)
    return wn_push_error(L, &e);
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

static int prog_finish(lua_State *L) {
  static const char *const kinds[] = {"logits", "embeddings", NULL};
  wn_err e = {0};
  uint32_t result = (uint32_t)wn_check_int(L, 2, 0, UINT32_MAX);
  wn_result kind = (wn_result)luaL_checkoption(L, 3, "logits", kinds);
  wn_prog *p = wn_handle_check(L, 1, &wn_prog_class);
  if (wn_prog_finish(p, result, kind, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static int prog_lines(lua_State *L) {
  char line[1024];
  lua_newtable(L);
  for (uint32_t i = 0;; i++) {
    const wn_prog *p = wn_handle_check(L, 1, &wn_prog_class);
    if (i >= p->n_ops) return 1;
    wn_prog_line(p, i, line, sizeof line);
    lua_pushstring(L, line);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static int prog_info(lua_State *L) {
  const wn_prog *p = wn_handle_check(L, 1, &wn_prog_class);
  uint32_t n_ops = p->n_ops, n_weights = p->n_weights, n_slots = p->n_slots;
  uint32_t n_vocab = p->n_vocab;
  bool causal = p->causal, finished = p->finished;
  lua_newtable(L);
  wn_set_int(L, "ops", n_ops);
  wn_set_int(L, "weights", n_weights);
  wn_set_int(L, "slots", n_slots);
  wn_set_int(L, "vocab", n_vocab);
  lua_pushboolean(L, causal);
  lua_setfield(L, -2, "causal");
  lua_pushboolean(L, finished);
  lua_setfield(L, -2, "finished");
  return 1;
}

static const luaL_Reg prog_methods[] = {
    {"weight", prog_weight}, {"op", prog_op},     {"finish", prog_finish},
    {"lines", prog_lines},   {"info", prog_info}, {NULL, NULL}};

const wn_class_def wn_prog_class = {"wane.program", prog_methods, NULL,
                                    unref_prog};

static const luaL_Reg prog_funcs[] = {{"new", prog_new}, {NULL, NULL}};

int wn_open_prog(lua_State *L) {
  wn_class_register(L, &wn_prog_class);
  lua_newtable(L);
  wn_setfuncs(L, prog_funcs);
  return 1;
}
