/* iq_lanes_avx2.h - what the i-quants need beside vec_avx2.h. The same names
 * exist in iq_lanes_avx512.h. */
#ifndef WN_QUANT_IQ_LANES_H
#define WN_QUANT_IQ_LANES_H

#include "quant/vec_avx2.h"

/* One line per operation: */
/* clang-format off */
WN_TARGET_BEGIN(WN_T_AVX2)

/* a * b + c and a * b - c with one rounding; only where a * b is exact. */
WN_VEC vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
WN_VEC vf vf_fms(vf a, vf b, vf c) { return _mm256_fmsub_ps(a, b, c); }
/* The larger magnitude, of a positive a. */
WN_VEC vf vf_max_abs(vf a, vf b) { return vf_max(a, vf_abs(b)); }
/* a >= b, also when they are unordered. */
WN_VEC vm vf_nlt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NLT_UQ); }

/* Tables of 8 floats, indexed by the low 3 bits of each lane, and of 4,
 * indexed by the low 2 bits. */
WN_VEC vf vf_load8(const float *p) { return _mm256_loadu_ps(p); }
WN_VEC vf vf_load4(const float *p) {
  return _mm256_broadcast_ps((const __m128 *)p);
}
WN_VEC vf vf_look8(vf t, vi i) { return _mm256_permutevar8x32_ps(t, i); }
WN_VEC vf vf_look4(vf t, vi i) { return _mm256_permutevar_ps(t, i); }

/* LANES unsigned 16-bit numbers. */
WN_VEC vi vi_load_u16(const uint16_t *p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
}
WN_VEC void vi_store_u16(uint16_t *p, vi a) {
  __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(a, a), 0x08);
  _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(both));
}

/* The last 4 bits of each lane replaced by those of i, which has no others. */
WN_VEC vf vf_with_low4(vf a, vi i) {
  __m256i high = _mm256_andnot_si256(_mm256_set1_epi32(15), vf_bits(a));
  return vi_as_float(_mm256_or_si256(high, i));
}
/* ... the last 2 bits. */
WN_VEC vf vf_with_low2(vf a, vi i) {
  __m256i high = _mm256_andnot_si256(_mm256_set1_epi32(3), vf_bits(a));
  return vi_as_float(_mm256_or_si256(high, i));
}
/* The number p[i & 15] for each lane. */
WN_VEC vi vi_look16_u16(const uint16_t *p, vi i) {
  vi low = _mm256_permutevar8x32_epi32(vi_load_u16(p), i);
  vi high = _mm256_permutevar8x32_epi32(vi_load_u16(p + 8), i);
  return vi_pick(vi_as_float(_mm256_slli_epi32(i, 28)), high, low);
}
/* One more in the lanes of m. */
WN_VEC vi vi_count(vi a, vm m) { return vi_sub(a, vf_bits(m)); }
/* a > b, of signed numbers. */
WN_VEC vm vi_gt(vi a, vi b) { return vi_as_float(_mm256_cmpgt_epi32(a, b)); }
/* The 32-bit numbers at p + 8 * i bytes, of the first n lanes at least; the
 * others may be 0. */
WN_VEC vi vi_gather8(const void *p, vi i, int n) {
  if (n > 4) return _mm256_i32gather_epi32(p, i, 8);
  return _mm256_zextsi128_si256(
      _mm_i32gather_epi32(p, _mm256_castsi256_si128(i), 8));
}

/* Lanes moved up by one; lane 0 takes the last lane of `before`. */
WN_VEC vi vi_follow(vi before, vi a) {
  __m256i middle = _mm256_permute2x128_si256(before, a, 0x21);
  return _mm256_alignr_epi8(a, middle, 12);
}
/* 8 unsigned 16-bit numbers. */
WN_VEC vi vi_load8_u16(const uint16_t *p) { return vi_load_u16(p); }
/* p[0] in all lanes: these registers have one half only. */
WN_VEC vf vf_set_halves(const float *p) { return _mm256_broadcast_ss(p); }
/* In each lane the least of all. */
WN_VEC vf vf_least8(vf a) {
  a = _mm256_min_ps(a, _mm256_permute2f128_ps(a, a, 1));
  a = _mm256_min_ps(a, _mm256_permute_ps(a, 0x4e));
  return _mm256_min_ps(a, _mm256_permute_ps(a, 0xb1));
}

