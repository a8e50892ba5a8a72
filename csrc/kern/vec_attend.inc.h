/* vec_attend.inc.h - the pieces of attention, part of vec.inc.h: products of a
 * query with many keys, weighted sums of values, conversions.
 *
 * A product is 16 lane totals added up in the fixed tree of total(). A group
 * of keys goes down that tree together: each step halves the registers, and
 * every sum pairs the same lanes as total() does, so the bits are the same.
 * Keys and values may be float32 or halves (`half`, a constant where these
 * functions are inlined); halves convert exactly. */

/* 16 values at place i of a row of floats or halves. */
INLINE strip load_any(const void *row, size_t i, bool half) {
  if (!half) return load((const float *)row + i);
  const uint16_t *p = (const uint16_t *)row + i;
  strip s;
#if VEC_BYTES == 64 && defined(VEC_F16C)
  s.v[0] = (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
#elif VEC_BYTES == 32 && defined(VEC_F16C)
  EACH_REG s.v[r_] =
      (vf)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8 * r_)));
#elif VEC_BYTES == 16 && defined(VEC_F16C)
  EACH_REG s.v[r_] =
      (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * r_)));
#else
  float buf[STRIP];
  for (int k = 0; k < STRIP; k++)
    buf[k] = wn_f32_of_f16(p[k]);
  s = load(buf);
#endif
  return s;
}

/* One value; the last n of a row, the others zero. */
INLINE float value_at(const void *row, size_t i, bool half) {
  return half ? wn_f32_of_f16(((const uint16_t *)row)[i])
              : ((const float *)row)[i];
}

INLINE strip load_any_n(const void *row, size_t i, size_t n, bool half) {
  float buf[STRIP] = {0};
  for (size_t k = 0; k < n; k++)
    buf[k] = value_at(row, i + k, half);
  return load(buf);
}

/* Row j of rows that lie ld values apart. */
INLINE const void *row_at(const void *rows, size_t j, size_t ld, bool half) {
  return (const uint8_t *)rows + j * ld * (half ? 2 : 4);
}

#if VEC_BYTES == 64
#define GROUP 16 /* keys that are multiplied together */

INLINE __m512 fold8(__m512 a, __m512 b) { /* lanes i and i + 8 */
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44),
                       _mm512_shuffle_f32x4(a, b, 0xee));
}
INLINE __m512 fold4(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88),
                       _mm512_shuffle_f32x4(a, b, 0xdd));
}
INLINE __m512 fold2(__m512 a, __m512 b) {
  __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)),
                       _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}
INLINE __m512 fold1(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88),
                       _mm512_shuffle_ps(a, b, 0xdd));
}

/* t[j] = total(acc[j]). After the folds lane 4 i + j holds key 4 j + i. */
INLINE void totals(const strip *acc, float *t) {
  __m512 v[16];
  WN_UNROLL
  for (int j = 0; j < 8; j++)
    v[j] = fold8((__m512)acc[2 * j].v[0], (__m512)acc[2 * j + 1].v[0]);
  WN_UNROLL
  for (int j = 0; j < 4; j++)
    v[j] = fold4(v[2 * j], v[2 * j + 1]);
  WN_UNROLL
  for (int j = 0; j < 2; j++)
    v[j] = fold2(v[2 * j], v[2 * j + 1]);
  const __m512i order =
      _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  _mm512_storeu_ps(t, _mm512_permutexvar_ps(order, fold1(v[0], v[1])));
}

#elif VEC_BYTES == 32
#define GROUP 4

INLINE __m256 fold4(__m256 a, __m256 b) { /* lanes i and i + 4 */
  return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20),
                       _mm256_permute2f128_ps(a, b, 0x31));
}

/* t[j] = total(acc[j]). */
INLINE void totals(const strip *acc, float *t) {
  __m256 v[4];
  for (int j = 0; j < 4; j++)
    v[j] = (__m256)(acc[j].v[0] + acc[j].v[1]);
  __m256d x = _mm256_castps_pd(fold4(v[0], v[1]));
  __m256d y = _mm256_castps_pd(fold4(v[2], v[3]));
  __m256 w = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(x, y)),
                           _mm256_castpd_ps(_mm256_unpackhi_pd(x, y)));
  w = _mm256_add_ps(_mm256_shuffle_ps(w, w, 0x88),
                    _mm256_shuffle_ps(w, w, 0xdd));
  /* now 0 2 . . | 1 3 . . */
  _mm_storeu_ps(t, _mm_unpacklo_ps(_mm256_castps256_ps128(w),
                                   _mm256_extractf128_ps(w, 1)));
}

#else
#define GROUP 1

INLINE void totals(const strip *acc, float *t) {
  t[0] = total(acc[0]);
}
#endif

/* Products of q with GROUP keys that lie ld apart; of a short group the last
 * key is repeated. width: a multiple of STRIP. */
