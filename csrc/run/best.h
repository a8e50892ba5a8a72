/* best.h - the best of many logits: what sampling needs of a vocabulary.
 *
 * Order is total - logit down, then id up - so equal logits give the same
 * choice everywhere. A vocabulary is looked at through its peaks, the greatest
 * logit of each sixteen (wn_vec.peaks): one fast pass tells which of them
 * matter, and finds what is not a number. */
#ifndef WN_RUN_BEST_H
#define WN_RUN_BEST_H

#include <stdint.h>

typedef struct wn_cand {
  float logit;
  int32_t id;
} wn_cand;

/* A vocabulary: n logits, none of them NaN, and their peaks. */
typedef struct wn_field {
  const float *logits, *peaks;
  uint32_t n;
} wn_field;

/* The first of the logits that equal `top`, their greatest. */
int32_t wn_first_best(const wn_field *f, float top);

/* The k best, best first, into c[0 .. k-1]; 1 <= k <= n. c has room for n. */
void wn_best_k(const wn_field *f, uint32_t k, wn_cand *c);

/* Those that are not below `bound`, into c, which has room for n; returns how
 * many. In order of their ids. */
uint32_t wn_gather(const wn_field *f, float bound, wn_cand *c);

/* Makes a heap of n candidates, from which wn_heap_pop takes the best, putting
 * it at h[n - 1]; n - 1 are left in the heap. */
void wn_heap_make(wn_cand *h, uint32_t n);
wn_cand wn_heap_pop(wn_cand *h, uint32_t n);

#endif
