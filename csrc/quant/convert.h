/* convert.h - rows of a tensor from one type to another, over all threads.
 *
 * A chunk of whole rows is decoded and encoded in pieces that fit the cache;
 * threads draw pieces, rows are independent: the bytes do not depend on the
 * number of threads. The same type on both sides means "check only". */
#ifndef WN_QUANT_CONVERT_H
#define WN_QUANT_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"

/* Scratch memory for n_threads threads and rows of at most n_cols values. */
typedef struct wn_converter wn_converter;

int wn_converter_new(int n_threads, uint64_t n_cols, wn_converter **out,
                     wn_err *e);
void wn_converter_free(wn_converter *c);

/* Importance of a tensor: one vector of ne[0] values for each of `ne[2]`
 * matrices. A vector that is all zero says nothing and is left out. */
typedef struct wn_importance {
  const float *values; /* NULL: none at all */
  size_t n_cols, n_matrices;
  const uint8_t *usable; /* per matrix: 0 = left out */
} wn_importance;

/* Checks a vector of n values for tensor t, fills usable[n_matrices] and
 * counts what is left out. WN_EFORMAT: wrong length, NaN, negative. */
int wn_importance_check(const wn_tensor *t, const float *values, size_t n,
                        uint8_t *usable, size_t *n_left_out, wn_err *e);

typedef struct wn_chunk {
  const wn_tensor *tensor; /* source: shape and type */
  int to;                  /* type of the result */
  uint64_t row0;           /* first row of the chunk in the tensor */
  size_t n_rows;
  const void *in;
  void *out; /* not used when the types are equal */
  wn_importance importance;
  bool zero_nonfinite; /* NaN and infinities become 0 instead of failing */
} wn_chunk;

/* Converts one chunk. Errors name row and column, counted from 1 in the whole
 * tensor; the first bad row wins, whatever thread met it:
 *   WN_EDATA   a value is not finite, or too large for the type */
int wn_convert(wn_converter *c, const wn_chunk *chunk, wn_err *e);

/* Whether tensors of type `from` can become type `to`: WN_EUNSUP if not. */
int wn_convert_check(int from, int to, wn_err *e);

/* Root mean square error of `to` on at most max_rows rows of t, evenly
 * spread, relative to the root mean square of the weights. */
int wn_measure(wn_gguf *g, const wn_tensor *t, int to,
               const wn_importance *importance, size_t max_rows, double *err,
               wn_err *e);

#endif
