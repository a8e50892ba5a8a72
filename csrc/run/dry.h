/* dry.h - "don't repeat yourself": a penalty for the token that would go on
 * with a repetition.
 *
 * Looks for the longest earlier occurrence of the end of the text; a token
 * that followed one of `allowed` tokens or more loses
 * multiplier * base^(length - allowed). Sequence breakers (line ends, quotes)
 * bound what counts as a repetition. As llama.cpp's sampler of that name. */
#ifndef WN_RUN_DRY_H
#define WN_RUN_DRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/vocab.h"

typedef struct wn_dry wn_dry;

typedef struct wn_dry_opts {
  float multiplier, base; /* multiplier 0: off */
  int32_t allowed;        /* longest repetition without a penalty */
  uint32_t last_n;        /* tokens looked back at */
  const wn_str *breakers; /* need a vocabulary */
  size_t n_breakers;
} wn_dry_opts;

/* v may be NULL when there are no breakers. */
int wn_dry_new(const wn_dry_opts *o, const wn_vocab *v, uint32_t n_vocab,
               wn_dry **out, wn_err *e);
void wn_dry_free(wn_dry *d);

void wn_dry_accept(wn_dry *d, int32_t id);

/* Finds the tokens to penalise now: *ids lists n of them, and wn_dry_penalty
 * gives what each loses (0 for every other token). */
uint32_t wn_dry_find(wn_dry *d, const int32_t **ids);
float wn_dry_penalty(const wn_dry *d, int32_t id);

#endif
