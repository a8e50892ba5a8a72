/* kencode.c - the k formats defined: scalar encoders and the wn_format rows.
 *
 * The bytes are those of llama.cpp v0.5.0. Without importance each format
 * has a simpler weighting and quantizes its scales by rounding; with
 * importance the weights follow it and the scales are fitted too. q8_K is an
 * activation format and takes no importance. */
#include <math.h>

#include "base/cpu.h"
#include "base/half.h"
#include "quant/family.h"
#include "quant/k.h"

WN_EXACT_FLOAT

/* ---- Weights of the error. ---------------------------------------------- */

static float sum_of_squares(int n, const float *x) {
  float sum = 0;
  for (int i = 0; i < n; i++)
    sum += x[i] * x[i];
  return sum;
}

static float sum_of(int n, const float *x) {
  float sum = 0;
  for (int i = 0; i < n; i++)
    sum += x[i];
  return sum;
}

/* With importance: v sqrt(sigma2 + x^2), sigma2 a mean square of the
 * super-block. */
static void weigh(int n, const float *x, const float *importance, float sigma2,
                  float *w) {
  for (int i = 0; i < n; i++)
    w[i] = importance[i] * sqrtf(sigma2 + x[i] * x[i]);
}

/* Without: |x| in q2_K, in q4_K and q5_K plus the sub-block's root mean
 * square. */
static void weigh_plain(int n, const float *x, float *w) {
  float base = n == 16 ? 0 : sqrtf(sum_of_squares(n, x) / 32);
  for (int i = 0; i < n; i++)
    w[i] = base + fabsf(x[i]);
}

/* ---- q2_K, q4_K, q5_K: scale and minimum. ------------------------------- */

/* Quantizes non-negative scales (or minima) by rounding against their
 * largest. Returns the scale of the scales. */
static float round_scales(int n, int top, const float *v, uint8_t *out) {
  float max = 0;
  for (int i = 0; i < n; i++)
    if (v[i] > max) max = v[i];
  float inverse = max > 0 ? (float)top / max : 0;
  for (int i = 0; i < n; i++)
    out[i] = (uint8_t)wn_k_round(inverse * v[i]);
  return max / (float)top;
}

/* Stages 1 and 2 of a super-block: levels, and unpacked scales. */
static void fit_super_block(const wn_k_affine *f, const float *x,
                            const float *importance, uint8_t *L,
                            wn_k_scales *s) {
  float scale[16], min[16], sum_w[16], w[32], sigma2 = 0;
  int n = WN_QK / f->sub;
  if (importance != NULL) { /* mean square; twice that for the 32s */
    float sum = sum_of_squares(WN_QK, x);
    sigma2 = (f->sub == 16 ? sum : 2 * sum) / WN_QK;
  }
  for (int j = 0; j < n; j++) {
    const float *sub = x + j * f->sub;
    if (importance != NULL)
      weigh(f->sub, sub, importance + j * f->sub, sigma2, w);
    else
      weigh_plain(f->sub, sub, w);
    sum_w[j] = sum_of(f->sub, w);
    const wn_k_grid *g = importance != NULL ? &f->weighed : &f->plain;
    scale[j] =
        wn_k_fit_affine(f->sub, f->top, g, sub, w, L + j * f->sub, &min[j]);
  }
  float d, dmin;
  if (importance != NULL) {
    d = wn_k_fit_positive(n, f->scale_top, scale, sum_w, s->scale);
    dmin = wn_k_fit_positive(n, f->scale_top, min, sum_w, s->min);
  } else {
    d = round_scales(n, f->scale_top, scale, s->scale);
    dmin = round_scales(n, f->scale_top, min, s->min);
  }
  s->d = wn_f16_of_f32(d);
  s->dmin = wn_f16_of_f32(dmin);
}

/* Stage 3: rounds all values with the quantized scales as they were packed;
 * sub-blocks of scale zero keep their levels. */
static void round_affine(const wn_k_affine *f, const float *x,
                         const wn_k_scales *s, uint8_t *L) {
  for (int j = 0; j < WN_QK / f->sub; j++) {
    float d = wn_f32_of_f16(s->d) * (float)s->scale[j];
    if (d == 0) continue;
    float m = wn_f32_of_f16(s->dmin) * (float)s->min[j];
    for (int i = j * f->sub; i < (j + 1) * f->sub; i++)
      L[i] = (uint8_t)wn_k_clamp(wn_k_round((x[i] + m) / d), 0, f->top);
  }
}

/* Two bits of each level: q2_K and the low bits of q3_K. */
static void pack_2_bits(const uint8_t *L, uint8_t qs[64]) {
  for (int h = 0; h < 2; h++, L += 128)
    for (int m = 0; m < 32; m++)
      qs[32 * h + m] = (uint8_t)((L[m] & 3) | (L[m + 32] & 3) << 2 |
                                 (L[m + 64] & 3) << 4 | (L[m + 96] & 3) << 6);
}

