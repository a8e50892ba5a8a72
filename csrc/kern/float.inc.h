/* float.inc.h - template: weights unpacked to float, times float activations.
 *
 * For F32, F16, BF16 and, through the decoders of quant/, for every type that
 * has no kernel of its own in a tier.
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
 * Panel: R rows side by side, [class][k / 4][row]. FLOAT_NC is the most
 * columns whose accumulators fit the registers. */

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

/* n values (a multiple of LANES) of LANES rows into half `half` of the
 * panel. */
INLINE void transpose_rows(int type, wn_rows *src, size_t n, size_t half,
                           fpanel *p) {
  size_t lines = type == WN_TYPE_F32 ? LANES / 4 : LANES / 8;
  for (size_t i = 0; i < n; i += LANES) {
    VF v[LANES];
    for (size_t j = 0; j < lines * LANES / 16; j++)
      wn_rows_prefetch(src);
    WN_UNROLL
    for (size_t r = 0; r < LANES; r++)
      v[r] = float_piece(type, src->w + r * src->stride, i);
    vf_transpose(v);
    WN_UNROLL
    for (size_t j = 0; j < LANES; j++)
      vf_store(&p->w[j % 4][(i + j) / 4][half * LANES], v[j]);
  }
}

/* Any type: decodes the rows, pads them with zeros to a multiple of LANES and
 * transposes. */
static void unpack_decoded(int type, wn_rows src, size_t n, void *panel) {
  wn_decode_fn decode = wn_decode_best(type, WN_TIER_ISA);
  float tmp[LANES][CHUNK];
  size_t padded = (n + LANES - 1) / LANES * LANES;
  for (size_t half = 0; half < 2; half++) {
    for (size_t r = 0; r < LANES; r++) {
      decode(src.w + (half * LANES + r) * src.stride, tmp[r], n);
      for (size_t i = n; i < padded; i++)
        tmp[r][i] = 0;
    }
    wn_rows rows = {(const uint8_t *)tmp, sizeof tmp[0], src.ahead, src.gap};
    transpose_rows(WN_TYPE_F32, &rows, padded, half, panel);
  }
}

/* F32, F16, BF16. */
static void unpack_float(int type, wn_rows src, size_t n, void *panel) {
  if (n % LANES != 0) {
    unpack_decoded(type, src, n, panel);
    return;
  }
  for (size_t half = 0; half < 2; half++) {
    if (type == WN_TYPE_F16)
      transpose_rows(WN_TYPE_F16, &src, n, half, panel);
    else if (type == WN_TYPE_BF16)
      transpose_rows(WN_TYPE_BF16, &src, n, half, panel);
    else
      transpose_rows(WN_TYPE_F32, &src, n, half, panel);
    src.w += LANES * src.stride;
  }
}

/* ---- kernel ------------------------------------------------------------ */

static inline void add_tile(float *acc, bool first, VF lo, VF hi) {
  vf_store(acc, first ? lo : vf_add(vf_load(acc), lo));
  vf_store(acc + LANES, first ? hi : vf_add(vf_load(acc + LANES), hi));
}

/* nc columns, one class after the other: 2 nc accumulators. */
INLINE void float_many(const fpanel *p, size_t n, const float *x, size_t ldx,
                       size_t nc, float (*acc)[R], bool first) {
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
      add_tile(acc[j], first && c == 0, lo[j], hi[j]);
  }
}

/* One column: its 4 classes at once, to have chains enough. */
static void float_1(const fpanel *p, size_t n, const float *x, size_t ldx,
                    float (*acc)[R], bool first) {
  (void)ldx;
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
  WN_UNROLL
  for (size_t c = 0; c < 4; c++)
    add_tile(acc[0], first && c == 0, lo[c], hi[c]);
}

#define FLOAT_MANY(nc)                                              \
  static void float_##nc(const fpanel *p, size_t n, const float *x, \
                         size_t ldx, float(*acc)[R], bool first) {  \
    float_many(p, n, x, ldx, nc, acc, first);                       \
  }
FLOAT_MANY(2)
FLOAT_MANY(3)
FLOAT_MANY(6)
#if FLOAT_NC >= 12
FLOAT_MANY(12)
#else
#define float_12 float_6
#endif

static void multiply_float(const void *panel, size_t n, const uint8_t *packed,
                           const wn_column *col, size_t k, size_t n_cols,
                           float (*acc)[R], bool first) {
  const float *x = (const float *)(const void *)packed + k;
  size_t ldx = col->stride / sizeof *x;
  while (n_cols > 0) {
    size_t nc = n_cols >= FLOAT_NC ? FLOAT_NC
                : n_cols >= 6      ? 6
                : n_cols >= 3      ? 3
                                   : n_cols;
    if (nc == 12)
      float_12(panel, n, x, ldx, acc, first);
    else if (nc == 6)
      float_6(panel, n, x, ldx, acc, first);
    else if (nc == 3)
      float_3(panel, n, x, ldx, acc, first);
    else if (nc == 2)
      float_2(panel, n, x, ldx, acc, first);
    else
      float_1(panel, n, x, ldx, acc, first);
    n_cols -= nc;
    acc += nc;
    x += nc * ldx;
  }
}
