/* rowk.inc.h - template: rows of super-blocks of 256 values with integer
 * scales, for one column (row.inc.h). Walking a row takes the sums of its
 * sub-blocks; scales are unpacked as rows are finished, for LANES rows at
 * once, by the functions that do it for panels (panelk.inc.h). */

#define PARTS (LANES / 8) /* of 32 bytes in a vector */
#define SB_VECTORS (256 / (4 * LANES))

/* How the levels of a super-block come out of its bytes, and so where the
 * sum of a sub-block is in its square. */
typedef enum row_shape {
  NATURAL16,  /* vectors in order of values, sub-blocks of 16 */
  NIBBLES32,  /* q4_K: low and high nibbles of 32 bytes are sub-blocks */
  TWO_BITS16, /* q2_K: each 32 bytes hold 4 times two sub-blocks of 16 */
  QUARTERS32  /* iq4_xs: 16 bytes hold a sub-block */
} row_shape;

/* Where activations 4 LANES i .. of a super-block come from. */
INLINE VI shaped(row_shape shape, const uint8_t *x, size_t i) {
  if (PARTS == 1 && shape != QUARTERS32) return vi_load(x + 32 * i);
  switch (shape) {
    case NIBBLES32:
      return vi_parts(x + 128 * (i / 2) + 32 * (i % 2), 64);
    case TWO_BITS16:
      return vi_parts(x + 32 * i, 128);
    case QUARTERS32:
      return vi_quarters(x + 8 * LANES * (i / 2) + 16 * (i % 2), 32);
    default:
      return vi_load(x + 4 * LANES * i);
  }
}

INLINE void arrange_shape(row_shape shape, const uint8_t *packed, size_t k,
                          row_work *t) {
  for (size_t b = 0; b < k; b += 256) {
    WN_UNROLL
    for (size_t i = 0; i < SB_VECTORS; i++)
      vi_store(t->x + b + i * sizeof(VI), shaped(shape, packed + b, i));
  }
}

/* The lane of sub-block s in its square, of super-block i in that. */
INLINE size_t lane_of(row_shape shape, size_t i, size_t s) {
  size_t parts = LANES / 4;
  if (shape == NIBBLES32)
    return PARTS == 1 ? s : 8 * i + s / 4 * 2 + s % 2 + s / 2 % 2 * 4;
  if (shape == TWO_BITS16 && PARTS == 2)
    return 4 * (s / 8 * 2 + s % 2) + s / 2 % 4;
  if (shape == QUARTERS32) return 4 * (s % parts) + 2 * (i % PARTS) + s / parts;
  s %= LANES;
  return 4 * (s % parts) + s / parts;
}

/* The products of a super-block at p with arranged activations. */
INLINE void dots_q6_K(const uint8_t *p, const uint8_t *x, VI v[SB_VECTORS]) {
  VI four = vi_set8(15), top = vi_set8(0x30);
  size_t n = SB_VECTORS / 4; /* vectors of 64 bytes */
  WN_UNROLL
  for (size_t h = 0; h < 2; h++) {
    VI q = vi_both(p + 128 + 32 * h);
    WN_UNROLL
    for (size_t i = 0; i < n; i++) {
      VI a = vi_load(p + 64 * h + i * sizeof(VI));
      size_t lo = 2 * n * h + i, hi = lo + n;
      VI l = vi_and_or(vi_sllv(q, 4 - 2 * (int)i, 2), top, vi_and(a, four));
      VI u =
          vi_and_or(vi_srlv(q, 2 * (int)i, 2), top, vi_and(vi_srl(a, 4), four));
      v[lo] = row_dot(vi_zero(), l, x + lo * sizeof(VI), 2);
      v[hi] = row_dot(vi_zero(), u, x + hi * sizeof(VI), 2);
    }
  }
}

INLINE void dots_q4_K(const uint8_t *p, const uint8_t *x, VI v[SB_VECTORS]) {
  VI four = vi_set8(15);
  WN_UNROLL
  for (size_t i = 0; i < SB_VECTORS; i += 2) {
    VI q = vi_load(p + 16 + i / 2 * sizeof(VI));
    v[i] = row_dot(vi_zero(), vi_and(q, four), x + i * sizeof(VI), 8);
    v[i + 1] = row_dot(vi_zero(), vi_and(vi_srl(q, 4), four),
                       x + (i + 1) * sizeof(VI), 8);
  }
}