INLINE void group_scores(const float *q, const void *k, size_t ld, size_t n,
                         size_t width, float *t, bool half, bool whole) {
  strip acc[GROUP];
  WN_UNROLL
  for (size_t j = 0; j < GROUP; j++)
    EACH_REG acc[j].v[r_] = all(0);
  for (size_t i = 0; i < width; i += STRIP) {
    strip u = load(q + i);
    WN_UNROLL
    for (size_t j = 0; j < GROUP; j++) {
      size_t row = whole || j < n ? j : n - 1;
      strip w = load_any(row_at(k, row, ld, half), i, half);
      EACH_REG acc[j].v[r_] += u.v[r_] * w.v[r_];
    }
  }
  totals(acc, t);
}

/* One key of any width. */
INLINE float dot_any(const float *q, const void *k, size_t width, bool half) {
  strip acc = {{{0}}};
  size_t i = 0;
  for (; i + STRIP <= width; i += STRIP) {
    strip u = load(q + i), w = load_any(k, i, half);
    EACH_REG acc.v[r_] += u.v[r_] * w.v[r_];
  }
  if (i < width) {
    strip u = load_n(q + i, width - i);
    strip w = load_any_n(k, i, width - i, half);
    EACH_REG acc.v[r_] += u.v[r_] * w.v[r_];
  }
  return total(acc);
}

INLINE void scores_any(const float *q, const void *k, size_t ld, size_t n,
                       size_t width, float factor, float *s, bool half) {
  float t[GROUP];
  size_t j = 0;
  if (width % STRIP != 0) {
    for (; j < n; j++)
      s[j] = factor * dot_any(q, row_at(k, j, ld, half), width, half);
    return;
  }
  for (; j + GROUP <= n; j += GROUP) {
    group_scores(q, row_at(k, j, ld, half), ld, GROUP, width, t, half, true);
    for (size_t g = 0; g < GROUP; g++)
      s[j + g] = factor * t[g];
  }
  if (j == n) return;
  group_scores(q, row_at(k, j, ld, half), ld, n - j, width, t, half, false);
  for (size_t g = 0; j + g < n; g++)
    s[j + g] = factor * t[g];
}

static void scores(const float *q, const float *k, size_t ldk, size_t n,
                   size_t width, float factor, float *s) {
  scores_any(q, k, ldk, n, width, factor, s, false);
}

static void scores_f16(const float *q, const uint16_t *k, size_t ldk, size_t n,
                       size_t width, float factor, float *s) {
  scores_any(q, k, ldk, n, width, factor, s, true);
}

/* `strips` strips of the sum from column i on, side by side: the chains of
 * additions hide each other. */
INLINE void weigh_strips(const float *p, const void *v, size_t ld, size_t n,
                         size_t i, float keep, float *acc, bool half,
                         size_t strips) {
  strip a[4];
  for (size_t c = 0; c < strips; c++) {
    a[c] = load(acc + i + STRIP * c);
    EACH_REG a[c].v[r_] *= all(keep);
  }
  for (size_t j = 0; j < n; j++) {
    const void *row = row_at(v, j, ld, half);
    vf weight = all(p[j]);
    WN_UNROLL
    for (size_t c = 0; c < strips; c++) {
      strip b = load_any(row, i + STRIP * c, half);
      EACH_REG a[c].v[r_] += weight * b.v[r_];
    }
  }
  for (size_t c = 0; c < strips; c++)
    store(acc + i + STRIP * c, a[c]);
}

INLINE void weigh_any(const float *p, const void *v, size_t ld, size_t n,
                      size_t width, float keep, float *acc, bool half) {
  size_t i = 0;
  for (; i + 4 * STRIP <= width; i += 4 * STRIP)
    weigh_strips(p, v, ld, n, i, keep, acc, half, 4);
  for (; i + STRIP <= width; i += STRIP)
    weigh_strips(p, v, ld, n, i, keep, acc, half, 1);
  for (; i < width; i++) {
    float a = acc[i] * keep;
    for (size_t j = 0; j < n; j++)
      a += p[j] * value_at(row_at(v, j, ld, half), i, half);
    acc[i] = a;
  }
}

static void weigh(const float *p, const float *v, size_t ldv, size_t n,
                  size_t width, float keep, float *acc) {
  weigh_any(p, v, ldv, n, width, keep, acc, false);
}

static void weigh_f16(const float *p, const uint16_t *v, size_t ldv, size_t n,
                      size_t width, float keep, float *acc) {
  weigh_any(p, v, ldv, n, width, keep, acc, true);
}

static void f32_of_f16(const uint16_t *x, float *y, size_t n) {
  size_t i = 0;
  for (; i + STRIP <= n; i += STRIP)
    store(y + i, load_any(x, i, true));
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

#undef GROUP
