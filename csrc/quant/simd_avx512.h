/* simd_avx512.h - the vector vocabulary of the quant templates, 16 floats
 * wide; the meaning of each name is in simd_avx2.h.
 * Include after WN_TARGET_BEGIN(WN_T_AVX512). */

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

enum { VL = 16, NV = 32 / VL };

#define v_load(p) _mm512_loadu_ps(p)
#define v_store(p, a) _mm512_storeu_ps(p, a)
#define v_set1(x) _mm512_set1_ps(x)
#define v_zero() _mm512_setzero_ps()
#define v_add(a, b) _mm512_add_ps(a, b)
#define v_sub(a, b) _mm512_sub_ps(a, b)
#define v_mul(a, b) _mm512_mul_ps(a, b)
#define v_div(a, b) _mm512_div_ps(a, b)
#define v_sqrt(a) _mm512_sqrt_ps(a)
#define v_min(a, b) _mm512_min_ps(a, b)
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_abs(a) _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a)
#define v_neg(a) _mm512_xor_ps(_mm512_set1_ps(-0.0f), a)
#define v_xor(a, b) _mm512_xor_ps(a, b)
#define v_copysign(a, b) \
  _mm512_or_ps(a, _mm512_and_ps(_mm512_set1_ps(-0.0f), b))

#define v_lt(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define v_le(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define v_gt(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define v_ge(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ)
#define v_eq(a, b) _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)
#define v_ne(a, b) _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ)
#define vm_and(a, b) ((__mmask16)((a) & (b)))
#define vm_or(a, b) ((__mmask16)((a) | (b)))
#define vm_andnot(a, b) ((__mmask16)(~(a) & (b)))
#define vm_none() ((__mmask16)0)
#define vm_bits(m) ((unsigned)(m))
#define vm_of_bits(x) ((__mmask16)(x))
#define v_pick(m, a, b) _mm512_mask_blend_ps(m, a, b)

#define vi_set1(x) _mm512_set1_epi32(x)
#define vi_add(a, b) _mm512_add_epi32(a, b)
#define vi_and(a, b) _mm512_and_si512(a, b)
#define vi_or(a, b) _mm512_or_si512(a, b)
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
#define vi_shr(a, n) _mm512_srli_epi32(a, n)
#define vi_min(a, b) _mm512_min_epi32(a, b)
#define vi_max_u(a, b) _mm512_max_epu32(a, b)
#define vi_store(p, a) _mm512_storeu_si512(p, a)
#define vi_of_bits(a) _mm512_castps_si512(a)
#define v_of_bits(a) _mm512_castsi512_ps(a)
#define vi_where(m, b) _mm512_maskz_mov_epi32(m, b)
#define vi_pick(m, a, b) _mm512_mask_blend_epi32(m, a, b)
#define v_trunc(a) _mm512_cvttps_epi32(a)
#define v_of_int(a) _mm512_cvtepi32_ps(a)

static inline float v_hmax(vf a) { return _mm512_reduce_max_ps(a); }
static inline float v_hmin(vf a) { return _mm512_reduce_min_ps(a); }
static inline uint32_t vi_hmax_u(vi a) { return _mm512_reduce_max_epu32(a); }

static inline __m256i bytes_of_ints(const vi v[NV]) {
  return _mm256_set_m128i(_mm512_cvtepi32_epi8(v[1]),
                          _mm512_cvtepi32_epi8(v[0]));
}

static inline void store_low_bytes(uint8_t *p, vi v) {
  _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(v));
}

static inline void floats_of_bytes(__m256i b, vf out[NV]) {
  out[0] = v_of_int(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(b)));
  out[1] = v_of_int(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(b, 1)));
}

static inline vf load_f16(const void *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
static inline void store_f16(void *p, vf v) {
  _mm256_storeu_si256(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline vi load_words(const void *p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
}
static inline void store_words(void *p, vi v) {
  _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(v));
}

/* Pairs, then fours, inside 128-bit lanes; then the lanes themselves. */
static inline void v_transpose(vf r[VL]) {
  vf t[VL];
  for (int i = 0; i < VL; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < VL; i += 4) {
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
}
