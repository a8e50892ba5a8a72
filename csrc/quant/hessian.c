/* hessian.c - the matrix of rebuild.h: summing it up and factoring it. */
#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/rebuild.h"

WN_EXACT_FLOAT

int wn_hessian_init(wn_hessian *hs, size_t n, wn_err *e) {
  uint64_t count;
  *hs = (wn_hessian){.n = n};
  if (wn_mul(n, n, &count) && count <= SIZE_MAX / sizeof(float))
    hs->h = wn_calloc(WN_MEM_QUANT, (size_t)count, sizeof *hs->h);
  if (hs->h == NULL)
    return wn_fail(e, WN_ENOMEM, "hessian: no memory for %zu x %zu floats", n,
                   n);
  return WN_OK;
}

void wn_hessian_free(wn_hessian *hs) {
  wn_free(hs->h);
  wn_free(hs->feed);
  *hs = (wn_hessian){0};
}

typedef struct sum {
  wn_hessian *hs;
  const float *x;
  size_t ldx, n_rows;
} sum;

/* Rows of H are split; each sums over the tokens in their order. */
static void add_rows(void *arg, wn_team *team, int member, int n_members) {
  const sum *s = arg;
  size_t n = s->hs->n;
  (void)member;
  (void)n_members;
  for (int64_t at; (at = wn_team_next(team)) < (int64_t)n;) {
    size_t i = (size_t)at;
    float *restrict h = s->hs->h + i * n;
    for (size_t t = 0; t < s->n_rows; t++) {
      const float *restrict x = s->x + t * s->ldx;
      float a = x[i];
      for (size_t j = 0; j < n; j++)
        h[j] += a * x[j];
    }
  }
}

void wn_hessian_add(wn_hessian *hs, const float *x, size_t ldx, size_t n_rows,
                    int n_threads) {
  sum s = {hs, x, ldx, n_rows};
  wn_pool_run(n_threads, add_rows, &s);
}

/* Lower Cholesky factor of a (n x n, in place, lower triangle); false when a
 * pivot is not positive. */
static bool cholesky(double *a, size_t n) {
  for (size_t i = 0; i < n; i++) {
    for (size_t j = 0; j <= i; j++) {
      double s = a[i * n + j];
      for (size_t k = 0; k < j; k++)
        s -= a[i * n + k] * a[j * n + k];
      if (i == j) {
        if (!(s > 0) || !isfinite(s)) return false;
        a[i * n + i] = sqrt(s);
      } else {
        a[i * n + j] = s / a[j * n + j];
      }
    }
  }
  return true;
}

/* The lower triangle of L becomes that of its inverse. */
static void invert_lower(double *l, size_t n) {
  for (size_t j = 0; j < n; j++) {
    l[j * n + j] = 1 / l[j * n + j];
    for (size_t i = j + 1; i < n; i++) {
      double s = 0;
      for (size_t k = j; k < i; k++)
        s -= l[i * n + k] * l[k * n + j];
      l[i * n + j] = s / l[i * n + i];
    }
  }
}

static void damp_diagonal(wn_hessian *hs, double damp) {
  size_t n = hs->n;
  double mean = 0;
  for (size_t i = 0; i < n; i++)
    mean += (double)hs->h[i * n + i];
  mean /= (double)n;
  for (size_t i = 0; i < n; i++) {
    float *d = &hs->h[i * n + i];
    if (!(*d > 0)) *d = mean > 0 ? (float)mean : 1;
    *d += (float)(damp * mean);
  }
}

/* GPTQ wants U with U^T U = H^-1, U upper triangular. With the order of the
 * columns reversed, H = L L^T gives H^-1 = L^-T L^-1, and L^-1 read backwards
 * in both directions is U. */
int wn_hessian_factor(wn_hessian *hs, double damp, wn_err *e) {
  size_t n = hs->n;
  damp_diagonal(hs, damp);
  double *a = wn_alloc(WN_MEM_QUANT, n * n * sizeof *a);
  if (hs->feed == NULL)
    hs->feed = wn_alloc(WN_MEM_QUANT, n * n * sizeof *hs->feed);
  if (a == NULL || hs->feed == NULL) {
    wn_free(a);
    return wn_fail(e, WN_ENOMEM, "hessian: no memory to factor %zu columns", n);
  }
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++)
      a[i * n + j] = (double)hs->h[(n - 1 - i) * n + (n - 1 - j)];
  bool ok = cholesky(a, n);
  if (ok) invert_lower(a, n);
  for (size_t i = 0; ok && i < n; i++)
    for (size_t j = 0; j < n; j++)
      hs->feed[i * n + j] = j < i ? 0 : (float)a[(n - 1 - i) * n + (n - 1 - j)];
  wn_free(a);
  if (!ok)
    return wn_fail(e, WN_EDATA,
                   "hessian: not positive definite (activations that are not "
                   "finite, or too few: raise the damping)");
  return WN_OK;
}
