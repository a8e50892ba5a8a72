/* simd_avx2.h - the vector vocabulary of the quant templates, 8 floats wide.
 * simd_avx512.h has the same names; see fast.h for how they are used.
 * Include after WN_TARGET_BEGIN(WN_T_AVX2). */

typedef __m256 vf;  /* floats */
typedef __m256i vi; /* 32-bit integers */
typedef __m256 vm;  /* a mask, one per lane */

enum { VL = 8, NV = 32 / VL }; /* lanes; vectors of 32 values */

#define v_load(p) _mm256_loadu_ps(p)
#define v_store(p, a) _mm256_storeu_ps(p, a)
#define v_set1(x) _mm256_set1_ps(x)
#define v_zero() _mm256_setzero_ps()
#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_div(a, b) _mm256_div_ps(a, b)
#define v_sqrt(a) _mm256_sqrt_ps(a)
/* a < b ? a : b and a > b ? a : b: of equal ones, and for NaN, b */
#define v_min(a, b) _mm256_min_ps(a, b)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define v_neg(a) _mm256_xor_ps(_mm256_set1_ps(-0.0f), a)
#define v_xor(a, b) _mm256_xor_ps(a, b)
/* magnitude of a (not negative), sign of b */
#define v_copysign(a, b) \
  _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0f), b))

/* comparisons are false for NaN, except v_ne */
#define v_lt(a, b) _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define v_le(a, b) _mm256_cmp_ps(a, b, _CMP_LE_OQ)
#define v_gt(a, b) _mm256_cmp_ps(a, b, _CMP_GT_OQ)
#define v_ge(a, b) _mm256_cmp_ps(a, b, _CMP_GE_OQ)
#define v_eq(a, b) _mm256_cmp_ps(a, b, _CMP_EQ_OQ)
#define v_ne(a, b) _mm256_cmp_ps(a, b, _CMP_NEQ_UQ)
#define vm_and(a, b) _mm256_and_ps(a, b)
#define vm_or(a, b) _mm256_or_ps(a, b)
#define vm_andnot(a, b) _mm256_andnot_ps(a, b) /* !a && b */
#define vm_none() _mm256_setzero_ps()
#define vm_bits(m) ((unsigned)_mm256_movemask_ps(m))
/* m ? b : a */
#define v_pick(m, a, b) _mm256_blendv_ps(a, b, m)

#define vi_set1(x) _mm256_set1_epi32(x)
#define vi_add(a, b) _mm256_add_epi32(a, b)
#define vi_and(a, b) _mm256_and_si256(a, b)
#define vi_or(a, b) _mm256_or_si256(a, b)
#define vi_shl(a, n) _mm256_slli_epi32(a, n)
#define vi_shr(a, n) _mm256_srli_epi32(a, n)
#define vi_min(a, b) _mm256_min_epi32(a, b)
#define vi_max_u(a, b) _mm256_max_epu32(a, b)
#define vi_store(p, a) _mm256_storeu_si256((__m256i *)(void *)(p), a)
#define vi_of_bits(a) _mm256_castps_si256(a)
#define v_of_bits(a) _mm256_castsi256_ps(a)
/* the integer b where the mask holds, else 0 */
#define vi_where(m, b) _mm256_and_si256(_mm256_castps_si256(m), b)
#define vi_pick(m, a, b) _mm256_blendv_epi8(a, b, _mm256_castps_si256(m))
#define v_trunc(a) _mm256_cvttps_epi32(a)
#define v_of_int(a) _mm256_cvtepi32_ps(a)

/* The mask of the lowest VL bits of x. */
static inline vm vm_of_bits(unsigned x) {
  const vi bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  vi on = _mm256_and_si256(_mm256_set1_epi32((int)x), bit);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(on, bit));
}

static inline float v_hmax(vf a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

static inline float v_hmin(vf a) {
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

static inline uint32_t vi_hmax_u(vi a) {
  uint32_t v[VL], worst = 0;
  vi_store(v, a);
  for (int i = 0; i < VL; i++) worst = v[i] > worst ? v[i] : worst;
  return worst;
}

/* 32 integers of -128..127 (0..255 wrap) as 32 bytes in order. */
static inline __m256i bytes_of_ints(const vi v[NV]) {
  __m256i even = _mm256_packs_epi32(v[0], v[1]);
  __m256i odd = _mm256_packs_epi32(v[2], v[3]);
  __m256i mixed = _mm256_packs_epi16(even, odd);
  return _mm256_permutevar8x32_epi32(mixed,
                                     _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* The low byte of each integer (0..255), VL bytes at p. */
static inline void store_low_bytes(uint8_t *p, vi v) {
  __m128i lo = _mm256_castsi256_si128(v), hi = _mm256_extracti128_si256(v, 1);
  __m128i words = _mm_packus_epi32(lo, hi);
  _mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(words, words));
}

/* 32 signed bytes as floats. */
static inline void floats_of_bytes(__m256i b, vf out[NV]) {
  __m128i lo = _mm256_castsi256_si128(b), hi = _mm256_extracti128_si256(b, 1);
  out[0] = v_of_int(_mm256_cvtepi8_epi32(lo));
  out[1] = v_of_int(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(lo, lo)));
  out[2] = v_of_int(_mm256_cvtepi8_epi32(hi));
  out[3] = v_of_int(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(hi, hi)));
}

/* VL floats <-> VL 16-bit words */
static inline vf load_f16(const void *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
static inline void store_f16(void *p, vf v) {
  _mm_storeu_si128(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline vi load_words(const void *p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(p));
}
static inline void store_words(void *p, vi v) {
  __m128i lo = _mm256_castsi256_si128(v), hi = _mm256_extracti128_si256(v, 1);
  _mm_storeu_si128(p, _mm_packus_epi32(lo, hi));
}

/* r[i][j] <-> r[j][i] */
static inline void v_transpose(vf r[VL]) {
  vf t[VL], u[VL];
  for (int i = 0; i < VL; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < VL; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}
