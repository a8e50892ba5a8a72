/* choose.c - see cands.h: the stages that choose, and infill. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "run/cands.h"

/* Softmax and draw in one: float terms, their sum in double. A number is drawn
 * for a single candidate too. */
uint32_t wn_choose(wn_cands *c, wn_rng *rng) {
  float max = c->d[0].logit;
  double sum = 0, run = 0;
  for (uint32_t i = 1; i < c->n && !c->sorted; i++)
    if (c->d[i].logit > max) max = c->d[i].logit;
  for (uint32_t i = 0; i < c->n; i++) {
    c->d[i].p = expf(c->d[i].logit - max);
    sum += (double)c->d[i].p;
  }
  double goal = sum * wn_rng_double(rng);
  uint32_t chosen = c->n;
  for (uint32_t i = 0; i < c->n; i++) {
    run += (double)c->d[i].p;
    /* what has no probability is not chosen for a goal of 0 */
    if (chosen == c->n && run >= goal && c->d[i].p > 0) chosen = i;
  }
  for (uint32_t i = 0; chosen == c->n; i++) /* rounding left it at the end */
    if (c->d[c->n - 1 - i].p > 0) chosen = c->n - 1 - i;
  for (uint32_t i = 0; i < c->n; i++)
    c->d[i].p = (float)((double)c->d[i].p / sum);
  return chosen;
}

/* Draws by the probabilities at hand, as libstdc++'s discrete_distribution:
 * the first of the running sums, in double, that reaches the draw. */
static uint32_t draw(const wn_cands *c, wn_rng *rng) {
  double sum = 0, run = 0;
  if (c->n < 2) return 0;
  for (uint32_t i = 0; i < c->n; i++)
    sum += (double)c->d[i].p;
  double u = wn_rng_double(rng);
  for (uint32_t i = 0; i + 1 < c->n; i++) {
    run += (double)c->d[i].p / sum;
    if (run >= u && c->d[i].p > 0) return i;
  }
  uint32_t last = c->n - 1;
  while (last > 0 && c->d[last].p == 0)
    last--;
  return last;
}

/* ---- mirostat (Basu et al., 2021) */

/* How many candidates to keep for surprise mu: the exponent of the list is
 * estimated from its first hundred. */
static uint32_t mirostat_k(const wn_cands *c, const wn_mirostat *m,
                           uint32_t n_vocab) {
  float tb = 0, tt = 0;
  for (uint32_t i = 0; i < 99 && i + 1 < c->n; i++) {
    float t = logf((float)(i + 2) / (float)(i + 1));
    float b = logf(c->d[i].p / c->d[i + 1].p);
    tb += t * b;
    tt += t * t;
  }
  float s = tb / tt, eps = s - 1;
  float k =
      powf((eps * powf(2, m->mu)) / (1 - powf((float)n_vocab, -eps)), 1 / s);
  if (!(k >= 1)) return 1;
  return k < (float)c->n ? (uint32_t)k : c->n;
}

static uint32_t surprising(const wn_cands *c, float mu) {
  uint32_t n = 0;
  while (n < c->n && !(-log2f(c->d[n].p) > mu))
    n++;
  return n > 0 ? n : 1;
}

uint32_t wn_choose_mirostat(wn_cands *c, wn_mirostat *m, int version,
                            uint32_t n_vocab, wn_rng *rng) {
  wn_cands_softmax(c, true);
  c->n = version == 1 ? mirostat_k(c, m, n_vocab) : surprising(c, m->mu);
  wn_cands_softmax(c, true);
  uint32_t chosen = draw(c, rng);
  m->mu -= m->eta * (-log2f(c->d[chosen].p) - m->tau);
  return chosen;
}

/* ---- adaptive-p: steers the probability of what is chosen to a target */

void wn_adaptive_init(wn_adaptive *a, float target, float decay) {
  if (!(decay >= 0)) decay = 0;
  if (decay > 0.99f) decay = 0.99f;
  *a = (wn_adaptive){.target = target,
                     .decay = decay,
                     .sum = target / (1 - decay),
                     .weight = 1 / (1 - decay),
                     .pending = -1};
}

static float clamp01(float v) {
  return v < 0 ? 0 : v > 1 ? 1 : v;
}

/* Logits become 5 near the target, quadratic around it, linear far away. */
uint32_t wn_choose_adaptive(wn_cands *c, wn_adaptive *a, wn_rng *rng) {
  wn_cands_softmax(c, false);
  if (a->target < 0) return draw(c, rng);
  for (uint32_t i = 0; i < c->n; i++)
    c->spare[i].p = c->d[i].p;
  float target = clamp01(a->target);
  if (a->weight != 0) target = clamp01(2 * target - a->sum / a->weight);
  for (uint32_t i = 0; i < c->n; i++) {
    if (c->d[i].logit == -INFINITY) continue;
    float far = fabsf((c->d[i].p - target) * (1.0f / 0.3f));
    c->d[i].logit = 5.0f - 10.0f * far * far / (1.0f + far);
  }
  c->sorted = false;
  wn_cands_softmax(c, false);
  uint32_t chosen = draw(c, rng);
  a->pending = c->d[chosen].id;
  a->pending_p = c->spare[chosen].p;
  return chosen;
}

