/* kfit_rounds.inc.h - template: wn_k_fit_rounds on all sub-blocks of a batch.
 *
 * Four of five sub-blocks change no level in the first round and are done; a
 * twentieth needs a third round. So all lanes do one round; then the few that
 * changed begin again, gathered into full registers, and do all theirs. Value
 * k of lane i of a quad lies at [k * QUAD + i]. */

/* Four registers of sub-blocks at work. */
typedef struct rounds_quad {
  float x[16 * QUAD], l[16 * QUAD];
  float sum_xl[QUAD], sum_l2[QUAD];
} rounds_quad;

/* The first value of the largest magnitude among 16, and that magnitude. The
 * largest and the smallest value give it, but for ties of opposite signs. */
WN_VEC qf rounds_extreme(const float *x, qf *magnitude) {
  qf high = qf_load(x), low = high;
  for (int i = QUAD; i < 16 * QUAD; i += QUAD) {
    high = qf_max(high, qf_load(x + i));
    low = qf_min(low, qf_load(x + i));
  }
  qf down = qf_neg(low), amax = qf_max(down, high);
  qf max = qf_pick(qf_lt(high, down), low, high);
  if (qm_any(qm_not_and(qf_ne(high, down), qf_lt(qf_set(0), amax)))) {
    max = amax = qf_set(0);
    for (int i = 0; i < 16 * QUAD; i += QUAD) {
      qf xi = qf_load(x + i), a = qf_abs(xi);
      qm larger = qf_lt(amax, a);
      amax = qf_pick(larger, a, amax);
      max = qf_pick(larger, xi, max);
    }
  }
  *magnitude = amax;
  return max;
}

/* The first levels, -4 .. 3, and their sums. */
WN_VEC void rounds_begin(rounds_quad *q) {
  const qf zero = qf_set(0), magic = qf_set(WN_K_MAGIC);
  qf amax, max = rounds_extreme(q->x, &amax);
  qf iscale = qf_div(qf_set(-4), max), xl = zero, l2 = zero;
  for (int i = 0; i < 16 * QUAD; i += QUAD) {
    qf xi = qf_load(q->x + i), w = qf_mul(xi, xi);
    qf v = qf_min(qf_mul(iscale, xi), qf_set(3)); /* >= -4, rounded */
    qf li = qf_sub(qf_add(v, magic), magic);
    qf_store(q->l + i, li);
    xl = qf_add(xl, qf_mul(qf_mul(w, xi), li));
    l2 = qf_add(l2, qf_mul(qf_mul(w, li), li));
  }
  qm dead = qf_lt(amax, qf_set(WN_K_EPS));
  qf_store(q->sum_xl, qf_pick(dead, qf_set(NAN), xl)); /* never changes */
  qf_store(q->sum_l2, qf_pick(dead, zero, l2));
}

/* Value x gets the level that suits the others best, if that lowers the
 * error. Which lanes changed. */
WN_VEC wm rounds_step(const float *x, float *l, wf *sum_xl, wf *sum_l2) {
  const wf zero = wf_set(0);
  wf xi = wf_load(x), was = wf_load(l);
  wf w = wf_mul(xi, xi), wx = wf_mul(w, xi);
  wf xl = wf_sub(*sum_xl, wf_mul(wx, was));
  wf l2 = wf_sub(*sum_l2, wf_mul(wf_mul(w, was), was));
  wm ok = wf_lt(zero, xl);
  wf want = wf_nearest(wf_div(wf_mul(xi, l2), xl));
  want = wf_max(wf_min(want, wf_set(3)), wf_set(-4));
  ok = wf_ne_where(ok, want, was);
  xl = wf_add(xl, wf_mul(wx, want));
  l2 = wf_add(l2, wf_mul(wf_mul(w, want), want));
  ok = wf_lt_where(ok, zero, l2);
  ok = wf_lt_where(ok, wf_mul(wf_mul(*sum_xl, *sum_xl), l2),
                   wf_mul(wf_mul(xl, xl), *sum_l2));
  wf_store(l, wf_pick(ok, want, was));
  *sum_xl = wf_pick(ok, xl, *sum_xl);
  *sum_l2 = wf_pick(ok, l2, *sum_l2);
  return ok;
}

