/* float.inc.h - template: weights unpacked to float, times float activations.
 *
 * For F32, F16, BF16 and, through the reference decoders, for every type
 * that has no kernel of its own in a tier.
 *
 * Order of operations for one (row, column), the same for any number of
 * rows, columns and threads: the values are cut into chunks of 256, a chunk
 * into 4 classes by k mod 4; each class is one chain of fused multiply-adds
 * from 0, in order of k, and is then added to y:
 *
 *     for each chunk, for c = 0..3:  p = 0
 *       for k = c, c + 4, ...:  p = fma(w[k], x[k], p)
 *       y = y + p
 *
 * Panel: R = 2 LANES rows side by side, [class][k / 4][row].
 *
 * The including file defines LANES, the vector type VF and the functions
 * vf_load, vf_store (aligned or not), vf_set1 (from memory), vf_zero, vf_fma
 * (a * b + c), vf_add; vf_f16 and vf_bf16 (LANES numbers from memory);
 * vf_transpose (LANES vectors in place); FLOAT_NC, the most columns whose
 * accumulators fit the registers. */

#define R (2 * LANES)
#define CHUNK 256

typedef struct fpanel {
  float w[4][CHUNK / 4][R];
} fpanel;

/* ---- panels ------------------------------------------------------------ */

/* LANES values of one row from value k on, as float. */
static inline VF float_piece(int type, const uint8_t *row, size_t k) {
  if (type == WN_TYPE_F16) return vf_f16(row + 2 * k);
  if (type == WN_TYPE_BF16) return vf_bf16(row + 2 * k);
  return vf_load(row + 4 * k);
}

/* Rows row[0..LANES) of floats (or halves), values [k, k + n), into half
 * `half` of the panel. n is a multiple of LANES. */
static inline void transpose_rows(int type, const uint8_t *const row[],
                                  size_t k, size_t n, size_t half, fpanel *p) {
  for (size_t i = 0; i < n; i += LANES) {
    VF v[LANES];
    for (size_t r = 0; r < LANES; r++)
      v[r] = float_piece(type, row[r], k + i);
    vf_transpose(v);
    for (size_t j = 0; j < LANES; j++)
      vf_store(&p->w[j % 4][(i + j) / 4][half * LANES], v[j]);
  }
}

/* Any type: decodes a chunk of each row, pads it with zeros to a multiple of
 * LANES and transposes. */
static void panel_decoded(const wn_mm_job *job, const uint8_t *const row[],
                          size_t k, size_t n, size_t half, fpanel *p) {
  const wn_type_info *t = wn_type(job->type);
  wn_decode_fn decode = wn_decode_best(job->type, WN_TIER_ISA);
  float tmp[LANES][CHUNK];
  const uint8_t *tmp_row[LANES];
  size_t padded = (n + LANES - 1) / LANES * LANES;
  for (size_t r = 0; r < LANES; r++) {
    decode(row[r] + k / t->block * t->bytes, tmp[r], n);
    for (size_t i = n; i < padded; i++)
      tmp[r][i] = 0;
    tmp_row[r] = (const uint8_t *)tmp[r];
  }
  transpose_rows(WN_TYPE_F32, tmp_row, 0, padded, half, p);
}

static void float_panel(const wn_mm_job *job, const uint8_t *const row[R],
                        size_t k, size_t n, fpanel *p) {
  for (size_t half = 0; half < 2; half++) {
    const uint8_t *const *rows = row + half * LANES;
    bool whole = n % LANES == 0;
    if (whole && job->type == WN_TYPE_F32)
      transpose_rows(WN_TYPE_F32, rows, k, n, half, p);
    else if (whole && job->type == WN_TYPE_F16)
      transpose_rows(WN_TYPE_F16, rows, k, n, half, p);
    else if (whole && job->type == WN_TYPE_BF16)
      transpose_rows(WN_TYPE_BF16, rows, k, n, half, p);
    else
      panel_decoded(job, rows, k, n, half, p);
  }
}

/* ---- kernel ------------------------------------------------------------ */

/* y[0..n_rows) (+)= the 2 vectors of a tile's column. */
static inline void add_tile(float *y, size_t n_rows, bool first, VF lo, VF hi) {
  if (n_rows == R) {
    vf_store(y, first ? lo : vf_add(vf_load(y), lo));
    vf_store(y + LANES, first ? hi : vf_add(vf_load(y + LANES), hi));
    return;
  }
  float t[R];
  vf_store(t, lo);
  vf_store(t + LANES, hi);
  for (size_t r = 0; r < n_rows; r++)
    y[r] = first ? t[r] : y[r] + t[r];
}

