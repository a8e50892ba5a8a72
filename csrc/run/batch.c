/* batch.c - see batch.h: who is there, and a stretch of a step. What is in a
 * step and who gets what of it is shares.c, how an owner has it worked for it
 * pull.c. */
#include "run/batch.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "run/gen_in.h"

/* ---- life */

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static int fill(wn_batch *b, wn_err *e) {
  size_t n = wn_ctx_n_batch(b->ctx), n_seq = wn_ctx_n_seq(b->ctx);
  b->tokens = wn_calloc(WN_MEM_RUN, n, sizeof *b->tokens);
  b->seqs = wn_calloc(WN_MEM_RUN, n, sizeof *b->seqs);
  b->want = wn_calloc(WN_MEM_RUN, n, sizeof *b->want);
  b->shares = wn_calloc(WN_MEM_RUN, n_seq, sizeof *b->shares);
  b->seats = wn_calloc(WN_MEM_RUN, n_seq, sizeof *b->seats);
  if (b->tokens && b->seqs && b->want && b->shares && b->seats) return WN_OK;
  return wn_fail(e, WN_ENOMEM, "generate: out of memory");
}

static int make(wn_ctx *c, wn_batch **out, wn_err *e) {
  wn_batch *b = wn_calloc(WN_MEM_RUN, 1, sizeof *b);
  if (b == NULL) return wn_fail(e, WN_ENOMEM, "generate: out of memory");
  b->ctx = c;
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->news, NULL);
  int rc = fill(b, e);
  if (rc == WN_OK)
    *out = b;
  else
    wn_batch_free(b);
  return rc;
}

int wn_batch_of(wn_ctx *c, wn_batch **out, wn_err *e) {
  int rc = WN_OK;
  pthread_mutex_lock(&making);
  *out = wn_ctx_batch(c);
  if (*out == NULL) {
    rc = make(c, out, e);
    if (rc == WN_OK) wn_ctx_set_batch(c, *out);
  }
  pthread_mutex_unlock(&making);
  return rc;
}

static void destroy_list(wn_gen *g) {
  while (g != NULL) {
    wn_gen *next = g->next;
    wn_gen_destroy(g);
    g = next;
  }
}

void wn_batch_free(wn_batch *b) {
  if (b == NULL) return;
  /* their owners are gone: an owner holds the context */
  destroy_list(b->gens);
  destroy_list(b->incoming);
  for (uint32_t i = 0; b->seats != NULL && i < wn_ctx_n_seq(b->ctx); i++)
    wn_free(b->seats[i].owed);
  wn_free(b->seats);
  wn_free(b->shares);
  wn_free(b->tokens);
  wn_free(b->seqs);
  wn_free(b->want);
  pthread_cond_destroy(&b->news);
  pthread_mutex_destroy(&b->lock);
  wn_free(b);
}

/* ---- who is there */

void wn_batch_join(wn_batch *b, wn_gen *g) {
  if (g->joined) return;
  wn_gen **at = &b->incoming;
  while (*at != NULL)
    at = &(*at)->next;
  g->next = NULL;
  *at = g;
  g->joined = true;
}

bool wn_batch_is_driven(const wn_batch *b) {
  return b->driven && b->driver == getpid();
}

bool wn_batch_is_taken(const wn_batch *b, const wn_gen *g) {
  if (g->o.seq == WN_GEN_ANY) return false;
  const wn_gen *other = b->seats[g->o.seq].g;
  return other != NULL && other != g && other->background &&
         other->end == WN_GEN_RUNNING && !atomic_load(&other->cancel);
}

static void take_in(wn_batch *b) {
  wn_gen **at = &b->gens;
  while (*at != NULL)
    at = &(*at)->next;
  pthread_mutex_lock(&b->lock);
  *at = b->incoming;
  b->incoming = NULL;
  pthread_mutex_unlock(&b->lock);
}

