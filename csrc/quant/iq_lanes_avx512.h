/* iq_lanes_avx512.h - what the i-quants need beside vec_avx512.h. The same
 * names exist in iq_lanes_avx2.h. */
#ifndef WN_QUANT_IQ_LANES_H
#define WN_QUANT_IQ_LANES_H

#include "quant/vec_avx512.h"

/* One line per operation: */
/* clang-format off */
WN_TARGET_BEGIN(WN_T_AVX512)

/* a * b + c and a * b - c with one rounding; only where a * b is exact. */
WN_VEC vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
WN_VEC vf vf_fms(vf a, vf b, vf c) { return _mm512_fmsub_ps(a, b, c); }
/* The larger magnitude. */
WN_VEC vf vf_max_abs(vf a, vf b) { return _mm512_range_ps(a, b, 0xb); }
/* a >= b, also when they are unordered. */
WN_VEC vm vf_nlt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ); }

/* Tables of 8 floats, indexed by the low 3 bits of each lane, and of 4,
 * indexed by the low 2 bits. */
WN_VEC vf vf_load8(const float *p) {
  return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
}
WN_VEC vf vf_load4(const float *p) {
  return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
}
WN_VEC vf vf_look8(vf t, vi i) { return _mm512_permutexvar_ps(i, t); }
WN_VEC vf vf_look4(vf t, vi i) { return _mm512_permutevar_ps(t, i); }

/* LANES unsigned 16-bit numbers. */
WN_VEC vi vi_load_u16(const uint16_t *p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}
WN_VEC void vi_store_u16(uint16_t *p, vi a) {
  _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(a));
}

/* The last 4 bits of each lane replaced by those of i, which has no others. */
WN_VEC vf vf_with_low4(vf a, vi i) {
  return vi_as_float(_mm512_ternarylogic_epi32(vf_bits(a), vi_set(15), i, 0xba));
}
/* ... the last 2 bits. */
WN_VEC vf vf_with_low2(vf a, vi i) {
  return vi_as_float(_mm512_ternarylogic_epi32(vf_bits(a), vi_set(3), i, 0xba));
}
/* The number p[i & 15] for each lane. */
WN_VEC vi vi_look16_u16(const uint16_t *p, vi i) {
  return _mm512_permutexvar_epi32(i, vi_load_u16(p));
}
/* One more in the lanes of m. */
WN_VEC vi vi_count(vi a, vm m) {
  return _mm512_mask_add_epi32(a, m, a, vi_set(1));
}
/* a > b, of signed numbers. */
WN_VEC vm vi_gt(vi a, vi b) { return _mm512_cmpgt_epi32_mask(a, b); }
/* The 32-bit numbers at p + 8 * i bytes, of the first n lanes at least; the
 * others may be 0. */
WN_VEC vi vi_gather8(const void *p, vi i, int n) {
  if (n > 8) return _mm512_i32gather_epi32(i, p, 8);
  if (n > 4)
    return _mm512_zextsi256_si512(
        _mm256_i32gather_epi32(p, _mm512_castsi512_si256(i), 8));
  return _mm512_zextsi128_si512(
      _mm_i32gather_epi32(p, _mm512_castsi512_si128(i), 8));
}

/* Lanes moved up by one; lane 0 takes the last lane of `before`. */
WN_VEC vi vi_follow(vi before, vi a) { return _mm512_alignr_epi32(a, before, 15); }
/* 8 unsigned 16-bit numbers, in each half. */
WN_VEC vi vi_load8_u16(const uint16_t *p) {
  __m256i eight = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
  return _mm512_broadcast_i64x4(eight);
}
/* p[0] in the lower half, p[1] in the upper. */
WN_VEC vf vf_set_halves(const float *p) {
  return _mm512_mask_broadcastss_ps(_mm512_set1_ps(p[0]), 0xff00,
                                    _mm_load_ss(p + 1));
}
/* In each lane the least of its half. */
WN_VEC vf vf_least8(vf a) {
  a = _mm512_min_ps(a, _mm512_shuffle_f32x4(a, a, 0xb1));
  a = _mm512_min_ps(a, _mm512_permute_ps(a, 0x4e));
  return _mm512_min_ps(a, _mm512_permute_ps(a, 0xb1));
}

