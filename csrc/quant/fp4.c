/* fp4.c - the definition of mxfp4 and nvfp4: 4-bit floats with a shared 8-bit
 * scale per 32 (a power of two) or 16 values. llama.cpp v0.5.0's bytes. */
#include "quant/fp4.h"

#include "quant/blocks.h"
#include "quant/family.h"

WN_EXACT_FLOAT

static float largest_magnitude(const float *x, int n) {
  float amax = 0;
  for (int i = 0; i < n; i++)
    if (amax < fabsf(x[i])) amax = fabsf(x[i]);
  return amax;
}

/* 2 half values of scale d -> half bytes, the second half in high nibbles */
static void encode_group(const float *x, int half, float d, uint8_t *qs) {
  for (int j = 0; j < half; j++)
    qs[j] = (uint8_t)(wn_nearest_e2m1(x[j], d) | wn_nearest_e2m1(x[j + half], d)
                                                     << 4);
}

static void decode_group(const uint8_t *qs, int half, float d, float *y) {
  for (int j = 0; j < half; j++) {
    y[j] = (float)wn_e2m1[qs[j] & 15] * d;
    y[j + half] = (float)wn_e2m1[qs[j] >> 4] * d;
  }
}

static void encode_mxfp4(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_mxfp4 *y = dst;
  for (size_t i = 0; i < n; i += WN_VALUES_MXFP4, y++) {
    y->e = wn_e8m0_of_max(largest_magnitude(src + i, WN_VALUES_MXFP4));
    encode_group(src + i, 16, wn_half_of_e8m0(y->e), y->qs);
  }
}

static void decode_mxfp4(const void *src, float *dst, size_t n) {
  const wn_block_mxfp4 *y = src;
  for (size_t i = 0; i < n; i += WN_VALUES_MXFP4, y++)
    decode_group(y->qs, 16, wn_half_of_e8m0(y->e), dst + i);
}

/* The group's scale maps its largest magnitude to 6, the largest E2M1. */
static void encode_nvfp4(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_nvfp4 *y = dst;
  for (size_t i = 0; i < n; i += WN_VALUES_NVFP4, y++)
    for (int s = 0; s < 4; s++) {
      const float *x = src + i + 16 * s;
      y->d[s] = wn_e4m3_of_f32(largest_magnitude(x, 16) / 6.0f);
      encode_group(x, 8, wn_half_of_e4m3(y->d[s]), y->qs + 8 * s);
    }
}

static void decode_nvfp4(const void *src, float *dst, size_t n) {
  const wn_block_nvfp4 *y = src;
  for (size_t i = 0; i < n; i += WN_VALUES_NVFP4, y++)
    for (int s = 0; s < 4; s++)
      decode_group(y->qs + 8 * s, 8, wn_half_of_e4m3(y->d[s]),
                   dst + i + 16 * s);
}

const wn_format wn_fmt_mxfp4 = {WN_TYPE_MXFP4, false, false, encode_mxfp4,
                                decode_mxfp4};
const wn_format wn_fmt_nvfp4 = {WN_TYPE_NVFP4, false, false, encode_nvfp4,
                                decode_nvfp4};
