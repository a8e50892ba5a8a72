/* vec_rows.inc.h - rows of keys and values as they lie in the cache, part of
 * vec.inc.h: sixteen numbers at a time as float32, and keys turned into
 * columns (`panel`); halves and back.
 *
 * A row may be of any wn_row_kind; `kind` is a constant where these functions
 * are inlined. What a type stands for is float32, exactly as its decoder
 * says. */
#include "quant/blocks.h"

/* -- loading -------------------------------------------------------------- */

/* Bytes before place i, a multiple of 16, of a row; of whole blocks. */
INLINE size_t bytes_to(size_t i, int kind) {
  switch (kind) {
    case WN_ROW_F32:
      return 4 * i;
    case WN_ROW_Q8_0:
      return i / 32 * sizeof(wn_block_q8_0);
    case WN_ROW_Q4_0:
      return i / 32 * sizeof(wn_block_q4_0);
    default:
      return 2 * i;
  }
}

INLINE strip load_f16(const uint8_t *p) {
  strip s;
#if VEC_BYTES == 64 && defined(VEC_F16C)
  s.v[0] = (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
#elif VEC_BYTES == 32 && defined(VEC_F16C)
  EACH_REG s.v[r_] =
      (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 16 * r_)));
#elif VEC_BYTES == 16 && defined(VEC_F16C)
  EACH_REG s.v[r_] = (vf)vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * r_)));
#else
  uint16_t h[STRIP];
  float buf[STRIP];
  memcpy(h, p, sizeof h);
  for (int k = 0; k < STRIP; k++)
    buf[k] = wn_f32_of_f16(h[k]);
  s = load(buf);
#endif
  return s;
}

INLINE strip load_bf16(const uint8_t *p) {
  strip s;
#if VEC_BYTES == 64
  __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
  s.v[0] = (vf)_mm512_slli_epi32(w, 16);
#elif VEC_BYTES == 32
  EACH_REG s.v[r_] = (vf)_mm256_slli_epi32(
      _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p + 16 * r_))), 16);
#else
  uint16_t h[STRIP];
  uint32_t w[STRIP];
  memcpy(h, p, sizeof h);
  for (int k = 0; k < STRIP; k++)
    w[k] = (uint32_t)h[k] << 16;
  memcpy(&s, w, sizeof s);
#endif
  return s;
}

/* 16 levels: signed bytes; the low or the high halves of bytes, less 8. */
#if VEC_BYTES == 16
typedef struct levels {
  int8_t q[STRIP];
} levels;
INLINE levels load_bytes(const int8_t *q) {
  levels l;
  memcpy(&l, q, sizeof l);
  return l;
}
INLINE levels load_nibbles(const uint8_t *q, bool high) {
  levels l;
  for (int k = 0; k < STRIP; k++)
    l.q[k] = (int8_t)((high ? q[k] >> 4 : q[k] & 15) - 8);
  return l;
}
#else
typedef __m128i levels;
INLINE levels load_bytes(const int8_t *q) {
  return _mm_loadu_si128((const void *)q);
}
INLINE levels load_nibbles(const uint8_t *q, bool high) {
  __m128i b = _mm_loadu_si128((const void *)q);
  b = _mm_and_si128(high ? _mm_srli_epi16(b, 4) : b, _mm_set1_epi8(15));
  return _mm_sub_epi8(b, _mm_set1_epi8(8));
}
#endif

