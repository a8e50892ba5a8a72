/* lanes_avx2.h - the vectors of the kernel templates: 8 lanes of 32 bits, one
 * lane per weight row. Included between WN_TARGET_BEGIN and WN_TARGET_END.
 * With LANES_VNNI the target has AVX-VNNI; without it there is no vi_dot8
 * (see dot_plain in q8.inc.h). */

#define INLINE static inline __attribute__((always_inline))
#define LANES 8
#define LANES_ROWS /* row.inc.h is for these */
typedef __m256 VF;
typedef __m256i VI;

/* ---- float ------------------------------------------------------------- */

static inline VF vf_load(const void *p) {
  return _mm256_loadu_ps(p);
}
static inline void vf_store(float *p, VF v) {
  _mm256_storeu_ps(p, v);
}
static inline VF vf_set1(const void *p) { /* the float at p in all lanes */
  return _mm256_broadcast_ss(p);
}
static inline VF vf_all(float f) {
  return _mm256_set1_ps(f);
}
static inline VF vf_zero(void) {
  return _mm256_setzero_ps();
}
static inline VF vf_add(VF a, VF b) {
  return _mm256_add_ps(a, b);
}
static inline VF vf_mul(VF a, VF b) {
  return _mm256_mul_ps(a, b);
}
static inline VF vf_fma(VF a, VF b, VF c) { /* a * b + c */
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
  WN_UNROLL
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
  }
  WN_UNROLL
  for (int i = 0; i < 8; i += 4) {
    v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  WN_UNROLL
  for (int j = 0; j < 4; j++) {
    t[j] = _mm256_permute2f128_ps(v[j], v[4 + j], 0x20);
    t[4 + j] = _mm256_permute2f128_ps(v[j], v[4 + j], 0x31);
  }
  WN_UNROLL
  for (int j = 0; j < 8; j++)
    v[j] = t[j];
}

/* ---- integers ---------------------------------------------------------- */

static inline VI vi_load(const void *p) {
  return _mm256_loadu_si256(p);
}
static inline void vi_store(void *p, VI v) {
  _mm256_storeu_si256(p, v);
}
static inline VI vi_zero(void) {
  return _mm256_setzero_si256();
}
static inline VI vi_set1(int32_t x) {
  return _mm256_set1_epi32(x);
}
static inline VI vi_set8(int x) { /* the low byte of x in all bytes */
  return _mm256_set1_epi8((char)x);
}
static inline VI vi_bcast(const void *p) { /* the 32 bits at p in all lanes */
  int32_t x;
  memcpy(&x, p, sizeof x);
  return _mm256_set1_epi32(x);
}
static inline VI vi_and(VI a, VI b) {
  return _mm256_and_si256(a, b);
}
static inline VI vi_or(VI a, VI b) {
  return _mm256_or_si256(a, b);
}
static inline VI vi_xor(VI a, VI b) {
  return _mm256_xor_si256(a, b);
}
/* (a & m) | b */
static inline VI vi_and_or(VI a, VI m, VI b) {
  return vi_or(vi_and(a, m), b);
}
static inline VI vi_add8(VI a, VI b) {
  return _mm256_add_epi8(a, b);
}
static inline VI vi_sub8(VI a, VI b) {
  return _mm256_sub_epi8(a, b);
}
static inline VI vi_add(VI a, VI b) {
  return _mm256_add_epi32(a, b);
}
static inline VI vi_sub(VI a, VI b) {
  return _mm256_sub_epi32(a, b);
}
static inline VI vi_gt(VI a, VI b) { /* all ones where a > b, signed */
  return _mm256_cmpgt_epi32(a, b);
}
static inline VI vi_pick(VI m, VI a, VI b) { /* bits of a where m, else b */
  return _mm256_blendv_epi8(b, a, m);
}
static inline VI vi_mul16(VI a, VI b) { /* low halves of 16-bit products */
  return _mm256_mullo_epi16(a, b);
}
/* Shifts of 32-bit lanes. */
#define vi_srl(v, n) _mm256_srli_epi32(v, n)
#define vi_sra(v, n) _mm256_srai_epi32(v, n)
#define vi_sll(v, n) _mm256_slli_epi32(v, n)

