/* kfit_symmetric.inc.h - template: wn_k_fit_symmetric and the fit of scales
 * on WIDE groups of values at once.
 *
 * Layout and exactness as in kfit_affine.inc.h, which comes first. */

/* The first value of the largest magnitude in each lane; *live where it is at
 * least WN_K_EPS. */
WN_VEC wf find_extreme(int n, const float *x, wm *live) {
  wf max = wf_set(0), amax = wf_set(0);
  for (int i = 0; i < n; i++) {
    wf xi = wf_load(x + i * WIDE), magnitude = wf_abs(xi);
    wm larger = wf_lt(amax, magnitude);
    amax = wf_pick(larger, magnitude, amax);
    max = wf_pick(larger, xi, max);
  }
  *live = wf_le(wf_set(WN_K_EPS), amax);
  return max;
}

/* Sums of w x l and w l^2; wx holds w x. */
WN_VEC void symmetric_pass(int n, int top, int way, const float *x,
                           const float *w, const float *wx, wf iscale,
                           wf *sum_xl, wf *sum_l2) {
  wf xl = wf_set(0), l2 = wf_set(0);
  for (int i = 0; i < n; i++) {
    wf v = wf_mul(iscale, wf_load(x + i * WIDE));
    wf l = levels(way, v, (float)-top, (float)(top - 1));
    xl = wf_add(xl, wf_mul(wf_load(wx + i * WIDE), l));
    l2 = wf_add(l2, wf_mul(wf_mul(wf_load(w + i * WIDE), l), l));
  }
  *sum_xl = xl;
  *sum_l2 = l2;
}

/* scale and step: WIDE of each. Levels are top + round(step * x); a lane that
 * counts as zero has scale 0, step NaN and levels 0. `way` must suit x:
 * values below 2^127 / top are safe with LEVELS_CLAMP, for |iscale * x| stays
 * below top + 1. wx is scratch, n * WIDE. */
WN_VEC void symmetric_search(int n, int top, int way, const float *x,
                             const float *w, float *wx, float *scale_out,
                             float *step_out) {
  const wf zero = wf_set(0);
  wm live;
  wf max = find_extreme(n, x, &live), sum_xl, sum_l2;
  for (int i = 0; i < n * WIDE; i += WIDE)
    wf_store(wx + i, wf_mul(wf_load(w + i), wf_load(x + i)));
  wf step = wf_div(wf_set((float)-top), max);
  symmetric_pass(n, top, way, x, w, wx, step, &sum_xl, &sum_l2);
  wf scale = wf_pick(wf_ne(sum_l2, zero), wf_div(sum_xl, sum_l2), zero);
  wf best = wf_mul(scale, sum_xl);
  for (int is = -9; is <= 9; is++) {
    if (is == 0) continue;
    wf iscale = wf_div(wf_set(-((float)top + 0.1f * (float)is)), max);
    symmetric_pass(n, top, way, x, w, wx, iscale, &sum_xl, &sum_l2);
    wm better = wm_and(wf_lt(zero, sum_l2),
                       wf_lt(wf_mul(best, sum_l2), wf_mul(sum_xl, sum_xl)));
    if (!wm_any(better)) continue;
    scale = wf_pick(better, wf_div(sum_xl, sum_l2), scale);
    best = wf_pick(better, wf_mul(scale, sum_xl), best);
    step = wf_pick(better, iscale, step);
  }
  wf_store(scale_out, wf_pick(live, scale, zero));
  wf_store(step_out, wf_pick(live, step, wf_set(NAN)));
}

/* ---- wn_k_fit_positive. ---------------------------------------------------
 */

/* Rounded like wn_k_round, capped at top, not below. */
WN_VEC wi round_capped(wf v, int top) {
  wi bits = wi_and(wf_bits(wf_add(v, wf_set(WN_K_MAGIC))), wi_set(0x007fffff));
  return wi_min(wi_sub(bits, wi_set(0x00400000)), wi_set(top));
}

/* A level as the byte that stores it. */
WN_VEC wf as_byte(wi l) {
  return wi_to_float(wi_and(l, wi_set(255)));
}

