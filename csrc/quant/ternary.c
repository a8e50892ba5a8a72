/* ternary.c - the definition of tq1_0 and tq2_0: 256 values of -1, 0 or 1
 * times the largest magnitude. llama.cpp v0.5.0's bytes. */
#include <string.h>

#include "quant/blocks.h"
#include "quant/family.h"
#include "quant/round.h"

WN_EXACT_FLOAT

/* Levels 0, 1, 2 (for -1, 0, 1) of 256 values; returns the scale. A product
 * that is not finite (the inverse of a tiny scale overflows) counts as 0. */
static float round_ternary(const float *x, uint8_t *q) {
  float d = 0;
  for (int i = 0; i < WN_QK; i++)
    if (d < fabsf(x[i])) d = fabsf(x[i]);
  float id = d != 0 ? 1.0f / d : 0.0f;
  for (int i = 0; i < WN_QK; i++) {
    float v = x[i] * id;
    q[i] = (uint8_t)(isfinite(v) ? wn_round_i32(v) + 1 : 1);
  }
  return d;
}

/* `count` digits q[0], q[step], ... as a fraction of 3^5 in 256ths. */
static uint8_t pack_digits(const uint8_t *q, int step, int count) {
  int number = 0;
  for (int i = 0; i < 5; i++)
    number = 3 * number + (i < count ? q[i * step] : 0);
  return (uint8_t)((number * 256 + 242) / 243);
}

/* Digit n of a packed byte, most significant first. */
static int unpack_digit(uint8_t packed, int n) {
  static const uint8_t power[5] = {1, 3, 9, 27, 81};
  uint8_t rest = (uint8_t)(packed * power[n]);
  return rest * 3 >> 8;
}

static void encode_tq1_0(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_tq1_0 *y = dst;
  for (size_t i = 0; i < n; i += WN_QK, y++) {
    uint8_t q[WN_QK];
    y->d = wn_f16_of_f32(round_ternary(src + i, q));
    for (int m = 0; m < 32; m++)
      y->qs[m] = pack_digits(q + m, 32, 5);
    for (int m = 0; m < 16; m++)
      y->qs[32 + m] = pack_digits(q + 160 + m, 16, 5);
    for (int m = 0; m < 4; m++)
      y->qh[m] = pack_digits(q + 240 + m, 4, 4);
  }
}

/* step * count digits of bytes qs[0..step): digit 0 of all, digit 1, ... */
static float *unpack_digits(const uint8_t *qs, int step, int count, float d,
                            float *y) {
  for (int n = 0; n < count; n++)
    for (int m = 0; m < step; m++)
      *y++ = (float)(unpack_digit(qs[m], n) - 1) * d;
  return y;
}

static void decode_tq1_0(const void *src, float *dst, size_t n) {
  const wn_block_tq1_0 *y = src;
  for (; n != 0; n -= WN_QK, y++) {
    float d = wn_f32_of_f16(y->d);
    dst = unpack_digits(y->qs, 32, 5, d, dst);
    dst = unpack_digits(y->qs + 32, 16, 5, d, dst);
    dst = unpack_digits(y->qh, 4, 4, d, dst);
  }
}

static void encode_tq2_0(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_tq2_0 *y = dst;
  for (size_t i = 0; i < n; i += WN_QK, y++) {
    uint8_t q[WN_QK];
    y->d = wn_f16_of_f32(round_ternary(src + i, q));
    for (int j = 0; j < 64; j++) {
      const uint8_t *p = q + j / 32 * 128 + j % 32;
      y->qs[j] = (uint8_t)(p[0] | p[32] << 2 | p[64] << 4 | p[96] << 6);
    }
  }
}

static void decode_tq2_0(const void *src, float *dst, size_t n) {
  const wn_block_tq2_0 *y = src;
  for (; n != 0; n -= WN_QK, y++) {
    float d = wn_f32_of_f16(y->d);
    for (int i = 0; i < WN_QK; i++) {
      int q = y->qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
      *dst++ = (float)(q - 1) * d;
    }
  }
}

const wn_format wn_fmt_tq1_0 = {WN_TYPE_TQ1_0, false, false, encode_tq1_0,
                                decode_tq1_0};
const wn_format wn_fmt_tq2_0 = {WN_TYPE_TQ2_0, false, false, encode_tq2_0,
                                decode_tq2_0};
