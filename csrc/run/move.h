/* move.h - keys and values that go to other positions.
 *
 * Where a layer's keys depend on positions by a rotation alone, they can be
 * turned on, and what was evaluated at one place of a text serves at another:
 * a text whose middle was taken out needs nothing of what follows again. It is
 * an approximation: values, and keys of all layers but the first, were made
 * with the old text before them. */
#ifndef WN_RUN_MOVE_H
#define WN_RUN_MOVE_H

#include "graph/exec.h"

/* Does every layer keep all positions, with keys that are turned or that know
 * nothing of positions? */
bool wn_can_move(const wn_prog *p);

/* Floats that wn_move works in. */
size_t wn_move_floats(const wn_prog *p);

/* The rows of sequence `seq` at from .. from + n - 1 go to `to` .., to < from,
 * over what is there. */
void wn_move(const wn_frame *f, uint32_t seq, uint32_t from, uint32_t to,
             uint32_t n, float *scratch);

#endif
