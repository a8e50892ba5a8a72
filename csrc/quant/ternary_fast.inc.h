/* ternary_fast.inc.h - tq1_0 and tq2_0; a template, see fast.h. Levels are
 * bytes 0, 1, 2; 32 of them are one __m256i. */

/* The scale of 256 values, and their levels as 8 vectors of bytes. False for a
 * rare block. */
WN_VEC bool round_ternary(const float *x, float *d, __m256i q[8]) {
  vf m = vf_set(0);
  bool rare;
  for (int i = 0; i < WN_QK; i += LANES)
    m = vf_max(m, vf_abs(vf_load(x + i)));
  *d = vf_highest(m);
  float id = fast_inverse(*d, &rare);
  for (int k = 0; k < 8; k++) {
    block32 b = load32(x + 32 * k);
    q[k] = ternary32(&b, id);
  }
  return !rare;
}

static void encode_tq2_0(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_tq2_0 *y = dst;
  for (size_t i = 0; i < n; i += WN_QK, y++) {
    float d;
    __m256i q[8];
    if (!round_ternary(src + i, &d, q)) {
      wn_fmt_tq2_0.encode(src + i, y, WN_QK, NULL);
      continue;
    }
    y->d = half_of(d);
    for (int h = 0; h < 2; h++) { /* bytes hold 2 bits: no carries */
      const __m256i *p = q + 4 * h;
      __m256i low = _mm256_or_si256(p[0], _mm256_slli_epi16(p[1], 2));
      __m256i high = _mm256_or_si256(p[2], _mm256_slli_epi16(p[3], 2));
      low = _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
      _mm256_storeu_si256((__m256i *)(void *)(y->qs + 32 * h), low);
    }
  }
}

/* 3 a + b in bytes */
WN_VEC __m256i append_digit(__m256i a, __m256i b) {
  return _mm256_add_epi8(_mm256_add_epi8(a, a), _mm256_add_epi8(a, b));
}

/* ceil(256 n / 243) = n + ceil(13 n / 243) for bytes n < 243; 17261 / 2^22 is
 * 1 / 243 to enough digits for all of them. */
WN_VEC __m128i digits_to_fraction(__m128i n) {
  __m256i w = _mm256_cvtepu8_epi16(n);
  __m256i t = _mm256_add_epi16(_mm256_mullo_epi16(w, _mm256_set1_epi16(13)),
                               _mm256_set1_epi16(242));
  t = _mm256_srli_epi16(_mm256_mulhi_epu16(t, _mm256_set1_epi16(17261)), 6);
  t = _mm256_and_si256(_mm256_add_epi16(w, t), _mm256_set1_epi16(255));
  return _mm_packus_epi16(_mm256_castsi256_si128(t),
                          _mm256_extracti128_si256(t, 1));
}

WN_VEC void store_fractions(uint8_t *out, __m256i n) {
  __m128i lo = digits_to_fraction(_mm256_castsi256_si128(n));
  __m128i hi = digits_to_fraction(_mm256_extracti128_si256(n, 1));
  _mm_storeu_si128((__m128i *)(void *)out, lo);
  _mm_storeu_si128((__m128i *)(void *)(out + 16), hi);
}

/* Values 160..239, 16 bytes of 5 digits, and 240..255, 4 bytes of 4. */
WN_VEC void pack_tail(const __m256i q[8], wn_block_tq1_0 *y) {
  uint8_t level[96], last[16] = {0};
  for (int k = 0; k < 3; k++)
    _mm256_storeu_si256((__m256i *)(void *)(level + 32 * k), q[5 + k]);
  __m256i n = _mm256_setzero_si256();
  for (int k = 0; k < 5; k++)
    n = append_digit(n, _mm256_castsi128_si256(_mm_loadu_si128(
                            (const __m128i *)(const void *)(level + 16 * k))));
  _mm_storeu_si128((__m128i *)(void *)(y->qs + 32),
                   digits_to_fraction(_mm256_castsi256_si128(n)));
  for (int m = 0; m < 4; m++) {
    const uint8_t *p = level + 80 + m;
    last[m] = (uint8_t)(81 * p[0] + 27 * p[4] + 9 * p[8] + 3 * p[12]);
  }
  __m128i four =
      digits_to_fraction(_mm_loadu_si128((const __m128i *)(const void *)last));
  int bytes = _mm_cvtsi128_si32(four);
  memcpy(y->qh, &bytes, sizeof y->qh);
}

static void encode_tq1_0(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_tq1_0 *y = dst;
  for (size_t i = 0; i < n; i += WN_QK, y++) {
    float d;
    __m256i q[8], number = _mm256_setzero_si256();
    if (!round_ternary(src + i, &d, q)) {
      wn_fmt_tq1_0.encode(src + i, y, WN_QK, NULL);
      continue;
    }
    y->d = half_of(d);
    for (int k = 0; k < 5; k++)
      number = append_digit(number, q[k]);
    store_fractions(y->qs, number);
    pack_tail(q, y);
  }
}

FAST_DECODE(tq2_0, TQ2_0) {
  const __m256i three = _mm256_set1_epi8(3), one = _mm256_set1_epi8(1);
  float d = _cvtsh_ss(y->d);
  for (int h = 0; h < 2; h++) {
    const uint8_t *qs = y->qs + 32 * h;
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)qs);
    for (int k = 0; k < 4; k++) {
      __m256i q = _mm256_sub_epi8(_mm256_and_si256(b, three), one);
      store_values(out + 128 * h + 32 * k, q, d, 0, false);
      b = _mm256_srli_epi16(b, 2);
    }
  }
}

/* The leading digit of each fraction, minus 1: (byte * 3) >> 8 is 1 from 86 on
 * and 2 from 171 on. */
WN_VEC __m256i leading_digit(__m256i f) {
  __m256i a = _mm256_cmpeq_epi8(_mm256_max_epu8(f, _mm256_set1_epi8(86)), f);
  __m256i b =
      _mm256_cmpeq_epi8(_mm256_max_epu8(f, _mm256_set1_epi8((char)171)), f);
  __m256i minus = _mm256_set1_epi8(-1);
  return _mm256_sub_epi8(_mm256_sub_epi8(minus, a), b);
}

FAST_DECODE(tq1_0, TQ1_0) {
  float d = _cvtsh_ss(y->d);
  int8_t tail[32];
  __m256i f = _mm256_loadu_si256((const __m256i *)(const void *)y->qs);
  for (int k = 0; k < 5; k++) {
    store_values(out + 32 * k, leading_digit(f), d, 0, false);
    f = append_digit(f, _mm256_setzero_si256());
  }
  /* the 16 and the 4 bytes of the tail together, digit by digit */
  uint8_t rest[32] = {0};
  memcpy(rest, y->qs + 32, 16);
  memcpy(rest + 16, y->qh, 4);
  f = _mm256_loadu_si256((const __m256i *)(const void *)rest);
  for (int k = 0; k < 5; k++) {
    __m256i q = leading_digit(f);
    _mm256_storeu_si256((__m256i *)(void *)tail, q);
    for (int m = 0; m < 16; m++)
      out[160 + 16 * k + m] = (float)tail[m] * d;
    for (int m = 0; m < 4 && k < 4; m++)
      out[240 + 4 * k + m] = (float)tail[16 + m] * d;
    f = append_digit(f, _mm256_setzero_si256());
  }
}
