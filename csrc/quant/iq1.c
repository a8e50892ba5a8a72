/* iq1.c - the reference encoders of iq1_s and iq1_m; see iq1.h. */
#include "quant/iq1.h"

#include <string.h>

#include "quant/family.h"

WN_EXACT_FLOAT

const float wn_iq1_levels[2][4] = {{-1 + 0.125f, 0.125f, 1 + 0.125f, 0},
                                   {-1 - 0.125f, -0.125f, 1 - 0.125f, 0}};

void wn_iq1_weigh(const float *x, const float *importance, float *weight) {
  float variance = 2 * wn_iq_sum_squares(x) / WN_QK;
  for (int i = 0; i < WN_QK; i++)
    weight[i] =
        importance ? wn_iq_weight(x[i], importance[i], variance) : x[i] * x[i];
}

float wn_iq1_max(const float *x, int n) {
  float max = fabsf(x[0]);
  for (int i = 1; i < n; i++)
    max = max > fabsf(x[i]) ? max : fabsf(x[i]);
  return max;
}

/* Ascending order of n values; equal ones keep their places. */
static void sort(const float *x, int n, uint8_t *order) {
  for (int i = 0; i < n; i++) {
    int j = i;
    for (; j > 0 && x[order[j - 1]] > x[i]; j--)
      order[j] = order[j - 1];
    order[j] = (uint8_t)i;
  }
}

/* Keeps a cut if it gains more than the best so far. */
static void offer(float sum_qx, float sum_qq, int first, int second, int minus,
                  float *best, wn_iq1_cut *cut) {
  if (!(sum_qq > 0 && sum_qx * sum_qx > *best * sum_qq)) return;
  cut->scale = sum_qx / sum_qq;
  *best = cut->scale * sum_qx;
  cut->first = first;
  cut->second = second;
  cut->minus = minus;
}

/* The best cut of 32 values. Sums over a level are differences of running
 * sums over the sorted values. */
static wn_iq1_cut cut_s(const float *x, const float *weight,
                        const uint8_t *order) {
  enum { n = 32 };
  float wx[n + 1] = {0}, w[n + 1] = {0}, best = -3.402823466e+38f;
  wn_iq1_cut cut = {-1, -1, 0, 0};
  for (int j = 0; j < n; j++) {
    wx[j + 1] = wx[j] + weight[order[j]] * x[order[j]];
    w[j + 1] = w[j] + weight[order[j]];
  }
  for (int i1 = 0; i1 <= n; i1++)
    for (int i2 = i1; i2 <= n; i2++)
      for (int minus = 0; minus < 2; minus++) {
        const float *q = wn_iq1_levels[minus];
        float sum_qx = (wx[i1] - wx[0]) * q[0] + (wx[i2] - wx[i1]) * q[1] +
                       (wx[n] - wx[i2]) * q[2];
        float sum_qq = (w[i1] - w[0]) * q[0] * q[0] +
                       (w[i2] - w[i1]) * q[1] * q[1] +
                       (w[n] - w[i2]) * q[2] * q[2];
        offer(sum_qx, sum_qq, i1, i2, minus, &best, &cut);
      }
  return cut;
}

/* Running sums of one half (8 values) along the sorted row of 16; they stand
 * still where a value belongs to the other half. */
typedef struct half_sums {
  float wx[17], w[17];
} half_sums;

/* sum w q x and sum w q^2 of a half cut at i1 and i2. Levels are one apart,
 * so x loses one step at each cut, and the squares lose their differences. */
static void cut_half(const half_sums *h, const float *q, int i1, int i2,
                     float *sum_qx, float *sum_qq) {
  float low = q[0] * q[0] - q[1] * q[1], high = q[1] * q[1] - q[2] * q[2];
  *sum_qx = h->wx[16] * q[2] - (h->wx[i1] + h->wx[i2]);
  *sum_qq = high * h->w[i2] + (low * h->w[i1] + h->w[16] * q[2] * q[2]);
}

/* The best cut of 16 values whose halves have a delta each. */
static wn_iq1_cut cut_m(const float *x, const float *weight,
                        const uint8_t *order) {
  enum { n = 16 };
  half_sums half[2] = {{{0}, {0}}, {{0}, {0}}};
  float best = -3.402823466e+38f;
  wn_iq1_cut cut = {-1, -1, 0, 0};
  for (int j = 0; j < n; j++) {
    int i = order[j];
    half_sums *own = &half[i / 8], *other = &half[1 - i / 8];
    own->wx[j + 1] = own->wx[j] + weight[i] * x[i];
    own->w[j + 1] = own->w[j] + weight[i];
    other->wx[j + 1] = other->wx[j];
    other->w[j + 1] = other->w[j];
  }
  for (int i1 = 0; i1 <= n; i1++)
    for (int i2 = i1; i2 <= n; i2++)
      for (int k = 0; k < 4; k++) { /* deltas ++, +-, -+, -- */
        int m0 = k >> 1, m1 = k & 1;
        float qx0, qq0, qx1, qq1;
        cut_half(&half[0], wn_iq1_levels[m0], i1, i2, &qx0, &qq0);
        cut_half(&half[1], wn_iq1_levels[m1], i1, i2, &qx1, &qq1);
        offer(qx0 + qx1, qq0 + qq1, i1, i2, m0 | m1 << 1, &best, &cut);
      }
  return cut;
}

