/* cholesky.h - the inverse of a Cholesky factor, for large matrices.
 *
 * Blocked, threaded, in double. Every element sees the same subtractions in
 * the same order as in the plain three loops, so the result depends neither
 * on the machine nor on the number of threads. */
#ifndef WN_QUANT_CHOLESKY_H
#define WN_QUANT_CHOLESKY_H

#include <stddef.h>

#include "base/err.h"

/* a (n x n, row major, symmetric; only the lower triangle is read) becomes the
 * inverse of its lower Cholesky factor, zeros above. WN_EDATA: not positive
 * definite. Takes 64 n doubles beside a. */
int wn_cholesky_inverse(double *a, size_t n, int n_threads, wn_err *e);

#endif
