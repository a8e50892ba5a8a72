/* iq1.h - what reference and fast encoders of iq1_s and iq1_m share.
 *
 * A value is scale * (level - 1 + delta) with level 0, 1 or 2 and delta +1/8
 * or -1/8, one per 32 values (iq1_s) or per 8 (iq1_m). The search of a
 * sub-block sorts its values and tries all ways to cut the sorted row into
 * levels 0, 1 and 2, with each choice of deltas; groups of 8 then move to the
 * nearest grid point and the scale is fitted again. */
#ifndef WN_QUANT_IQ1_H
#define WN_QUANT_IQ1_H

#include "quant/iq_block.h"

/* What the levels 0, 1, 2 mean with delta +1/8 and with -1/8; a fourth one
 * makes them a vector. */
extern const float wn_iq1_levels[2][4];

/* The cut with the largest gain: sorted values [0, first) have level 0,
 * [first, second) level 1, the rest level 2. `minus` has bit g for group of
 * deltas g: only bit 0 in iq1_s; bits 0 and 1 (8 values each) in iq1_m. */
typedef struct wn_iq1_cut {
  int first, second; /* -1: no cut has a gain (all weights are 0) */
  int minus;
  float scale; /* may be negative */
} wn_iq1_cut;

/* A searched super-block: 8 sub-blocks of 32 (iq1_s) or 16 of 16 (iq1_m). */
typedef struct wn_iq1_super {
  float scale[16];
  uint16_t index[32]; /* grid index per group of 8 */
  uint8_t minus[16];  /* as in wn_iq1_cut */
} wn_iq1_super;

/* Moves a group of 8 to its nearest grid point. Given: the group's values and
 * weights, the scale, the meaning of the levels, and the key of the levels
 * chosen, which is no grid point. Returns the key of the point. */
typedef uint16_t (*wn_iq1_nearest_fn)(const wn_iq_grid *grid, uint16_t key,
                                      const float *x, const float *weight,
                                      float scale, const float *levels);

/* The reference of that. */
uint16_t wn_iq1_nearest(const wn_iq_grid *grid, uint16_t key, const float *x,
                        const float *weight, float scale, const float *levels);

/* Ends the search of sub-block ib of n values x: `key` holds, per group of 8,
 * the levels that the cut gives; moves the groups to the grid. */
void wn_iq1_settle(const wn_iq_grid *grid, const float *x, const float *weight,
                   int n, const uint16_t *key, wn_iq1_cut cut,
                   wn_iq1_nearest_fn nearest, int ib, wn_iq1_super *s);

void wn_iq1_pack_s(const wn_iq1_super *s, wn_block_iq1_s *b);
/* iq1_m in two steps, as it fits the scale of the super-block last. The levels
 * of the 16 sub-blocks' scales; returns the scale that they stand for, 0 for a
 * super-block of zeros. */
float wn_iq1_scales_m(const wn_iq1_super *s, int level[16]);
/* The bytes, given these levels and the fitted scale. */
void wn_iq1_pack_m(const wn_iq1_super *s, const int level[16], float scale,
                   wn_block_iq1_m *b);

/* Weights of the 256 values of a super-block; importance may be NULL. */
void wn_iq1_weigh(const float *x, const float *importance, float *weight);

/* The largest magnitude of n values. */
float wn_iq1_max(const float *x, int n);

/* Below these a sub-block counts as zero. */
#define WN_IQ1_S_EPSILON 1e-12f
#define WN_IQ1_M_EPSILON 1e-7f

#endif
