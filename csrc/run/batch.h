/* batch.h - many generations, one step.
 *
 * A context has one batch. Each of its steps packs the next token of every
 * generation that runs, then pieces of the prompts that wait, into one step
 * of the context, and hands each generation its rows. A generation comes in
 * through any of four faces:
 *
 *   wn_gen_pull    its owner's thread works: one token, or for so long
 *   wn_batch_step  a host's thread works for everybody (a server's loop)
 *   wn_gen_start   a thread of the batch works (jobs: job.h)
 *   wn_gen_free    it leaves
 *
 * A pulled generation takes others along whose owners wait for their next
 * token too: two loops that take turns share their steps. Nobody gets more
 * than one token ahead of its owner that way, and one that is never pulled
 * costs nothing.
 *
 * Sequences. A generation that continues sequence s holds s while it runs; a
 * later one on the same sequence takes it away from one that is merely pulled
 * (which fails with WN_EBUSY when pulled again) and is refused while a
 * started one has it. One without a sequence (WN_GEN_ANY) waits until one is
 * free. It takes the one that holds the longest beginning of its prompt: cut
 * back, or copied when somebody else needs it or when most of it would be
 * lost. Ended ones leave their tokens there; the least recently used goes
 * first.
 *
 * Who works on the batch is inside the context (wn_ctx_begin). The thread of
 * the batch stays inside as long as a started generation runs; those pulled
 * meanwhile wait for its steps. */
#ifndef WN_RUN_BATCH_H
#define WN_RUN_BATCH_H

#include "run/gen.h"

typedef struct wn_batch wn_batch;

typedef struct wn_budget {
  double seconds;  /* 0: one step, whatever it takes */
  uint32_t tokens; /* most tokens of a step; 0: the context's n_batch */
} wn_budget;

/* The context's batch, made when it is first asked for. Not counted: it
 * lives as long as the context. */
int wn_batch_of(wn_ctx *c, wn_batch **out, wn_err *e);
void wn_batch_free(wn_batch *b); /* by the context; NULL is fine */
/* By the context, for whoever cuts a sequence: it is exactly what it holds
 * now, nothing that was shown is missing any more. NULL is fine. */
void wn_batch_forget(wn_batch *b, uint32_t seq);
/* Does a generation run in this sequence? */
bool wn_batch_runs_at(const wn_batch *b, uint32_t seq);

/* Works until g has a new token, a piece of its prompt is done, or it has
 * ended; with `seconds`, until those are over or it has ended, and may leave
 * in the middle of anything. WN_EBUSY: somebody else is inside the context,
 * or no sequence can become free. After a failure: the same failure. */
int wn_gen_pull(wn_gen *g, const wn_budget *o, wn_err *e);

/* For everybody's generations that were added. *n_live: those not ended. */
int wn_batch_add(wn_batch *b, wn_gen *g, wn_err *e);
int wn_batch_step(wn_batch *b, const wn_budget *o, uint32_t *n_live, wn_err *e);

/* Runs g in the thread of the batch. news(arg) is called there, under the
 * batch's lock, when there is text to take or g has ended. WN_EBUSY: the
 * context, the sampler or the sequence is in use. */
int wn_gen_start(wn_gen *g, void (*news)(void *arg), void *arg, wn_err *e);

/* Waits until no thread of any batch is left, at most so long; for hosts that
 * count what lives. True: none is. */
bool wn_batch_settle(double seconds);

/* The same for the thread of one batch. False: it still has work. */
bool wn_batch_idle(wn_batch *b, double seconds);

/* The lock that news() runs under. */
void wn_batch_lock(wn_gen *g);
void wn_batch_unlock(wn_gen *g);

#endif
