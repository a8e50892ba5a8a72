/* lora.h - low-rank changes of matrices. */
#ifndef WN_RUN_LORA_H
#define WN_RUN_LORA_H

#include <stddef.h>

/* w += scale * B A: w (rows, cols), a (rank, cols), b (rows, rank). Sums over
 * the rank in double, in order, so the result is the same on every machine. */
void wn_lora_add(float *w, size_t rows, size_t cols, const float *a,
                 const float *b, size_t rank, double scale, double *sum);

#endif
