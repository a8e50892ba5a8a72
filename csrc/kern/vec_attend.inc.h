/* vec_attend.inc.h - the pieces of attention, part of vec.inc.h: products of
 * queries with keys and of weights with values, the softmax between them,
 * conversions.
 *
 * Both products are one: rows times a matrix, y[r][c] = sum over i of
 * a[r][i] b[i][c], where b holds keys turned into columns (`panel`), or
 * values as they lie. A tile of rows and columns stays in registers over all
 * i. Every element is one chain of fused multiply-adds in the order of i, so
 * its bits depend neither on the tile nor on the width of the registers.
 * Values may be float32 or halves (`half`, a constant where these functions
 * are inlined); halves convert exactly. */

/* Rows of a tile, and strips of columns: as many as the registers hold. */
#define TILE_ROWS 6
#if VEC_BYTES == 64
#define TILE_STRIPS 4
#else
#define TILE_STRIPS 1
#endif

/* -- loading -------------------------------------------------------------- */

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

/* Halves are read where they lie in the cache, block after block: asks for the
 * 16 values at place i of the row that the next block has here. */
INLINE void fetch_next(const void *row, size_t i, size_t ld, bool half) {
  if (half) __builtin_prefetch((const uint16_t *)row + WN_PANEL * ld + i);
}

/* One value. */
INLINE float value_at(const void *row, size_t i, bool half) {
  return half ? wn_f32_of_f16(((const uint16_t *)row)[i])
              : ((const float *)row)[i];
}

