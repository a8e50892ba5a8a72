/* float.inc.h - template: weights unpacked to float, times float activations.
 *
 * For F32, F16, BF16 (in the AMX tier only F32, see half_amx.inc.h) and,
 * through the decoders of quant/, for every type that has no kernel of its own
 * in a tier.
 *
 * Order of operations for one (row, column), the same for any number of
 * rows, columns and threads and in every tier but ref: the values are cut
 * into chunks of 256, a chunk into 16 classes by k mod 16; each class is one
 * chain of fused multiply-adds from 0, in order of k; two by two they are
 * added to y:
 *
 *     for each chunk, for c = 0..15:  p[c] = 0
 *       for k = c, c + 16, ...:  p[c] = fma(w[k], x[k], p[c])
 *     for c = 0..7:  y = y + (p[c] + p[c + 8])
 *
 * Many columns: a panel of R rows side by side, [class][k / 16][row], and two
 * classes after two. FLOAT_NC is the most columns whose accumulators fit the
 * registers.
 * Up to 4 columns: no panel. A vector holds values of one row, its lanes are
 * the classes; only their sums are transposed, once per chunk. */

#define CLASSES 16

typedef struct fpanel {
  float w[CLASSES][CHUNK / CLASSES][R];
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
      vf_store(&p->w[(i + j) % CLASSES][i / CLASSES][half * LANES], v[j]);
  }
}

/* Any type: decodes the rows, pads them with zeros to a multiple of 16 and
 * transposes. */
static void unpack_decoded(int type, wn_rows *src, size_t n, void *panel) {
  wn_decode_fn decode = wn_decode_best(type, WN_TIER_ISA);
  float tmp[LANES][CHUNK];
  size_t padded = (n + CLASSES - 1) / CLASSES * CLASSES;
  for (size_t half = 0; half < 2; half++) {
    for (size_t r = 0; r < LANES; r++) {
      decode(src->w + (half * LANES + r) * src->stride, tmp[r], n);
      for (size_t i = n; i < padded; i++)
        tmp[r][i] = 0;
    }
    wn_rows rows = {(const uint8_t *)tmp, sizeof tmp[0], src->ahead, src->step};
    transpose_rows(WN_TYPE_F32, &rows, padded, half, panel);
  }
}

/* F32, F16, BF16. */
static void unpack_float(int type, wn_rows *src, size_t n, void *panel) {
  if (n % CLASSES != 0) {
    unpack_decoded(type, src, n, panel);
    return;
  }
  for (size_t half = 0; half < 2; half++) {
    if (type == WN_TYPE_F16)
      transpose_rows(WN_TYPE_F16, src, n, half, panel);
    else if (type == WN_TYPE_BF16)
      transpose_rows(WN_TYPE_BF16, src, n, half, panel);
    else
      transpose_rows(WN_TYPE_F32, src, n, half, panel);
    src->w += LANES * src->stride;
  }
}

/* ---- kernel ------------------------------------------------------------ */

/* to = from (NULL: zeros) + the halves of a column */
static inline void add_tile(const float *from, float *to, VF lo, VF hi) {
  vf_store(to, from == NULL ? lo : vf_add(vf_load(from), lo));
  vf_store(to + LANES, from == NULL ? hi : vf_add(vf_load(from + LANES), hi));
}

