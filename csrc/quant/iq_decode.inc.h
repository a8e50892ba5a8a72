/* iq_decode.inc.h - template: decoders of the i-quants, 8 values at a time,
 * as iq_decode.c. */

WN_TARGET_BEGIN(WN_T_AVX2)

/* 8 bytes of a point as floats. */
WN_VEC __m256 point_floats(uint64_t point) {
  __m128i bytes = _mm_cvtsi64_si128((long long)point);
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

/* The values of a point times scale, with signs: a sign bit moves to the top
 * of its lane, which is what multiplying by -1 does. */
WN_VEC void put_signed(uint64_t point, unsigned signs, float scale,
                       float *dst) {
  const __m256i count = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
  __m256i bits = _mm256_sllv_epi32(_mm256_set1_epi32((int)signs), count);
  __m256 minus = _mm256_and_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(-0.f));
  __m256 v = _mm256_mul_ps(_mm256_set1_ps(scale), point_floats(point));
  _mm256_storeu_ps(dst, _mm256_xor_ps(v, minus));
}

static void decode_iq2_xxs(const void *src, float *dst, size_t n) {
  const wn_block_iq2_xxs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int ib = 0; ib < 8; ib++) {
      uint32_t words[2];
      memcpy(words, (const uint8_t *)b->qs + 8 * ib, sizeof words);
      float scale = d * (0.5f + (float)(words[1] >> 28)) * 0.25f;
      for (int k = 0; k < 4; k++, dst += 8)
        put_signed(wn_iq2_xxs_points[words[0] >> 8 * k & 255],
                   wn_iq_signs(words[1] >> 7 * k), scale, dst);
    }
  }
}

/* The scale of group k (of 8 values) of iq2_xs and iq2_s. */
WN_VEC float scale_of_16(float d, const uint8_t *scales, int k) {
  int level = scales[k / 4] >> (k / 2 % 2 * 4) & 15;
  return d * (0.5f + (float)level) * 0.25f;
}

static void decode_iq2_xs(const void *src, float *dst, size_t n) {
  const wn_block_iq2_xs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++, dst += 8)
      put_signed(wn_iq2_xs_points[b->qs[k] & 511],
                 wn_iq_signs((uint32_t)b->qs[k] >> 9),
                 scale_of_16(d, b->scales, k), dst);
  }
}

static void decode_iq2_s(const void *src, float *dst, size_t n) {
  const wn_block_iq2_s *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++, dst += 8) {
      int index = b->qs[k] | (b->qh[k / 4] >> 2 * (k % 4) & 3) << 8;
      put_signed(wn_iq2_s_points[index], b->qs[32 + k],
                 scale_of_16(d, b->scales, k), dst);
    }
  }
}

/* Two points of 4 values as one of 8. */
WN_VEC uint64_t join(uint32_t low, uint32_t high) {
  return low | (uint64_t)high << 32;
}

static void decode_iq3_xxs(const void *src, float *dst, size_t n) {
  const wn_block_iq3_xxs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    const uint8_t *qs = b->qs;
    for (int ib = 0; ib < 8; ib++) {
      uint32_t word;
      memcpy(&word, b->qs + 64 + 4 * ib, sizeof word);
      float scale = d * (0.5f + (float)(word >> 28)) * 0.5f;
      for (int k = 0; k < 4; k++, qs += 2, dst += 8)
        put_signed(join(wn_iq3_xxs_points[qs[0]], wn_iq3_xxs_points[qs[1]]),
                   wn_iq_signs(word >> 7 * k), scale, dst);
    }
  }
}

static void decode_iq3_s(const void *src, float *dst, size_t n) {
  const wn_block_iq3_s *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++, dst += 8) {
      int ib = k / 4, high = b->qh[ib] >> 2 * (k % 4);
      int level = b->scales[ib / 2] >> (ib % 2 * 4) & 15;
      int index0 = b->qs[2 * k] | (high & 1) << 8;
      int index1 = b->qs[2 * k + 1] | (high >> 1 & 1) << 8;
      put_signed(join(wn_iq3_s_points[index0], wn_iq3_s_points[index1]),
                 b->signs[k], d * (float)(1 + 2 * level), dst);
    }
  }
}