/* Halves of 8 lanes, of different origin each; number v of the LANES / 8 ... */
/* The 16-bit numbers at lo[0 .. 7], then those at hi[0 .. 7]. */
WN_VEC vi vi_load_halves(const uint16_t *lo, const uint16_t *hi, int v) {
  (void)v;
  __m128i a = _mm_loadu_si128((const __m128i *)lo);
  return _mm512_cvtepu16_epi32(_mm256_inserti128_si256(
      _mm256_castsi128_si256(a), _mm_loadu_si128((const __m128i *)hi), 1));
}
/* *lo in the lower half, *hi in the upper. */
WN_VEC vf vf_halves(const float *lo, const float *hi, int v) {
  (void)v;
  return _mm512_mask_broadcastss_ps(_mm512_set1_ps(*lo), 0xff00,
                                    _mm_load_ss(hi));
}
/* The least of 16 numbers in each lane. */
WN_VEC void vf_least16(vf *a) {
  *a = _mm512_min_ps(*a, _mm512_shuffle_f32x4(*a, *a, 0x4e));
  *a = vf_least8(*a);
}
/* p[a] .. p[e] = key, of 32 numbers. */
WN_VEC void v32_fill_u16(uint16_t *p, int a, int e, uint16_t key) {
  __mmask32 these = (2u << e) - (1u << a);
  _mm512_mask_storeu_epi16(p, these, _mm512_set1_epi16((short)key));
}

/* Numbers of the set bits of `bits` (of LANES), plus `base`; returns their
 * count. p has room for LANES. */
WN_VEC int v16_list_bits(uint16_t *p, unsigned bits, unsigned base) {
  const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                          12, 13, 14, 15);
  __m512i packed = _mm512_maskz_compress_epi32((__mmask16)bits, count);
  vi_store_u16(p, _mm512_add_epi32(packed, _mm512_set1_epi32((int)base)));
  return __builtin_popcount(bits);
}

/* The least and the largest of all lanes, none of them NaN. */
WN_VEC float vf_least(vf a) { return _mm512_reduce_min_ps(a); }
WN_VEC float vf_most(vf a) { return _mm512_reduce_max_ps(a); }
/* The values of iq4 nearest to x, upper ones of equals, for |x| < 139. A cell
 * is 9 wide, so that at most one border of two values lies in it. */
WN_VEC vf vf_iq4_value(vf x) {
  static const float border[32] = {
      200, 200, 200,  -115.5f, 200,   200,   -93.5f, 200, -74, 200, -57,
      -42, 200, -28.5f, -16,   -4.5f, -4.5f, 7,      19,  31.5f, 31.5f, 45.5f,
      200, 61,  200,  79,      200,   101,   200,    200, 200, 200};
  static const float low[32] = {
      -127, -127, -127, -127, -104, -104, -104,  -83,
       -83,  -65,  -65,  -49,  -35,  -35,  -22,  -10,
       -10,    1,   13,   25,   25,   38,   53,   53,
        69,   69,   89,   89,  113,  113,  113,  113};
  static const float high[32] = {
      -127, -127, -127, -104, -104, -104,  -83,  -83,
       -65,  -65,  -49,  -35,  -35,  -22,  -10,    1,
         1,   13,   25,   38,   38,   53,   53,   69,
        69,   89,   89,  113,  113,  113,  113,  113};
  vi cell = vf_bits(vf_fma(x, vf_set(1 / 9.f), vf_set(12582912.f + 16)));
  vf b = _mm512_permutex2var_ps(vf_load(border), cell, vf_load(border + 16));
  vf lo = _mm512_permutex2var_ps(vf_load(low), cell, vf_load(low + 16));
  vf hi = _mm512_permutex2var_ps(vf_load(high), cell, vf_load(high + 16));
  return vf_pick(vf_nlt(x, b), hi, lo);
}

/* Indices of the values nearest to any x; NaN: 15. Four halvings of the
 * borders. */
WN_VEC vi vf_iq4_index(vf x) {
  const vf border = _mm512_setr_ps(-115.5f, -93.5f, -74, -57, -42, -28.5f, -16,
                                   -4.5f, 7, 19, 31.5f, 45.5f, 61, 79, 101, 0);
  vi i = vi_set(0);
  WN_UNROLL
  for (int step = 8; step > 0; step /= 2) {
    vf b = _mm512_permutexvar_ps(vi_add(i, vi_set(step - 1)), border);
    i = _mm512_mask_add_epi32(i, vf_nlt(x, b), i, vi_set(step));
  }
  return i;
}
/* clang-format on */
WN_TARGET_END

#endif
