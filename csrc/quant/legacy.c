/* legacy.c - the definition of the formats with one scale (and minimum) per
 * block: q4_0 q4_1 q5_0 q5_1 q8_0 q8_1, and the newer q1_0 and q2_0.
 *
 * Guarantees llama.cpp v0.5.0's bytes. Without importance a block is rounded
 * to the nearest levels of the scale that its extreme values give; with
 * importance (q4_0 ... q5_1) search.h finds the scale. Layouts and decoding
 * formulas: blocks.h. A scale beyond binary16 becomes infinity, as there. */
#include <float.h>
#include <stdbool.h>
#include <string.h>

#include "quant/blocks.h"
#include "quant/family.h"
#include "quant/search.h"

WN_EXACT_FLOAT

enum { B = WN_LEGACY_BLOCK };

static float inverse(float d) {
  return d != 0 ? 1.0f / d : 0.0f;
}

/* qs[j] = low nibbles of levels j and j + 16 */
static void pack_nibbles(const uint8_t *q, uint8_t *qs) {
  for (int j = 0; j < B / 2; j++)
    qs[j] = (uint8_t)((q[j] & 15) | (q[j + B / 2] & 15) << 4);
}

/* bit i of qh (little-endian) = fifth bit of level i */
static void pack_fifth_bits(const uint8_t *q, uint8_t *qh) {
  memset(qh, 0, B / 8);
  for (int i = 0; i < B; i++)
    qh[i / 8] = (uint8_t)(qh[i / 8] | ((q[i] >> 4) & 1) << (i % 8));
}

static int level4(const uint8_t *qs, int i) {
  return i < B / 2 ? qs[i] & 15 : qs[i - B / 2] >> 4;
}

static int level5(const uint8_t *qs, const uint8_t *qh, int i) {
  return level4(qs, i) | ((qh[i / 8] >> (i % 8)) & 1) << 4;
}

/* -- rounding without importance ------------------------------------------ */

/* Symmetric: the largest magnitude becomes level 0 (-top). Returns the
 * scale. Levels are rounded by adding a half and cutting. */
static float round_symmetric(const float *x, int top, uint8_t *q) {
  float d = wn_signed_max(x, B) / (float)-top, id = inverse(d);
  for (int i = 0; i < B; i++) {
    int8_t l = wn_trunc_i8(x[i] * id + ((float)top + 0.5f));
    q[i] = (uint8_t)(l < 2 * top - 1 ? l : 2 * top - 1);
  }
  return d;
}

/* Affine: minimum to level 0, maximum to `top`. Returns the scale. */
static float round_affine(const float *x, int top, uint8_t *q, float *min) {
  float lo = FLT_MAX, hi = -FLT_MAX;
  for (int i = 0; i < B; i++) {
    if (x[i] < lo) lo = x[i];
    if (x[i] > hi) hi = x[i];
  }
  float d = (hi - lo) / (float)top, id = inverse(d);
  for (int i = 0; i < B; i++) {
    int8_t l = wn_trunc_i8((x[i] - lo) * id + 0.5f);
    q[i] = (uint8_t)(l < top ? l : top);
  }
  *min = lo;
  return d;
}

/* Scale (and minimum) and levels of one block, by search when there is an
 * importance vector. */
static float fit_symmetric(const float *x, const float *importance,
                           float sigma2, int top, uint8_t *q) {
  if (importance == NULL) return round_symmetric(x, top, q);
  float w[B];
  wn_search_weights(x, importance, sigma2, w);
  return wn_search_scale(x, w, top, q);
}

static float fit_affine(const float *x, const float *importance, float sigma2,
                        int top, uint8_t *q, float *min) {
  if (importance == NULL) return round_affine(x, top, q, min);
  float w[B];
  wn_search_weights(x, importance, sigma2, w);
  return wn_search_affine(x, w, top, q, min);
}

static float sigma2_of(const float *x, size_t n, const float *importance) {
  return importance != NULL ? wn_row_sigma2(x, n) : 0;
}

/* -- encoders ------------------------------------------------------------- */

/* ENCODER(name) { body }: `body` fills block y from the 32 values x; imp is
 * their importance or NULL. */
#define ENCODER(name)                                                      \
  static void block_##name(const float *x, const float *imp, float sigma2, \
                           wn_block_##name *y);                            \
  static void encode_##name(const float *src, void *dst, size_t n,         \
                            const float *importance) {                     \
    wn_block_##name *y = dst;                                              \
    float sigma2 = sigma2_of(src, n, importance);                          \
    for (size_t i = 0; i < n; i += B)                                      \
      block_##name(src + i, importance != NULL ? importance + i : NULL,    \
                   sigma2, y++);                                           \
  }                                                                        \
  static void block_##name(const float *x, const float *imp, float sigma2, \
                           wn_block_##name *y)

ENCODER(q4_0) {
  uint8_t q[B];
  y->d = wn_f16_of_f32(fit_symmetric(x, imp, sigma2, 8, q));
  pack_nibbles(q, y->qs);
}

ENCODER(q4_1) {
  uint8_t q[B];
  float min;
  y->d = wn_f16_of_f32(fit_affine(x, imp, sigma2, 15, q, &min));
  y->m = wn_f16_of_f32(min);
  pack_nibbles(q, y->qs);
}

ENCODER(q5_0) {
  uint8_t q[B];
  y->d = wn_f16_of_f32(fit_symmetric(x, imp, sigma2, 16, q));
  pack_nibbles(q, y->qs);
  pack_fifth_bits(q, y->qh);
}