/* Levels times d. */
INLINE strip scaled(levels q, float d) {
  strip s;
#if VEC_BYTES == 64
  s.v[0] = (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
#elif VEC_BYTES == 32
  s.v[0] = (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
  s.v[1] =
      (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(q, q)));
#else
  float buf[STRIP];
  for (int k = 0; k < STRIP; k++)
    buf[k] = (float)q.q[k];
  s = load(buf);
#endif
  EACH_REG s.v[r_] *= all(d);
  return s;
}

INLINE float scale_of(uint16_t d) {
#if VEC_BYTES != 16
  return _cvtsh_ss(d);
#else
  return wn_f32_of_f16(d);
#endif
}

/* 16 values from place i on, a multiple of 16. */
INLINE strip load_any(const void *row, size_t i, int kind) {
  const uint8_t *p = (const uint8_t *)row + bytes_to(i, kind);
  switch (kind) {
    case WN_ROW_F16:
      return load_f16(p);
    case WN_ROW_BF16:
      return load_bf16(p);
    case WN_ROW_Q8_0: {
      const wn_block_q8_0 *b = (const void *)p;
      return scaled(load_bytes(b->qs + i % 32), scale_of(b->d));
    }
    case WN_ROW_Q4_0: {
      const wn_block_q4_0 *b = (const void *)p;
      return scaled(load_nibbles(b->qs, i % 32 != 0), scale_of(b->d));
    }
    default:
      return load((const float *)(const void *)p);
  }
}

/* One value of a row without blocks. */
INLINE float value_at(const void *row, size_t i, int kind) {
  if (kind == WN_ROW_F16) return wn_f32_of_f16(((const uint16_t *)row)[i]);
  if (kind == WN_ROW_BF16) return wn_f32_of_bf16(((const uint16_t *)row)[i]);
  return ((const float *)row)[i];
}

/* Asks for what the next panel has where this one has place i of a row, once
 * for every 64 bytes. */
INLINE void fetch_next(const void *row, size_t i, size_t ld, int kind) {
  if (kind != WN_ROW_F32 && i % 32 == 0)
    __builtin_prefetch((const uint8_t *)row + WN_PANEL * ld +
                       bytes_to(i, kind));
}

static void f32_of_f16(const uint16_t *x, float *y, size_t n) {
  size_t i = 0;
  for (; i + STRIP <= n; i += STRIP)
    store(y + i, load_any(x, i, WN_ROW_F16));
  for (; i < n; i++)
    y[i] = wn_f32_of_f16(x[i]);
}

/* The instruction agrees with the scalar function on every value but NaN,
 * which it keeps a NaN. */
static void f16_of_f32(const float *x, uint16_t *y, size_t n) {
  size_t i = 0;
#if VEC_BYTES == 16 && defined(VEC_F16C)
  for (; i + 4 <= n; i += 4)
    vst1_u16(y + i, vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i))));
#elif defined(VEC_F16C)
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(
        (void *)(y + i),
        _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < n; i++)
    y[i] = wn_f16_of_f32(x[i]);
}

/* -- keys to columns ------------------------------------------------------ */

#define PANEL WN_PANEL

