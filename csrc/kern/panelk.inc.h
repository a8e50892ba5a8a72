/* panelk.inc.h - template: super-blocks of 256 values with integer sub-block
 * scales into panels. See panel32.inc.h for the conventions and blocks.h for
 * the formats. Always one super-block (n = 256). */

#define MIN(i, v) vi_store(p->min.pair[i][h * LANES], v)
#define D(v) vf_store(p->d + h * LANES, v)
#define MINUS_DMIN(v) \
  vf_store(p->minus_dmin + h * LANES, vf_mul(v, vi_f32(vi_set1(-1))))

/* Byte i of each lane, unsigned or signed. */
#define BYTE(v, i) vi_and(vi_srl(v, 8 * (i)), vi_set1(255))
#define SIGNED_BYTE(v, i) vi_sra(vi_sll(v, 24 - 8 * (i)), 24)

/* Scales i .. i + 3: the bytes of each lane plus `add`. */
INLINE void scales4(VI v, int add, size_t i, size_t h, qpanel *p) {
  VI a = vi_set1(add);
  SCALE(i, vi_f32(vi_add(BYTE(v, 0), a)));
  SCALE(i + 1, vi_f32(vi_add(BYTE(v, 1), a)));
  SCALE(i + 2, vi_f32(vi_add(BYTE(v, 2), a)));
  SCALE(i + 3, vi_f32(vi_add(BYTE(v, 3), a)));
}

/* Minima i .. i + 3: the bytes of each lane as two pairs of 16 bits. */
INLINE void minima4(VI v, size_t i, size_t h, qpanel *p) {
  VI low = vi_set1(255), high = vi_set1(255 << 16);
  MIN(i / 2, vi_and_or(vi_sll(v, 8), high, vi_and(v, low)));
  v = vi_srl(v, 16);
  MIN(i / 2 + 1, vi_and_or(vi_sll(v, 8), high, vi_and(v, low)));
}

/* d, dmin and the 6-bit scales and minima that q4_K and q5_K begin with. */
INLINE void header_q4_K(wn_rows *src, size_t h, qpanel *p) {
  VI v[4], six = vi_set8(63), four = vi_set8(15), top = vi_set8(0x30);
  vi_columns4(src, 0, v);
  D(vi_f16(v[0]));
  MINUS_DMIN(vi_f16(vi_srl(v[0], 16)));
  scales4(vi_and(v[1], six), 0, 0, h, p);
  minima4(vi_and(v[2], six), 0, h, p);
  VI sc = vi_and_or(vi_srl(v[1], 2), top, vi_and(v[3], four));
  VI mn = vi_and_or(vi_srl(v[2], 2), top, vi_and(vi_srl(v[3], 4), four));
  scales4(sc, 0, 4, h, p);
  minima4(mn, 4, h, p);
}

UNPACK(q4_K) {
  (void)n;
  VI four = vi_set8(15);
  header_q4_K(src, h, p);
  for (size_t g = 0; g < 4; g++) { /* sub-blocks 2 g and 2 g + 1 */
    VI v[8];
    vi_columns8(src, 16 + 32 * g, v);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++) {
      U(16 * g + j, vi_and(v[j], four));
      U(16 * g + 8 + j, vi_and(vi_srl(v[j], 4), four));
    }
  }
}

UNPACK(q5_K) {
  (void)n;
  VI qh[8], bit = vi_set8(16), four = vi_set8(15);
  header_q4_K(src, h, p);
  vi_columns8(src, 16, qh);
  for (size_t g = 0; g < 4; g++) {
    VI v[8];
    vi_columns8(src, 48 + 32 * g, v);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++) { /* bits 0 and 1 of qh are this g's */
      VI q = qh[j];
      U(16 * g + j, vi_and_or(vi_sll(q, 4), bit, vi_and(v[j], four)));
      U(16 * g + 8 + j,
        vi_and_or(vi_sll(q, 3), bit, vi_and(vi_srl(v[j], 4), four)));
      qh[j] = vi_srl(q, 2);
    }
  }
}

/* d and the scales of q6_K. */
INLINE void header_q6_K(wn_rows *src, size_t h, qpanel *p) {
  VI sc[4];
  vi_columns4(src, 192, sc);
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    SCALE(4 * j, vi_f32(SIGNED_BYTE(sc[j], 0)));
    SCALE(4 * j + 1, vi_f32(SIGNED_BYTE(sc[j], 1)));
    SCALE(4 * j + 2, vi_f32(SIGNED_BYTE(sc[j], 2)));
    SCALE(4 * j + 3, vi_f32(SIGNED_BYTE(sc[j], 3)));
  }
  D(vf_column_f16(src, 208));
}

