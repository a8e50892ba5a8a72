/* gen_in.h - what the files of a batch and its generations know of each other.
 *
 * Three kinds of fields, by who touches them:
 *   fixed     after wn_gen_new;
 *   worker's  only by the thread that is inside the context;
 *   shown     under the batch's lock, by anybody. */
#ifndef WN_RUN_GEN_IN_H
#define WN_RUN_GEN_IN_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "run/batch.h"
#include "run/pieces.h"

typedef enum wn_phase {
  WN_PHASE_NEW,     /* has no sequence yet */
  WN_PHASE_RUNNING, /* tokens of `all` are fed; behind the last one is chosen */
  WN_PHASE_CLOSING, /* ended; the last tokens are still fed, so that the
                       sequence holds all of the text */
  WN_PHASE_ENDED
} wn_phase;

/* Log probabilities: entries of 1 + n_top each. */
typedef struct wn_logs {
  wn_logprob *p;
  size_t n, cap; /* entries */
} wn_logs;

/* Of a choice that stages of the host take part in. */
typedef enum wn_ask {
  WN_ASK_NOTHING,
  WN_ASKED,   /* the sampler has logits: the owner's turn */
  WN_ANSWERED /* a token, or why there is none: the worker's turn */
} wn_ask;

struct wn_gen {
  /* fixed */
  wn_ctx *ctx; /* the owner's reference */
  wn_batch *b;
  wn_sampler *sampler;
  const wn_vocab *vocab;
  wn_gen_opts o;
  float *gains; /* its own factors, or NULL */
  pid_t pid;
  atomic_bool cancel; /* the owner's wish */
  /* worker's */
  wn_phase phase;
  uint32_t seq;
  int32_t *all; /* the sequence's text: before, prompt, generated */
  size_t n_all, cap_all;
  size_t n_before;     /* tokens of `all` before the prompt */
  size_t n_given;      /* tokens of `all` that were not generated */
  wn_gen_end will_end; /* when closed */
  wn_pieces pieces;
  double began; /* the prompt, then the first token; 0: not yet */
  bool has_sampler;
  /* guesses a step, as far as they have been right lately; how many steps to
   * make without before the next try */
  uint32_t n_guess, n_rest;
  float *asked_logits; /* of the choice in hand, where they are wanted */
  /* shown */
  wn_gen *next;
  bool joined;     /* is in the batch's list, or on its way there */
  bool background; /* the thread of the batch runs it */
  bool wanted;     /* its owner waits, or has waited for what it got last */
  uint32_t lead;   /* pieces or tokens made since the owner last came */
  bool closed;     /* the owner is gone */
  wn_bytes taken;  /* what the owner holds; pieces.ready is under the lock */
  int32_t *ids;
  size_t n_ids, cap_ids;
  wn_logs logs, echoed; /* of ids; of the prompt */
  wn_ask ask;
  int32_t answer;
  bool answer_complete;
  wn_err answer_err;
  wn_gen_stats stats;
  wn_gen_end end;
  wn_err err;
  void (*news)(void *arg);
  void *news_arg;
};

/* A generation's part of the step in hand. */
typedef struct wn_portion {
  wn_gen *g;          /* NULL: it left */
  uint32_t seq, pos;  /* where its tokens go */
  uint32_t n;         /* tokens of the step */
  uint32_t n_rows;    /* rows of the result */
  uint32_t n_echo;    /* of them first: rows before tokens of the prompt */
  uint32_t echo_at;   /* the first of those tokens, in `all` */
  bool is_prompt;     /* counts as time of the prompt */
  uint32_t draft_off; /* guessed tokens among the step's: where they begin */
  uint32_t n_draft;
} wn_portion;

/* What the batch knows of a sequence. */
typedef struct wn_seat {
  wn_gen *g;     /* who runs there, or NULL; written under the lock */
  uint64_t used; /* when somebody last ran there; 0: nobody did */
  /* Tokens that were shown but not evaluated when the last one left; they
   * come first when the sequence is continued from `owed_at` tokens. */
  int32_t *owed;
  uint32_t n_owed, owed_at;
} wn_seat;

