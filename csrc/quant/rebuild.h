/* rebuild.h - encoding that minimises the error of the outputs.
 *
 * A linear layer turns activations X (tokens x n) into X W^T. Replacing a
 * row w of W by a quantized row q changes its output by X (w - q), whose
 * squared length is (w - q)^T H (w - q) with H = X^T X. Plain encoders see
 * only the diagonal of H at best (the importance vector); here all of H
 * counts, so that the error of one weight can be made up by another.
 *
 * Two steps. Error feedback in column order (GPTQ: Frantar et al. 2022, the
 * Cholesky form) gives a start within the scales that the format's own
 * encoder chose. Coordinate descent then improves every number that the block
 * stores - levels, sub-block scales and minima, block scales - one at a time,
 * each change being the exact minimiser on its grid, so that the error never
 * grows. The result is ordinary blocks. */
#ifndef WN_QUANT_REBUILD_H
#define WN_QUANT_REBUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* H of one layer input: n x n, symmetric, row major; `feed` is the upper
 * Cholesky factor of its inverse, or NULL until wn_hessian_factor. */
typedef struct wn_hessian {
  size_t n;
  float *h;
  float *feed;
  double lambda; /* what damping added to the diagonal */
} wn_hessian;

/* An all-zero H for n columns; wn_hessian_free frees what it holds. */
int wn_hessian_init(wn_hessian *hs, size_t n, wn_err *e);
void wn_hessian_free(wn_hessian *hs);

/* Adds X^T X of n_rows rows of activations, ldx floats apart. Threaded; the
 * sum does not depend on the number of threads. */
void wn_hessian_add(wn_hessian *hs, const float *x, size_t ldx, size_t n_rows,
                    int n_threads);

/* Multiplies what lies off the diagonal by 1 - s: correlations that were seen
 * on one text are trusted only so far on others. 0 <= s <= 1; at 1 each column
 * stands alone, as for an importance vector. */
void wn_hessian_shrink(wn_hessian *hs, double s);

/* Adds `damp` times the mean of the diagonal to the diagonal, gives columns
 * that were never active a 1, and computes `feed`. WN_EDATA when H is not
 * positive definite even so (not finite). */
int wn_hessian_factor(wn_hessian *hs, double damp, wn_err *e);

/* cross (n x n) += X^T Y of n_rows rows of two matrices of n columns. */
void wn_hessian_cross(float *cross, size_t n, const float *x, const float *y,
                      size_t n_rows, int n_threads);

/* Rows to encode instead of w when a layer sees inputs X, but its outputs are
 * meant to be those of inputs Y (the inputs before the layers above were
 * quantized): the least-squares solution (X^T X + l)^-1 (X^T Y + l) w, or
 * `strength` of the way to it. H is X^T X, factored; cross is X^T Y. */
int wn_hessian_aim(const wn_hessian *hs, const float *cross, const float *w,
                   float *out, size_t n_rows, double strength, int n_threads,
                   wn_err *e);

/* Sum over rows of (w - q)^T H (w - q); q NULL: zero. H is that of hs, or the
 * diagonal matrix of `diagonal`, or (both NULL) the identity. */
int wn_output_error(const float *w, const float *q, size_t n_rows, size_t n,
                    const wn_hessian *hs, const float *diagonal, int n_threads,
                    double *sum, wn_err *e);

typedef struct wn_rebuild_opts {
  bool feedback; /* the GPTQ step */
  int n_sweeps;  /* most rounds of coordinate descent; 0: none */
  int n_threads;
} wn_rebuild_opts;

typedef struct wn_rebuild_stats {
  double before; /* sum over rows of the error of the plain encoder's blocks */
  double after;
} wn_rebuild_stats;

/* True for types whose blocks can be rebuilt. */
bool wn_rebuild_supported(int type);

/* Encodes n_rows rows of hs->n floats into dst. importance (hs->n values, or
 * NULL: the diagonal of H) is what the format's encoder gets for the start. */
int wn_rebuild_rows(int type, const float *src, void *dst, size_t n_rows,
                    const wn_hessian *hs, const float *importance,
                    const wn_rebuild_opts *o, wn_rebuild_stats *stats,
                    wn_err *e);

#endif
