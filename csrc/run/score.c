/* score.c - see score.h. The exponentials are those of the vector code (at most
 * 1.5 units in the last place off), added up as floats over BLOCK logits and in
 * double from block to block. */
#include "run/score.h"

#include <math.h>

#include "base/pool.h"
#include "kern/vec.h"

enum { BLOCK = 256 };

/* What one row's softmax needs: log softmax(i) = logit[i] - max - log_sum. */
typedef struct norm {
  float max;
  double log_sum;
  int32_t top;
} norm;

static norm normalise(const float *row, uint32_t n) {
  const wn_vec *v = wn_vec_get();
  norm r = {-INFINITY, 0, 0};
  uint32_t at = 0; /* the block with the first of the greatest */
  for (uint32_t i = 0; i < n; i += BLOCK) {
    float top = v->max(row + i, n - i < BLOCK ? n - i : BLOCK);
    if (top > r.max) r.max = top, at = i;
  }
  while (at < n - 1 && row[at] != r.max)
    at++;
  r.top = (int32_t)at;
  double sum = 0;
  for (uint32_t i = 0; i < n; i += BLOCK)
    sum += (double)v->exp_total(row + i, n - i < BLOCK ? n - i : BLOCK, r.max);
  r.log_sum = log(sum);
  return r;
}

static double log_p(const float *row, norm r, uint32_t i) {
  return (double)(row[i] - r.max) - r.log_sum;
}

typedef struct work {
  const float *p, *q;
  size_t stride_p, stride_q, n;
  uint32_t n_vocab;
  const int32_t *target;
  double *nll;
  int32_t *top;
  wn_divergence *out;
} work;

static void score_row(const work *w, size_t i) {
  const float *row = w->p + i * w->stride_p;
  norm r = normalise(row, w->n_vocab);
  w->nll[i] = -log_p(row, r, (uint32_t)w->target[i]);
  if (w->top != NULL) w->top[i] = r.top;
}

static void compare_row(const work *w, size_t i) {
  const float *p = w->p + i * w->stride_p, *q = w->q + i * w->stride_q;
  norm np = normalise(p, w->n_vocab), nq = normalise(q, w->n_vocab);
  uint32_t t = (uint32_t)w->target[i];
  wn_divergence *d = &w->out[i];
  double kld = 0;
  for (uint32_t v = 0; v < w->n_vocab; v++) {
    double lp = log_p(p, np, v);
    kld += (double)expf((float)lp) * (lp - log_p(q, nq, v));
  }
  d->nll_p = -log_p(p, np, t);
  d->nll_q = -log_p(q, nq, t);
  d->kld = kld;
  d->p_diff = exp(-d->nll_q) - exp(-d->nll_p);
  d->top_p = np.top;
  d->top_q = nq.top;
}

static void task(void *arg, wn_team *team, int member, int n_members) {
  const work *w = arg;
  (void)team;
  for (size_t i = (size_t)member; i < w->n; i += (size_t)n_members)
    if (w->out != NULL)
      compare_row(w, i);
    else
      score_row(w, i);
}

void wn_score_nll(const float *logits, size_t stride, size_t n,
                  uint32_t n_vocab, const int32_t *target, double *nll,
                  int32_t *top, int n_threads) {
  work w = {.p = logits,
            .stride_p = stride,
            .n = n,
            .n_vocab = n_vocab,
            .target = target,
            .nll = nll,
            .top = top};
  wn_pool_run(n_threads, task, &w);
}

void wn_score_compare(const float *p, size_t stride_p, const float *q,
                      size_t stride_q, size_t n, uint32_t n_vocab,
                      const int32_t *target, wn_divergence *out,
                      int n_threads) {
  work w = {.p = p,
            .stride_p = stride_p,
            .q = q,
            .stride_q = stride_q,
            .n = n,
            .n_vocab = n_vocab,
            .target = target,
            .out = out};
  wn_pool_run(n_threads, task, &w);
}
