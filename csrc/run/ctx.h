/* ctx.h - running a model: the state of one or more sequences, and steps.
 *
 * A wn_ctx holds its model, a KV cache with room for n_seq sequences of n_ctx
 * tokens each, and the arena the program was planned into: nothing is
 * allocated while it runs. One caller at a time (WN_EBUSY otherwise). */
#ifndef WN_RUN_CTX_H
#define WN_RUN_CTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "graph/plan.h"
#include "run/model.h"
#include "run/pace.h"

typedef struct wn_ctx wn_ctx;

typedef struct wn_ctx_opts {
  uint32_t n_ctx;     /* tokens per sequence; 0: what the model was made for */
  uint32_t n_seq;     /* sequences, at least 1 */
  uint32_t n_batch;   /* most tokens of one step (default 512) */
  uint32_t n_out;     /* most wanted rows of one step (0: a default that keeps
                         the logits below 64 MiB, at least n_seq) */
  int n_threads;      /* 0: wn_pool_default_threads() */
  int type_k, type_v; /* any type that state.c accepts (F16, Q8_0, ...) */
  uint32_t n_marks;   /* of each sequence: positions to return to, where the
                         model keeps rings or states (run/state.h) */
  uint64_t max_bytes; /* refuse to allocate more; 0: no limit */
  bool exact; /* for judging: float32 activations (graph/exact.c), slowly */
  wn_rounding rounding; /* and those rounded first; wants exact */
} wn_ctx_opts;

int wn_ctx_new(wn_model *m, const wn_ctx_opts *o, wn_ctx **out, wn_err *e);
wn_ctx *wn_ctx_ref(wn_ctx *c);
void wn_ctx_unref(wn_ctx *c);
wn_model *wn_ctx_model(const wn_ctx *c);
uint32_t wn_ctx_n_ctx(const wn_ctx *c);
uint32_t wn_ctx_n_batch(const wn_ctx *c);
uint32_t wn_ctx_n_seq(const wn_ctx *c);
uint32_t wn_ctx_n_out(const wn_ctx *c);
uint64_t wn_ctx_bytes(const wn_ctx *c); /* KV cache and buffers */
uint64_t wn_ctx_cache_bytes(const wn_ctx *c);
/* Barriers that the threads met at in the last step. */
uint32_t wn_ctx_regions(const wn_ctx *c);

/* What a context with these options would take, without allocating it. */
int wn_ctx_estimate(const wn_model *m, const wn_ctx_opts *o,
                    uint64_t *cache_bytes, uint64_t *buffer_bytes, wn_err *e);

/* The same for a model that is not loaded: a finished program, the types that
 * its weights would have, and the context the model was made for. */
int wn_ctx_foresee(const wn_prog *p, const int *types, uint32_t n_ctx,
                   const wn_ctx_opts *o, uint64_t *cache_bytes,
                   uint64_t *buffer_bytes, wn_err *e);

/* One step: n <= n_batch tokens, token i goes to the end of sequence seq[i]
 * (seq == NULL: all to sequence 0). want[i] asks for logits after token i
 * (want == NULL: only after the last). Tokens of one sequence must be in
 * order. A model whose attention is not causal takes each sequence whole, in
 * one step. WN_EARG: id out of range, sequence full; nothing has changed
 * then. WN_ECHANGED: the mapped file changed; every later step fails. */
int wn_ctx_step(wn_ctx *c, const int32_t *tokens, const uint32_t *seq,
                const uint8_t *want, size_t n, wn_err *e);

/* The same in parts. Start takes the tokens and changes nothing that lasts;
 * go works until the step is complete (*done; only then do the sequences hold
 * its tokens), until a stage is not expected to end before `until` (wn_now's
 * clock; 0: no limit) or until *hurry (may be NULL) is set: at least one
 * stage, at most to the end of the stage that was in hand. What changes a
 * sequence meanwhile, and another start, drop the step. */
int wn_ctx_start(wn_ctx *c, const int32_t *tokens, const uint32_t *seq,
                 const uint8_t *want, size_t n, wn_err *e);
int wn_ctx_go(wn_ctx *c, double until, const atomic_bool *hurry, bool *done,
              wn_err *e);
