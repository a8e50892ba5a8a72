/* half_amx.inc.h - template: F16 and BF16 weights times float activations by
 * AMX tiles of bfloat16 numbers.
 *
 * A bfloat16 number has 8 significant bits and the range of a float. So
 *
 *   an F16 weight (11 bits) is exactly high + low, two of them; neither is
 *     below 2^-24, so that none is lost to the unit's flushing of denormals
 *   a BF16 weight is one of them
 *   an activation is taken as high + low, rounded to 16 bits and a sign: off
 *     by at most 2^-17 of itself (what llama.cpp does here, rounding to F16 or
 *     BF16, is off by 2^-12 or 2^-9)
 *
 * and a product of 32 values is made of two (BF16) or three (F16) products of
 * tiles; low times low, at most 2^-16 of a product, is left out: with F16 that
 * is as much as the activation's rounding. Measured against sums in double, of
 * results as large as their root mean square: F16 3.5e-6, BF16 2.4e-6; with
 * float kernels 1.3e-7. Of the unit's rate for bfloat16 a third or a half is
 * left: 5 or 7 times AVX-512's for floats, where the unit's is 15 times that.
 *
 * Order of operations for one (row, column), whatever else is computed (dot:
 * a product of tiles, see tile_amx.h):
 *
 *     y = 0;  for each block of 32 values:
 *       y = dot(w.high, x.low, y);  y = dot(w.high, x.high, y)
 *       F16:  y = dot(w.low, x.high, y)
 *
 * In a block, pair i is value 16 + i in the low and value i in the high half of
 * a dword: two vectors of 16 floats become a vector of pairs without a shuffle.
 *
 * Many columns: A is 16 (or fewer) columns as they are packed, B a panel of
 * rows, transposed while they are unpacked. 32 columns times 32 rows are four
 * chains of sums, enough to hide the latency of the unit; what is left of the
 * columns is two groups of equal size, which may share a column.
 * Few columns, where reading the weights is the limit: A is 16 rows, split but
 * not transposed, B one column as it is packed: pairs below one another.
 *
 * The vector part by itself (tiles left out), on one core of a Zen 5: few
 * columns F16 41, BF16 53 GB/s of weights in the cache, 25 and 22 from memory;
 * panels 18 and 34 GB/s. The tiles work on the block before meanwhile. */

#define PAIRS TILE_SIDE
#define BLOCK (2 * PAIRS)

typedef VI pair_tile[PAIRS]; /* lines of 16 dwords */

/* Rows of one block: their high and low parts; 16 rows, 16 rows. */
typedef struct half_block {
  pair_tile high[2], low[2];
} half_block;

_Static_assert(R == 2 * TILE_SIDE && CHUNK % BLOCK == 0, "tiles fill panels");
_Static_assert(sizeof(half_block[CHUNK / BLOCK]) <= R * CHUNK * 4,
               "a panel fits a tile's room");

/* ---- parts ------------------------------------------------------------- */

/* Two vectors of floats with 8 significant bits, a before b, as pairs. */
INLINE VI pairs_of(VI a, VI b) {
  return _mm512_or_si512(a, _mm512_srli_epi32(b, 16));
}

/* v rounded to 8 significant bits; ties away from zero. What is not finite, or
 * would not be any more, is cut off instead. */
INLINE VI high_of(VF v) {
  VI u = _mm512_castps_si512(v), top = vi_set1((int32_t)0xffff0000u);
  VI magnitude = _mm512_and_si512(u, vi_set1(INT32_MAX));
  __mmask16 fits = _mm512_cmplt_epi32_mask(magnitude, vi_set1(0x7f7f8000));
  u = _mm512_mask_add_epi32(u, fits, u, vi_set1(0x8000));
  return _mm512_and_si512(u, top);
}

/* The same for numbers that came from F16: below 2^17 or not finite. Of the
 * NaNs some become zeros, whose low part is NaN. */
INLINE VI high_of_f16(VF v) {
  VI u = _mm512_add_epi32(_mm512_castps_si512(v), vi_set1(0x8000));
  return _mm512_and_si512(u, vi_set1((int32_t)0xffff0000u));
}

