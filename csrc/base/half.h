/* half.h - float32 to and from binary16 (f16) and bfloat16 (bf16).
 *
 * Scalar and exact: round to nearest, ties to even, subnormals and
 * infinities as IEEE 754; a NaN stays a NaN. The same bits as ggml's
 * portable conversions on every value. Kernels convert in bulk with the
 * CPU's own instructions, which agree on all finite values. */
#ifndef WN_BASE_HALF_H
#define WN_BASE_HALF_H

#include <stdint.h>
#include <string.h>

#include "base/cpu.h" /* exact floats */

static inline float wn_f32_of_bits(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static inline uint32_t wn_bits_of_f32(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

/* f16 -> f32. Normal numbers move 13 bits and rebias by a multiplication
 * (exact: powers of two); subnormals are built by a subtraction of 0.5. */
static inline float wn_f32_of_f16(uint16_t h) {
  uint32_t w = (uint32_t)h << 16, sign = w & 0x80000000u, two_w = w + w;
  float normal = wn_f32_of_bits((two_w >> 4) + (0xE0u << 23)) *
                 wn_f32_of_bits(0x07800000u); /* 2^-112 */
  float subnormal = wn_f32_of_bits((two_w >> 17) | (126u << 23)) - 0.5f;
  float magnitude = two_w < (1u << 27) ? subnormal : normal;
  return wn_f32_of_bits(sign | wn_bits_of_f32(magnitude));
}

/* f32 -> f16. Scaling up to infinity and back down saturates; adding a bias
 * with the right exponent makes the FPU do the rounding. */
static inline uint16_t wn_f16_of_f32(float f) {
  uint32_t w = wn_bits_of_f32(f), shl1_w = w + w, sign = w & 0x80000000u;
  float base = wn_f32_of_bits(w & 0x7fffffffu);
  base = (base * wn_f32_of_bits(0x77800000u)) /* 2^112 */
         * wn_f32_of_bits(0x08800000u);       /* 2^-110 */
  uint32_t bias = shl1_w & 0xff000000u;
  if (bias < 0x71000000u) bias = 0x71000000u;
  base = wn_f32_of_bits((bias >> 1) + 0x07800000u) + base;
  uint32_t bits = wn_bits_of_f32(base);
  uint32_t nonsign = ((bits >> 13) & 0x7c00u) + (bits & 0x0fffu);
  return (uint16_t)((sign >> 16) | (shl1_w > 0xff000000u ? 0x7e00u : nonsign));
}

static inline float wn_f32_of_bf16(uint16_t b) {
  return wn_f32_of_bits((uint32_t)b << 16);
}

static inline uint16_t wn_bf16_of_f32(float f) {
  uint32_t u = wn_bits_of_f32(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 64);
  return (uint16_t)((u + (0x7fffu + ((u >> 16) & 1))) >> 16);
}

#endif