static void encode_q2(const float *x, wn_block_q2_K *y,
                      const float *importance) {
  uint8_t L[WN_QK];
  wn_k_scales s;
  fit_super_block(&wn_k_affine_q2, x, importance, L, &s);
  for (int j = 0; j < 16; j++) {
    y->scales[j] = (uint8_t)(s.scale[j] | s.min[j] << 4);
    s.scale[j] = y->scales[j] & 15;
    s.min[j] = y->scales[j] >> 4;
  }
  y->d = s.d;
  y->dmin = s.dmin;
  round_affine(&wn_k_affine_q2, x, &s, L);
  pack_2_bits(L, y->qs);
}

/* Everything of q4_K and q5_K but the levels' packing. q4_K with importance
 * alone does not cap the fitted scales. */
static void encode_45(const wn_k_affine *f, const float *x,
                      const float *importance, wn_block_q4_K *y, uint8_t *L) {
  wn_k_scales s;
  fit_super_block(f, x, importance, L, &s);
  bool cap = importance == NULL || f->top != 15;
  for (int j = 0; cap && j < 8; j++) {
    if (s.scale[j] > 63) s.scale[j] = 63;
    if (s.min[j] > 63) s.min[j] = 63;
  }
  y->d = s.d;
  y->dmin = s.dmin;
  wn_k_pack_scales45(&s, y->scales);
  wn_k_unpack_scales45(y->scales, s.scale, s.min);
  round_affine(f, x, &s, L);
}

/* Low nibbles of pairs of sub-blocks. */
static void pack_nibbles(const uint8_t *L, uint8_t qs[128]) {
  for (int p = 0; p < 4; p++, L += 64)
    for (int m = 0; m < 32; m++)
      qs[32 * p + m] = (uint8_t)((L[m] & 15) | (L[m + 32] & 15) << 4);
}

static void encode_q4(const float *x, wn_block_q4_K *y,
                      const float *importance) {
  uint8_t L[WN_QK];
  encode_45(&wn_k_affine_q4, x, importance, y, L);
  pack_nibbles(L, y->qs);
}

static void encode_q5(const float *x, wn_block_q5_K *y,
                      const float *importance) {
  uint8_t L[WN_QK];
  wn_block_q4_K head;
  encode_45(&wn_k_affine_q5, x, importance, &head, L);
  y->d = head.d;
  y->dmin = head.dmin;
  memcpy(y->scales, head.scales, sizeof y->scales);
  memset(y->qh, 0, sizeof y->qh);
  for (int i = 0; i < WN_QK; i++)
    y->qh[i % 32] |= (uint8_t)((L[i] >> 4) << (i / 32));
  pack_nibbles(L, y->qs);
}

/* ---- q3_K, q6_K: scale only. -------------------------------------------- */

/* The first scale of the largest magnitude, with its sign. */
static float largest_scale(const float scale[16]) {
  float max = 0, amax = 0;
  for (int j = 0; j < 16; j++) {
    if (fabsf(scale[j]) > amax) {
      amax = fabsf(scale[j]);
      max = scale[j];
    }
  }
  return max;
}

/* Stage 3; scale holds the signed quantized scales. */
static void round_symmetric(int top, const float *x, wn_half half_d,
                            const int8_t scale[16], uint8_t *L) {
  for (int j = 0; j < 16; j++) {
    float d = wn_f32_of_f16(half_d) * (float)scale[j];
    if (d == 0) continue;
    for (int i = 16 * j; i < 16 * j + 16; i++)
      L[i] = (uint8_t)(top + wn_k_clamp(wn_k_round(x[i] / d), -top, top - 1));
  }
}

/* Stages 1 and 2 without importance; `biased` receives scales + 32. */
static float fit_q3_plain(const float *x, uint8_t *L, uint8_t biased[16]) {
  float scale[16];
  for (int j = 0; j < 16; j++)
    scale[j] = wn_k_fit_rounds(16, 4, x + 16 * j, L + 16 * j);
  float max = largest_scale(scale);
  memset(biased, 0, 16);
  if (max == 0) return 0;
  float iscale = -32.f / max;
  for (int j = 0; j < 16; j++) {
    int8_t l = (int8_t)wn_k_round(iscale * scale[j]);
    biased[j] = (uint8_t)(wn_k_clamp(l, -32, 31) + 32);
  }
  return 1 / iscale;
}

static float fit_q3_weighed(const float *x, const float *importance, uint8_t *L,
                            uint8_t biased[16]) {
  float scale[16], sum_w[16], w[16];
  float sigma2 = 2 * sum_of_squares(WN_QK, x) / WN_QK;
  for (int j = 0; j < 16; j++) {
    weigh(16, x + 16 * j, importance + 16 * j, sigma2, w);
    sum_w[j] = sum_of(16, w);
    scale[j] = wn_k_fit_symmetric(16, 4, x + 16 * j, w, L + 16 * j);
  }
  return wn_k_fit_symmetric(16, 32, scale, sum_w, biased);
}