INLINE void dots_q5_K(const uint8_t *p, const uint8_t *x, VI v[SB_VECTORS]) {
  VI four = vi_set8(15), bit = vi_set8(16), qh = vi_both(p + 16);
  WN_UNROLL
  for (size_t i = 0; i < SB_VECTORS; i += 2) {
    VI q = vi_load(p + 48 + i / 2 * sizeof(VI));
    int j = (int)(i * PARTS); /* bit of the first part's low nibbles */
    VI h = j < 4 ? vi_sllv(qh, 4 - j, 2) : vi_srlv(qh, j - 4, 2);
    VI g = j < 4 ? vi_sllv(qh, 3 - j, 2) : vi_srlv(qh, j - 3, 2);
    VI lo = vi_and_or(h, bit, vi_and(q, four));
    VI hi = vi_and_or(g, bit, vi_and(vi_srl(q, 4), four));
    v[i] = row_dot(vi_zero(), lo, x + i * sizeof(VI), 4);
    v[i + 1] = row_dot(vi_zero(), hi, x + (i + 1) * sizeof(VI), 4);
  }
}

INLINE void dots_q2_K(const uint8_t *p, const uint8_t *x, VI v[SB_VECTORS]) {
  WN_UNROLL
  for (size_t i = 0; i < SB_VECTORS; i += 4) {
    VI q = vi_load(p + 16 + i / 4 * sizeof(VI));
    v[i] = row_dot(vi_zero(), TWO_BITS(q, 0), x + i * sizeof(VI), 8);
    v[i + 1] = row_dot(vi_zero(), TWO_BITS(q, 1), x + (i + 1) * sizeof(VI), 8);
    v[i + 2] = row_dot(vi_zero(), TWO_BITS(q, 2), x + (i + 2) * sizeof(VI), 8);
    v[i + 3] = row_dot(vi_zero(), TWO_BITS(q, 3), x + (i + 3) * sizeof(VI), 8);
  }
}

INLINE void dots_q3_K(const uint8_t *p, const uint8_t *x, VI v[SB_VECTORS]) {
  VI bit = vi_set8(4), hm = vi_both(p);
  WN_UNROLL
  for (size_t i = 0; i < SB_VECTORS; i += 4) {
    VI q = vi_load(p + 32 + i / 4 * sizeof(VI)), h = vi_srlv(hm, (int)i, 4);
    VI l[4] = {vi_and_or(vi_sll(h, 2), bit, TWO_BITS(q, 0)),
               vi_and_or(vi_sll(h, 1), bit, TWO_BITS(q, 1)),
               vi_and_or(h, bit, TWO_BITS(q, 2)),
               vi_and_or(vi_srl(h, 1), bit, TWO_BITS(q, 3))};
    WN_UNROLL
    for (size_t j = 0; j < 4; j++)
      v[i + j] = row_dot(vi_zero(), l[j], x + (i + j) * sizeof(VI), 8);
  }
}

INLINE void dots_iq4_xs(const uint8_t *p, const uint8_t *x, VI v[SB_VECTORS]) {
  VI four = vi_set8(15), book = code_book(wn_iq4_values, WIDE_OFFSET);
  WN_UNROLL
  for (size_t i = 0; i < SB_VECTORS / 2; i++, x += 2 * sizeof(VI)) {
    VI q = vi_load(p + 8 + i * sizeof(VI));
    VI lo = vi_shuffle(book, vi_and(q, four));
    VI hi = vi_shuffle(book, vi_and(vi_srl(q, 4), four));
    v[i] = row_dot(row_dot(vi_zero(), lo, x, 0), hi, x + sizeof(VI), 0);
  }
}

/* What a square, or a super-block, whichever is more, is made of. */
#define SUMS_OF(shape) \
  ((shape) == NATURAL16 || (shape) == TWO_BITS16 ? 16 : (size_t)8)
#define UNIT_BLOCKS(shape) (LANES > SUMS_OF(shape) ? LANES / SUMS_OF(shape) : 1)
#define UNIT_SQUARES(shape) \
  (LANES < SUMS_OF(shape) ? SUMS_OF(shape) / LANES : 1)

typedef void dots_fn(const uint8_t *p, const uint8_t *x, VI v[SB_VECTORS]);

/* LANES rows of n super-blocks into squares. */
INLINE void super_walk(dots_fn *dots, row_shape shape, const uint8_t *w,
                       size_t stride, size_t n, size_t bytes, row_work *t) {
  size_t each = UNIT_BLOCKS(shape), squares = UNIT_SQUARES(shape);
  size_t vectors = shape == QUARTERS32 ? SB_VECTORS / 2 : SB_VECTORS;
  for (size_t r = 0; r < LANES; r++, w += stride)
    for (size_t g = 0; g * each < n; g++) {
      size_t b = group_at(g, each, n);
      VI v[2 * SB_VECTORS];
      row_lines(t, SHARE(each * bytes));
      WN_UNROLL
      for (size_t i = 0; i < each; i++)
        dots(w + (b + i) * bytes, t->x + (b + i) * 256, v + i * vectors);
      WN_UNROLL
      for (size_t q = 0; q < squares; q++)
        vi_store(t->sum[(g * squares + q) * LANES + r],
                 shape == NIBBLES32 ? vi_sum8(v) : vi_sum4(v + 4 * q));
    }
}

