/* cands.h - candidates for the next token, and the stages that cut and weigh
 * them.
 *
 * A stage takes a list of candidates and changes it: drops some, or changes
 * logits. Each is defined by what llama.cpp v0.5.0 does to the same list, in
 * float, in the same order of operations, so that candidates and probabilities
 * are equal; only among equal logits the order here is total (the earlier
 * candidate stays first). No stage leaves an empty list of a filled one. */
#ifndef WN_RUN_CANDS_H
#define WN_RUN_CANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "run/random.h"
#include "text/vocab.h"

/* One candidate; p is defined after a stage that needed probabilities. */
typedef struct wn_tok {
  int32_t id;
  float logit, p;
} wn_tok;

typedef struct wn_cands {
  wn_tok *d;
  wn_tok *spare, *more; /* room for as many: scratch */
  uint32_t n;
  bool sorted; /* logits descend */
} wn_cands;

void wn_cands_sort(wn_cands *c);
/* p = softmax of the logits; sorts before that if asked to. */
void wn_cands_softmax(wn_cands *c, bool sort);

void wn_stage_top_k(wn_cands *c, uint32_t k);
void wn_stage_top_p(wn_cands *c, float p, uint32_t min_keep);
void wn_stage_min_p(wn_cands *c, float p, uint32_t min_keep);
void wn_stage_typical(wn_cands *c, float p, uint32_t min_keep);
/* Logits below max - n sigma become -inf. */
void wn_stage_top_n_sigma(wn_cands *c, float n);
void wn_stage_xtc(wn_cands *c, float probability, float threshold,
                  uint32_t min_keep, wn_rng *rng);
/* t <= 0: all but the first best become -inf. range > 0: the temperature goes
 * from t - range to t + range with the entropy of the list. */
void wn_stage_temperature(wn_cands *c, float t, float range, float exponent);

/* Fill-in-the-middle: prefers to end; merges candidates of which one begins
 * the other. WN_ELIMIT above 4096 candidates (it compares all pairs). */
int wn_stage_infill(wn_cands *c, const wn_vocab *v, wn_err *e);

/* ---- the last stage chooses: each gives the place of the chosen one */

uint32_t wn_choose(wn_cands *c, wn_rng *rng);

typedef struct wn_mirostat {
  float tau, eta, mu;
} wn_mirostat;
/* version 1 estimates the vocabulary's exponent, 2 cuts by surprise. */
uint32_t wn_choose_mirostat(wn_cands *c, wn_mirostat *m, int version,
                            uint32_t n_vocab, wn_rng *rng);

typedef struct wn_adaptive {
  float target, decay;
  float sum, weight; /* of the probabilities of what was chosen */
  int32_t pending;   /* chosen, not accepted yet; -1: none */
  float pending_p;
} wn_adaptive;
void wn_adaptive_init(wn_adaptive *a, float target, float decay);
uint32_t wn_choose_adaptive(wn_cands *c, wn_adaptive *a, wn_rng *rng);
void wn_adaptive_accept(wn_adaptive *a, int32_t id);

#endif
