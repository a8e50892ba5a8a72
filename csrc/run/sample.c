/* sample.c - see sample.h.
 *
 * The candidates of one choice live in a scratch array as (logit, id) pairs.
 * Top-k passes over them once with the k best so far in a heap; without it a
 * heap over all gives the best ones in order: no more of a large vocabulary is
 * sorted than is kept. The greedy choice reads the logits once. Order is total
 * - logit down, then id up - so equal logits give the same choice everywhere.
 * Sums run in double, in candidate order; exp is the C library's. */
#include "run/sample.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"

typedef struct cand {
  float logit;
  int32_t id;
} cand;

typedef struct bias {
  int32_t id;
  float add;
} bias;

struct wn_sampler {
  atomic_int refs;
  atomic_flag inside; /* somebody works with it */
  wn_sample_opts o;
  uint32_t n_vocab;
  uint64_t rng[4];
  cand *cands;      /* n_vocab */
  double *weights;  /* n_vocab: softmax numerators of the kept candidates */
  uint32_t *counts; /* n_vocab: occurrences among the recent tokens */
  int32_t *recent;  /* ring of repeat_last_n */
  uint32_t n_recent, at;
  bias *biases;
  uint32_t n_biases, cap_biases;
};

/* ---- random numbers: xoshiro256** seeded by splitmix64 (Blackman, Vigna) */

static uint64_t rotl(uint64_t x, int k) {
  return (x << k) | (x >> (64 - k));
}

static void rng_seed(uint64_t s[4], uint64_t seed) {
  for (int i = 0; i < 4; i++) {
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    s[i] = z ^ (z >> 31);
  }
}

/* Uniform in [0, 1), 53 bits. */
static double rng_uniform(uint64_t s[4]) {
  uint64_t r = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotl(s[3], 45);
  return (double)(r >> 11) * 0x1p-53;
}

/* ---- life */

static int check_opts(const wn_sample_opts *o, wn_err *e) {
  const char *bad = NULL;
  if (!isfinite(o->temperature)) bad = "temperature";
  if (!(o->top_p >= 0 && o->top_p <= 1)) bad = "top_p (want 0 to 1)";
  if (!(o->min_p >= 0 && o->min_p <= 1)) bad = "min_p (want 0 to 1)";
  if (!(o->repeat_penalty > 0) || !isfinite(o->repeat_penalty))
    bad = "repeat_penalty (want above 0)";
  if (!isfinite(o->frequency_penalty)) bad = "frequency_penalty";
  if (!isfinite(o->presence_penalty)) bad = "presence_penalty";
  if (o->repeat_last_n > 1u << 20) bad = "repeat_last_n (at most 2^20)";
  return bad == NULL ? WN_OK : wn_fail(e, WN_EARG, "sampler: bad %s", bad);
}

int wn_sampler_new(const wn_sample_opts *o, uint32_t n_vocab, wn_sampler **out,
                   wn_err *e) {
  *out = NULL;
  int rc = check_opts(o, e);
  if (rc != WN_OK) return rc;
  if (n_vocab == 0) return wn_fail(e, WN_EARG, "sampler: no vocabulary");
  wn_sampler *s = wn_calloc(WN_MEM_RUN, 1, sizeof *s);
  if (s == NULL) return wn_fail(e, WN_ENOMEM, "sampler: out of memory");
  atomic_init(&s->refs, 1);
  s->o = *o;
  s->n_vocab = n_vocab;
  rng_seed(s->rng, o->seed);
  s->cands = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *s->cands);
  s->weights = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *s->weights);
  s->counts = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *s->counts);
  s->recent = wn_calloc(WN_MEM_RUN, o->repeat_last_n, sizeof *s->recent);
  if (!s->cands || !s->weights || !s->counts || !s->recent) {
    wn_sampler_unref(s);
    return wn_fail(e, WN_ENOMEM, "sampler: out of memory");
  }
  *out = s;
  return WN_OK;
}

wn_sampler *wn_sampler_ref(wn_sampler *s) {
  atomic_fetch_add(&s->refs, 1);
  return s;
}

void wn_sampler_unref(wn_sampler *s) {
  if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1) return;
  wn_free(s->cands);
  wn_free(s->weights);
  wn_free(s->counts);
  wn_free(s->recent);
  wn_free(s->biases);
  wn_free(s);
}

uint32_t wn_sampler_n_vocab(const wn_sampler *s) {
  return s->n_vocab;
}