/* v - high: exact. */
INLINE VF low_of(VF v, VI high) {
  return _mm512_sub_ps(v, _mm512_castsi512_ps(high));
}

/* Activations: after each block's pairs of high parts those of the low parts,
 * zeros up to a multiple of a block. */
static void pack_bf16(const float *x, size_t k, uint8_t *column) {
  for (size_t i = 0; i < k; i += BLOCK) {
    VI high[2], low[2];
    WN_UNROLL
    for (size_t h = 0; h < 2; h++) {
      size_t at = i + h * PAIRS, left = k > at ? k - at : 0;
      __mmask16 m = (__mmask16)(left < PAIRS ? (1u << left) - 1 : 0xffffu);
      VF v = _mm512_maskz_loadu_ps(m, x + (m != 0 ? at : 0));
      high[h] = high_of(v);
      low[h] = high_of(low_of(v, high[h]));
    }
    vi_store(column + 4 * i, pairs_of(high[0], high[1]));
    vi_store(column + 4 * i + 64, pairs_of(low[0], low[1]));
  }
}

/* ---- weights ----------------------------------------------------------- */

/* 16 values of a row from value k on, of which `left` exist: zeros after. */
INLINE VF half_piece(int type, const uint8_t *row, size_t k, size_t left) {
  if (left >= PAIRS) return float_piece(type, row, k);
  __mmask16 m = (__mmask16)((1u << left) - 1);
  __m256i v = _mm256_maskz_loadu_epi16(m, row + (m != 0 ? 2 * k : 0));
  return type == WN_TYPE_F16 ? _mm512_cvtph_ps(v)
                             : _mm512_castsi512_ps(_mm512_slli_epi32(
                                   _mm512_cvtepu16_epi32(v), 16));
}

/* The pairs of a row's block from value k on; BF16 has no low part. */
INLINE void split_row(int type, const uint8_t *row, size_t k, size_t left,
                      VI *high, VI *low) {
  VF a = half_piece(type, row, k, left);
  VF b = half_piece(type, row, k + PAIRS, left > PAIRS ? left - PAIRS : 0);
  if (type == WN_TYPE_BF16) {
    *high = pairs_of(_mm512_castps_si512(a), _mm512_castps_si512(b));
    return;
  }
  VI ha = high_of_f16(a), hb = high_of_f16(b);
  *high = pairs_of(ha, hb);
  *low = pairs_of(_mm512_castps_si512(low_of(a, ha)),
                  _mm512_castps_si512(low_of(b, hb)));
}

INLINE void transpose_pairs(VI v[PAIRS], pair_tile out) {
  VF t[PAIRS];
  WN_UNROLL
  for (size_t i = 0; i < PAIRS; i++)
    t[i] = _mm512_castsi512_ps(v[i]);
  vf_transpose(t);
  WN_UNROLL
  for (size_t i = 0; i < PAIRS; i++)
    out[i] = _mm512_castps_si512(t[i]);
}

/* A chunk of R rows, transposed: line i of a tile is pair i of 16 rows. */
INLINE void unpack_half(int type, wn_rows *src, size_t n, half_block *p) {
  for (size_t h = 0; h < 2; h++, src->w += TILE_SIDE * src->stride)
    for (size_t i = 0; i < n; i += BLOCK) {
      VI high[PAIRS], low[PAIRS];
      for (size_t line = 0; line < 4; line++)
        wn_rows_prefetch(src);
      WN_UNROLL
      for (size_t r = 0; r < PAIRS; r++)
        split_row(type, src->w + r * src->stride, i, n - i, &high[r], &low[r]);
      transpose_pairs(high, p[i / BLOCK].high[h]);
      if (type == WN_TYPE_F16) transpose_pairs(low, p[i / BLOCK].low[h]);
    }
}

static void unpack_f16(int type, wn_rows *src, size_t n, void *panel) {
  (void)type;
  unpack_half(WN_TYPE_F16, src, n, panel);
}

static void unpack_bf16(int type, wn_rows *src, size_t n, void *panel) {
  (void)type;
  unpack_half(WN_TYPE_BF16, src, n, panel);
}

