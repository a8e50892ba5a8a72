/* sample.h - choosing the next token from logits.
 *
 * A wn_sampler is a chain of stages in any order, named and defined as
 * llama.cpp's (cands.h, dry.h): the grammar's mask, biases and banned strings
 * come first, then the stages that were asked for, then a draw. Deterministic
 * for a seed on every machine. Fast on large vocabularies: while only the best
 * matter, no list of all is made (best.h).
 *
 * A stage may belong to the host: the chain then stops there, shows its
 * candidates, and goes on when it is told to. */
#ifndef WN_RUN_SAMPLE_H
#define WN_RUN_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "constrain/match.h"
#include "run/cands.h"

typedef struct wn_sampler wn_sampler;

/* name in option lists */
#define WN_PICKS(X)                     \
  X(WN_PICK_PENALTIES, "penalties")     \
  X(WN_PICK_DRY, "dry")                 \
  X(WN_PICK_TOP_N_SIGMA, "top_n_sigma") \
  X(WN_PICK_TOP_K, "top_k")             \
  X(WN_PICK_TYPICAL, "typical")         \
  X(WN_PICK_TOP_P, "top_p")             \
  X(WN_PICK_MIN_P, "min_p")             \
  X(WN_PICK_XTC, "xtc")                 \
  X(WN_PICK_TEMPERATURE, "temperature") \
  X(WN_PICK_INFILL, "infill")           \
  X(WN_PICK_ADAPTIVE_P, "adaptive_p")   \
  X(WN_PICK_MIROSTAT, "mirostat")       \
  X(WN_PICK_MIROSTAT_V2, "mirostat_v2")

#define WN_PICK_CONST(id, name) id,
typedef enum wn_pick_kind { WN_PICKS(WN_PICK_CONST) WN_PICK_HOST } wn_pick_kind;
#undef WN_PICK_CONST

enum { WN_MAX_PICKS = 32 };

typedef struct wn_sample_opts {
  float temperature;       /* <= 0: greedy */
  float dynatemp_range;    /* 0: off */
  float dynatemp_exponent; /* 1 */
  uint32_t top_k;          /* 0: off */
  float top_p;             /* 1: off */
  float min_p;             /* 0: off */
  float typical_p;         /* 1: off */
  float top_n_sigma;       /* <= 0: off */
  float xtc_probability;   /* 0: off */
  float xtc_threshold;     /* above 0.5: off */
  float adaptive_target;   /* < 0: a plain draw */
  float adaptive_decay;
  float mirostat_tau, mirostat_eta;
  float repeat_penalty;    /* 1: off */
  float frequency_penalty; /* 0: off */
  float presence_penalty;  /* 0: off */
  uint32_t repeat_last_n;  /* tokens the penalties look back at */
  float dry_multiplier;    /* 0: off */
  float dry_base;
  uint32_t dry_allowed_length, dry_last_n;
  const wn_str *dry_breakers; /* need a vocabulary */
  size_t n_dry_breakers;
  uint32_t min_keep; /* candidates that no stage goes below */
  bool ignore_eos;   /* the text never ends by itself; needs a vocabulary */
  uint64_t seed;
  /* stages in order; a WN_PICK_HOST is known by its place. Without any:
   * llama.cpp's order, penalties to temperature. */
  const wn_pick_kind *stages;
  size_t n_stages;
  const wn_vocab *vocab; /* NULL: none of what needs one */
} wn_sample_opts;

/* n_vocab logits will be given each time. */
int wn_sampler_new(const wn_sample_opts *o, uint32_t n_vocab, wn_sampler **out,
                   wn_err *e);
wn_sampler *wn_sampler_ref(wn_sampler *s);
void wn_sampler_unref(wn_sampler *s);

uint32_t wn_sampler_n_vocab(const wn_sampler *s);

/* The one-caller rule, as for contexts: begin gives false while somebody else
 * is inside; all that follows is called between begin and end. */
bool wn_sampler_begin(wn_sampler *s);
void wn_sampler_end(wn_sampler *s);

/* logit[id] += add for every later choice. */
int wn_sampler_bias(wn_sampler *s, int32_t id, float add, wn_err *e);
/* Only texts of the grammar are chosen from now on, or, with NULL, all.
 * Takes over m. */
void wn_sampler_constrain(wn_sampler *s, wn_match *m);
/* Strings that no choice completes; replaces earlier ones. */
int wn_sampler_ban(wn_sampler *s, wn_tokens *t, const wn_str *list, size_t n,
                   wn_err *e);

/* Picks a token. WN_EDATA "non-finite logits" when no choice is defined
 * (HARDENING Q6), "no token is allowed" when the grammar and the bans leave
 * none. Does not change `logits`; does not remember the token. WN_EARG when a
 * stage belongs to the host. */
int wn_sampler_pick(wn_sampler *s, const float *logits, int32_t *id, wn_err *e);

/* The same in pieces. start, then resume until *host is negative: *id is the
 * choice. Otherwise *host is the place of a stage in the list of stages, and
 * the host may change the candidates before it resumes. `logits` need not stay
 * as they are meanwhile: where there are such stages, start copies them. */
int wn_sampler_start(wn_sampler *s, const float *logits, wn_err *e);
int wn_sampler_resume(wn_sampler *s, int *host, int32_t *id, wn_err *e);
bool wn_sampler_has_host(const wn_sampler *s);
/* The candidates while the host has them, else NULL; after a choice, those
 * that it was made from. */
wn_cands *wn_sampler_cands(wn_sampler *s);
bool wn_sampler_waits(const wn_sampler *s);
/* All candidates as after the last stage, without a draw. */
int wn_sampler_apply(wn_sampler *s, const float *logits, wn_err *e);

/* Tells the sampler that `id` is part of the text: a token of the prompt (also
 * one that came from a cache). The penalties look at it. */
void wn_sampler_accept(wn_sampler *s, int32_t id);
/* Tells it that `id` was chosen, or forced: penalties, grammar, bans,
 * adaptive-p. WN_EDATA when the grammar does not allow it. */
int wn_sampler_take(wn_sampler *s, int32_t id, wn_err *e);

/* True when the grammar allows nothing but the end of the text. */
bool wn_sampler_complete(wn_sampler *s);
/* Tokens that the grammar leaves no choice about, at most cap of them, into
 * ids; *n is 0 when there is a choice. Each must be taken (wn_sampler_take).
 * The tokens are those of the tokenizer, without the last one: what follows may
 * join it. */
int wn_sampler_forced(wn_sampler *s, int32_t *ids, uint32_t cap, uint32_t *n,
                      wn_err *e);

#endif
