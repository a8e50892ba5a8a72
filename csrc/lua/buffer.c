/* buffer.c - see buffer.h. */
#include "lua/buffer.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/cpu.h"
#include "base/limits.h"
#include "base/mem.h"

static size_t count(const wn_buffer *b) {
  return b->rows * b->cols;
}

/* -- life ----------------------------------------------------------------- */

static void buffer_unref(void *obj) {
  wn_buffer *b = obj;
  if (atomic_fetch_sub(&b->refs, 1) != 1) return;
  if (b->base != NULL)
    buffer_unref(b->base); /* a base is never a view: one level deep */
  else
    wn_free(b->data);
  wn_free(b);
}

/* rows * cols * 4 bytes as size_t, or false when that is over the limits. */
static bool data_bytes(size_t rows, size_t cols, size_t *bytes) {
  uint64_t n;
  return wn_mul(rows, cols, &n) && n <= (uint64_t)WN_MAX_ELEMENTS &&
         wn_mul(n, sizeof(float), &n) && wn_size(n, bytes);
}

static wn_buffer *buffer_new(size_t rows, size_t cols, wn_err *e) {
  size_t bytes;
  wn_buffer *b = NULL;
  if (!data_bytes(rows, cols, &bytes)) {
    wn_fail(e, WN_ELIMIT, "a buffer of %zu x %zu values is too large", rows,
            cols);
    return NULL;
  }
  b = wn_calloc(WN_MEM_LUA, 1, sizeof *b);
  if (b == NULL) goto fail;
  b->data = wn_alloc(WN_MEM_LUA, bytes);
  if (b->data == NULL) goto fail;
  atomic_init(&b->refs, 1);
  b->rows = rows;
  b->cols = cols;
  return b;
fail:
  wn_free(b);
  wn_fail(e, WN_ENOMEM, "no memory for a buffer of %zu bytes", bytes);
  return NULL;
}

/* n rows of b from row `first` on, sharing its values. */
static wn_buffer *buffer_view(wn_buffer *b, size_t first, size_t n) {
  wn_buffer *v = wn_calloc(WN_MEM_LUA, 1, sizeof *v);
  if (v == NULL) return NULL;
  atomic_init(&v->refs, 1);
  v->rows = n;
  v->cols = b->cols;
  v->data = b->data + first * b->cols;
  v->base = b->base != NULL ? b->base : b;
  atomic_fetch_add(&v->base->refs, 1);
  return v;
}

wn_buffer *wn_buffer_push(lua_State *L, size_t rows, size_t cols, wn_err *e) {
  wn_handle *h = wn_handle_new(L, &wn_buffer_class);
  h->obj = buffer_new(rows, cols, e);
  if (h->obj == NULL) lua_pop(L, 1);
  return h->obj;
}

wn_buffer *wn_buffer_check(lua_State *L, int arg) {
  return wn_handle_check(L, arg, &wn_buffer_class);
}

/* -- filling -------------------------------------------------------------- */

static void fill_from_table(lua_State *L, int t, wn_buffer *b) {
  size_t n = lua_rawlen(L, t);
  if (n != count(b))
    luaL_error(L, "wane: the table has %d values, want %d x %d", (int)n,
               (int)b->rows, (int)b->cols);
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, t, (int)(i + 1));
    if (lua_type(L, -1) != LUA_TNUMBER)
      luaL_error(L, "wane: value %d of the table is a %s, want a number",
                 (int)(i + 1), luaL_typename(L, -1));
    b->data[i] = (float)lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
}

static void fill_from_string(lua_State *L, int s, wn_buffer *b) {
  size_t n;
  const char *bytes = lua_tolstring(L, s, &n);
  if (n != count(b) * sizeof(float))
    luaL_error(L, "wane: the string has %d bytes, want %d x %d float32 values",
               (int)n, (int)b->rows, (int)b->cols);
  memcpy(b->data, bytes, n);
}

