/* rows_feed.c - error feedback in column order (GPTQ). */
#include <string.h>

#include "quant/rows.h"

WN_EXACT_FLOAT

/* A = (U^T U)^-1 of the n x n corner of U at column c: what an error in these
 * columns costs when the columns after them make up for it. */
static void corner(const wn_row *o, size_t c, int n, float *a) {
  double inv[WN_GRID_GROUP][WN_GRID_GROUP] = {{0}}; /* of the corner of U */
  for (int j = 0; j < n; j++)
    for (int i = j; i >= 0; i--) {
      double s = i == j;
      for (int k = i + 1; k <= j; k++)
        s -= (double)o->hs->feed[(c + (size_t)i) * o->n + c + (size_t)k] *
             inv[k][j];
      inv[i][j] = s / (double)o->hs->feed[(c + (size_t)i) * (o->n + 1)];
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double s = 0;
      for (int k = 0; k < n; k++)
        s += inv[i][k] * inv[j][k];
      a[i * n + j] = (float)s;
    }
}

/* The point for the group at level i of block x, as the errors before it have
 * shifted its weights. In formats with even signs the first half of 8 is free
 * and the second makes the count even. */
static void feed_group(wn_row *o, wn_explained *x, size_t at, int i,
                       const float *shifted) {
  int n = o->g->group, parity = -1;
  float scale = x->scale[i / o->g->sub], a[WN_GRID_GROUP * WN_GRID_GROUP];
  float b[WN_GRID_GROUP] = {0}, want[WN_GRID_GROUP];
  const float *w = shifted + at + i;
  if (scale == 0) return;
  corner(o, at + (size_t)i, n, a);
  for (int k = 0; k < n; k++) {
    want[k] = w[k] / scale;
    for (int j = 0; j < n; j++)
      b[k] += a[k * n + j] * w[j];
  }
  if (o->g->even_signs && i % 8 + n == 8)
    parity = n == 8 ? 0 : wn_rows_parity(x->level + i - 4, 4);
  wn_rows_best_point(o, a, b, want, scale, parity, x->level + i);
}

/* Column c of one row: the level nearest to the weight as the errors before it
 * have shifted it. Returns its error in units of U; columns of the chunk that
 * are to come are shifted at once. */
static float feed_column(wn_row *o, float *shifted, size_t c) {
  size_t len = (size_t)o->x[0].n;
  wn_explained *x = &o->x[c / len];
  int i = (int)(c % len), s = i / o->g->sub;
  float scale = x->scale[s], min = x->min[s];
  if (o->g->group == 0 && scale != 0)
    x->level[i] = wn_grid_nearest(o->g, (shifted[c] - min) / scale);
  if (o->g->group > 0 && i % o->g->group == 0)
    feed_group(o, x, c - (size_t)i, i, shifted);
  o->q[c] = scale * x->level[i] + min;
  const float *uc = o->hs->feed + c * o->n;
  float err = (shifted[c] - o->q[c]) / uc[c];
  o->dense->subtract(shifted + c, uc + c, err, o->hi - c);
  return err;
}

void wn_rows_feed(wn_row *rows, int n_rows, float *shifted, float *e) {
  size_t n = rows->n;
  for (int k = 0; k < n_rows; k++)
    memcpy(shifted + (size_t)k * n, rows[k].w, n * sizeof *shifted);
  for (size_t c0 = 0, c1; c0 < n; c0 = c1) {
    c1 = wn_rows_chunk_end(rows, c0);
    memset(e, 0, (c1 - c0) * WN_ROWS * sizeof *e);
    for (int k = 0; k < n_rows; k++) {
      rows[k].hi = c1;
      for (size_t c = c0; c < c1; c++)
        e[(c - c0) * WN_ROWS + (size_t)k] =
            -feed_column(&rows[k], shifted + (size_t)k * n, c);
    }
    if (c1 < n)
      rows->dense->outer(shifted + c1, n, e, WN_ROWS,
                         rows->hs->feed + c0 * n + c1, n, c1 - c0,
                         (size_t)n_rows, n - c1);
  }
}