/* Bytes picked inside each 128 bits: `pick` holds 16 byte numbers; the same
 * as a look-up of low nibbles in a table of 16 bytes, repeated. */
static inline VI vi_shuffle(VI v, VI pick) {
  return _mm256_shuffle_epi8(v, pick);
}
static inline VI vi_table(const void *p) { /* 16 bytes, repeated */
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(p));
}
/* Bytes: value where v has any of the bits of `bits`, else 0. */
static inline VI vi_if_bits(VI v, VI bits, VI value) {
  VI none = _mm256_cmpeq_epi8(vi_and(v, bits), vi_zero());
  return _mm256_andnot_si256(none, value);
}
/* Bytes: offset - v where s has the bit of `bits`, offset + v elsewhere. */
static inline VI vi_around(VI v, VI s, VI bits, int offset) {
  VI minus = _mm256_cmpeq_epi8(vi_and(s, bits), bits);
  VI sign = vi_or(minus, vi_set8(1));
  return _mm256_add_epi8(_mm256_sign_epi8(v, sign), vi_set8(offset));
}
static inline VF vi_f32(VI v) { /* signed to float */
  return _mm256_cvtepi32_ps(v);
}
static inline VF vi_as_f32(VI v) { /* the bits */
  return _mm256_castsi256_ps(v);
}
/* The binary16 number in the low half of each lane. */
static inline VF vi_f16(VI v) {
  v = vi_and(v, vi_set1(0xffff));
  v = _mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(v));
}
/* acc + the sum of 4 products of unsigned u and signed s bytes; of 2 products
 * of signed 16-bit numbers. */
#ifdef LANES_VNNI
static inline VI vi_dot8(VI acc, VI u, VI s) {
  /* gcc 12 copies the accumulator back and forth around the intrinsic */
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(u), "x"(s));
  return acc;
}
static inline VI vi_dot16(VI acc, VI a, VI b) {
  return _mm256_dpwssd_avx_epi32(acc, a, b);
}
#else
static inline VI vi_dot16(VI acc, VI a, VI b) {
  return vi_add(acc, _mm256_madd_epi16(a, b));
}
#endif

/* ---- one row: see lanes_avx512.h ---------------------------------------- */

static inline VI vf_as_i(VF v) { /* the bits */
  return _mm256_castps_si256(v);
}

/* 16 bytes each of 2 blocks at p, `stride` bytes apart. */
INLINE VI vi_quarters(const uint8_t *p, size_t stride) {
  VI v = _mm256_castsi128_si256(_mm_loadu_si128((const void *)p));
  p += stride;
  return _mm256_inserti128_si256(v, _mm_loadu_si128((const void *)p), 1);
}
/* The 32 bytes of block i of 8. */
INLINE VI vi_halves(const uint8_t *p, size_t i, size_t stride) {
  return vi_load(p + i * stride);
}
INLINE VI vi_parts(const uint8_t *p, size_t stride) {
  (void)stride;
  return vi_load(p);
}
INLINE VI vi_both(const uint8_t *p) {
  return vi_load(p);
}
INLINE VI vi_srlv(VI v, int n, int step) {
  (void)step;
  return _mm256_srl_epi32(v, _mm_cvtsi32_si128(n));
}
INLINE VI vi_sllv(VI v, int n, int step) {
  (void)step;
  return _mm256_sll_epi32(v, _mm_cvtsi32_si128(n));
}

