/* blocks.h - the handle of encoded rows, and what its bindings share. */
#ifndef WN_LUA_BLOCKS_H
#define WN_LUA_BLOCKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "lua/buffer.h"
#include "lua/lib.h"

/* The encoded rows of one matrix. */
typedef struct wn_blocks {
  atomic_int refs;
  int type;
  size_t rows, cols;
  size_t row_bytes, bytes; /* bytes = rows * row_bytes */
  unsigned char *data;
  bool pooled; /* holds a reference on the pool of threads */
} wn_blocks;

extern const wn_class_def wn_blocks_class;

/* New blocks with uninitialised bytes and one reference, or NULL with *e
 * filled. */
wn_blocks *wn_blocks_new(int type, size_t rows, size_t cols, wn_err *e);
void wn_blocks_unref(void *obj);

/* Makes the importance vector at arg (nil, a buffer, or a table of numbers)
 * nil or a buffer of n_cols values, in place; raises for anything else. */
void wn_settle_importance(lua_State *L, int arg, size_t n_cols);

/* The values of a settled importance vector, or NULL. Allocates nothing. */
const float *wn_importance_at(lua_State *L, int arg);

/* Raises unless b, the buffer at arg, is rows x cols. */
void wn_check_shape(lua_State *L, int arg, const wn_buffer *b, size_t rows,
                    size_t cols);

/* Pushes how far `b` is from `a`: n values in rows of `cols`. */
int wn_push_distance(lua_State *L, const float *a, const float *b, size_t n,
                     size_t cols, const float *importance);

#endif
