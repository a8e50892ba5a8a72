/* legacy_fast.inc.h - q4_0 ... q8_1, q1_0 and q2_0 without importance, and
 * their decoders; a template, see fast.h.
 *
 * Rounding has no order: a block is NV vectors, each value is treated on its
 * own, and the extremes of a block are the same in any order but for signs of
 * zeros and of equal magnitudes, where the first one counts (first_equal).
 * A block whose inverse scale overflows goes to the reference. */

typedef struct block32 {
  vf v[NV];
} block32;

WN_VEC block32 load32(const float *x) {
  block32 b;
  WN_UNROLL
  for (int k = 0; k < NV; k++)
    b.v[k] = vf_load(x + k * LANES);
  return b;
}

WN_VEC float highest_magnitude(const block32 *b) {
  vf m = vf_abs(b->v[0]);
  WN_UNROLL
  for (int k = 1; k < NV; k++)
    m = vf_max(m, vf_abs(b->v[k]));
  return vf_highest(m);
}

WN_VEC float lowest32(const block32 *b) {
  vf m = b->v[0];
  WN_UNROLL
  for (int k = 1; k < NV; k++)
    m = vf_min(m, b->v[k]);
  return vf_lowest(m);
}

WN_VEC float highest32(const block32 *b) {
  vf m = b->v[0];
  WN_UNROLL
  for (int k = 1; k < NV; k++)
    m = vf_max(m, b->v[k]);
  return vf_highest(m);
}

/* The first of the 32 values whose magnitude is `a`; there is one. */
WN_VEC float first_equal(const float *x, const block32 *b, float a) {
  uint32_t equal = 0;
  WN_UNROLL
  for (int k = 0; k < NV; k++)
    equal |= vm_bits(vf_eq(vf_abs(b->v[k]), vf_set(a))) << (k * LANES);
  return x[__builtin_ctz(equal)];
}

/* 1 / d, or 0 for d = 0; *rare when that is infinite. */
WN_VEC float fast_inverse(float d, bool *rare) {
  float id = d != 0 ? 1.0f / d : 0.0f;
  *rare = !(fabsf(id) <= FLT_MAX);
  return id;
}

/* min((int)((x - lo) * id + half), top) of each value, as bytes. */
WN_VEC __m256i levels32(const block32 *b, float lo, float id, float half,
                        int top) {
  vi q[NV];
  WN_UNROLL
  for (int k = 0; k < NV; k++) {
    vf t = vf_mul(vf_sub(b->v[k], vf_set(lo)), vf_set(id));
    q[k] = vi_min(vf_trunc(vf_add(t, vf_set(half))), vi_set(top));
  }
  return bytes_of_ints(q);
}

/* Bytes 0..15 to low, 16..31 to high nibbles. */
WN_VEC void store_nibbles(uint8_t *qs, __m256i q) {
  q = _mm256_and_si256(q, _mm256_set1_epi8(15));
  __m128i lo = _mm256_castsi256_si128(q), hi = _mm256_extracti128_si256(q, 1);
  _mm_storeu_si128((__m128i *)(void *)qs,
                   _mm_or_si128(lo, _mm_slli_epi16(hi, 4)));
}

/* Bit 4 of each byte as one bit. */
WN_VEC void store_fifth_bits(uint8_t *qh, __m256i q) {
  uint32_t bits = (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(q, 3));
  memcpy(qh, &bits, sizeof bits);
}

WN_VEC wn_half half_of(float d) {
  return (wn_half)_cvtss_sh(d, _MM_FROUND_TO_NEAREST_INT);
}

/* -- encoders; each returns false for a rare block ------------------------ */

/* Symmetric with 2 * top levels: scale and levels. The largest of a block of
 * zeros is +0, whatever their signs. */
WN_VEC bool round_symmetric(const float *x, int top, float *d, __m256i *q) {
  block32 b = load32(x);
  bool rare;
  float amax = highest_magnitude(&b);
  float max = amax > 0 ? first_equal(x, &b, amax) : 0;
  *d = max / (float)-top;
  float id = fast_inverse(*d, &rare);
  *q = levels32(&b, 0, id, (float)top + 0.5f, 2 * top - 1);
  return !rare;
}

/* Affine with levels 0..top. Of several zeros the first gives its sign to a
 * minimum (and in a block of zeros to a maximum) of zero. */
