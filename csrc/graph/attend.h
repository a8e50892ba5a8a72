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

#endif