void wn_ctx_drop(wn_ctx *c);
/* Would the next stage of the step in hand end before `until`? */
bool wn_ctx_fits(wn_ctx *c, double until);
/* Is a step started and not complete? */
bool wn_ctx_pending(const wn_ctx *c);
const wn_pace *wn_ctx_pace(const wn_ctx *c);

/* Steps leave the processor to others from now on, where it is wanted:
 * background work. The calling thread itself is never touched. */
void wn_ctx_set_low(wn_ctx *c, bool low);

/* The tokens that a sequence holds: wn_ctx_n_past of them. */
const int32_t *wn_ctx_held(const wn_ctx *c, uint32_t seq);

/* The factors of a sequence (n_gains of the program; adapters), or, for
 * WN_NONE, those that a sequence has unless it is told otherwise: all 1 at
 * first. What a sequence holds already stays as it was made. `gains`: so many
 * float32, aligned or not. */
const float *wn_ctx_gains(const wn_ctx *c, uint32_t seq);
void wn_ctx_set_gains(wn_ctx *c, uint32_t seq, const void *gains);

/* For saved states: what is kept, and putting tokens back behind the state's
 * back. held_n: how many the sequence holds from now on. */
struct wn_state;
const struct wn_state *wn_ctx_state(const wn_ctx *c);
void wn_ctx_hold(wn_ctx *c, uint32_t seq, uint32_t pos, int32_t id);
void wn_ctx_held_n(wn_ctx *c, uint32_t seq, uint32_t n);
/* Is this context one of those that rotate positions for long ones? */
bool wn_ctx_is_long(const wn_ctx *c);

/* What works on this context's behalf: freed with it. NULL at first. */
struct wn_batch *wn_ctx_batch(const wn_ctx *c);
void wn_ctx_set_batch(wn_ctx *c, struct wn_batch *b);

/* Logits of the last step: row i of *n_rows rows, in the order asked for.
 * For embedding models: the vector of token i of *n_rows tokens. Valid until
 * the next step; NULL when there is no row i. wn_model_n_vocab is the width. */
const float *wn_ctx_logits(const wn_ctx *c, size_t i, size_t *n_rows);

/* Can rows be moved (run/move.h)? Moves n tokens of a sequence from one place
 * to an earlier one; what is held behind stays where it is. */
bool wn_ctx_can_move(const wn_ctx *c);
int wn_ctx_move(wn_ctx *c, uint32_t seq, uint32_t from, uint32_t to, uint32_t n,
                wn_err *e);

/* Tokens held by a sequence; forgetting all from position n on; copying the
 * first n tokens of a sequence to another.
 *
 * A model that keeps windows or recurrent states cannot return to every
 * position. Truncating and copying then give fewer tokens than n: as many as
 * the nearest mark before it has. wn_ctx_n_past tells how many; the caller
 * evaluates the rest again. wn_ctx_reach: how many that would be. Marks are
 * made at the ends of pieces of prompts (steps with 16 tokens of the sequence
 * or more) and by wn_ctx_mark, at the end of what the sequence holds; each
 * sequence has n_marks, the one furthest back gives way. */
uint32_t wn_ctx_n_past(const wn_ctx *c, uint32_t seq);
int wn_ctx_truncate(wn_ctx *c, uint32_t seq, uint32_t n, wn_err *e);
int wn_ctx_copy(wn_ctx *c, uint32_t from, uint32_t to, uint32_t n, wn_err *e);
uint32_t wn_ctx_reach(const wn_ctx *c, uint32_t seq, uint32_t n);
int wn_ctx_mark(wn_ctx *c, uint32_t seq, wn_err *e);

/* Shows the inputs of matrices to a tap from now on; NULL: to nobody. Not
 * counted: it must stay until another one, or the context's end. */
void wn_ctx_set_tap(wn_ctx *c, const wn_tap *tap);
const wn_tap *wn_ctx_tap(const wn_ctx *c);

/* The one-caller rule: begin gives false when somebody is inside. Whoever
 * calls step, truncate or copy, or reads logits, is between begin and end. */
bool wn_ctx_begin(wn_ctx *c);
void wn_ctx_end(wn_ctx *c);

#endif
