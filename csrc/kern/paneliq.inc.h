/* paneliq.inc.h - template: the i-quants with grids into panels. See
 * panel32.inc.h and panelk.inc.h for the conventions, blocks.h for the
 * formats. ib counts groups of 32 values.
 *
 * A dword of a row holds 4 grid indices of 8 bits (one ib, in the 2-bit
 * types). They are looked up two at a time, as the 16-bit halves of a lane:
 * first bytes 0 and 2 (even), then 1 and 3 (odd); `high` holds the bits above
 * the eighth for both, already in place. */

/* For each lane's 4 groups of 8 values: out[2 k], out[2 k + 1] = the points of
 * group k. G: name of the grid. */
#define POINTS8(G, index, high_even, high_odd, out)                          \
  do {                                                                       \
    VI low_ = vi_set1(0x00ff00ff), t_[4];                                    \
    vi_points8(wn_keys_##G, wn_##G##_points, sizeof wn_keys_##G / 2,         \
               LEVELS_##G, vi_and_or(index, low_, high_even), t_);           \
    (out)[0] = t_[0], (out)[1] = t_[1], (out)[4] = t_[2], (out)[5] = t_[3];  \
    vi_points8(wn_keys_##G, wn_##G##_points, sizeof wn_keys_##G / 2,         \
               LEVELS_##G, vi_and_or(vi_srl(index, 8), low_, high_odd), t_); \
    (out)[2] = t_[0], (out)[3] = t_[1], (out)[6] = t_[2], (out)[7] = t_[3];  \
  } while (0)

/* For each lane's 4 groups of 4 values: out[k] = the points of group k. */
#define POINTS4(G, index, high_even, high_odd, out)                          \
  do {                                                                       \
    VI low_ = vi_set1(0x00ff00ff), t_[2];                                    \
    vi_points4(wn_keys_##G, wn_##G##_points, sizeof wn_keys_##G / 2,         \
               LEVELS_##G, vi_and_or(index, low_, high_even), t_);           \
    (out)[0] = t_[0], (out)[2] = t_[1];                                      \
    vi_points4(wn_keys_##G, wn_##G##_points, sizeof wn_keys_##G / 2,         \
               LEVELS_##G, vi_and_or(vi_srl(index, 8), low_, high_odd), t_); \
    (out)[1] = t_[0], (out)[3] = t_[1];                                      \
  } while (0)

/* The bytes of the levels, lowest first. */
#define LEVELS_iq1 0x000100ff000100ff
#define LEVELS_iq2_xxs 0x002b1908002b1908
#define LEVELS_iq2_xs LEVELS_iq2_xxs
#define LEVELS_iq2_s LEVELS_iq2_xxs
#define LEVELS_iq3_xxs 0x3e342c241c140c04
#define LEVELS_iq3_s 0x0f0d0b0907050301

/* 7 bits in each byte -> 8: the highest makes the number of ones even. */
INLINE VI even_signs(VI v) {
  static const uint8_t odd[16] = {0,   128, 128, 0,   128, 0,   0,   128,
                                  128, 0,   0,   128, 0,   128, 128, 0};
  VI fold = vi_and(vi_xor(v, vi_srl(v, 4)), vi_set8(15));
  return vi_or(v, vi_shuffle(vi_table(odd), fold));
}

/* The four 7-bit fields in bits 0..27 as bytes. */
INLINE VI four_sevens(VI v) {
  VI a = vi_and(v, vi_set1(0x7f)), b = vi_sll(v, 1), c = vi_sll(v, 2);
  a = vi_and_or(b, vi_set1(0x7f00), a);
  a = vi_and_or(c, vi_set1(0x7f0000), a);
  return vi_and_or(vi_sll(v, 3), vi_set1(0x7f000000), a);
}

/* Stores the 32 values of ib, point bytes v[0..7] with signs (byte k: values
 * 8 k .. 8 k + 7), as unsigned levels around `offset`. */
INLINE void store_signed(VI v[8], VI signs, int offset, size_t ib, size_t h,
                         qpanel *p) {
  VI low = vi_set1(0x08040201), high = vi_set1((int32_t)0x80402010u);
  WN_UNROLL
  for (int k = 0; k < 4; k++) {
    VI s = repeat_byte(signs, k);
    U(8 * ib + 2 * (size_t)k, vi_around(v[2 * k], s, low, offset));
    U(8 * ib + 2 * (size_t)k + 1, vi_around(v[2 * k + 1], s, high, offset));
  }
}

/* 2 x + 1 of bits of v, as float scale i. */
#define ODD_SCALE(i, v, shift, mask) \
  SCALE(i, vi_f32(vi_add(vi_set1(1), \
                         vi_and(vi_srl(v, shift), vi_set1((mask) << 1)))))

/* d times a power of two. */
#define D_TIMES(v, f) D(vf_mul(v, vf_all(f)))

UNPACK(iq2_xxs) {
  (void)n;
  VI v[16], zero = vi_zero();
  vi_columns8(src, 2, v);
  vi_columns8(src, 34, v + 8);
  for (size_t ib = 0; ib < 8; ib++) {
    VI t[8], word = v[2 * ib + 1];
    POINTS8(iq2_xxs, v[2 * ib], zero, zero, t);
    store_signed(t, even_signs(four_sevens(word)), 43, ib, h, p);
    ODD_SCALE(ib, word, 27, 15);
  }
  D_TIMES(vf_column_f16(src, 0), 0.125f);
}

/* 16 scales of 4 bits, 8 of them in each of two columns. */
INLINE void nibble_scales(VI a, VI b, size_t h, qpanel *p) {
  for (size_t i = 0; i < 2; i++) {
    VI v = vi_sll(i == 0 ? a : b, 1), mask = vi_set1(30), one = vi_set1(1);
    SCALE(8 * i, vi_f32(vi_and_or(v, mask, one)));
    for (size_t j = 1; j < 8; j++) {
      v = j == 1 ? vi_srl(i == 0 ? a : b, 3) : vi_srl(v, 4);
      SCALE(8 * i + j, vi_f32(vi_and_or(v, mask, one)));
    }
  }
}

UNPACK(iq2_xs) {
  (void)n;
  VI v[16], nine = vi_set1(0x01ff01ff), seven = vi_set1(0x007f007f);
  vi_columns8(src, 2, v);
  vi_columns8(src, 34, v + 8);
  for (size_t ib = 0; ib < 8; ib++) { /* two dwords of two groups each */
    VI t[8], a = v[2 * ib], b = v[2 * ib + 1];
    vi_points8(wn_keys_iq2_xs, wn_iq2_xs_points, 512, LEVELS_iq2_xs,
               vi_and(a, nine), t);
    vi_points8(wn_keys_iq2_xs, wn_iq2_xs_points, 512, LEVELS_iq2_xs,
               vi_and(b, nine), t + 4);
    a = vi_and(vi_srl(a, 9), seven);
    b = vi_and(vi_srl(b, 9), seven);
    store_signed(t, even_signs(vi_pack16(a, b)), 43, ib, h, p);
  }
  nibble_scales(vi_column(src, 66), vi_column(src, 70), h, p);
  D_TIMES(vf_column_f16(src, 0), 0.125f);
}

UNPACK(iq2_s) {
  (void)n;
  VI v[8], sign[8], qh[2] = {vi_column(src, 66), vi_column(src, 70)};
  VI lo = vi_set1(0x300), hi = vi_set1(0x03000000);
  vi_columns8(src, 2, v);
  vi_columns8(src, 34, sign);
  for (size_t ib = 0; ib < 8; ib++) {
    VI t[8], q = qh[ib / 4];
    qh[ib / 4] = vi_srl(q, 8);
    VI even = vi_and_or(vi_sll(q, 8), lo, vi_and(vi_sll(q, 20), hi));
    VI odd = vi_and_or(vi_sll(q, 6), lo, vi_and(vi_sll(q, 18), hi));
    POINTS8(iq2_s, v[ib], even, odd, t);
    store_signed(t, sign[ib], 43, ib, h, p);
  }
  nibble_scales(vi_column(src, 74), vi_column(src, 78), h, p);
  D_TIMES(vf_column_f16(src, 0), 0.125f);
}

UNPACK(iq3_xxs) {
  (void)n;
  VI v[16], word[8], zero = vi_zero();
  vi_columns8(src, 2, v);
  vi_columns8(src, 34, v + 8);
  vi_columns8(src, 66, word);
  for (size_t ib = 0; ib < 8; ib++) {
    VI t[8];
    POINTS4(iq3_xxs, v[2 * ib], zero, zero, t);
    POINTS4(iq3_xxs, v[2 * ib + 1], zero, zero, t + 4);
    store_signed(t, even_signs(four_sevens(word[ib])), 62, ib, h, p);
    ODD_SCALE(ib, word[ib], 27, 15);
  }
  D_TIMES(vf_column_f16(src, 0), 0.25f);
}

UNPACK(iq3_s) {
  (void)n;
  VI v[16], sign[8], qh[2] = {vi_column(src, 66), vi_column(src, 70)};
  VI lo = vi_set1(0x100), hi = vi_set1(0x01000000);
  VI level = vi_column(src, 106), mask = vi_set1(15);
  vi_columns8(src, 2, v);
  vi_columns8(src, 34, v + 8);
  vi_columns8(src, 74, sign);
  for (size_t ib = 0; ib < 8; ib++) {
    VI t[8], q = qh[ib / 4];
    qh[ib / 4] = vi_srl(q, 8);
    for (size_t i = 0; i < 2; i++, q = vi_srl(q, 4)) {
      VI even = vi_and_or(vi_sll(q, 8), lo, vi_and(vi_sll(q, 22), hi));
      VI odd = vi_and_or(vi_sll(q, 7), lo, vi_and(vi_sll(q, 21), hi));
      POINTS4(iq3_s, v[2 * ib + i], even, odd, t + 4 * i);
    }
    store_signed(t, sign[ib], 15, ib, h, p);
    VI x = vi_and(level, mask);
    SCALE(ib, vi_f32(vi_add(vi_add(x, x), vi_set1(1))));
    level = vi_srl(level, 4);
  }
  D(vf_column_f16(src, 0));
}

/* Stores 8 values of iq1: 8 * (-1, 0, 1) and +1, or -1 in lanes where `minus`
 * is all ones, around 9. */
INLINE void store_shifted(VI a, VI b, VI minus, size_t i, size_t h, qpanel *p) {
  VI top = vi_set8(0xf8);
  VI base = vi_sub8(vi_set8(10), vi_and(minus, vi_set8(2)));
  U(i, vi_add8(vi_and(vi_sll(a, 3), top), base));
  U(i + 1, vi_add8(vi_and(vi_sll(b, 3), top), base));
}

UNPACK(iq1_s) {
  (void)n;
  VI v[8], qh[4], lo = vi_set1(0x700), hi = vi_set1(0x07000000);
  vi_columns8(src, 2, v);
  vi_columns4(src, 34, qh);
  for (size_t ib = 0; ib < 8; ib++) {
    VI t[8], q = qh[ib / 2];
    qh[ib / 2] = vi_srl(q, 16);
    VI even = vi_and_or(vi_sll(q, 8), lo, vi_and(vi_sll(q, 18), hi));
    VI odd = vi_and_or(vi_sll(q, 5), lo, vi_and(vi_sll(q, 15), hi));
    POINTS8(iq1, v[ib], even, odd, t);
    VI minus = vi_sra(vi_sll(q, 16), 31);
    for (size_t k = 0; k < 4; k++)
      store_shifted(t[2 * k], t[2 * k + 1], minus, 8 * ib + 2 * k, h, p);
    ODD_SCALE(ib, q, 11, 7);
  }
  D_TIMES(vf_column_f16(src, 0), 0.125f);
}

/* The scales of iq1_m: 3 bits each, 4 to a 16-bit word, whose top bits are
 * together d. */
INLINE void tail_iq1_m(wn_rows *src, size_t h, qpanel *p) {
  VI a = vi_column(src, 48), b = vi_column(src, 52);
  VI d = vi_and(vi_srl(a, 12), vi_set1(0xf));
  d = vi_and_or(vi_srl(a, 24), vi_set1(0xf0), d);
  d = vi_and_or(vi_srl(b, 4), vi_set1(0xf00), d);
  d = vi_and_or(vi_srl(b, 16), vi_set1(0xf000), d);
  D_TIMES(vi_f16(d), 0.125f);
  VI mask = vi_set1(7), one = vi_set1(1);
  for (size_t i = 0; i < 16; i++) {
    VI word = i < 8 ? a : b, x;
    if (i % 8 >= 4) word = vi_srl(word, 16);
    x = i % 4 == 0   ? word
        : i % 4 == 1 ? vi_srl(word, 3)
        : i % 4 == 2 ? vi_srl(word, 6)
                     : vi_srl(word, 9);
    x = vi_and(x, mask);
    SCALE(i, vi_f32(vi_add(vi_add(x, x), one)));
  }
}

UNPACK(iq1_m) {
  (void)n;
  VI v[8], qh[4], lo = vi_set1(0x700), hi = vi_set1(0x07000000);
  vi_columns8(src, 0, v);
  vi_columns4(src, 32, qh);
  for (size_t ib = 0; ib < 8; ib++) {
    VI t[8], q = qh[ib / 2];
    qh[ib / 2] = vi_srl(q, 16);
    VI even = vi_and_or(vi_sll(q, 8), lo, vi_and(vi_sll(q, 16), hi));
    VI odd = vi_and_or(vi_sll(q, 4), lo, vi_and(vi_sll(q, 12), hi));
    POINTS8(iq1, v[ib], even, odd, t);
    q = vi_sll(q, 16);
    VI m[4] = {vi_sll(q, 12), vi_sll(q, 8), vi_sll(q, 4), q};
    for (size_t k = 0; k < 4; k++)
      store_shifted(t[2 * k], t[2 * k + 1], vi_sra(m[k], 31), 8 * ib + 2 * k, h,
                    p);
  }
  tail_iq1_m(src, h, p);
}