/* Over for this time limit? The prompt's, then the tokens'. */
static bool is_late(const wn_gen *g, double now) {
  double most =
      g->n_ids == 0 ? g->o.max_prompt_seconds : g->o.max_token_seconds;
  return g->phase != WN_PHASE_NEW && most > 0 && now - g->began >= most;
}

static void look_at(wn_gen *g, double now) {
  wn_err e;
  if (g->phase == WN_PHASE_ENDED) return;
  if (atomic_load(&g->cancel)) {
    wn_fail(&e, WN_ECANCEL, "generate: cancelled");
    wn_gen_finish(g, WN_GEN_CANCELLED, &e);
  } else if (is_late(g, now)) {
    wn_gen_finish(g, WN_GEN_TIME, NULL);
  }
}

/* The step in hand goes on without g; without anybody it is dropped. */
static void leave_step(wn_batch *b, const wn_gen *g) {
  for (uint32_t i = 0; i < b->n_shares; i++)
    if (b->shares[i].g == g) b->shares[i].g = NULL;
}

static void drop_dead_step(wn_batch *b) {
  bool alive = false;
  for (uint32_t i = 0; i < b->n_shares; i++)
    alive |= b->shares[i].g != NULL && b->shares[i].g->phase != WN_PHASE_ENDED;
  if (alive) return;
  wn_ctx_drop(b->ctx);
  b->n_shares = 0;
}

/* Takes in who came, ends who must end, lets go who left. */
static void tidy(wn_batch *b) {
  double now = wn_now();
  take_in(b);
  for (wn_gen **at = &b->gens; *at != NULL;) {
    wn_gen *g = *at;
    /* asked first: who is closed was cancelled before, so look_at ends it and
     * frees its seat; closed a moment later, it goes the next time */
    pthread_mutex_lock(&b->lock);
    bool gone = g->closed;
    pthread_mutex_unlock(&b->lock);
    look_at(g, now);
    wn_gen_absorb(g);
    if (!gone) {
      at = &g->next;
      continue;
    }
    leave_step(b, g);
    *at = g->next;
    wn_gen_destroy(g);
  }
  drop_dead_step(b);
}

void wn_batch_sweep(wn_batch *b) {
  if (!wn_ctx_begin(b->ctx)) return; /* who is inside does it */
  tidy(b);
  wn_ctx_end(b->ctx);
}

/* ---- work */

/* The earliest time limit of those in the step. */
static double limit(const wn_batch *b, double until) {
  for (uint32_t i = 0; i < b->n_shares; i++) {
    const wn_gen *g = b->shares[i].g;
    if (g == NULL) continue;
    double most =
        g->n_ids == 0 ? g->o.max_prompt_seconds : g->o.max_token_seconds;
    if (most > 0 && (until == 0 || g->began + most < until))
      until = g->began + most;
  }
  return until;
}

/* Something to go on with? Makes a step up when none is in hand. */
static bool have_step(wn_batch *b, const wn_shift *how) {
  wn_err e;
  if (b->n_shares != 0 && wn_ctx_pending(b->ctx)) return true;
  wn_shares_place(b);
  wn_shares_compose(b, how);
  if (b->n_shares == 0) return false;
  if (wn_ctx_start(b->ctx, b->tokens, b->seqs, b->want, b->n_step, &e) == WN_OK)
    return true;
  wn_shares_fail(b, &e);
  return false;
}

bool wn_batch_work(wn_batch *b, wn_shift *how) {
  wn_err e;
  bool done;
  tidy(b);
  if (!have_step(b, how)) return false;
  double until = limit(b, how->until), t0 = wn_now();
  if (!how->at_once && !wn_ctx_fits(b->ctx, until)) return false;
  how->at_once = false;
  int rc = wn_ctx_go(b->ctx, until, how->hurry, &done, &e);
  b->step_seconds += wn_now() - t0;
  if (rc != WN_OK)
    wn_shares_fail(b, &e);
  else if (done)
    wn_shares_settle(b);
  return true;
}
