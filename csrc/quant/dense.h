/* dense.h - the loops that calibration spends its time in.
 *
 * One table per instruction set. Every element is computed by the same
 * multiplications and additions in the same order in all of them, without
 * fused rounding, so results do not depend on the machine. */
#ifndef WN_QUANT_DENSE_H
#define WN_QUANT_DENSE_H

#include <stddef.h>

typedef struct wn_dense {
  /* y[i] -= a * x[i] */
  void (*subtract)(float *y, const float *x, float a, size_t n);
  /* h[i][j] += sum over rows t of a[t][i] * b[t][j], for ni x nj elements */
  void (*outer)(float *h, size_t ldh, const float *a, size_t lda,
                const float *b, size_t ldb, size_t n_rows, size_t ni,
                size_t nj);
  /* out[k] = p^T A p - 2 b . p for n points p of `dims` coordinates, n a
   * multiple of 16: coordinate i of point k at points[i * n + k]. A is
   * symmetric, dims x dims. */
  void (*costs)(const float *points, size_t n, int dims, const float *a,
                const float *b, float *out);
  /* sum of a[i] * x[i], in double: element i goes to partial sum i mod 32,
   * and these are added in a tree */
  double (*dot)(const float *a, const double *x, size_t n);
  /* y[j] -= l[k] * b[k][j] for all k in their order, n elements */
  void (*eliminate)(double *y, const double *l, const double *b, size_t ldb,
                    size_t nk, size_t n);
} wn_dense;

/* The table of the tier in force. */
const wn_dense *wn_dense_get(void);

extern const wn_dense wn_dense_ref;
#if defined(__x86_64__)
extern const wn_dense wn_dense_avx2, wn_dense_avx512;
#endif

#endif
