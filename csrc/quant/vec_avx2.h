/* vec_avx2.h - lanes of float and int32 in one AVX2 register.
 *
 * The names and meanings of vec_avx512.h on 8 lanes; that header explains
 * them. A file includes one of the two. */
#ifndef WN_QUANT_VEC_H
#define WN_QUANT_VEC_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

#define WN_VEC_TARGET WN_T_AVX2
#define WN_VEC static inline __attribute__((always_inline))

#define SLOW_DIVISION 0
enum { LANES = 8 };
typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm; /* all bits of a lane are the answer */

/* One line per operation: */
/* clang-format off */
WN_TARGET_BEGIN(WN_T_AVX2)

/* Memory. */
WN_VEC vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
WN_VEC void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
WN_VEC vi vi_load(const void *p) { return _mm256_loadu_si256(p); }
WN_VEC void vi_store(void *p, vi a) { _mm256_storeu_si256(p, a); }
WN_VEC vf vf_set(float x) { return _mm256_set1_ps(x); }
WN_VEC vi vi_set(int x) { return _mm256_set1_epi32(x); }

/* Arithmetic. */
WN_VEC vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
WN_VEC vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
WN_VEC vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
WN_VEC vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
WN_VEC vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
WN_VEC vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
WN_VEC vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
WN_VEC float vf_largest(vf a) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}
WN_VEC vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a); }
WN_VEC vf vf_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.f)); }
WN_VEC vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
WN_VEC vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
WN_VEC vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
WN_VEC vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
WN_VEC vi vi_min(vi a, vi b) { return _mm256_min_epi32(a, b); }
WN_VEC vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
WN_VEC vi vi_sign_byte(vi a) {
  return _mm256_srai_epi32(_mm256_slli_epi32(a, 24), 24);
}
#define vi_left(a, n) _mm256_slli_epi32(a, n)
#define vi_right(a, n) _mm256_srli_epi32(a, n)

/* Bit patterns and conversions. */
WN_VEC vi vf_bits(vf a) { return _mm256_castps_si256(a); }
WN_VEC vf vi_as_float(vi a) { return _mm256_castsi256_ps(a); }
WN_VEC vf vi_to_float(vi a) { return _mm256_cvtepi32_ps(a); }

WN_VEC vf vf_nearest(vf v) {
  vi bits = _mm256_castps_si256(_mm256_add_ps(v, vf_set(12582912.f)));
  bits = vi_or(vi_and(bits, vi_set(0x007fffff)), vi_set(0x4b000000));
  return _mm256_sub_ps(_mm256_castsi256_ps(bits), vf_set(12582912.f));
}

/* Comparisons. */
WN_VEC vm vf_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
WN_VEC vm vf_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
WN_VEC vm vf_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
WN_VEC vm vf_ne(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
WN_VEC vm vf_lt_where(vm m, vf a, vf b) {
  return _mm256_and_ps(m, vf_lt(a, b));
}
WN_VEC vm vf_ne_where(vm m, vf a, vf b) {
  return _mm256_and_ps(m, vf_ne(a, b));
}
WN_VEC vm vi_eq(vi a, vi b) { return vi_as_float(_mm256_cmpeq_epi32(a, b)); }

/* Masks. */
WN_VEC vm vm_and(vm a, vm b) { return _mm256_and_ps(a, b); }
WN_VEC vm vm_or(vm a, vm b) { return _mm256_or_ps(a, b); }
WN_VEC vm vm_not_and(vm a, vm b) { return _mm256_andnot_ps(a, b); }
WN_VEC int vm_any(vm a) { return _mm256_movemask_ps(a) != 0; }
WN_VEC int vm_all(vm a) { return _mm256_movemask_ps(a) == 0xff; }
WN_VEC unsigned vm_bits(vm a) { return (unsigned)_mm256_movemask_ps(a); }
WN_VEC vm vm_of_bits(unsigned bits) {
  const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i b = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(b, lane));
}
WN_VEC vf vf_pick(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
WN_VEC vi vi_pick(vm m, vi yes, vi no) {
  return vf_bits(vf_pick(m, vi_as_float(yes), vi_as_float(no)));
}

/* Bytes. */
WN_VEC void vi_store_bytes(void *p, vi a) {
  const __m256i low = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1,
                                       -1, -1, -1, -1, -1, 0, 4, 8, 12, -1, -1,
                                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  a = _mm256_shuffle_epi8(a, low);
  _mm_storel_epi64(p, _mm_unpacklo_epi32(_mm256_castsi256_si128(a),
                                         _mm256_extracti128_si256(a, 1)));
}
WN_VEC vi vi_load_bytes(const void *p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(p));
}
WN_VEC vi vi_load_chars(const void *p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(p));
}

/* clang-format on */
/* Transposition of an 8 x 8 square. */
WN_VEC void vf_transpose(const float *const row[LANES], size_t off, float *out,
                         size_t stride) {
  __m256 a[8], b[8];
  WN_UNROLL
  for (int i = 0; i < 8; i += 2) {
    __m256 x = vf_load(row[i] + off), y = vf_load(row[i + 1] + off);
    a[i] = _mm256_unpacklo_ps(x, y);
    a[i + 1] = _mm256_unpackhi_ps(x, y);
  }
  WN_UNROLL
  for (int i = 0; i < 8; i += 4)
    WN_UNROLL
  for (int k = 0; k < 2; k++) {
    __m256d x = _mm256_castps_pd(a[i + k]);
    __m256d y = _mm256_castps_pd(a[i + k + 2]);
    b[i + 2 * k] = _mm256_castpd_ps(_mm256_unpacklo_pd(x, y));
    b[i + 2 * k + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(x, y));
  }
  WN_UNROLL
  for (int k = 0; k < 4; k++) {
    size_t c = (size_t)k;
    vf_store(out + c * stride, _mm256_permute2f128_ps(b[k], b[k + 4], 0x20));
    vf_store(out + (c + 4) * stride,
             _mm256_permute2f128_ps(b[k], b[k + 4], 0x31));
  }
}

WN_TARGET_END

#endif
