/* exact.c - products with float32 activations, whatever the weights' type.
 *
 * The kernels round activations to 8 bits where weights are quantized. That is
 * right for running a model; but the gradient of such a step function is zero
 * almost everywhere, and whoever judges weights wants their error alone. So
 * gradients (back.h) and contexts that are told so multiply matrices as what
 * their blocks decode to: a tile of rows is decoded into the member's memory,
 * and multiplied as float32.
 *
 * For judging other engines' activations, what meets a matrix can be rounded
 * first as they do, with one scale a token: to integers of 8 bits (d = amax /
 * 127, nearest), or to E4M3 floats (d = amax / 448; 4 bits of exponent from
 * 2^-6 on, 3 of fraction, nearest). */
#include <math.h>

#include "graph/exec.h"
#include "kern/kern.h"

static float to_e4m3(float v) {
  int e;
  frexpf(v, &e); /* v = f * 2^e, 0.5 <= |f| < 1 */
  float step = ldexpf(1, (e - 1 > -6 ? e - 1 : -6) - 3);
  return rintf(v / step) * step;
}

static void round_column(wn_rounding to, const float *x, size_t k, float *y) {
  float most = 0;
  for (size_t i = 0; i < k; i++)
    if (fabsf(x[i]) > most) most = fabsf(x[i]);
  float d = most / (to == WN_ROUND_INT8 ? 127 : 448);
  for (size_t i = 0; i < k; i++) {
    float v = d > 0 ? x[i] / d : 0;
    y[i] = d * (to == WN_ROUND_INT8 ? rintf(v) : to_e4m3(v));
  }
}

void wn_pack(wn_member *m, const wn_pack_mem *pm, const float *x, size_t k,
             size_t c, size_t n_cols, uint8_t *packed) {
  const wn_frame *f = m->f;
  if (f->rounding != WN_ROUND_NONE) { /* the tile is free until the products */
    float *rounded = wn_floats(m->mem, f->plan->exact_own);
    round_column(f->rounding, x, k, rounded);
    x = rounded;
  }
  wn_mm_pack(pm->type, x, 0, k, c, c + 1, n_cols, packed);
}

void wn_multiply(wn_member *m, const wn_bound *w, const uint8_t *rows, size_t k,
                 size_t r0, size_t r1, const uint8_t *packed, size_t n_cols,
                 size_t c0, size_t c1, float *y, size_t ldy) {
  const wn_frame *f = m->f;
  void *scratch = m->mem + f->plan->scratch_own;
  if (!f->exact || w->type == WN_TYPE_F32) {
    wn_mm(w->type, rows, w->row_bytes, k, r0, r1, packed, n_cols, c0, c1, y,
          ldy, scratch);
    return;
  }
  float *tile = wn_floats(m->mem, f->plan->exact_own);
  for (size_t r = r0, end; r < r1; r = end) {
    end = r1 - r > WN_MM_ROWS ? r + WN_MM_ROWS : r1;
    for (size_t i = r; i < end; i++)
      w->decode(rows + i * w->row_bytes, tile + (i - r) * k, k);
    wn_mm(WN_TYPE_F32, tile, k * sizeof *tile, k, 0, end - r, packed, n_cols,
          c0, c1, y + r, ldy, scratch);
  }
}