/* nc columns, two classes at a time: 4 nc accumulators. */
INLINE void float_many(const fpanel *p, size_t n, const float *x, size_t ldx,
                       size_t nc, totals acc) {
  float y[FLOAT_NC][R];
  for (size_t c = 0; c < CLASSES / 2; c++) {
    VF lo[2 * FLOAT_NC], hi[2 * FLOAT_NC];
    WN_UNROLL
    for (size_t j = 0; j < 2 * nc; j++)
      lo[j] = hi[j] = vf_zero();
    const float *w = p->w[c][0];
    for (size_t i = 0; i < n; i += CLASSES, w += R) {
      WN_UNROLL
      for (size_t s = 0; s < 2; s++) {
        const float *ws = w + s * (CLASSES / 2 * CHUNK / CLASSES * R);
        VF w0 = vf_load(ws), w1 = vf_load(ws + LANES);
        WN_UNROLL
        for (size_t j = 0; j < nc; j++) {
          VF b = vf_set1(x + j * ldx + i + c + s * (CLASSES / 2));
          lo[2 * j + s] = vf_fma(w0, b, lo[2 * j + s]);
          hi[2 * j + s] = vf_fma(w1, b, hi[2 * j + s]);
        }
      }
    }
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      totals t = totals_after(acc, j);
      add_tile(c == 0 ? t.from : y[j], c == CLASSES / 2 - 1 ? t.to : y[j],
               vf_add(lo[2 * j], lo[2 * j + 1]),
               vf_add(hi[2 * j], hi[2 * j + 1]));
    }
  }
}

#define FLOAT_MANY(nc)                                              \
  static void float_##nc(const fpanel *p, size_t n, const float *x, \
                         size_t ldx, totals acc) {                  \
    float_many(p, n, x, ldx, nc, acc);                              \
  }
FLOAT_MANY(1)
FLOAT_MANY(2)
FLOAT_MANY(3)
#if FLOAT_NC >= 6
FLOAT_MANY(6)
#else
#define float_6 float_3
#endif

static void multiply_float(const void *panel, size_t n, const uint8_t *packed,
                           const wn_column *col, size_t k, size_t n_cols,
                           totals acc) {
  const float *x = (const float *)(const void *)packed + k;
  size_t ldx = col->stride / sizeof *x;
  while (n_cols > 0) {
    size_t nc = n_cols >= FLOAT_NC ? FLOAT_NC : n_cols < 3 ? n_cols : 3;
    if (nc == 6)
      float_6(panel, n, x, ldx, acc);
    else if (nc == 3)
      float_3(panel, n, x, ldx, acc);
    else if (nc == 2)
      float_2(panel, n, x, ldx, acc);
    else
      float_1(panel, n, x, ldx, acc);
    n_cols -= nc;
    acc = totals_after(acc, nc);
    x += nc * ldx;
  }
}

/* ---- few columns ------------------------------------------------------- */

#define PIECES (CLASSES / LANES) /* vectors of a row's 16 classes */
#if LANES == CLASSES /* accumulators, rows at a time for nc columns */
#define FEW_SUMS 16
#define FEW_ROWS(nc) ((nc) == 1 ? 8 : 16 / (nc))
#else
#define FEW_SUMS (4 * PIECES)
#define FEW_ROWS(nc) (4 / (nc))
#endif

/* nr rows times nc columns: sums[j][piece][r0 ..] = the classes' sums. */
INLINE void float_rows(int type, wn_rows *src, size_t n, const float *x,
                       size_t ldx, size_t r0, size_t nr, size_t nc,
                       VF (*sums)[PIECES][LANES]) {
  VF s[FEW_SUMS];
  WN_UNROLL
  for (size_t i = 0; i < nr * nc * PIECES; i++)
    s[i] = vf_zero();
  size_t bytes = type == WN_TYPE_F32 ? 4 : 2;
  for (size_t i = 0; i < n; i += CLASSES) {
    if (i * bytes % 64 == 0) {
      WN_UNROLL
      for (size_t r = 0; r < nr; r++)
        __builtin_prefetch(src->ahead + r * src->stride + i * bytes);
    }
    WN_UNROLL
    for (size_t g = 0; g < PIECES; g++) {
      VF b[4];
      WN_UNROLL
      for (size_t j = 0; j < nc; j++)
        b[j] = vf_load(x + j * ldx + i + g * LANES);
      WN_UNROLL
      for (size_t r = 0; r < nr; r++) {
        VF w = float_piece(type, src->w + r * src->stride, i + g * LANES);
        WN_UNROLL
        for (size_t j = 0; j < nc; j++) {
          VF *p = &s[(r * nc + j) * PIECES + g];
          *p = vf_fma(w, b[j], *p);
        }
      }
    }
  }
  WN_UNROLL
  for (size_t r = 0; r < nr; r++)
    WN_UNROLL
  for (size_t j = 0; j < nc; j++)
    WN_UNROLL
  for (size_t g = 0; g < PIECES; g++)
    sums[j][g][r0 + r] = s[(r * nc + j) * PIECES + g];
}

