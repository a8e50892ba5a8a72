/* kdecode.inc.h - template: fast decoders of the k formats.
 *
 * The formulas and their order of operations are those of kdecode.c; values
 * come out LANES at a time, in the order of memory. Levels are spread from
 * bits to bytes 32 at a time first. */

/* q2_K, and the low bits of q3_K: level i to byte i. */
WN_VEC void spread_2_bits(const uint8_t *qs, uint8_t *L) {
  for (int h = 0; h < 2; h++, L += 128) {
    __m256i q = load_bytes(qs + 32 * h);
    store_bytes(L, field(q, 3));
    store_bytes(L + 32, field(_mm256_srli_epi16(q, 2), 3));
    store_bytes(L + 64, field(_mm256_srli_epi16(q, 4), 3));
    store_bytes(L + 96, field(_mm256_srli_epi16(q, 6), 3));
  }
}

/* The low 4 bits of q4_K and q5_K. */
WN_VEC void spread_nibbles(const uint8_t *qs, uint8_t *L) {
  for (int p = 0; p < 4; p++, L += 64) {
    __m256i q = load_bytes(qs + 32 * p);
    store_bytes(L, field(q, 15));
    store_bytes(L + 32, field(_mm256_srli_epi16(q, 4), 15));
  }
}

/* Adds bit j of high[m] to level 32 j + m as its bit `bit`. */
WN_VEC void spread_high_bit(const uint8_t *high, int bit, uint8_t *L) {
  __m256i q = load_bytes(high);
  WN_UNROLL
  for (int j = 0; j < 8; j++) {
    __m256i b = field(q, 1 << j);
    b = j < bit ? _mm256_slli_epi16(b, bit - j) : _mm256_srli_epi16(b, j - bit);
    uint8_t *to = L + 32 * j;
    store_bytes(to, _mm256_or_si256(load_bytes(to), b));
  }
}

WN_VEC void spread_q6(const wn_block_q6_K *b, uint8_t *L) {
  for (int h = 0; h < 2; h++, L += 128) {
    __m256i lo = load_bytes(b->ql + 64 * h);
    __m256i hi = load_bytes(b->ql + 64 * h + 32);
    __m256i q = load_bytes(b->qh + 32 * h);
    __m256i a = _mm256_slli_epi16(field(q, 3), 4);
    __m256i c = _mm256_slli_epi16(field(q, 12), 2);
    __m256i e = _mm256_srli_epi16(field(q, 192), 2);
    store_bytes(L, _mm256_or_si256(field(lo, 15), a));
    store_bytes(L + 32, _mm256_or_si256(field(hi, 15), c));
    lo = field(_mm256_srli_epi16(lo, 4), 15);
    hi = field(_mm256_srli_epi16(hi, 4), 15);
    store_bytes(L + 64, _mm256_or_si256(lo, field(q, 48)));
    store_bytes(L + 96, _mm256_or_si256(hi, e));
  }
}

/* y = d[s] * (L - bias) - m[s] for sub-blocks of `sub` values; without the
 * subtraction when m is NULL. */
WN_VEC void scale_levels(const uint8_t *L, int sub, int bias, const float *d,
                         const float *m, float *y) {
  for (int s = 0; s < WN_QK / sub; s++) {
    vf ds = vf_set(d[s]);
    for (int i = s * sub; i < (s + 1) * sub; i += LANES) {
      vi l = vi_load_bytes(L + i);
      if (bias != 0) l = vi_sub(l, vi_set(bias));
      vf v = vf_mul(ds, vi_to_float(l));
      vf_store(y + i, m != NULL ? vf_sub(v, vf_set(m[s])) : v);
    }
  }
}

static void decode_q2(const wn_block_q2_K *b, float *y) {
  uint8_t L[WN_QK];
  float d[16], m[16];
  vf scale = vf_set(wn_f32_of_f16(b->d)), min = vf_set(wn_f32_of_f16(b->dmin));
  for (int j = 0; j < 16; j += LANES) {
    vi s = vi_load_bytes(b->scales + j);
    vf_store(d + j, vf_mul(scale, vi_to_float(vi_and(s, vi_set(15)))));
    vf_store(m + j, vf_mul(min, vi_to_float(vi_right(s, 4))));
  }
  spread_2_bits(b->qs, L);
  scale_levels(L, 16, 0, d, m, y);
}

static void decode_q3(const wn_block_q3_K *b, float *y) {
  uint8_t L[WN_QK], scale[16];
  float d[16], all = wn_f32_of_f16(b->d);
  wn_k_unpack_scales3(b->scales, scale);
  for (int j = 0; j < 16; j++)
    d[j] = all * (float)(scale[j] - 32);
  spread_2_bits(b->qs, L);
  spread_high_bit(b->hmask, 2, L);
  scale_levels(L, 16, 4, d, NULL, y);
}

static void unpack_45(wn_half half_d, wn_half half_dmin,
                      const uint8_t scales[12], float d[8], float m[8]) {
  uint8_t scale[8], min[8];
  float all = wn_f32_of_f16(half_d), all_min = wn_f32_of_f16(half_dmin);
  wn_k_unpack_scales45(scales, scale, min);
  for (int j = 0; j < 8; j++) {
    d[j] = all * (float)scale[j];
    m[j] = all_min * (float)min[j];
  }
}

static void decode_q4(const wn_block_q4_K *b, float *y) {
  uint8_t L[WN_QK];
  float d[8], m[8];
  unpack_45(b->d, b->dmin, b->scales, d, m);
  spread_nibbles(b->qs, L);
  scale_levels(L, 32, 0, d, m, y);
}

static void decode_q5(const wn_block_q5_K *b, float *y) {
  uint8_t L[WN_QK];
  float d[8], m[8];
  unpack_45(b->d, b->dmin, b->scales, d, m);
  spread_nibbles(b->qs, L);
  spread_high_bit(b->qh, 4, L);
  scale_levels(L, 32, 0, d, m, y);
}

static void decode_q6(const wn_block_q6_K *b, float *y) {
  uint8_t L[WN_QK];
  float d[16], all = wn_f32_of_f16(b->d);
  for (int j = 0; j < 16; j++)
    d[j] = all * (float)b->scales[j];
  spread_q6(b, L);
  scale_levels(L, 16, 32, d, NULL, y);
}

static void decode_q8(const wn_block_q8_K *b, float *y) {
  vf d = vf_set(b->d);
  for (int i = 0; i < WN_QK; i += LANES)
    vf_store(y + i, vf_mul(d, vi_to_float(vi_load_chars(b->qs + i))));
}
