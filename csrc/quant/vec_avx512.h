/* vec_avx512.h - lanes of float and int32 in one AVX-512 register.
 *
 * vec_avx2.h offers the same names on 256-bit registers, so that a template
 * written with them runs on both. Each function is one operation on every
 * lane, with exactly the scalar meaning; the ones that differ from what one
 * might guess say so. Include it before any WN_TARGET_BEGIN of the file.
 *
 *   vf  lanes of float      vi  lanes of int32      vm  lanes of true/false */
#ifndef WN_QUANT_VEC_H
#define WN_QUANT_VEC_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"

#define WN_VEC_TARGET WN_T_AVX512
#define WN_VEC static inline __attribute__((always_inline))

/* 1: a division takes as long as 16 additions on some CPUs. */
#define SLOW_DIVISION 1
enum { LANES = 16 };
typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

/* One line per operation: */
/* clang-format off */
WN_TARGET_BEGIN(WN_T_AVX512)

/* Memory: unaligned, LANES numbers. */
WN_VEC vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
WN_VEC void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
WN_VEC vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
WN_VEC void vi_store(void *p, vi a) { _mm512_storeu_si512(p, a); }
WN_VEC vf vf_set(float x) { return _mm512_set1_ps(x); }
WN_VEC vi vi_set(int x) { return _mm512_set1_epi32(x); }

/* Arithmetic. */
WN_VEC vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
WN_VEC vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
WN_VEC vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
WN_VEC vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
WN_VEC vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
/* a < b ? a : b  and  a > b ? a : b: b when they are unordered or equal. */
WN_VEC vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
WN_VEC vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
/* The largest lane, when none is NaN. */
WN_VEC float vf_largest(vf a) { return _mm512_reduce_max_ps(a); }
WN_VEC vf vf_abs(vf a) { return _mm512_abs_ps(a); }
WN_VEC vf vf_neg(vf a) { /* the sign bit flips, of NaN too */
  return _mm512_xor_ps(a, _mm512_set1_ps(-0.f));
}
WN_VEC vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
WN_VEC vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
WN_VEC vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
WN_VEC vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
WN_VEC vi vi_min(vi a, vi b) { return _mm512_min_epi32(a, b); }
WN_VEC vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
/* The low byte of each lane, sign extended. */
WN_VEC vi vi_sign_byte(vi a) {
  return _mm512_srai_epi32(_mm512_slli_epi32(a, 24), 24);
}
#define vi_left(a, n) _mm512_slli_epi32(a, (unsigned)(n))
#define vi_right(a, n) _mm512_srli_epi32(a, (unsigned)(n)) /* logical */

/* Bit patterns and conversions. */
WN_VEC vi vf_bits(vf a) { return _mm512_castps_si512(a); }
WN_VEC vf vi_as_float(vi a) { return _mm512_castsi512_ps(a); }
WN_VEC vf vi_to_float(vi a) { return _mm512_cvtepi32_ps(a); }

/* wn_k_round (k.h) of each lane, as a float. Also where that wraps: the bits
 * above the 23rd are put in place before the magic number is taken off. */
WN_VEC vf vf_nearest(vf v) {
  vi bits = _mm512_castps_si512(_mm512_add_ps(v, vf_set(12582912.f)));
  bits = _mm512_ternarylogic_epi32(bits, vi_set(0x007fffff),
                                   vi_set(0x4b000000), 0xea); /* (a & b) | c */
  return _mm512_sub_ps(_mm512_castsi512_ps(bits), vf_set(12582912.f));
}

/* Comparisons: false when unordered, but for vf_ne. */
WN_VEC vm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
WN_VEC vm vf_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
WN_VEC vm vf_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
WN_VEC vm vf_ne(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
/* The same and m: one instruction, and m may come early. */
WN_VEC vm vf_lt_where(vm m, vf a, vf b) {
  return _mm512_mask_cmp_ps_mask(m, a, b, _CMP_LT_OQ);
}
WN_VEC vm vf_ne_where(vm m, vf a, vf b) {
  return _mm512_mask_cmp_ps_mask(m, a, b, _CMP_NEQ_UQ);
}
WN_VEC vm vi_eq(vi a, vi b) { return _mm512_cmpeq_epi32_mask(a, b); }

/* Masks; vm_bits has one bit per lane, lane 0 lowest. */
WN_VEC vm vm_and(vm a, vm b) { return (vm)(a & b); }
WN_VEC vm vm_or(vm a, vm b) { return (vm)(a | b); }
WN_VEC vm vm_not_and(vm a, vm b) { return (vm)(~a & b); }
WN_VEC int vm_any(vm a) { return a != 0; }
WN_VEC int vm_all(vm a) { return a == 0xffff; }
WN_VEC unsigned vm_bits(vm a) { return a; }
WN_VEC vm vm_of_bits(unsigned bits) { return (vm)bits; }
WN_VEC vf vf_pick(vm m, vf yes, vf no) {
  return _mm512_mask_blend_ps(m, no, yes);
}
WN_VEC vi vi_pick(vm m, vi yes, vi no) {
  return _mm512_mask_blend_epi32(m, no, yes);
}

/* The low byte of each lane to p[0 .. LANES - 1], and back (zero extended,
 * sign extended). */
WN_VEC void vi_store_bytes(void *p, vi a) {
  _mm_storeu_si128(p, _mm512_cvtepi32_epi8(a));
}
WN_VEC vi vi_load_bytes(const void *p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(p));
}
WN_VEC vi vi_load_chars(const void *p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(p));
}

/* clang-format on */
/* out[i * stride + lane] = row[lane][off + i] for i < LANES: a square of
 * floats turned by three rounds of exchanges between rows 1, 2 and (as
 * 128-bit pieces) 4 and 8 apart. */
WN_VEC void vf_transpose(const float *const row[LANES], size_t off, float *out,
                         size_t stride) {
  __m512 a[16], b[16];
  WN_UNROLL
  for (int i = 0; i < 16; i += 2) {
    __m512 x = vf_load(row[i] + off), y = vf_load(row[i + 1] + off);
    a[i] = _mm512_unpacklo_ps(x, y);
    a[i + 1] = _mm512_unpackhi_ps(x, y);
  }
  WN_UNROLL
  for (int i = 0; i < 16; i += 4)
    WN_UNROLL
  for (int k = 0; k < 2; k++) {
    __m512d x = _mm512_castps_pd(a[i + k]);
    __m512d y = _mm512_castps_pd(a[i + k + 2]);
    b[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
    b[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
  }
  WN_UNROLL
  for (int k = 0; k < 4; k++) { /* columns k, k + 4, k + 8, k + 12 */
    __m512 lo0 = _mm512_shuffle_f32x4(b[k], b[k + 4], 0x88);
    __m512 hi0 = _mm512_shuffle_f32x4(b[k], b[k + 4], 0xdd);
    __m512 lo1 = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0x88);
    __m512 hi1 = _mm512_shuffle_f32x4(b[k + 8], b[k + 12], 0xdd);
    size_t c = (size_t)k;
    vf_store(out + c * stride, _mm512_shuffle_f32x4(lo0, lo1, 0x88));
    vf_store(out + (c + 4) * stride, _mm512_shuffle_f32x4(hi0, hi1, 0x88));
    vf_store(out + (c + 8) * stride, _mm512_shuffle_f32x4(lo0, lo1, 0xdd));
    vf_store(out + (c + 12) * stride, _mm512_shuffle_f32x4(hi0, hi1, 0xdd));
  }
}

WN_TARGET_END

#endif