void wn_buffer_fill(lua_State *L, int arg, wn_buffer *b) {
  if (lua_type(L, arg) == LUA_TSTRING) {
    fill_from_string(L, arg, b);
  } else {
    luaL_checktype(L, arg, LUA_TTABLE);
    fill_from_table(L, arg, b);
  }
}

int wn_buffer_make(lua_State *L) {
  size_t rows = (size_t)wn_check_int(L, 1, 0, WN_MAX_ELEMENTS);
  size_t cols = (size_t)wn_check_int(L, 2, 1, WN_MAX_ELEMENTS);
  int kind = lua_type(L, 3);
  luaL_argcheck(L,
                kind <= LUA_TNIL || kind == LUA_TTABLE || kind == LUA_TSTRING,
                3, "want a table of numbers or a string of float32 bytes");
  wn_err e;
  wn_buffer *b = wn_buffer_push(L, rows, cols, &e);
  if (b == NULL) return wn_push_error(L, &e);
  if (kind > LUA_TNIL)
    wn_buffer_fill(L, 3, b);
  else
    memset(b->data, 0, count(b) * sizeof(float));
  return 1;
}

/* -- elements ------------------------------------------------------------- */

/* True and *i (0-based) when the value at idx is a position inside b. */
static bool position(lua_State *L, int idx, const wn_buffer *b, size_t *i) {
  lua_Number d = lua_tonumber(L, idx);
  if (!(d >= 1 && d <= (lua_Number)count(b)) || d != floor(d)) return false;
  *i = (size_t)d - 1;
  return true;
}

/* b[i]: nil outside 1..#b, so that ipairs ends; b.name: a method, found in
 * the table that is upvalue 1. */
static int buffer_index(lua_State *L) {
  wn_buffer *b;
  size_t i;
  if (lua_type(L, 2) != LUA_TNUMBER) {
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
  }
  b = wn_buffer_check(L, 1);
  if (!position(L, 2, b, &i)) return 0;
  lua_pushnumber(L, (lua_Number)b->data[i]);
  return 1;
}

static int buffer_newindex(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  size_t i;
  if (lua_type(L, 2) != LUA_TNUMBER || !position(L, 2, b, &i))
    return luaL_error(L, "wane: buffer index out of range: want 1 to %d",
                      (int)count(b));
  b->data[i] = (float)luaL_checknumber(L, 3);
  return 0;
}

static int buffer_len(lua_State *L) {
  wn_push_u64(L, count(wn_buffer_check(L, 1)));
  return 1;
}

static int buffer_tostring(lua_State *L) {
  const wn_handle *h = luaL_checkudata(L, 1, wn_buffer_class.name);
  if (h->obj == NULL) {
    lua_pushliteral(L, "wane.buffer (closed)");
    return 1;
  }
  wn_buffer *b = wn_buffer_check(L, 1);
  lua_pushfstring(L, "wane.buffer: %d x %d float32", (int)b->rows,
                  (int)b->cols);
  return 1;
}

/* -- methods -------------------------------------------------------------- */

/* b:shape() -> rows, cols */
static int buffer_shape(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  wn_push_u64(L, b->rows);
  wn_push_u64(L, b->cols);
  return 2;
}

/* b:rows(first [, last]) -> a view of these rows (last = first by default) */
static int buffer_rows(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  int64_t first = wn_check_int(L, 2, 1, (int64_t)b->rows);
  int64_t last = lua_isnoneornil(L, 3)
                     ? first
                     : wn_check_int(L, 3, first, (int64_t)b->rows);
  wn_handle *h = wn_handle_new(L, &wn_buffer_class);
  b = wn_buffer_check(L, 1); /* a finalizer may have closed it */
  h->obj = buffer_view(b, (size_t)first - 1, (size_t)(last - first + 1));
  if (h->obj != NULL) return 1;
  wn_err e;
  wn_fail(&e, WN_ENOMEM, "no memory for a view");
  return wn_push_error(L, &e);
}

/* b:copy() -> a buffer of its own with the same values */
static int buffer_copy(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  wn_err e;
  wn_buffer *c = wn_buffer_push(L, b->rows, b->cols, &e);
  if (c == NULL) return wn_push_error(L, &e);
  b = wn_buffer_check(L, 1);
  memcpy(c->data, b->data, count(b) * sizeof(float));
  return 1;
}