/* One round; the set of lanes that changed, lane 0 lowest. Steps of one lane
 * wait for each other: two chains of two registers fill the waiting time. */
WN_VEC uint64_t rounds_round(rounds_quad *q) {
  float *xl = q->sum_xl, *l2 = q->sum_l2;
  wf xl_a = wf_load(xl), xl_b = wf_load(xl + WIDE);
  wf l2_a = wf_load(l2), l2_b = wf_load(l2 + WIDE);
  wm none = wf_lt(xl_a, xl_a), a = none, b = none;
  for (int k = 0; k < 16 * QUAD; k += QUAD) {
    float *x = q->x + k, *l = q->l + k;
    a = wm_or(a, rounds_step(x, l, &xl_a, &l2_a));
    b = wm_or(b, rounds_step(x + WIDE, l + WIDE, &xl_b, &l2_b));
  }
  wf_store(xl, xl_a);
  wf_store(xl + WIDE, xl_b);
  wf_store(l2, l2_a);
  wf_store(l2 + WIDE, l2_b);
  uint64_t low = vm_bits(a.a) | (uint64_t)vm_bits(a.b) << LANES;
  uint64_t high = vm_bits(b.a) | (uint64_t)vm_bits(b.b) << LANES;
  return low | high << WIDE;
}

/* Loads the sub-blocks id[0 .. n - 1] (at most QUAD) of x. */
static void rounds_load(const float *x, const short *id, int n,
                        rounds_quad *q) {
  const float *row[QUAD];
  for (int i = 0; i < QUAD; i++)
    row[i] = i < n ? x + 16 * id[i] : no_values;
  for (size_t i = 0; i < QUAD; i += LANES)
    for (size_t off = 0; off < 16; off += LANES)
      vf_transpose(row + i, off, q->x + off * QUAD + i, QUAD);
}

/* Up to `n_rounds` rounds of the sub-blocks id[0 .. n - 1]. Sets their
 * scales; returns the set of those that changed in the last round done. */
WN_VEC uint64_t rounds_run(const float *x, const short *id, int n, int n_rounds,
                           float *scale) {
  rounds_quad q;
  uint64_t changed = 0;
  float fitted[QUAD];
  rounds_load(x, id, n, &q);
  rounds_begin(&q);
  for (int i = 0; i < n_rounds; i++)
    if ((changed = rounds_round(&q)) == 0) break;
  for (int i = 0; i < QUAD; i += LANES) {
    vf xl = vf_load(q.sum_xl + i), l2 = vf_load(q.sum_l2 + i);
    vf_store(fitted + i,
             vf_pick(vf_lt(vf_set(0), l2), vf_div(xl, l2), vf_set(0)));
  }
  for (int i = 0; i < n; i++)
    scale[id[i]] = fitted[i];
  return changed;
}

/* Scales of the 16 n_super sub-blocks at x. */
static void rounds_search(const float *x, int n_super, float *scale) {
  short id[BATCH * 16], again[BATCH * 16 + QUAD];
  int n = 16 * n_super, n_again = 0;
  for (int i = 0; i < n; i++)
    id[i] = (short)i;
  for (int i = 0; i < n; i += QUAD) {
    int some = n - i < QUAD ? n - i : QUAD;
    uint64_t changed = rounds_run(x, id + i, some, 1, scale);
    for (; changed != 0; changed &= changed - 1)
      again[n_again++] = (short)(i + __builtin_ctzll(changed));
  }
  for (int i = 0; i < n_again; i += QUAD) {
    int some = n_again - i < QUAD ? n_again - i : QUAD;
    rounds_run(x, again + i, some, 5, scale);
  }
}