UNPACK(q6_K) {
  (void)n;
  VI four = vi_set8(15), top = vi_set8(0x30);
  for (size_t i = 0; i < 2; i++) { /* halves of 128 values */
    VI a[8], b[8], q[8];
    vi_columns8(src, 64 * i, a);
    vi_columns8(src, 64 * i + 32, b);
    vi_columns8(src, 128 + 32 * i, q);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++) {
      size_t at = 32 * i + j;
      U(at, vi_and_or(vi_sll(q[j], 4), top, vi_and(a[j], four)));
      U(at + 8, vi_and_or(vi_sll(q[j], 2), top, vi_and(b[j], four)));
      U(at + 16, vi_and_or(q[j], top, vi_and(vi_srl(a[j], 4), four)));
      U(at + 24,
        vi_and_or(vi_srl(q[j], 2), top, vi_and(vi_srl(b[j], 4), four)));
    }
  }
  header_q6_K(src, h, p);
}

/* The 2-bit levels of q2_K and tq2_0: 64 bytes, half i of 128 values in 32
 * of them, group g of 32 values in bits 2 g, 2 g + 1. */
#define TWO_BITS(v, g) vi_and(vi_srl(v, 2 * (g)), vi_set8(3))

INLINE void levels2(wn_rows *src, size_t qs, size_t h, qpanel *p) {
  for (size_t i = 0; i < 2; i++) {
    VI v[8];
    vi_columns8(src, qs + 32 * i, v);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++) {
      size_t at = 32 * i + j;
      U(at, TWO_BITS(v[j], 0));
      U(at + 8, TWO_BITS(v[j], 1));
      U(at + 16, TWO_BITS(v[j], 2));
      U(at + 24, TWO_BITS(v[j], 3));
    }
  }
}

#ifdef FUSED
/* The levels of values 16 s .. 16 s + 15, as stored, to level * scale; with an
 * offset to (level - 4) * scale + offset. All results fit a byte. */
INLINE void fuse(VI scale, int offset, size_t s, size_t h, qpanel *p) {
  VI low = vi_set1(0x00ff00ff), high = vi_set1((int32_t)0xff00ff00);
  VI two = vi_and(scale, vi_set1(0xffff)), add = vi_zero();
  if (offset > 0)
    add = repeat_byte(vi_sub(vi_set1(offset), vi_sll(scale, 2)), 0);
  two = vi_or(two, vi_sll(two, 16));
  WN_UNROLL
  for (size_t i = 4 * s; i < 4 * s + 4; i++) {
    VI v = vi_load(p->u[i][h * LANES]);
    VI even = vi_mul16(vi_and(v, low), two);
    VI odd = vi_mul16(vi_and(v, high), two);
    U(i, vi_add8(vi_and_or(even, low, odd), add));
  }
}

/* Scales s .. s + 3, the bytes of each lane plus `add`, into the levels. */
INLINE void fuse4(VI v, int add, int offset, size_t s, size_t h, qpanel *p) {
  VI a = vi_set1(add);
  fuse(vi_add(BYTE(v, 0), a), offset, s, h, p);
  fuse(vi_add(BYTE(v, 1), a), offset, s + 1, h, p);
  fuse(vi_add(BYTE(v, 2), a), offset, s + 2, h, p);
  fuse(vi_add(BYTE(v, 3), a), offset, s + 3, h, p);
}
#else
#define fuse4(v, add, offset, s, h, p) (void)0
#endif

/* d, dmin, scales and minima of q2_K; `fused`: the scales into the levels. */
INLINE void any_header_q2_K(wn_rows *src, bool fused, size_t h, qpanel *p) {
  VI v[4], four = vi_set8(15), dd = vi_column(src, 80);
  vi_columns4(src, 0, v);
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    VI scale = vi_and(v[j], four);
    if (fused)
      fuse4(scale, 0, 0, 4 * j, h, p);
    else
      scales4(scale, 0, 4 * j, h, p);
    minima4(vi_and(vi_srl(v[j], 4), four), 4 * j, h, p);
  }
  D(vi_f16(dd));
  MINUS_DMIN(vi_f16(vi_srl(dd, 16)));
}

INLINE void header_q2_K(wn_rows *src, size_t h, qpanel *p) {
  any_header_q2_K(src, false, h, p);
}

UNPACK(q2_K) {
  (void)n;
  levels2(src, 16, h, p);
  header_q2_K(src, h, p);
}

/* d and the scales of q3_K: the last 16 bytes of a block, of which the first
 * two are levels. */
INLINE void any_header_q3_K(wn_rows *src, bool fused, size_t h, qpanel *p) {
  VI v[4], t[3], x[4], four = vi_set8(15), top = vi_set8(0x30);
  vi_columns4(src, 94, v);
  D(vi_f16(vi_srl(v[3], 16)));
  WN_UNROLL
  for (size_t j = 0; j < 3; j++)
    t[j] = vi_or(vi_srl(v[j], 16), vi_sll(v[j + 1], 16));
  x[0] = vi_and_or(vi_sll(t[2], 4), top, vi_and(t[0], four));
  x[1] = vi_and_or(vi_sll(t[2], 2), top, vi_and(t[1], four));
  x[2] = vi_and_or(t[2], top, vi_and(vi_srl(t[0], 4), four));
  x[3] = vi_and_or(vi_srl(t[2], 2), top, vi_and(vi_srl(t[1], 4), four));
  WN_UNROLL
  for (size_t j = 0; j < 4; j++)
    if (fused)
      fuse4(x[j], -32, Q3_OFFSET, 4 * j, h, p);
    else
      scales4(x[j], -32, 4 * j, h, p);
}