WN_VEC bool round_affine(const float *x, int top, float *d, float *min,
                         __m256i *q) {
  block32 b = load32(x);
  bool rare;
  float lo = lowest32(&b), hi = highest32(&b);
  if (lo == 0) lo = first_equal(x, &b, 0);
  if (hi == lo) hi = lo;
  *min = lo;
  *d = (hi - lo) / (float)top;
  float id = fast_inverse(*d, &rare);
  *q = levels32(&b, lo, id, 0.5f, top);
  /* an infinite range makes NaN of infinities times zero: level 0 there */
  return !rare && *d <= FLT_MAX;
}

WN_VEC bool block_q4_0(const float *x, wn_block_q4_0 *y) {
  float d;
  __m256i q;
  if (!round_symmetric(x, 8, &d, &q)) return false;
  y->d = half_of(d);
  store_nibbles(y->qs, q);
  return true;
}

WN_VEC bool block_q4_1(const float *x, wn_block_q4_1 *y) {
  float d, min;
  __m256i q;
  if (!round_affine(x, 15, &d, &min, &q)) return false;
  y->d = half_of(d);
  y->m = half_of(min);
  store_nibbles(y->qs, q);
  return true;
}

WN_VEC bool block_q5_0(const float *x, wn_block_q5_0 *y) {
  float d;
  __m256i q;
  if (!round_symmetric(x, 16, &d, &q)) return false;
  y->d = half_of(d);
  store_nibbles(y->qs, q);
  store_fifth_bits(y->qh, q);
  return true;
}

WN_VEC bool block_q5_1(const float *x, wn_block_q5_1 *y) {
  float d, min;
  __m256i q;
  if (!round_affine(x, 31, &d, &min, &q)) return false;
  y->d = half_of(d);
  y->m = half_of(min);
  store_nibbles(y->qs, q);
  store_fifth_bits(y->qh, q);
  return true;
}

/* To nearest, halves away from zero: adding the number below 1/2 with the
 * sign of t and cutting does that for all |t| < 2^22 (halves themselves round
 * up in the addition). */
WN_VEC vi round_away(vf t) {
  return vf_trunc(vf_add(t, vf_copysign(vf_set(0x1.fffffep-2f), t)));
}

WN_VEC bool round_q8(const float *x, float *d, __m256i *bytes) {
  block32 b = load32(x);
  bool rare;
  vi q[NV];
  *d = highest_magnitude(&b) / 127.0f;
  float id = fast_inverse(*d, &rare);
  WN_UNROLL
  for (int k = 0; k < NV; k++)
    q[k] = round_away(vf_mul(b.v[k], vf_set(id)));
  *bytes = bytes_of_ints(q);
  return !rare;
}

WN_VEC bool block_q8_0(const float *x, wn_block_q8_0 *y) {
  float d;
  __m256i q;
  if (!round_q8(x, &d, &q)) return false;
  y->d = half_of(d);
  _mm256_storeu_si256((__m256i *)(void *)y->qs, q);
  return true;
}

/* The sum of 32 signed bytes. */
WN_VEC int sum_bytes(__m256i q) {
  __m256i words = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
  __m256i ints = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(ints),
                            _mm256_extracti128_si256(ints, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
  return _mm_cvtsi128_si32(s);
}

WN_VEC bool block_q8_1(const float *x, wn_block_q8_1 *y) {
  float d;
  __m256i q;
  if (!round_q8(x, &d, &q)) return false;
  y->d = half_of(d);
  y->s = half_of((float)sum_bytes(q) * d);
  _mm256_storeu_si256((__m256i *)(void *)y->qs, q);
  return true;
}

/* 32 levels 0..3 to 8 bytes, value 4j in the low bits of byte j. */
WN_VEC void store_crumbs(uint8_t *qs, __m256i q) {
  __m256i pairs = _mm256_maddubs_epi16(q, _mm256_set1_epi16(0x0401));
  __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00100001));
  const __m256i low = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1,
                                       -1, -1, -1, -1, -1, 0, 4, 8, 12, -1, -1,
                                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  fours = _mm256_shuffle_epi8(fours, low);
  _mm_storel_epi64((__m128i *)(void *)qs,
                   _mm_unpacklo_epi32(_mm256_castsi256_si128(fours),
                                      _mm256_extracti128_si256(fours, 1)));
}

