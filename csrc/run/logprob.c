/* logprob.c - see logprob.h. The n best are kept in order while the logits are
 * read: n is small. */
#include "run/logprob.h"

#include <float.h>
#include <math.h>

/* Puts a candidate among the m <= n best so far. */
static uint32_t insert(wn_logprob *best, uint32_t m, uint32_t n, wn_logprob x) {
  if (m == n && (n == 0 || !(x.value > best[n - 1].value))) return m;
  uint32_t at = m < n ? m : n - 1;
  for (; at > 0 && best[at - 1].value < x.value; at--)
    best[at] = best[at - 1];
  best[at] = x;
  return m < n ? m + 1 : n;
}

int wn_logprobs(const float *logits, uint32_t n_vocab, int32_t id, uint32_t n,
                wn_logprob *top, wn_err *e) {
  double sum = 0;
  float max = -INFINITY;
  uint32_t m = 0;
  for (uint32_t i = 0; i < n_vocab; i++) {
    if (!(logits[i] <= FLT_MAX))
      return wn_fail(e, WN_EDATA, "non-finite logits: token %u has %s", i,
                     isnan(logits[i]) ? "nan" : "inf");
    m = insert(top + 1, m, n, (wn_logprob){(int32_t)i, logits[i]});
    if (logits[i] > max) max = logits[i];
  }
  if (max == -INFINITY)
    return wn_fail(e, WN_EDATA, "non-finite logits: every token has -inf");
  for (uint32_t i = 0; i < n_vocab; i++)
    sum += exp((double)logits[i] - (double)max);
  double all = (double)max + log(sum);
  top[0] = (wn_logprob){id, (float)((double)logits[id] - all)};
  for (uint32_t i = 1; i <= m; i++)
    top[i].value = (float)((double)top[i].value - all);
  return WN_OK;
}
