/* compose.c - see compose.h; the layouts are drawn in blocks.h. */
#include "quant/compose.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/half.h"
#include "quant/blocks.h"
#include "quant/iq_grid.h"

/* The 16 values of iq4_nl and iq4_xs, from ggml. */
static const float iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

/* Pairs of a sign: the levels of q1_0. The magnitudes of E2M1 with signs: those
 * of mxfp4 and nvfp4. */
static const float sign_values[2] = {-1, 1};
static const float e2m1_values[15] = {-6,  -4, -3,   -2, -1.5f, -1, -.5f, 0,
                                      .5f, 1,  1.5f, 2,  3,     4,  6};

static const wn_grid grids[] = {
    {WN_TYPE_Q1_0, 128, 0, 1, sign_values, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_Q2_0, 64, -1, 2, NULL, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_TQ1_0, 256, -1, 1, NULL, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_TQ2_0, 256, -1, 1, NULL, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_MXFP4, 32, 0, 14, e2m1_values, 0, 0, 0, 0, 0, false, 0, false},
    {WN_TYPE_NVFP4, 16, 0, 14, e2m1_values, 0, 0, 0, 0, 0, false, 0, false},
    {WN_TYPE_Q4_0, 32, -8, 7, NULL, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_Q4_1, 32, 0, 15, NULL, 0, 0, 0, 1, 0, true, 0, false},
    {WN_TYPE_Q5_0, 32, -16, 15, NULL, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_Q5_1, 32, 0, 31, NULL, 0, 0, 0, 1, 0, true, 0, false},
    {WN_TYPE_Q8_0, 32, -127, 127, NULL, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_Q2_K, 16, 0, 3, NULL, 0, 15, 1, 0, 15, false, 0, false},
    {WN_TYPE_Q3_K, 16, -4, 3, NULL, 0, 63, 1, -32, 0, false, 0, false},
    {WN_TYPE_Q4_K, 32, 0, 15, NULL, 0, 63, 1, 0, 63, false, 0, false},
    {WN_TYPE_Q5_K, 32, 0, 31, NULL, 0, 63, 1, 0, 63, false, 0, false},
    {WN_TYPE_Q6_K, 16, -32, 31, NULL, -128, 127, 1, 0, 0, false, 0, false},
    {WN_TYPE_IQ4_NL, 32, 0, 15, iq4_values, 0, 0, 0, 1, 0, false, 0, false},
    {WN_TYPE_IQ4_XS, 32, 0, 15, iq4_values, 0, 63, 1, -32, 0, false, 0, false},
    {WN_TYPE_IQ2_XXS, 32, 0, 0, NULL, 0, 15, .25f, .125f, 0, false, 8, true},
    {WN_TYPE_IQ2_XS, 16, 0, 0, NULL, 0, 15, .25f, .125f, 0, false, 8, true},
    {WN_TYPE_IQ2_S, 16, 0, 0, NULL, 0, 15, .25f, .125f, 0, false, 8, false},
    {WN_TYPE_IQ3_XXS, 32, 0, 0, NULL, 0, 15, .5f, .25f, 0, false, 4, true},
    {WN_TYPE_IQ3_S, 32, 0, 0, NULL, 0, 15, 2, 1, 0, false, 4, false},
};

const wn_grid *wn_grid_of(int type) {
  for (size_t i = 0; i < sizeof grids / sizeof *grids; i++)
    if (grids[i].type == type) return &grids[i];
  return NULL;
}

/* ---- grids of points */

static int grid_bytes(const void **points, int type) {
  switch (type) {
    case WN_TYPE_IQ2_XXS:
      *points = wn_iq2_xxs_points;
      return 256;
    case WN_TYPE_IQ2_XS:
      *points = wn_iq2_xs_points;
      return 512;
    case WN_TYPE_IQ2_S:
      *points = wn_iq2_s_points;
      return 1024;
    case WN_TYPE_IQ3_XXS:
      *points = wn_iq3_xxs_points;
      return 256;
    default:
      *points = wn_iq3_s_points;
      return 512;
  }
}

static float point_tables[5][WN_GRID_POINTS * WN_GRID_GROUP];
static pthread_once_t tables_made = PTHREAD_ONCE_INIT;