WN_VEC wf positive_error(int n, int top, bool bytes, const float *x,
                         const float *w, wf iscale) {
  wf scale = wf_div(wf_set(1), iscale), error = wf_set(0);
  for (int i = 0; i < n; i++) {
    wf xi = wf_load(x + i * WIDE), v = wf_mul(iscale, xi);
    wf l = bytes ? as_byte(round_capped(v, INT_MAX))
                 : wi_to_float(round_capped(v, top));
    wf diff = wf_sub(xi, wf_mul(scale, l));
    wf wd = wf_mul(wf_load(w + i * WIDE), diff);
    error = wf_add(error, wf_mul(wd, diff));
  }
  return error;
}

/* One round of single changes to the levels in L; true when any lane
 * changed. A lane without a change stays as it is in all later rounds. */
WN_VEC bool positive_round(int n, int top, const float *x, const float *w,
                           float *L, wf *sum_xl, wf *sum_l2) {
  const wf zero = wf_set(0);
  wm changed = wf_lt(zero, zero);
  for (int i = 0; i < n; i++) {
    wf xi = wf_load(x + i * WIDE), wt = wf_load(w + i * WIDE);
    wf wx = wf_mul(wt, xi), was = wf_load(L + i * WIDE);
    wf xl = wf_sub(*sum_xl, wf_mul(wx, was));
    wf l2 = wf_sub(*sum_l2, wf_mul(wf_mul(wt, was), was));
    wm ok = wm_and(wf_lt(zero, xl), wf_lt(zero, l2));
    wi want = round_capped(wf_div(wf_mul(xi, l2), xl), top);
    wf l = wi_to_float(want);
    ok = wm_and(ok, wf_ne(l, was));
    xl = wf_add(xl, wf_mul(wx, l));
    l2 = wf_add(l2, wf_mul(wf_mul(wt, l), l));
    ok = wm_and(ok, wf_lt(wf_mul(wf_mul(*sum_xl, *sum_xl), l2),
                          wf_mul(wf_mul(xl, xl), *sum_l2)));
    wf_store(L + i * WIDE, wf_pick(ok, as_byte(want), was));
    *sum_xl = wf_pick(ok, xl, *sum_xl);
    *sum_l2 = wf_pick(ok, l2, *sum_l2);
    changed = wm_or(changed, ok);
  }
  return wm_any(changed);
}

/* L: n * WIDE levels as floats; scale: WIDE. */
WN_VEC void positive_search(int n, int top, const float *x, const float *w,
                            float *L, float *scale_out) {
  const wf zero = wf_set(0);
  wf max = zero, sum_xl = zero, sum_l2 = zero;
  for (int i = 0; i < n; i++)
    max = wf_max(max, wf_load(x + i * WIDE));
  wm dead = wf_lt(max, wf_set(WN_K_EPS));
  wf iscale = wf_div(wf_set((float)top), max);
  wf best = positive_error(n, top, true, x, w, iscale);
  for (int is = -4; is <= 4; is++) {
    if (is == 0) continue;
    wf trial = wf_div(wf_set(0.1f * (float)is + (float)top), max);
    wf error = positive_error(n, top, false, x, w, trial);
    wm better = wf_lt(error, best);
    best = wf_pick(better, error, best);
    iscale = wf_pick(better, trial, iscale);
  }
  for (int i = 0; i < n; i++) {
    wf xi = wf_load(x + i * WIDE), wt = wf_load(w + i * WIDE);
    wi level = round_capped(wf_mul(iscale, xi), top);
    wf l = wi_to_float(level);
    wf_store(L + i * WIDE, wf_pick(dead, zero, as_byte(level)));
    sum_xl = wf_add(sum_xl, wf_mul(wf_mul(wt, xi), l));
    sum_l2 = wf_add(sum_l2, wf_mul(wf_mul(wt, l), l));
  }
  sum_xl = wf_pick(dead, zero, sum_xl); /* 0 never changes a level */
  for (int round = 0; round < 5; round++)
    if (!positive_round(n, top, x, w, L, &sum_xl, &sum_l2)) break;
  wm fitted = wm_not_and(dead, wf_lt(zero, sum_l2));
  wf_store(scale_out, wf_pick(fitted, wf_div(sum_xl, sum_l2), zero));
}