void wn_adaptive_accept(wn_adaptive *a, int32_t id) {
  if (a->pending >= 0 && a->pending == id) {
    a->sum = a->pending_p + a->decay * a->sum;
    a->weight = 1 + a->decay * a->weight;
  }
  a->pending = -1;
}

/* ---- infill */

enum { MAX_INFILL = 4096 };

typedef struct piece {
  const char *p;
  size_t n;
} piece;

/* Keeps what ends the text; p becomes a share of that. */
static void keep_ends(wn_cands *c, const wn_vocab *v) {
  uint32_t n = 0;
  float sum = 0;
  for (uint32_t i = 0; i < c->n; i++)
    if (wn_vocab_is_eog(v, c->d[i].id)) {
      sum += c->d[i].p;
      c->d[n++] = c->d[i];
    }
  c->n = n;
  for (uint32_t i = 0; i < n; i++)
    c->d[i].p /= sum;
}

/* Moves the probability of each candidate that begins another one, or is
 * begun by it, to the more probable of the two. */
static void merge_prefixes(wn_cands *c, const piece *text) {
  for (uint32_t a = 0; a < c->n; a++)
    for (uint32_t b = 0; b < c->n && c->d[a].logit != -INFINITY; b++) {
      if (a == b || c->d[b].logit == -INFINITY) continue;
      if (text[a].n == 0 || text[a].n > text[b].n ||
          memcmp(text[a].p, text[b].p, text[a].n) != 0)
        continue;
      bool second = c->d[b].p > c->d[a].p;
      wn_tok *to = &c->d[second ? b : a], *from = &c->d[second ? a : b];
      to->p += from->p;
      from->logit = -INFINITY;
      from->p = 0;
    }
}

/* Drops what is below the threshold and does not end the text; counts the
 * others that do not end it. */
static uint32_t drop_below(wn_cands *c, const wn_vocab *v, float threshold,
                           float *sum) {
  uint32_t n = 0, n_text = 0;
  *sum = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    bool ends = wn_vocab_is_eog(v, c->d[i].id);
    if (c->d[i].p < threshold && !ends) continue;
    n_text += !ends;
    *sum += c->d[i].p;
    c->d[n++] = c->d[i];
  }
  c->n = n;
  return n_text;
}

static void normalise(wn_cands *c, float sum) {
  for (uint32_t i = 0; i < c->n; i++)
    c->d[i].p /= sum;
}

/* The texts of all candidates, in one block that *text begins. */
static int pieces_of(const wn_cands *c, const wn_vocab *v, piece **text,
                     wn_err *e) {
  size_t bytes = c->n * sizeof **text, at = bytes;
  for (uint32_t i = 0; i < c->n; i++)
    bytes += wn_vocab_piece(v, c->d[i].id, false, NULL, 0);
  char *block = wn_alloc(WN_MEM_RUN, bytes);
  if (block == NULL) return wn_fail(e, WN_ENOMEM, "infill: out of memory");
  *text = (piece *)(void *)block;
  for (uint32_t i = 0; i < c->n; i++) {
    size_t n = wn_vocab_piece(v, c->d[i].id, false, block + at, bytes - at);
    (*text)[i] = (piece){block + at, n};
    at += n;
  }
  return WN_OK;
}

/* Nothing but the end is left. */
static void only_end(wn_cands *c, const wn_vocab *v) {
  int32_t end = wn_vocab_special(v, WN_TOK_EOT);
  if (end < 0) end = wn_vocab_special(v, WN_TOK_EOS);
  if (end < 0) { /* a vocabulary that cannot end: the best stays */
    c->n = 1;
    return;
  }
  c->d[0] = (wn_tok){end, 1, 1};
  c->n = 1;
}

int wn_stage_infill(wn_cands *c, const wn_vocab *v, wn_err *e) {
  float text_sum = 0, end_sum = 0, sum;
  piece *text = NULL;
  if (c->n == 0) return WN_OK;
  if (c->n > MAX_INFILL)
    return wn_fail(e, WN_ELIMIT,
                   "infill: %u candidates, want at most %d: put top_k before "
                   "it",
                   c->n, MAX_INFILL);
  wn_cands_softmax(c, true);
  for (uint32_t i = 0; i < c->n; i++)
    *(wn_vocab_is_eog(v, c->d[i].id) ? &end_sum : &text_sum) += c->d[i].p;
  if (3 * end_sum * (float)c->n > text_sum) {
    keep_ends(c, v);
    return WN_OK;
  }
  int rc = pieces_of(c, v, &text, e);
  if (rc != WN_OK) return rc;
  merge_prefixes(c, text);
  wn_free(text);
  wn_tok best = c->d[0];
  uint32_t n_text = drop_below(c, v, 0.2f, &sum);
  if (n_text == 0) {
    c->d[0] = best;
    only_end(c, v);
    return WN_OK;
  }
  normalise(c, sum);
  drop_below(c, v, (float)(1.0 / (n_text + 1)), &sum);
  normalise(c, sum);
  return WN_OK;
}
