/* recur.c - see recur.h. */
#include "graph/recur.h"

#include <string.h>

/* Tokens of a stretch: about the root of n. */
static uint32_t stretch_of(uint32_t n) {
  uint32_t k = 1;
  while (k * k < n)
    k++;
  return k;
}

size_t wn_recur_floats(uint32_t n, size_t n_state) {
  return n_state * (2 * (size_t)stretch_of(n) + 3);
}

/* The state after each token of the stretch at `first`: into to, from its own
 * place 0. */
static void replay(const wn_recur *r, uint32_t first, uint32_t end, float *to) {
  for (uint32_t t = first; t < end; t++, to += r->n_state) {
    memcpy(to + r->n_state, to, r->n_state * sizeof *to);
    r->forward(r->arg, t, to + r->n_state);
  }
}

void wn_recur_back(const wn_recur *r, uint32_t n, float *room) {
  size_t size = r->n_state;
  uint32_t k = stretch_of(n), last = (n - 1) / k;
  float *starts = room, *within = starts + (size_t)(k + 1) * size;
  float *ds = within + (size_t)(k + 1) * size;
  memset(starts, 0, size * sizeof *starts);
  for (uint32_t i = 0; i < last; i++) {
    float *next = starts + (i + 1) * size;
    memcpy(next, starts + i * size, size * sizeof *next);
    for (uint32_t t = i * k; t < (i + 1) * k; t++)
      r->forward(r->arg, t, next);
  }
  memset(ds, 0, size * sizeof *ds);
  for (uint32_t i = last + 1; i-- > 0;) {
    uint32_t first = i * k, end = n - first < k ? n : first + k;
    memcpy(within, starts + i * size, size * sizeof *within);
    replay(r, first, end, within);
    for (uint32_t t = end; t-- > first;) {
      const float *before = within + (t - first) * size;
      r->back(r->arg, t, before, before + size, ds);
    }
  }
}