/* roundf of products in -1..1, plus 1: 0, 1 or 2. */
WN_VEC __m256i ternary32(const block32 *b, float id) {
  vi q[NV];
  WN_UNROLL
  for (int k = 0; k < NV; k++) {
    vf t = vf_mul(b->v[k], vf_set(id));
    vi up = vi_where(vf_le(vf_set(0.5f), t), vi_set(1));
    vi down = vi_where(vf_le(t, vf_set(-0.5f)), vi_set(1));
    q[k] = vi_sub(vi_add(vi_set(1), up), down);
  }
  return bytes_of_ints(q);
}

WN_VEC bool block_q2_0(const float *x, wn_block_q2_0 *y) {
  block32 a = load32(x), b = load32(x + 32);
  bool rare;
  float d = fmaxf(highest_magnitude(&a), highest_magnitude(&b));
  float id = fast_inverse(d, &rare);
  y->d = half_of(d);
  store_crumbs(y->qs, ternary32(&a, id));
  store_crumbs(y->qs + 8, ternary32(&b, id));
  return !rare;
}

#include "quant/search_fast.inc.h"

/* encode_<name> over block_<name>, rare blocks by the reference. `SEARCH`: what
 * to do first with an importance vector. */
#define FAST_ENCODE(name, ID, SEARCH)                              \
  static void encode_##name(const float *src, void *dst, size_t n, \
                            const float *importance) {             \
    wn_block_##name *y = dst;                                      \
    SEARCH(name)                                                   \
    for (size_t i = 0; i < n; i += WN_VALUES_##ID, y++)            \
      if (!block_##name(src + i, y))                               \
        wn_fmt_##name.encode(src + i, y, WN_VALUES_##ID, NULL);    \
  }
#define NO_SEARCH(name) (void)importance;
#define BY_SEARCH(name)                   \
  if (importance != NULL) {               \
    search_##name(src, y, n, importance); \
    return;                               \
  }

FAST_ENCODE(q4_0, Q4_0, BY_SEARCH)
FAST_ENCODE(q4_1, Q4_1, BY_SEARCH)
FAST_ENCODE(q5_0, Q5_0, BY_SEARCH)
FAST_ENCODE(q5_1, Q5_1, BY_SEARCH)
FAST_ENCODE(q8_0, Q8_0, NO_SEARCH)
FAST_ENCODE(q8_1, Q8_1, NO_SEARCH)
FAST_ENCODE(q2_0, Q2_0, NO_SEARCH)

/* q1_0's scale is a sum in order: LANES blocks at a time, one per lane. Lanes
 * behind the last block repeat it. */
static void encode_q1_0(const float *src, void *dst, size_t n,
                        const float *importance) {
  (void)importance;
  enum { LEN = WN_VALUES_Q1_0 };
  wn_block_q1_0 *y = dst;
  for (size_t i = 0; i < n; i += LEN * LANES, y += LANES) {
    size_t blocks = (n - i) / LEN < LANES ? (n - i) / LEN : LANES;
    const float *row[LANES];
    float tile[LANES * LANES], d[LANES];
    vf sum = vf_set(0);
    for (size_t k = 0; k < LANES; k++)
      row[k] = src + i + LEN * (k < blocks ? k : blocks - 1);
    for (size_t off = 0; off < LEN; off += LANES) {
      vf_transpose(row, off, tile, LANES);
      for (int k = 0; k < LANES; k++)
        sum = vf_add(sum, vf_abs(vf_load(tile + k * LANES)));
    }
    vf_store(d, vf_div(sum, vf_set((float)LEN)));
    for (size_t k = 0; k < blocks; k++) {
      y[k].d = half_of(d[k]);
      for (int j = 0; j < LEN; j += 8)
        y[k].qs[j / 8] = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(
            _mm256_loadu_ps(row[k] + j), _mm256_setzero_ps(), _CMP_GE_OQ));
    }
  }
}

/* -- decoders ------------------------------------------------------------- */

/* 16 bytes of nibbles as 32 bytes: low ones first. */
WN_VEC __m256i load_nibbles(const uint8_t *qs) {
  __m128i b = _mm_loadu_si128((const __m128i *)(const void *)qs);
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(b, 4), b),
                          _mm256_set1_epi8(15));
}

/* Bit i of 4 bytes as 16 or 0 in byte i. */
WN_VEC __m256i load_fifth_bits(const uint8_t *qh) {
  int32_t bits;
  memcpy(&bits, qh, sizeof bits);
  const __m256i which = _mm256_setr_epi64x(
      0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201u);
  __m256i b = _mm256_shuffle_epi8(_mm256_set1_epi32(bits), which);
  b = _mm256_cmpeq_epi8(_mm256_and_si256(b, bit), bit);
  return _mm256_and_si256(b, _mm256_set1_epi8(16));
}

