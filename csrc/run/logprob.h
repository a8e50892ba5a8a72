/* logprob.h - log probabilities: of a token, and of the n most probable.
 *
 * From the logits as the model gave them: no bias, no penalty, temperature 1.
 * Sums in double, in order of the ids. */
#ifndef WN_RUN_LOGPROB_H
#define WN_RUN_LOGPROB_H

#include <stdint.h>

#include "base/err.h"

typedef struct wn_logprob {
  int32_t id;
  float value;
} wn_logprob;

/* top[0] is that of `id`, top[1..n] those of the n best; room for 1 + n, and
 * n <= n_vocab. WN_EDATA for logits that are not finite. */
int wn_logprobs(const float *logits, uint32_t n_vocab, int32_t id, uint32_t n,
                wn_logprob *top, wn_err *e);

#endif
