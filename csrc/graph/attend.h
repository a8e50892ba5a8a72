/* attend.h - between op_attend.c, which knows the operation, and attend.c,
 * which does it. */
#ifndef WN_GRAPH_ATTEND_H
#define WN_GRAPH_ATTEND_H

#include "graph/op.h"

/* Units of work for one row: groups of query heads that share a key/value
 * head. */
uint32_t wn_attend_units(const wn_op *op);
/* Floats of a member's scratch for one attend operation. */
size_t wn_attend_floats(const wn_prog *p, const wn_op *op);
/* Floats of the partial results of one row and one part. */
size_t wn_attend_partial(const wn_prog *p, const wn_op *op);
/* The main part of its stage. */
void wn_attend_run(wn_member *m);
/* The gradient (attend_back.c). */
void wn_attend_back(wn_member *m, uint32_t i);

/* The positions that row r of the stage sees: lo <= p < hi. */
void wn_attend_range(const wn_member *m, const wn_op *op, uint32_t r,
                     uint32_t *lo, uint32_t *hi);
/* What head h loses of its scores by distance. */
float wn_attend_slope(const wn_op *op, uint32_t h);

#endif