typedef void header_fn(wn_rows *src, size_t h, qpanel *p);

/* y after super-block i of a square, x its activations. */
INLINE VF super_block(const VI *v, row_shape shape, size_t i, const qpanel *p,
                      qcols x, int offset, bool min, VF y) {
  size_t sums = SUMS_OF(shape), sub = 256 / sums;
  VF f = vf_zero(), dx = vf_set1(x.d);
  WN_UNROLL
  for (size_t s = 0; s < sums; s++) {
    size_t at = s / LANES * LANES + lane_of(shape, i, s);
    f = vf_fma(vi_f32(less_offset(v[at], x.sums, s, sub, offset)),
               vf_load(p->scale[s]), f);
  }
  y = vf_fma(f, vf_mul(vf_load(p->d), dx), y);
  if (!min) return y;
  const uint8_t *sum = sub == 32 ? x.sums32 : x.sums;
  VI m = vi_zero();
  WN_UNROLL
  for (size_t s = 0; s < sums / 2; s++)
    m = vi_dot16(m, vi_load(p->min.pair[s]), vi_bcast(sum + 4 * s));
  return vf_fma(vi_f32(m), vf_mul(vf_load(p->minus_dmin), dx), y);
}

/* y of LANES rows at w; meanwhile weights up to `to` are asked for. */
INLINE void super_finish(header_fn *header, row_shape shape, const uint8_t *w,
                         size_t stride, size_t n, size_t bytes, qcols x,
                         int offset, bool min, const uint8_t *to, row_work *t,
                         float *y) {
  size_t each = UNIT_BLOCKS(shape), squares = UNIT_SQUARES(shape);
  row_pace pace = pace_to(t, to, n);
  VF f = vf_zero();
  for (size_t g = 0; g * each < n; g++) {
    size_t b = group_at(g, each, n);
    VI v[2 * LANES];
    WN_UNROLL
    for (size_t q = 0; q < squares; q++)
      square_load(t->sum + (g * squares + q) * LANES, v + q * LANES);
    WN_UNROLL
    for (size_t i = 0; i < each; i++, b++) {
      if (b < g * each) continue;
      const uint8_t *at = w + b * bytes;
      wn_rows src = {at, stride, at, 0};
      header(&src, 0, &t->head);
      pace_step(t, &pace);
      qcols xb = {NULL, x.d + 4 * b, x.sums + 32 * b, x.sums32 + 16 * b, 0};
      f = super_block(v, shape, i, &t->head, xb, offset, min, f);
    }
  }
  vf_store(y, f);
}

#define ROWS_SUPER(ID, name, header, shape, offset, min)                    \
  static void rows_##name(const wn_mm_job *job, const uint8_t *w,           \
                          const uint8_t *packed, row_work *t, float *y) {   \
    size_t n = job->k / 256;                                                \
    super_walk(dots_##name, shape, w, job->row_bytes, n, WN_BYTES_##ID, t); \
    super_finish(header, shape, w, job->row_bytes, n, WN_BYTES_##ID,        \
                 one_column(job, packed), offset, min,                      \
                 w + LANES * job->row_bytes + LEAD(job), t, y);             \
  }
#if LANES == 16
ROWS_SUPER(Q2_K, q2_K, header_q2_K, TWO_BITS16, 0, true)
ROWS_SUPER(Q3_K, q3_K, header_q3_K, TWO_BITS16, 4, false)
#endif
ROWS_SUPER(Q4_K, q4_K, header_q4_K, NIBBLES32, 0, true)
ROWS_SUPER(Q5_K, q5_K, header_q4_K, NIBBLES32, 0, true)
ROWS_SUPER(Q6_K, q6_K, header_q6_K, NATURAL16, 32, false)
ROWS_SUPER(IQ4_XS, iq4_xs, header_iq4_xs, QUARTERS32, WIDE_OFFSET, false)

#define ARRANGE(name, shape)                                                 \
  static void arrange_##name(const uint8_t *packed, size_t k, row_work *t) { \
    arrange_shape(shape, packed, k, t);                                      \
  }
ARRANGE(natural, NATURAL16)
ARRANGE(nibbles, NIBBLES32)
#if LANES == 16
ARRANGE(two_bits, TWO_BITS16)
#endif
ARRANGE(quarters32, QUARTERS32)