/* 8 values of an iq1 point, shifted by delta. */
WN_VEC void put_iq1(int index, float delta, float scale, float *dst) {
  __m256 v =
      _mm256_add_ps(point_floats(wn_iq1_points[index]), _mm256_set1_ps(delta));
  _mm256_storeu_ps(dst, _mm256_mul_ps(_mm256_set1_ps(scale), v));
}

static void decode_iq1_s(const void *src, float *dst, size_t n) {
  const wn_block_iq1_s *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int k = 0; k < 32; k++, dst += 8) {
      int qh = b->qh[k / 4], index = b->qs[k] | (qh >> 3 * (k % 4) & 7) << 8;
      put_iq1(index, qh & 0x8000 ? -0.125f : 0.125f,
              d * (float)(2 * (qh >> 12 & 7) + 1), dst);
    }
  }
}

static void decode_iq1_m(const void *src, float *dst, size_t n) {
  const wn_block_iq1_m *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    uint16_t sc[4];
    memcpy(sc, b->scales, sizeof sc);
    float d =
        wn_f32_of_f16((uint16_t)(sc[0] >> 12 | (sc[1] >> 8 & 0xf0) |
                                 (sc[2] >> 4 & 0xf00) | (sc[3] & 0xf000)));
    for (int k = 0; k < 32; k++, dst += 8) {
      int high = b->qh[k / 2] >> 4 * (k % 2);
      int level = sc[k / 8] >> 3 * (k / 2 % 4) & 7;
      put_iq1(b->qs[k] | (high & 7) << 8, high & 8 ? -0.125f : 0.125f,
              d * (float)(2 * level + 1), dst);
    }
  }
}

/* 32 values from 16 bytes of nibbles. */
WN_VEC void put_iq4(const uint8_t *qs, float scale, float *dst) {
  __m128i values = _mm_loadu_si128((const __m128i *)wn_iq4_values);
  __m128i nibbles = _mm_loadu_si128((const __m128i *)qs);
  __m128i low = _mm_and_si128(nibbles, _mm_set1_epi8(15));
  __m128i high = _mm_and_si128(_mm_srli_epi16(nibbles, 4), _mm_set1_epi8(15));
  __m128i half[2] = {_mm_shuffle_epi8(values, low),
                     _mm_shuffle_epi8(values, high)};
  for (int j = 0; j < 2; j++, dst += 16) {
    __m256 a = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(half[j]));
    __m128i rest = _mm_srli_si128(half[j], 8);
    __m256 b = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(rest));
    _mm256_storeu_ps(dst, _mm256_mul_ps(_mm256_set1_ps(scale), a));
    _mm256_storeu_ps(dst + 8, _mm256_mul_ps(_mm256_set1_ps(scale), b));
  }
}

static void decode_iq4_nl(const void *src, float *dst, size_t n) {
  const wn_block_iq4_nl *b = src;
  for (size_t i = 0; i < n / 32; i++, b++, dst += 32)
    put_iq4(b->qs, wn_f32_of_f16(b->d), dst);
}

static void decode_iq4_xs(const void *src, float *dst, size_t n) {
  const wn_block_iq4_xs *b = src;
  for (size_t i = 0; i < n / WN_QK; i++, b++) {
    float d = wn_f32_of_f16(b->d);
    for (int ib = 0; ib < 8; ib++, dst += 32) {
      int low = b->scales_l[ib / 2] >> 4 * (ib % 2) & 15;
      int level = low | (b->scales_h >> 2 * ib & 3) << 4;
      put_iq4(b->qs + 16 * ib, d * (float)(level - 32), dst);
    }
  }
}

WN_TARGET_END
