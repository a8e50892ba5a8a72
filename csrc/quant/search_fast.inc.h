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

WN_VEC vf value(const lanes32 *s, int i) {
  return vf_load(s->x + i * LANES);
}
WN_VEC vf weight(const lanes32 *s, int i) {
  return vf_load(s->w + i * LANES);
}

/* wn_nearest_i32, as floats, for |v| < 2^22. */
WN_VEC vf nearest(vf v) {
  vf magic = vf_set(12582912.0f);
  return vf_sub(vf_add(v, magic), magic);
}

WN_VEC vf clamp(vf v, vf lo, vf hi) {
  return vf_min(vf_max(v, lo), hi);
}

/* What a search found: scales, minima, and the levels as they lie in blocks,
 * byte j of all lanes together. */
typedef struct found {
  float d[LANES], m[LANES];
  uint32_t fifth[LANES];       /* bit i: bit 4 of level i */
  uint8_t nibbles[16 * LANES]; /* byte j of lane l at j * LANES + l */
  uint8_t qs[LANES][16];       /* the same, by lane */
} found;

/* Levels i and i + 16 of every lane. */
WN_VEC void keep_levels(found *f, int i, const vi q[2], vi *fifth) {
  vi low = vi_and(q[0], vi_set(15)), high = vi_and(q[1], vi_set(15));
  vi_store_bytes(f->nibbles + i * LANES, vi_or(low, vi_left(high, 4)));
  vi bit0 = vi_and(vi_right(q[0], 4), vi_set(1));
  vi bit1 = vi_and(vi_right(q[1], 4), vi_set(1));
  vi both = vi_or(vi_left(bit0, 15), vi_left(bit1, 31));
  *fifth = vi_or(vi_right(*fifth, 1), both); /* moves to i and i + 16 */
}

/* nibbles to qs: 16 x 8 bytes turned by four rounds of interleaving rows 8,
 * 4, 2 and 1 apart. */
WN_VEC void turn_nibbles(found *f) {
  for (int part = 0; part < LANES; part += 8) {
    __m128i a[16], b[8];
    for (int j = 0; j < 16; j++)
      a[j] = _mm_loadl_epi64(
          (const __m128i *)(const void *)(f->nibbles + j * LANES + part));
    for (int j = 0; j < 8; j++)
      b[j] = _mm_unpacklo_epi8(a[j], a[j + 8]);
    for (int j = 0; j < 4; j++) {
      a[2 * j] = _mm_unpacklo_epi8(b[j], b[j + 4]);
      a[2 * j + 1] = _mm_unpackhi_epi8(b[j], b[j + 4]);
    }
    for (int j = 0; j < 4; j++) { /* j = 2 * row + half */
      b[2 * j] = _mm_unpacklo_epi8(a[j], a[j + 4]);
      b[2 * j + 1] = _mm_unpackhi_epi8(a[j], a[j + 4]);
    }
    for (int j = 0; j < 4; j++) {
      __m128i lo = _mm_unpacklo_epi8(b[j], b[j + 4]);
      __m128i hi = _mm_unpackhi_epi8(b[j], b[j + 4]);
      _mm_storeu_si128((__m128i *)(void *)f->qs[part + 2 * j], lo);
      _mm_storeu_si128((__m128i *)(void *)f->qs[part + 2 * j + 1], hi);
    }
  }
}

/* -- symmetric ------------------------------------------------------------ */

/* Candidates tried side by side: their sums are independent chains, and they
 * share the loads. 18 = 3 * 6 = 2 * 9 candidates; AVX2 has registers for 2. */
enum { TRIES = LANES == 16 ? 3 : 2 };

typedef struct tries {
  vf iscale[TRIES], lx[TRIES], l2[TRIES];
} tries;

/* wn_try_scale without levels, for all of t->iscale. Without `clamp_low` no
 * level may come out below -top. */
WN_VEC void try_scales(const lanes32 *s, int top, tries *t, bool clamp_low) {
  vf lo = vf_set((float)-top), hi = vf_set((float)(top - 1));
  WN_UNROLL
  for (int k = 0; k < TRIES; k++)
    t->lx[k] = t->l2[k] = vf_set(0);
  for (int i = 0; i < SB; i++) {
    vf x = value(s, i), w = weight(s, i), wx = vf_mul(w, x);
    WN_UNROLL
    for (int k = 0; k < TRIES; k++) {
      vf l = nearest(vf_mul(t->iscale[k], x));
      if (clamp_low) l = vf_max(l, lo);
      l = vf_min(l, hi);
      t->lx[k] = vf_add(t->lx[k], vf_mul(wx, l));
      t->l2[k] = vf_add(t->l2[k], vf_mul(vf_mul(w, l), l));
    }
  }
}

