/* search_fast.inc.h - the weighted searches of search.h, one block in each
 * lane; a template, see fast.h.
 *
 * LANES blocks are transposed, so that x[i] holds value i of every block, and
 * each step of the reference becomes one vector operation: same operations,
 * same order, same bits in every lane. What the reference decides by a branch
 * is decided by a mask. Levels are kept as floats: for |v| < 2^22 adding and
 * subtracting 1.5 * 2^23 rounds like wn_nearest_i32. The affine search checks
 * that bound in each step; a block that breaks it is done by the reference.
 *
 * A better candidate is remembered by what its levels follow from (inverse
 * scale, minimum); the levels themselves are made once, at the end. */

enum { SB = WN_LEGACY_BLOCK };

typedef struct lanes32 {
  float x[SB * LANES]; /* value i of lane l at i * LANES + l */
  float w[SB * LANES]; /* its weight in the squared error */
} lanes32;

/* Loads `blocks` (1..LANES) blocks; lanes behind them repeat the last. */
static void load_lanes(lanes32 *s, const float *src, const float *importance,
                       size_t blocks, float sigma2) {
  const float *x[LANES], *imp[LANES];
  for (size_t k = 0; k < LANES; k++) {
    size_t at = SB * (k < blocks ? k : blocks - 1);
    x[k] = src + at;
    imp[k] = importance + at;
  }
  for (size_t off = 0; off < SB; off += LANES) {
    vf_transpose(x, off, s->x + off * LANES, LANES);
    vf_transpose(imp, off, s->w + off * LANES, LANES);
  }
  for (int i = 0; i < SB; i++) {
    vf v = vf_load(s->x + i * LANES), w = vf_load(s->w + i * LANES);
    w = vf_mul(w, vf_sqrt(vf_add(vf_set(sigma2), vf_mul(v, v))));
    vf_store(s->w + i * LANES, w);
  }
}

WN_VEC vf value(const lanes32 *s, int i) { return vf_load(s->x + i * LANES); }
WN_VEC vf weight(const lanes32 *s, int i) { return vf_load(s->w + i * LANES); }

/* wn_nearest_i32, as floats, for |v| < 2^22. */
WN_VEC vf nearest(vf v) {
  vf magic = vf_set(12582912.0f);
  return vf_sub(vf_add(v, magic), magic);
}

/* a where it is greater, else b; b when equal (like `if (a > b) b = a`). */
WN_VEC vf clamp(vf v, vf lo, vf hi) { return vf_min(vf_max(v, lo), hi); }

/* -- symmetric ------------------------------------------------------------ */

/* wn_try_scale without levels. */
WN_VEC void try_scale(const lanes32 *s, int top, vf iscale, vf *lx, vf *l2) {
  vf lo = vf_set((float)-top), hi = vf_set((float)(top - 1));
  *lx = *l2 = vf_set(0);
  for (int i = 0; i < SB; i++) {
    vf x = value(s, i), w = weight(s, i);
    vf l = clamp(nearest(vf_mul(iscale, x)), lo, hi);
    *lx = vf_add(*lx, vf_mul(vf_mul(w, x), l));
    *l2 = vf_add(*l2, vf_mul(vf_mul(w, l), l));
  }
}

/* wn_signed_max of every lane, and the magnitude. */
WN_VEC vf signed_max(const lanes32 *s, vf *amax) {
  vf max = vf_set(0);
  *amax = vf_set(0);
  for (int i = 0; i < SB; i++) {
    vf x = value(s, i), a = vf_abs(x);
    vm larger = vf_lt(*amax, a);
    max = vf_pick(larger, x, max);
    *amax = vf_pick(larger, a, *amax);
  }
  return max;
}

/* wn_search_scale: scales to d, levels (0..2 top - 1) to q[i * LANES + l]. */
static void search_scale(const lanes32 *s, int top, float *d, uint8_t *q) {
  vf amax, lx, l2, max = signed_max(s, &amax), zero = vf_set(0);
  vm tiny = vf_lt(amax, vf_set(WN_TINY_BLOCK));
  vf best_iscale = vf_div(vf_set((float)-top), max);
  try_scale(s, top, best_iscale, &lx, &l2);
  vf scale = vf_pick(vf_ne(l2, zero), vf_div(lx, l2), zero);
  vf best = vf_mul(scale, lx);
  for (int step = -9; step <= 9; step++) {
    if (step == 0) continue;
    vf iscale = vf_div(vf_set(-((float)top + 0.1f * (float)step)), max);
    try_scale(s, top, iscale, &lx, &l2);
    vm better = vm_and(vf_lt(zero, l2),
                       vf_lt(vf_mul(best, l2), vf_mul(lx, lx)));
    best_iscale = vf_pick(better, iscale, best_iscale);
    scale = vf_pick(better, vf_div(lx, l2), scale);
    best = vf_pick(better, vf_mul(scale, lx), best);
  }
  vf_store(d, vf_pick(tiny, zero, scale));
  vf lo = vf_set((float)-top), hi = vf_set((float)(top - 1));
  for (int i = 0; i < SB; i++) {
    vf l = clamp(nearest(vf_mul(best_iscale, value(s, i))), lo, hi);
    l = vf_pick(tiny, zero, vf_add(l, vf_set((float)top)));
    vi_store_bytes(q + i * LANES, vf_trunc(l));
  }
}

