/* score.h - what logits say about known next tokens, and how two models'
 * logits differ.
 *
 * All sums are in double over float exponentials of (logit - max), the
 * definition of llama.cpp's perplexity tool. Rows are split over threads;
 * the result does not depend on how many there are. */
#ifndef WN_RUN_SCORE_H
#define WN_RUN_SCORE_H

#include <stddef.h>
#include <stdint.h>

/* nll[i] = -log softmax(row i)[target[i]] for n rows of n_vocab logits; rows
 * lie `stride` floats apart. top[i] (if not NULL) = the most likely token. */
void wn_score_nll(const float *logits, size_t stride, size_t n,
                  uint32_t n_vocab, const int32_t *target, double *nll,
                  int32_t *top, int n_threads);

/* One position of a comparison: P is the reference model, Q the candidate. */
typedef struct wn_divergence {
  double nll_p, nll_q; /* negative log-likelihood of the target */
  double kld;          /* sum P (log P - log Q), nats */
  double p_diff;       /* Q(target) - P(target) */
  int32_t top_p, top_q;
} wn_divergence;

void wn_score_compare(const float *p, size_t stride_p, const float *q,
                      size_t stride_q, size_t n, uint32_t n_vocab,
                      const int32_t *target, wn_divergence *out, int n_threads);

#endif