/* ---- many columns ------------------------------------------------------ */

/* C(g, h) += A(g) B(h): tiles 2 g + h, 4 + g and 6 + h. */
#define DOT_2X2          \
  do {                   \
    tile_dot16(0, 4, 6); \
    tile_dot16(1, 4, 7); \
    tile_dot16(2, 5, 6); \
    tile_dot16(3, 5, 7); \
  } while (0)

/* Two groups of m columns, from x[g] on and with the totals acc[g]. */
INLINE void half_groups(int type, const half_block *p, size_t n,
                        const uint8_t *const x[2], size_t ldx, size_t m,
                        const totals acc[2]) {
  const size_t from = R * sizeof(float), to = acc[0].ld * sizeof(float);
  tiles_shape(m, TILE_SIDE, 4 * PAIRS);
  if (acc[0].from == NULL) {
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
  } else {
    tile_load(0, acc[0].from, from);
    tile_load(1, acc[0].from + TILE_SIDE, from);
    tile_load(2, acc[1].from, from);
    tile_load(3, acc[1].from + TILE_SIDE, from);
  }
  for (size_t i = 0; i < n; i += BLOCK, p++) {
    tile_load(6, p->high[0], 4 * PAIRS);
    tile_load(7, p->high[1], 4 * PAIRS);
    tile_load(4, x[0] + 4 * i + 64, ldx);
    tile_load(5, x[1] + 4 * i + 64, ldx);
    DOT_2X2;
    tile_load(4, x[0] + 4 * i, ldx);
    tile_load(5, x[1] + 4 * i, ldx);
    DOT_2X2;
    if (type == WN_TYPE_BF16) continue;
    tile_load(6, p->low[0], 4 * PAIRS);
    tile_load(7, p->low[1], 4 * PAIRS);
    DOT_2X2;
  }
  tile_store(0, acc[0].to, to);
  tile_store(1, acc[0].to + TILE_SIDE, to);
  tile_store(2, acc[1].to, to);
  tile_store(3, acc[1].to + TILE_SIDE, to);
}

INLINE void multiply_half(int type, const void *panel, size_t n,
                          const uint8_t *packed, const wn_column *col, size_t k,
                          size_t n_cols, totals acc) {
  const size_t most = 2 * TILE_SIDE, ldx = col->stride;
  for (size_t c = 0; c < n_cols; c += most) {
    size_t left = n_cols - c < most ? n_cols - c : most, m = (left + 1) / 2;
    size_t second = c + left - m; /* c + m, or one less */
    const uint8_t *x[2] = {packed + c * ldx + 4 * k,
                           packed + second * ldx + 4 * k};
    totals sums[2] = {totals_after(acc, c), totals_after(acc, second)};
    half_groups(type, panel, n, x, ldx, m, sums);
  }
}

/* ---- few columns ------------------------------------------------------- */

/* What is prefetched while a chunk is split: as many lines, row after row,
 * since memory is faster so than row by row at each block. */
typedef struct half_ahead {
  const uint8_t *row;
  size_t stride, line, lines; /* of a row in the chunk */
} half_ahead;

INLINE void prefetch_line(half_ahead *a) {
  __builtin_prefetch(a->row + 64 * a->line);
  if (++a->line < a->lines) return;
  a->line = 0;
  a->row += a->stride;
}

/* Values i .. i + BLOCK of R rows, n exist, as they lie. */
INLINE void split_block(int type, const wn_rows *src, size_t i, size_t n,
                        half_ahead *ahead, half_block *out) {
  for (size_t r = 0; r < R; r++) {
    VI low = vi_zero();
    prefetch_line(ahead);
    split_row(type, src->w + r * src->stride, i, n - i,
              &out->high[r / PAIRS][r % PAIRS], &low);
    if (type == WN_TYPE_F16) out->low[r / PAIRS][r % PAIRS] = low;
  }
}

