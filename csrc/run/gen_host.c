/* gen_host.c - choices that stages of the host take part in (gen.h).
 *
 * The worker gives the sampler the logits and lets the generation wait: it
 * joins no step until its owner has run the chain to its end. The answer is
 * taken in by whoever is inside the context next, which may be the owner. So
 * no stage of the host is ever run inside a context, nor by its thread. */
#include <string.h>

#include "base/mem.h"
#include "run/gen_in.h"

static int keep_logits(wn_gen *g, const float *logits, wn_err *e) {
  size_t n = wn_model_n_vocab(wn_ctx_model(g->ctx));
  if (!wn_gen_logs_wanted(g)) return WN_OK;
  if (g->asked_logits == NULL)
    g->asked_logits = wn_alloc(WN_MEM_RUN, n * sizeof *logits);
  if (g->asked_logits == NULL)
    return wn_fail(e, WN_ENOMEM, "generate: out of memory");
  memcpy(g->asked_logits, logits, n * sizeof *logits);
  return WN_OK;
}

int wn_gen_ask(wn_gen *g, const float *logits, wn_err *e) {
  int rc = keep_logits(g, logits, e);
  if (rc != WN_OK) return rc;
  if (!wn_sampler_begin(g->sampler))
    return wn_fail(e, WN_EBUSY, "generate: the sampler is busy");
  rc = wn_sampler_start(g->sampler, logits, e);
  wn_sampler_end(g->sampler);
  if (rc != WN_OK) return rc;
  wn_batch_lock(g);
  g->ask = WN_ASKED;
  wn_batch_unlock(g);
  return WN_OK;
}

/* Runs the chain on; *host < 0: it has come to its end. */
static int go_on(wn_gen *g, int *host, int32_t *id, bool *complete, wn_err *e) {
  int rc = wn_sampler_resume(g->sampler, host, id, e);
  if (rc != WN_OK || *host >= 0) return rc;
  rc = wn_sampler_take(g->sampler, *id, e);
  if (rc == WN_OK) *complete = wn_sampler_complete(g->sampler);
  return rc;
}

int wn_gen_resume(wn_gen *g, int *host, wn_err *e) {
  int32_t id = -1;
  bool complete = false;
  wn_err why = {0};
  *host = -1;
  wn_batch_lock(g);
  bool asked = g->ask == WN_ASKED && g->end == WN_GEN_RUNNING &&
               !atomic_load(&g->cancel);
  wn_batch_unlock(g);
  if (!asked) return WN_OK;
  if (!wn_sampler_begin(g->sampler))
    return wn_fail(e, WN_EBUSY, "generate: the sampler is busy");
  int rc = go_on(g, host, &id, &complete, &why);
  wn_sampler_end(g->sampler);
  if (rc == WN_OK && *host >= 0) return WN_OK;
  *host = -1;
  wn_batch_lock(g);
  g->ask = WN_ANSWERED;
  g->answer = id;
  g->answer_complete = complete;
  g->answer_err = why;
  wn_batch_unlock(g);
  wn_batch_sweep(g->b); /* if nobody else is inside: now */
  return WN_OK;
}

void wn_gen_absorb(wn_gen *g) {
  wn_batch_lock(g);
  bool answered = g->ask == WN_ANSWERED && g->phase == WN_PHASE_RUNNING;
  if (answered) g->ask = WN_ASK_NOTHING;
  wn_err e = g->answer_err;
  wn_batch_unlock(g);
  if (!answered) return;
  int rc = e.code;
  if (rc == WN_OK)
    rc = wn_gen_took(g, g->asked_logits, g->answer, g->answer_complete, &e);
  if (rc != WN_OK)
    wn_gen_finish(g, WN_GEN_FAILED, &e);
  else if (g->will_end != WN_GEN_RUNNING)
    wn_gen_close_down(g);
}
