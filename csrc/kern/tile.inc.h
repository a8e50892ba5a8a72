/* tile.inc.h - template: the walk over a matrix, shared by all weight types.
 *
 * Output is made in tiles of R = 2 LANES rows (and up to TILE_COLS columns,
 * whose sums stay in the second cache). For each chunk of 256 values of k the
 * rows of the tile are unpacked into a panel in the first cache, and the
 * kernel runs over it for all columns. Unpacking prefetches the rows of the
 * next tile as it goes, line by line in 4 streams, so that reading memory
 * never waits for arithmetic.
 *
 * The last rows of a matrix, fewer than R, are copied into a buffer filled up
 * with zeros: panels always unpack R rows that exist. */

#define R (2 * LANES)
#define CHUNK 256
#define TILE_COLS 512
#define CHUNK_BYTES 1024 /* the widest type: 256 floats */

typedef struct tile {
  float acc[TILE_COLS][R];
  uint8_t panel[R * CHUNK * 4];
  uint8_t rows[R][CHUNK_BYTES];
} tile;

_Static_assert(sizeof(tile) <= WN_MM_SCRATCH, "a tile fits the scratch");

/* How one weight type is done. */
typedef struct kernel {
  /* R rows of n values (n <= CHUNK) into a panel. */
  void (*unpack)(int type, wn_rows src, size_t n, void *panel);
  /* acc[c] (+)= panel times values k .. k + n of packed column c. */
  void (*multiply)(const void *panel, size_t n, const uint8_t *packed,
                   const wn_column *col, size_t k, size_t n_cols,
                   float (*acc)[R], bool first);
  /* Both in one go, without a panel: for up to few_cols columns and chunks of
   * a multiple of 16 values. */
  void (*few)(int type, wn_rows src, size_t n, void *panel,
              const uint8_t *packed, const wn_column *col, size_t k,
              size_t n_cols, float (*acc)[R], bool first);
  size_t few_cols;
} kernel;

static const kernel *kernel_of(int type);

/* The first n_rows rows of a chunk, and rows of zeros, side by side. */
static void copy_rows(const uint8_t *w, size_t stride, size_t bytes,
                      size_t n_rows, uint8_t (*rows)[CHUNK_BYTES]) {
  for (size_t r = 0; r < R; r++)
    if (r < n_rows)
      memcpy(rows[r], w + r * stride, bytes);
    else
      memset(rows[r], 0, bytes);
}

/* Where to prefetch while chunk k is unpacked: the same share of the next
 * tile, a quarter of it in each stream; without a next tile, these rows. */
static void look_ahead(const wn_mm_job *job, const uint8_t *w, bool more,
                       size_t k, wn_rows *src) {
  size_t quarter = R / 4 * job->row_bytes;
  src->ahead = more ? w + R * job->row_bytes + quarter * k / job->k : src->w;
  src->gap = more ? quarter : 0;
}

/* One tile: n_rows rows at w, n_cols columns at packed. */
static void run_tile(const wn_mm_job *job, const kernel *kn, const uint8_t *w,
                     size_t n_rows, bool more, const uint8_t *packed,
                     size_t n_cols, tile *t) {
  const wn_type_info *type = wn_type(job->type);
  for (size_t k = 0; k < job->k; k += CHUNK) {
    size_t n = job->k - k < CHUNK ? job->k - k : CHUNK;
    wn_rows src = {.w = w + k / type->block * type->bytes,
                   .stride = job->row_bytes};
    look_ahead(job, w, more, k, &src);
    if (n_rows < R) {
      copy_rows(src.w, src.stride, n / type->block * type->bytes, n_rows,
                t->rows);
      src.w = t->rows[0];
      src.stride = CHUNK_BYTES;
    }
    if (n_cols <= kn->few_cols && n % 16 == 0) {
      kn->few(job->type, src, n, t->panel, packed, &job->col, k, n_cols, t->acc,
              k == 0);
      continue;
    }
    kn->unpack(job->type, src, n, t->panel);
    kn->multiply(t->panel, n, packed, &job->col, k, n_cols, t->acc, k == 0);
  }
}

/* wn_mm (kern.h) for every type of this tier. */
static void run(const wn_mm_job *job) {
  tile *t = job->scratch;
  const kernel *kn = kernel_of(job->type);
  for (size_t c = job->c0; c < job->c1; c += TILE_COLS) {
    size_t n_cols = job->c1 - c < TILE_COLS ? job->c1 - c : TILE_COLS;
    const uint8_t *packed = job->packed + c * job->col.stride;
    for (size_t r = job->r0; r < job->r1; r += R) {
      size_t n_rows = job->r1 - r < R ? job->r1 - r : R;
      bool more = job->r1 - r >= 2 * R;
      run_tile(job, kn, job->w + r * job->row_bytes, n_rows, more, packed,
               n_cols, t);
      for (size_t j = 0; j < n_cols; j++)
        memcpy(job->y + (c + j) * job->ldy + r, t->acc[j],
               n_rows * sizeof(float));
    }
  }
}