ENCODER(q5_1) {
  uint8_t q[B];
  float min;
  y->d = wn_f16_of_f32(fit_affine(x, imp, sigma2, 31, q, &min));
  y->m = wn_f16_of_f32(min);
  pack_nibbles(q, y->qs);
  pack_fifth_bits(q, y->qh);
}

/* Levels -127..127 of the largest magnitude. Returns the scale. */
static float round_q8(const float *x, int8_t *q) {
  float d = fabsf(wn_signed_max(x, B)) / 127.0f, id = inverse(d);
  for (int i = 0; i < B; i++)
    q[i] = wn_trunc_i8(roundf(x[i] * id));
  return d;
}

static void encode_q8_0(const float *src, void *dst, size_t n,
                        const float *importance) {
  (void)importance;
  wn_block_q8_0 *y = dst;
  for (size_t i = 0; i < n; i += B, y++)
    y->d = wn_f16_of_f32(round_q8(src + i, y->qs));
}

static void encode_q8_1(const float *src, void *dst, size_t n,
                        const float *importance) {
  (void)importance;
  wn_block_q8_1 *y = dst;
  for (size_t i = 0; i < n; i += B, y++) {
    float d = round_q8(src + i, y->qs);
    int sum = 0;
    for (int j = 0; j < B; j++)
      sum += y->qs[j];
    y->d = wn_f16_of_f32(d);
    y->s = wn_f16_of_f32((float)sum * d);
  }
}

/* Signs only; the scale is the mean magnitude. Zero counts as positive. */
static void encode_q1_0(const float *src, void *dst, size_t n,
                        const float *importance) {
  (void)importance;
  wn_block_q1_0 *y = dst;
  for (const float *x = src; x < src + n; x += WN_VALUES_Q1_0, y++) {
    float sum = 0;
    for (int i = 0; i < WN_VALUES_Q1_0; i++)
      sum += fabsf(x[i]);
    y->d = wn_f16_of_f32(sum / (float)WN_VALUES_Q1_0);
    memset(y->qs, 0, sizeof y->qs);
    for (int i = 0; i < WN_VALUES_Q1_0; i++)
      if (x[i] >= 0) y->qs[i / 8] = (uint8_t)(y->qs[i / 8] | 1 << (i % 8));
  }
}

/* Levels -1, 0, 1 of the largest magnitude (level 2 is never needed). */
static void encode_q2_0(const float *src, void *dst, size_t n,
                        const float *importance) {
  (void)importance;
  wn_block_q2_0 *y = dst;
  for (const float *x = src; x < src + n; x += WN_VALUES_Q2_0, y++) {
    float d = fabsf(wn_signed_max(x, WN_VALUES_Q2_0)), id = inverse(d);
    y->d = wn_f16_of_f32(d);
    memset(y->qs, 0, sizeof y->qs);
    for (int i = 0; i < WN_VALUES_Q2_0; i++) {
      int l = wn_clamp(wn_round_i32(x[i] * id), -1, 2) + 1;
      y->qs[i / 4] = (uint8_t)(y->qs[i / 4] | l << (2 * (i % 4)));
    }
  }
}

/* -- decoders ------------------------------------------------------------- */

/* DECODER(name, ID, value): w[i] = value, an expression of block y, index i,
 * its scale d and minimum m (0 where the format has none). */
#define DECODER(name, ID, min, value)                                \
  static void decode_##name(const void *src, float *dst, size_t n) { \
    const wn_block_##name *y = src;                                  \
    for (; n != 0; n -= WN_VALUES_##ID, y++) {                       \
      float d = wn_f32_of_f16(y->d), m = min;                        \
      (void)m;                                                       \
      for (int i = 0; i < WN_VALUES_##ID; i++)                       \
        *dst++ = value;                                              \
    }                                                                \
  }

DECODER(q4_0, Q4_0, 0, (float)(level4(y->qs, i) - 8) * d)
DECODER(q4_1, Q4_1, wn_f32_of_f16(y->m), (float)level4(y->qs, i) * d + m)
DECODER(q5_0, Q5_0, 0, (float)(level5(y->qs, y->qh, i) - 16) * d)
DECODER(q5_1, Q5_1, wn_f32_of_f16(y->m), (float)level5(y->qs, y->qh, i) * d + m)
DECODER(q8_0, Q8_0, 0, (float)y->qs[i] * d)
DECODER(q8_1, Q8_1, 0, (float)y->qs[i] * d)
DECODER(q1_0, Q1_0, 0, (y->qs[i / 8] >> (i % 8)) & 1 ? d : -d)
DECODER(q2_0, Q2_0, 0, (float)((y->qs[i / 4] >> (2 * (i % 4)) & 3) - 1) * d)

#define FORMAT(ID, name, uses_importance)                                \
  const wn_format wn_fmt_##name = {WN_TYPE_##ID, false, uses_importance, \
                                   encode_##name, decode_##name};
FORMAT(Q4_0, q4_0, true)
FORMAT(Q4_1, q4_1, true)
FORMAT(Q5_0, q5_0, true)
FORMAT(Q5_1, q5_1, true)
FORMAT(Q8_0, q8_0, false)
FORMAT(Q8_1, q8_1, false)
FORMAT(Q1_0, q1_0, false)
FORMAT(Q2_0, q2_0, false)
