/* cands.c - see cands.h: sorting, probabilities and the stages that cut.
 *
 * Short lists are sorted by insertion, long ones by a radix sort of the
 * logits' bits: 152,000 candidates in about a millisecond. Both are stable. */
#include "run/cands.h"

#include <math.h>
#include <string.h>

enum { SHORT = 48, RADIX_BITS = 11, RADIX = 1 << RADIX_BITS };

/* ---- sorting, best first */

static void insert_sort(wn_tok *d, uint32_t n) {
  for (uint32_t i = 1; i < n; i++) {
    wn_tok x = d[i];
    uint32_t j = i;
    for (; j > 0 && d[j - 1].logit < x.logit; j--)
      d[j] = d[j - 1];
    d[j] = x;
  }
}

/* A number that ascends as the logit descends; -0 counts as 0. */
static uint32_t key_of(float logit) {
  uint32_t u;
  float v = logit + 0.0f;
  memcpy(&u, &v, sizeof u);
  return (u & 0x80000000u) != 0 ? u : ~u & 0x7fffffffu;
}

/* One pass of the radix sort, by the digit at `shift`. */
static void radix_pass(const wn_tok *from, wn_tok *to, uint32_t n, int shift) {
  uint32_t start[RADIX] = {0}, sum = 0;
  for (uint32_t i = 0; i < n; i++)
    start[key_of(from[i].logit) >> shift & (RADIX - 1)]++;
  for (uint32_t b = 0; b < RADIX; b++) {
    uint32_t count = start[b];
    start[b] = sum;
    sum += count;
  }
  for (uint32_t i = 0; i < n; i++)
    to[start[key_of(from[i].logit) >> shift & (RADIX - 1)]++] = from[i];
}

void wn_cands_sort(wn_cands *c) {
  if (c->sorted) return;
  if (c->n <= SHORT) {
    insert_sort(c->d, c->n);
  } else {
    radix_pass(c->d, c->spare, c->n, 0);
    radix_pass(c->spare, c->d, c->n, RADIX_BITS);
    radix_pass(c->d, c->spare, c->n, 2 * RADIX_BITS);
    memcpy(c->d, c->spare, c->n * sizeof *c->d);
  }
  c->sorted = true;
}

static float max_logit(const wn_cands *c) {
  float max = c->d[0].logit;
  for (uint32_t i = 1; i < c->n && !c->sorted; i++)
    if (c->d[i].logit > max) max = c->d[i].logit;
  return max;
}

void wn_cands_softmax(wn_cands *c, bool sort) {
  if (c->n == 0) return;
  if (sort) wn_cands_sort(c);
  float max = max_logit(c), sum = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    c->d[i].p = expf(c->d[i].logit - max);
    sum += c->d[i].p;
  }
  for (uint32_t i = 0; i < c->n; i++)
    c->d[i].p /= sum;
}

/* ---- stages that cut */

void wn_stage_top_k(wn_cands *c, uint32_t k) {
  if (k == 0) return;
  wn_cands_sort(c);
  if (k < c->n) c->n = k;
}

/* The smallest set of the most probable with mass p. The probabilities are
 * those of the list as it comes: summed before sorting. */
void wn_stage_top_p(wn_cands *c, float p, uint32_t min_keep) {
  if (p >= 1 || c->n == 0) return;
  wn_cands_softmax(c, false);
  wn_cands_sort(c);
  float sum = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    sum += c->d[i].p;
    if (sum >= p && i + 1 >= min_keep) c->n = i + 1;
  }
}

/* Moves those that reach `least` to the front of the spare list; returns how
 * many there are. */
static uint32_t reaching(wn_cands *c, float least) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    c->spare[n] = c->d[i];
    n += c->d[i].logit >= least;
  }
  return n;
}

void wn_stage_min_p(wn_cands *c, float p, uint32_t min_keep) {
  if (p <= 0 || c->n == 0) return;
  float least = max_logit(c) + logf(p);
  uint32_t n = c->sorted ? 0 : reaching(c, least);
  if (n > 0 && n >= min_keep) {
    memcpy(c->d, c->spare, n * sizeof *c->d);
    c->n = n;
    return;
  }
  wn_cands_sort(c);
  for (n = 1; n < c->n; n++)
    if (c->d[n].logit < least && n >= min_keep) break;
  c->n = n;
}

