/* bytes_avx2.h - between lanes and the packed bytes of blocks, for AVX2.
 *
 * What the templates of the simple families need beyond vec_avx2.h; the same
 * names on 512-bit registers are in bytes_avx512.h. 32 values (a legacy
 * block) are NV vectors, or the 32 bytes of one __m256i. */
#ifndef WN_QUANT_BYTES_H
#define WN_QUANT_BYTES_H

#include "quant/vec_avx2.h"

WN_TARGET_BEGIN(WN_T_AVX2)

enum { NV = 32 / LANES };

/* Towards zero; what does not fit becomes INT32_MIN. */
WN_VEC vi vf_trunc(vf a) {
  return _mm256_cvttps_epi32(a);
}

/* The magnitude of a (not negative) with the sign of b. */
WN_VEC vf vf_copysign(vf a, vf b) {
  return _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0f), b));
}

/* b where the mask holds, else 0. */
WN_VEC vi vi_where(vm m, vi b) {
  return _mm256_and_si256(_mm256_castps_si256(m), b);
}

WN_VEC vi vi_max_unsigned(vi a, vi b) {
  return _mm256_max_epu32(a, b);
}

/* The largest lane; no lane may be NaN. */
WN_VEC float vf_highest(vf a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

WN_VEC float vf_lowest(vf a) {
  __m128 m = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_min_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_min_ss(m, _mm_movehdup_ps(m)));
}

/* 32 integers of one sign's byte range as 32 bytes in order. */
WN_VEC __m256i bytes_of_ints(const vi v[NV]) {
  __m256i even = _mm256_packs_epi32(v[0], v[1]);
  __m256i odd = _mm256_packs_epi32(v[2], v[3]);
  __m256i mixed = _mm256_packs_epi16(even, odd);
  return _mm256_permutevar8x32_epi32(mixed,
                                     _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* 32 signed bytes as floats in order. */
WN_VEC void floats_of_bytes(__m256i b, vf out[NV]) {
  __m128i lo = _mm256_castsi256_si128(b), hi = _mm256_extracti128_si256(b, 1);
  out[0] = vi_to_float(_mm256_cvtepi8_epi32(lo));
  out[1] = vi_to_float(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(lo, lo)));
  out[2] = vi_to_float(_mm256_cvtepi8_epi32(hi));
  out[3] = vi_to_float(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(hi, hi)));
}

/* LANES 16-bit words: binary16 numbers, or integers zero extended. */
WN_VEC vf vf_load_half(const void *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
WN_VEC void vf_store_half(void *p, vf v) {
  _mm_storeu_si128(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
WN_VEC vi vi_load_words(const void *p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(p));
}
WN_VEC void vi_store_words(void *p, vi v) {
  __m128i lo = _mm256_castsi256_si128(v), hi = _mm256_extracti128_si256(v, 1);
  _mm_storeu_si128(p, _mm_packus_epi32(lo, hi));
}

WN_TARGET_END

#endif
