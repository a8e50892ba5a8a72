/* iq_decode.c - the reference decoders of all i-quants. Blocks and formulas
 * are drawn in blocks.h; the order of the multiplications is part of the
 * definition. Any bytes are valid input. */
#include <string.h>

#include "quant/iq_block.h"

WN_EXACT_FLOAT

/* n (4 or 8) values of a point times scale, with signs. */
static float *emit(const uint8_t *point, int n, uint8_t signs, float scale,
                   float *dst) {
  for (int i = 0; i < n; i++)
    *dst++ = scale * point[i] * (signs >> i & 1 ? -1.f : 1.f);
  return dst;
}

static float *emit8(const uint64_t *point, uint8_t signs, float scale,
                    float *dst) {
  return emit((const uint8_t *)point, 8, signs, scale, dst);
}

/* Two points of 4 values under one byte of signs. */
static float *emit44(const uint32_t *a, const uint32_t *b, uint8_t signs,
                     float scale, float *dst) {
  dst = emit((const uint8_t *)a, 4, signs, scale, dst);
  return emit((const uint8_t *)b, 4, (uint8_t)(signs >> 4), scale, dst);
}

void wn_iq_decode_iq2_xxs(const void *src, float *dst, size_t n) {
  const wn_block_iq2_xxs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int ib = 0; ib < 8; ib++) {
      uint8_t index[4];
      uint32_t word;
      memcpy(index, (const uint8_t *)b->qs + 8 * ib, sizeof index);
      memcpy(&word, (const uint8_t *)b->qs + 8 * ib + 4, sizeof word);
      float scale = d * (0.5f + (float)(word >> 28)) * 0.25f;
      for (int k = 0; k < 4; k++)
        dst = emit8(&wn_iq2_xxs_points[index[k]], wn_iq_signs(word >> 7 * k),
                    scale, dst);
    }
  }
}

/* The scale of group k (of 8 values) of iq2_xs and iq2_s. */
static float scale16(float d, const uint8_t *scales, int k) {
  int level = scales[k / 4] >> (k / 2 % 2 * 4) & 15;
  return d * (0.5f + (float)level) * 0.25f;
}

void wn_iq_decode_iq2_xs(const void *src, float *dst, size_t n) {
  const wn_block_iq2_xs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++)
      dst = emit8(&wn_iq2_xs_points[b->qs[k] & 511],
                  wn_iq_signs((uint32_t)b->qs[k] >> 9),
                  scale16(d, b->scales, k), dst);
  }
}

void wn_iq_decode_iq2_s(const void *src, float *dst, size_t n) {
  const wn_block_iq2_s *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++) {
      int index = b->qs[k] | (b->qh[k / 4] >> 2 * (k % 4) & 3) << 8;
      dst = emit8(&wn_iq2_s_points[index], b->qs[32 + k],
                  scale16(d, b->scales, k), dst);
    }
  }
}

void wn_iq_decode_iq3_xxs(const void *src, float *dst, size_t n) {
  const wn_block_iq3_xxs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int ib = 0; ib < 8; ib++) {
      const uint8_t *qs = b->qs + 8 * ib;
      uint32_t word;
      memcpy(&word, b->qs + 64 + 4 * ib, sizeof word);
      float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
      for (int k = 0; k < 4; k++, qs += 2)
        dst = emit44(&wn_iq3_xxs_points[qs[0]], &wn_iq3_xxs_points[qs[1]],
                     wn_iq_signs(word >> 7 * k), scale, dst);
    }
  }
}

void wn_iq_decode_iq3_s(const void *src, float *dst, size_t n) {
  const wn_block_iq3_s *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++) {
      int ib = k / 4, high = b->qh[ib] >> 2 * (k % 4);
      int level = b->scales[ib / 2] >> (ib % 2 * 4) & 15;
      int index0 = b->qs[2 * k] | (high & 1) << 8;
      int index1 = b->qs[2 * k + 1] | (high >> 1 & 1) << 8;
      dst = emit44(&wn_iq3_s_points[index0], &wn_iq3_s_points[index1],
                   b->signs[k], d * (float)(1 + 2 * level), dst);
    }
  }
}

/* 8 values of an iq1 point, shifted by delta. */
static float *emit_iq1(int index, float delta, float scale, float *dst) {
  const int8_t *point = (const int8_t *)&wn_iq1_points[index];
  for (int i = 0; i < 8; i++)
    *dst++ = scale * ((float)point[i] + delta);
  return dst;
}

void wn_iq_decode_iq1_s(const void *src, float *dst, size_t n) {
  const wn_block_iq1_s *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++) {
      int qh = b->qh[k / 4], index = b->qs[k] | (qh >> 3 * (k % 4) & 7) << 8;
      float scale = d * (float)(2 * (qh >> 12 & 7) + 1);
      dst = emit_iq1(index, qh & 0x8000 ? -0.125f : 0.125f, scale, dst);
    }
  }
}

void wn_iq_decode_iq1_m(const void *src, float *dst, size_t n) {
  const wn_block_iq1_m *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    uint16_t sc[4];
    memcpy(sc, b->scales, sizeof sc);
    float d =
        wn_f32_of_f16((uint16_t)(sc[0] >> 12 | (sc[1] >> 8 & 0xf0) |
                                 (sc[2] >> 4 & 0xf00) | (sc[3] & 0xf000)));
    for (int k = 0; k < 32; k++) {
      int high = b->qh[k / 2] >> 4 * (k % 2);
      int level = sc[k / 8] >> 3 * (k / 2 % 4) & 7;
      dst = emit_iq1(b->qs[k] | (high & 7) << 8, high & 8 ? -0.125f : 0.125f,
                     d * (float)(2 * level + 1), dst);
    }
  }
}

/* 32 values from 16 bytes of nibbles. */
static float *emit_iq4(const uint8_t *qs, float scale, float *dst) {
  for (int j = 0; j < 16; j++) {
    dst[j] = scale * wn_iq4_values[qs[j] & 15];
    dst[j + 16] = scale * wn_iq4_values[qs[j] >> 4];
  }
  return dst + 32;
}

void wn_iq_decode_iq4_nl(const void *src, float *dst, size_t n) {
  const wn_block_iq4_nl *b = src;
  for (size_t i = 0; i < n / 32; i++, b++)
    dst = emit_iq4(b->qs, wn_f32_of_f16(b->d), dst);
}

void wn_iq_decode_iq4_xs(const void *src, float *dst, size_t n) {
  const wn_block_iq4_xs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int ib = 0; ib < 8; ib++) {
      int low = b->scales_l[ib / 2] >> 4 * (ib % 2) & 15;
      int level = low | (b->scales_h >> 2 * ib & 3) << 4;
      dst = emit_iq4(b->qs + 16 * ib, d * (float)(level - 32), dst);
    }
  }
}
