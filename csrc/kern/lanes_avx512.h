/* lanes_avx512.h - the vectors of the kernel templates: 16 lanes of 32 bits,
 * one lane per weight row. Included between WN_TARGET_BEGIN and
 * WN_TARGET_END. lanes_avx2.h has the same functions over 8 lanes. */

#define LANES 16
typedef __m512 VF;
typedef __m512i VI;

/* ---- float ------------------------------------------------------------- */

static inline VF vf_load(const void *p) {
  return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, VF v) {
  _mm512_storeu_ps(p, v);
}
static inline VF vf_set1(const void *p) { /* the float at p in all lanes */
  float f;
  memcpy(&f, p, sizeof f);
  return _mm512_set1_ps(f);
}
static inline VF vf_zero(void) {
  return _mm512_setzero_ps();
}
static inline VF vf_add(VF a, VF b) {
  return _mm512_add_ps(a, b);
}
static inline VF vf_mul(VF a, VF b) {
  return _mm512_mul_ps(a, b);
}
static inline VF vf_fma(VF a, VF b, VF c) { /* a * b + c */
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

/* ---- integers ---------------------------------------------------------- */

static inline VI vi_load(const void *p) {
  return _mm512_loadu_si512(p);
}
static inline void vi_store(void *p, VI v) {
  _mm512_storeu_si512(p, v);
}
static inline VI vi_zero(void) {
  return _mm512_setzero_si512();
}
static inline VI vi_set1(int32_t x) {
  return _mm512_set1_epi32(x);
}
static inline VI vi_set8(int x) { /* the low byte of x in all bytes */
  return _mm512_set1_epi8((char)x);
}
static inline VI vi_bcast(const void *p) { /* the 32 bits at p in all lanes */
  int32_t x;
  memcpy(&x, p, sizeof x);
  return _mm512_set1_epi32(x);
}
static inline VI vi_and(VI a, VI b) {
  return _mm512_and_si512(a, b);
}
static inline VI vi_or(VI a, VI b) {
  return _mm512_or_si512(a, b);
}
static inline VI vi_xor(VI a, VI b) {
  return _mm512_xor_si512(a, b);
}
/* (a & m) | b */
static inline VI vi_and_or(VI a, VI m, VI b) {
  return _mm512_ternarylogic_epi32(a, m, b, 0xea);
}
static inline VI vi_add8(VI a, VI b) {
  return _mm512_add_epi8(a, b);
}
static inline VI vi_sub8(VI a, VI b) {
  return _mm512_sub_epi8(a, b);
}
static inline VI vi_add(VI a, VI b) {
  return _mm512_add_epi32(a, b);
}
static inline VI vi_sub(VI a, VI b) {
  return _mm512_sub_epi32(a, b);
}
static inline VI vi_gt(VI a, VI b) { /* all ones where a > b, signed */
  return _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(a, b));
}
static inline VI vi_pick(VI m, VI a, VI b) { /* bits of a where m, else b */
  return _mm512_ternarylogic_epi32(m, a, b, 0xca);
}
static inline VI vi_mul16(VI a, VI b) { /* low halves of 16-bit products */
  return _mm512_mullo_epi16(a, b);
}
/* Shifts of 32-bit lanes. */
#define vi_srl(v, n) _mm512_srli_epi32(v, n)
#define vi_sra(v, n) _mm512_srai_epi32(v, n)
#define vi_sll(v, n) _mm512_slli_epi32(v, n)

/* Bytes picked inside each 128 bits: `pick` holds 16 byte numbers; the same
 * as a look-up of low nibbles in a table of 16 bytes, repeated. */
static inline VI vi_shuffle(VI v, VI pick) {
  return _mm512_shuffle_epi8(v, pick);
}
static inline VI vi_table(const void *p) { /* 16 bytes, repeated */
  return _mm512_broadcast_i32x4(_mm_loadu_si128(p));
}
/* Bytes: value where v has any of the bits of `bits`, else 0. */
static inline VI vi_if_bits(VI v, VI bits, VI value) {
  return _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(v, bits), value);
}
static inline VF vi_f32(VI v) { /* signed to float */
  return _mm512_cvtepi32_ps(v);
}
static inline VF vi_as_f32(VI v) { /* the bits */
  return _mm512_castsi512_ps(v);
}
/* The binary16 number in the low half of each lane. */
static inline VF vi_f16(VI v) {
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}
/* acc + the sum of 4 products of unsigned u and signed s bytes; of 2 products
 * of signed 16-bit numbers. */
