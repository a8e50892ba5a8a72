/* kern.h - the arithmetic of inference, behind one table.
 *
 * Matrix multiply, y = x W^T, in two steps. First the activation columns are
 * packed once into the form that the weight type's kernels want (float, or
 * 8-bit blocks with scales); then any range of output rows can be computed,
 * by any thread, in any order. The result of one activation column does not
 * depend on which other columns are computed with it, nor on the split of the
 * rows: prefill and decode give the same bits.
 *
 * How: a tile of weight rows is unpacked into a panel (rows side by side in
 * the lanes of a vector) that stays in the first cache, and a
 * register-blocked kernel runs over it for all columns. With few columns the
 * work is bound by reading the weights, with many by arithmetic: so one column
 * (of most types) goes row by row as memory lies, and float types have code of
 * their own for up to four, all with the same order of operations. */
#ifndef WN_KERN_KERN_H
#define WN_KERN_KERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "gguf/types.h"

/* True when weights of this type can be multiplied. */
bool wn_mm_supported(int type);

/* How activations are packed for weights of `type`: types with the same kind
 * share a packing, so one packed input serves q, k, v of mixed types. Depends
 * on the tier in force; 0 for a type that cannot be multiplied. */
int wn_mm_pack_kind(int type);

/* Bytes of n_cols packed columns of k values: a multiple of 64. */
size_t wn_mm_pack_bytes(int type, size_t k, size_t n_cols);

/* Packs columns c0 <= c < c1 of x (column c at x + c * ldx, k values, k a
 * multiple of the type's block) into `packed` (64-byte aligned), which is for
 * n_cols columns in all. Threads may share the work by columns. */
void wn_mm_pack(int type, const float *x, size_t ldx, size_t k, size_t c0,
                size_t c1, size_t n_cols, void *packed);

/* y[c * ldy + r] = sum_i W[r][i] * x[c][i] for rows r0 <= r < r1 and columns
 * c0 <= c < c1. W: rows of row_bytes at w. scratch: wn_mm_scratch_bytes()
 * bytes, 64-byte aligned, one per thread. Row ranges that start at a multiple
 * of WN_MM_ROWS and are not shorter are fastest. */
#define WN_MM_ROWS 32
size_t wn_mm_scratch_bytes(void);
void wn_mm(int type, const void *w, size_t row_bytes, size_t k, size_t r0,
           size_t r1, const void *packed, size_t n_cols, size_t c0, size_t c1,
           float *y, size_t ldy, void *scratch);

#endif
