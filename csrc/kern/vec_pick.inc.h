/* vec_pick.inc.h - what sampling and scoring need of a vocabulary of logits,
 * part of vec.inc.h: maxima of sixteens, sums of exponentials. */

/* The greater of two, NaN if one is: each order of the operands keeps the NaN
 * of one of them, and or keeps it in the bits. (-0 where zeros meet and one is
 * -0.) */
INLINE vf top_of(vf a, vf b) {
  return (vf)((vi)at_least(a, b) | (vi)at_least(b, a));
}

/* One group: n values, 1 <= n <= WN_PEAK_GROUP. */
INLINE void peaks_of_group(const float *x, size_t n, float *y) {
  strip top;
  size_t i = 0;
  EACH_REG top.v[r_] = all(-INFINITY);
  for (; i + STRIP <= n; i += STRIP) {
    strip a = load(x + i);
    EACH_REG top.v[r_] = top_of(a.v[r_], top.v[r_]);
  }
  store(y, top);
  for (size_t k = 0; i + k < n; k++)
    if (y[k] == y[k] && !(x[i + k] <= y[k])) y[k] = x[i + k];
}

static void peaks(const float *x, size_t n, float *y) {
  for (; n >= WN_PEAK_GROUP; n -= WN_PEAK_GROUP) {
    peaks_of_group(x, WN_PEAK_GROUP, y);
    x += WN_PEAK_GROUP;
    y += WN_PEAK_LANES;
  }
  if (n > 0) peaks_of_group(x, n, y);
}

static float exp_total(const float *x, size_t n, float top) {
  strip sum = {{{0}}};
  size_t i = 0;
  for (; i + STRIP <= n; i += STRIP) {
    strip a = load(x + i);
    EACH_REG sum.v[r_] += exp_reg(a.v[r_] - all(top));
  }
  if (i == n) return total(sum);
  float rest[STRIP];
  strip a = load_n(x + i, n - i);
  EACH_REG a.v[r_] = exp_reg(a.v[r_] - all(top));
  store(rest, a);
  a = load_n(rest, n - i); /* the others count nothing */
  EACH_REG sum.v[r_] += a.v[r_];
  return total(sum);
}