/* The next TRIES of -9 .. -1, 1 .. 9 from *step on, as inverse scales. */
WN_VEC void next_tries(int *step, int top, vf max, tries *t) {
  WN_UNROLL
  for (int k = 0; k < TRIES; k++) {
    float wide = -((float)top + 0.1f * (float)*step);
    t->iscale[k] = vf_div(vf_set(wide), max);
    *step += *step == -1 ? 2 : 1;
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

/* wn_search_scale of every lane. */
static void search_scale(const lanes32 *s, int top, found *f) {
  vf amax, max = signed_max(s, &amax), zero = vf_set(0);
  vm tiny = vf_lt(amax, vf_set(WN_TINY_BLOCK));
  tries t;
  vf best_iscale = vf_div(vf_set((float)-top), max);
  WN_UNROLL
  for (int k = 0; k < TRIES; k++)
    t.iscale[k] = best_iscale;
  try_scales(s, top, &t, false);
  vf scale = vf_pick(vf_ne(t.l2[0], zero), vf_div(t.lx[0], t.l2[0]), zero);
  vf best = vf_mul(scale, t.lx[0]);
  for (int step = -9; step <= 9;) {
    next_tries(&step, top, max, &t);
    if (step <= 5) /* magnitudes up to top + 0.4: none rounds beyond top */
      try_scales(s, top, &t, false);
    else
      try_scales(s, top, &t, true);
    WN_UNROLL
    for (int k = 0; k < TRIES; k++) {
      vf lx = t.lx[k], l2 = t.l2[k];
      vm better =
          vm_and(vf_lt(zero, l2), vf_lt(vf_mul(best, l2), vf_mul(lx, lx)));
      best_iscale = vf_pick(better, t.iscale[k], best_iscale);
      scale = vf_pick(better, vf_div(lx, l2), scale);
      best = vf_pick(better, vf_mul(scale, lx), best);
    }
  }
  vf_store(f->d, vf_pick(tiny, zero, scale));
  vf lo = vf_set((float)-top), hi = vf_set((float)(top - 1));
  vi q[2], fifth = vi_set(0);
  for (int i = 0; i < SB / 2; i++) {
    for (int h = 0; h < 2; h++) {
      vf x = value(s, i + h * SB / 2);
      vf l = clamp(nearest(vf_mul(best_iscale, x)), lo, hi);
      q[h] = vf_trunc(vf_pick(tiny, zero, vf_add(l, vf_set((float)top))));
    }
    keep_levels(f, i, q, &fifth);
  }
  vi_store(f->fifth, fifth);
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

/* wn_search_affine of every lane. Returns the bits of the lanes that only the
 * reference can do. */
static unsigned search_affine(const lanes32 *s, int top_level, found *f) {
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
  vf_store(f->d, vf_pick(flat, zero, scale));
  vf_store(f->m, vf_pick(flat, a.min, from));
  vi q[2], fifth = vi_set(0);
  for (int i = 0; i < SB / 2; i++) {
    for (int h = 0; h < 2; h++) {
      vf x = value(s, i + h * SB / 2);
      vf best_l = affine_level(x, best_iscale, best_from, top);
      q[h] = vf_trunc(vf_pick(flat, zero, best_l));
    }
    keep_levels(f, i, q, &fifth);
  }
  vi_store(f->fifth, fifth);
  return ~vm_bits(vm_or(good, flat));
}

/* -- rows ----------------------------------------------------------------- */

/* Lane k left the range of the vector code: the reference's answer instead. */
static void search_again(const float *x, const float *importance, float sigma2,
                         int top, size_t k, found *f) {
  float w[SB];
  uint8_t q[SB];
  wn_search_weights(x, importance, sigma2, w);
  f->d[k] = wn_search_affine(x, w, top, q, &f->m[k]);
  f->fifth[k] = 0;
  for (int i = 0; i < SB; i++)
    f->fifth[k] |= (uint32_t)(q[i] >> 4 & 1) << i;
  for (int i = 0; i < 16; i++)
    f->qs[k][i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
}

/* Blocks src .. src + 32 * blocks by the symmetric (`affine`: the affine)
 * search with levels up to 2 top - 1 (top). */
static void search_blocks(const float *src, const float *importance,
                          size_t blocks, float sigma2, int top, bool affine,
                          found *f) {
  lanes32 s;
  unsigned rare = 0;
  load_lanes(&s, src, importance, blocks, sigma2);
  if (affine)
    rare = search_affine(&s, top, f);
  else
    search_scale(&s, top, f);
  turn_nibbles(f);
  for (size_t k = 0; k < blocks; k++)
    if (rare >> k & 1)
      search_again(src + SB * k, importance + SB * k, sigma2, top, k, f);
}

/* search_<name>: a row, LANES blocks at a time; `rest` stores what a format
 * has besides d and nibbles. */
#define SEARCH_ROW(name, top, affine, rest)                                    \
  static void search_##name(const float *src, wn_block_##name *y, size_t n,    \
                            const float *importance) {                         \
    float sigma2 = wn_row_sigma2(src, n);                                      \
    found f;                                                                   \
    for (size_t i = 0; i < n; i += SB * LANES) {                               \
      size_t left = (n - i) / SB, blocks = left < LANES ? left : LANES;        \
      search_blocks(src + i, importance + i, blocks, sigma2, top, affine, &f); \
      for (size_t k = 0; k < blocks; k++, y++) {                               \
        y->d = wn_f16_of_f32(f.d[k]);                                          \
        memcpy(y->qs, f.qs[k], sizeof y->qs);                                  \
        rest;                                                                  \
      }                                                                        \
    }                                                                          \
  }
#define STORE_MIN y->m = wn_f16_of_f32(f.m[k])
#define STORE_FIFTH memcpy(y->qh, &f.fifth[k], sizeof y->qh)

SEARCH_ROW(q4_0, 8, false, (void)0)
SEARCH_ROW(q5_0, 16, false, STORE_FIFTH)
SEARCH_ROW(q4_1, 15, true, STORE_MIN)
SEARCH_ROW(q5_1, 31, true, STORE_MIN; STORE_FIFTH)
