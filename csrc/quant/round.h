/* round.h - float to integer, as the machine that defined the formats did it.
 *
 * The bytes of a block depend on how a float becomes a level. Three ways are
 * in use; each is defined here for every float, infinities and NaN included,
 * where plain C casts are undefined: the value x86's cvttss2si gives. */
#ifndef WN_QUANT_ROUND_H
#define WN_QUANT_ROUND_H

#include <math.h>
#include <stdint.h>

#include "base/half.h"

/* Towards zero; INT32_MIN for NaN and whatever does not fit. */
static inline int32_t wn_trunc_i32(float v) {
  return v >= -2147483648.0f && v < 2147483648.0f ? (int32_t)v : INT32_MIN;
}

/* To nearest, halves away from zero. */
static inline int32_t wn_round_i32(float v) {
  return wn_trunc_i32(roundf(v));
}

/* To nearest, ties to even, for |v| < 2^22, by the bits of v + 1.5 * 2^23;
 * for other values the same (meaningless but fixed) bits are used. */
static inline int32_t wn_nearest_i32(float v) {
  uint32_t bits = wn_bits_of_f32(v + 12582912.0f);
  return (int32_t)(bits & 0x007fffffu) - 0x00400000;
}

/* The low byte of wn_trunc_i32: what a cast to int8_t or uint8_t gives. */
static inline int8_t wn_trunc_i8(float v) {
  return (int8_t)(uint8_t)((uint32_t)wn_trunc_i32(v) & 0xff);
}

#endif
