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

/* Scales s .. s + 3: the bytes of each lane plus `add`. */
INLINE void scales4(VI v, int add, size_t s, size_t h, qpanel *p) {
  VI a = vi_set1(add);
  SCALE(s, vi_f32(vi_add(BYTE(v, 0), a)));
  SCALE(s + 1, vi_f32(vi_add(BYTE(v, 1), a)));
  SCALE(s + 2, vi_f32(vi_add(BYTE(v, 2), a)));
  SCALE(s + 3, vi_f32(vi_add(BYTE(v, 3), a)));
}

/* Minima s .. s + 3: the bytes of each lane as two pairs of 16 bits. */
INLINE void minima4(VI v, size_t s, size_t h, qpanel *p) {
  VI low = vi_set1(255);
  MIN(s / 2, vi_or(vi_and(v, low), vi_and(vi_sll(v, 8), vi_sll(low, 16))));
  v = vi_srl(v, 16);
  MIN(s / 2 + 1, vi_or(vi_and(v, low), vi_and(vi_sll(v, 8), vi_sll(low, 16))));
}

/* d, dmin and the 6-bit scales and minima that q4_K and q5_K begin with. */
INLINE void header_q4_K(const uint8_t *w, size_t stride, size_t h, qpanel *p) {
  VI v[4], six = vi_set8(63), four = vi_set8(15), top = vi_set8(0x30);
  vi_columns4(w, stride, v);
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
  header_q4_K(w, stride, h, p);
  for (size_t i = 0; i < 8; i++) { /* 16 bytes: half of sub-blocks 2g, 2g+1 */
    VI lo[4], hi[4];
    nibbles(w + 16 + 16 * i, stride, lo, hi);
    size_t at = i / 2 * 16 + i % 2 * 4;
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) {
      U(at + j, lo[j]);
      U(at + 8 + j, hi[j]);
    }
  }
}

UNPACK(q5_K) {
  (void)n;
  header_q4_K(w, stride, h, p);
  VI qh[8], bit = vi_set8(16);
  vi_columns4(w + 16, stride, qh);
  vi_columns4(w + 32, stride, qh + 4);
  for (size_t i = 0; i < 8; i++) {
    VI lo[4], hi[4];
    nibbles(w + 48 + 16 * i, stride, lo, hi);
    size_t at = i / 2 * 16 + i % 2 * 4, m = i % 2 * 4;
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) { /* bits 0 and 1 of qh are this g's */
      VI v = qh[m + j];
      U(at + j, vi_and_or(vi_sll(v, 4), bit, lo[j]));
      U(at + 8 + j, vi_and_or(vi_sll(v, 3), bit, hi[j]));
      qh[m + j] = vi_srl(v, 2);
    }
  }
}

UNPACK(q6_K) {
  (void)n;
  VI four = vi_set8(15), top = vi_set8(0x30);
  for (size_t i = 0; i < 4; i++) { /* half i / 2, values m of 16 (i % 2) .. */
    const uint8_t *ql = w + i / 2 * 64 + i % 2 * 16;
    VI a[4], b[4], q[4];
    vi_columns4(ql, stride, a);
    vi_columns4(ql + 32, stride, b);
    vi_columns4(w + 128 + i * 16, stride, q);
    size_t at = i / 2 * 32 + i % 2 * 4;
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) {
      U(at + j, vi_and_or(vi_sll(q[j], 4), top, vi_and(a[j], four)));
      U(at + 8 + j, vi_and_or(vi_sll(q[j], 2), top, vi_and(b[j], four)));
      U(at + 16 + j, vi_and_or(q[j], top, vi_and(vi_srl(a[j], 4), four)));
      U(at + 24 + j,
        vi_and_or(vi_srl(q[j], 2), top, vi_and(vi_srl(b[j], 4), four)));
    }
  }
  VI sc[4];
  vi_columns4(w + 192, stride, sc);
  for (size_t j = 0; j < 4; j++) {
    SCALE(4 * j, vi_f32(SIGNED_BYTE(sc[j], 0)));
    SCALE(4 * j + 1, vi_f32(SIGNED_BYTE(sc[j], 1)));
    SCALE(4 * j + 2, vi_f32(SIGNED_BYTE(sc[j], 2)));
    SCALE(4 * j + 3, vi_f32(SIGNED_BYTE(sc[j], 3)));
  }
  D(vf_column_f16(w + 208, stride));
}

/* The 2-bit levels of q2_K, q3_K, tq2_0: 16 bytes number i of 4 hold values
 * m of 4 groups of 32; at(g) is where group g begins. */
#define TWO_BITS(v, g) vi_and(vi_srl(v, 2 * (g)), vi_set8(3))

INLINE void levels2(const uint8_t *qs, size_t stride, size_t h, qpanel *p) {
  for (size_t i = 0; i < 4; i++) {
    VI v[4];
    vi_columns4(qs + 16 * i, stride, v);
    size_t at = i / 2 * 32 + i % 2 * 4;
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) {
      U(at + j, TWO_BITS(v[j], 0));
      U(at + 8 + j, TWO_BITS(v[j], 1));
      U(at + 16 + j, TWO_BITS(v[j], 2));
      U(at + 24 + j, TWO_BITS(v[j], 3));
    }
  }
}