struct wn_batch {
  wn_ctx *ctx; /* not counted: it owns this */
  pthread_mutex_t lock;
  pthread_cond_t news;
  /* worker's */
  wn_gen *gens; /* in the order in which they came */
  wn_seat *seats;
  uint64_t clock;
  uint32_t turn; /* who is asked first, when not all fit in a step */
  int32_t *tokens;
  uint32_t *seqs;
  uint8_t *want;
  uint32_t n_step; /* tokens of the step in hand */
  wn_portion *shares;
  uint32_t n_shares;
  double step_seconds; /* spent in the step in hand */
  bool everybody;      /* wn_batch_step: all join */
  /* shown */
  wn_gen *incoming;
  bool driven;       /* the thread is inside the context */
  pid_t driver;      /* the process that has it */
  atomic_bool hurry; /* the thread must look around */
};

/* gen.c */
void wn_gen_destroy(wn_gen *g); /* nothing refers to it any more */
int wn_gen_append(wn_gen *g, int32_t id, wn_err *e); /* to `all` */
/* Chooses a token from logits and takes it in: text, ids, and `will_end`.
 * *id: it. */
int wn_gen_choose(wn_gen *g, const float *logits, int32_t *id, wn_err *e);
/* Takes in a token that was chosen from logits (NULL: they are not wanted).
 * *complete*: the grammar has ended with it. */
int wn_gen_took(wn_gen *g, const float *logits, int32_t id, bool complete,
                wn_err *e);
/* Acts on `will_end`: ends it, or has its last tokens evaluated first. */
void wn_gen_close_down(wn_gen *g);
/* Ends it; publishes. `e` for WN_GEN_FAILED and WN_GEN_CANCELLED. */
void wn_gen_finish(wn_gen *g, wn_gen_end end, const wn_err *e);

/* gen_logs.c */
static inline bool wn_gen_logs_wanted(const wn_gen *g) {
  return g->o.n_logprobs >= 0;
}
/* One more entry for the tokens made. Under the lock. */
int wn_gen_log(wn_gen *g, const float *logits, int32_t id, wn_err *e);
/* The entry for token `at` of `all`, from the row before it; logits == NULL:
 * only those before it, as far as there are none. */
int wn_gen_echo(wn_gen *g, const float *logits, size_t at, wn_err *e);

/* gen_host.c */
/* A choice from logits begins; the owner's stages decide. */
int wn_gen_ask(wn_gen *g, const float *logits, wn_err *e);
/* Takes in what was decided, if anything was. */
void wn_gen_absorb(wn_gen *g);

/* place.c */
/* Gives g a sequence. *wait: none is free now. */
int wn_place(wn_batch *b, wn_gen *g, bool *wait, wn_err *e);
/* g leaves its sequence, which keeps what it holds. */
void wn_unplace(wn_batch *b, wn_gen *g);

/* batch.c */
/* How a worker works. */
typedef struct wn_shift {
  double until;             /* when to be back; 0: no matter */
  double seconds;           /* no stage should take longer; 0: no matter */
  uint32_t tokens;          /* most tokens of a step; 0: n_batch */
  const atomic_bool *hurry; /* leave now; or NULL */
  bool at_once;             /* nothing was done yet: do something anyway */
} wn_shift;
/* Takes in who came and lets go who left, then one stretch of a step, to its
 * end if time allows. False: there was nothing to do, or no time for it. What
 * fails is a generation, not this. */
bool wn_batch_work(wn_batch *b, wn_shift *how);
/* Puts g into the list, if it is not there. Under the lock. */
void wn_batch_join(wn_batch *b, wn_gen *g);
/* Does the thread of the batch work on it, in this process? Under the lock. */
bool wn_batch_is_driven(const wn_batch *b);
/* Is g's sequence, which it has not got yet, a started one's? Under the
 * lock. */
bool wn_batch_is_taken(const wn_batch *b, const wn_gen *g);
/* Lets go who left, when nobody is inside. */
void wn_batch_sweep(wn_batch *b);

/* shares.c */
/* Gives sequences to those that wait for one and would join the next step. */
void wn_shares_place(wn_batch *b);
/* The next step's tokens, by budget: what runs, then pieces of prompts. */
void wn_shares_compose(wn_batch *b, const wn_shift *how);
/* The step is done: everybody gets the rows that are theirs. */
void wn_shares_settle(wn_batch *b);
/* The step failed, and everybody in it. */
void wn_shares_fail(wn_batch *b, const wn_err *e);

/* Most tokens guessed ahead. */
#define WN_MAX_DRAFT 64

/* draft.c: guesses at most cap tokens that follow; returns how many. What
 * came of them: `right` of n. */
uint32_t wn_draft(wn_gen *g, int32_t *out, uint32_t cap);
void wn_draft_note(wn_gen *g, uint32_t n, uint32_t right);

#endif