/* t: 16 keys, 16 values of each; to `to`: value d of all at d * PANEL. */
#if VEC_BYTES == 64
INLINE void turn(const strip *t, float *to) {
  __m512 a[16], b[16];
  WN_UNROLL
  for (int i = 0; i < 16; i += 2) { /* pairs */
    a[i] = _mm512_unpacklo_ps((__m512)t[i].v[0], (__m512)t[i + 1].v[0]);
    a[i + 1] = _mm512_unpackhi_ps((__m512)t[i].v[0], (__m512)t[i + 1].v[0]);
  }
#define JOIN(x, y, which) \
  _mm512_castpd_ps(       \
      _mm512_unpack##which##_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)))
  WN_UNROLL
  for (int i = 0; i < 16; i += 4) { /* fours: b[4 g + j] columns j + 4 n */
    b[i] = JOIN(a[i], a[i + 2], lo);
    b[i + 1] = JOIN(a[i], a[i + 2], hi);
    b[i + 2] = JOIN(a[i + 1], a[i + 3], lo);
    b[i + 3] = JOIN(a[i + 1], a[i + 3], hi);
  }
#undef JOIN
  WN_UNROLL
  for (int j = 0; j < 4; j++) { /* 128-bit quarters */
    __m512 p = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88);
    __m512 q = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd);
    __m512 r = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
    __m512 s = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
    _mm512_storeu_ps(to + j * PANEL, _mm512_shuffle_f32x4(p, r, 0x88));
    _mm512_storeu_ps(to + (4 + j) * PANEL, _mm512_shuffle_f32x4(q, s, 0x88));
    _mm512_storeu_ps(to + (8 + j) * PANEL, _mm512_shuffle_f32x4(p, r, 0xdd));
    _mm512_storeu_ps(to + (12 + j) * PANEL, _mm512_shuffle_f32x4(q, s, 0xdd));
  }
}
#elif VEC_BYTES == 32
INLINE void turn(const strip *t, float *to) {
  WN_UNROLL
  for (int quarter = 0; quarter < 4; quarter++) { /* 8 keys, 8 values */
    const strip *s = t + quarter / 2 * 8;
    float *at = to + quarter / 2 * 8 + quarter % 2 * 8 * PANEL;
    __m256 a[8], b[8];
#define AT(i) ((__m256)s[i].v[quarter % 2])
    WN_UNROLL
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(AT(i), AT(i + 1));
      a[i + 1] = _mm256_unpackhi_ps(AT(i), AT(i + 1));
    }
#undef AT
    WN_UNROLL
    for (int i = 0; i < 8; i += 4) {
      b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
      b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
      b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
      b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    WN_UNROLL
    for (int j = 0; j < 4; j++) {
      _mm256_storeu_ps(at + j * PANEL,
                       _mm256_permute2f128_ps(b[j], b[4 + j], 0x20));
      _mm256_storeu_ps(at + (4 + j) * PANEL,
                       _mm256_permute2f128_ps(b[j], b[4 + j], 0x31));
    }
  }
}
#else
INLINE void turn(const strip *t, float *to) {
  for (int j = 0; j < STRIP; j++) {
    float row[STRIP];
    store(row, t[j]);
    for (int d = 0; d < STRIP; d++)
      to[d * PANEL + j] = row[d];
  }
}
#endif

#if VEC_BYTES == 64
/* Transposes 4 x 4 dwords inside each 128 bits. */
INLINE void turn4(__m512i t[4]) {
  __m512i a = _mm512_unpacklo_epi32(t[0], t[1]);
  __m512i b = _mm512_unpackhi_epi32(t[0], t[1]);
  __m512i c = _mm512_unpacklo_epi32(t[2], t[3]);
  __m512i d = _mm512_unpackhi_epi32(t[2], t[3]);
  t[0] = _mm512_unpacklo_epi64(a, c);
  t[1] = _mm512_unpackhi_epi64(a, c);
  t[2] = _mm512_unpacklo_epi64(b, d);
  t[3] = _mm512_unpackhi_epi64(b, d);
}

/* Four levels of each of 16 keys, times the keys' scales d, as 4 columns. */
INLINE void put_levels(__m512i q, __m512 d, float *to) {
#define PUT(i, x)     \
  _mm512_storeu_ps(   \
      to + (i)*PANEL, \
      _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_srai_epi32(x, 24)), d))
  PUT(0, _mm512_slli_epi32(q, 24));
  PUT(1, _mm512_slli_epi32(q, 16));
  PUT(2, _mm512_slli_epi32(q, 8));
  PUT(3, q);
#undef PUT
}

/* 16 keys, a block of 32 values of each: levels are turned as bytes, four at a
 * time, and only then become floats. p: the first key's block. */
INLINE void turn_block(const uint8_t *p, size_t ld, float *to, int kind) {
  uint16_t half[16];
  const __m512i eight = _mm512_set1_epi8(8), low = _mm512_set1_epi8(15);
  WN_UNROLL
  for (size_t j = 0; j < 16; j++)
    memcpy(&half[j], p + j * ld, sizeof half[j]);
  __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)half));
  __m512i t[8];
