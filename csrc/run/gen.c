/* gen.c - see gen.h: the life of a generation and what becomes of a chosen
 * token. Which tokens are evaluated when is the batch's business. */
#include "run/gen.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "run/gen_in.h"

enum { MAX_FORCED = 64 }; /* tokens taken at once without a choice */

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "generate: out of memory");
}

/* ---- life */

static int check_ids(wn_ctx *ctx, const int32_t *ids, size_t n, wn_err *e) {
  uint32_t n_vocab = wn_model_prog(wn_ctx_model(ctx))->n_vocab;
  for (size_t i = 0; i < n; i++)
    if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab)
      return wn_fail(e, WN_EARG, "generate: token %zu is %d, want 0 to %u",
                     i + 1, ids[i], n_vocab - 1);
  return WN_OK;
}

static int check(wn_ctx *ctx, const wn_gen_opts *o, const int32_t *ids,
                 size_t n, wn_err *e) {
  const wn_prog *p = wn_model_prog(wn_ctx_model(ctx));
  bool any = o->seq == WN_GEN_ANY;
  if (p->result_kind != WN_RESULT_LOGITS || !p->causal)
    return wn_fail(e, WN_EARG, "generate: the model makes no text");
  if (!any && o->seq >= wn_ctx_n_seq(ctx))
    return wn_fail(e, WN_EARG, "generate: sequence %u of %u", o->seq + 1,
                   wn_ctx_n_seq(ctx));
  if (any && n == 0)
    return wn_fail(e, WN_EARG, "generate: the prompt has no tokens");
  if (n > wn_ctx_n_ctx(ctx))
    return wn_fail(e, WN_EARG,
                   "generate: the prompt has %zu tokens, the context has room "
                   "for %u",
                   n, wn_ctx_n_ctx(ctx));
  if (o->draft != NULL && wn_model_n_vocab(wn_ctx_model(o->draft)) !=
                              wn_model_n_vocab(wn_ctx_model(ctx)))
    return wn_fail(e, WN_EARG, "generate: draft has another vocabulary");
  if (o->draft == ctx)
    return wn_fail(e, WN_EARG, "generate: draft is the context itself");
  if (o->echo && o->shift)
    return wn_fail(e, WN_EARG, "generate: echo and shift together");
  return check_ids(ctx, ids, n, e);
}

static void options(wn_gen *g, const wn_gen_opts *o) {
  g->o = *o;
  g->n_guess = o->n_draft;
  g->o.stop = NULL;  /* copied into pieces */
  g->o.gains = NULL; /* copied below */
  int32_t n_vocab = (int32_t)wn_model_n_vocab(wn_ctx_model(g->ctx));
  if (o->echo && o->n_logprobs < 0) g->o.n_logprobs = 0;
  if (g->o.n_logprobs > n_vocab) g->o.n_logprobs = n_vocab;
  if (o->draft != NULL) wn_ctx_ref(o->draft);
}

static int copy_gains(wn_gen *g, const float *gains, wn_err *e) {
  uint32_t n = wn_model_prog(wn_ctx_model(g->ctx))->n_gains;
  if (gains == NULL || n == 0) return WN_OK;
  g->gains = wn_alloc(WN_MEM_RUN, n * sizeof *gains);
  if (g->gains == NULL) return no_memory(e);
  memcpy(g->gains, gains, n * sizeof *gains);
  return WN_OK;
}

int wn_gen_new(wn_ctx *ctx, wn_sampler *sampler, const int32_t *prompt,
               size_t n, const wn_gen_opts *o, wn_gen **out, wn_err *e) {
  *out = NULL;
  int rc = check(ctx, o, prompt, n, e);
  if (rc != WN_OK) return rc;
  wn_gen *g = wn_calloc(WN_MEM_RUN, 1, sizeof *g);
  if (g == NULL) return no_memory(e);
  g->ctx = wn_ctx_ref(ctx);
  g->sampler = wn_sampler_ref(sampler);
  g->vocab = wn_model_vocab(wn_ctx_model(ctx));
  g->pid = getpid();
  g->seq = WN_GEN_ANY;
  g->stats.seq = WN_GEN_ANY;
  g->stats.n_prompt = (uint32_t)n;
  options(g, o);
  rc = copy_gains(g, o->gains, e);
  if (rc == WN_OK) rc = wn_batch_of(ctx, &g->b, e);
  if (rc == WN_OK)
    rc = wn_pieces_init(&g->pieces, o->stop, o->n_stop, o->raw, e);
  for (size_t i = 0; i < n && rc == WN_OK; i++)
    rc = wn_gen_append(g, prompt[i], e);
  if (rc != WN_OK) {
    wn_gen_destroy(g);
    wn_ctx_unref(ctx);
    return rc;
  }
  *out = g;
  return WN_OK;
}

