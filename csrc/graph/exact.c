/* exact.c - products with float32 activations, whatever the weights' type.
 *
 * The kernels round activations to 8 bits where weights are quantized. That is
 * right for running a model; but the gradient of such a step function is zero
 * almost everywhere. So gradients (back.h) belong to a program whose matrices
 * are multiplied as what their blocks decode to: a tile of rows is decoded into
 * the member's memory, and multiplied as float32. */
#include "graph/exec.h"
#include "kern/kern.h"

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
