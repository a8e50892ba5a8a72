/* row32.inc.h - template: rows of blocks of 32 values with float scales, for
 * one column (row.inc.h). LANES blocks of a row at a time: their sums, and
 * their scales and minima as they are, make one line of a square. */

/* acc + the products of levels with arranged activations. */
INLINE VI row_dot(VI acc, VI levels, const uint8_t *x, size_t run) {
#ifdef DOT_PLAIN
  VI size = run == 0 ? _mm256_abs_epi8(levels) : levels;
  return vi_dot16(acc, plain_pairs(levels, size, vi_load(x), run),
                  _mm256_set1_epi16(1));
#else
  (void)run;
  return vi_dot8(acc, levels, vi_load(x));
#endif
}

/* LANES blocks at a time: the halves that vi_halves takes; or, of 4 times
 * LANES / 4 blocks, low and high nibbles of the quarters. */
static void arrange_halves(const uint8_t *packed, size_t k, row_work *t) {
  size_t n = k / 32;
  uint8_t *to = t->x;
  for (size_t g = 0; g * LANES < n; g++)
    for (size_t i = 0; i < 8; i++, to += sizeof(VI))
      vi_store(to, vi_halves(packed + 32 * group_at(g, LANES, n), i, 32));
}

static void arrange_quarters(const uint8_t *packed, size_t k, row_work *t) {
  size_t n = k / 32;
  uint8_t *to = t->x;
  for (size_t g = 0; g * LANES < n; g++)
    for (size_t i = 0; i < 8; i++, to += sizeof(VI))
      vi_store(to, vi_quarters(packed + 32 * group_at(g, LANES, n) + 16 * i,
                               4 * 32));
}

/* The fifth bits of quarters: bytes `at` and at + 1 of qh, which follows
 * 16 bytes at h, spread over 16 bytes. */
INLINE VI fifth_bits(VI h, uint64_t at) {
  uint64_t pick[2] = {at * 0x0101010101010101u, (at + 1) * 0x0101010101010101u};
  uint64_t bit[2] = {0x8040201008040201u, 0x8040201008040201u};
  return vi_if_bits(vi_shuffle(h, vi_table(pick)), vi_table(bit), vi_set8(16));
}

/* Facts of the types with nibbles: where they begin, their kernel's offset and
 * run (q8.inc.h). */
INLINE size_t nibbles_at(int type) {
  return type == WN_TYPE_MXFP4  ? 1
         : type == WN_TYPE_Q4_1 ? 4
         : type == WN_TYPE_Q5_0 ? 6
         : type == WN_TYPE_Q5_1 ? 8
                                : 2;
}

/* The levels of a quarter of LANES blocks at p, `bytes` each. */
INLINE void quarter_levels(int type, const uint8_t *p, size_t bytes, VI *lo,
                           VI *hi) {
  VI q = vi_quarters(p + nibbles_at(type), 4 * bytes), four = vi_set8(15);
  *lo = vi_and(q, four);
  *hi = vi_and(vi_srl(q, 4), four);
  if (type == WN_TYPE_IQ4_NL || type == WN_TYPE_MXFP4) {
    VI book = type == WN_TYPE_MXFP4 ? code_book(wn_e2m1, 12)
                                    : code_book(wn_iq4_values, WIDE_OFFSET);
    *lo = vi_shuffle(book, *lo);
    *hi = vi_shuffle(book, *hi);
  } else if (type == WN_TYPE_Q5_0 || type == WN_TYPE_Q5_1) {
    VI h = vi_quarters(p + nibbles_at(type) - 4, 4 * bytes);
    *lo = vi_or(*lo, fifth_bits(h, 0));
    *hi = vi_or(*hi, fifth_bits(h, 2));
  }
}

/* The sums of LANES blocks at p. */
INLINE VI block_sums(int type, const uint8_t *p, size_t bytes, const uint8_t *x,
                     size_t run) {
  VI v[8];
  if (type == WN_TYPE_Q8_0) {
    WN_UNROLL
    for (size_t i = 0; i < 8; i++)
      v[i] = row_dot(vi_zero(),
                     vi_xor(vi_halves(p + 2, i, bytes), vi_set8(WIDE_OFFSET)),
                     x + i * sizeof(VI), run);
    return vi_sum8(v);
  }
  WN_UNROLL
  for (size_t i = 0; i < 4; i++) {
    VI lo, hi;
    quarter_levels(type, p + i * bytes, bytes, &lo, &hi);
    v[i] = row_dot(vi_zero(), lo, x + 2 * i * sizeof(VI), run);
    v[i] = row_dot(v[i], hi, x + (2 * i + 1) * sizeof(VI), run);
  }
  return vi_sum4(v);
}