/* -- affine --------------------------------------------------------------- */

typedef struct affine_lanes {
  vf min, max, w, wx; /* wn_affine of every lane */
} affine_lanes;

WN_VEC affine_lanes affine_of(const lanes32 *s) {
  vf x = value(s, 0), w = weight(s, 0);
  affine_lanes a = {x, x, w, vf_mul(w, x)};
  for (int i = 1; i < SB; i++) {
    x = value(s, i), w = weight(s, i);
    a.min = vf_min(x, a.min);
    a.max = vf_max(x, a.max);
    a.w = vf_add(a.w, w);
    a.wx = vf_add(a.wx, vf_mul(w, x));
  }
  a.min = vf_pick(vf_lt(vf_set(0), a.min), vf_set(0), a.min);
  return a;
}

WN_VEC vf affine_level(vf x, vf iscale, vf min, vf top) {
  vf l = nearest(vf_mul(iscale, vf_sub(x, min)));
  return clamp(l, vf_set(0), top);
}

/* wn_affine_error for levels l. */
WN_VEC vf affine_error(const lanes32 *s, const float *l, vf scale, vf min) {
  vf sum = vf_set(0);
  for (int i = 0; i < SB; i++) {
    vf fit = vf_add(vf_mul(scale, vf_load(l + i * LANES)), min);
    vf diff = vf_sub(fit, value(s, i));
    sum = vf_add(sum, vf_mul(weight(s, i), vf_mul(diff, diff)));
  }
  return sum;
}

/* Levels of iscale and min to l, and the least-squares fit to them; returns
 * where there is one. (wn_affine_levels and wn_affine_fit.) */
WN_VEC vm affine_fit(const lanes32 *s, const affine_lanes *a, vf iscale,
                     vf from, vf top, float *l, vf *scale, vf *min) {
  vf zero = vf_set(0), l1 = zero, l2 = zero, lx = zero;
  for (int i = 0; i < SB; i++) {
    vf x = value(s, i), q = affine_level(x, iscale, from, top);
    vf wl = vf_mul(weight(s, i), q);
    vf_store(l + i * LANES, q);
    l1 = vf_add(l1, wl);
    l2 = vf_add(l2, vf_mul(wl, q));
    lx = vf_add(lx, vf_mul(wl, x));
  }
  vf det = vf_sub(vf_mul(a->w, l2), vf_mul(l1, l1));
  vf up = vf_sub(vf_mul(a->w, lx), vf_mul(a->wx, l1));
  vf off = vf_sub(vf_mul(l2, a->wx), vf_mul(l1, lx));
  *min = vf_div(off, det);
  vm positive = vf_lt(zero, *min);
  *scale = vf_pick(positive, vf_div(lx, l2), vf_div(up, det));
  *min = vf_pick(positive, zero, *min);
  return vf_lt(zero, det);
}

/* Where all values map into the range that `nearest` rounds rightly. */
WN_VEC vm in_range(vf iscale, vf from, vf lo, vf hi) {
  vf limit = vf_set(4194304.0f);
  vf a = vf_abs(vf_mul(iscale, vf_sub(lo, from)));
  vf b = vf_abs(vf_mul(iscale, vf_sub(hi, from)));
  return vm_and(vf_lt(a, limit), vf_lt(b, limit));
}

/* wn_search_affine: scales to d, minima to m, levels 0..top to q[i * LANES +
 * l]. Returns the bits of the lanes that only the reference can do. */
