/* lanes_avx512.h - the vectors of the kernel templates: 16 lanes of 32 bits,
 * one lane per weight row. Included between WN_TARGET_BEGIN and
 * WN_TARGET_END. lanes_avx2.h has the same functions over 8 lanes. */

#define INLINE static inline __attribute__((always_inline))
#define LANES 16
#define LANES_ROWS /* row.inc.h is for these */
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
static inline VF vf_all(float f) {
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
INLINE void vf_transpose(VF v[16]) {
  VF t[16];
  WN_UNROLL
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
  }
#define D(x) _mm512_castps_pd(x)
#define S(x) _mm512_castpd_ps(x)
  WN_UNROLL
  for (int i = 0; i < 16; i += 4) {
    v[i] = S(_mm512_unpacklo_pd(D(t[i]), D(t[i + 2])));
    v[i + 1] = S(_mm512_unpackhi_pd(D(t[i]), D(t[i + 2])));
    v[i + 2] = S(_mm512_unpacklo_pd(D(t[i + 1]), D(t[i + 3])));
    v[i + 3] = S(_mm512_unpackhi_pd(D(t[i + 1]), D(t[i + 3])));
  }
#undef D
#undef S
  /* now v[4 g + j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4 g.. */
  WN_UNROLL
  for (int j = 0; j < 4; j++) {
    t[j] = _mm512_shuffle_f32x4(v[j], v[4 + j], 0x88);
    t[4 + j] = _mm512_shuffle_f32x4(v[j], v[4 + j], 0xdd);
    t[8 + j] = _mm512_shuffle_f32x4(v[8 + j], v[12 + j], 0x88);
    t[12 + j] = _mm512_shuffle_f32x4(v[8 + j], v[12 + j], 0xdd);
  }
  WN_UNROLL
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
/* Bytes: offset - v where s has the bit of `bits`, offset + v elsewhere. */
static inline VI vi_around(VI v, VI s, VI bits, int offset) {
  __mmask64 minus = _mm512_test_epi8_mask(s, bits);
  VI up = _mm512_add_epi8(v, vi_set8(offset));
  return _mm512_mask_sub_epi8(up, minus, vi_set8(2 * offset), up);
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
  /* gcc 12 copies the accumulator back and forth around the intrinsic */
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u), "v"(s));
  return acc;
}
static inline VI vi_dot16(VI acc, VI a, VI b) {
  return _mm512_dpwssd_epi32(acc, a, b);
}

/* ---- columns of 16 rows, `stride` bytes apart -------------------------- */

/* Transposes 4 x 4 dwords inside each 128 bits. */
static inline void vi_transpose4(VI t[4]) {
  VI a = _mm512_unpacklo_epi32(t[0], t[1]);
  VI b = _mm512_unpackhi_epi32(t[0], t[1]);
  VI c = _mm512_unpacklo_epi32(t[2], t[3]);
  VI d = _mm512_unpackhi_epi32(t[2], t[3]);
  t[0] = _mm512_unpacklo_epi64(a, c);
  t[1] = _mm512_unpackhi_epi64(a, c);
  t[2] = _mm512_unpacklo_epi64(b, d);
  t[3] = _mm512_unpackhi_epi64(b, d);
}

/* 16 bytes of each row at p: v[j] = the j-th 32 bits of all rows. */
INLINE void vi_columns4(wn_rows *s, size_t off, VI v[4]) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    const uint8_t *q = p + j * stride;
#define ROW(n) _mm_loadu_si128((const void *)(q + 4 * (n)*stride))
    v[j] = _mm512_castsi128_si512(ROW(0));
    v[j] = _mm512_inserti32x4(v[j], ROW(1), 1);
    v[j] = _mm512_inserti32x4(v[j], ROW(2), 2);
    v[j] = _mm512_inserti32x4(v[j], ROW(3), 3);
#undef ROW
  }
  wn_rows_prefetch(s);
  vi_transpose4(v);
}

/* 32 bytes of each row. Rows j and j + 4 (of 8) share a vector; after
 * transposing, its 128-bit parts are dwords d and 4 + d of rows 0..3, then of
 * rows 4..7. */
INLINE void vi_columns8(wn_rows *s, size_t off, VI v[8]) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  VI t[8];
  WN_UNROLL
  for (size_t j = 0; j < 8; j++) {
    const uint8_t *q = p + (j / 4 * 8 + j % 4) * stride;
    t[j] = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)q));
    q += 4 * stride;
    t[j] = _mm512_inserti64x4(t[j], _mm256_loadu_si256((const void *)q), 1);
  }
  wn_rows_prefetch(s);
  wn_rows_prefetch(s);
  vi_transpose4(t);
  vi_transpose4(t + 4);
  WN_UNROLL
  for (size_t d = 0; d < 4; d++) {
    v[d] = _mm512_shuffle_i32x4(t[d], t[4 + d], 0x88);
    v[4 + d] = _mm512_shuffle_i32x4(t[d], t[4 + d], 0xdd);
  }
}

