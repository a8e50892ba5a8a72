/* best.c - see best.h.
 *
 * The k best: the k-th greatest of the peaks is a bound that at least k logits
 * reach, one for each of those peaks, and hardly more do; those are sorted out
 * with a heap whose root is the worst. */
#include "run/best.h"

#include <math.h>
#include <stdbool.h>

#include "kern/vec.h"

/* a comes before b. Nobody can foretell it, so it is better not to branch. */
static bool better(wn_cand a, wn_cand b) {
  return (a.logit > b.logit) | ((a.logit == b.logit) & (a.id < b.id));
}

/* ---- heaps */

static void sift_best(wn_cand *h, uint32_t n, uint32_t i) {
  wn_cand x = h[i];
  for (;;) {
    uint32_t child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n) child += better(h[child + 1], h[child]);
    if (!better(h[child], x)) break;
    h[i] = h[child];
    i = child;
  }
  h[i] = x;
}

void wn_heap_make(wn_cand *h, uint32_t n) {
  for (uint32_t i = n / 2; i-- > 0;)
    sift_best(h, n, i);
}

wn_cand wn_heap_pop(wn_cand *h, uint32_t n) {
  wn_cand top = h[0];
  h[0] = h[n - 1];
  sift_best(h, n - 1, 0);
  h[n - 1] = top;
  return top;
}

/* Puts h[i] in its place in a heap of n whose root is the worst. */
static void sift_worst(wn_cand *h, uint32_t n, uint32_t i) {
  wn_cand x = h[i];
  for (;;) {
    uint32_t child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n) child += better(h[child], h[child + 1]);
    if (!better(x, h[child])) break;
    h[i] = h[child];
    i = child;
  }
  h[i] = x;
}

/* Leaves the k best of n in c[0 .. k-1], the worst of them first; the others
 * are lost. */
static void select_best(wn_cand *c, uint32_t n, uint32_t k) {
  for (uint32_t i = k / 2; i-- > 0;)
    sift_worst(c, k, i);
  for (uint32_t i = k; i < n; i++) {
    if (!better(c[i], c[0])) continue;
    c[0] = c[i];
    sift_worst(c, k, 0);
  }
}

/* ---- a vocabulary by its peaks (vec.h: peak 16 g + i is that of logits
 * 256 g + 16 j + i for all j) */

/* Logits from the first of group g on that belong to it. */
static uint32_t group_length(const wn_field *f, uint32_t g) {
  uint32_t left = f->n - g * WN_PEAK_GROUP;
  return left < WN_PEAK_GROUP ? left : WN_PEAK_GROUP;
}

int32_t wn_first_best(const wn_field *f, float top) {
  for (uint32_t g = 0; g * WN_PEAK_GROUP < f->n; g++) {
    const float *peaks = f->peaks + g * WN_PEAK_LANES;
    uint32_t lane = 0, i = 0, n = group_length(f, g);
    while (lane < WN_PEAK_LANES && peaks[lane] != top)
      lane++;
    if (lane == WN_PEAK_LANES) continue;
    while (i < n && f->logits[g * WN_PEAK_GROUP + i] != top)
      i++;
    return (int32_t)(g * WN_PEAK_GROUP + i);
  }
  return 0;
}

static uint32_t take_all(const wn_field *f, wn_cand *c) {
  for (uint32_t i = 0; i < f->n; i++)
    c[i] = (wn_cand){f->logits[i], (int32_t)i};
  return f->n;
}

/* Puts candidates in order of their ids: a few from one group. */
static void sort_ids(wn_cand *c, uint32_t n) {
  for (uint32_t i = 1; i < n; i++) {
    wn_cand x = c[i];
    uint32_t j = i;
    for (; j > 0 && c[j - 1].id > x.id; j--)
      c[j] = c[j - 1];
    c[j] = x;
  }
}

uint32_t wn_gather(const wn_field *f, float bound, wn_cand *c) {
  uint32_t m = 0;
  if (bound == -INFINITY) return take_all(f, c);
  for (uint32_t g = 0; g * WN_PEAK_GROUP < f->n; g++) {
    const float *peaks = f->peaks + g * WN_PEAK_LANES;
    uint32_t first = g * WN_PEAK_GROUP, n = group_length(f, g), before = m;
    for (uint32_t lane = 0; lane < WN_PEAK_LANES; lane++) {
      if (peaks[lane] < bound) continue;
      for (uint32_t i = first + lane; i < first + n; i += WN_PEAK_LANES) {
        c[m] = (wn_cand){f->logits[i], (int32_t)i};
        m += f->logits[i] >= bound;
      }
    }
    sort_ids(c + before, m - before);
  }
  return m;
}

/* A number that at least k of the logits reach. */
static float bound_of(const wn_field *f, uint32_t k, wn_cand *scratch) {
  uint32_t n = (f->n + WN_PEAK_GROUP - 1) / WN_PEAK_GROUP * WN_PEAK_LANES;
  if (n > f->n || k > n) return -INFINITY;
  for (uint32_t i = 0; i < n; i++)
    scratch[i] = (wn_cand){f->peaks[i], (int32_t)i};
  select_best(scratch, n, k);
  return scratch[0].logit;
}

void wn_best_k(const wn_field *f, uint32_t k, wn_cand *c) {
  uint32_t m = wn_gather(f, bound_of(f, k, c), c);
  select_best(c, m, k);
  for (uint32_t left = k; left > 1; left--) { /* the worst goes last */
    wn_cand worst = c[0];
    c[0] = c[left - 1];
    c[left - 1] = worst;
    sift_worst(c, left - 1, 0);
  }
}
