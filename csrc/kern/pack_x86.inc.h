/* pack_x86.inc.h - the pieces of pack.inc.h, 8 values at a time. */

/* d rounded to binary16. */
INLINE float pack_half(float d) {
  return _cvtsh_ss(_cvtss_sh(d, _MM_FROUND_TO_NEAREST_INT));
}

/* Bits of the largest magnitude among n values. */
INLINE uint32_t pack_largest(const float *x, size_t n) {
  __m256i all = _mm256_setzero_si256();
  for (size_t i = 0; i < n; i += 8) {
    __m256i v = _mm256_loadu_si256((const void *)(x + i));
    v = _mm256_and_si256(v, _mm256_set1_epi32(INT32_MAX));
    all = _mm256_max_epi32(all, v);
  }
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(all),
                            _mm256_extracti128_si256(all, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return (uint32_t)_mm_cvtsi128_si32(m);
}

/* 32 values times `scale`, rounded, to q; the sums of 16 to sums[0..1]. */
INLINE void pack_round(const float *x, float scale, uint8_t *q,
                       int16_t sums[2]) {
  __m256i v[4];
  WN_UNROLL
  for (int i = 0; i < 4; i++)
    v[i] = _mm256_cvtps_epi32(
        _mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(scale)));
  __m256i a = _mm256_packs_epi32(v[0], v[1]),
          b = _mm256_packs_epi32(v[2], v[3]);
  /* 128-bit halves hold values 0-3 8-11 16-19 24-27 | 4-7 12-15 ... */
  __m256i bytes = _mm256_permutevar8x32_epi32(
      _mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256((void *)q, bytes);
  __m256i s = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
  s = _mm256_madd_epi16(s, _mm256_set1_epi16(1));
  s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0x4e));
  s = _mm256_add_epi32(s, _mm256_shuffle_epi32(s, 0xb1));
  sums[0] = (int16_t)_mm256_cvtsi256_si32(s);
  sums[1] = (int16_t)_mm256_extract_epi32(s, 4);
}

/* The first of 256 values whose magnitude has the bits `largest`. */
INLINE float pack_extreme(const float *x, uint32_t largest) {
  __m256i want = _mm256_set1_epi32((int32_t)(largest << 1));
  for (size_t i = 0; i < 256; i += 8) {
    __m256i v = _mm256_loadu_si256((const void *)(x + i));
    __m256i same = _mm256_cmpeq_epi32(_mm256_slli_epi32(v, 1), want);
    int mask = _mm256_movemask_ps(_mm256_castsi256_ps(same));
    if (mask != 0) return x[i + (size_t)__builtin_ctz((unsigned)mask)];
  }
  return 0;
}
