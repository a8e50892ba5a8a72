/* gen.h - the generation loop as a machine of short steps.
 *
 * A wn_gen feeds a prompt to one sequence of a context in batches, then
 * chooses, appends and evaluates one token a step, until an end-of-generation
 * token, a stop string, the token budget or the end of the context. Text
 * comes out in whole UTF-8 characters; text that may be the start of a stop
 * string is held back until that is decided. Used by the Lua iterator (step
 * by step) and by background jobs (job.h). */
#ifndef WN_RUN_GEN_H
#define WN_RUN_GEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "run/ctx.h"
#include "run/sample.h"

typedef struct wn_gen wn_gen;

typedef enum wn_gen_end {
  WN_GEN_RUNNING,
  WN_GEN_EOG,     /* the model ended its text */
  WN_GEN_STOP,    /* a stop string appeared (it is not part of the text) */
  WN_GEN_LENGTH,  /* max_tokens reached */
  WN_GEN_CONTEXT, /* no room left in the sequence */
} wn_gen_end;

typedef struct wn_gen_opts {
  uint32_t seq;        /* the sequence to continue */
  uint32_t max_tokens; /* 0: as many as fit */
  bool special;        /* control tokens appear as text */
  const wn_str *stop;  /* stop strings; copied */
  size_t n_stop;
} wn_gen_opts;

/* The prompt's ids (at least one) are appended to what the sequence holds.
 * Takes references on ctx and sampler. WN_EARG: prompt does not fit. */
int wn_gen_new(wn_ctx *ctx, wn_sampler *sampler, const int32_t *prompt,
               size_t n, const wn_gen_opts *o, wn_gen **out, wn_err *e);
void wn_gen_free(wn_gen *g);

/* Claims the context and the sampler for this caller, as wn_gen_step wants
 * it; false when somebody else has one of them. */
bool wn_gen_enter(wn_gen *g);
void wn_gen_leave(wn_gen *g);

/* One batch of the prompt or one token. WN_OK also when it has ended. After
 * an error the loop has ended. */
int wn_gen_step(wn_gen *g, wn_err *e);
wn_gen_end wn_gen_ended(const wn_gen *g);
const char *wn_gen_end_name(wn_gen_end end); /* "eog", "stop", ... */

/* Text that is ready: *text points into the generator until the next call. */
size_t wn_gen_take(wn_gen *g, const char **text);

typedef struct wn_gen_stats {
  uint32_t n_prompt, n_prompt_done; /* prompt tokens in all, evaluated */
  uint32_t n_tokens;                /* tokens generated */
  double prompt_seconds, token_seconds;
} wn_gen_stats;
void wn_gen_get_stats(const wn_gen *g, wn_gen_stats *s);

/* The ids generated so far (an end token is not among them). */
const int32_t *wn_gen_ids(const wn_gen *g, size_t *n);

#endif