/* Row j of rows that lie ld values apart. */
INLINE const void *row_at(const void *rows, size_t j, size_t ld, bool half) {
  return (const uint8_t *)rows + j * ld * (half ? 2 : 4);
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

INLINE void panel_any(const void *k, size_t ld, size_t n, size_t width,
                      float *to, bool half) {
  for (size_t j = 0; j < n; j += STRIP) {
    size_t i = 0;
    for (; i + STRIP <= width; i += STRIP) {
      strip t[STRIP];
      WN_UNROLL
      for (size_t g = 0; g < STRIP; g++) {
        strip none = {{{0}}};
        const void *row = row_at(k, j + g, ld, half);
        t[g] = j + g < n ? load_any(row, i, half) : none;
        if (i % 32 == 0) fetch_next(row, i, ld, half);
      }
      turn(t, to + i * PANEL + j);
    }
    for (; i < width; i++)
      for (size_t g = 0; g < STRIP; g++)
        to[i * PANEL + j + g] =
            j + g < n ? value_at(row_at(k, j + g, ld, half), i, half) : 0;
  }
}

static void panel(const float *k, size_t ld, size_t n, size_t width,
                  float *to) {
  panel_any(k, ld, n, width, to, false);
}

static void panel_f16(const uint16_t *k, size_t ld, size_t n, size_t width,
                      float *to) {
  panel_any(k, ld, n, width, to, true);
}

/* -- products ------------------------------------------------------------- */

/* What a product is made of; see vec.h. */
typedef struct factors {
  const float *a, *keep;
  const void *b;
  size_t lda, ldb, depth, ldy;
  float *y;
} factors;

/* `rows` rows, `strips` strips from column c on: constants, at most a tile. */
INLINE void product_tile(const factors *f, size_t c, size_t rows, size_t strips,
                         bool half) {
  strip acc[TILE_ROWS][TILE_STRIPS];
  const float *a = f->a;
  const uint8_t *b = (const uint8_t *)f->b + c * (half ? 2 : 4);
  size_t step = f->ldb * (half ? 2 : 4), depth = f->depth, lda = f->lda;
  WN_UNROLL
  for (size_t r = 0; r < rows; r++)
    WN_UNROLL
  for (size_t s = 0; s < strips; s++) {
    strip t = {{{0}}};
    if (f->keep != NULL) t = load(f->y + r * f->ldy + c + s * STRIP);
    EACH_REG acc[r][s].v[r_] =
        f->keep != NULL ? t.v[r_] * all(f->keep[r]) : t.v[r_];
  }
  for (size_t i = 0; i < depth; i++, b += step) {
    strip w[TILE_STRIPS];
    WN_UNROLL
    for (size_t s = 0; s < strips; s++)
      w[s] = load_any(b, s * STRIP, half);
    WN_UNROLL
    for (size_t s = 0; s < strips; s += 2)
      fetch_next(b, s * STRIP, f->ldb, half);
    WN_UNROLL
    for (size_t r = 0; r < rows; r++) {
      vf u = all(a[r * lda + i]);
      WN_UNROLL
      for (size_t s = 0; s < strips; s++)
        EACH_REG acc[r][s].v[r_] = fused(u, w[s].v[r_], acc[r][s].v[r_]);
    }
  }
  WN_UNROLL
  for (size_t r = 0; r < rows; r++)
    WN_UNROLL
  for (size_t s = 0; s < strips; s++)
    store(f->y + r * f->ldy + c + s * STRIP, acc[r][s]);
}

/* The columns from c on that fill no strip. */
INLINE void product_rest(const factors *f, size_t c, size_t n_cols, size_t rows,
                         bool half) {
  for (size_t r = 0; r < rows; r++)
    for (size_t j = c; j < n_cols; j++) {
      float *y = f->y + r * f->ldy + j;
      float t = f->keep != NULL ? *y * f->keep[r] : 0;
      for (size_t i = 0; i < f->depth; i++)
        t = fused1(f->a[r * f->lda + i],
                   value_at(row_at(f->b, i, f->ldb, half), j, half), t);
      *y = t;
    }
}

/* Not inlined: one body for each number of rows. */
#define PRODUCT_ROWS(name, rows, half)                                  \
  static void name(const factors *f, size_t n_cols) {                   \
    size_t c = 0;                                                       \
    for (; c + TILE_STRIPS * STRIP <= n_cols; c += TILE_STRIPS * STRIP) \
      product_tile(f, c, rows, TILE_STRIPS, half);                      \
    for (; TILE_STRIPS > 1 && c + STRIP <= n_cols; c += STRIP)          \
      product_tile(f, c, rows, 1, half);                                \
    if (c < n_cols) product_rest(f, c, n_cols, rows, half);             \
  }
PRODUCT_ROWS(product_1, 1, false)
PRODUCT_ROWS(product_2, 2, false)
PRODUCT_ROWS(product_3, 3, false)
PRODUCT_ROWS(product_4, 4, false)
PRODUCT_ROWS(product_5, 5, false)
PRODUCT_ROWS(product_6, 6, false)
PRODUCT_ROWS(product_1h, 1, true)
PRODUCT_ROWS(product_2h, 2, true)
PRODUCT_ROWS(product_3h, 3, true)
PRODUCT_ROWS(product_4h, 4, true)
PRODUCT_ROWS(product_5h, 5, true)
PRODUCT_ROWS(product_6h, 6, true)
#undef PRODUCT_ROWS

typedef void (*product_fn)(const factors *f, size_t n_cols);

/* n rows in tiles of nearly the same size. */
INLINE void product_rows(factors f, size_t n, size_t n_cols,
                         const product_fn *fns) {
  for (size_t tiles = (n + TILE_ROWS - 1) / TILE_ROWS; tiles > 0; tiles--) {
    size_t rows = (n + tiles - 1) / tiles;
    fns[rows - 1](&f, n_cols);
    f.a += rows * f.lda;
    f.y += rows * f.ldy;
    if (f.keep != NULL) f.keep += rows;
    n -= rows;
  }
}

static void product(const float *a, size_t lda, size_t n, const float *b,
                    size_t ldb, size_t depth, size_t n_cols, const float *keep,
                    float *y, size_t ldy) {
  static const product_fn fns[] = {product_1, product_2, product_3,
                                   product_4, product_5, product_6};
  factors f = {a, keep, b, lda, ldb, depth, ldy, y};
  product_rows(f, n, n_cols, fns);
}

static void product_f16(const float *a, size_t lda, size_t n, const uint16_t *b,
                        size_t ldb, size_t depth, size_t n_cols,
                        const float *keep, float *y, size_t ldy) {
  static const product_fn fns[] = {product_1h, product_2h, product_3h,
                                   product_4h, product_5h, product_6h};
  factors f = {a, keep, b, lda, ldb, depth, ldy, y};
  product_rows(f, n, n_cols, fns);
}

/* -- softmax -------------------------------------------------------------- */

/* Lanes j of strip number i outside of lo <= 16 i + j < hi become -inf. */
INLINE strip inside(strip x, size_t i, size_t lo, size_t hi) {
  static const int32_t count[STRIP] = {0, 1, 2,  3,  4,  5,  6,  7,
                                       8, 9, 10, 11, 12, 13, 14, 15};
  strip number;
  memcpy(&number, count, sizeof number);
  EACH_REG {
    vi n = (vi)number.v[r_] + (int32_t)(i * STRIP);
    vi in = (n >= (int32_t)lo) & (n < (int32_t)hi);
    x.v[r_] = pick(in, x.v[r_], all(-INFINITY));
  }
  return x;
}

/* The greater; `low` when x is NaN. */
INLINE vf higher(vf x, vf low) {
#if VEC_BYTES == 64
  return (vf)_mm512_max_ps((__m512)x, (__m512)low);
#elif VEC_BYTES == 32
  return (vf)_mm256_max_ps((__m256)x, (__m256)low);
#else
  return pick(x > low, x, low);
#endif
}

/* The greatest of 16 lanes, none of them NaN. */
INLINE float greatest(strip x) {
#if VEC_BYTES == 64
  return _mm512_reduce_max_ps((__m512)x.v[0]);
#else
  float b[STRIP], m;
  store(b, x);
  m = b[0];
  for (int k = 1; k < STRIP; k++)
    m = b[k] > m ? b[k] : m;
  return m;
#endif
}

/* Scores of one query: scaled, bent, those outside -inf. Returns the greatest
 * of them and `top`. */
INLINE float prepare(float *s, size_t lo, size_t hi, float factor, float cap,
                     float top) {
  strip most;
  EACH_REG most.v[r_] = all(top);
  if (cap > 0) {
    scale(factor, s, s, WN_PANEL);
    softcap(cap, s, s, WN_PANEL);
    factor = 1;
  }
  bool whole = lo == 0 && hi == WN_PANEL;
  WN_UNROLL
  for (size_t i = 0; i < WN_PANEL / STRIP; i++) {
    strip x = load(s + i * STRIP);
    EACH_REG x.v[r_] *= all(factor);
    if (!whole) x = inside(x, i, lo, hi);
    EACH_REG most.v[r_] = higher(x.v[r_], most.v[r_]);
    store(s + i * STRIP, x);
  }
  return greatest(most);
}

/* What the states of up to 16 queries are multiplied by when their maxima
 * rise; exp(0) is exactly 1. */
INLINE void rescale(const float *from, const float *to, float *keep) {
  strip a = load(from), b = load(to);
  EACH_REG {
    vf k = exp_low(a.v[r_] - b.v[r_]);
    k = pick(a.v[r_] == b.v[r_], all(1.0f), k);
    a.v[r_] = pick(a.v[r_] == all(-INFINITY), all(0.0f), k);
  }
  store(keep, a);
}

/* Scores of one query to exponentials; their sums. */
INLINE void expand(float *s, float top, float keep, float *sums) {
  strip sum = load(sums);
  EACH_REG sum.v[r_] *= all(keep);
  WN_UNROLL
  for (size_t i = 0; i < WN_PANEL / STRIP; i++) {
    strip x = load(s + i * STRIP);
    EACH_REG sum.v[r_] += x.v[r_] = exp_low(x.v[r_] - all(top));
    store(s + i * STRIP, x);
  }
  store(sums, sum);
}

/* All queries go through one stage after another, some at a time: within a
 * query every stage waits for the one before. */
static void soften(float *s, size_t n, const wn_range *seen, size_t group,
                   float factor, float cap, float *run, size_t ld,
                   float *keep) {
  for (size_t i = 0; i < n; i += STRIP) {
    size_t some = n - i < STRIP ? n - i : STRIP;
    float from[STRIP] = {0}, to[STRIP] = {0}, kept[STRIP];
    for (size_t k = 0; k < some; k++) {
      const wn_range *r = &seen[(i + k) / group];
      from[k] = run[(i + k) * ld];
      to[k] =
          prepare(s + (i + k) * WN_PANEL, r->lo, r->hi, factor, cap, from[k]);
    }
    rescale(from, to, kept);
    for (size_t k = 0; k < some; k++) {
      float *st = run + (i + k) * ld;
      expand(s + (i + k) * WN_PANEL, to[k], kept[k], st + STRIP);
      st[0] = to[k];
      keep[i + k] = kept[k];
    }
  }
}

#undef TILE_ROWS
#undef TILE_STRIPS
#undef PANEL
