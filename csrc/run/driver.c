/* driver.c - the thread of a batch (batch.h): started generations.
 *
 * It starts with the first one and ends when none is left. It is inside the
 * context all the time and holds a reference on it, so an owner that drops
 * everything waits for nothing: the thread notices at the next stage, frees
 * what is left and ends by itself. It is detached; wn_batch_settle waits for
 * the number of such threads to be zero. */
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "run/gen_in.h"
#include "run/low.h"

static atomic_int n_threads;

/* How long to look away when all wait for others' sequences. */
#define IDLE_SECONDS 0.02

/* Is there a started one that has not ended? Under the lock. */
static bool has_work(const wn_batch *b) {
  for (const wn_gen *g = b->gens; g != NULL; g = g->next)
    if (g->background && g->end == WN_GEN_RUNNING) return true;
  for (const wn_gen *g = b->incoming; g != NULL; g = g->next)
    if (g->background || g->closed) return true;
  return false;
}

static void nap(void) {
  struct timespec t = {0, (long)(IDLE_SECONDS * 1e9)};
  (void)nanosleep(&t, NULL);
}

/* Lets go who left, and everything else, if nothing is to be done. */
static bool leave(wn_batch *b) {
  pthread_mutex_lock(&b->lock);
  bool stay = has_work(b);
  for (const wn_gen *g = b->gens; g != NULL && !stay; g = g->next)
    stay = g->closed;
  if (!stay) {
    b->driven = false;
    wn_ctx_set_low(b->ctx, false);
    wn_ctx_end(b->ctx);
    pthread_cond_broadcast(&b->news);
  }
  pthread_mutex_unlock(&b->lock);
  return !stay;
}

static void *drive(void *arg) {
  wn_batch *b = arg;
  wn_ctx *ctx = b->ctx;
  wn_low_this_thread();
  do {
    wn_shift how = {.hurry = &b->hurry, .at_once = true};
    atomic_store(&b->hurry, false);
    if (wn_batch_work(b, &how)) continue;
    pthread_mutex_lock(&b->lock);
    bool idle = has_work(b);
    pthread_mutex_unlock(&b->lock);
    if (idle && !atomic_load(&b->hurry)) nap();
  } while (!leave(b));
  wn_ctx_unref(ctx);
  atomic_fetch_sub(&n_threads, 1);
  return NULL;
}

static int start_thread(wn_batch *b, wn_err *e) {
  atomic_fetch_add(&n_threads, 1);
  wn_ctx_ref(b->ctx);
  int sys = wn_thread_start(NULL, drive, b);
  if (sys == 0) return WN_OK;
  atomic_fetch_sub(&n_threads, 1);
  wn_ctx_unref(b->ctx);
  return wn_fail_sys(e, sys, "job: cannot start a thread");
}

/* Joins the others that the thread works on. */
static int join_driven(wn_gen *g, wn_err *e) {
  wn_batch *b = g->b;
  if (wn_batch_is_taken(b, g))
    return wn_fail(e, WN_EBUSY, "job: sequence %u is busy", g->o.seq + 1);
  wn_batch_join(b, g);
  return WN_OK;
}

/* Inside the context: becomes the thread's, which is started. */
static int begin_driving(wn_gen *g, wn_err *e) {
  wn_batch *b = g->b;
  bool wait;
  wn_ctx_drop(b->ctx); /* one that was left half way begins anew */
  b->n_shares = 0;
  int rc = wn_place(b, g, &wait, e);
  if (rc != WN_OK) {
    wn_unplace(b, g);
    return rc;
  }
  pthread_mutex_lock(&b->lock);
  wn_batch_join(b, g);
  b->driven = true;
  b->driver = getpid();
  wn_ctx_set_low(b->ctx, true);
  rc = start_thread(b, e);
  if (rc != WN_OK) b->driven = false;
  pthread_mutex_unlock(&b->lock);
  if (rc != WN_OK) wn_ctx_set_low(b->ctx, false);
  return rc;
}

static int start(wn_gen *g, wn_err *e) {
  wn_batch *b = g->b;
  for (int tries = 0; tries < 2; tries++) {
    if (wn_ctx_begin(b->ctx)) {
      int rc = begin_driving(g, e);
      if (rc != WN_OK) wn_ctx_end(b->ctx);
      return rc;
    }
    pthread_mutex_lock(&b->lock);
    bool driven = wn_batch_is_driven(b);
    int rc = driven ? join_driven(g, e) : WN_OK;
    atomic_store(&b->hurry, true);
    pthread_mutex_unlock(&b->lock);
    if (driven) return rc;
  }
  return wn_fail(e, WN_EBUSY, "job: the context is busy");
}

int wn_gen_start(wn_gen *g, void (*news)(void *arg), void *arg, wn_err *e) {
  if (wn_sampler_has_host(g->sampler))
    return wn_fail(e, WN_EARG,
                   "job: a stage of the sampler is a Lua function, which only "
                   "a pulled generation can run");
  if (!wn_sampler_begin(g->sampler))
    return wn_fail(e, WN_EBUSY, "job: the sampler is busy");
  g->has_sampler = true;
  g->background = true;
  g->news = news;
  g->news_arg = arg;
  int rc = start(g, e);
  if (rc == WN_OK) return rc;
  g->news = NULL;
  return rc;
}

bool wn_batch_settle(double seconds) {
  struct timespec t = {0, 200000};
  double until = wn_now() + seconds;
  while (atomic_load(&n_threads) != 0 && wn_now() < until)
    (void)nanosleep(&t, NULL);
  return atomic_load(&n_threads) == 0;
}