/* b:set(table | string) replaces all values; returns b */
static int buffer_set(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  wn_buffer_fill(L, 2, b);
  lua_settop(L, 1);
  return 1;
}

/* b:fill(v) sets every value; returns b */
static int buffer_fill(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  float v = (float)luaL_checknumber(L, 2);
  for (size_t i = 0; i < count(b); i++)
    b->data[i] = v;
  lua_settop(L, 1);
  return 1;
}

/* b:bytes() -> the values as a string of float32 */
static int buffer_bytes(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  lua_pushlstring(L, (const char *)b->data, count(b) * sizeof(float));
  return 1;
}

/* b:table([first [, last]]) -> values first..last (all) as a Lua table */
static int buffer_table(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  int64_t n = (int64_t)count(b);
  int64_t first = lua_isnoneornil(L, 2) ? 1 : wn_check_int(L, 2, 1, n);
  int64_t last = lua_isnoneornil(L, 3) ? n : wn_check_int(L, 3, first - 1, n);
  luaL_argcheck(L, last - first < INT32_MAX, 3, "too many values for a table");
  lua_createtable(L, (int)(last - first + 1), 0);
  for (int64_t i = first; i <= last; i++) {
    lua_pushnumber(L, (lua_Number)b->data[i - 1]);
    lua_rawseti(L, -2, (int)(i - first + 1));
  }
  return 1;
}

/* b:stats() -> { min, max, mean, std, absmax, n_nonfinite }, of the finite
 * values; all 0 when there is none. std is that of the population. */
static int buffer_stats(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  double min = INFINITY, max = -INFINITY, sum = 0, sum2 = 0;
  size_t n = 0;
  for (size_t i = 0; i < count(b); i++) {
    double v = (double)b->data[i];
    if (!isfinite(v)) continue;
    n++;
    if (v < min) min = v;
    if (v > max) max = v;
    sum += v;
  }
  double mean = n > 0 ? sum / (double)n : 0;
  for (size_t i = 0; i < count(b); i++) {
    double v = (double)b->data[i] - mean;
    if (isfinite(v)) sum2 += v * v;
  }
  lua_createtable(L, 0, 6);
  wn_set_num(L, "min", n > 0 ? min : 0);
  wn_set_num(L, "max", n > 0 ? max : 0);
  wn_set_num(L, "mean", mean);
  wn_set_num(L, "std", n > 0 ? sqrt(sum2 / (double)n) : 0);
  wn_set_num(L, "absmax", n > 0 ? fmax(fabs(min), fabs(max)) : 0);
  wn_push_u64(L, count(b) - n);
  lua_setfield(L, -2, "n_nonfinite");
  return 1;
}

static const luaL_Reg methods[] = {
    {"shape", buffer_shape}, {"rows", buffer_rows},   {"copy", buffer_copy},
    {"set", buffer_set},     {"fill", buffer_fill},   {"bytes", buffer_bytes},
    {"table", buffer_table}, {"stats", buffer_stats}, {NULL, NULL}};

static const luaL_Reg meta[] = {{"__newindex", buffer_newindex},
                                {"__len", buffer_len},
                                {"__tostring", buffer_tostring},
                                {NULL, NULL}};

const wn_class_def wn_buffer_class = {"wane.buffer", methods, meta,
                                      buffer_unref};

void wn_buffer_register(lua_State *L) {
  wn_class_register(L, &wn_buffer_class);
  luaL_getmetatable(L, wn_buffer_class.name);
  lua_getfield(L, -1, "__index");
  if (lua_istable(L, -1)) { /* first time: numbers are elements */
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "methods");
    lua_pushcclosure(L, buffer_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
  } else {
    lua_pop(L, 2);
  }
}

void wn_buffer_push_methods(lua_State *L) {
  luaL_getmetatable(L, wn_buffer_class.name);
  lua_getfield(L, -1, "methods");
  lua_remove(L, -2);
}
