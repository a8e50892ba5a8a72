/* fp4.h - the small floats of mxfp4 and nvfp4. */
#ifndef WN_QUANT_FP4_H
#define WN_QUANT_FP4_H

#include <math.h>
#include <stdint.h>

#include "base/half.h"

/* E2M1 (sign, 2 exponent bits, 1 mantissa bit) doubled, so that all are
 * integers; scales are halved in turn. */
static const int8_t wn_e2m1[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                   0, -1, -2, -3, -4, -6, -8, -12};

/* Half of the E8M0 number e: 2^(e - 128). The two smallest are subnormal. */
static inline float wn_half_of_e8m0(uint8_t e) {
  return wn_f32_of_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

/* The exponent for a block whose largest magnitude is amax: floor(log2 amax)
 * - 2, so that amax falls on 4..8 (6 is the largest E2M1), biased by 127. The
 * cast wraps below 2^-125, as in the reference. log2f rounds: a number just
 * below a power of two counts as that power. */
static inline uint8_t wn_e8m0_of_max(float amax) {
  if (!(amax > 0)) return 0;
  return (uint8_t)((int)(floorf(log2f(amax)) - 2 + 127) & 0xff);
}

/* Half of the unsigned E4M3 number u (bias 7; 0x7f, its NaN, is 0). Bit 7 is
 * ignored, except that 0xff is not the NaN. */
static inline float wn_half_of_e4m3(uint8_t u) {
  if (u == 0x7f) return 0;
  int exponent = (u >> 3) & 15, mantissa = u & 7;
  if (exponent == 0) return (float)mantissa * 0x1p-10f;
  /* (8 + mantissa) / 8 * 2^(exponent - 7) / 2 */
  return (float)(8 + mantissa) *
         wn_f32_of_bits((uint32_t)(127 + exponent - 11) << 23);
}

/* x as unsigned E4M3: 0 for negative numbers and NaN. Rounded by the bit below
 * the mantissa, halves up; whatever reaches 256 becomes the largest, 448. */
static inline uint8_t wn_e4m3_of_f32(float x) {
  if (!(x > 0)) return 0;
  if (x > 448.0f) x = 448.0f;
  uint32_t bits = wn_bits_of_f32(x);
  int exponent = (int)((bits >> 23) & 255) - 127 + 7;
  if (exponent <= 0) { /* subnormal: multiples of 2^-9 */
    int mantissa = (int)(x * 512.0f + 0.5f);
    return (uint8_t)(mantissa < 7 ? mantissa : 7);
  }
  /* the carry out of the mantissa steps the exponent */
  int code = (exponent << 3 | (int)((bits >> 20) & 7)) + (int)(bits >> 19 & 1);
  return (uint8_t)(code < 0x78 ? code : 0x7e);
}

/* The nibble whose value times d is nearest to x; of equally near ones the
 * first of the table. */
static inline uint8_t wn_nearest_e2m1(float x, float d) {
  uint8_t best = 0;
  float best_err = fabsf((float)wn_e2m1[0] * d - x);
  for (uint8_t i = 1; i < 16; i++) {
    float err = fabsf((float)wn_e2m1[i] * d - x);
    if (err < best_err) {
      best = i;
      best_err = err;
    }
  }
  return best;
}

#endif