/* Lane 4 l + j: the sum of the 4 lanes of v[j] from 4 l on. */
INLINE VI vi_sum4(const VI v[4]) {
  VI a = vi_add(_mm256_unpacklo_epi32(v[0], v[1]),
                _mm256_unpackhi_epi32(v[0], v[1]));
  VI b = vi_add(_mm256_unpacklo_epi32(v[2], v[3]),
                _mm256_unpackhi_epi32(v[2], v[3]));
  return vi_add(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
/* Lane b: the sum of the 8 lanes of v[b]. */
INLINE VI vi_sum8(const VI v[8]) {
  VI t[4];
  WN_UNROLL
  for (int j = 0; j < 4; j++)
    t[j] = vi_add(_mm256_permute2x128_si256(v[j], v[4 + j], 0x20),
                  _mm256_permute2x128_si256(v[j], v[4 + j], 0x31));
  return vi_sum4(t);
}

/* ---- columns of 8 rows, `stride` bytes apart --------------------------- */

/* 16 bytes of each row at p: v[j] = the j-th 32 bits of all rows. */
INLINE void vi_columns4(wn_rows *s, size_t off, VI v[4]) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    const uint8_t *q = p + j * stride;
#define ROW(n) _mm_loadu_si128((const void *)(q + 4 * (n)*stride))
    v[j] = _mm256_inserti128_si256(_mm256_castsi128_si256(ROW(0)), ROW(1), 1);
#undef ROW
  }
  VI a = _mm256_unpacklo_epi32(v[0], v[1]);
  VI b = _mm256_unpackhi_epi32(v[0], v[1]);
  VI c = _mm256_unpacklo_epi32(v[2], v[3]);
  VI d = _mm256_unpackhi_epi32(v[2], v[3]);
  v[0] = _mm256_unpacklo_epi64(a, c);
  v[1] = _mm256_unpackhi_epi64(a, c);
  v[2] = _mm256_unpacklo_epi64(b, d);
  v[3] = _mm256_unpackhi_epi64(b, d);
}

/* 32 bytes of each row. */
INLINE void vi_columns8(wn_rows *s, size_t off, VI v[8]) {
  vi_columns4(s, off, v);
  wn_rows_prefetch(s);
  vi_columns4(s, off + 16, v + 4);
}

/* The 32 bits, the 16 bits (in the low half of a lane), the byte at p. */
INLINE VI vi_column(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  int32_t x[8];
  WN_UNROLL
  for (size_t i = 0; i < 8; i++)
    memcpy(&x[i], p + i * stride, 4);
  return _mm256_set_epi32(x[7], x[6], x[5], x[4], x[3], x[2], x[1], x[0]);
}
static inline __m128i vi_eight16(const uint8_t *p, size_t stride) {
  int16_t x[8];
  WN_UNROLL
  for (size_t i = 0; i < 8; i++)
    memcpy(&x[i], p + i * stride, 2);
  return _mm_set_epi16(x[7], x[6], x[5], x[4], x[3], x[2], x[1], x[0]);
}
/* The 16 bits in front of 8 blocks of `stride` bytes at p. */
INLINE void vi_words(const uint8_t *p, size_t stride, uint16_t out[8]) {
  _mm_storeu_si128((void *)out, vi_eight16(p, stride));
}
/* The byte in front of 8 blocks of 17 bytes at p, as 16 bits. */
INLINE void vi_bytes17(const uint8_t *p, uint16_t out[8]) {
  WN_UNROLL
  for (size_t i = 0; i < 8; i++)
    out[i] = p[17 * i];
}
static inline VI vi_words32(const uint16_t *p) { /* as 32 bits */
  return _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
}
INLINE VI vi_column16(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  return _mm256_cvtepu16_epi32(vi_eight16(p, stride));
}
INLINE VF vf_column_f16(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  return _mm256_cvtph_ps(vi_eight16(p, stride));
}
INLINE VI vi_column8(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  __m128i v = _mm_setzero_si128();
#define ROW(n) v = _mm_insert_epi8(v, p[(n)*stride], n);
  ROW(0)
  ROW(1)
  ROW(2)
  ROW(3)
  ROW(4)
  ROW(5)
  ROW(6)
  ROW(7)
#undef ROW
  return _mm256_cvtepu8_epi32(v);
}