void wn_gen_destroy(wn_gen *g) {
  wn_pieces_free(&g->pieces);
  wn_free(g->taken.p);
  wn_free(g->all);
  wn_free(g->gains);
  wn_free(g->ids);
  wn_free(g->logs.p);
  wn_free(g->echoed.p);
  wn_free(g->asked_logits);
  if (g->has_sampler) wn_sampler_end(g->sampler);
  wn_sampler_unref(g->sampler);
  wn_ctx_unref(g->o.draft);
  wn_free(g);
}

void wn_gen_free(wn_gen *g) {
  if (g == NULL) return;
  wn_batch *b = g->b;
  wn_ctx *ctx = g->ctx;
  /* a forked child has neither the thread that works on it nor a lock that
   * anyone frees */
  if (g->background && g->pid != getpid()) return;
  atomic_store(&g->cancel, true);
  pthread_mutex_lock(&b->lock);
  bool joined = g->joined;
  g->closed = true;
  g->news = NULL;
  atomic_store(&b->hurry, true);
  pthread_mutex_unlock(&b->lock);
  if (joined)
    wn_batch_sweep(b);
  else
    wn_gen_destroy(g);
  wn_ctx_unref(ctx);
}

void wn_gen_cancel(wn_gen *g) {
  atomic_store(&g->cancel, true);
  atomic_store(&g->b->hurry, true);
}

/* ---- what is shown */

void wn_batch_lock(wn_gen *g) {
  pthread_mutex_lock(&g->b->lock);
}
void wn_batch_unlock(wn_gen *g) {
  pthread_mutex_unlock(&g->b->lock);
}

wn_ctx *wn_gen_ctx(const wn_gen *g) {
  return g->ctx;
}

wn_gen_end wn_gen_ended(wn_gen *g) {
  wn_batch_lock(g);
  wn_gen_end end = g->end;
  wn_batch_unlock(g);
  return end;
}

const char *wn_gen_end_name(wn_gen_end end) {
  static const char *const names[] = {"running", "eog",  "stop",      "length",
                                      "context", "time", "cancelled", "failed"};
  return (unsigned)end < WN_GEN_N_ENDS ? names[end] : "?";
}

int wn_gen_error(wn_gen *g, wn_err *e) {
  wn_batch_lock(g);
  if (g->err.code != WN_OK) *e = g->err;
  int rc = g->err.code;
  wn_batch_unlock(g);
  return rc;
}

size_t wn_gen_take(wn_gen *g, const char **text) {
  wn_batch_lock(g);
  wn_bytes t = g->taken;
  g->taken = g->pieces.ready;
  g->pieces.ready = t;
  g->pieces.ready.n = 0;
  *text = g->taken.p;
  size_t n = g->taken.n;
  wn_batch_unlock(g);
  return n;
}

void wn_gen_get_stats(wn_gen *g, wn_gen_stats *s) {
  wn_batch_lock(g);
  *s = g->stats;
  wn_batch_unlock(g);
}

size_t wn_gen_ids(wn_gen *g, size_t from, int32_t *out, size_t cap) {
  wn_batch_lock(g);
  for (size_t i = 0; i < cap && from + i < g->n_ids; i++)
    out[i] = g->ids[from + i];
  size_t n = g->n_ids;
  wn_batch_unlock(g);
  return n;
}

/* ---- a token */

static bool grow(int32_t **p, size_t *cap, size_t n) {
  if (n < *cap) return true;
  size_t more = n * 2 + 64;
  int32_t *q = wn_realloc(WN_MEM_RUN, *p, more * sizeof *q);
  if (q == NULL) return false;
  *p = q;
  *cap = more;
  return true;
}

int wn_gen_append(wn_gen *g, int32_t id, wn_err *e) {
  if (!grow(&g->all, &g->cap_all, g->n_all)) return no_memory(e);
  g->all[g->n_all++] = id;
  return WN_OK;
}

/* The id and its text, under the lock. */
static int show(wn_gen *g, int32_t id, bool *stopped, wn_err *e) {
  if (!grow(&g->ids, &g->cap_ids, g->n_ids)) return no_memory(e);
  g->ids[g->n_ids++] = id;
  g->stats.n_tokens++;
  if (g->vocab == NULL) return WN_OK;
  char few[64], *piece = few;
  size_t n = wn_vocab_piece(g->vocab, id, g->o.special, few, sizeof few);
  if (n > sizeof few) {
    piece = wn_alloc(WN_MEM_RUN, n);
    if (piece == NULL) return no_memory(e);
    wn_vocab_piece(g->vocab, id, g->o.special, piece, n);
  }
  int rc = wn_pieces_add(&g->pieces, piece, n, stopped, e);
  if (piece != few) wn_free(piece);
  return rc;
}

static void tell(wn_gen *g) {
  bool text = g->pieces.ready.n > 0 || g->end != WN_GEN_RUNNING;
  if (g->news != NULL && text) g->news(g->news_arg);
}