/* 32 values q * d + m, rounded twice; without `affine` q * d. */
WN_VEC void store_values(float *out, __m256i q, float d, float m, bool affine) {
  vf v[NV];
  floats_of_bytes(q, v);
  WN_UNROLL
  for (int k = 0; k < NV; k++) {
    vf t = vf_mul(v[k], vf_set(d));
    vf_store(out + k * LANES, affine ? vf_add(t, vf_set(m)) : t);
  }
}

#define FAST_DECODE(name, ID)                                        \
  WN_VEC void unpack_##name(const wn_block_##name *y, float *out);   \
  static void decode_##name(const void *src, float *dst, size_t n) { \
    const wn_block_##name *y = src;                                  \
    for (size_t i = 0; i < n; i += WN_VALUES_##ID)                   \
      unpack_##name(y++, dst + i);                                   \
  }                                                                  \
  WN_VEC void unpack_##name(const wn_block_##name *y, float *out)

FAST_DECODE(q4_0, Q4_0) {
  __m256i q = _mm256_sub_epi8(load_nibbles(y->qs), _mm256_set1_epi8(8));
  store_values(out, q, _cvtsh_ss(y->d), 0, false);
}

FAST_DECODE(q4_1, Q4_1) {
  store_values(out, load_nibbles(y->qs), _cvtsh_ss(y->d), _cvtsh_ss(y->m),
               true);
}

FAST_DECODE(q5_0, Q5_0) {
  __m256i q = _mm256_or_si256(load_nibbles(y->qs), load_fifth_bits(y->qh));
  q = _mm256_sub_epi8(q, _mm256_set1_epi8(16));
  store_values(out, q, _cvtsh_ss(y->d), 0, false);
}

FAST_DECODE(q5_1, Q5_1) {
  __m256i q = _mm256_or_si256(load_nibbles(y->qs), load_fifth_bits(y->qh));
  store_values(out, q, _cvtsh_ss(y->d), _cvtsh_ss(y->m), true);
}

FAST_DECODE(q8_0, Q8_0) {
  __m256i q = _mm256_loadu_si256((const __m256i *)(const void *)y->qs);
  store_values(out, q, _cvtsh_ss(y->d), 0, false);
}

FAST_DECODE(q8_1, Q8_1) {
  __m256i q = _mm256_loadu_si256((const __m256i *)(const void *)y->qs);
  store_values(out, q, _cvtsh_ss(y->d), 0, false);
}

FAST_DECODE(q1_0, Q1_0) {
  vf plus = vf_set(_cvtsh_ss(y->d)), minus = vf_neg(plus);
  for (int i = 0; i < WN_VALUES_Q1_0; i += LANES) {
    unsigned bits = y->qs[i / 8];
    if (LANES == 16) bits |= (unsigned)y->qs[i / 8 + 1] << 8;
    vf_store(out + i, vf_pick(vm_of_bits(bits), plus, minus));
  }
}

/* Byte j of the 8 spread to bytes 4j .. 4j + 3, two bits each. */
WN_VEC __m256i load_crumbs(const uint8_t *qs) {
  const __m256i which =
      _mm256_setr_epi32(0, 0x01010101, 0x02020202, 0x03030303, 0x04040404,
                        0x05050505, 0x06060606, 0x07070707);
  __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)qs);
  __m256i x = _mm256_shuffle_epi8(_mm256_set_m128i(b, b), which);
  /* multiply each byte so that its two bits arrive in bits 6..7 */
  __m256i even = _mm256_mullo_epi16(
      _mm256_and_si256(x, _mm256_set1_epi16(0xff)),
      _mm256_set1_epi32(0x00040040)); /* bytes 0: << 6, 2: << 2 */
  __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(x, 8),
                                   _mm256_set1_epi32(0x00010010));
  const __m256i two = _mm256_set1_epi16(3);
  even = _mm256_and_si256(_mm256_srli_epi16(even, 6), two);
  odd = _mm256_and_si256(_mm256_srli_epi16(odd, 6), two);
  return _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
}

FAST_DECODE(q2_0, Q2_0) {
  const __m256i one = _mm256_set1_epi8(1);
  float d = _cvtsh_ss(y->d);
  for (int h = 0; h < 2; h++)
    store_values(out + 32 * h, _mm256_sub_epi8(load_crumbs(y->qs + 8 * h), one),
                 d, 0, false);
}