/* The neighbour with the least weighted distance, the first of equals; the
 * first of all when no distance is a finite number. */
uint16_t wn_iq1_nearest(const wn_iq_grid *grid, uint16_t key, const float *x,
                        const float *weight, float scale, const float *levels) {
  const uint16_t *near = grid->near + 16 * grid->cells[key].at;
  uint16_t best = near[0];
  float best_d2 = 3.402823466e+38f;
  for (int j = 0; j < grid->cells[key].n; j++) {
    float d2 = 0;
    for (int i = 0; i < 8; i++) {
      float diff = scale * levels[near[j] >> 2 * i & 3] - x[i];
      d2 += weight[i] * diff * diff;
    }
    if (d2 < best_d2) {
      best_d2 = d2;
      best = near[j];
    }
  }
  return best;
}

/* Least squares scale of n values at their grid points; `otherwise` when
 * there is none. */
static float refit(const float *x, const float *weight, int n,
                   const uint16_t *key, int minus, float otherwise) {
  float sum_qx = 0, sum_qq = 0;
  for (int i = 0; i < n; i++) {
    int delta = n == 32 ? minus & 1 : minus >> i / 8 & 1;
    float q = wn_iq1_levels[delta][key[i / 8] >> 2 * (i % 8) & 3];
    sum_qx += weight[i] * q * x[i];
    sum_qq += weight[i] * q * q;
  }
  return sum_qx > 0 && sum_qq > 0 ? sum_qx / sum_qq : otherwise;
}

void wn_iq1_settle(const wn_iq_grid *grid, const float *x, const float *weight,
                   int n, const uint16_t *cut_key, wn_iq1_cut cut,
                   wn_iq1_nearest_fn nearest, int ib, wn_iq1_super *s) {
  if (cut.first < 0) return; /* scale, indices and deltas stay 0 */
  uint16_t key[4];
  bool flip = cut.scale < 0, moved = false;
  if (flip) {
    cut.scale = -cut.scale;
    cut.minus ^= n == 32 ? 1 : 3;
  }
  for (int k = 0; k < n / 8; k++) {
    const float *levels =
        wn_iq1_levels[n == 32 ? cut.minus & 1 : cut.minus >> k & 1];
    /* Flipped levels are 2 - level, in all places at once. */
    key[k] = flip ? (uint16_t)(0xaaaa - cut_key[k]) : cut_key[k];
    if (grid->cells[key[k]].n != 0) {
      moved = true;
      key[k] =
          nearest(grid, key[k], x + 8 * k, weight + 8 * k, cut.scale, levels);
    }
    s->index[n / 8 * ib + k] = grid->cells[key[k]].at;
  }
  if (moved) cut.scale = refit(x, weight, n, key, cut.minus, cut.scale);
  s->scale[ib] = cut.scale >= 0 ? cut.scale : 0;
  s->minus[ib] = (uint8_t)cut.minus;
}

/* Searches sub-block ib of n values, 32 or 16. */
static void search(const wn_iq_grid *grid, const float *x, const float *weight,
                   int n, float epsilon, int ib, wn_iq1_super *s) {
  uint8_t order[32];
  uint16_t key[4] = {0};
  if (wn_iq1_max(x, n) < epsilon) return;
  sort(x, n, order);
  wn_iq1_cut cut = n == 32 ? cut_s(x, weight, order) : cut_m(x, weight, order);
  for (int j = 0; j < n; j++) {
    int i = order[j], level = (j >= cut.first) + (j >= cut.second);
    key[i / 8] = (uint16_t)(key[i / 8] | level << 2 * (i % 8));
  }
  wn_iq1_settle(grid, x, weight, n, key, cut, wn_iq1_nearest, ib, s);
}

/* --- packing ------------------------------------------------------------- */

static float max_scale(const wn_iq1_super *s, int n) {
  float max = 0;
  for (int ib = 0; ib < n; ib++)
    max = max > s->scale[ib] ? max : s->scale[ib];
  return max;
}

/* 3-bit level of a scale: scale = d * (2 level + 1). */
static int scale_level(float id, float scale) {
  return wn_iq_clamp(wn_iq_nearest(0.5f * (id * scale - 1)), 0, 7);
}

