/* pack_neon.inc.h - the pieces of pack.inc.h, 4 values at a time. */

INLINE uint32x4_t pack_bits(const float *x) { /* magnitudes */
  return vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x)), vdupq_n_u32(INT32_MAX));
}

/* d rounded to binary16. */
INLINE float pack_half(float d) {
  return wn_f32_of_f16(wn_f16_of_f32(d));
}

/* Bits of the largest magnitude among n values. */
INLINE uint32_t pack_largest(const float *x, size_t n) {
  uint32x4_t m = vdupq_n_u32(0);
  for (size_t i = 0; i < n; i += 4)
    m = vmaxq_u32(m, pack_bits(x + i));
  return vmaxvq_u32(m);
}

/* The first of 256 values whose magnitude has the bits `largest`. */
INLINE float pack_extreme(const float *x, uint32_t largest) {
  for (size_t i = 0; i < 256; i += 4) {
    uint32x4_t same = vceqq_u32(pack_bits(x + i), vdupq_n_u32(largest));
    if (vmaxvq_u32(same) == 0) continue;
    while ((wn_bits_of_f32(x[i]) & INT32_MAX) != largest)
      i++;
    return x[i];
  }
  return 0;
}

/* 32 values times `scale`, rounded, to q; the sums of 16 to sums[0..1]. */
INLINE void pack_round(const float *x, float scale, uint8_t *q,
                       int16_t sums[2]) {
  WN_UNROLL
  for (int h = 0; h < 2; h++) {
    int16x4_t v[4];
    WN_UNROLL
    for (int i = 0; i < 4; i++)
      v[i] = vqmovn_s32(
          vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 16 * h + 4 * i), scale)));
    int8x8_t a = vqmovn_s16(vcombine_s16(v[0], v[1]));
    int8x8_t b = vqmovn_s16(vcombine_s16(v[2], v[3]));
    int8x16_t bytes = vcombine_s8(a, b);
    vst1q_u8(q + 16 * h, vreinterpretq_u8_s8(bytes));
    sums[h] = vaddlvq_s8(bytes);
  }
}
