/* fp4_fast.inc.h - mxfp4 and nvfp4; a template, see fast.h.
 *
 * The nearest of 16 numbers is the nearest of the 8 magnitudes to |x|, with
 * the sign of x: a number of the other sign is at least as far as 0, and 0
 * comes first in the table. Rounded differences compare as the reference's,
 * because they are the same differences. */

/* Magnitudes of the table times d. */
typedef struct e2m1_steps {
  float at[8];
} e2m1_steps;

WN_VEC e2m1_steps e2m1_times(float d) {
  e2m1_steps s;
  for (int i = 0; i < 8; i++)
    s.at[i] = (float)wn_e2m1[i] * d;
  return s;
}

/* wn_nearest_e2m1 of every lane. */
WN_VEC vi nearest_e2m1(vf x, const e2m1_steps *s) {
  vf a = vf_abs(x), best = a;
  vi index = vi_set(0);
  WN_UNROLL
  for (int i = 1; i < 8; i++) {
    vf err = vf_abs(vf_sub(vf_set(s->at[i]), a));
    index = vi_pick(vf_lt(err, best), vi_set(i), index);
    best = vf_min(err, best);
  }
  /* sign to bit 3, except for 0 */
  vi sign = vi_left(vi_right(vf_bits(x), 31), 3);
  return vi_pick(vi_eq(index, vi_set(0)), index, vi_or(index, sign));
}

/* floor(log2 amax) is the exponent of amax, but where log2f rounds up to the
 * next integer: within 2^-15 below a power of two. Those, zeros and
 * subnormals are left to the reference. */
WN_VEC uint8_t e8m0_of_max(float amax) {
  uint32_t bits = wn_bits_of_f32(amax), exponent = bits >> 23;
  if (exponent == 0 || (bits & 0x7fff00u) == 0x7fff00u)
    return wn_e8m0_of_max(amax);
  return (uint8_t)(exponent - 2);
}

static void encode_mxfp4(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_mxfp4 *y = dst;
  for (size_t i = 0; i < n; i += WN_VALUES_MXFP4, y++) {
    block32 b = load32(src + i);
    vi q[NV];
    y->e = e8m0_of_max(highest_magnitude(&b));
    e2m1_steps s = e2m1_times(wn_half_of_e8m0(y->e));
    WN_UNROLL
    for (int k = 0; k < NV; k++)
      q[k] = nearest_e2m1(b.v[k], &s);
    store_nibbles(y->qs, bytes_of_ints(q));
  }
}

/* Two groups of 16, each with its scale: nibbles within each group. */
WN_VEC void encode_nvfp4_pair(const float *x, uint8_t *d, uint8_t *qs) {
  enum { HALF = NV / 2 };
  block32 b = load32(x);
  vi q[NV];
  for (int g = 0; g < 2; g++) {
    vf m = vf_abs(b.v[g * HALF]);
    for (int k = 1; k < HALF; k++)
      m = vf_max(m, vf_abs(b.v[g * HALF + k]));
    d[g] = wn_e4m3_of_f32(vf_highest(m) / 6.0f);
    e2m1_steps s = e2m1_times(wn_half_of_e4m3(d[g]));
    for (int k = g * HALF; k < (g + 1) * HALF; k++)
      q[k] = nearest_e2m1(b.v[k], &s);
  }
  __m256i bytes = bytes_of_ints(q);
  __m256i high = _mm256_slli_epi16(_mm256_srli_si256(bytes, 8), 4);
  bytes = _mm256_or_si256(bytes, high); /* low 8 bytes of each group */
  bytes = _mm256_permute4x64_epi64(bytes, 0x08);
  _mm_storeu_si128((__m128i *)(void *)qs, _mm256_castsi256_si128(bytes));
}

static void encode_nvfp4(const float *src, void *dst, size_t n,
                         const float *importance) {
  (void)importance;
  wn_block_nvfp4 *y = dst;
  for (size_t i = 0; i < n; i += WN_VALUES_NVFP4, y++) {
    encode_nvfp4_pair(src + i, y->d, y->qs);
    encode_nvfp4_pair(src + i + 32, y->d + 2, y->qs + 16);
  }
}

/* Nibbles to their table values. */
WN_VEC __m256i e2m1_values(__m256i nibbles) {
  const __m128i table = _mm_loadu_si128((const __m128i *)(const void *)wn_e2m1);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), nibbles);
}

FAST_DECODE(mxfp4, MXFP4) {
  __m256i q = e2m1_values(load_nibbles(y->qs));
  store_values(out, q, wn_half_of_e8m0(y->e), 0, false);
}

/* Two groups: value j of a group in the low, 8 + j in the high nibbles. */
WN_VEC void decode_nvfp4_pair(const uint8_t *d, const uint8_t *qs, float *out) {
  __m256i b = _mm256_castsi128_si256(
      _mm_loadu_si128((const __m128i *)(const void *)qs));
  b = _mm256_permute4x64_epi64(b, 0x50); /* each group's 8 bytes twice */
  __m256i high = _mm256_srli_epi16(b, 4);
  b = _mm256_blend_epi32(b, high, 0xcc);
  b = _mm256_and_si256(b, _mm256_set1_epi8(15));
  vf v[NV];
  floats_of_bytes(e2m1_values(b), v);
  WN_UNROLL
  for (int k = 0; k < NV; k++) {
    vf scale = vf_set(wn_half_of_e4m3(d[2 * k / NV]));
    vf_store(out + k * LANES, vf_mul(v[k], scale));
  }
}

FAST_DECODE(nvfp4, NVFP4) {
  decode_nvfp4_pair(y->d, y->qs, out);
  decode_nvfp4_pair(y->d + 2, y->qs + 16, out + 32);
}
