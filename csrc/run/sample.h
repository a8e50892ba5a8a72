/* sample.h - choosing the next token from logits.
 *
 * A wn_sampler is a small chain in llama.cpp's default order: logit bias,
 * repetition penalties, top-k, top-p, min-p, temperature, draw. Plain data
 * plus a ring of recent tokens; deterministic for a seed on every machine. */
#ifndef WN_RUN_SAMPLE_H
#define WN_RUN_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct wn_sampler wn_sampler;

typedef struct wn_sample_opts {
  float temperature;       /* <= 0: greedy */
  uint32_t top_k;          /* 0: off */
  float top_p;             /* 1: off */
  float min_p;             /* 0: off */
  float repeat_penalty;    /* 1: off */
  float frequency_penalty; /* 0: off */
  float presence_penalty;  /* 0: off */
  uint32_t repeat_last_n;  /* tokens the penalties look back at */
  uint64_t seed;
} wn_sample_opts;

/* n_vocab logits will be given each time. */
int wn_sampler_new(const wn_sample_opts *o, uint32_t n_vocab, wn_sampler **out,
                   wn_err *e);
wn_sampler *wn_sampler_ref(wn_sampler *s);
void wn_sampler_unref(wn_sampler *s);

uint32_t wn_sampler_n_vocab(const wn_sampler *s);

/* The one-caller rule, as for contexts: begin gives false while somebody else
 * is inside; bias, pick and accept are called between begin and end. */
bool wn_sampler_begin(wn_sampler *s);
void wn_sampler_end(wn_sampler *s);

/* logit[id] += bias for every later choice. */
int wn_sampler_bias(wn_sampler *s, int32_t id, float bias, wn_err *e);

/* Picks a token. WN_EDATA "non-finite logits" when no choice is defined
 * (HARDENING Q6). Does not change `logits`; does not remember the token. */
int wn_sampler_pick(wn_sampler *s, const float *logits, int32_t *id, wn_err *e);

/* Tells the sampler that `id` was appended (prompt tokens too). */
void wn_sampler_accept(wn_sampler *s, int32_t id);

#endif
