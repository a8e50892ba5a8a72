/* kfit_affine.inc.h - template: wn_k_fit_affine on WIDE sub-blocks at once.
 *
 * Needs vec_wide.h. Lane i holds sub-block i of the group; value k of all
 * lanes lies at x[k * WIDE]. Each lane does the operations of
 * wn_k_fit_affine in its order, so results are equal bit for bit; what a
 * branch decides there is a mask here.
 *
 * Levels are computed as floats: clamp, then add and subtract WN_K_MAGIC.
 * That equals wn_k_round below 2^22. v = iscale * (x - min) is monotone in x,
 * so its values at the smallest and the largest x tell for all values which
 * of three ways is exact, and the shortest one is taken. */

/* How levels are rounded. */
enum {
  LEVELS_FREE,  /* all v round into 0 .. top by themselves */
  LEVELS_CLAMP, /* all |v| < 2^22 */
  LEVELS_EXACT  /* anything, NaN too */
};

/* v to levels low .. high, as floats. */
WN_VEC wf levels(int way, wf v, float low, float high) {
  const wf magic = wf_set(WN_K_MAGIC);
  if (way == LEVELS_EXACT)
    return wf_max(wf_min(wf_nearest(v), wf_set(high)), wf_set(low));
  if (way == LEVELS_CLAMP) v = wf_max(wf_min(v, wf_set(high)), wf_set(low));
  return wf_sub(wf_add(v, magic), magic);
}

/* What stays the same during the search of a group. */
typedef struct affine_group {
  int n, top;
  bool mad;
  const float *x, *w; /* n * WIDE */
  float *l;           /* n * WIDE: levels of the candidate at hand */
  wf low, high;       /* smallest and largest x */
  wf sum_w, sum_x;    /* sums of w and w x */
  wm live;            /* lanes that have a range to divide */
} affine_group;

/* Results of a group, WIDE of each. step and from rebuild the levels:
 * round(step * (x - from)); a lane without range has step NaN, which rounds
 * to 0. */
typedef struct affine_fit {
  float *scale, *min, *sum_w, *step, *from;
} affine_fit;

WN_VEC affine_group affine_begin(int n, int top, bool mad, const float *x,
                                 const float *w, float *l) {
  affine_group a = {.n = n, .top = top, .mad = mad, .x = x, .w = w, .l = l};
  a.low = a.high = wf_load(x);
  a.sum_w = wf_load(w);
  a.sum_x = wf_mul(a.sum_w, a.low);
  for (int i = 1; i < n; i++) {
    wf xi = wf_load(x + i * WIDE), wi_ = wf_load(w + i * WIDE);
    a.low = wf_min(xi, a.low);
    a.high = wf_max(xi, a.high);
    a.sum_w = wf_add(a.sum_w, wi_);
    a.sum_x = wf_add(a.sum_x, wf_mul(wi_, xi));
  }
  return a;
}

/* The shortest exact way to round iscale * (x - min) for all live lanes. */
WN_VEC int affine_way(const affine_group *a, wf iscale, wf min) {
  wf v0 = wf_mul(iscale, wf_sub(a->low, min));
  wf v1 = wf_mul(iscale, wf_sub(a->high, min));
  wf under = wf_set(-0.5f), over = wf_set((float)a->top + 0.5f);
  wm in = wm_and(wm_and(wf_lt(under, v0), wf_lt(v0, over)),
                 wm_and(wf_lt(under, v1), wf_lt(v1, over)));
  if (!wm_any(wm_not_and(in, a->live))) return LEVELS_FREE;
  const wf limit = wf_set(4194303.f);
  in = wm_and(wf_lt(wf_abs(v0), limit), wf_lt(wf_abs(v1), limit));
  return wm_any(wm_not_and(in, a->live)) ? LEVELS_EXACT : LEVELS_CLAMP;
}

/* Sums of w l, w l^2 and w l x. */
typedef struct affine_sums {
  wf l, l2, xl;
} affine_sums;

