/* dense.inc.h - dense.h over vectors of DENSE_BYTES bytes, as DENSE_TABLE.
 * The vectors are the compiler's own; each of their lanes does what the plain
 * loop at the end of every function does. */
typedef float vec
    __attribute__((vector_size(DENSE_BYTES), aligned(4), may_alias));

/* 16 registers hold 4 x 2 sums and what they are made from; 32 hold 4 x 4. */
enum { LANES = DENSE_BYTES / 4, TILE_I = 4, TILE_V = DENSE_BYTES < 64 ? 2 : 4 };

static void subtract(float *y, const float *x, float a, size_t n) {
  size_t i = 0;
  for (; n - i >= LANES; i += LANES)
    *(vec *)(y + i) -= a * *(const vec *)(x + i);
  for (; i < n; i++)
    y[i] -= a * x[i];
}

/* Products go by tiles of TILE_I x TILE_J sums, held in registers over DEPTH
 * rows of a and b. What a tile reads is first laid out as it will be read:
 * rows that lie far apart (a power of two, often) would push each other out
 * of the near cache. Sums that leave h unfilled (edges) go through a copy. */
enum { TILE_J = TILE_V * LANES, DEPTH = 64, MOST_I = 64 };

static void outer_tile(float *h, size_t ldh, const float *a, const float *b,
                       size_t n_rows) {
  vec acc[TILE_I][TILE_V];
  WN_UNROLL
  for (int i = 0; i < TILE_I; i++)
    WN_UNROLL
  for (int v = 0; v < TILE_V; v++)
    acc[i][v] = *(const vec *)(h + (size_t)i * ldh + (size_t)(v * LANES));
  for (size_t t = 0; t < n_rows; t++, a += MOST_I, b += TILE_J) {
    vec x[TILE_V];
    WN_UNROLL
    for (int v = 0; v < TILE_V; v++)
      x[v] = *(const vec *)(b + v * LANES);
    WN_UNROLL
    for (int i = 0; i < TILE_I; i++)
      WN_UNROLL
    for (int v = 0; v < TILE_V; v++)
      acc[i][v] += a[i] * x[v];
  }
  WN_UNROLL
  for (int i = 0; i < TILE_I; i++)
    WN_UNROLL
  for (int v = 0; v < TILE_V; v++)
    *(vec *)(h + (size_t)i * ldh + (size_t)(v * LANES)) = acc[i][v];
}

/* The ni x nj sums at h where a whole tile would not fit. */
static void outer_edge(float *h, size_t ldh, const float *a, const float *b,
                       size_t n_rows, size_t ni, size_t nj) {
  float sums[TILE_I * TILE_J] = {0};
  for (size_t i = 0; i < ni; i++)
    memcpy(sums + i * TILE_J, h + i * ldh, nj * sizeof *h);
  outer_tile(sums, TILE_J, a, b, n_rows);
  for (size_t i = 0; i < ni; i++)
    memcpy(h + i * ldh, sums + i * TILE_J, nj * sizeof *h);
}

/* n of every row's floats, the rows `width` apart; zeros behind them. */
static void pack(float *to, size_t width, const float *from, size_t ld,
                 size_t n_rows, size_t n) {
  for (size_t t = 0; t < n_rows; t++, to += width, from += ld) {
    if (n == TILE_J && width == TILE_J) { /* of a length that is known here */
      memcpy(to, from, TILE_J * sizeof *to);
    } else {
      memcpy(to, from, n * sizeof *to);
      memset(to + n, 0, (width - n) * sizeof *to);
    }
  }
}

