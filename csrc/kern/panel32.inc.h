/* panel32.inc.h - template: types with a float scale per block into panels.
 *
 * Each function unpacks n values of LANES rows into half `h` of the panel;
 * blocks.h draws the formats. A vector holds 4 bytes of each row; offsets are
 * from the rows' first byte. U(i, v) stores the levels of values 4 i ..
 * 4 i + 3. */

#define U(i, v) vi_store(p->u[i][h * LANES], v)
#define SCALE(i, v) vf_store(&p->scale[i][h * LANES], v)
#define UNPACK(name)                                                         \
  INLINE void name##_half(wn_rows *src, size_t n, size_t h, qpanel *p);      \
  static void unpack_##name(int type, wn_rows *src, size_t n, void *panel) { \
    (void)type;                                                              \
    name##_half(src, n, 0, panel);                                           \
    src->w += LANES * src->stride;                                           \
    name##_half(src, n, 1, panel);                                           \
  }                                                                          \
  INLINE void name##_half(wn_rows *src, size_t n, size_t h, qpanel *p)

/* The 32 nibbles of a block at 16 bytes: low halves first. */
INLINE void nibbles(wn_rows *src, size_t qs, VI lo[4], VI hi[4]) {
  VI v[4], mask = vi_set8(15);
  vi_columns4(src, qs, v);
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    lo[j] = vi_and(v[j], mask);
    hi[j] = vi_and(vi_srl(v[j], 4), mask);
  }
}

UNPACK(q4_0) {
  for (size_t b = 0; b < n / 32; b++) {
    size_t at = b * WN_BYTES_Q4_0;
    VI lo[4], hi[4];
    nibbles(src, at + 2, lo, hi);
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) {
      U(8 * b + j, lo[j]);
      U(8 * b + 4 + j, hi[j]);
    }
    SCALE(b, vf_column_f16(src, at));
  }
}

UNPACK(q4_1) {
  for (size_t b = 0; b < n / 32; b++) {
    size_t at = b * WN_BYTES_Q4_1;
    VI lo[4], hi[4], dm = vi_column(src, at);
    nibbles(src, at + 4, lo, hi);
    WN_UNROLL
    for (size_t j = 0; j < 4; j++) {
      U(8 * b + j, lo[j]);
      U(8 * b + 4 + j, hi[j]);
    }
    SCALE(b, vi_f16(dm));
    vf_store(&p->min.real[b][h * LANES], vi_f16(vi_srl(dm, 16)));
  }
}

/* For each lane the byte j of its 4 bytes, four times. */
INLINE VI repeat_byte(VI v, int j) {
  static const uint8_t four[16] = {0, 0, 0, 0, 4,  4,  4,  4,
                                   8, 8, 8, 8, 12, 12, 12, 12};
  return vi_shuffle(v, vi_add8(vi_table(four), vi_set8(j)));
}

/* Bits 4 i .. 4 i + 3 of each lane as 4 bytes, `value` or 0. */
INLINE VI spread_bits(VI v, int i, VI value) {
  VI bits = vi_set1(i % 2 ? (int32_t)0x80402010u : 0x08040201);
  return vi_if_bits(repeat_byte(v, i / 2), bits, value);
}

/* A block of q5_0 or q5_1: nibbles at qs, their fifth bits in qh. */
INLINE void levels5(wn_rows *src, size_t qs, VI qh, size_t b, size_t h,
                    qpanel *p) {
  VI lo[4], hi[4], bit = vi_set8(16);
  nibbles(src, qs, lo, hi);
  WN_UNROLL
  for (int j = 0; j < 4; j++) {
    U(8 * b + (size_t)j, vi_or(lo[j], spread_bits(qh, j, bit)));
    U(8 * b + 4 + (size_t)j, vi_or(hi[j], spread_bits(qh, 4 + j, bit)));
  }
}

UNPACK(q5_0) {
  for (size_t b = 0; b < n / 32; b++) {
    size_t at = b * WN_BYTES_Q5_0;
    levels5(src, at + 6, vi_column(src, at + 2), b, h, p);
    SCALE(b, vf_column_f16(src, at));
  }
}

UNPACK(q5_1) {
  for (size_t b = 0; b < n / 32; b++) {
    size_t at = b * WN_BYTES_Q5_1;
    VI dm = vi_column(src, at);
    levels5(src, at + 8, vi_column(src, at + 4), b, h, p);
    SCALE(b, vi_f16(dm));
    vf_store(&p->min.real[b][h * LANES], vi_f16(vi_srl(dm, 16)));
  }
}

