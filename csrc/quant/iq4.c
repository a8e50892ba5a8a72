/* iq4.c - the reference encoders of iq4_nl and iq4_xs.
 *
 * 32 values share a scale; a level indexes 16 uneven values. Sixteen scales
 * are tried: one that maps the largest value to -127 and fifteen around the
 * one that maps it to +127 or so; each is refined by least squares and the
 * one with the largest gain (sum w x q)^2 / (sum w q^2) wins. iq4_nl stores it
 * as it is; iq4_xs rounds the 8 scales of a super-block to 6 bits. */
#include <string.h>

#include "quant/family.h"
#include "quant/iq_block.h"

WN_EXACT_FLOAT

enum { N_TRIES = 7 };

/* Index of the value nearest to x, the upper one of equals. */
static int nearest_value(float x) {
  const int8_t *v = wn_iq4_values;
  if (x <= v[0]) return 0;
  if (x >= v[15]) return 15;
  int low = 0, high = 15;
  while (high - low > 1) {
    int mid = (low + high) / 2;
    if (x < v[mid])
      high = mid;
    else
      low = mid;
  }
  return x - v[high - 1] < v[high] - x ? high - 1 : high;
}

/* sum w q x and sum w q^2 with every value rounded at inverse scale `id`. */
static void sum_up(const float *x, const float *weight, float id, float *sum_qx,
                   float *sum_qq) {
  *sum_qx = *sum_qq = 0;
  for (int j = 0; j < 32; j++) {
    float q = wn_iq4_values[nearest_value(id * x[j])];
    *sum_qx += weight[j] * q * x[j];
    *sum_qq += weight[j] * q * q;
  }
}

/* The scale of 32 values. */
static float find_scale(const float *x, const float *importance,
                        float variance) {
  float weight[32], amax = 0, max = 0;
  for (int j = 0; j < 32; j++) {
    weight[j] =
        importance ? wn_iq_weight(x[j], importance[j], variance) : x[j] * x[j];
    if (fabsf(x[j]) > amax) {
      amax = fabsf(x[j]);
      max = x[j];
    }
  }
  if (amax < 1e-15f) return 0;
  float d = -max / wn_iq4_values[0], sum_qx, sum_qq;
  sum_up(x, weight, 1 / d, &sum_qx, &sum_qq);
  d = sum_qq > 0 ? sum_qx / sum_qq : 0;
  float best = d * sum_qx;
  for (int t = -N_TRIES; t <= N_TRIES; t++) {
    sum_up(x, weight, (float)(t + wn_iq4_values[0]) / max, &sum_qx, &sum_qq);
    if (sum_qq > 0 && sum_qx * sum_qx > best * sum_qq) {
      d = sum_qx / sum_qq;
      best = d * sum_qx;
    }
  }
  return d;
}

/* 32 values as nibbles at inverse scale `id`. */
static void put_levels(const float *x, float id, uint8_t *qs) {
  for (int j = 0; j < 16; j++)
    qs[j] = (uint8_t)(nearest_value(id * x[j]) | nearest_value(id * x[j + 16])
                                                     << 4);
}

static void encode_iq4_nl(const float *src, void *dst, size_t n,
                          const float *importance) {
  wn_block_iq4_nl *b = dst;
  for (size_t i = 0; i < n; i += 32, b++) {
    float sum = 0;
    for (size_t j = i; j < i + 32; j++)
      sum += src[j] * src[j];
    float d = find_scale(src + i, importance ? importance + i : NULL,
                         sum * (2.f / 32));
    b->d = wn_f16_of_f32(d);
    put_levels(src + i, d != 0 ? 1 / d : 0, b->qs);
  }
}

/* Scales rounded to 6 bits in steps of d, and the levels that follow. */
static void pack_iq4_xs(const float *x, const float *scale, float d,
                        wn_block_iq4_xs *b) {
  float id = d != 0 ? 1 / d : 0;
  memset(b, 0, sizeof *b);
  b->d = wn_f16_of_f32(d);
  for (int ib = 0; ib < 8; ib++) {
    int l = wn_iq_clamp(wn_iq_nearest(id * scale[ib]), -32, 31);
    float dl = d * (float)l;
    put_levels(x + 32 * ib, dl != 0 ? 1 / dl : 0, b->qs + 16 * ib);
    l += 32;
    b->scales_l[ib / 2] |= (uint8_t)((l & 15) << 4 * (ib % 2));
    b->scales_h |= (uint16_t)(l >> 4 << 2 * ib);
  }
}

static void encode_iq4_xs(const float *src, void *dst, size_t n,
                          const float *importance) {
  wn_block_iq4_xs *b = dst;
  for (size_t i = 0; i < n; i += WN_QK, b++) {
    float variance = wn_iq_sum_squares(src + i) * (2.f / WN_QK);
    float scale[8], max = 0, amax = 0;
    for (int ib = 0; ib < 8; ib++) {
      size_t at = i + (size_t)(32 * ib);
      scale[ib] =
          find_scale(src + at, importance ? importance + at : NULL, variance);
      if (fabsf(scale[ib]) > amax) {
        amax = fabsf(scale[ib]);
        max = scale[ib];
      }
    }
    pack_iq4_xs(src + i, scale, -max / 32, b);
  }
}

const wn_format wn_fmt_iq4_nl = {WN_TYPE_IQ4_NL, false, true, encode_iq4_nl,
                                 wn_iq_decode_iq4_nl};
const wn_format wn_fmt_iq4_xs = {WN_TYPE_IQ4_XS, false, true, encode_iq4_xs,
                                 wn_iq_decode_iq4_xs};