/* The 32 bits, the 16 bits (in the low half of a lane), the byte at p. */
INLINE VI vi_column(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  __m128i t[4];
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    const uint8_t *q = p + 4 * j * stride;
    int32_t x[4];
    WN_UNROLL
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
  WN_UNROLL
  for (size_t i = 0; i < 8; i++)
    memcpy(&x[i], p + i * stride, 2);
  return _mm_set_epi16(x[7], x[6], x[5], x[4], x[3], x[2], x[1], x[0]);
}
static inline __m256i vi_sixteen16(const uint8_t *p, size_t stride) {
  __m256i v = _mm256_castsi128_si256(vi_eight16(p, stride));
  return _mm256_inserti128_si256(v, vi_eight16(p + 8 * stride, stride), 1);
}
INLINE VI vi_column16(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  return _mm512_cvtepu16_epi32(vi_sixteen16(p, stride));
}
INLINE VF vf_column_f16(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  return _mm512_cvtph_ps(vi_sixteen16(p, stride));
}
INLINE VI vi_column8(const wn_rows *s, size_t off) {
  const uint8_t *p = s->w + off;
  size_t stride = s->stride;
  __m128i v = _mm_setzero_si128();
#define ROW(n) v = _mm_insert_epi8(v, p[(n)*stride], n);
  /* clang-format off */
  ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7)
  ROW(8) ROW(9) ROW(10) ROW(11) ROW(12) ROW(13) ROW(14) ROW(15)
  /* clang-format on */
#undef ROW
          return _mm512_cvtepu8_epi32(v);
}

/* ---- one row ----------------------------------------------------------- */

static inline VI vf_as_i(VF v) { /* the bits */
  return _mm512_castps_si512(v);
}

/* 16 bytes each of 4 blocks at p, `stride` bytes apart. */
INLINE VI vi_quarters(const uint8_t *p, size_t stride) {
  VI v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
#define PART(n) _mm_loadu_si128((const void *)(p + (n)*stride))
  v = _mm512_inserti32x4(v, PART(1), 1);
  v = _mm512_inserti32x4(v, PART(2), 2);
  return _mm512_inserti32x4(v, PART(3), 3);
#undef PART
}

/* Of 16 blocks at p, `stride` bytes apart, the 32 bytes of those two whose
 * sums vi_sum8 finds in vector i. */
INLINE VI vi_halves(const uint8_t *p, size_t i, size_t stride) {
  p += (i / 4 * 8 + i % 4) * stride;
  VI v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)p));
  p += 4 * stride;
  return _mm512_inserti64x4(v, _mm256_loadu_si256((const void *)p), 1);
}

/* 32 bytes each at p and p + stride; the 32 bytes at p twice. */
INLINE VI vi_parts(const uint8_t *p, size_t stride) {
  VI v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)p));
  p += stride;
  return _mm512_inserti64x4(v, _mm256_loadu_si256((const void *)p), 1);
}
INLINE VI vi_both(const uint8_t *p) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)p));
}

/* Lanes of 32 bits shifted right by n, left by n; in the upper half by n +
 * step, n - step. */
INLINE VI vi_srlv(VI v, int n, int step) {
  VI by = _mm512_inserti64x4(vi_set1(n), _mm256_set1_epi32(n + step), 1);
  return _mm512_srlv_epi32(v, by);
}
INLINE VI vi_sllv(VI v, int n, int step) {
  VI by = _mm512_inserti64x4(vi_set1(n), _mm256_set1_epi32(n - step), 1);
  return _mm512_sllv_epi32(v, by);
}

/* The 16 bits in front of 16 blocks of `stride` bytes at p. */
INLINE void vi_words(const uint8_t *p, size_t stride, uint16_t out[16]) {
  __m256i v;
  if (stride == 18 || stride == 34) {
    /* two vectors, 64 words, hold those of 8 or 4 blocks */
    unsigned n = stride == 18 ? 8 : 4;
    int16_t at[32];
    WN_UNROLL
    for (unsigned i = 0; i < 32; i++)
      at[i] = (int16_t)(i % n * (stride / 2));
    VI number = vi_load(at);
    VI all = vi_zero();
    WN_UNROLL
    for (unsigned i = 0; i < 16; i += n) {
      const uint8_t *q = p + i * stride;
      all = vi_or(
          all, _mm512_maskz_permutex2var_epi16(((1u << n) - 1) << i, vi_load(q),
                                               number, vi_load(q + 64)));
    }
    v = _mm512_castsi512_si256(all);
  } else {
    v = vi_sixteen16(p, stride);
  }
  _mm256_storeu_si256((void *)out, v);
}
/* The byte in front of 16 blocks of 17 bytes at p, as 16 bits. Two vectors hold
 * those of 8 blocks. */