void wn_iq1_pack_s(const wn_iq1_super *s, wn_block_iq1_s *b) {
  float max = max_scale(s, 8), d = max / 15, id = 1 / d;
  memset(b, 0, sizeof *b);
  for (int k = 0; k < 32; k++) {
    b->qs[k] = (uint8_t)s->index[k];
    b->qh[k / 4] |= (uint16_t)(s->index[k] >> 8 << 3 * (k % 4));
  }
  if (max == 0) return;
  b->d = wn_f16_of_f32(d * 1.125f); /* found to help */
  for (int ib = 0; ib < 8; ib++) {
    int level = scale_level(id, s->scale[ib]) | (s->minus[ib] & 1) << 3;
    b->qh[ib] |= (uint16_t)(level << 12);
  }
}

/* Least squares scale of the whole super-block, given all levels; `otherwise`
 * when there is none. */
static float refit_super(const wn_iq1_super *s, const float *x,
                         const float *weight, const int *level,
                         float otherwise) {
  const wn_iq_grid *grid = wn_iq_grid_of(WN_TYPE_IQ1_M);
  float sum_qx = 0, sum_qq = 0;
  for (int i = 0; i < WN_QK; i++) {
    int ib = i / 16, key = grid->keys[s->index[i / 8]];
    float q =
        wn_iq1_levels[s->minus[ib] >> i / 8 % 2 & 1][key >> 2 * (i % 8) & 3] *
        (float)(2 * level[ib] + 1);
    sum_qx += weight[i] * q * x[i];
    sum_qq += weight[i] * q * q;
  }
  return sum_qq > 0 ? sum_qx / sum_qq : otherwise;
}

float wn_iq1_scales_m(const wn_iq1_super *s, int level[16]) {
  float max = max_scale(s, 16), d = max / 15, id = 1 / d;
  for (int ib = 0; ib < 16; ib++)
    level[ib] = max == 0 ? 0 : scale_level(id, s->scale[ib]);
  return max == 0 ? 0 : d;
}

void wn_iq1_pack_m(const wn_iq1_super *s, const int level[16], float scale,
                   wn_block_iq1_m *b) {
  uint16_t scales[4] = {0};
  memset(b, 0, sizeof *b);
  for (int k = 0; k < 32; k++) {
    b->qs[k] = (uint8_t)s->index[k];
    b->qh[k / 2] |= (uint8_t)(s->index[k] >> 8 << 4 * (k % 2));
  }
  if (max_scale(s, 16) == 0) return;
  for (int ib = 0; ib < 16; ib++) {
    scales[ib / 4] |= (uint16_t)(level[ib] << 3 * (ib % 4));
    b->qh[ib] |= (uint8_t)((s->minus[ib] & 1) << 3 | (s->minus[ib] & 2) << 6);
  }
  unsigned half = wn_f16_of_f32(scale * 1.1125f); /* found to help */
  for (int k = 0; k < 4; k++)
    scales[k] |= (uint16_t)((half >> 4 * k & 15) << 12);
  memcpy(b->scales, scales, sizeof scales);
}

/* --- rows ---------------------------------------------------------------- */

static void encode_iq1_s(const float *src, void *dst, size_t n,
                         const float *importance) {
  const wn_iq_grid *grid = wn_iq_grid_of(WN_TYPE_IQ1_S);
  wn_block_iq1_s *b = dst;
  for (size_t i = 0; i < n; i += WN_QK, b++) {
    wn_iq1_super s = {.scale = {0}};
    float weight[WN_QK];
    wn_iq1_weigh(src + i, importance ? importance + i : NULL, weight);
    for (int ib = 0; ib < 8; ib++)
      search(grid, src + i + 32 * ib, weight + 32 * ib, 32, WN_IQ1_S_EPSILON,
             ib, &s);
    wn_iq1_pack_s(&s, b);
  }
}

static void encode_iq1_m(const float *src, void *dst, size_t n,
                         const float *importance) {
  const wn_iq_grid *grid = wn_iq_grid_of(WN_TYPE_IQ1_M);
  wn_block_iq1_m *b = dst;
  for (size_t i = 0; i < n; i += WN_QK, b++) {
    wn_iq1_super s = {.scale = {0}};
    float weight[WN_QK];
    wn_iq1_weigh(src + i, importance ? importance + i : NULL, weight);
    for (int ib = 0; ib < 16; ib++)
      search(grid, src + i + 16 * ib, weight + 16 * ib, 16, WN_IQ1_M_EPSILON,
             ib, &s);
    int level[16];
    float scale = wn_iq1_scales_m(&s, level);
    scale = refit_super(&s, src + i, weight, level, scale);
    wn_iq1_pack_m(&s, level, scale, b);
  }
}

const wn_format wn_fmt_iq1_s = {WN_TYPE_IQ1_S, true, true, encode_iq1_s,
                                wn_iq_decode_iq1_s};
const wn_format wn_fmt_iq1_m = {WN_TYPE_IQ1_M, false, true, encode_iq1_m,
                                wn_iq_decode_iq1_m};
