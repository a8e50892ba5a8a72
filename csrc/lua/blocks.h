/* blocks.h - encoded rows of one matrix as a Lua value (lua/quant.c), for the
 * bindings that take them. Immutable, reference counted. */
#ifndef WN_LUA_BLOCKS_H
#define WN_LUA_BLOCKS_H

#include <stdatomic.h>
#include <stddef.h>

#include "lua/lib.h"

typedef struct wn_blocks {
  atomic_int refs;
  int type;
  size_t rows, cols;
  size_t row_bytes, bytes; /* bytes = rows * row_bytes */
  unsigned char *data;
} wn_blocks;

extern const wn_class_def wn_blocks_class;

#endif
