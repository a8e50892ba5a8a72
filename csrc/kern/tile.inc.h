/* tile.inc.h - template: the walk over a matrix, shared by all weight types.
 *
 * Output is made in tiles of R = 2 LANES rows (and up to TILE_COLS columns,
 * whose sums stay in the second cache). For each chunk of 256 values of k the
 * rows of the tile are unpacked into a panel in the first cache, and the
 * kernel runs over it for all columns. Weights are prefetched a tile ahead,
 * line by line in the order of memory, as unpacking goes; the first tile is
 * prefetched at once. (Kernels without a panel take whole lines of a row and
 * prefetch FAR values further along each row.) Measured on Zen 5: in other
 * orders, or left to the processor, reading is up to ten times slower.
 *
 * The last rows of a matrix, fewer than R, are copied into a buffer filled up
 * with zeros: panels always unpack R rows that exist. */

#define R (2 * LANES)
#define CHUNK 256
#define FAR 512
#define TILE_COLS 512
#define CHUNK_BYTES 1024 /* the widest type: 256 floats */

typedef struct tile {
  float acc[TILE_COLS][R];
  uint8_t panel[R * CHUNK * 4];
  uint8_t rows[R][CHUNK_BYTES];
} tile;

_Static_assert(sizeof(tile) <= WN_MM_SCRATCH, "a tile fits the scratch");

/* The totals of a tile's columns: to what is there `from` on (NULL: zeros), R
 * floats after R, a kernel adds, and stores at `to`, column c at to + c * ld.
 * Both may be the same. The last chunk's go to the result at once: what waits
 * there for memory hides behind the products. */
typedef struct totals {
  const float *from;
  float *to;
  size_t ld;
} totals;

/* Those of the columns from the n-th on. */
static inline totals totals_after(totals s, size_t n) {
  return (totals){s.from == NULL ? NULL : s.from + n * R, s.to + n * s.ld,
                  s.ld};
}

/* How one weight type is done. */
typedef struct kernel {
  /* R rows of n values (n <= CHUNK) into a panel. */
  void (*unpack)(int type, wn_rows *src, size_t n, void *panel);
  /* Panel times values k .. k + n of the packed columns. */
  void (*multiply)(const void *panel, size_t n, const uint8_t *packed,
                   const wn_column *col, size_t k, size_t n_cols, totals acc);
  /* Both in one go, without a panel: for up to few_cols columns and chunks of
   * a multiple of 16 values. */
  void (*few)(int type, wn_rows src, size_t n, const uint8_t *packed,
              const wn_column *col, size_t k, size_t n_cols, float (*acc)[R],
              bool first);
  size_t few_cols;
} kernel;

/* That for products with n_cols columns. */
static const kernel *kernel_of(int type, size_t n_cols);

/* One column of as many rows as row.inc.h can do: their number. */
static size_t run_rows(const wn_mm_job *job, const uint8_t *packed, float *y);

/* The first n_rows rows of a chunk, and rows of zeros, side by side. */
static void copy_rows(const uint8_t *w, size_t stride, size_t bytes,
                      size_t n_rows, uint8_t (*rows)[CHUNK_BYTES]) {
  for (size_t r = 0; r < R; r++)
    if (r < n_rows)
      memcpy(rows[r], w + r * stride, bytes);
    else
      memset(rows[r], 0, bytes);
}

/* Prefetches from *from up to (not including) `to`. */
static void prefetch_to(const uint8_t **from, const uint8_t *to) {
  for (; *from < to; *from += 64)
    __builtin_prefetch(*from);
}

/* Weights of a job as they are asked for from memory. */
typedef struct stream {
  const uint8_t *at, *end; /* everything before `at` was asked for */
} stream;

/* Values k .. k + n of a tile's n_rows rows, as unpacking wants them. */
static wn_rows chunk_of(const wn_mm_job *job, const uint8_t *w, size_t k,
                        size_t n, size_t n_rows, const stream *s, tile *t) {
  const wn_type_info *type = wn_type(job->type);
  bool more = s->at < s->end;
  wn_rows src = {.w = w + k / type->block * type->bytes,
                 .stride = job->row_bytes,
                 .ahead = more ? s->at : w,
                 .step = more ? 256 : 0};
  if (n_rows < R) {
    copy_rows(src.w, src.stride, n / type->block * type->bytes, n_rows,
              t->rows);
    src.w = t->rows[0];
    src.stride = CHUNK_BYTES;
  }
  return src;
}

