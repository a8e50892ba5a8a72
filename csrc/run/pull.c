/* pull.c - owners that come for what was made, and work for it themselves
 * where no thread does. */
#include <time.h>

#include "run/gen_in.h"

/* The budget as a worker's shift that begins now. */
static wn_shift shift_of(const wn_budget *o) {
  wn_shift how = {.tokens = o->tokens, .at_once = true};
  if (o->seconds > 0) {
    how.until = wn_now() + o->seconds;
    how.seconds = o->seconds / 4; /* a stage that ends late is little late */
  }
  return how;
}

static bool wait_news(wn_batch *b, double until) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  double s = until == 0 ? 1 : until - wn_now();
  if (s <= 0) return false;
  int64_t ns = t.tv_nsec + (int64_t)(s * 1e9);
  t.tv_sec += (time_t)(ns / 1000000000);
  t.tv_nsec = (long)(ns % 1000000000);
  pthread_cond_timedwait(&b->news, &b->lock, &t);
  return true;
}

bool wn_batch_idle(wn_batch *b, double seconds) {
  double until = wn_now() + seconds;
  pthread_mutex_lock(&b->lock);
  while (wn_batch_is_driven(b) && wait_news(b, until)) {
  }
  bool idle = !wn_batch_is_driven(b);
  pthread_mutex_unlock(&b->lock);
  return idle;
}

/* Waits for the thread of the batch. False: it is not there (any more). */
static bool wait_driven(wn_gen *g, double until) {
  wn_batch *b = g->b;
  wn_batch_lock(g);
  bool driven = wn_batch_is_driven(b);
  while (wn_batch_is_driven(b) && g->end == WN_GEN_RUNNING &&
         (g->lead == 0 || until != 0) && wait_news(b, until)) {
  }
  bool satisfied = g->end != WN_GEN_RUNNING || g->lead > 0 || until != 0;
  driven = driven && (satisfied || wn_batch_is_driven(b));
  wn_batch_unlock(g);
  return driven;
}

/* Has the pull what it wanted? */
static bool is_served(wn_gen *g, double until) {
  wn_batch_lock(g);
  bool ended = g->end != WN_GEN_RUNNING;
  bool some = g->lead > 0 && g->phase != WN_PHASE_CLOSING;
  wn_batch_unlock(g);
  return ended || (until == 0 ? some : wn_now() >= until);
}

/* Works inside the context until g is served. */
static int work_for(wn_gen *g, const wn_budget *o, wn_err *e) {
  wn_shift how = shift_of(o);
  int rc = WN_OK;
  while (!is_served(g, how.until)) {
    if (wn_batch_work(g->b, &how)) continue;
    if (is_served(g, how.until) || !how.at_once) break;
    rc = wn_fail(e, WN_EBUSY, "generate: all %u sequences are busy",
                 wn_ctx_n_seq(g->ctx));
    break;
  }
  return rc;
}

/* Notes that the owner came. *there: what it came for is made already. */
static int come(wn_gen *g, const wn_budget *o, bool *there, wn_err *e) {
  wn_batch_lock(g);
  if (g->end == WN_GEN_RUNNING && wn_batch_is_taken(g->b, g)) {
    wn_batch_unlock(g);
    return wn_fail(e, WN_EBUSY, "generate: sequence %u is busy", g->o.seq + 1);
  }
  wn_batch_join(g->b, g);
  *there = g->end != WN_GEN_RUNNING || (g->lead > 0 && o->seconds <= 0);
  g->wanted = true;
  g->lead = 0;
  wn_batch_unlock(g);
  return WN_OK;
}

int wn_gen_pull(wn_gen *g, const wn_budget *o, wn_err *e) {
  double until = o->seconds > 0 ? wn_now() + o->seconds : 0;
  bool there = false;
  int rc = come(g, o, &there, e);
  if (rc != WN_OK) return rc;
  if (there || wait_driven(g, until)) return wn_gen_error(g, e);
  if (!wn_ctx_begin(g->ctx))
    return wn_fail(e, WN_EBUSY, "generate: the context is busy");
  rc = work_for(g, o, e);
  wn_ctx_end(g->ctx);
  if (rc == WN_OK) rc = wn_gen_error(g, e);
  wn_batch_lock(g);
  g->lead = 0; /* it takes what there is */
  wn_batch_unlock(g);
  return rc;
}

int wn_batch_add(wn_batch *b, wn_gen *g, wn_err *e) {
  (void)e;
  pthread_mutex_lock(&b->lock);
  wn_batch_join(b, g);
  pthread_mutex_unlock(&b->lock);
  return WN_OK;
}

static uint32_t count_live(const wn_batch *b) {
  uint32_t n = 0;
  for (const wn_gen *g = b->gens; g != NULL; g = g->next)
    n += g->phase != WN_PHASE_ENDED;
  return n;
}

int wn_batch_step(wn_batch *b, const wn_budget *o, uint32_t *n_live,
                  wn_err *e) {
  if (!wn_ctx_begin(b->ctx))
    return wn_fail(e, WN_EBUSY, "batch: the context is busy");
  wn_shift how = shift_of(o);
  b->everybody = true;
  while (wn_batch_work(b, &how) && how.until != 0 && wn_now() < how.until) {
  }
  b->everybody = false;
  *n_live = count_live(b);
  wn_ctx_end(b->ctx);
  return WN_OK;
}
