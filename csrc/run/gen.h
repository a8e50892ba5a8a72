/* gen.h - a generation: a prompt, a sampler, and the text that comes of them.
 *
 * A wn_gen is text (ids, whole characters, stop strings) over one sequence of
 * a context. It runs in the steps of that context's batch (batch.h), alone or
 * with others; its claim is on rows of those steps, never on "the last step",
 * and what it makes does not depend on who shares them.
 *
 * Its owner makes it, pulls or starts it (batch.h), takes text and frees it.
 * The thread that works on the batch may be another one: what the owner reads
 * is kept under the batch's lock. */
#ifndef WN_RUN_GEN_H
#define WN_RUN_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "run/ctx.h"
#include "run/logprob.h"
#include "run/sample.h"

typedef struct wn_gen wn_gen;

typedef enum wn_gen_end {
  WN_GEN_RUNNING,
  WN_GEN_EOG,       /* the model ended its text */
  WN_GEN_STOP,      /* a stop string appeared (it is not part of the text) */
  WN_GEN_LENGTH,    /* max_tokens reached */
  WN_GEN_CONTEXT,   /* no room left in the sequence */
  WN_GEN_TIME,      /* max_prompt_seconds or max_token_seconds are over */
  WN_GEN_CANCELLED, /* by its owner */
  WN_GEN_FAILED,
  WN_GEN_N_ENDS
} wn_gen_end;

/* No sequence in particular: the prompt is the whole text, the batch finds a
 * sequence and takes over what is held of it. */
#define WN_GEN_ANY UINT32_MAX

typedef struct wn_gen_opts {
  uint32_t seq;        /* the sequence to continue, or WN_GEN_ANY */
  uint32_t max_tokens; /* 0: the prompt is evaluated, and that is all */
  bool special;        /* control tokens appear as text */
  bool raw;            /* text is bytes, not always UTF-8 */
  const wn_str *stop;  /* stop strings; copied */
  size_t n_stop;
  double max_prompt_seconds, max_token_seconds; /* 0: no limit */
  /* A full sequence forgets: the first `keep` tokens and the later half of
   * the rest are kept and evaluated anew, the text goes on. */
  bool shift;
  uint32_t keep;
  /* Stretches of at least so many tokens behind a change in what a sequence
   * holds are moved to where the prompt has them, if the model's positions can
   * be turned (run/move.h): near to what evaluating gives, not the same.
   * 0: never. */
  uint32_t n_shift;
  /* Speculation: so many tokens are guessed ahead, from what the text held
   * before, or by a smaller model of the same vocabulary (counted; may be
   * NULL). The text is the same. */
  uint32_t n_draft;
  wn_ctx *draft;
  /* Log probabilities of what is made, with so many of the most probable ones
   * (at most the vocabulary); < 0: none. With echo, of the prompt too: then
   * nothing of it is taken over, and its rows count as outputs. */
  int32_t n_logprobs;
  bool echo;
  const float *gains; /* factors of the sequence; NULL: the context's; copied */
} wn_gen_opts;

/* Takes references on ctx and sampler; copies the prompt, which may be empty
 * only for a sequence that holds something. The sampler hears of the tokens
 * before the prompt, the prompt and what is made. WN_EARG: an id out of
 * range, a prompt that can never fit, a model without logits. */
int wn_gen_new(wn_ctx *ctx, wn_sampler *sampler, const int32_t *prompt,
               size_t n, const wn_gen_opts *o, wn_gen **out, wn_err *e);

/* Ends it and forgets it. Never waits for a step in progress. */
void wn_gen_free(wn_gen *g);

/* Asks it to end as soon as possible, within a stage of the step in hand. */
void wn_gen_cancel(wn_gen *g);

wn_ctx *wn_gen_ctx(const wn_gen *g);
wn_gen_end wn_gen_ended(wn_gen *g);
const char *wn_gen_end_name(wn_gen_end end); /* "eog", "stop", ... */
/* WN_OK, or why it failed (also WN_ECANCEL). */
int wn_gen_error(wn_gen *g, wn_err *e);

/* Text that is ready: *text points into the generator until the next call. */
size_t wn_gen_take(wn_gen *g, const char **text);

typedef struct wn_gen_stats {
  uint32_t n_prompt, n_prompt_done; /* prompt tokens in all, evaluated */
  uint32_t n_reused;                /* of them, taken over from the context */
  uint32_t n_tokens;                /* tokens generated */
  uint32_t n_drafted, n_accepted;   /* tokens guessed, and guessed right */
  uint32_t n_shifted;               /* tokens forgotten to make room */
  uint32_t seq;                     /* WN_GEN_ANY: it has none yet */
  double prompt_seconds, token_seconds;
} wn_gen_stats;
void wn_gen_get_stats(wn_gen *g, wn_gen_stats *s);

/* The ids generated from number `from` on (an end token is not among them):
 * at most cap of them to out; returns how many there are in all. */
size_t wn_gen_ids(wn_gen *g, size_t from, int32_t *out, size_t cap);

/* Log probabilities of the tokens made, or of the prompt's, from number `from`
 * on: at most cap entries of wn_gen_n_top + 1 to out, as logprob.h has them.
 * Returns how many entries there are in all. The value is NaN (and ids of
 * the others -1) for a first token, which no logits were for. */
size_t wn_gen_logs(wn_gen *g, bool prompt, size_t from, wn_logprob *out,
                   size_t cap);
uint32_t wn_gen_n_top(const wn_gen *g);
const wn_vocab *wn_gen_vocab(const wn_gen *g);

/* A sampler with stages of the host's: where the generation waits for one,
 * gives its place in *host, else -1. The stage's turn ends with the next call,
 * which runs the chain on, to another such stage or to the choice. What goes
 * wrong there ends the generation. WN_EBUSY: the sampler is in use. */
int wn_gen_resume(wn_gen *g, int *host, wn_err *e);

#endif