static inline VI vi_dot8(VI acc, VI u, VI s) {
  return _mm512_dpbusd_epi32(acc, u, s);
}
static inline VI vi_dot16(VI acc, VI a, VI b) {
  return _mm512_dpwssd_epi32(acc, a, b);
}

/* ---- columns of 16 rows, `stride` bytes apart -------------------------- */

/* 16 bytes of each row at p: v[j] = the j-th 32 bits of all rows. */
static inline void vi_columns4(const uint8_t *p, size_t stride, VI v[4]) {
  VI t[4];
  for (size_t j = 0; j < 4; j++) {
    const uint8_t *q = p + j * stride;
    t[j] = _mm512_castsi128_si512(_mm_loadu_si128((const void *)q));
#define ROW(n) _mm_loadu_si128((const void *)(q + 4 * (n)*stride))
    t[j] = _mm512_inserti32x4(t[j], ROW(1), 1);
    t[j] = _mm512_inserti32x4(t[j], ROW(2), 2);
    t[j] = _mm512_inserti32x4(t[j], ROW(3), 3);
#undef ROW
  }
  VI a = _mm512_unpacklo_epi32(t[0], t[1]),
     b = _mm512_unpackhi_epi32(t[0], t[1]);
  VI c = _mm512_unpacklo_epi32(t[2], t[3]),
     d = _mm512_unpackhi_epi32(t[2], t[3]);
  v[0] = _mm512_unpacklo_epi64(a, c);
  v[1] = _mm512_unpackhi_epi64(a, c);
  v[2] = _mm512_unpacklo_epi64(b, d);
  v[3] = _mm512_unpackhi_epi64(b, d);
}

/* The 32 bits, the 16 bits (in the low half of a lane), the byte at p. */
static inline VI vi_column(const uint8_t *p, size_t stride) {
  __m128i t[4];
  for (size_t j = 0; j < 4; j++) {
    const uint8_t *q = p + 4 * j * stride;
    int32_t x[4];
    for (size_t i = 0; i < 4; i++)
      memcpy(&x[i], q + i * stride, 4);
    t[j] = _mm_set_epi32(x[3], x[2], x[1], x[0]);
  }
  __m512i v = _mm512_castsi128_si512(t[0]);
  v = _mm512_inserti32x4(v, t[1], 1);
  v = _mm512_inserti32x4(v, t[2], 2);
  return _mm512_inserti32x4(v, t[3], 3);
}
static inline __m128i vi_eight16(const uint8_t *p, size_t stride) {
  int16_t x[8];
  for (size_t i = 0; i < 8; i++)
    memcpy(&x[i], p + i * stride, 2);
  return _mm_set_epi16(x[7], x[6], x[5], x[4], x[3], x[2], x[1], x[0]);
}
static inline __m256i vi_sixteen16(const uint8_t *p, size_t stride) {
  __m256i v = _mm256_castsi128_si256(vi_eight16(p, stride));
  return _mm256_inserti128_si256(v, vi_eight16(p + 8 * stride, stride), 1);
}
static inline VI vi_column16(const uint8_t *p, size_t stride) {
  return _mm512_cvtepu16_epi32(vi_sixteen16(p, stride));
}
static inline VF vf_column_f16(const uint8_t *p, size_t stride) {
  return _mm512_cvtph_ps(vi_sixteen16(p, stride));
}
static inline VI vi_column8(const uint8_t *p, size_t stride) {
  __m128i v = _mm_setzero_si128();
#define ROW(n) v = _mm_insert_epi8(v, p[(n)*stride], n);
  ROW(0)
  ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8) ROW(9) ROW(10) ROW(11)
      ROW(12) ROW(13) ROW(14) ROW(15)
#undef ROW
          return _mm512_cvtepu8_epi32(v);
}
