/* learn.h - numbers of blocks that are learned by gradients.
 *
 * Every number that a block stores (levels, codes of scales and minima, d,
 * dmin) has a twin in float32, and the block is what its twins round to. A
 * gradient of a loss by the decoded values gives the gradient by each stored
 * number; its twin goes a step of fixed length against the sign of that (signed
 * gradient descent, as AutoRound: Cheng et al. 2023), so that noise, which
 * changes sign, leads nowhere, and a number changes when its twin has come to
 * the border of what rounds to it. Points of grids are numbers of a kind: the
 * twins of their levels round to the nearest point with signs.
 *
 * The twins of levels begin at the weights that were quantized, as far as that
 * rounds to the blocks given: nothing is lost by beginning.
 *
 * Memory: a little more than 4 bytes a weight beside the blocks. Results do not
 * depend on the number of threads. */
#ifndef WN_QUANT_LEARN_H
#define WN_QUANT_LEARN_H

#include <stddef.h>

#include "base/err.h"

typedef struct wn_learn wn_learn;

/* For n_rows rows of n_cols values, which `blocks` hold in a type that
 * wn_rebuild_supported says yes to; w: the values that were quantized. Both are
 * copied. */
int wn_learn_new(int type, const void *blocks, const float *w, size_t n_rows,
                 size_t n_cols, wn_learn **out, wn_err *e);
void wn_learn_free(wn_learn *l);
/* Rows and values of a row; bytes of all blocks. */
void wn_learn_shape(const wn_learn *l, size_t *n_rows, size_t *n_cols,
                    size_t *bytes);

/* One step against grad (n_rows, n_cols): levels by `rate` of the distance
 * between two of them; scales and minima by the share of themselves that moves
 * the last level three times as far. */
void wn_learn_step(wn_learn *l, const float *grad, float rate, int n_threads);
/* What the blocks decode to now (n_rows, n_cols), up to the rounding of
 * float32. */
void wn_learn_values(const wn_learn *l, float *values, int n_threads);
/* The blocks. */
void wn_learn_blocks(const wn_learn *l, void *dst, int n_threads);

/* The twins, all that changes: *n floats, to be saved and put back. */
float *wn_learn_twins(wn_learn *l, size_t *n);

#endif
