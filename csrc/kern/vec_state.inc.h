/* vec_state.inc.h - what recurrences do with their states; part of vec.inc.h.
 *
 * Products are rounded before they are added, and sums run in one order for
 * every element, so that all tables give the same bits. */

static void mul_add(const float *a, const float *b, float *y, size_t n) {
  size_t i = 0;
  for (; i + STRIP <= n; i += STRIP) {
    strip x = load(a + i), z = load(b + i), s = load(y + i);
    EACH_REG s.v[r_] += x.v[r_] * z.v[r_];
    store(y + i, s);
  }
  for (; i < n; i++)
    y[i] += a[i] * b[i];
}

static float dot(const float *a, const float *b, size_t n) {
  strip acc = {{{0}}};
  size_t i = 0;
  for (; i + STRIP <= n; i += STRIP) {
    strip x = load(a + i), z = load(b + i);
    EACH_REG acc.v[r_] += x.v[r_] * z.v[r_];
  }
  if (i < n) {
    strip x = load_n(a + i, n - i), z = load_n(b + i, n - i);
    EACH_REG acc.v[r_] += x.v[r_] * z.v[r_];
  }
  return total(acc);
}

static void exp_of(float s, const float *in, float *y, size_t n) {
  MAP1(n, in, y, exp_reg(all(s) * x));
}

/* One strip of columns, or its first n. */
INLINE void fade_strip(float factor, const float *a, float *s, size_t ld,
                       size_t n_rows, size_t n, float *y) {
  strip sum = {{{0}}};
  for (size_t r = 0; r < n_rows; r++, s += ld) {
    strip x = n == STRIP ? load(s) : load_n(s, n);
    EACH_REG {
      x.v[r_] *= all(factor);
      sum.v[r_] += all(a[r]) * x.v[r_];
    }
    if (n == STRIP)
      store(s, x);
    else
      store_n(s, x, n);
  }
  if (n == STRIP)
    store(y, sum);
  else
    store_n(y, sum, n);
}

static void fade(float factor, const float *a, float *s, size_t ld,
                 size_t n_rows, size_t n, float *y) {
  size_t c = 0;
  for (; c + STRIP <= n; c += STRIP)
    fade_strip(factor, a, s + c, ld, n_rows, STRIP, y + c);
  if (c < n) fade_strip(factor, a, s + c, ld, n_rows, n - c, y + c);
}

INLINE void outer_strip(const float *k, const float *u, const float *a,
                        float *s, size_t ld, size_t n_rows, size_t n,
                        float *y) {
  strip sum = {{{0}}}, add = n == STRIP ? load(u) : load_n(u, n);
  for (size_t r = 0; r < n_rows; r++, s += ld) {
    strip x = n == STRIP ? load(s) : load_n(s, n);
    EACH_REG {
      x.v[r_] += all(k[r]) * add.v[r_];
      sum.v[r_] += all(a[r]) * x.v[r_];
    }
    if (n == STRIP)
      store(s, x);
    else
      store_n(s, x, n);
  }
  if (n == STRIP)
    store(y, sum);
  else
    store_n(y, sum, n);
}

static void outer(const float *k, const float *u, const float *a, float *s,
                  size_t ld, size_t n_rows, size_t n, float *y) {
  size_t c = 0;
  for (; c + STRIP <= n; c += STRIP)
    outer_strip(k, u + c, a, s + c, ld, n_rows, STRIP, y + c);
  if (c < n) outer_strip(k, u + c, a, s + c, ld, n_rows, n - c, y + c);
}

static void scan(float factor, const float *k, const float *b, const float *a,
                 float *s, size_t n_rows, size_t n, float *y) {
  for (size_t r = 0; r < n_rows; r++, s += n) {
    strip acc = {{{0}}};
    size_t i = 0;
    for (; i + STRIP <= n; i += STRIP) {
      strip x = load(s + i), u = load(b + i), z = load(a + i);
      EACH_REG {
        x.v[r_] = all(factor) * x.v[r_] + all(k[r]) * u.v[r_];
        acc.v[r_] += x.v[r_] * z.v[r_];
      }
      store(s + i, x);
    }
    if (i < n) {
      strip x = load_n(s + i, n - i), u = load_n(b + i, n - i);
      strip z = load_n(a + i, n - i);
      EACH_REG {
        x.v[r_] = all(factor) * x.v[r_] + all(k[r]) * u.v[r_];
        acc.v[r_] += x.v[r_] * z.v[r_];
      }
      store_n(s + i, x, n - i);
    }
    y[r] = total(acc);
  }
}
