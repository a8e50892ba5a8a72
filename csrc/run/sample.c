/* sample.c - see sample.h.
 *
 * Biases and penalties, where there are any, are added in a copy of the logits.
 * best.h finds the candidates that top-k or min-p leave; without top-k a heap
 * gives them in order: no more of a large vocabulary is sorted than is kept.
 * Sums run in double, in candidate order; exp is the C library's. */
#include "run/sample.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "kern/vec.h"
#include "run/best.h"

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
  float *changed;   /* n_vocab: logits with biases and penalties */
  float *peaks;     /* of the logits in hand (best.h) */
  wn_cand *cands;   /* n_vocab */
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

static size_t n_peaks(const wn_sampler *s) {
  size_t groups = ((size_t)s->n_vocab + WN_PEAK_GROUP - 1) / WN_PEAK_GROUP;
  return groups * WN_PEAK_LANES;
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
  s->changed = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *s->changed);
  s->peaks = wn_calloc(WN_MEM_RUN, n_peaks(s), sizeof *s->peaks);
  s->cands = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *s->cands);
  s->weights = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *s->weights);
  s->counts = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *s->counts);
  s->recent = wn_calloc(WN_MEM_RUN, o->repeat_last_n, sizeof *s->recent);
  if (!s->changed || !s->peaks || !s->cands || !s->weights || !s->counts ||
      !s->recent) {
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
  wn_free(s->changed);
  wn_free(s->peaks);
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

static bool has_penalties(const wn_sample_opts *o) {
  return o->repeat_penalty != 1 || o->frequency_penalty != 0 ||
         o->presence_penalty != 0;
}

/* Penalties of tokens seen in the window, as llama.cpp defines them: a
 * positive logit is divided by the repeat penalty, another multiplied; then
 * count * frequency + presence is taken off. Each token once: its count is
 * marked meanwhile. */
static void penalise(wn_sampler *s) {
  const uint32_t done = 1u << 31;
  const wn_sample_opts *o = &s->o;
  for (uint32_t i = 0; i < s->n_recent; i++) {
    uint32_t *n = &s->counts[s->recent[i]];
    if (*n & done) continue;
    float *l = &s->changed[s->recent[i]];
    *l = *l <= 0 ? *l * o->repeat_penalty : *l / o->repeat_penalty;
    *l -= (float)*n * o->frequency_penalty + o->presence_penalty;
    *n |= done;
  }
  for (uint32_t i = 0; i < s->n_recent; i++)
    s->counts[s->recent[i]] &= ~done;
}

/* The logits with biases and penalties. */
static const float *change(wn_sampler *s, const float *logits) {
  bool penalties = has_penalties(&s->o);
  if (s->n_biases == 0 && !penalties) return logits;
  memcpy(s->changed, logits, s->n_vocab * sizeof *logits);
  for (uint32_t i = 0; i < s->n_biases; i++)
    s->changed[s->biases[i].id] += s->biases[i].add;
  if (penalties) penalise(s);
  return s->changed;
}

/* No choice is defined among logits with a NaN or +inf, or with nothing above
 * -inf. */
static int no_choice(const float *l, uint32_t n, wn_err *e) {
  for (uint32_t i = 0; i < n; i++)
    if (!(l[i] <= FLT_MAX))
      return wn_fail(e, WN_EDATA, "non-finite logits: token %u has %s", i,
                     isnan(l[i]) ? "nan" : "inf");
  return wn_fail(e, WN_EDATA, "non-finite logits: every token has -inf");
}

/* Finds the peaks of the logits and their greatest. Fails as no_choice says. */
static int find_top(wn_sampler *s, const float *l, float *top, wn_err *e) {
  wn_vec_get()->peaks(l, s->n_vocab, s->peaks);
  *top = -INFINITY;
  for (size_t i = 0, n = n_peaks(s); i < n; i++) {
    if (!(s->peaks[i] <= FLT_MAX)) return no_choice(l, s->n_vocab, e);
    if (s->peaks[i] > *top) *top = s->peaks[i];
  }
  return *top == -INFINITY ? no_choice(l, s->n_vocab, e) : WN_OK;
}

/* What top-p and min-p leave of candidates that come best first. */
typedef struct cut {
  double least;     /* of the best one's probability */
  double goal, sum; /* mass wanted, mass so far */
  float top;
} cut;

/* `total` is the mass of all candidates, as multiples of the best one's. */
static cut cut_of(const wn_sampler *s, float top, double total) {
  double goal = s->o.top_p < 1 ? (double)s->o.top_p * total : INFINITY;
  return (cut){(double)s->o.min_p, goal, 0, top};
}

/* Is the next candidate kept? The first always is. */
static bool keeps(cut *c, float logit) {
  double p = exp((double)(logit - c->top));
  if (c->sum > 0 && (c->sum >= c->goal || p < c->least)) return false;
  c->sum += p;
  return true;
}

/* Leaves what is kept of the k best at the front; returns how many. */
static uint32_t keep_of_k(wn_sampler *s, const wn_field *f, uint32_t k,
                          float top) {
  double total = 0;
  uint32_t n = 0;
  wn_best_k(f, k, s->cands);
  for (uint32_t i = 0; i < k; i++)
    total += exp((double)(s->cands[i].logit - top));
  cut c = cut_of(s, top, total);
  while (n < k && keeps(&c, s->cands[n].logit))
    n++;
  return n;
}

static void reverse(wn_cand *c, uint32_t n) {
  for (uint32_t i = 0, j = n - 1; i < j; i++, j--) {
    wn_cand t = c[i];
    c[i] = c[j];
    c[j] = t;
  }
}

/* The same without top-k. What is far below min-p is never looked at: the
 * bound is lower than it by more than the logarithm's error. */
static uint32_t keep_of_all(wn_sampler *s, const wn_field *f, float top) {
  double total = 0, least = log((double)s->o.min_p) - 1e-3;
  for (uint32_t i = 0; i < f->n && s->o.top_p < 1; i++)
    total += exp((double)(f->logits[i] - top));
  uint32_t n = wn_gather(f, (float)((double)top + least), s->cands), left = n;
  cut c = cut_of(s, top, total);
  wn_heap_make(s->cands, n);
  while (left > 0 && keeps(&c, s->cands[0].logit))
    wn_heap_pop(s->cands, left--);
  reverse(s->cands, n); /* those that were popped, best first */
  return n - left;
}

/* Draws from softmax(logit / temperature) over n candidates. */
static int32_t draw(wn_sampler *s, const wn_cand *c, uint32_t n, float max) {
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
  const wn_sample_opts *o = &s->o;
  wn_field f = {change(s, logits), s->peaks, s->n_vocab};
  float top;
  int rc = find_top(s, f.logits, &top, e);
  if (rc != WN_OK) return rc;
  if (o->temperature <= 0) {
    *id = wn_first_best(&f, top);
    return WN_OK;
  }
  uint32_t n;
  if (o->top_k > 0 && o->top_k < f.n)
    n = keep_of_k(s, &f, o->top_k, top);
  else if (o->top_p < 1 || o->min_p > 0)
    n = keep_of_all(s, &f, top);
  else
    n = wn_gather(&f, -INFINITY, s->cands);
  *id = draw(s, s->cands, n, top);
  return WN_OK;
}

bool wn_sampler_begin(wn_sampler *s) {
  return !atomic_flag_test_and_set(&s->inside);
}
void wn_sampler_end(wn_sampler *s) {
  atomic_flag_clear(&s->inside);
}
