/* draft.c - guesses of what comes next (speculation).
 *
 * Prompt lookup: where the last few tokens stood before, longest run first,
 * what followed there is likely to follow here: names, quotations, code. */
#include <string.h>

#include "run/gen_in.h"

enum { LONGEST = 4, SHORTEST = 2 };

/* Where the last k of n tokens stood before: the latest place, behind it; 0:
 * nowhere. */
static size_t find_before(const int32_t *all, size_t n, size_t k) {
  for (size_t i = n - k; i-- > 0;)
    if (memcmp(all + i, all + n - k, k * sizeof *all) == 0) return i + k;
  return 0;
}

static uint32_t look_up(const wn_gen *g, int32_t *out, uint32_t cap) {
  for (size_t k = LONGEST; k >= SHORTEST; k--) {
    size_t at = g->n_all > k ? find_before(g->all, g->n_all, k) : 0;
    if (at == 0) continue;
    size_t n = g->n_all - at < cap ? g->n_all - at : cap;
    memcpy(out, g->all + at, n * sizeof *out);
    return (uint32_t)n;
  }
  return 0;
}

uint32_t wn_draft(wn_gen *g, int32_t *out, uint32_t cap) {
  return cap == 0 ? 0 : look_up(g, out, cap);
}
