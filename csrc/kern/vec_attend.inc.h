/* vec_attend.inc.h - the pieces of attention, part of vec.inc.h: products of
 * queries with keys and of weights with values, the softmax between them.
 *
 * Both products are one: rows times a matrix, y[r][c] = sum over i of
 * a[r][i] b[i][c], where b holds keys turned into columns (`panel`), or
 * values as they lie. A tile of rows and columns stays in registers over all
 * i. Every element is one chain of fused multiply-adds in the order of i, so
 * its bits depend neither on the tile nor on the width of the registers.
 * Values are read as they lie in the cache (vec_rows.inc.h). */

/* Rows of a tile, and strips of columns: as many as the registers hold. */
#define TILE_ROWS 6
#if VEC_BYTES == 64
#define TILE_STRIPS 4
#else
#define TILE_STRIPS 1
#endif

/* -- products ------------------------------------------------------------- */

/* What a product is made of; see vec.h. */
typedef struct factors {
  const float *a, *keep;
  const uint8_t *b;
  size_t lda, ldb, depth, ldy;
  float *y;
} factors;

/* `rows` rows, `strips` strips from column c on: constants, at most a tile. */
INLINE void product_tile(const factors *f, size_t c, size_t rows, size_t strips,
                         int kind) {
  strip acc[TILE_ROWS][TILE_STRIPS];
  const float *a = f->a;
  const uint8_t *b = f->b + bytes_to(c - c % 32, kind);
  size_t odd = strips > 1 ? 0 : c % 32; /* the second half of a block */
  size_t depth = f->depth, lda = f->lda, ldb = f->ldb;
  WN_UNROLL
  for (size_t r = 0; r < rows; r++)
    WN_UNROLL
  for (size_t s = 0; s < strips; s++) {
    strip t = {{{0}}};
    if (f->keep != NULL) t = load(f->y + r * f->ldy + c + s * STRIP);
    EACH_REG acc[r][s].v[r_] =
        f->keep != NULL ? t.v[r_] * all(f->keep[r]) : t.v[r_];
  }
  for (size_t i = 0; i < depth; i++, b += ldb) {
    strip w[TILE_STRIPS];
    WN_UNROLL
    for (size_t s = 0; s < strips; s++) {
      w[s] = load_any(b, odd + s * STRIP, kind);
      fetch_next(b, odd + s * STRIP, ldb, kind);
    }
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
                         int kind) {
  for (size_t r = 0; r < rows; r++)
    for (size_t j = c; j < n_cols; j++) {
      float *y = f->y + r * f->ldy + j;
      float t = f->keep != NULL ? *y * f->keep[r] : 0;
      for (size_t i = 0; i < f->depth; i++)
        t = fused1(f->a[r * f->lda + i], value_at(f->b + i * f->ldb, j, kind),
                   t);
      *y = t;
    }
}

typedef void (*product_fn)(const factors *f, size_t n_cols);

/* Not inlined: one body for each number of rows of a tile. */
#define PRODUCT_ROWS(kind, rows)                                    \
  static void product_##kind##_##rows(const factors *f, size_t n) { \
    size_t c = 0;                                                   \
    for (; c + TILE_STRIPS * STRIP <= n; c += TILE_STRIPS * STRIP)  \
      product_tile(f, c, rows, TILE_STRIPS, WN_ROW_##kind);         \
    for (; TILE_STRIPS > 1 && c + STRIP <= n; c += STRIP)           \
      product_tile(f, c, rows, 1, WN_ROW_##kind);                   \
    if (c < n) product_rest(f, c, n, rows, WN_ROW_##kind);          \
  }
#define PRODUCT_KIND(kind)                                        \
  PRODUCT_ROWS(kind, 1)                                           \
  PRODUCT_ROWS(kind, 2)                                           \
  PRODUCT_ROWS(kind, 3)                                           \
  PRODUCT_ROWS(kind, 4)                                           \
  PRODUCT_ROWS(kind, 5)                                           \
  PRODUCT_ROWS(kind, 6)                                           \
  static const product_fn products_##kind[TILE_ROWS] = {          \
      product_##kind##_1, product_##kind##_2, product_##kind##_3, \
      product_##kind##_4, product_##kind##_5, product_##kind##_6};
PRODUCT_KIND(F32)
PRODUCT_KIND(F16)
PRODUCT_KIND(BF16)
PRODUCT_KIND(Q8_0)
PRODUCT_KIND(Q4_0)
#undef PRODUCT_KIND
#undef PRODUCT_ROWS

static const product_fn *const products[WN_ROW_KINDS] = {
    [WN_ROW_F32] = products_F32,   [WN_ROW_F16] = products_F16,
    [WN_ROW_BF16] = products_BF16, [WN_ROW_Q8_0] = products_Q8_0,
    [WN_ROW_Q4_0] = products_Q4_0,
};

/* The rows in tiles of nearly the same size. */
static void product(const float *a, size_t lda, size_t n, wn_row_kind kind,
                    const void *b, size_t ldb, size_t depth, size_t n_cols,
                    const float *keep, float *y, size_t ldy) {
  factors f = {a, keep, b, lda, ldb, depth, ldy, y};
  for (size_t tiles = (n + TILE_ROWS - 1) / TILE_ROWS; tiles > 0; tiles--) {
    size_t rows = (n + tiles - 1) / tiles;
    products[kind][rows - 1](&f, n_cols);
    f.a += rows * lda;
    f.y += rows * ldy;
    if (keep != NULL) f.keep += rows;
    n -= rows;
  }
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
