/* buffer.h - float32 matrices as Lua values.
 *
 * A wn_buffer is rows x cols float32 values, row major, reference counted.
 * A view (`b:rows(a, b)`) shares the memory of its base and keeps it alive:
 * writing through one shows in the other. Lua indexes values from 1. */
#ifndef WN_LUA_BUFFER_H
#define WN_LUA_BUFFER_H

#include <stdatomic.h>
#include <stddef.h>

#include "lua/lib.h"

typedef struct wn_buffer wn_buffer;
struct wn_buffer {
  atomic_int refs;
  size_t rows, cols;
  float *data;
  wn_buffer *base; /* NULL: owns data; else a view into base's */
};

extern const wn_class_def wn_buffer_class;

/* Registers the class; needed once per state, done by wn_open_quant. Safe to
 * call again. */
void wn_buffer_register(lua_State *L);

/* Pushes the table in which methods of buffers are found. */
void wn_buffer_push_methods(lua_State *L);

/* Pushes a new buffer with uninitialised values (the caller fills all).
 * Returns NULL, with *e filled and nothing pushed, when memory is out. */
wn_buffer *wn_buffer_push(lua_State *L, size_t rows, size_t cols, wn_err *e);

/* The buffer at `arg`; raises for anything else. */
wn_buffer *wn_buffer_check(lua_State *L, int arg);

/* Fills b from the table of numbers or the string of float32 at `arg`; raises
 * when it does not have exactly rows * cols values. */
void wn_buffer_fill(lua_State *L, int arg, wn_buffer *b);

/* core.quant.buffer(rows, cols [, table | string]) */
int wn_buffer_make(lua_State *L);

#endif