/* acc += the sums of LANES rows, two classes at a time. */
INLINE void add_classes(VF (*sums)[LANES], float *acc, bool first) {
#if LANES < CLASSES
  for (size_t g = 0; g < PIECES / 2; g++) {
    WN_UNROLL
    for (size_t r = 0; r < LANES; r++)
      sums[g][r] = vf_add(sums[g][r], sums[g + PIECES / 2][r]);
    vf_transpose(sums[g]);
  }
#else
  vf_transpose(sums[0]);
  WN_UNROLL
  for (size_t c = 0; c < CLASSES / 2; c++)
    sums[0][c] = vf_add(sums[0][c], sums[0][c + CLASSES / 2]);
#endif
  VF a = first ? sums[0][0] : vf_add(vf_load(acc), sums[0][0]);
  WN_UNROLL
  for (size_t c = 1; c < CLASSES / 2; c++)
    a = vf_add(a, sums[c / LANES][c % LANES]);
  vf_store(acc, a);
}

/* LANES rows times nc columns, nr rows at a time. */
INLINE void float_half(int type, wn_rows *src, size_t n, const float *x,
                       size_t ldx, size_t nr, size_t nc, float (*acc)[R],
                       size_t half, bool first) {
  VF sums[4][PIECES][LANES];
  for (size_t r = 0; r < LANES; r += nr) {
    float_rows(type, src, n, x, ldx, r, nr, nc, sums);
    src->w += nr * src->stride;
    src->ahead += nr * src->stride;
  }
  for (size_t j = 0; j < nc; j++)
    add_classes(sums[j], acc[j] + half * LANES, first);
}

/* F32, F16, BF16 times up to 4 columns. */
#define FEW_FLOAT(type, name)                                                \
  static void few_##name(wn_rows *src, size_t n, const float *x, size_t ldx, \
                         size_t nc, float(*acc)[R], bool first) {            \
    for (size_t half = 0; half < 2; half++)                                  \
      if (nc == 1)                                                           \
        float_half(type, src, n, x, ldx, FEW_ROWS(1), 1, acc, half, first);  \
      else if (nc == 2)                                                      \
        float_half(type, src, n, x, ldx, FEW_ROWS(2), 2, acc, half, first);  \
      else if (nc == 3)                                                      \
        float_half(type, src, n, x, ldx, FEW_ROWS(4), 3, acc, half, first);  \
      else                                                                   \
        float_half(type, src, n, x, ldx, FEW_ROWS(4), 4, acc, half, first);  \
  }
FEW_FLOAT(WN_TYPE_F32, f32)
FEW_FLOAT(WN_TYPE_F16, f16)
FEW_FLOAT(WN_TYPE_BF16, bf16)

static void few_float(int type, wn_rows src, size_t n, const uint8_t *packed,
                      const wn_column *col, size_t k, size_t n_cols,
                      float (*acc)[R], bool first) {
  const float *x = (const float *)(const void *)packed + k;
  size_t ldx = col->stride / sizeof *x;
  if (type == WN_TYPE_F16)
    few_f16(&src, n, x, ldx, n_cols, acc, first);
  else if (type == WN_TYPE_BF16)
    few_bf16(&src, n, x, ldx, n_cols, acc, first);
  else
    few_f32(&src, n, x, ldx, n_cols, acc, first);
}