/* Levels into a->l, and their sums. */
WN_VEC affine_sums affine_pass(const affine_group *a, int way, wf iscale,
                               wf min) {
  affine_sums s = {wf_set(0), wf_set(0), wf_set(0)};
  for (int i = 0; i < a->n; i++) {
    wf x = wf_load(a->x + i * WIDE);
    wf l = levels(way, wf_mul(iscale, wf_sub(x, min)), 0, (float)a->top);
    wf wl = wf_mul(wf_load(a->w + i * WIDE), l);
    wf_store(a->l + i * WIDE, l);
    s.l = wf_add(s.l, wl);
    s.l2 = wf_add(s.l2, wf_mul(wl, l));
    s.xl = wf_add(s.xl, wf_mul(wl, x));
  }
  return s;
}

WN_VEC affine_sums affine_levels(const affine_group *a, wf iscale, wf min) {
  switch (affine_way(a, iscale, min)) {
    case LEVELS_FREE:
      return affine_pass(a, LEVELS_FREE, iscale, min);
    case LEVELS_CLAMP:
      return affine_pass(a, LEVELS_CLAMP, iscale, min);
    default:
      return affine_pass(a, LEVELS_EXACT, iscale, min);
  }
}

/* Weighted error of the levels in a->l. */
WN_VEC wf affine_error(const affine_group *a, wf scale, wf min) {
  wf error = wf_set(0);
  for (int i = 0; i < a->n; i++) {
    wf l = wf_load(a->l + i * WIDE), x = wf_load(a->x + i * WIDE);
    wf diff = wf_sub(wf_add(wf_mul(scale, l), min), x);
    diff = a->mad ? wf_abs(diff) : wf_mul(diff, diff);
    error = wf_add(error, wf_mul(wf_load(a->w + i * WIDE), diff));
  }
  return error;
}

/* Least squares; true where it is not degenerate. */
WN_VEC wm affine_solve(const affine_group *a, const affine_sums *s, wf *scale,
                       wf *min) {
  const wf zero = wf_set(0);
  wf det = wf_sub(wf_mul(a->sum_w, s->l2), wf_mul(s->l, s->l));
  *scale = wf_div(wf_sub(wf_mul(a->sum_w, s->xl), wf_mul(a->sum_x, s->l)), det);
  *min = wf_div(wf_sub(wf_mul(s->l2, a->sum_x), wf_mul(s->l, s->xl)), det);
  wm positive = wf_lt(zero, *min);
  if (wm_any(positive)) {
    *min = wf_pick(positive, zero, *min);
    *scale = wf_pick(positive, wf_div(s->xl, s->l2), *scale);
  }
  return wm_and(a->live, wf_lt(zero, det));
}

/* The whole search of a group; n, top's type of error and so on should be
 * constants where this is called, for it is expanded there. */
WN_VEC void affine_search(int n, int top, const wn_k_grid *g, bool mad,
                          const float *x, const float *w, float *l,
                          const affine_fit *out) {
  const wf zero = wf_set(0);
  affine_group a = affine_begin(n, top, mad, x, w, l);
  wf min = wf_pick(wf_lt(zero, a.low), zero, a.low);
  a.live = wf_ne(a.high, min);
  wf step = wf_div(wf_set((float)top), wf_sub(a.high, min)), from = min;
  wf scale = wf_div(wf_set(1), step);
  affine_levels(&a, step, min);
  wf best = affine_error(&a, scale, min);
  for (int i = 0; i <= g->last; i++) {
    float steps = g->rmin + g->rdelta * (float)i + (float)top;
    wf iscale = wf_div(wf_set(steps), wf_sub(a.high, min));
    affine_sums s = affine_levels(&a, iscale, min);
    wf trial_scale, trial_min;
    wm better = affine_solve(&a, &s, &trial_scale, &trial_min);
    wf error = affine_error(&a, trial_scale, trial_min);
    better = wm_and(better, wf_lt(error, best));
    best = wf_pick(better, error, best);
    scale = wf_pick(better, trial_scale, scale);
    step = wf_pick(better, iscale, step);
    from = wf_pick(better, min, from);
    min = wf_pick(better, trial_min, min);
  }
  wf_store(out->scale, wf_pick(a.live, scale, zero));
  wf_store(out->min, wf_neg(min));
  wf_store(out->sum_w, a.sum_w);
  wf_store(out->step, wf_pick(a.live, step, wf_set(NAN)));
  wf_store(out->from, from);
}
