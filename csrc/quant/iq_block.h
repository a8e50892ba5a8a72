/* iq_block.h - what reference and fast encoders of the i-quants share.
 *
 * Encoding a super-block of 256 values has two steps. The search gives every
 * sub-block (16 or 32 values) a scale >= 0 and every group of 4 or 8 values a
 * point of the grid; it takes nearly all the time and exists as a plain
 * reference and as SIMD. Packing turns the result into bytes; it is short and
 * exists once, here.
 *
 * A rule holds the numbers in which the five searches over a grid differ
 * (iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s). They are facts of llama.cpp. */
#ifndef WN_QUANT_IQ_BLOCK_H
#define WN_QUANT_IQ_BLOCK_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "base/half.h"
#include "quant/blocks.h"
#include "quant/iq_grid.h"

/* Which groups are rounded again with the scale that the tries ended with. */
typedef enum wn_iq_redo {
  WN_IQ_REDO_OFF_GRID,        /* those whose rounding was no grid point */
  WN_IQ_REDO_ALL_IF_OFF_GRID, /* all, when there is one such group */
  WN_IQ_REDO_ALL
} wn_iq_redo;

typedef struct wn_iq_rule {
  int type;
  int sub;          /* values of a sub-block: 16 or 32 */
  int max_q;        /* levels of a coordinate: 0 .. max_q - 1 */
  int tries;        /* scales tried: 2 * tries + 1 */
  float step;       /* between two tries, in levels of the largest value */
  float epsilon;    /* a sub-block below it is all zero */
  float sigma;      /* variance = sigma * sum of squares / 256 */
  bool even_signs;  /* the number of minus signs per 8 values is even */
  bool fits_start;  /* tries start at a fitted scale, not at the maximum */
  bool starts_good; /* without a better try no group counts as off grid */
  wn_iq_redo redo;
} wn_iq_rule;

/* The rule of one of the five types, else NULL. */
const wn_iq_rule *wn_iq_rule_of(int type);

/* The searched super-block. All zero for sub-blocks that were skipped because
 * they hold nothing but zeros. */
typedef struct wn_iq_super {
  float scale[16];   /* per sub-block */
  uint16_t key[64];  /* per group; each is the key of a grid point */
  uint8_t signs[32]; /* per 8 values, bit i = value i is negative */
  bool skipped[16];  /* per sub-block */
} wn_iq_super;

/* The bytes of a searched super-block of `rule`'s type. */
void wn_iq_pack(const wn_iq_rule *rule, const wn_iq_super *s, void *block);

/* Ends a search: a scale below zero becomes positive and all signs of the
 * sub-block flip; one that is not a number (overflow) becomes 0. */
void wn_iq_settle(const wn_iq_rule *rule, wn_iq_super *s, int sub_block);

/* The reference search of sub-block ib of a super-block; x and importance (or
 * NULL) are those of its values. */
void wn_iq_search_sub(const wn_iq_rule *rule, const wn_iq_grid *grid,
                      const float *x, const float *importance, float variance,
                      int ib, wn_iq_super *s);

/* The starting scale of iq2_xxs: a fit of 32 sizes to levels 0..4. */
float wn_iq_fit_start(const float *size, const float *weight, float max);

/* The reference decoders (iq_decode.c), one per type. */
#define WN_IQ_TYPES(X) \
  X(IQ1_S, iq1_s)      \
  X(IQ1_M, iq1_m)      \
  X(IQ2_XXS, iq2_xxs)  \
  X(IQ2_XS, iq2_xs)    \
  X(IQ2_S, iq2_s)      \
  X(IQ3_XXS, iq3_xxs) X(IQ3_S, iq3_s) X(IQ4_NL, iq4_nl) X(IQ4_XS, iq4_xs)
#define X(ID, name) \
  void wn_iq_decode_##name(const void *src, float *dst, size_t n);
WN_IQ_TYPES(X)
#undef X

/* Sum of the squares of 256 values, added in order. */
static inline float wn_iq_sum_squares(const float *x) {
  float sum = 0;
  for (int i = 0; i < WN_QK; i++)
    sum += x[i] * x[i];
  return sum;
}

/* v rounded to the nearest integer, ties to even, for |v| < 2^22; outside
 * that range the same meaningless number as in llama.cpp. */
static inline int wn_iq_nearest(float v) {
  uint32_t bits = wn_bits_of_f32(v + 12582912.f); /* 1.5 * 2^23 */
  return (int)(bits & 0x007fffff) - 0x00400000;
}

static inline int wn_iq_clamp(int v, int low, int high) {
  return v < low ? low : v > high ? high : v;
}

/* Weight of a value: its importance times an estimate of its size, or from
 * its size alone where there is no importance. */
static inline float wn_iq_weight(float x, float importance, float variance) {
  return importance * sqrtf(variance + x * x);
}

/* The value whose sign costs least: the first with the least w x^2. */
static inline int wn_iq_least_value(const float *x, const float *weight) {
  int least = 0;
  float min = weight[0] * x[0] * x[0];
  for (int i = 1; i < 8; i++) {
    float cost = weight[i] * x[i] * x[i];
    if (cost < min) {
      min = cost;
      least = i;
    }
  }
  return least;
}

#endif
