/* random.h - the numbers that choices are drawn with.
 *
 * The Mersenne Twister (Matsumoto, Nishimura, 1998) with 32-bit output, and
 * the two ways in which llama.cpp makes a uniform number of its output: the
 * same seed gives the same draws there and here, on every machine. */
#ifndef WN_RUN_RANDOM_H
#define WN_RUN_RANDOM_H

#include <stdint.h>

typedef struct wn_rng {
  uint32_t state[624];
  uint32_t at;
} wn_rng;

/* A seed above 32 bits is folded. */
void wn_rng_seed(wn_rng *r, uint64_t seed);
uint32_t wn_rng_next(wn_rng *r);

/* Uniform in [0, 1): 53 bits of two outputs, 24 bits of one. */
double wn_rng_double(wn_rng *r);
float wn_rng_float(wn_rng *r);

#endif