/* Up to MOST_I rows of h, up to DEPTH rows of a and b. */
static void outer_block(float *h, size_t ldh, const float *a, size_t lda,
                        const float *b, size_t ldb, size_t n_rows, size_t ni,
                        size_t nj) {
  float pa[DEPTH * MOST_I], pb[DEPTH * TILE_J];
  pack(pa, MOST_I, a, lda, n_rows, ni);
  for (size_t j = 0; j < nj; j += TILE_J) {
    size_t cols = nj - j < TILE_J ? nj - j : TILE_J;
    pack(pb, TILE_J, b + j, ldb, n_rows, cols);
    for (size_t i = 0; i < ni; i += TILE_I) {
      size_t rows = ni - i < TILE_I ? ni - i : TILE_I;
      if (rows == TILE_I && cols == TILE_J)
        outer_tile(h + i * ldh + j, ldh, pa + i, pb, n_rows);
      else
        outer_edge(h + i * ldh + j, ldh, pa + i, pb, n_rows, rows, cols);
    }
  }
}

static void outer(float *h, size_t ldh, const float *a, size_t lda,
                  const float *b, size_t ldb, size_t n_rows, size_t ni,
                  size_t nj) {
  for (size_t i = 0; i < ni; i += MOST_I)
    for (size_t t = 0; t < n_rows; t += DEPTH)
      outer_block(h + i * ldh, ldh, a + t * lda + i, lda, b + t * ldb, ldb,
                  n_rows - t < DEPTH ? n_rows - t : DEPTH,
                  ni - i < MOST_I ? ni - i : MOST_I, nj);
}

static void costs(const float *points, size_t n, int dims, const float *a,
                  const float *b, float *out) {
  for (size_t k = 0; k < n; k += LANES) {
    vec sum = {0};
    for (int i = 0; i < dims; i++) {
      vec p = *(const vec *)(points + (size_t)i * n + k);
      vec s = p * a[i * dims + i] - 2 * b[i];
      for (int j = 0; j < i; j++)
        s += *(const vec *)(points + (size_t)j * n + k) * (2 * a[i * dims + j]);
      sum += s * p;
    }
    *(vec *)(out + k) = sum;
  }
}

typedef double vecd
    __attribute__((vector_size(DENSE_BYTES), aligned(8), may_alias));
typedef float half
    __attribute__((vector_size(DENSE_BYTES / 2), aligned(4), may_alias));

enum { LANES_D = DENSE_BYTES / 8, PARTS = 32, PART_V = PARTS / LANES_D };

static double dot(const float *a, const double *x, size_t n) {
  union {
    vecd v[PART_V];
    double d[PARTS];
  } sum = {.d = {0}};
  size_t i = 0;
  for (; n - i >= PARTS; i += PARTS)
    WN_UNROLL
  for (int k = 0; k < PART_V; k++) {
    size_t at = i + (size_t)(k * LANES_D);
    vecd wide = __builtin_convertvector(*(const half *)(a + at), vecd);
    sum.v[k] += wide * *(const vecd *)(x + at);
  }
  for (; i < n; i++)
    sum.d[i % PARTS] += (double)a[i] * x[i];
  for (int w = PARTS / 2; w > 0; w /= 2)
    for (int k = 0; k < w; k++)
      sum.d[k] += sum.d[k + w];
  return sum.d[0];
}

static void eliminate(double *y, const double *l, const double *b, size_t ldb,
                      size_t nk, size_t n) {
  enum { PART = 4, TILE = PART * LANES_D };
  size_t j = 0;
  for (; n - j >= TILE; j += TILE) {
    vecd acc[PART];
    WN_UNROLL
    for (int v = 0; v < PART; v++)
      acc[v] = *(const vecd *)(y + j + v * LANES_D);
    for (size_t k = 0; k < nk; k++)
      WN_UNROLL
    for (int v = 0; v < PART; v++)
      acc[v] -= l[k] * *(const vecd *)(b + k * ldb + j + v * LANES_D);
    WN_UNROLL
    for (int v = 0; v < PART; v++)
      *(vecd *)(y + j + v * LANES_D) = acc[v];
  }
  for (; j < n; j++)
    for (size_t k = 0; k < nk; k++)
      y[j] -= l[k] * b[k * ldb + j];
}

const wn_dense DENSE_TABLE = {subtract, outer, costs, dot, eliminate};