static void encode_q3(const float *x, wn_block_q3_K *y,
                      const float *importance) {
  uint8_t L[WN_QK], biased[16];
  int8_t scale[16];
  float d = importance != NULL ? fit_q3_weighed(x, importance, L, biased)
                               : fit_q3_plain(x, L, biased);
  y->d = wn_f16_of_f32(d);
  wn_k_pack_scales3(biased, y->scales);
  for (int j = 0; j < 16; j++)
    scale[j] = (int8_t)(biased[j] - 32);
  round_symmetric(4, x, y->d, scale, L);
  memset(y->hmask, 0, sizeof y->hmask);
  for (int i = 0; i < WN_QK; i++)
    y->hmask[i % 32] |= (uint8_t)((L[i] >> 2) << (i / 32));
  pack_2_bits(L, y->qs);
}

static void pack_q6(const uint8_t *L, wn_block_q6_K *y) {
  for (int h = 0; h < 2; h++, L += 128) {
    uint8_t *ql = y->ql + 64 * h, *qh = y->qh + 32 * h;
    for (int m = 0; m < 32; m++) {
      ql[m] = (uint8_t)((L[m] & 15) | (L[m + 64] & 15) << 4);
      ql[m + 32] = (uint8_t)((L[m + 32] & 15) | (L[m + 96] & 15) << 4);
      qh[m] = (uint8_t)(L[m] >> 4 | (L[m + 32] >> 4) << 2 |
                        (L[m + 64] >> 4) << 4 | (L[m + 96] >> 4) << 6);
    }
  }
}

static void encode_q6(const float *x, wn_block_q6_K *y,
                      const float *importance) {
  uint8_t L[WN_QK];
  float scale[16], w[16];
  for (int j = 0; j < 16; j++) {
    const float *sub = x + 16 * j;
    for (int i = 0; i < 16; i++)
      w[i] = importance != NULL ? importance[16 * j + i] : sub[i] * sub[i];
    scale[j] = wn_k_fit_symmetric(16, 32, sub, w, L + 16 * j);
  }
  float max = largest_scale(scale);
  memset(y, 0, sizeof *y);
  if (fabsf(max) < WN_K_EPS) return;
  float iscale = -128.f / max;
  y->d = wn_f16_of_f32(1 / iscale);
  for (int j = 0; j < 16; j++) {
    int l = wn_k_round(iscale * scale[j]);
    y->scales[j] = (int8_t)(l > 127 ? 127 : l);
  }
  round_symmetric(32, x, y->d, y->scales, L);
  pack_q6(L, y);
}

/* ---- q8_K. --------------------------------------------------------------- */

static void encode_q8(const float *x, wn_block_q8_K *y,
                      const float *importance) {
  (void)importance;
  float max = 0, amax = 0;
  for (int i = 0; i < WN_QK; i++) {
    if (fabsf(x[i]) > amax) {
      amax = fabsf(x[i]);
      max = x[i];
    }
  }
  memset(y, 0, sizeof *y);
  if (amax == 0) return;
  float iscale = -127.f / max;
  for (int i = 0; i < WN_QK; i++) {
    int l = wn_k_round(iscale * x[i]);
    y->qs[i] = (int8_t)(l > 127 ? 127 : l);
  }
  for (int i = 0; i < WN_QK; i++)
    y->bsums[i / 16] = (int16_t)(y->bsums[i / 16] + y->qs[i]);
  y->d = 1 / iscale;
}

/* ---- Rows, and the table. ----------------------------------------------- */

#define ROWS(q)                                                     \
  static void encode_##q##_K(const float *src, void *dst, size_t n, \
                             const float *importance) {             \
    wn_block_##q##_K *y = dst;                                      \
    for (size_t i = 0; i < n; i += WN_QK)                           \
      encode_##q(src + i, y++, importance ? importance + i : NULL); \
  }
ROWS(q2)
ROWS(q3)
ROWS(q4)
ROWS(q5)
ROWS(q6)
ROWS(q8)

const wn_format wn_fmt_q2_K = {WN_TYPE_Q2_K, false, true, encode_q2_K,
                               wn_k_decode_q2};
const wn_format wn_fmt_q3_K = {WN_TYPE_Q3_K, false, true, encode_q3_K,
                               wn_k_decode_q3};
const wn_format wn_fmt_q4_K = {WN_TYPE_Q4_K, false, true, encode_q4_K,
                               wn_k_decode_q4};
const wn_format wn_fmt_q5_K = {WN_TYPE_Q5_K, false, true, encode_q5_K,
                               wn_k_decode_q5};
const wn_format wn_fmt_q6_K = {WN_TYPE_Q6_K, false, true, encode_q6_K,
                               wn_k_decode_q6};
const wn_format wn_fmt_q8_K = {WN_TYPE_Q8_K, false, false, encode_q8_K,
                               wn_k_decode_q8};