/* Halves of 16 lanes, here a register each: number v. */
WN_VEC vi vi_load_halves(const uint16_t *lo, const uint16_t *hi, int v) {
  return vi_load_u16(v == 0 ? lo : hi);
}
WN_VEC vf vf_halves(const float *lo, const float *hi, int v) {
  return _mm256_broadcast_ss(v == 0 ? lo : hi);
}
/* The least of 16 numbers, in each lane of a[0] and a[1]. */
WN_VEC void vf_least16(vf *a) {
  a[0] = a[1] = vf_least8(_mm256_min_ps(a[0], a[1]));
}
/* p[a] .. p[e] = key, of 32 numbers. */
WN_VEC void v32_fill_u16(uint16_t *p, int a, int e, uint16_t key) {
  const __m256i count = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                          12, 13, 14, 15);
  const __m256i keys = _mm256_set1_epi16((short)key);
  WN_UNROLL
  for (int i = 0; i < 32; i += 16) {
    __m256i *at = (__m256i *)(p + i);
    __m256i past = _mm256_cmpgt_epi16(count, _mm256_set1_epi16((short)(e - i)));
    __m256i from = _mm256_cmpgt_epi16(count, _mm256_set1_epi16((short)(a - 1 - i)));
    from = _mm256_andnot_si256(past, from);
    __m256i old = _mm256_loadu_si256(at);
    _mm256_storeu_si256(at, _mm256_blendv_epi8(old, keys, from));
  }
}

/* Numbers of the set bits of `bits` (of LANES), plus `base`; returns their
 * count. p has room for LANES. */
WN_VEC int v16_list_bits(uint16_t *p, unsigned bits, unsigned base) {
  /* A nibble per bit; pext packs the numbers of the set ones. */
  uint32_t chosen = _pdep_u32(bits, 0x11111111) * 15;
  uint64_t packed = _pdep_u64(_pext_u32(0x76543210, chosen), 0x0f0f0f0f0f0f0f0f);
  __m128i list = _mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)packed));
  list = _mm_add_epi16(list, _mm_set1_epi16((short)base));
  _mm_storeu_si128((__m128i *)p, list);
  return __builtin_popcount(bits);
}

/* The least and the largest of all lanes, none of them NaN. */
WN_VEC float vf_least(vf a) {
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}
WN_VEC float vf_most(vf a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
/* Minus the indices of the iq4 values nearest to any x, upper ones of equals;
 * NaN: -15. Four halvings of the 15 borders: an index so far, negative since a
 * true mask is -1, looks up the next border; -k and 8 - k look up the same. */
WN_VEC vi vf_iq4_minus_index(vf x, vm *upper) {
  const vf four = _mm256_setr_ps(-93.5f, 0, 0, 0, 0, 79, 19, -28.5f);
  const vf eight =
      _mm256_setr_ps(-115.5f, 101, 61, 31.5f, 7, -16, -42, -74);
  *upper = vf_nlt(x, vf_set(-4.5f));
  vi i = vf_bits(*upper);
  vf b = vf_pick(*upper, vf_set(45.5f), vf_set(-57));
  i = vi_add(vi_add(i, i), vf_bits(vf_nlt(x, b)));
  i = vi_add(vi_add(i, i), vf_bits(vf_nlt(x, vf_look8(four, i))));
  return vi_add(vi_add(i, i), vf_bits(vf_nlt(x, vf_look8(eight, i))));
}
WN_VEC vi vf_iq4_index(vf x) {
  vm upper;
  return vi_sub(vi_set(0), vf_iq4_minus_index(x, &upper));
}
/* The values themselves. */
WN_VEC vf vf_iq4_value(vf x) {
  const vf low = _mm256_setr_ps(-127, -10, -22, -35, -49, -65, -83, -104);
  const vf high = _mm256_setr_ps(1, 113, 89, 69, 53, 38, 25, 13);
  vm upper;
  vi i = vf_iq4_minus_index(x, &upper);
  return vf_pick(upper, vf_look8(high, i), vf_look8(low, i));
}
/* clang-format on */
WN_TARGET_END

#endif