int wn_sampler_bias(wn_sampler *s, int32_t id, float add, wn_err *e) {
  if (id < 0 || (uint32_t)id >= s->n_vocab)
    return wn_fail(e, WN_EARG, "logit bias: token %d is not in 0..%u", id,
                   s->n_vocab - 1);
  if (isnan(add) || add > 3e38f)
    return wn_fail(e, WN_EARG, "logit bias: want a number or -inf");
  if (s->n_biases == s->cap_biases) {
    uint32_t cap = s->cap_biases * 2 + 16;
    bias *b = wn_realloc(WN_MEM_RUN, s->biases, cap * sizeof *b);
    if (b == NULL) return wn_fail(e, WN_ENOMEM, "sampler: out of memory");
    s->biases = b;
    s->cap_biases = cap;
  }
  s->biases[s->n_biases++] = (bias){id, add};
  return WN_OK;
}

void wn_sampler_accept(wn_sampler *s, int32_t id) {
  uint32_t cap = s->o.repeat_last_n;
  if (cap == 0 || id < 0 || (uint32_t)id >= s->n_vocab) return;
  if (s->n_recent == cap)
    s->counts[s->recent[s->at]]--; /* the oldest leaves the window */
  else
    s->n_recent++;
  s->recent[s->at] = id;
  s->counts[id]++;
  s->at = (s->at + 1) % cap;
}

/* ---- one choice */

/* a comes before b */
static bool better(cand a, cand b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift_down(cand *h, uint32_t n, uint32_t i) {
  for (;;) {
    uint32_t best = i, l = 2 * i + 1, r = l + 1;
    if (l < n && better(h[l], h[best])) best = l;
    if (r < n && better(h[r], h[best])) best = r;
    if (best == i) return;
    cand t = h[i];
    h[i] = h[best];
    h[best] = t;
    i = best;
  }
}

static bool has_penalties(const wn_sample_opts *o) {
  return o->repeat_penalty != 1 || o->frequency_penalty != 0 ||
         o->presence_penalty != 0;
}

/* Penalties of tokens seen in the window, as llama.cpp defines them: a
 * positive logit is divided by the repeat penalty, another multiplied; then
 * count * frequency + presence is taken off. Each token once. */
static void penalise(wn_sampler *s) {
  const wn_sample_opts *o = &s->o;
  if (!has_penalties(o)) return;
  for (uint32_t i = 0; i < s->n_vocab; i++) {
    uint32_t n = s->counts[i];
    if (n == 0) continue;
    float *l = &s->cands[i].logit;
    *l = *l <= 0 ? *l * o->repeat_penalty : *l / o->repeat_penalty;
    *l -= (float)n * o->frequency_penalty + o->presence_penalty;
  }
}

/* No choice is defined among logits with a NaN or +inf at place i, or, when
 * all are finite or -inf, with nothing above -inf. */
static int no_choice(uint32_t i, float l, wn_err *e) {
  if (!(l <= FLT_MAX))
    return wn_fail(e, WN_EDATA, "non-finite logits: token %u has %s", i,
                   isnan(l) ? "nan" : "inf");
  return wn_fail(e, WN_EDATA, "non-finite logits: every token has -inf");
}

/* The first of the greatest logits. */
static int pick_greatest(const float *logits, uint32_t n, int32_t *id,
                         wn_err *e) {
  float top = -INFINITY;
  *id = -1;
  for (uint32_t i = 0; i < n; i++) {
    float l = logits[i];
    if (!(l <= FLT_MAX)) return no_choice(i, l, e);
    if (l <= top) continue;
    top = l;
    *id = (int32_t)i;
  }
  return *id < 0 ? no_choice(0, top, e) : WN_OK;
}

/* Fills cands from logits with biases and penalties; *best is the winner.
 * Fails as no_choice says. */
static int fill(wn_sampler *s, const float *logits, cand *best, wn_err *e) {
  for (uint32_t i = 0; i < s->n_vocab; i++)
    s->cands[i] = (cand){logits[i], (int32_t)i};
  for (uint32_t i = 0; i < s->n_biases; i++)
    s->cands[s->biases[i].id].logit += s->biases[i].add;
  penalise(s);
  *best = (cand){-INFINITY, -1};
  for (uint32_t i = 0; i < s->n_vocab; i++) {
    float l = s->cands[i].logit;
    if (!(l <= FLT_MAX)) return no_choice(i, l, e);
    if (l > best->logit) *best = s->cands[i];
  }
  return best->id < 0 ? no_choice(0, best->logit, e) : WN_OK;
}

/* Sum of exp(logit - max) over n candidates. */
static double softmax_sum(const cand *c, uint32_t n, float max) {
  double sum = 0;
  for (uint32_t i = 0; i < n; i++)
    sum += exp((double)(c[i].logit - max));
  return sum;
}

/* Pops the best of a heap of n into c[n - 1]. */
static cand pop(cand *c, uint32_t n) {
  cand top = c[0];
  c[0] = c[n - 1];
  sift_down(c, n - 1, 0);
  c[n - 1] = top;
  return top;
}

static void reverse(cand *c, uint32_t n) {
  for (uint32_t i = 0, j = n - 1; i < j; i++, j--) {
    cand t = c[i];
    c[i] = c[j];
    c[j] = t;
  }
}

/* Of sorted candidates: the length of the shortest prefix that holds top_p of
 * `total`, cut where a candidate has less than min_p of the best one's
 * probability. At least 1. */
static uint32_t cut_sorted(const wn_sampler *s, const cand *c, uint32_t n,
                           double total) {
  double floor_p = (double)s->o.min_p, mass = 0;
  for (uint32_t i = 0; i < n; i++) {
    double p = exp((double)(c[i].logit - c[0].logit));
    if (i > 0 && p < floor_p) return i;
    mass += p;
    if (s->o.top_p < 1 && mass >= (double)s->o.top_p * total) return i + 1;
  }
  return n;
}

/* Puts c[i] in its place in a heap of n whose root is the worst. */
static void sift_worst(cand *h, uint32_t n, uint32_t i) {
  cand x = h[i];
  for (;;) {
    uint32_t child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n && better(h[child], h[child + 1])) child++;
    if (!better(x, h[child])) break;
    h[i] = h[child];
    i = child;
  }
  h[i] = x;
}

