/* rows.c - see rows.h: what the moves have in common. */
#include "quant/rows.h"

#include <string.h>

#include "base/half.h"

WN_EXACT_FLOAT

float wn_rows_code_factor(const wn_grid *g, int code) {
  return g->code_mul * (float)code + g->code_add;
}

void wn_rows_refresh(const wn_grid *g, wn_explained *x, float *q) {
  x->d = wn_f32_of_f16(wn_f16_of_f32(x->d));
  x->dmin = wn_f32_of_f16(wn_f16_of_f32(x->dmin));
  for (int s = 0; s * g->sub < x->n; s++) {
    if (!wn_grid_keeps_scales(g))
      x->scale[s] = x->d * wn_rows_code_factor(g, x->scale_code[s]);
    x->min[s] = g->min_is_dmin ? x->dmin : -x->dmin * (float)x->min_code[s];
    for (int i = s * g->sub; i < (s + 1) * g->sub; i++)
      q[i] = x->scale[s] * x->level[i] + x->min[s];
  }
}

void wn_rows_add_product(wn_row *rows, int n_rows, const float *e, size_t c0,
                         size_t c1, size_t j0, size_t j1) {
  size_t n = rows->n;
  if (c1 > c0 && j1 > j0)
    rows->dense->outer(rows->r + j0, n, e, WN_ROWS, rows->hs->h + c0 * n + j0,
                       n, c1 - c0, (size_t)n_rows, j1 - j0);
}

void wn_rows_recompute(wn_row *rows, int n_rows, float *e) {
  size_t n = rows->n;
  memset(e, 0, n * WN_ROWS * sizeof *e);
  for (int k = 0; k < n_rows; k++) {
    memset(rows[k].r, 0, n * sizeof *rows[k].r);
    for (size_t c = 0; c < n; c++)
      e[c * WN_ROWS + (size_t)k] = rows[k].w[c] - rows[k].q[c];
  }
  wn_rows_add_product(rows, n_rows, e, 0, n, 0, n);
}

double wn_rows_error(const wn_row *o) {
  double sum = 0;
  for (size_t i = 0; i < o->n; i++)
    sum += (double)(o->w[i] - o->q[i]) * (double)o->r[i];
  return sum;
}

size_t wn_rows_chunk_end(const wn_row *o, size_t c) {
  size_t step = o->x[0].n > CHUNK ? CHUNK_WIDE : CHUNK;
  return o->n - c < step ? o->n : c + step;
}
