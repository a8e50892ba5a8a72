/* lua/imatrix.c - core.imatrix: arithmetic on importance data, which Lua
 * holds as strings of packed float32 values.
 *
 *   mean(sums, counts) -> values    counts: packed float32, one per matrix
 *                                   (rounded to integers), or one number
 *   add(a, b) -> sums               element by element
 *   scale(a, factor) -> values
 *   stats(values) -> { n, min, max, mean, zeros, bad, first_bad }
 *   floats(values) -> table         pack(table) -> values
 *
 * All arithmetic is in float32, as in llama.cpp, so that files agree. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "lua/lib.h"

/* Packed floats at `arg`, and their number. Strings need not be aligned:
 * values are copied one by one. */
static const char *check_floats(lua_State *L, int arg, size_t *n) {
  const char *p = luaL_checklstring(L, arg, n);
  luaL_argcheck(L, *n % sizeof(float) == 0, arg, "want packed float32 values");
  *n /= sizeof(float);
  return p;
}

static float get(const char *p, size_t i) {
  float f;
  memcpy(&f, p + i * sizeof f, sizeof f);
  return f;
}

static float *new_floats(lua_State *L, size_t n) {
  return lua_newuserdata(L, (n + 1) * sizeof(float));
}

static int push_floats(lua_State *L, const float *v, size_t n) {
  lua_pushlstring(L, (const char *)v, n * sizeof *v);
  return 1;
}

/* Sums over counts; a matrix that was never used gets importance 1. */
static int imatrix_mean(lua_State *L) {
  size_t n, n_counts = 1;
  const char *sums = check_floats(L, 1, &n), *counts = NULL;
  float one = 0;
  if (lua_type(L, 2) == LUA_TNUMBER)
    one = (float)lua_tonumber(L, 2);
  else
    counts = check_floats(L, 2, &n_counts);
  luaL_argcheck(L, n_counts > 0 && n % n_counts == 0, 2,
                "want a count for each matrix");
  float *v = new_floats(L, n);
  size_t n_cols = n / n_counts;
  for (size_t m = 0; m < n_counts; m++) {
    float count = counts == NULL ? one : roundf(get(counts, m));
    for (size_t i = m * n_cols; i < (m + 1) * n_cols; i++)
      v[i] = count > 0 ? get(sums, i) / count : 1.0f;
  }
  return push_floats(L, v, n);
}

static int imatrix_add(lua_State *L) {
  size_t n, m;
  const char *a = check_floats(L, 1, &n), *b = check_floats(L, 2, &m);
  luaL_argcheck(L, n == m, 2, "want as many values");
  float *v = new_floats(L, n);
  for (size_t i = 0; i < n; i++)
    v[i] = get(a, i) + get(b, i);
  return push_floats(L, v, n);
}

static int imatrix_scale(lua_State *L) {
  size_t n;
  const char *a = check_floats(L, 1, &n);
  float factor = (float)luaL_checknumber(L, 2);
  float *v = new_floats(L, n);
  for (size_t i = 0; i < n; i++)
    v[i] = get(a, i) * factor;
  return push_floats(L, v, n);
}

static int imatrix_stats(lua_State *L) {
  size_t n, zeros = 0, bad = 0, first_bad = 0;
  const char *p = check_floats(L, 1, &n);
  double min = 0, max = 0, sum = 0;
  for (size_t i = 0; i < n; i++) {
    double f = (double)get(p, i);
    if (!isfinite(f) || f < 0) {
      if (bad++ == 0) first_bad = i + 1;
      continue;
    }
    zeros += f <= 0;
    sum += f;
    if (i == 0 || f < min) min = f;
    if (f > max) max = f;
  }
  lua_createtable(L, 0, 8);
  wn_push_u64(L, n);
  lua_setfield(L, -2, "n");
  wn_push_u64(L, zeros);
  lua_setfield(L, -2, "zeros");
  wn_push_u64(L, bad);
  lua_setfield(L, -2, "bad");
  if (bad > 0) wn_set_num(L, "first_bad", (double)first_bad);
  wn_set_num(L, "min", min);
  wn_set_num(L, "max", max);
  wn_set_num(L, "mean", n > bad ? sum / (double)(n - bad) : 0);
  return 1;
}

static int imatrix_floats(lua_State *L) {
  size_t n;
  const char *p = check_floats(L, 1, &n);
  luaL_argcheck(L, n < INT32_MAX, 1, "too many values");
  lua_createtable(L, (int)n, 0);
  for (size_t i = 0; i < n; i++) {
    lua_pushnumber(L, (lua_Number)get(p, i));
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int imatrix_pack(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  size_t n = lua_rawlen(L, 1);
  luaL_argcheck(L, n < INT32_MAX, 1, "too many values");
  float *v = new_floats(L, n);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, 1, (int)i + 1);
    if (lua_type(L, -1) != LUA_TNUMBER)
      return luaL_error(L, "wane: value %d is a %s, want a number", (int)i + 1,
                        luaL_typename(L, -1));
    v[i] = (float)lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
  return push_floats(L, v, n);
}

static const luaL_Reg funcs[] = {{"mean", imatrix_mean},
                                 {"add", imatrix_add},
                                 {"scale", imatrix_scale},
                                 {"stats", imatrix_stats},
                                 {"floats", imatrix_floats},
                                 {"pack", imatrix_pack},
                                 {NULL, NULL}};

int wn_open_imatrix(lua_State *L) {
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