#define ROW(type, j) _mm##type((const void *)(p + 2 + (j)*ld))
  if (kind == WN_ROW_Q4_0) {
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) {
      t[j] = _mm512_castsi128_si512(ROW(_loadu_si128, j));
      t[j] = _mm512_inserti32x4(t[j], ROW(_loadu_si128, j + 4), 1);
      t[j] = _mm512_inserti32x4(t[j], ROW(_loadu_si128, j + 8), 2);
      t[j] = _mm512_inserti32x4(t[j], ROW(_loadu_si128, j + 12), 3);
    }
    turn4(t);
    WN_UNROLL
    for (size_t i = 0; i < 4; i++) {
      __m512i a = _mm512_and_si512(t[i], low);
      __m512i b = _mm512_and_si512(_mm512_srli_epi32(t[i], 4), low);
      put_levels(_mm512_sub_epi8(a, eight), d, to + 4 * i * PANEL);
      put_levels(_mm512_sub_epi8(b, eight), d, to + (16 + 4 * i) * PANEL);
    }
    return;
  }
  WN_UNROLL
  for (size_t j = 0; j < 8; j++) { /* keys j and j + 4 of eight */
    size_t r = j / 4 * 8 + j % 4;
    t[j] = _mm512_castsi256_si512(ROW(256_loadu_si256, r));
    t[j] = _mm512_inserti64x4(t[j], ROW(256_loadu_si256, r + 4), 1);
  }
#undef ROW
  turn4(t);
  turn4(t + 4);
  WN_UNROLL
  for (size_t i = 0; i < 4; i++) {
    put_levels(_mm512_shuffle_i32x4(t[i], t[4 + i], 0x88), d,
               to + 4 * i * PANEL);
    put_levels(_mm512_shuffle_i32x4(t[i], t[4 + i], 0xdd), d,
               to + (16 + 4 * i) * PANEL);
  }
}

/* The same for whole rows of blocks. */
INLINE void turn_blocks(const uint8_t *k, size_t ld, size_t width, float *to,
                        int kind) {
  for (size_t i = 0; i < width; i += 32) {
    for (size_t j = 0; j < STRIP; j++)
      fetch_next(k + j * ld, i, ld, kind);
    turn_block(k + bytes_to(i, kind), ld, to + i * PANEL, kind);
  }
}
#else
INLINE void turn_blocks(const uint8_t *k, size_t ld, size_t width, float *to,
                        int kind) {
  (void)k, (void)ld, (void)width, (void)to, (void)kind;
}
#endif

/* Keys are turned as levels by turn_blocks. */
INLINE bool turns_blocks(int kind) {
  return VEC_BYTES == 64 && (kind == WN_ROW_Q8_0 || kind == WN_ROW_Q4_0);
}

INLINE void panel_any(const uint8_t *k, size_t ld, size_t n, size_t width,
                      float *to, int kind) {
  for (size_t j = 0; j < n; j += STRIP) {
    size_t i = 0;
    if (turns_blocks(kind) && j + STRIP <= n) {
      turn_blocks(k + j * ld, ld, width, to + j, kind);
      continue;
    }
    for (; i + STRIP <= width; i += STRIP) {
      strip t[STRIP];
      WN_UNROLL
      for (size_t g = 0; g < STRIP; g++) {
        const uint8_t *row = k + (j + g) * ld;
        strip none = {{{0}}};
        t[g] = j + g < n ? load_any(row, i, kind) : none;
        fetch_next(row, i, ld, kind);
      }
      turn(t, to + i * PANEL + j);
    }
    for (; i < width; i++)
      for (size_t g = 0; g < STRIP; g++)
        to[i * PANEL + j + g] =
            j + g < n ? value_at(k + (j + g) * ld, i, kind) : 0;
  }
}

static void panel(wn_row_kind kind, const void *k, size_t ld, size_t n,
                  size_t width, float *to) {
  switch (kind) {
    case WN_ROW_F32:
      panel_any(k, ld, n, width, to, WN_ROW_F32);
      break;
    case WN_ROW_F16:
      panel_any(k, ld, n, width, to, WN_ROW_F16);
      break;
    case WN_ROW_BF16:
      panel_any(k, ld, n, width, to, WN_ROW_BF16);
      break;
    case WN_ROW_Q8_0:
      panel_any(k, ld, n, width, to, WN_ROW_Q8_0);
      break;
    case WN_ROW_Q4_0:
      panel_any(k, ld, n, width, to, WN_ROW_Q4_0);
      break;
    case WN_ROW_KINDS:
      break;
  }
}

#undef PANEL
