/* dense.inc.h - dense.h over vectors of DENSE_BYTES bytes, as DENSE_TABLE.
 * The vectors are the compiler's own; each of their lanes does what the plain
 * loop at the end of every function does. */
typedef float vec
    __attribute__((vector_size(DENSE_BYTES), aligned(4), may_alias));

enum { LANES = DENSE_BYTES / 4, TILE_I = 4, TILE_V = 4 };

static void subtract(float *y, const float *x, float a, size_t n) {
  size_t i = 0;
  for (; n - i >= LANES; i += LANES)
    *(vec *)(y + i) -= a * *(const vec *)(x + i);
  for (; i < n; i++)
    y[i] -= a * x[i];
}

/* TILE_I rows of h, TILE_V vectors each, in registers over all rows. */
static void outer_tile(float *h, size_t ldh, const float *a, size_t lda,
                       const float *b, size_t ldb, size_t n_rows) {
  vec acc[TILE_I][TILE_V];
  WN_UNROLL
  for (int i = 0; i < TILE_I; i++)
    WN_UNROLL
  for (int v = 0; v < TILE_V; v++)
    acc[i][v] = *(const vec *)(h + (size_t)i * ldh + (size_t)(v * LANES));
  for (size_t t = 0; t < n_rows; t++, a += lda, b += ldb) {
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

/* The same for any shape. */
static void outer_edge(float *h, size_t ldh, const float *a, size_t lda,
                       const float *b, size_t ldb, size_t n_rows, size_t ni,
                       size_t nj) {
  for (size_t i = 0; i < ni; i++)
    for (size_t t = 0; t < n_rows; t++) {
      float s = a[t * lda + i];
      for (size_t j = 0; j < nj; j++)
        h[i * ldh + j] += s * b[t * ldb + j];
    }
}

static void outer(float *h, size_t ldh, const float *a, size_t lda,
                  const float *b, size_t ldb, size_t n_rows, size_t ni,
                  size_t nj) {
  enum { TILE_J = TILE_V * LANES };
  size_t i = 0, whole = nj / TILE_J * TILE_J;
  for (; ni - i >= TILE_I; i += TILE_I)
    for (size_t j = 0; j < whole; j += TILE_J)
      outer_tile(h + i * ldh + j, ldh, a + i, lda, b + j, ldb, n_rows);
  if (i < ni) /* rows that fill no tile */
    outer_edge(h + i * ldh, ldh, a + i, lda, b, ldb, n_rows, ni - i, whole);
  outer_edge(h + whole, ldh, a, lda, b + whole, ldb, n_rows, ni, nj - whole);
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
  enum { TILE = TILE_V * LANES_D };
  size_t j = 0;
  for (; n - j >= TILE; j += TILE) {
    vecd acc[TILE_V];
    WN_UNROLL
    for (int v = 0; v < TILE_V; v++)
      acc[v] = *(const vecd *)(y + j + v * LANES_D);
    for (size_t k = 0; k < nk; k++)
      WN_UNROLL
    for (int v = 0; v < TILE_V; v++)
      acc[v] -= l[k] * *(const vecd *)(b + k * ldb + j + v * LANES_D);
    WN_UNROLL
    for (int v = 0; v < TILE_V; v++)
      *(vecd *)(y + j + v * LANES_D) = acc[v];
  }
  for (; j < n; j++)
    for (size_t k = 0; k < nk; k++)
      y[j] -= l[k] * b[k * ldb + j];
}

const wn_dense DENSE_TABLE = {subtract, outer, costs, dot, eliminate};