static void make_tables(void) {
  for (int t = 0; t < 5; t++) {
    const wn_grid *g = &grids[sizeof grids / sizeof *grids - 5 + (size_t)t];
    const void *points;
    int n = grid_bytes(&points, g->type);
    for (int k = 0; k < n; k++)
      for (int i = 0; i < g->group; i++)
        point_tables[t][i * n + k] =
            ((const uint8_t *)points)[k * g->group + i];
  }
}

const float *wn_grid_points(const wn_grid *g, size_t *n) {
  const void *points;
  pthread_once(&tables_made, make_tables);
  *n = (size_t)grid_bytes(&points, g->type);
  return point_tables[g - &grids[sizeof grids / sizeof *grids - 5]];
}

/* Number of the point under the levels of group k, and its signs. */
static int point_of(const wn_grid *g, const wn_explained *x, int k,
                    unsigned *signs) {
  const void *points;
  uint8_t want[WN_GRID_GROUP] = {0};
  int n = grid_bytes(&points, g->type);
  *signs = 0;
  for (int i = 0; i < g->group; i++) {
    float l = x->level[k * g->group + i];
    *signs |= (unsigned)(l < 0) << i;
    want[i] = (uint8_t)fabsf(l);
  }
  for (int p = 0; p < n; p++)
    if (memcmp((const uint8_t *)points + p * g->group, want,
               (size_t)g->group) == 0)
      return p;
  return 0;
}

/* Place of the table value nearest to v; ties go to the lower one. */
static int nearest_place(const float *t, int n, float v) {
  int lo = 0, hi = n - 1; /* t[lo] <= answer <= t[hi] */
  while (hi - lo > 1) {
    int mid = (lo + hi) / 2;
    if (t[mid] <= v)
      lo = mid;
    else
      hi = mid;
  }
  return v - t[lo] <= t[hi] - v ? lo : hi;
}

float wn_grid_nearest(const wn_grid *g, float v) {
  if (g->table != NULL)
    return g->table[nearest_place(g->table, g->level_hi + 1, v)];
  float lo = (float)g->level_lo, hi = (float)g->level_hi;
  return v <= lo ? lo : v >= hi ? hi : rintf(v);
}

/* Levels as small unsigned numbers, from 0. */
static void places(const wn_grid *g, const wn_explained *x, uint8_t *q) {
  for (int i = 0; i < x->n; i++)
    q[i] = g->table != NULL
               ? (uint8_t)nearest_place(g->table, g->level_hi + 1, x->level[i])
               : (uint8_t)((int)x->level[i] - g->level_lo);
}

