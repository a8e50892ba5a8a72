/* cholesky.c - see cholesky.h.
 *
 * Panels of BLOCK columns: factor the panel, then take its products from all
 * that is behind it. The inverse likewise, by blocks of rows: what the rows
 * above contribute, then the rows of the block among each other. */
#include "quant/cholesky.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/dense.h"

WN_EXACT_FLOAT

enum { BLOCK = 64, COLUMNS = 256 };

typedef struct work {
  double *a;
  size_t n, at, nb; /* the block in hand: rows and columns at .. at + nb */
  double *side;     /* BLOCK * n: a panel transposed, or rows of the inverse */
  double corner[BLOCK * BLOCK]; /* the factor's block on the diagonal */
} work;

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

/* Factors the block on the diagonal; false when a pivot is not positive. */
static bool factor_corner(work *k) {
  double *a = k->a + k->at * k->n + k->at;
  for (size_t i = 0; i < k->nb; i++)
    for (size_t j = 0; j <= i; j++) {
      double s = a[i * k->n + j];
      for (size_t m = 0; m < j; m++)
        s -= a[i * k->n + m] * a[j * k->n + m];
      if (i == j && (!(s > 0) || !isfinite(s))) return false;
      a[i * k->n + j] = i == j ? sqrt(s) : s / a[j * k->n + j];
    }
  return true;
}

/* The rows behind the corner: their part of the panel, its transpose, then
 * (after a barrier) what it takes from the rest of each row. */
static void take_panel(void *arg, wn_team *team, int member, int n_members) {
  const work *k = arg;
  const wn_dense *dense = wn_dense_get();
  size_t n = k->n, at = k->at, end = at + k->nb;
  for (size_t i = end + (size_t)member; i < n; i += (size_t)n_members) {
    double *row = k->a + i * n;
    for (size_t j = at; j < end; j++) {
      double s = row[j];
      for (size_t m = at; m < j; m++)
        s -= row[m] * k->a[j * n + m];
      row[j] = s / k->a[j * n + j];
      k->side[(j - at) * n + i] = row[j];
    }
  }
  wn_team_barrier(team, member);
  for (int64_t i; (i = wn_team_next(team)) < (int64_t)(n - end);) {
    double *row = k->a + (end + (size_t)i) * n;
    dense->eliminate(row + end, row + at, k->side + end, n, k->nb,
                     (size_t)i + 1);
  }
}

/* Rows of the inverse, left of the block: columns j0 .. j1 of all of them.
 * `side` takes them, because the factor's rows are still needed. */
static void invert_columns(const work *k, size_t j0, size_t j1) {
  const wn_dense *dense = wn_dense_get();
  size_t n = k->n;
  for (size_t i = 0; i < k->nb; i++) {
    double *y = k->side + i * n, l = k->corner[i * BLOCK + i];
    memset(y + j0, 0, (j1 - j0) * sizeof *y);
    /* rows above j0 of the inverse are zero there */
    dense->eliminate(y + j0, k->a + (k->at + i) * n + j0, k->a + j0 * n + j0, n,
                     k->at - j0, j1 - j0);
    dense->eliminate(y + j0, k->corner + i * BLOCK, k->side + j0, n, i,
                     j1 - j0);
    for (size_t j = j0; j < j1; j++)
      y[j] /= l;
  }
}

static void invert_left(void *arg, wn_team *team, int member, int n_members) {
  const work *k = arg;
  (void)member;
  (void)n_members;
  for (int64_t c; (c = wn_team_next(team)) * COLUMNS < (int64_t)k->at;) {
    size_t j0 = (size_t)c * COLUMNS;
    invert_columns(k, j0, least(j0 + COLUMNS, k->at));
  }
}

/* The inverse of the corner itself, and the block's rows into their place. */
static void invert_corner(work *k) {
  const double *l = k->corner;
  for (size_t i = 0; i < k->nb; i++) {
    double *row = k->a + (k->at + i) * k->n, *y = row + k->at;
    memcpy(row, k->side + i * k->n, k->at * sizeof *row);
    for (size_t j = 0; j < i; j++) {
      double s = 0;
      for (size_t m = j; m < i; m++)
        s -= l[i * BLOCK + m] * k->a[(k->at + m) * k->n + k->at + j];
      y[j] = s / l[i * BLOCK + i];
    }
    y[i] = 1 / l[i * BLOCK + i];
    memset(y + i + 1, 0, (k->n - k->at - i - 1) * sizeof *y);
  }
}

static bool factor(work *k, int n_threads) {
  for (k->at = 0; k->at < k->n; k->at += BLOCK) {
    k->nb = least(BLOCK, k->n - k->at);
    if (!factor_corner(k)) return false;
    wn_pool_run(n_threads, take_panel, k);
  }
  return true;
}

static void invert(work *k, int n_threads) {
  for (k->at = 0; k->at < k->n; k->at += BLOCK) {
    k->nb = least(BLOCK, k->n - k->at);
    for (size_t i = 0; i < k->nb; i++)
      memcpy(k->corner + i * BLOCK, k->a + (k->at + i) * k->n + k->at,
             k->nb * sizeof *k->corner);
    wn_pool_run(n_threads, invert_left, k);
    invert_corner(k);
  }
}

int wn_cholesky_inverse(double *a, size_t n, int n_threads, wn_err *e) {
  work *k = wn_calloc(WN_MEM_QUANT, 1, sizeof *k);
  double *side = wn_alloc(WN_MEM_QUANT, BLOCK * n * sizeof *side);
  int rc = WN_OK;
  if (k == NULL || side == NULL) {
    rc = wn_fail(e, WN_ENOMEM, "cholesky: no memory for %zu columns", n);
  } else {
    k->a = a;
    k->n = n;
    k->side = side;
    if (factor(k, n_threads))
      invert(k, n_threads);
    else
      rc = wn_fail(e, WN_EDATA, "cholesky: not positive definite");
  }
  wn_free(side);
  wn_free(k);
  return rc;
}
