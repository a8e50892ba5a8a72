/* dot_neon.inc.h - template: dot_steps of q8.inc.h on aarch64, where levels
 * and activations are both signed bytes. By what the including file defines:
 *
 *   DOT_I8MM     smmla: 2 rows x 2 columns x 8 values an instruction. Two
 *                steps of a panel are zipped to 8 values a row, and sums of
 *                two columns kept as [r c][r c+1][r+1 c][r+1 c+1]. A single
 *                column is done as with DOT_SDOT.
 *   DOT_SDOT     sdot: 4 products added to a lane
 *   neither      products added in 16 bits, twice `run` steps long: a lane
 *                takes one product a step here (two 8-bit numbers: 2 steps) */

#if defined(DOT_SDOT) || defined(DOT_I8MM)
/* One step of 4 values, a lane of the activations x, for nc columns. */
#define STEP(i)                                                       \
  do {                                                                \
    VI w0 = vi_load(u + (i)*4 * R), w1 = vi_load(u + (i)*4 * R + 16); \
    WN_UNROLL                                                         \
    for (size_t j = 0; j < nc; j++) {                                 \
      lo[j] = vdotq_laneq_s32(lo[j], S8(w0), b[j], i);                \
      hi[j] = vdotq_laneq_s32(hi[j], S8(w1), b[j], i);                \
    }                                                                 \
  } while (0)

INLINE void sdot_steps(const uint8_t *u, const uint8_t *x, size_t ldx,
                       size_t nc, size_t steps, VI lo[], VI hi[]) {
  for (size_t s = 0; s < steps; s += 4, u += 16 * R) {
    int8x16_t b[QCOLS];
    WN_UNROLL
    for (size_t j = 0; j < nc; j++)
      b[j] = S8(vi_load(x + j * ldx + 4 * s));
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
  }
}
#undef STEP
#endif

#if defined(DOT_I8MM)

/* Sums of 4 rows: rows 0 and 1, rows 2 and 3, of two columns. */
typedef struct quads {
  VI top, bottom;
} quads;

INLINE quads quads_of(VI a, VI b) {
  return (quads){vzip1q_s32(a, b), vzip2q_s32(a, b)};
}

INLINE void quads_add(quads *q, VI w0, VI w1, int8x16_t x) {
  q->top = vmmlaq_s32(q->top, S8(vzip1q_s32(w0, w1)), x);
  q->bottom = vmmlaq_s32(q->bottom, S8(vzip2q_s32(w0, w1)), x);
}

INLINE void dot_steps(const uint8_t *u, const uint8_t *x, size_t ldx, size_t nc,
                      size_t steps, size_t run, VI lo[], VI hi[]) {
  (void)run;
  quads a[QCOLS / 2], b[QCOLS / 2];
  WN_UNROLL
  for (size_t j = 0; j < nc / 2; j++) {
    a[j] = quads_of(lo[2 * j], lo[2 * j + 1]);
    b[j] = quads_of(hi[2 * j], hi[2 * j + 1]);
  }
  const uint8_t *w = u;
  for (size_t s = 0; nc > 1 && s < steps; s += 2, w += 8 * R) {
    VI a0 = vi_load(w), a1 = vi_load(w + 4 * R);
    VI b0 = vi_load(w + 16), b1 = vi_load(w + 4 * R + 16);
    WN_UNROLL
    for (size_t j = 0; j < nc / 2; j++) {
      const uint8_t *y = x + 2 * j * ldx + 4 * s;
      int8x16_t v =
          vreinterpretq_s8_u8(vcombine_u8(vld1_u8(y), vld1_u8(y + ldx)));
      quads_add(&a[j], a0, a1, v);
      quads_add(&b[j], b0, b1, v);
    }
  }
  WN_UNROLL
  for (size_t j = 0; j < nc / 2; j++) {
    lo[2 * j] = vuzp1q_s32(a[j].top, a[j].bottom);
    lo[2 * j + 1] = vuzp2q_s32(a[j].top, a[j].bottom);
    hi[2 * j] = vuzp1q_s32(b[j].top, b[j].bottom);
    hi[2 * j + 1] = vuzp2q_s32(b[j].top, b[j].bottom);
  }
  if (nc % 2 != 0)
    sdot_steps(u, x + (nc - 1) * ldx, 0, 1, steps, &lo[nc - 1], &hi[nc - 1]);
}

#elif defined(DOT_SDOT)

INLINE void dot_steps(const uint8_t *u, const uint8_t *x, size_t ldx, size_t nc,
                      size_t steps, size_t run, VI lo[], VI hi[]) {
  (void)run;
  sdot_steps(u, x, ldx, nc, steps, lo, hi);
}

#else

/* Products of two rows each. */
INLINE void rows_add(int16x8_t t[2], VI w, VI x) {
  t[0] = vmlal_s8(t[0], vget_low_s8(S8(w)), vget_low_s8(S8(x)));
  t[1] = vmlal_high_s8(t[1], S8(w), S8(x));
}

INLINE VI rows_sum(VI acc, const int16x8_t t[2]) {
  return vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(t[0]), vpaddlq_s16(t[1])));
}

INLINE void dot_steps(const uint8_t *u, const uint8_t *x, size_t ldx, size_t nc,
                      size_t steps, size_t run, VI lo[], VI hi[]) {
  size_t most = run > 1 ? 2 * run : 2, group = most < steps ? most : steps;
  for (size_t s = 0; s < steps; s += group) {
    int16x8_t a[QCOLS][2], b[QCOLS][2];
    WN_UNROLL
    for (size_t j = 0; j < nc; j++)
      a[j][0] = a[j][1] = b[j][0] = b[j][1] = vdupq_n_s16(0);
    WN_UNROLL
    for (size_t i = 0; i < group; i++, u += 4 * R) {
      VI w0 = vi_load(u), w1 = vi_load(u + 16);
      WN_UNROLL
      for (size_t j = 0; j < nc; j++) {
        VI y = vi_bcast(x + j * ldx + 4 * (s + i));
        rows_add(a[j], w0, y);
        rows_add(b[j], w1, y);
      }
    }
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      lo[j] = rows_sum(lo[j], a[j]);
      hi[j] = rows_sum(hi[j], b[j]);
    }
  }
}
#endif