INLINE void header_q3_K(wn_rows *src, size_t h, qpanel *p) {
  any_header_q3_K(src, false, h, p);
}

INLINE void any_q3_K(wn_rows *src, bool fused, size_t h, qpanel *p) {
  VI hm[8], bit = vi_set8(4);
  vi_columns8(src, 0, hm);
  for (size_t i = 0; i < 2; i++) {
    VI v[8];
    vi_columns8(src, 32 + 32 * i, v);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++) { /* the lowest 4 bits are this half's */
      VI q = hm[j];
      size_t at = 32 * i + j;
      U(at, vi_and_or(vi_sll(q, 2), bit, TWO_BITS(v[j], 0)));
      U(at + 8, vi_and_or(vi_sll(q, 1), bit, TWO_BITS(v[j], 1)));
      U(at + 16, vi_and_or(q, bit, TWO_BITS(v[j], 2)));
      U(at + 24, vi_and_or(vi_srl(q, 1), bit, TWO_BITS(v[j], 3)));
      hm[j] = vi_srl(q, 4);
    }
  }
  any_header_q3_K(src, fused, h, p);
}

UNPACK(q3_K) {
  (void)n;
  any_q3_K(src, false, h, p);
}

#ifdef FUSED
UNPACK(q2_K_fused) {
  (void)n;
  levels2(src, 16, h, p);
  any_header_q2_K(src, true, h, p);
}
UNPACK(q3_K_fused) {
  (void)n;
  any_q3_K(src, true, h, p);
}
#endif

/* d and the scales of iq4_xs. */
INLINE void header_iq4_xs(wn_rows *src, size_t h, qpanel *p) {
  VI head = vi_column(src, 0), low = vi_column(src, 4);
  VI four = vi_set1(15), top = vi_set1(0x30), bias = vi_set1(32);
  D(vi_f16(head));
  head = vi_srl(head, 12); /* scales_h shifted left by 4 */
  WN_UNROLL
  for (size_t i = 0; i < 8; i++) {
    VI v = vi_and_or(head, top, vi_and(low, four));
    SCALE(i, vi_f32(vi_sub(v, bias)));
    head = vi_srl(head, 2);
    low = vi_srl(low, 4);
  }
}

UNPACK(iq4_xs) {
  (void)n;
  VI book = code_book(wn_iq4_values, WIDE_OFFSET), four8 = vi_set8(15);
  for (size_t g = 0; g < 4; g++) { /* sub-blocks 2 g and 2 g + 1 */
    VI v[8];
    vi_columns8(src, 8 + 32 * g, v);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++) {
      size_t at = 16 * g + j / 4 * 8 + j % 4;
      U(at, vi_shuffle(book, vi_and(v[j], four8)));
      U(at + 4, vi_shuffle(book, vi_and(vi_srl(v[j], 4), four8)));
    }
  }
  header_iq4_xs(src, h, p);
}

INLINE void all_ones(size_t h, qpanel *p) {
  for (size_t i = 0; i < 8; i++)
    SCALE(i, vi_f32(vi_set1(1)));
}

UNPACK(tq2_0) {
  (void)n;
  levels2(src, 0, h, p);
  all_ones(h, p);
  D(vf_column_f16(src, 64));
}

/* The next base-3 digit of 4 bytes: times 3, it comes out above bit 8. Bytes
 * are done in 16-bit lanes, odd and even. */
INLINE VI next_digits(VI *even, VI *odd) {
  VI low = vi_set1(0x00ff00ff), three = vi_set1(0x00030003);
  VI e = vi_mul16(*even, three), o = vi_mul16(*odd, three);
  *even = vi_and(e, low);
  *odd = vi_and(o, low);
  return vi_or(vi_and(vi_srl(e, 8), three), vi_and(o, vi_sll(three, 8)));
}

/* n digits of 4 bytes each; values begin at `at` and then every `step`. */
INLINE void digits(VI v, size_t n, size_t at, size_t step, size_t h,
                   qpanel *p) {
  VI low = vi_set1(0x00ff00ff);
  VI even = vi_and(v, low), odd = vi_and(vi_srl(v, 8), low);
  for (size_t i = 0; i < n; i++)
    U(at + i * step, next_digits(&even, &odd));
}

UNPACK(tq1_0) {
  (void)n;
  for (size_t i = 0; i < 3; i++) {
    VI v[4];
    vi_columns4(src, 16 * i, v);
    for (size_t j = 0; j < 4; j++)
      if (i < 2)
        digits(v[j], 5, 4 * i + j, 8, h, p);
      else
        digits(v[j], 5, 40 + j, 4, h, p);
  }
  digits(vi_column(src, 48), 4, 60, 1, h, p);
  all_ones(h, p);
  D(vf_column_f16(src, 52));
}