static unsigned search_affine(const lanes32 *s, int top_level, float *d,
                              float *m, uint8_t *q) {
  float l[SB * LANES];
  affine_lanes a = affine_of(s);
  vf zero = vf_set(0), top = vf_set((float)top_level);
  vm flat = vf_le(a.max, a.min); /* all levels 0 */
  vf iscale = vf_div(top, vf_sub(a.max, a.min)), best_iscale = iscale;
  vf from = a.min, best_from = from, scale = vf_div(vf_set(1), iscale);
  vm good = in_range(iscale, from, a.min, a.max);
  for (int i = 0; i < SB; i++)
    vf_store(l + i * LANES, affine_level(value(s, i), iscale, from, top));
  vf best = affine_error(s, l, scale, from);
  for (int step = 0; step <= WN_AFFINE_STEPS; step++) {
    vf try_scale_, try_min;
    vf wide = vf_set(-0.9f + 0.05f * (float)step + (float)top_level);
    iscale = vf_div(wide, vf_sub(a.max, from));
    good = vm_and(good, in_range(iscale, from, a.min, a.max));
    vm fits = affine_fit(s, &a, iscale, from, top, l, &try_scale_, &try_min);
    vf err = affine_error(s, l, try_scale_, try_min);
    vm better = vm_and(fits, vf_lt(err, best));
    best_iscale = vf_pick(better, iscale, best_iscale);
    best_from = vf_pick(better, from, best_from);
    best = vf_pick(better, err, best);
    scale = vf_pick(better, try_scale_, scale);
    from = vf_pick(better, try_min, from);
  }
  vf_store(d, vf_pick(flat, zero, scale));
  vf_store(m, vf_pick(flat, a.min, from));
  for (int i = 0; i < SB; i++) {
    vf v = affine_level(value(s, i), best_iscale, best_from, top);
    vi_store_bytes(q + i * LANES, vf_trunc(vf_pick(flat, zero, v)));
  }
  return ~vm_bits(vm_or(good, flat));
}

/* -- rows ----------------------------------------------------------------- */

/* The 32 levels of lane k. */
WN_VEC __m256i lane_levels(const uint8_t *q, size_t k) {
  uint8_t level[SB];
  for (int i = 0; i < SB; i++) level[i] = q[(size_t)i * LANES + k];
  return _mm256_loadu_si256((const __m256i *)(const void *)level);
}

/* A row of blocks by `search_scale`; `fifth` writes what a format has besides
 * d and nibbles. */
#define SEARCH_SCALE(name, top, fifth)                                      \
  static void search_##name(const float *src, wn_block_##name *y, size_t n, \
                            const float *importance) {                      \
    float sigma2 = wn_row_sigma2(src, n);                                   \
    for (size_t i = 0; i < n; i += SB * LANES, y += LANES) {                \
      size_t left = (n - i) / SB, blocks = left < LANES ? left : LANES;     \
      lanes32 s;                                                            \
      float d[LANES];                                                       \
      uint8_t q[SB * LANES];                                                \
      load_lanes(&s, src + i, importance + i, blocks, sigma2);              \
      search_scale(&s, top, d, q);                                          \
      for (size_t k = 0; k < blocks; k++) {                                 \
        __m256i level = lane_levels(q, k);                                  \
        y[k].d = wn_f16_of_f32(d[k]);                                       \
        store_nibbles(y[k].qs, level);                                      \
        fifth;                                                              \
      }                                                                     \
    }                                                                       \
  }

/* Lanes that left the range of the vector code: the reference, in place. */
static void search_again(const float *x, const float *importance, float sigma2,
                         int top, size_t k, float *d, float *m, uint8_t *q) {
  float w[SB];
  uint8_t level[SB];
  wn_search_weights(x, importance, sigma2, w);
  d[k] = wn_search_affine(x, w, top, level, &m[k]);
  for (size_t i = 0; i < SB; i++) q[i * LANES + k] = level[i];
}

#define SEARCH_AFFINE(name, top, fifth)                                     \
  static void search_##name(const float *src, wn_block_##name *y, size_t n, \
                            const float *importance) {                      \
    float sigma2 = wn_row_sigma2(src, n);                                   \
    for (size_t i = 0; i < n; i += SB * LANES, y += LANES) {                \
      size_t left = (n - i) / SB, blocks = left < LANES ? left : LANES;     \
      lanes32 s;                                                            \
      float d[LANES], m[LANES];                                             \
      uint8_t q[SB * LANES];                                                \
      load_lanes(&s, src + i, importance + i, blocks, sigma2);              \
      unsigned rare = search_affine(&s, top, d, m, q);                      \
      for (size_t k = 0; k < blocks; k++) {                                 \
        if (rare >> k & 1)                                                  \
          search_again(src + i + SB * k, importance + i + SB * k, sigma2,   \
                       top, k, d, m, q);                                    \
        __m256i level = lane_levels(q, k);                                  \
        y[k].d = wn_f16_of_f32(d[k]);                                       \
        y[k].m = wn_f16_of_f32(m[k]);                                       \
        store_nibbles(y[k].qs, level);                                      \
        fifth;                                                              \
      }                                                                     \
    }                                                                       \
  }

SEARCH_SCALE(q4_0, 8, (void)0)
SEARCH_SCALE(q5_0, 16, store_fifth_bits(y[k].qh, level))
SEARCH_AFFINE(q4_1, 15, (void)0)
SEARCH_AFFINE(q5_1, 31, store_fifth_bits(y[k].qh, level))