/* Locally typical sampling (Meister et al., 2022): those whose surprise is
 * nearest to the entropy, until they have mass p. Distances are sorted as
 * negated logits; the id of such an entry is a place in the list. */
void wn_stage_typical(wn_cands *c, float p, uint32_t min_keep) {
  if (p >= 1 || c->n == 0) return;
  wn_cands_softmax(c, true);
  float entropy = 0, sum = 0;
  for (uint32_t i = 0; i < c->n; i++)
    if (c->d[i].p > 0) entropy += -c->d[i].p * logf(c->d[i].p);
  wn_cands order = {c->spare, c->more, NULL, c->n, false};
  for (uint32_t i = 0; i < c->n; i++)
    order.d[i] =
        (wn_tok){(int32_t)i, -fabsf(-logf(c->d[i].p) - entropy), c->d[i].p};
  wn_cands_sort(&order);
  uint32_t n = 0;
  while (n < c->n) {
    sum += order.d[n++].p;
    if (sum > p && n >= min_keep) break;
  }
  for (uint32_t i = 0; i < n; i++)
    c->more[i] = c->d[order.d[i].id];
  memcpy(c->d, c->more, n * sizeof *c->d);
  c->n = n;
  c->sorted = false;
}

void wn_stage_top_n_sigma(wn_cands *c, float n) {
  if (n <= 0 || c->n <= 1) return;
  float max = max_logit(c), sum = 0, squares = 0;
  uint32_t count = 0;
  for (uint32_t i = 0; i < c->n; i++)
    if (c->d[i].logit != -INFINITY) {
      sum += c->d[i].logit;
      count++;
    }
  float mean = count > 0 ? sum / (float)count : 0;
  for (uint32_t i = 0; i < c->n; i++)
    if (c->d[i].logit != -INFINITY) {
      double d = (double)(c->d[i].logit - mean);
      squares = (float)((double)squares + d * d);
    }
  float sigma = count > 0 ? sqrtf(squares / (float)count) : 0;
  float least = max - n * sigma;
  for (uint32_t i = 0; i < c->n; i++)
    if (c->d[i].logit < least) c->d[i].logit = -INFINITY;
  wn_cands_softmax(c, false);
}

/* Excludes top choices: now and then all that reach the threshold but the
 * least of them. */
void wn_stage_xtc(wn_cands *c, float probability, float threshold,
                  uint32_t min_keep, wn_rng *rng) {
  if (probability <= 0 || threshold > 0.5f || c->n < 2) return;
  if (wn_rng_float(rng) > probability) return;
  wn_cands_softmax(c, true);
  uint32_t last = 0;
  for (uint32_t i = 0; i < c->n && c->d[i].p >= threshold; i++)
    last = i;
  if (last == 0 || c->n - last < min_keep) return;
  c->n -= last;
  memmove(c->d, c->d + last, c->n * sizeof *c->d);
}

/* ---- temperature */

static void keep_first_best(wn_cands *c) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < c->n; i++)
    if (c->d[i].logit > c->d[best].logit) best = i;
  for (uint32_t i = 0; i < c->n; i++)
    if (i != best) c->d[i].logit = -INFINITY;
  if (best != 0) c->sorted = false;
}

static void scale(wn_cands *c, float t) {
  if (t <= 0)
    keep_first_best(c);
  else
    for (uint32_t i = 0; i < c->n; i++)
      c->d[i].logit /= t;
}

/* The temperature for a list whose entropy is between 0 and log n. */
static float dynamic(wn_cands *c, float t, float range, float exponent) {
  float low = t - range > 0 ? t - range : 0, high = t + range, entropy = 0;
  float most = -logf(1.0f / (float)c->n);
  wn_cands_softmax(c, true);
  for (uint32_t i = 0; i < c->n; i++)
    if (c->d[i].p > 0) entropy -= c->d[i].p * logf(c->d[i].p);
  return low + (high - low) * powf(entropy / most, exponent);
}

void wn_stage_temperature(wn_cands *c, float t, float range, float exponent) {
  if (c->n == 0) return;
  if (range <= 0) {
    scale(c, t);
    return;
  }
  if (c->n == 1) return;
  scale(c, dynamic(c, t, range, exponent));
  double max = (double)c->d[0].logit, sum = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    double p = exp((double)c->d[i].logit - max);
    c->d[i].p = (float)p;
    sum += p;
  }
  for (uint32_t i = 0; i < c->n; i++)
    c->d[i].p = (float)((double)c->d[i].p / sum);
}
