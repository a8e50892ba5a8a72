/* state_parts.h - between state.c and state_save.c. */
#ifndef WN_RUN_STATE_PARTS_H
#define WN_RUN_STATE_PARTS_H

#include "run/state.h"

/* The valid floats of a slot of kind state. */
float *wn_state_floats(const wn_state *s, uint32_t i, uint32_t seq);
/* The first position that the token behind n others can see in slot i. */
uint32_t wn_state_first(const wn_state *s, uint32_t i, uint32_t n);
/* Moves slot i of a sequence, positions p0 <= p < p1 (a state: all of it),
 * to or from `bytes`; returns the byte behind. */
uint8_t *wn_state_move(const wn_state *s, uint32_t i, uint32_t seq, uint32_t p0,
                       uint32_t p1, uint8_t *bytes, bool inwards);

#endif