/* The weights FAR values after value k of the tile at w, for its R rows, or
 * what is at hand when the job ends before them. */
static const uint8_t *far_ahead(const wn_mm_job *job, const uint8_t *w,
                                size_t k, const wn_rows *src, const stream *s) {
  const wn_type_info *type = wn_type(job->type);
  size_t tiles = (k + FAR) / job->k, to = (k + FAR) % job->k;
  size_t skip = tiles * R * job->row_bytes;
  if (skip + R * job->row_bytes > (size_t)(s->end - w)) return src->w;
  return w + skip + to / type->block * type->bytes;
}

/* One chunk by a kernel with a panel. */
static void run_chunk(const wn_mm_job *job, const kernel *kn, wn_rows src,
                      size_t k, size_t n, stream *s, const uint8_t *to,
                      const uint8_t *packed, size_t n_cols, tile *t,
                      totals acc) {
  kn->unpack(job->type, &src, n, t->panel);
  if (s->at < s->end) {
    s->at = src.ahead;
    prefetch_to(&s->at, to < s->end ? to : s->end);
  }
  kn->multiply(t->panel, n, packed, &job->col, k, n_cols, acc);
}

/* One tile: n_rows rows at w, n_cols columns at packed; results at y. */
static void run_tile(const wn_mm_job *job, const kernel *kn, const uint8_t *w,
                     size_t n_rows, stream *s, const uint8_t *packed,
                     size_t n_cols, float *y, tile *t) {
  size_t bytes = R * job->row_bytes;
  totals acc = {NULL, t->acc[0], R};
  for (size_t k = 0; k < job->k; k += CHUNK) {
    size_t n = job->k - k < CHUNK ? job->k - k : CHUNK;
    wn_rows src = chunk_of(job, w, k, n, n_rows, s, t);
    if (n_cols <= kn->few_cols && n % 16 == 0) {
      src.ahead = far_ahead(job, w, k, &src, s);
      kn->few(job->type, src, n, packed, &job->col, k, n_cols, t->acc, k == 0);
    } else {
      const uint8_t *to = w + bytes + bytes * (k + n) / job->k;
      if (n_rows == R && k + n == job->k) acc.to = y, acc.ld = job->ldy;
      run_chunk(job, kn, src, k, n, s, to, packed, n_cols, t, acc);
    }
    acc.from = t->acc[0];
  }
  if (acc.to == y) return;
  for (size_t j = 0; j < n_cols; j++)
    memcpy(y + j * job->ldy, t->acc[j], n_rows * sizeof *y);
}

/* wn_mm (kern.h) for every type of this tier. */
static void run(const wn_mm_job *job) {
  tile *t = job->scratch;
  const kernel *kn = kernel_of(job->type, job->c1 - job->c0);
  for (size_t c = job->c0; c < job->c1; c += TILE_COLS) {
    size_t n_cols = job->c1 - c < TILE_COLS ? job->c1 - c : TILE_COLS;
    const uint8_t *packed = job->packed + c * job->col.stride;
    size_t r0 = job->r0;
    if (n_cols == 1) r0 += run_rows(job, packed, job->y + c * job->ldy);
    if (r0 == job->r1) continue;
    stream s = {job->w + r0 * job->row_bytes,
                job->w + job->r1 * job->row_bytes};
    size_t first = job->r1 - r0 < R ? job->r1 - r0 : R;
    prefetch_to(&s.at, s.at + first * job->row_bytes);
    for (size_t r = r0; r < job->r1; r += R) {
      size_t n_rows = job->r1 - r < R ? job->r1 - r : R;
      run_tile(job, kn, job->w + r * job->row_bytes, n_rows, &s, packed, n_cols,
               job->y + c * job->ldy + r, t);
    }
  }
}
