/* recur.h - gradients of recurrences: states walked backwards.
 *
 * A state of some floats starts at 0 and is changed by one token after the
 * other. Its gradient needs the states before and after each token. They are
 * computed again: every root-of-n-th one is kept on the way forwards, and those
 * of one stretch while it is walked. */
#ifndef WN_GRAPH_RECUR_H
#define WN_GRAPH_RECUR_H

#include <stddef.h>
#include <stdint.h>

typedef struct wn_recur {
  void *arg;
  size_t n_state;
  /* s, the state before token t, becomes the one after it */
  void (*forward)(void *arg, uint32_t t, float *s);
  /* ds, the gradient of the state after token t but for what the token's own
   * result adds, becomes that of the state before it */
  void (*back)(void *arg, uint32_t t, const float *before, const float *after,
               float *ds);
} wn_recur;

/* Floats of room for n tokens. */
size_t wn_recur_floats(uint32_t n, size_t n_state);
/* All n tokens, the last one first. */
void wn_recur_back(const wn_recur *r, uint32_t n, float *room);

#endif
