/* index.h - a hash index over an array of records that begin with a wn_str.
 *
 * Keyed (SipHash-1-3 with a random key per process), so that a hostile file
 * cannot choose names that collide: building is linear whatever the names.
 * The index holds positions, not pointers: the array may move. */
#ifndef WN_GGUF_INDEX_H
#define WN_GGUF_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct wn_index {
  uint64_t *slots; /* hash in the upper half, position + 1 in the lower */
  size_t mask;     /* number of slots - 1, a power of two - 1 */
  size_t n;
} wn_index;

/* Room for n records; wn_index_add beyond that grows by itself. */
int wn_index_init(wn_index *x, size_t n, wn_err *e);
void wn_index_free(wn_index *x);

/* Adds record `pos` of the array at `base` (records of `stride` bytes).
 * *dup is the position of an equal name if there is one (then nothing is
 * added), else SIZE_MAX. */
int wn_index_add(wn_index *x, const void *base, size_t stride, size_t pos,
                 size_t *dup, wn_err *e);

/* Position of the name, or SIZE_MAX. */
size_t wn_index_find(const wn_index *x, const void *base, size_t stride,
                     const char *name, size_t n);

#endif