/* 32 nibbles: q[j] low, q[j + 16] high. */
static void put_nibbles(uint8_t *qs, const uint8_t *q) {
  for (int j = 0; j < 16; j++)
    qs[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

/* The fifth bits of 32 levels. */
static void put_fifth(uint8_t *qh, const uint8_t *q) {
  memset(qh, 0, 4);
  for (int j = 0; j < 32; j++)
    qh[j / 8] = (uint8_t)(qh[j / 8] | (q[j] >> 4) << (j % 8));
}

/* 256 two-bit levels: bits 2j of qs[32 h + m] = q[128 h + 32 j + m]. */
static void put_pairs(uint8_t *qs, const uint8_t *q) {
  for (int h = 0; h < 2; h++)
    for (int m = 0; m < 32; m++) {
      const uint8_t *p = q + 128 * h + m;
      qs[32 * h + m] = (uint8_t)((p[0] & 3) | (p[32] & 3) << 2 |
                                 (p[64] & 3) << 4 | (p[96] & 3) << 6);
    }
}

static void put_q2_K(wn_block_q2_K *b, const wn_explained *x,
                     const uint8_t *q) {
  for (int s = 0; s < 16; s++)
    b->scales[s] = (uint8_t)(x->scale_code[s] | x->min_code[s] << 4);
  put_pairs(b->qs, q);
}

static void put_q3_K(wn_block_q3_K *b, const wn_explained *x,
                     const uint8_t *q) {
  memset(b->scales, 0, sizeof b->scales);
  memset(b->hmask, 0, sizeof b->hmask);
  for (int s = 0; s < 16; s++) {
    int code = x->scale_code[s];
    uint8_t *low = &b->scales[s % 8], *high = &b->scales[8 + s % 4];
    *low = (uint8_t)(*low | (code & 15) << (s < 8 ? 0 : 4));
    *high = (uint8_t)(*high | (code >> 4) << (2 * (s / 4)));
  }
  for (int i = 0; i < WN_QK; i++)
    b->hmask[i % 32] = (uint8_t)(b->hmask[i % 32] | (q[i] >> 2) << (i / 32));
  put_pairs(b->qs, q);
}

static void put_six_bit(uint8_t *p, const wn_explained *x) {
  for (int t = 0; t < 4; t++) {
    int sc = x->scale_code[t + 4], mn = x->min_code[t + 4];
    p[t] = (uint8_t)(x->scale_code[t] | sc >> 4 << 6);
    p[4 + t] = (uint8_t)(x->min_code[t] | mn >> 4 << 6);
    p[8 + t] = (uint8_t)((sc & 15) | (mn & 15) << 4);
  }
}

/* q4_K and q5_K: 64 levels share 32 bytes, low nibble first. */
static void put_k_nibbles(uint8_t *qs, const uint8_t *q) {
  for (int p = 0; p < 4; p++)
    for (int m = 0; m < 32; m++)
      qs[32 * p + m] =
          (uint8_t)((q[64 * p + m] & 15) | (q[64 * p + 32 + m] & 15) << 4);
}

static void put_q5_K(wn_block_q5_K *b, const wn_explained *x,
                     const uint8_t *q) {
  put_six_bit(b->scales, x);
  put_k_nibbles(b->qs, q);
  memset(b->qh, 0, sizeof b->qh);
  for (int i = 0; i < WN_QK; i++)
    b->qh[i % 32] = (uint8_t)(b->qh[i % 32] | (q[i] >> 4) << (i / 32));
}

static void put_q6_K(wn_block_q6_K *b, const wn_explained *x,
                     const uint8_t *q) {
  for (int s = 0; s < 16; s++)
    b->scales[s] = (int8_t)x->scale_code[s];
  for (int h = 0; h < 2; h++)
    for (int m = 0; m < 32; m++) {
      const uint8_t *p = q + 128 * h + m;
      b->ql[64 * h + m] = (uint8_t)((p[0] & 15) | (p[64] & 15) << 4);
      b->ql[64 * h + 32 + m] = (uint8_t)((p[32] & 15) | (p[96] & 15) << 4);
      b->qh[32 * h + m] = (uint8_t)(p[0] >> 4 | p[32] >> 4 << 2 |
                                    p[64] >> 4 << 4 | p[96] >> 4 << 6);
    }
}

static void put_iq4_xs(wn_block_iq4_xs *b, const wn_explained *x,
                       const uint8_t *q) {
  b->scales_h = 0;
  memset(b->scales_l, 0, sizeof b->scales_l);
  for (int s = 0; s < 8; s++) {
    int code = x->scale_code[s];
    b->scales_l[s / 2] =
        (uint8_t)(b->scales_l[s / 2] | (code & 15) << (4 * (s % 2)));
    b->scales_h = (uint16_t)(b->scales_h | (code >> 4) << (2 * s));
    put_nibbles(b->qs + 16 * s, q + 32 * s);
  }
}

/* | code 28..31 | 4 x 7 sign bits | of 32 levels, sub-block s. */
static uint32_t sign_word(const wn_explained *x, int s, const uint8_t *signs) {
  uint32_t word = (uint32_t)x->scale_code[s] << 28;
  for (int k = 0; k < 4; k++)
    word |= (uint32_t)(signs[4 * s + k] & 127) << 7 * k;
  return word;
}

static void put_iq2_xxs(wn_block_iq2_xxs *b, const wn_explained *x,
                        const int *at, const uint8_t *signs) {
  for (int s = 0; s < 8; s++) {
    uint32_t words[2] = {0, sign_word(x, s, signs)};
    for (int k = 0; k < 4; k++)
      words[0] |= (uint32_t)at[4 * s + k] << 8 * k;
    memcpy((uint8_t *)b->qs + 8 * s, words, sizeof words);
  }
}

static void put_iq2_xs(wn_block_iq2_xs *b, const wn_explained *x, const int *at,
                       const uint8_t *signs) {
  for (int k = 0; k < 32; k++)
    b->qs[k] = (uint16_t)(at[k] | (signs[k] & 127) << 9);
  for (int s = 0; s < 8; s++)
    b->scales[s] =
        (uint8_t)(x->scale_code[2 * s] | x->scale_code[2 * s + 1] << 4);
}

static void put_iq2_s(wn_block_iq2_s *b, const wn_explained *x, const int *at,
                      const uint8_t *signs) {
  memset(b->qh, 0, sizeof b->qh);
  for (int k = 0; k < 32; k++) {
    b->qs[k] = (uint8_t)(at[k] & 255);
    b->qs[32 + k] = signs[k];
    b->qh[k / 4] = (uint8_t)(b->qh[k / 4] | (at[k] >> 8) << 2 * (k % 4));
  }
  for (int s = 0; s < 8; s++)
    b->scales[s] =
        (uint8_t)(x->scale_code[2 * s] | x->scale_code[2 * s + 1] << 4);
}

static void put_iq3_xxs(wn_block_iq3_xxs *b, const wn_explained *x,
                        const int *at, const uint8_t *signs) {
  for (int k = 0; k < 64; k++)
    b->qs[k] = (uint8_t)at[k];
  for (int s = 0; s < 8; s++) {
    uint32_t word = sign_word(x, s, signs);
    memcpy(b->qs + 64 + 4 * s, &word, sizeof word);
  }
}

static void put_iq3_s(wn_block_iq3_s *b, const wn_explained *x, const int *at,
                      const uint8_t *signs) {
  memset(b->qh, 0, sizeof b->qh);
  for (int k = 0; k < 64; k++) {
    b->qs[k] = (uint8_t)(at[k] & 255);
    b->qh[k / 8] = (uint8_t)(b->qh[k / 8] | (at[k] >> 8) << k % 8);
  }
  memcpy(b->signs, signs, 32);
  for (int s = 0; s < 4; s++)
    b->scales[s] =
        (uint8_t)(x->scale_code[2 * s] | x->scale_code[2 * s + 1] << 4);
}

/* A block of a format with groups; all of them begin with d. */
static void put_points(const wn_grid *g, const wn_explained *x, wn_half d,
                       void *block) {
  int at[64];
  uint8_t signs[32] = {0};
  for (int k = 0; k * g->group < x->n; k++) {
    unsigned bits, shift = (unsigned)(k * g->group) % 8;
    at[k] = point_of(g, x, k, &bits);
    uint8_t *byte = &signs[k * g->group / 8];
    *byte = (uint8_t)(*byte | bits << shift);
  }
  memcpy(block, &d, sizeof d);
  if (g->type == WN_TYPE_IQ2_XXS) put_iq2_xxs(block, x, at, signs);
  if (g->type == WN_TYPE_IQ2_XS) put_iq2_xs(block, x, at, signs);
  if (g->type == WN_TYPE_IQ2_S) put_iq2_s(block, x, at, signs);
  if (g->type == WN_TYPE_IQ3_XXS) put_iq3_xxs(block, x, at, signs);
  if (g->type == WN_TYPE_IQ3_S) put_iq3_s(block, x, at, signs);
}

/* Fifths of a byte: `count` ternary levels q[0], q[step], ... (blocks.h). */
static uint8_t ternary_byte(const uint8_t *q, int step, int count) {
  int number = 0;
  for (int i = 0; i < 5; i++)
    number = 3 * number + (i < count ? q[i * step] : 0);
  return (uint8_t)((number * 256 + 242) / 243);
}

static void put_tq1_0(wn_block_tq1_0 *b, const uint8_t *q) {
  for (int m = 0; m < 32; m++)
    b->qs[m] = ternary_byte(q + m, 32, 5);
  for (int m = 0; m < 16; m++)
    b->qs[32 + m] = ternary_byte(q + 160 + m, 16, 5);
  for (int m = 0; m < 4; m++)
    b->qh[m] = ternary_byte(q + 240 + m, 4, 4);
}

static void put_q1_0(wn_block_q1_0 *b, const uint8_t *q) {
  memset(b->qs, 0, sizeof b->qs);
  for (int i = 0; i < 128; i++)
    b->qs[i / 8] = (uint8_t)(b->qs[i / 8] | q[i] << i % 8);
}

static void put_q2_0(wn_block_q2_0 *b, const uint8_t *q) {
  memset(b->qs, 0, sizeof b->qs);
  for (int i = 0; i < 64; i++)
    b->qs[i / 4] = (uint8_t)(b->qs[i / 4] | q[i] << 2 * (i % 4));
}

/* The nibble of a place in e2m1_values: bit 3 is the sign. */
static uint8_t e2m1_nibble(uint8_t place) {
  return (uint8_t)(place >= 7 ? place - 7 : 8 | (7 - place));
}

static void put_fp4(const wn_grid *g, const wn_explained *x, uint8_t *q,
                    void *block) {
  for (int i = 0; i < x->n; i++)
    q[i] = e2m1_nibble(q[i]);
  if (g->type == WN_TYPE_MXFP4) {
    wn_block_mxfp4 *b = block;
    b->e = (uint8_t)x->scale_code[0];
    put_nibbles(b->qs, q);
    return;
  }
  wn_block_nvfp4 *b = block;
  for (int s = 0; s < 4; s++) {
    b->d[s] = (uint8_t)x->scale_code[s];
    for (int j = 0; j < 8; j++)
      b->qs[8 * s + j] = (uint8_t)(q[16 * s + j] | q[16 * s + j + 8] << 4);
  }
}

void wn_compose(const wn_grid *g, const wn_explained *x, void *block) {
  uint8_t q[WN_QK];
  wn_half d = wn_f16_of_f32(x->d), dmin = wn_f16_of_f32(x->dmin);
  if (g->group > 0) {
    put_points(g, x, d, block);
    return;
  }
  places(g, x, q);
  switch (g->type) {
    case WN_TYPE_MXFP4:
    case WN_TYPE_NVFP4:
      put_fp4(g, x, q, block);
      return;
    case WN_TYPE_Q1_0: {
      wn_block_q1_0 *b = block;
      b->d = d;
      put_q1_0(b, q);
      return;
    }
    case WN_TYPE_Q2_0: {
      wn_block_q2_0 *b = block;
      b->d = d;
      put_q2_0(b, q);
      return;
    }
    case WN_TYPE_TQ1_0: {
      wn_block_tq1_0 *b = block;
      b->d = d;
      put_tq1_0(b, q);
      return;
    }
    case WN_TYPE_TQ2_0: {
      wn_block_tq2_0 *b = block;
      b->d = d;
      put_pairs(b->qs, q);
      return;
    }
    case WN_TYPE_Q4_0:
    case WN_TYPE_IQ4_NL: {
      wn_block_q4_0 *b = block;
      b->d = d;
      put_nibbles(b->qs, q);
      return;
    }
    case WN_TYPE_Q4_1: {
      wn_block_q4_1 *b = block;
      b->d = d, b->m = dmin;
      put_nibbles(b->qs, q);
      return;
    }
    case WN_TYPE_Q5_0: {
      wn_block_q5_0 *b = block;
      b->d = d;
      put_nibbles(b->qs, q);
      put_fifth(b->qh, q);
      return;
    }
    case WN_TYPE_Q5_1: {
      wn_block_q5_1 *b = block;
      b->d = d, b->m = dmin;
      put_nibbles(b->qs, q);
      put_fifth(b->qh, q);
      return;
    }
    case WN_TYPE_Q8_0: {
      wn_block_q8_0 *b = block;
      b->d = d;
      for (int i = 0; i < 32; i++)
        b->qs[i] = (int8_t)x->level[i];
      return;
    }
    case WN_TYPE_Q2_K: {
      wn_block_q2_K *b = block;
      b->d = d, b->dmin = dmin;
      put_q2_K(b, x, q);
      return;
    }
    case WN_TYPE_Q3_K: {
      wn_block_q3_K *b = block;
      b->d = d;
      put_q3_K(b, x, q);
      return;
    }
    case WN_TYPE_Q4_K: {
      wn_block_q4_K *b = block;
      b->d = d, b->dmin = dmin;
      put_six_bit(b->scales, x);
      put_k_nibbles(b->qs, q);
      return;
    }
    case WN_TYPE_Q5_K: {
      wn_block_q5_K *b = block;
      b->d = d, b->dmin = dmin;
      put_q5_K(b, x, q);
      return;
    }
    case WN_TYPE_Q6_K: {
      wn_block_q6_K *b = block;
      b->d = d;
      put_q6_K(b, x, q);
      return;
    }
    case WN_TYPE_IQ4_XS: {
      wn_block_iq4_xs *b = block;
      b->d = d;
      put_iq4_xs(b, x, q);
      return;
    }
    default:
      return;
  }
}
