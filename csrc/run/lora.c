/* lora.c - see lora.h. */
#include "run/lora.h"

#include <string.h>

/* One row at a time; `sum` has room for cols numbers. */
void wn_lora_add(float *w, size_t rows, size_t cols, const float *a,
                 const float *b, size_t rank, double scale, double *sum) {
  for (size_t i = 0; i < rows; i++) {
    memset(sum, 0, cols * sizeof *sum);
    for (size_t r = 0; r < rank; r++) {
      const float *row = a + r * cols;
      double x = (double)b[i * rank + r];
      for (size_t k = 0; k < cols; k++)
        sum[k] += x * (double)row[k];
    }
    for (size_t k = 0; k < cols; k++)
      w[i * cols + k] = (float)((double)w[i * cols + k] + scale * sum[k]);
  }
}