INLINE void vi_bytes17(const uint8_t *p, uint16_t out[16]) {
  VI all = vi_zero();
  int8_t at[64];
  WN_UNROLL
  for (int i = 0; i < 64; i++)
    at[i] = (int8_t)(i % 8 * 17);
  VI number = vi_load(at);
  WN_UNROLL
  for (int i = 0; i < 16; i += 8)
    all = vi_or(
        all, _mm512_maskz_permutex2var_epi8(0xffull << i, vi_load(p + i * 17),
                                            number, vi_load(p + i * 17 + 64)));
  _mm256_storeu_si256((void *)out,
                      _mm256_cvtepu8_epi16(_mm512_castsi512_si128(all)));
}
static inline VI vi_words32(const uint16_t *p) { /* as 32 bits */
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
}

/* Lane 4 l + j: the sum of the 4 lanes of v[j] from 4 l on. */
INLINE VI vi_sum4(const VI v[4]) {
  VI a = vi_add(_mm512_unpacklo_epi32(v[0], v[1]),
                _mm512_unpackhi_epi32(v[0], v[1]));
  VI b = vi_add(_mm512_unpacklo_epi32(v[2], v[3]),
                _mm512_unpackhi_epi32(v[2], v[3]));
  return vi_add(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/* Lane b: the sum of the 8 lanes of block b, as vi_halves places blocks. */
INLINE VI vi_sum8(const VI v[8]) {
  VI t[4];
  WN_UNROLL
  for (int j = 0; j < 4; j++)
    t[j] = vi_add(_mm512_shuffle_i32x4(v[j], v[4 + j], 0x88),
                  _mm512_shuffle_i32x4(v[j], v[4 + j], 0xdd));
  return vi_sum4(t);
}

/* ---- grids ------------------------------------------------------------- */

/* The low bytes of the halves of a, then of b: 4 bytes a lane. */
static inline VI vi_pack16(VI a, VI b) {
  static const uint8_t even[16] = {0, 2,  128, 128, 4,  6,  128, 128,
                                   8, 10, 128, 128, 12, 14, 128, 128};
  VI pick = vi_table(even);
  return vi_or(vi_shuffle(a, pick), vi_sll(vi_shuffle(b, pick), 16));
}

/* keys[index] for the 16-bit halves of each lane; n = 256, 512, 1024, 2048.
 * An instruction looks up 64 keys; a tree of choices does the higher bits. */
INLINE VI vi_keys(const uint16_t *keys, size_t n, VI index) {
  __mmask32 bit[5];
  WN_UNROLL
  for (int i = 0; i < 5; i++)
    bit[i] = _mm512_test_epi16_mask(index, _mm512_set1_epi16((short)(64 << i)));
#define K64(at)                                                    \
  _mm512_permutex2var_epi16(_mm512_load_si512(keys + (at)), index, \
                            _mm512_load_si512(keys + (at) + 32))
#define PICK(i, a, b) _mm512_mask_blend_epi16(bit[i], a, b)
#define K128(at) PICK(0, K64(at), K64((at) + 64))
#define K256(at) PICK(1, K128(at), K128((at) + 128))
#define K512(at) PICK(2, K256(at), K256((at) + 256))
#define K1024(at) PICK(3, K512(at), K512((at) + 512))
  return n == 256    ? K256(0)
         : n == 512  ? K512(0)
         : n == 1024 ? K1024(0)
                     : PICK(4, K1024(0), K1024(1024));
#undef K64
#undef K128
#undef K256
#undef K512
#undef K1024
#undef PICK
}

/* Bytes from bit `first` of each lane on, one every `step` bits: control of a
 * multishift, which sees two lanes as 64 bits. */
static inline VI vi_fields(int first, int step) {
  uint64_t c = 0;
  WN_UNROLL
  for (int i = 0; i < 8; i++)
    c |= (uint64_t)(i / 4 * 32 + first + i % 4 * step) << 8 * i;
  return _mm512_set1_epi64((long long)c);
}

/* The points of two groups of 8 values whose indices are the halves of each
 * lane: out[0], out[1] the first group's, out[2], out[3] the second's. */
INLINE void vi_points8(const uint16_t *keys, const uint64_t *points, size_t n,
                       uint64_t levels, VI index, VI out[4]) {
  (void)points;
  VI k = vi_keys(keys, n, index), table = _mm512_set1_epi64((long long)levels);
  WN_UNROLL
  for (int i = 0; i < 4; i++)
    out[i] = _mm512_permutexvar_epi8(
        _mm512_multishift_epi64_epi8(vi_fields(8 * i, 2), k), table);
}

/* The same for groups of 4 values: out[0], out[1]. */
INLINE void vi_points4(const uint16_t *keys, const uint32_t *points, size_t n,
                       uint64_t levels, VI index, VI out[2]) {
  (void)points;
  VI k = vi_keys(keys, n, index), table = _mm512_set1_epi64((long long)levels);
  WN_UNROLL
  for (int i = 0; i < 2; i++)
    out[i] = _mm512_permutexvar_epi8(
        _mm512_multishift_epi64_epi8(vi_fields(16 * i, 3), k), table);
}