UNPACK(q2_K) {
  (void)n;
  VI v[4], four = vi_set8(15);
  levels2(w + 16, stride, h, p);
  vi_columns4(w, stride, v);
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    scales4(vi_and(v[j], four), 0, 4 * j, h, p);
    minima4(vi_and(vi_srl(v[j], 4), four), 4 * j, h, p);
  }
  VI dd = vi_column(w + 80, stride);
  D(vi_f16(dd));
  MINUS_DMIN(vi_f16(vi_srl(dd, 16)));
}

/* The scales of q3_K and d: the last 16 bytes of a block, of which the first
 * two are levels. */
INLINE void tail_q3_K(const uint8_t *w, size_t stride, size_t h, qpanel *p) {
  VI v[4], s[3], four = vi_set8(15), top = vi_set8(0x30);
  vi_columns4(w, stride, v);
  D(vi_f16(vi_srl(v[3], 16)));
  WN_UNROLL
  for (size_t j = 0; j < 3; j++)
    s[j] = vi_or(vi_srl(v[j], 16), vi_sll(v[j + 1], 16));
  VI a = vi_and_or(vi_sll(s[2], 4), top, vi_and(s[0], four));
  VI b = vi_and_or(vi_sll(s[2], 2), top, vi_and(s[1], four));
  VI c = vi_and_or(s[2], top, vi_and(vi_srl(s[0], 4), four));
  VI d = vi_and_or(vi_srl(s[2], 2), top, vi_and(vi_srl(s[1], 4), four));
  scales4(a, -32, 0, h, p);
  scales4(b, -32, 4, h, p);
  scales4(c, -32, 8, h, p);
  scales4(d, -32, 12, h, p);
}

UNPACK(q3_K) {
  (void)n;
  VI hm[8], bit = vi_set8(4);
  vi_columns4(w, stride, hm);
  vi_columns4(w + 16, stride, hm + 4);
  for (size_t i = 0; i < 4; i++) {
    VI v[4];
    vi_columns4(w + 32 + 16 * i, stride, v);
    size_t at = i / 2 * 32 + i % 2 * 4, m = i % 2 * 4;
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) { /* the lowest 4 bits are this half's */
      VI q = hm[m + j];
      U(at + j, vi_and_or(vi_sll(q, 2), bit, TWO_BITS(v[j], 0)));
      U(at + 8 + j, vi_and_or(vi_sll(q, 1), bit, TWO_BITS(v[j], 1)));
      U(at + 16 + j, vi_and_or(q, bit, TWO_BITS(v[j], 2)));
      U(at + 24 + j, vi_and_or(vi_srl(q, 1), bit, TWO_BITS(v[j], 3)));
      hm[m + j] = vi_srl(q, 4);
    }
  }
  tail_q3_K(w + 94, stride, h, p);
}

UNPACK(iq4_xs) {
  (void)n;
  VI book = code_book(wn_iq4_values, WIDE_OFFSET);
  for (size_t b = 0; b < 8; b++)
    coded(w + 8 + 16 * b, stride, book, b, h, p);
  VI head = vi_column(w, stride), low = vi_column(w + 4, stride);
  VI four = vi_set1(15), top = vi_set1(0x30), bias = vi_set1(32);
  D(vi_f16(head));
  head = vi_srl(head, 12); /* scales_h shifted left by 4 */
  for (size_t s = 0; s < 8; s++) {
    VI v = vi_and_or(head, top, vi_and(low, four));
    SCALE(s, vi_f32(vi_sub(v, bias)));
    head = vi_srl(head, 2);
    low = vi_srl(low, 4);
  }
}

INLINE void all_ones(size_t h, qpanel *p) {
  for (size_t s = 0; s < 8; s++)
    SCALE(s, vi_f32(vi_set1(1)));
}

UNPACK(tq2_0) {
  (void)n;
  levels2(w, stride, h, p);
  all_ones(h, p);
  D(vf_column_f16(w + 64, stride));
}

/* The base-3 digits of 4 bytes, the most significant first: times 3, digit
 * n comes out above bit 8. Bytes are done in 16-bit lanes, odd and even. */
INLINE VI next_digits(VI *even, VI *odd) {
  VI low = vi_set1(0x00ff00ff), three = vi_set1(0x00030003);
  VI e = vi_mul16(*even, three), o = vi_mul16(*odd, three);
  *even = vi_and(e, low);
  *odd = vi_and(o, low);
  VI digits = vi_set1(0x00030003);
  e = vi_and(vi_srl(e, 8), digits);
  return vi_or(e, vi_sll(vi_and(vi_srl(o, 8), digits), 8));
}

/* 5 (or 4) digits of 4 bytes each, `step` dwords apart. */
INLINE void digits(VI v, size_t n, size_t at, size_t step, size_t h,
                   qpanel *p) {
  VI low = vi_set1(0x00ff00ff);
  VI even = vi_and(v, low), odd = vi_and(vi_srl(v, 8), low);
  for (size_t i = 0; i < n; i++)
    U(at + i * step, next_digits(&even, &odd));
}

UNPACK(tq1_0) {
  (void)n;
  VI v[4];
  for (size_t i = 0; i < 3; i++) {
    vi_columns4(w + 16 * i, stride, v);
    for (size_t j = 0; j < 4; j++)
      if (i < 2)
        digits(v[j], 5, 4 * i + j, 8, h, p);
      else
        digits(v[j], 5, 40 + j, 4, h, p);
  }
  digits(vi_column(w + 48, stride), 4, 60, 1, h, p);
  all_ones(h, p);
  D(vf_column_f16(w + 52, stride));
}