/* nc columns, one class after the other: 2 nc accumulators. */
static inline __attribute__((always_inline)) void float_many(
    const fpanel *p, size_t n, const float *x, size_t ldx, size_t nc, float *y,
    size_t ldy, size_t n_rows, bool first) {
  for (size_t c = 0; c < 4; c++) {
    VF lo[FLOAT_NC], hi[FLOAT_NC];
    WN_UNROLL
    for (size_t j = 0; j < nc; j++)
      lo[j] = hi[j] = vf_zero();
    const float *w = p->w[c][0];
    for (size_t i = 0; i < n; i += 4, w += R) {
      VF w0 = vf_load(w), w1 = vf_load(w + LANES);
      WN_UNROLL
      for (size_t j = 0; j < nc; j++) {
        VF b = vf_set1(x + j * ldx + i + c);
        lo[j] = vf_fma(w0, b, lo[j]);
        hi[j] = vf_fma(w1, b, hi[j]);
      }
    }
    WN_UNROLL
    for (size_t j = 0; j < nc; j++)
      add_tile(y + j * ldy, n_rows, first && c == 0, lo[j], hi[j]);
  }
}

/* One column: its 4 classes at once, to have chains enough. */
static void float_one(const fpanel *p, size_t n, const float *x, float *y,
                      size_t n_rows, bool first) {
  VF lo[4], hi[4];
  WN_UNROLL
  for (size_t c = 0; c < 4; c++)
    lo[c] = hi[c] = vf_zero();
  for (size_t i = 0; i < n; i += 4) {
    WN_UNROLL
    for (size_t c = 0; c < 4; c++) {
      VF b = vf_set1(x + i + c);
      const float *w = p->w[c][i / 4];
      lo[c] = vf_fma(vf_load(w), b, lo[c]);
      hi[c] = vf_fma(vf_load(w + LANES), b, hi[c]);
    }
  }
  for (size_t c = 0; c < 4; c++)
    add_tile(y, n_rows, first && c == 0, lo[c], hi[c]);
}

#define FLOAT_MANY(nc)                                                    \
  static void float_##nc(const fpanel *p, size_t n, const float *x,       \
                         size_t ldx, float *y, size_t ldy, size_t n_rows, \
                         bool first) {                                    \
    float_many(p, n, x, ldx, nc, y, ldy, n_rows, first);                  \
  }
FLOAT_MANY(2)
FLOAT_MANY(3)
FLOAT_MANY(6)
#if FLOAT_NC >= 12
FLOAT_MANY(12)
#endif

static void float_columns(const fpanel *p, size_t n, const float *x, size_t ldx,
                          size_t n_cols, float *y, size_t ldy, size_t n_rows,
                          bool first) {
  while (n_cols > 0) {
    size_t nc = 1;
#if FLOAT_NC >= 12
    if (n_cols >= 12)
      float_12(p, n, x, ldx, y, ldy, n_rows, first), nc = 12;
    else
#endif
        if (n_cols >= 6)
      float_6(p, n, x, ldx, y, ldy, n_rows, first), nc = 6;
    else if (n_cols >= 3)
      float_3(p, n, x, ldx, y, ldy, n_rows, first), nc = 3;
    else if (n_cols == 2)
      float_2(p, n, x, ldx, y, ldy, n_rows, first), nc = 2;
    else
      float_one(p, n, x, y, n_rows, first);
    n_cols -= nc;
    x += nc * ldx;
    y += nc * ldy;
  }
}

/* The op of wn_mm_tier: see wn_mm in kern.h. */
static void float_run(const wn_mm_job *job) {
  fpanel *p = job->scratch;
  _Static_assert(sizeof *p <= WN_MM_SCRATCH, "the panel fits the scratch");
  size_t ldx = job->col.stride / 4, n_cols = job->c1 - job->c0;
  const float *x = (const float *)(const void *)job->packed + job->c0 * ldx;
  for (size_t r = job->r0; r < job->r1; r += R) {
    size_t n_rows = job->r1 - r < R ? job->r1 - r : R;
    const uint8_t *row[R]; /* past the end: the last row again */
    for (size_t i = 0; i < R; i++)
      row[i] = job->w + (r + (i < n_rows ? i : n_rows - 1)) * job->row_bytes;
    for (size_t k = 0; k < job->k; k += CHUNK) {
      size_t n = job->k - k < CHUNK ? job->k - k : CHUNK;
      float_panel(job, row, k, n, p);
      float_columns(p, n, x + k, ldx, n_cols, job->y + job->c0 * job->ldy + r,
                    job->ldy, n_rows, k == 0);
    }
  }
}

#undef R
#undef CHUNK