/* Leaves the k best of n candidates, best first, in c[0 .. k-1]; the others
 * are lost. Ids grow along c, so an equal logit that comes later is worse. */
static void select_best(cand *c, uint32_t n, uint32_t k) {
  for (uint32_t i = k / 2; i-- > 0;)
    sift_worst(c, k, i);
  for (uint32_t i = k; i < n; i++) {
    if (c[i].logit <= c[0].logit) continue;
    c[0] = c[i];
    sift_worst(c, k, 0);
  }
  for (uint32_t left = k; left > 1; left--) { /* the worst goes last */
    cand worst = c[0];
    c[0] = c[left - 1];
    c[left - 1] = worst;
    sift_worst(c, left - 1, 0);
  }
}

/* Leaves the candidates that top-k, top-p and min-p keep, best first, at the
 * front of the n; returns how many. Without top-k the heap is popped in
 * chunks, until the cut falls inside what was popped. */
static uint32_t keep_best(const wn_sampler *s, cand *c, uint32_t n, uint32_t k,
                          float max) {
  enum { CHUNK = 64 };
  if (k < n) {
    select_best(c, n, k);
    return cut_sorted(s, c, k, softmax_sum(c, k, max));
  }
  double total = softmax_sum(c, n, max);
  uint32_t popped = 0, kept = 0;
  for (uint32_t i = n / 2; i-- > 0;)
    sift_down(c, n, i);
  while (popped < n && kept == popped) {
    uint32_t goal = popped + CHUNK < n ? popped + CHUNK : n;
    for (; popped < goal; popped++)
      pop(c, n - popped);
    reverse(c, n);
    kept = cut_sorted(s, c, popped, total);
    if (kept == popped && popped < n) reverse(c, n); /* back to popping */
  }
  return kept;
}

/* Draws from softmax(logit / temperature) over n candidates. */
static int32_t draw(wn_sampler *s, const cand *c, uint32_t n, float max) {
  double t = (double)s->o.temperature, sum = 0;
  for (uint32_t i = 0; i < n; i++) {
    s->weights[i] = exp(((double)c[i].logit - (double)max) / t);
    sum += s->weights[i];
  }
  double u = rng_uniform(s->rng) * sum, cum = 0;
  for (uint32_t i = 0; i < n; i++) {
    cum += s->weights[i];
    if (u < cum) return c[i].id;
  }
  uint32_t last = n; /* rounding left u at the very end */
  while (last > 1 && s->weights[last - 1] == 0)
    last--;
  return c[last - 1].id;
}

int wn_sampler_pick(wn_sampler *s, const float *logits, int32_t *id,
                    wn_err *e) {
  cand best;
  if (s->o.temperature <= 0 && s->n_biases == 0 && !has_penalties(&s->o))
    return pick_greatest(logits, s->n_vocab, id, e);
  int rc = fill(s, logits, &best, e);
  if (rc != WN_OK) return rc;
  if (s->o.temperature <= 0) {
    *id = best.id;
    return WN_OK;
  }
  uint32_t n = s->n_vocab, k = s->o.top_k;
  if (k == 0 || k > n) k = n;
  if (k < n || s->o.top_p < 1 || s->o.min_p > 0)
    n = keep_best(s, s->cands, n, k, best.logit);
  *id = draw(s, s->cands, n, best.logit);
  return WN_OK;
}

bool wn_sampler_begin(wn_sampler *s) {
  return !atomic_flag_test_and_set(&s->inside);
}
void wn_sampler_end(wn_sampler *s) {
  atomic_flag_clear(&s->inside);
}
