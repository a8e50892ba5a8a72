/* vec_avx2.h - the vectors of the kernel templates: 8 lanes of 32 bits.
 * Included between WN_TARGET_BEGIN and WN_TARGET_END. */

#define LANES 8
typedef __m256 VF;

static inline VF vf_load(const void *p) {
  return _mm256_loadu_ps(p);
}
static inline void vf_store(float *p, VF v) {
  _mm256_storeu_ps(p, v);
}
static inline VF vf_set1(const float *p) {
  return _mm256_broadcast_ss(p);
}
static inline VF vf_zero(void) {
  return _mm256_setzero_ps();
}
static inline VF vf_add(VF a, VF b) {
  return _mm256_add_ps(a, b);
}
static inline VF vf_fma(VF a, VF b, VF c) {
  return _mm256_fmadd_ps(a, b, c);
}

/* 8 binary16 (bfloat16) numbers to float. */
static inline VF vf_f16(const void *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(p));
}
static inline VF vf_bf16(const void *p) {
  __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}

/* v[j] lane i becomes v[i] lane j: pairs, then quads, then 128-bit lanes. */
static inline void vf_transpose(VF v[8]) {
  VF t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int j = 0; j < 4; j++) {
    t[j] = _mm256_permute2f128_ps(v[j], v[4 + j], 0x20);
    t[4 + j] = _mm256_permute2f128_ps(v[j], v[4 + j], 0x31);
  }
  for (int j = 0; j < 8; j++)
    v[j] = t[j];
}
