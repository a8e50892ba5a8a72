/* kdecode.c - the k formats back to floats, in scalar code.
 *
 * The formulas are those of blocks.h in this order of operations:
 *   scale first (d * sc), then times the level, then minus dmin * mn.
 * Any bytes are valid input; a scale that is infinite or NaN gives infinite
 * or NaN values. */
#include "base/cpu.h"
#include "base/half.h"
#include "quant/k.h"
#include "quant/quant.h"

WN_EXACT_FLOAT

/* The 2-bit field of value i in qs (q2_K, q3_K). */
static int level_2_bits(const uint8_t qs[64], int i) {
  int half = i / 128, pair = i % 128 / 32;
  return qs[32 * half + i % 32] >> (2 * pair) & 3;
}

/* The 4-bit field of value i in qs (q4_K, q5_K). */
static int level_nibble(const uint8_t qs[128], int i) {
  return qs[32 * (i / 64) + i % 32] >> (i % 64 / 32 * 4) & 15;
}

static void decode_q2(const wn_block_q2_K *b, float *y) {
  float d = wn_f32_of_f16(b->d), dmin = wn_f32_of_f16(b->dmin);
  for (int i = 0; i < WN_QK; i++) {
    uint8_t s = b->scales[i / 16];
    y[i] = d * (float)(s & 15) * (float)level_2_bits(b->qs, i) -
           dmin * (float)(s >> 4);
  }
}

static void decode_q3(const wn_block_q3_K *b, float *y) {
  float d = wn_f32_of_f16(b->d);
  uint8_t scale[16];
  wn_k_unpack_scales3(b->scales, scale);
  for (int i = 0; i < WN_QK; i++) {
    int high = b->hmask[i % 32] >> (i / 32) & 1;
    int l = (level_2_bits(b->qs, i) | high << 2) - 4;
    y[i] = d * (float)(scale[i / 16] - 32) * (float)l;
  }
}

static void decode_q4(const wn_block_q4_K *b, float *y) {
  float d = wn_f32_of_f16(b->d), dmin = wn_f32_of_f16(b->dmin);
  uint8_t scale[8], min[8];
  wn_k_unpack_scales45(b->scales, scale, min);
  for (int i = 0; i < WN_QK; i++)
    y[i] = d * (float)scale[i / 32] * (float)level_nibble(b->qs, i) -
           dmin * (float)min[i / 32];
}

static void decode_q5(const wn_block_q5_K *b, float *y) {
  float d = wn_f32_of_f16(b->d), dmin = wn_f32_of_f16(b->dmin);
  uint8_t scale[8], min[8];
  wn_k_unpack_scales45(b->scales, scale, min);
  for (int i = 0; i < WN_QK; i++) {
    int high = b->qh[i % 32] >> (i / 32) & 1;
    int l = level_nibble(b->qs, i) | high << 4;
    y[i] = d * (float)scale[i / 32] * (float)l - dmin * (float)min[i / 32];
  }
}

static void decode_q6(const wn_block_q6_K *b, float *y) {
  float d = wn_f32_of_f16(b->d);
  for (int i = 0; i < WN_QK; i++) {
    int half = i / 128, quarter = i % 128 / 32, m = i % 32;
    int low = b->ql[64 * half + quarter % 2 * 32 + m] >> (quarter / 2 * 4) & 15;
    int high = b->qh[32 * half + m] >> (2 * quarter) & 3;
    y[i] = d * (float)b->scales[i / 16] * (float)((low | high << 4) - 32);
  }
}

static void decode_q8(const wn_block_q8_K *b, float *y) {
  for (int i = 0; i < WN_QK; i++)
    y[i] = b->d * (float)b->qs[i];
}

#define ROWS(q)                                                 \
  void wn_k_decode_##q(const void *src, float *dst, size_t n) { \
    const wn_block_##q##_K *b = src;                            \
    for (size_t i = 0; i < n; i += WN_QK)                       \
      decode_##q(b++, dst + i);                                 \
  }
ROWS(q2)
ROWS(q3)
ROWS(q4)
ROWS(q5)
ROWS(q6)
ROWS(q8)
