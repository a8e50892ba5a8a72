/* vec_avx512.h - the vectors of the kernel templates: 16 lanes of 32 bits.
 * Included between WN_TARGET_BEGIN and WN_TARGET_END. */

#define LANES 16
typedef __m512 VF;

static inline VF vf_load(const void *p) {
  return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, VF v) {
  _mm512_storeu_ps(p, v);
}
static inline VF vf_set1(const float *p) {
  return _mm512_set1_ps(*p);
}
static inline VF vf_zero(void) {
  return _mm512_setzero_ps();
}
static inline VF vf_add(VF a, VF b) {
  return _mm512_add_ps(a, b);
}
static inline VF vf_fma(VF a, VF b, VF c) {
  return _mm512_fmadd_ps(a, b, c);
}

/* 16 binary16 (bfloat16) numbers to float. */
static inline VF vf_f16(const void *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}
static inline VF vf_bf16(const void *p) {
  __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}

/* v[j] lane i becomes v[i] lane j: pairs, then quads, then 128-bit lanes. */
static inline void vf_transpose(VF v[16]) {
  VF t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
#define D(x) _mm512_castps_pd(x)
#define S(x) _mm512_castpd_ps(x)
  for (int i = 0; i < 16; i += 4) {
    v[i] = S(_mm512_unpacklo_pd(D(t[i]), D(t[i + 2])));
    v[i + 1] = S(_mm512_unpackhi_pd(D(t[i]), D(t[i + 2])));
    v[i + 2] = S(_mm512_unpacklo_pd(D(t[i + 1]), D(t[i + 3])));
    v[i + 3] = S(_mm512_unpackhi_pd(D(t[i + 1]), D(t[i + 3])));
  }
#undef D
#undef S
  /* now v[4 g + j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4 g.. */
  for (int j = 0; j < 4; j++) {
    t[j] = _mm512_shuffle_f32x4(v[j], v[4 + j], 0x88);
    t[4 + j] = _mm512_shuffle_f32x4(v[j], v[4 + j], 0xdd);
    t[8 + j] = _mm512_shuffle_f32x4(v[8 + j], v[12 + j], 0x88);
    t[12 + j] = _mm512_shuffle_f32x4(v[8 + j], v[12 + j], 0xdd);
  }
  for (int j = 0; j < 4; j++) {
    v[j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0x88);
    v[8 + j] = _mm512_shuffle_f32x4(t[j], t[8 + j], 0xdd);
    v[4 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0x88);
    v[12 + j] = _mm512_shuffle_f32x4(t[4 + j], t[12 + j], 0xdd);
  }
}
