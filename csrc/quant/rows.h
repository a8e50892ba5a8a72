/* rows.h - rows that are being rebuilt, and the moves that improve them: the
 * inside of rebuild.c.
 *
 * For a row: e = w - q, r = H e. Moving q by delta along a direction v
 * changes the error e^T H e by delta^2 v^T H v - 2 delta v^T r. Every stored
 * number is such a direction: a level moves one value, a scale code or a
 * minimum moves a sub-block, d and dmin move a block. All updates of r are
 * sums of rows of H, element by element in a fixed order without fused
 * rounding, so that all machines agree.
 *
 * H does not fit into a near cache, so columns are gone through in chunks:
 * inside of a chunk r is kept up to date for the chunk alone (a corner of H);
 * when all rows of the tile have been through it, what they changed is taken
 * to the columns outside as one product of matrices, which reads each row of
 * H once for the whole tile. */
#ifndef WN_QUANT_ROWS_H
#define WN_QUANT_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "quant/compose.h"
#include "quant/dense.h"
#include "quant/explain.h"
#include "quant/rebuild.h"

typedef struct wn_row {
  const wn_grid *g;
  const wn_hessian *hs;
  size_t n, n_blocks;
  const float *w;
  wn_explained *x;     /* n_blocks */
  float *q;            /* n: current values */
  float *r;            /* n: H (w - q), up to date for columns lo .. hi */
  size_t lo, hi;       /* the chunk in hand */
  bool active;         /* the last sweep still gained something */
  double before, last; /* errors: the encoder's, and after the last sweep */
  double least;        /* what one number must gain to be moved */
  const wn_dense *dense;
} wn_row;

enum {
  WN_ROWS = 32,     /* rows that share the traffic of H */
  CHUNK_WIDE = 256, /* columns: of types with blocks of 256 */
  CHUNK = 128       /* of the others */
};

/* Scales, minima and values (into q) of a block from its stored numbers; d and
 * dmin become what binary16 can hold. */
void wn_rows_refresh(const wn_grid *g, wn_explained *x, float *q);

/* The factor of d that a scale code stands for. */
float wn_rows_code_factor(const wn_grid *g, int code);

/* Adds to r of all rows the sums over columns c0 <= c < c1 of e[c] times row
 * c of H, for columns j0 <= j < j1. e holds WN_ROWS values for each column. */
void wn_rows_add_product(wn_row *rows, int n_rows, const float *e, size_t c0,
                         size_t c1, size_t j0, size_t j1);

/* r = H (w - q), from nothing, for all rows; e is scratch of WN_ROWS n. */
void wn_rows_recompute(wn_row *rows, int n_rows, float *e);

/* e^T H e, by r. */
double wn_rows_error(const wn_row *o);

/* The end of the chunk that begins at column c. */
size_t wn_rows_chunk_end(const wn_row *o, size_t c);

/* The levels l of a group for which scale^2 l^T A l - 2 scale l^T b is least,
 * among all points with the signs of `want`, whose number is even or odd
 * (parity 0 or 1; -1: free). Returns that cost. */
float wn_rows_best_point(const wn_row *o, const float *a, const float *b,
                         const float *want, float scale, int parity,
                         float *level);

/* 1 when an odd number of n levels is negative. */
int wn_rows_parity(const float *level, int n);

/* Error feedback (rows_feed.c): levels column by column, each as the errors
 * before it have shifted its weight. `shifted`: n floats a row; e: scratch of
 * WN_ROWS n. r is not kept. */
void wn_rows_feed(wn_row *rows, int n_rows, float *shifted, float *e);

/* Coordinate descent (rows_sweep.c): one round over all numbers of all active
 * rows; r is kept but for rounding. e is scratch of WN_ROWS n. */
void wn_rows_sweep(wn_row *rows, int n_rows, float *e);

#endif