UNPACK(q8_0) {
  VI flip = vi_set8(WIDE_OFFSET);
  for (size_t b = 0; b < n / 32; b++) {
    size_t at = b * WN_BYTES_Q8_0;
    VI v[8];
    vi_columns8(src, at + 2, v);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++)
      U(8 * b + j, vi_xor(v[j], flip));
    SCALE(b, vf_column_f16(src, at));
  }
}

/* The 16 signed values of a code book as the kernel wants them. */
INLINE VI code_book(const int8_t values[16], int offset) {
  return vi_add8(vi_table(values), vi_set8(offset));
}

/* A block of 32 nibbles at qs that index a code book. */
INLINE void coded(wn_rows *src, size_t qs, VI book, size_t b, size_t h,
                  qpanel *p) {
  VI lo[4], hi[4];
  nibbles(src, qs, lo, hi);
  WN_UNROLL
  for (size_t j = 0; j < 4; j++) {
    U(8 * b + j, vi_shuffle(book, lo[j]));
    U(8 * b + 4 + j, vi_shuffle(book, hi[j]));
  }
}

UNPACK(iq4_nl) {
  VI book = code_book(wn_iq4_values, WIDE_OFFSET);
  for (size_t b = 0; b < n / 32; b++) {
    size_t at = b * WN_BYTES_IQ4_NL;
    coded(src, at + 2, book, b, h, p);
    SCALE(b, vf_column_f16(src, at));
  }
}

/* 2^(e - 128): as bits (e - 1) << 23; the two smallest are subnormal. */
INLINE VF half_of_e8m0(VI e) {
  VI two = vi_set1(2), tiny = vi_gt(two, e);
  VI small = vi_sll(vi_add(e, vi_set1(1)), 21); /* e = 0, 1 */
  VI big = vi_sll(vi_sub(e, vi_set1(1)), 23);
  return vi_as_f32(vi_pick(tiny, small, big));
}

UNPACK(mxfp4) {
  VI book = code_book(wn_e2m1, 12);
  for (size_t b = 0; b < n / 32; b++) {
    size_t at = b * WN_BYTES_MXFP4;
    coded(src, at + 1, book, b, h, p);
    SCALE(b, half_of_e8m0(vi_column8(src, at)));
  }
}

UNPACK(nvfp4) {
  VI book = code_book(wn_e2m1, 12), mask = vi_set8(15);
  for (size_t b = 0; b < n / 64; b++) {
    size_t at = b * WN_BYTES_NVFP4;
    VI v[8];
    vi_columns8(src, at + 4, v);
    WN_UNROLL
    for (size_t j = 0; j < 8; j++) { /* 8 bytes, 16 values a group */
      size_t i = 16 * b + j / 2 * 4 + j % 2;
      U(i, vi_shuffle(book, vi_and(v[j], mask)));
      U(i + 2, vi_shuffle(book, vi_and(vi_srl(v[j], 4), mask)));
    }
    for (size_t r = 0; r < LANES; r++)
      for (size_t i = 0; i < 4; i++)
        p->scale[4 * b + i][h * LANES + r] =
            wn_half_of_e4m3(src->w[r * src->stride + at + i]);
  }
}

UNPACK(q1_0) {
  VI two = vi_set8(2); /* level 0 or 2, offset 1 */
  for (size_t b = 0; b < n / 128; b++) {
    size_t at = b * WN_BYTES_Q1_0;
    VI v[4];
    VF d = vf_column_f16(src, at);
    vi_columns4(src, at + 2, v);
    for (size_t j = 0; j < 4; j++) {
      SCALE(4 * b + j, d);
      WN_UNROLL
      for (int i = 0; i < 8; i++)
        U(32 * b + 8 * j + (size_t)i, spread_bits(v[j], i, two));
    }
  }
}

/* Byte j of each lane holds 4 levels of 2 bits; as 4 bytes. */
INLINE VI spread_pairs(VI v, int j) {
  VI r = repeat_byte(v, j);
  VI even = vi_or(vi_and(r, vi_set1(0x00000003)),
                  vi_and(vi_srl(r, 4), vi_set1(0x00030000)));
  VI odd = vi_or(vi_and(vi_srl(r, 2), vi_set1(0x00000300)),
                 vi_and(vi_srl(r, 6), vi_set1(0x03000000)));
  return vi_or(even, odd);
}

UNPACK(q2_0) {
  for (size_t b = 0; b < n / 64; b++) {
    size_t at = b * WN_BYTES_Q2_0;
    VI v[4];
    VF d = vf_column_f16(src, at);
    vi_columns4(src, at + 2, v);
    SCALE(2 * b, d);
    SCALE(2 * b + 1, d);
    WN_UNROLL
    for (int j = 0; j < 16; j++)
      U(16 * b + (size_t)j, spread_pairs(v[j / 4], j % 4));
  }
}
