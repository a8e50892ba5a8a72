/* pack_avx512.inc.h - pack.inc.h's 256 values at a time: magnitudes, roundings
 * and sums of all of them side by side, where pack_x86.inc.h, which does what
 * is left over, has one chain of steps after the other. */
#include "kern/pack_x86.inc.h"

#define PACK_WIDE

/* Adds, or takes the greater of, the 128-bit parts of a and of b: parts 0 and 1
 * are what becomes of a. */
#define FOLD_PARTS(OP, a, b) \
  OP(_mm512_shuffle_i32x4(a, b, 0x44), _mm512_shuffle_i32x4(a, b, 0xee))
/* The same of such a and b: part i is what becomes of the i-th of four. */
#define JOIN_PARTS(OP, a, b) \
  OP(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd))

/* Bits of the magnitudes of 16 values. */
INLINE VI pack_magnitudes(const float *x) {
  return vi_and(vi_load(x), vi_set1(INT32_MAX));
}

/* Bits of the largest magnitude of each of 8 blocks of 32 values. */
INLINE __m256i pack_largest8(const float *x) {
  VI v[8];
  WN_UNROLL
  for (size_t b = 0; b < 8; b++, x += 32)
    v[b] = _mm512_max_epu32(pack_magnitudes(x), pack_magnitudes(x + 16));
  WN_UNROLL
  for (size_t i = 0; i < 4; i++)
    v[i] = FOLD_PARTS(_mm512_max_epu32, v[2 * i], v[2 * i + 1]);
  VI a = JOIN_PARTS(_mm512_max_epu32, v[0], v[1]);
  VI b = JOIN_PARTS(_mm512_max_epu32, v[2], v[3]);
  a = _mm512_max_epu32(_mm512_unpacklo_epi64(a, b),
                       _mm512_unpackhi_epi64(a, b));
  a = _mm512_max_epu32(a, _mm512_shuffle_epi32(a, 0xb1));
  VI pick =
      _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castsi512_si256(_mm512_permutexvar_epi32(pick, a));
}

/* wn_scale_q8_32 of 8 blocks: returns d, stores the inverses. */
INLINE __m256 pack_scales8(__m256i largest, float inverse[8]) {
  __m256i inf = _mm256_set1_epi32(0x7f800000);
  __m256 d = _mm256_div_ps(_mm256_castsi256_ps(largest), _mm256_set1_ps(127));
  __mmask8 finite = _mm256_cmpgt_epi32_mask(inf, largest);
  __mmask8 some = _mm256_mask_cmp_ps_mask(finite, d, _mm256_setzero_ps(), 30);
  _mm256_storeu_ps(inverse, _mm256_maskz_div_ps(some, _mm256_set1_ps(1), d));
  d = _mm256_mask_mov_ps(_mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
                         finite, d);
  return _mm256_cvtph_ps(_mm256_cvtps_ph(d, 0));
}

/* 256 values times the scales of each 32, rounded, to q; returns the sums of
 * each 16. */
INLINE __m256i pack_round256(const float *x, const float scale[8], uint8_t *q) {
  VI order =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  VI sums[4];
  WN_UNROLL
  for (size_t g = 0; g < 4; g++) {
    VI v[4];
    WN_UNROLL
    for (size_t j = 0; j < 4; j++)
      v[j] = _mm512_cvtps_epi32(
          vf_mul(vf_load(x + 64 * g + 16 * j), vf_set1(scale + 2 * g + j / 2)));
    /* each 128 bits hold 4 values of each of the four vectors */
    VI bytes = _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]),
                                  _mm512_packs_epi32(v[2], v[3]));
    vi_store(q + 64 * g, _mm512_permutexvar_epi32(order, bytes));
    sums[g] = vi_dot8(vi_zero(), vi_set8(1), bytes);
  }
  VI a = FOLD_PARTS(_mm512_add_epi32, sums[0], sums[1]);
  VI b = FOLD_PARTS(_mm512_add_epi32, sums[2], sums[3]);
  return _mm512_cvtepi32_epi16(JOIN_PARTS(_mm512_add_epi32, a, b));
}

/* Blocks b .. b + 7 of a column, from the values at x. */
INLINE void pack_blocks8(const float *x, size_t b, const wn_column *col,
                         uint8_t *column) {
  float inverse[8];
  __m256 d = pack_scales8(pack_largest8(x), inverse);
  __m256i sums = pack_round256(x, inverse, column + 32 * b);
  __m256i sums32 = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
  _mm256_storeu_ps((float *)(void *)(column + col->d + 4 * b), d);
  _mm256_storeu_si256((void *)(column + col->sums + 4 * b), sums);
  _mm256_storeu_ps((float *)(void *)(column + col->sums32 + 4 * b),
                   _mm256_mul_ps(d, _mm256_cvtepi32_ps(sums32)));
}

/* Super-block b of a column, from the values at x. */
INLINE void pack_super(const float *x, size_t b, const wn_column *col,
                       uint8_t *column) {
  VI most = pack_magnitudes(x);
  WN_UNROLL
  for (size_t i = 1; i < 16; i++)
    most = _mm512_max_epu32(most, pack_magnitudes(x + 16 * i));
  uint32_t largest = _mm512_reduce_max_epu32(most);
  float inverse[8];
  wn_scale s = wn_scale_q8_256(pack_extreme(x, largest));
  _mm256_storeu_ps(inverse, _mm256_set1_ps(s.inverse));
  __m256i sums = pack_round256(x, inverse, column + 256 * b);
  __m256i sums32 = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
  memcpy(column + col->d + 4 * b, &s.d, 4);
  _mm256_storeu_si256((void *)(column + col->sums + 32 * b), sums);
  _mm_storeu_si128((void *)(column + col->sums32 + 16 * b),
                   _mm256_cvtepi32_epi16(sums32));
}