void wn_gen_finish(wn_gen *g, wn_gen_end end, const wn_err *e) {
  wn_err nothing = {0};
  wn_batch *b = g->b;
  wn_unplace(b, g);
  g->phase = WN_PHASE_ENDED;
  if (g->has_sampler) wn_sampler_end(g->sampler);
  g->has_sampler = false;
  pthread_mutex_lock(&b->lock);
  (void)wn_pieces_flush(&g->pieces, &nothing);
  g->end = end;
  if (e != NULL) g->err = *e;
  tell(g);
  pthread_cond_broadcast(&b->news);
  pthread_mutex_unlock(&b->lock);
}

/* Has the token just taken in ended the text? */
static wn_gen_end ends(const wn_gen *g, bool stopped) {
  if (stopped) return WN_GEN_STOP;
  if (g->stats.n_tokens >= g->o.max_tokens) return WN_GEN_LENGTH;
  /* the last token has no place of its own any more */
  if (g->n_all > wn_ctx_n_ctx(g->ctx) && !g->o.shift) return WN_GEN_CONTEXT;
  return WN_GEN_RUNNING;
}

/* A sequence that somebody continues shall hold all of the text; one of the
 * batch's own is found by its text anyway. */
void wn_gen_close_down(wn_gen *g) {
  bool whole = g->o.seq != WN_GEN_ANY && g->n_all <= wn_ctx_n_ctx(g->ctx) &&
               wn_ctx_n_past(g->ctx, g->seq) < g->n_all;
  if (whole)
    g->phase = WN_PHASE_CLOSING;
  else
    wn_gen_finish(g, g->will_end, NULL);
}

/* *complete: a grammar allows nothing more, so that the text has ended without
 * the model saying so. */
static int choose(wn_gen *g, const float *logits, int32_t *id, bool *complete,
                  wn_err *e) {
  if (!g->has_sampler && !wn_sampler_begin(g->sampler))
    return wn_fail(e, WN_EBUSY, "generate: the sampler is busy");
  int rc = wn_sampler_pick(g->sampler, logits, id, e);
  if (rc == WN_OK) rc = wn_sampler_take(g->sampler, *id, e);
  if (rc == WN_OK) *complete = wn_sampler_complete(g->sampler);
  if (!g->has_sampler) wn_sampler_end(g->sampler);
  return rc;
}

/* One more token of the text: into `all`, and shown. */
static int add_token(wn_gen *g, const float *logits, int32_t id, wn_err *e) {
  bool stopped = false;
  int rc = wn_gen_append(g, id, e);
  if (rc != WN_OK) return rc;
  wn_batch_lock(g);
  if (wn_gen_logs_wanted(g)) rc = wn_gen_log(g, logits, id, e);
  if (rc == WN_OK) rc = show(g, id, &stopped, e);
  if (rc == WN_OK) tell(g);
  wn_batch_unlock(g);
  g->will_end = ends(g, stopped);
  return rc;
}

/* Text that a grammar leaves no choice about: its tokens are taken without
 * logits, and all fed in the next step. */
static int add_forced(wn_gen *g, wn_err *e) {
  int32_t ids[MAX_FORCED];
  uint32_t n = 0;
  if (g->o.n_draft > 0) return WN_OK;      /* guesses cover them too */
  if (wn_gen_logs_wanted(g)) return WN_OK; /* they come of logits */
  if (!g->has_sampler && !wn_sampler_begin(g->sampler))
    return wn_fail(e, WN_EBUSY, "generate: the sampler is busy");
  int rc = wn_sampler_forced(g->sampler, ids, MAX_FORCED, &n, e);
  for (uint32_t i = 0; i < n && rc == WN_OK; i++) {
    if (g->will_end != WN_GEN_RUNNING) break;
    rc = wn_sampler_take(g->sampler, ids[i], e);
    if (rc == WN_OK) rc = add_token(g, NULL, ids[i], e);
  }
  if (rc == WN_OK && g->will_end == WN_GEN_RUNNING &&
      wn_sampler_complete(g->sampler))
    g->will_end = WN_GEN_EOG;
  if (!g->has_sampler) wn_sampler_end(g->sampler);
  return rc;
}

int wn_gen_took(wn_gen *g, const float *logits, int32_t id, bool complete,
                wn_err *e) {
  if (g->vocab != NULL && wn_vocab_is_eog(g->vocab, id)) {
    g->will_end = WN_GEN_EOG;
    return WN_OK;
  }
  int rc = add_token(g, logits, id, e);
  if (rc != WN_OK || g->will_end != WN_GEN_RUNNING) return rc;
  if (complete) g->will_end = WN_GEN_EOG;
  return complete ? WN_OK : add_forced(g, e);
}

int wn_gen_choose(wn_gen *g, const float *logits, int32_t *id, wn_err *e) {
  bool complete = false;
  if (wn_sampler_has_host(g->sampler)) return wn_gen_ask(g, logits, e);
  int rc = choose(g, logits, id, &complete, e);
  return rc == WN_OK ? wn_gen_took(g, logits, *id, complete, e) : rc;
}
