/* gen_logs.c - log probabilities of a generation's tokens (gen.h).
 *
 * An entry is a token's and those of the n most probable ones in its place,
 * from the logits as the model gave them (logprob.h). Entries of what is made
 * stand beside the ids, one each. Those of the prompt come from rows that the
 * batch asks for only where they are wanted. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "run/gen_in.h"

uint32_t wn_gen_n_top(const wn_gen *g) {
  return wn_gen_logs_wanted(g) ? (uint32_t)g->o.n_logprobs : 0;
}

/* Room for one more entry; NULL: none. */
static wn_logprob *next(const wn_gen *g, wn_logs *l, wn_err *e) {
  size_t each = (size_t)wn_gen_n_top(g) + 1;
  if (l->n == l->cap) {
    size_t cap = l->n * 2 + 32;
    wn_logprob *p = wn_realloc(WN_MEM_RUN, l->p, cap * each * sizeof *p);
    if (p == NULL) {
      wn_fail(e, WN_ENOMEM, "generate: out of memory");
      return NULL;
    }
    l->p = p;
    l->cap = cap;
  }
  return l->p + l->n * each;
}

static int add(const wn_gen *g, wn_logs *l, const float *logits, int32_t id,
               wn_err *e) {
  uint32_t n_top = wn_gen_n_top(g);
  uint32_t n_vocab = wn_model_n_vocab(wn_ctx_model(g->ctx));
  wn_logprob *p = next(g, l, e);
  if (p == NULL) return WN_ENOMEM;
  int rc = wn_logprobs(logits, n_vocab, id, n_top, p, e);
  if (rc == WN_OK) l->n++;
  return rc;
}

int wn_gen_log(wn_gen *g, const float *logits, int32_t id, wn_err *e) {
  return add(g, &g->logs, logits, id, e);
}

/* An entry that says only the id. */
static int add_unknown(const wn_gen *g, wn_logs *l, int32_t id, wn_err *e) {
  wn_logprob *p = next(g, l, e);
  if (p == NULL) return WN_ENOMEM;
  for (uint32_t i = 0; i <= wn_gen_n_top(g); i++)
    p[i] = (wn_logprob){i == 0 ? id : -1, NAN};
  l->n++;
  return WN_OK;
}

int wn_gen_echo(wn_gen *g, const float *logits, size_t at, wn_err *e) {
  int rc = WN_OK;
  wn_batch_lock(g);
  while (rc == WN_OK && g->n_before + g->echoed.n < at)
    rc = add_unknown(g, &g->echoed, g->all[g->n_before + g->echoed.n], e);
  if (rc == WN_OK && logits != NULL)
    rc = add(g, &g->echoed, logits, g->all[at], e);
  wn_batch_unlock(g);
  return rc;
}

size_t wn_gen_logs(wn_gen *g, bool prompt, size_t from, wn_logprob *out,
                   size_t cap) {
  size_t each = (size_t)wn_gen_n_top(g) + 1;
  wn_batch_lock(g);
  const wn_logs *l = prompt ? &g->echoed : &g->logs;
  size_t n = l->n, some = from < n ? n - from : 0;
  if (some > cap) some = cap;
  if (some > 0) memcpy(out, l->p + from * each, some * each * sizeof *out);
  wn_batch_unlock(g);
  return n;
}

const wn_vocab *wn_gen_vocab(const wn_gen *g) {
  return g->vocab;
}