/* The sums of column j of two: tiles 2 j and 2 j + 1 for the rows' halves. */
#define COLUMN_BEGIN(t0, t1, acc)          \
  do {                                     \
    if (first) {                           \
      tile_zero(t0);                       \
      tile_zero(t1);                       \
    } else {                               \
      tile_load(t0, acc, 4);               \
      tile_load(t1, (acc) + TILE_SIDE, 4); \
    }                                      \
  } while (0)
#define COLUMN_END(t0, t1, acc)           \
  do {                                    \
    tile_store(t0, acc, 4);               \
    tile_store(t1, (acc) + TILE_SIDE, 4); \
  } while (0)
/* C(j, h) += A(h) B(j): tiles 2 j + h, 4 + h and 6 + j. */
#define COLUMN_DOTS        \
  do {                     \
    tile_dot16(0, 4, 6);   \
    tile_dot16(1, 5, 6);   \
    if (two) {             \
      tile_dot16(2, 4, 7); \
      tile_dot16(3, 5, 7); \
    }                      \
  } while (0)
#define COLUMN_LOADS(off)                        \
  do {                                           \
    tile_load(6, x + 4 * i + (off), 4);          \
    if (two) tile_load(7, y + 4 * i + (off), 4); \
  } while (0)

/* One column at x or two at x and y. The next block is split before the tiles
 * get this one, so that both go on at the same time. */
INLINE void half_columns(int type, const wn_rows *src, size_t n,
                         const uint8_t *x, const uint8_t *y, bool two,
                         float (*acc)[R], bool first) {
  half_block turn[2], *now = &turn[0], *next = &turn[1], *done;
  half_ahead ahead = {src->ahead, src->stride, 0, (n + BLOCK - 1) / BLOCK};
  tiles_shape(TILE_SIDE, 1, 4 * PAIRS);
  COLUMN_BEGIN(0, 1, acc[0]);
  if (two) COLUMN_BEGIN(2, 3, acc[1]);
  split_block(type, src, 0, n, &ahead, now);
  for (size_t i = 0; i < n; i += BLOCK) {
    if (i + BLOCK < n) split_block(type, src, i + BLOCK, n, &ahead, next);
    tile_load(4, now->high[0], 4 * PAIRS);
    tile_load(5, now->high[1], 4 * PAIRS);
    COLUMN_LOADS(64);
    COLUMN_DOTS;
    COLUMN_LOADS(0);
    COLUMN_DOTS;
    if (type == WN_TYPE_F16) {
      tile_load(4, now->low[0], 4 * PAIRS);
      tile_load(5, now->low[1], 4 * PAIRS);
      COLUMN_DOTS;
    }
    done = now, now = next, next = done;
  }
  COLUMN_END(0, 1, acc[0]);
  if (two) COLUMN_END(2, 3, acc[1]);
}

INLINE void few_half(int type, wn_rows *src, size_t n, const uint8_t *packed,
                     const wn_column *col, size_t k, size_t n_cols,
                     float (*acc)[R], bool first) {
  const uint8_t *x = packed + 4 * k;
  for (; n_cols >= 2; n_cols -= 2, acc += 2, x += 2 * col->stride)
    half_columns(type, src, n, x, x + col->stride, true, acc, first);
  if (n_cols > 0) half_columns(type, src, n, x, x, false, acc, first);
}

/* ---- the kernels of a type --------------------------------------------- */

#define HALF_KERNELS(TYPE, name)                                            \
  static void multiply_##name(const void *panel, size_t n,                  \
                              const uint8_t *packed, const wn_column *col,  \
                              size_t k, size_t n_cols, totals acc) {        \
    multiply_half(TYPE, panel, n, packed, col, k, n_cols, acc);             \
  }                                                                         \
  static void few_tiles_##name(int type, wn_rows src, size_t n,             \
                               const uint8_t *packed, const wn_column *col, \
                               size_t k, size_t n_cols, float(*acc)[R],     \
                               bool first) {                                \
    (void)type;                                                             \
    few_half(TYPE, &src, n, packed, col, k, n_cols, acc, first);            \
  }
HALF_KERNELS(WN_TYPE_F16, f16)
HALF_KERNELS(WN_TYPE_BF16, bf16)
