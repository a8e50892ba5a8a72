/* hessian.c - the matrix of rebuild.h: summing it up and factoring it. */
#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/cholesky.h"
#include "quant/dense.h"
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

typedef struct gram {
  float *h;
  const float *a, *b; /* the same: a symmetric sum */
  size_t n, lda, ldb, n_rows;
} gram;

enum { SUM_ROWS = 64 }; /* rows of H that a member takes at a time */

/* Rows of H are split; each sums over the tokens in their order. Of a
 * symmetric sum one half is computed and then mirrored. */
static void add_rows(void *arg, wn_team *team, int member, int n_members) {
  const gram *s = arg;
  const wn_dense *dense = wn_dense_get();
  size_t n = s->n;
  for (int64_t at; (at = wn_team_next(team)) * SUM_ROWS < (int64_t)n;) {
    size_t i = (size_t)at * SUM_ROWS, ni = n - i < SUM_ROWS ? n - i : SUM_ROWS;
    size_t j = s->a == s->b ? i : 0;
    dense->outer(s->h + i * n + j, n, s->a + i, s->lda, s->b + j, s->ldb,
                 s->n_rows, ni, n - j);
  }
  if (s->a != s->b) return;
  wn_team_barrier(team, member);
  for (size_t i = (size_t)member; i < n; i += (size_t)n_members)
    for (size_t j = 0; j < i; j++)
      s->h[i * n + j] = s->h[j * n + i];
}

void wn_hessian_add(wn_hessian *hs, const float *x, size_t ldx, size_t n_rows,
                    int n_threads) {
  gram s = {hs->h, x, x, hs->n, ldx, ldx, n_rows};
  wn_pool_run(n_threads, add_rows, &s);
}

void wn_hessian_cross(float *c, size_t n, const float *x, const float *y,
                      size_t n_rows, int n_threads) {
  gram s = {c, x, y, n, n, n, n_rows};
  wn_pool_run(n_threads, add_rows, &s);
}

/* ---- error of outputs */

typedef struct energy {
  const float *w, *q, *diagonal;
  const wn_hessian *hs;
  size_t n_rows, n;
  double *scratch, *rows; /* n per member; one per row */
} energy;

/* e^T H e of one row; e is scratch. */
static double row_error(const energy *k, size_t r, double *e) {
  const float *w = k->w + r * k->n, *q = k->q != NULL ? k->q + r * k->n : NULL;
  const wn_dense *dense = wn_dense_get();
  double sum = 0;
  for (size_t i = 0; i < k->n; i++)
    e[i] = (double)w[i] - (q != NULL ? (double)q[i] : 0);
  for (size_t i = 0; i < k->n; i++) {
    double he = e[i];
    if (k->diagonal != NULL) he *= (double)k->diagonal[i];
    if (k->hs != NULL) he = dense->dot(k->hs->h + i * k->n, e, k->n);
    sum += e[i] * he;
  }
  return sum;
}

static void error_rows(void *arg, wn_team *team, int member, int n_members) {
  const energy *k = arg;
  (void)n_members;
  for (int64_t r; (r = wn_team_next(team)) < (int64_t)k->n_rows;)
    k->rows[r] = row_error(k, (size_t)r, k->scratch + (size_t)member * k->n);
}

int wn_output_error(const float *w, const float *q, size_t n_rows, size_t n,
                    const wn_hessian *hs, const float *diagonal, int n_threads,
                    double *sum, wn_err *e) {
  energy k = {.w = w, .q = q, .diagonal = diagonal, .hs = hs};
  k.n_rows = n_rows;
  k.n = n;
  k.scratch = wn_calloc(WN_MEM_QUANT, (size_t)n_threads * n + n_rows,
                        sizeof *k.scratch);
  if (k.scratch == NULL) return wn_fail(e, WN_ENOMEM, "error: out of memory");
  k.rows = k.scratch + (size_t)n_threads * n;
  wn_pool_run(n_threads, error_rows, &k);
  *sum = 0;
  for (size_t r = 0; r < n_rows; r++)
    *sum += k.rows[r];
  wn_free(k.scratch);
  return WN_OK;
}

/* ---- correction of the target */

typedef struct aim {
  const wn_hessian *hs;
  const float *cross, *w;
  float *out;
  double *scratch; /* 2 n per member */
  size_t n_rows;
  double strength;
} aim;

/* v = C w + lambda w, z = U v, out = U^T z: H^-1 is U^T U. */
static void aim_row(const aim *k, const float *w, float *out, double *v) {
  size_t n = k->hs->n;
  const wn_dense *dense = wn_dense_get();
  double *z = v + n;
  for (size_t i = 0; i < n; i++)
    z[i] = (double)w[i];
  for (size_t i = 0; i < n; i++) {
    v[i] = k->hs->lambda * (double)w[i] + dense->dot(k->cross + i * n, z, n);
  }
  for (size_t i = 0; i < n; i++)
    z[i] = dense->dot(k->hs->feed + i * n + i, v + i, n - i);
  memset(v, 0, n * sizeof *v);
  for (size_t i = 0; i < n; i++)
    for (size_t j = i; j < n; j++)
      v[j] += (double)k->hs->feed[i * n + j] * z[i];
  for (size_t i = 0; i < n; i++)
    out[i] = (float)((double)w[i] + k->strength * (v[i] - (double)w[i]));
}

static void aim_rows(void *arg, wn_team *team, int member, int n_members) {
  const aim *k = arg;
  size_t n = k->hs->n;
  (void)n_members;
  for (int64_t at; (at = wn_team_next(team)) < (int64_t)k->n_rows;)
    aim_row(k, k->w + (size_t)at * n, k->out + (size_t)at * n,
            k->scratch + (size_t)member * 2 * n);
}

int wn_hessian_aim(const wn_hessian *hs, const float *cross, const float *w,
                   float *out, size_t n_rows, double strength, int n_threads,
                   wn_err *e) {
  if (hs->feed == NULL) return wn_fail(e, WN_EARG, "hessian: not factored");
  aim k = {hs, cross, w, out, NULL, n_rows, strength};
  k.scratch =
      wn_calloc(WN_MEM_QUANT, (size_t)n_threads * 2 * hs->n, sizeof *k.scratch);
  if (k.scratch == NULL) return wn_fail(e, WN_ENOMEM, "hessian: out of memory");
  wn_pool_run(n_threads, aim_rows, &k);
  wn_free(k.scratch);
  return WN_OK;
}

void wn_hessian_shrink(wn_hessian *hs, double s) {
  float keep = (float)(1 - s);
  for (size_t i = 0; i < hs->n; i++)
    for (size_t j = 0; j < hs->n; j++)
      if (j != i) hs->h[i * hs->n + j] *= keep;
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
  hs->lambda += damp * mean;
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
  int rc = wn_cholesky_inverse(a, n, wn_pool_default_threads(), e);
  for (size_t i = 0; rc == WN_OK && i < n; i++)
    for (size_t j = 0; j < n; j++)
      hs->feed[i * n + j] = j < i ? 0 : (float)a[(n - 1 - i) * n + (n - 1 - j)];
  wn_free(a);
  if (rc != WN_EDATA) return rc;
  return wn_fail(e, WN_EDATA,
                 "hessian: not positive definite (activations that are not "
                 "finite, or too few: raise the damping)");
}
