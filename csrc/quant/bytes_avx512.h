/* bytes_avx512.h - between lanes and the packed bytes of blocks, for AVX-512.
 * Names and meanings: bytes_avx2.h. */
#ifndef WN_QUANT_BYTES_H
#define WN_QUANT_BYTES_H

#include "quant/vec_avx512.h"

WN_TARGET_BEGIN(WN_T_AVX512)

enum { NV = 32 / LANES };

WN_VEC vi vf_trunc(vf a) {
  return _mm512_cvttps_epi32(a);
}
WN_VEC vf vf_copysign(vf a, vf b) {
  return _mm512_or_ps(a, _mm512_and_ps(_mm512_set1_ps(-0.0f), b));
}
WN_VEC vi vi_where(vm m, vi b) {
  return _mm512_maskz_mov_epi32(m, b);
}
WN_VEC vi vi_max_unsigned(vi a, vi b) {
  return _mm512_max_epu32(a, b);
}
WN_VEC float vf_highest(vf a) {
  return _mm512_reduce_max_ps(a);
}
WN_VEC float vf_lowest(vf a) {
  return _mm512_reduce_min_ps(a);
}

WN_VEC __m256i bytes_of_ints(const vi v[NV]) {
  return _mm256_set_m128i(_mm512_cvtepi32_epi8(v[1]),
                          _mm512_cvtepi32_epi8(v[0]));
}

WN_VEC void floats_of_bytes(__m256i b, vf out[NV]) {
  __m128i lo = _mm256_castsi256_si128(b), hi = _mm256_extracti128_si256(b, 1);
  out[0] = vi_to_float(_mm512_cvtepi8_epi32(lo));
  out[1] = vi_to_float(_mm512_cvtepi8_epi32(hi));
}

WN_VEC vf vf_load_half(const void *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
WN_VEC void vf_store_half(void *p, vf v) {
  _mm256_storeu_si256(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
WN_VEC vi vi_load_words(const void *p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
}
WN_VEC void vi_store_words(void *p, vi v) {
  _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(v));
}

WN_TARGET_END

#endif