/* LANES rows of n blocks into squares of sums and scales. */
INLINE void blocks_walk(int type, const uint8_t *w, size_t stride, size_t n,
                        size_t bytes, bool min, size_t run, row_work *t) {
  for (size_t r = 0; r < LANES; r++, w += stride)
    for (size_t g = 0; g * LANES < n; g++) {
      const uint8_t *p = w + group_at(g, LANES, n) * bytes;
      row_lines(t, SHARE(LANES * bytes));
      vi_store(t->sum32[g * LANES + r],
               block_sums(type, p, bytes, t->x + g * 8 * sizeof(VI), run));
      if (type == WN_TYPE_MXFP4)
        vi_bytes17(p, t->d[g * LANES + r]);
      else
        vi_words(p, bytes, t->d[g * LANES + r]);
      if (min) vi_words(p + 2, bytes, t->m[g * LANES + r]);
    }
}

/* Scales or minima of LANES blocks, times the activations' numbers at x, lanes
 * become rows. */
INLINE void block_scales(int type, const words_of *d, const uint8_t *x,
                         VF s[LANES]) {
  VF b = vf_load(x);
  WN_UNROLL
  for (size_t r = 0; r < LANES; r++)
    s[r] = vf_mul(
        type == WN_TYPE_MXFP4 ? half_of_e8m0(vi_words32(d[r])) : vf_f16(d[r]),
        b);
  vf_transpose(s);
}

/* y after LANES blocks but the first `skip`, blocks x.. of the column. */
INLINE VF blocks_square(int type, const row_work *t, size_t square, qcols x,
                        size_t skip, int offset, bool min, VF y) {
  VI v[LANES];
  VF s[LANES], m[LANES];
  square_load(t->sum32 + square, v);
  block_scales(type, t->d + square, x.d, s);
  if (min) WN_UNROLL
  for (size_t r = 0; r < LANES; r++)
    m[r] = vf_f16(t->m[square + r]);
  if (min) vf_transpose(m);
  for (size_t i = skip; i < LANES; i++) {
    VF sum = vi_f32(less_offset(v[i], x.sums, i, 32, offset));
    y = vf_fma(sum, s[i], y);
    if (min) y = vf_fma(m[i], vf_set1(x.sums32 + 4 * i), y);
  }
  return y;
}

/* y of LANES rows; meanwhile weights up to `to` are asked for. */
INLINE void blocks_finish(int type, row_work *t, size_t n, qcols x, int offset,
                          bool min, const uint8_t *to, float *y) {
  row_pace pace = pace_to(t, to, (n + LANES - 1) / LANES);
  VF f = vf_zero();
  for (size_t g = 0; g * LANES < n; g++) {
    size_t b = group_at(g, LANES, n), skip = g * LANES - b;
    qcols at = {NULL, x.d + 4 * b, x.sums + 4 * b, x.sums32 + 4 * b, 0};
    if (skip == 0)
      f = blocks_square(type, t, g * LANES, at, 0, offset, min, f);
    else
      f = blocks_square(type, t, g * LANES, at, skip, offset, min, f);
    pace_step(t, &pace);
  }
  vf_store(y, f);
}

INLINE qcols one_column(const wn_mm_job *job, const uint8_t *packed) {
  const wn_column *c = &job->col;
  return (qcols){packed, packed + c->d, packed + c->sums, packed + c->sums32,
                 0};
}

#define ROWS_BLOCKS(ID, name, offset, min, run)                              \
  static void rows_##name(const wn_mm_job *job, const uint8_t *w,            \
                          const uint8_t *packed, row_work *t, float *y) {    \
    size_t n = job->k / 32;                                                  \
    blocks_walk(WN_TYPE_##ID, w, job->row_bytes, n, WN_BYTES_##ID, min, run, \
                t);                                                          \
    blocks_finish(WN_TYPE_##ID, t, n, one_column(job, packed), offset, min,  \
                  w + LANES * job->row_bytes + LEAD(job), y);                \
  }
ROWS_BLOCKS(Q8_0, q8_0, WIDE_OFFSET, false, 0)
ROWS_BLOCKS(Q4_0, q4_0, 8, false, 8)
ROWS_BLOCKS(Q4_1, q4_1, 0, true, 8)
ROWS_BLOCKS(Q5_0, q5_0, 16, false, 4)
ROWS_BLOCKS(Q5_1, q5_1, 0, true, 4)
ROWS_BLOCKS(IQ4_NL, iq4_nl, WIDE_OFFSET, false, 0)
ROWS_BLOCKS(MXFP4, mxfp4, 12, false, 4)
