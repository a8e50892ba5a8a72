/* kfit_rounds.inc.h - template: wn_k_fit_rounds on all sub-blocks of a batch.
 *
 * One round per sub-block is needed always, a second by about a fifth of
 * them, a third by a twentieth. So all lanes do one round; then the lanes
 * that changed are packed together and go on, until none is left or five
 * rounds are over. Layout: value k of lane i at [k * ROUNDS_LANES + i]. */

enum {
  ROUNDS_LANES = BATCH * 16,          /* sub-blocks of a batch */
  ROUNDS_STRIDE = ROUNDS_LANES + QUAD /* the last quad may reach over */
};

typedef struct rounds_state {
  float x[16 * ROUNDS_STRIDE], l[16 * ROUNDS_STRIDE];
  float sum_xl[ROUNDS_STRIDE], sum_l2[ROUNDS_STRIDE];
  float floor[ROUNDS_STRIDE];              /* see rounds_want */
  float id[ROUNDS_STRIDE];                 /* which sub-block a lane holds */
  unsigned changed[ROUNDS_STRIDE / LANES]; /* lanes changed by a round */
} rounds_state;

/* The first value of the largest magnitude among 16, and that magnitude. The
 * largest and the smallest value give it, but for ties of opposite signs. */
WN_VEC qf rounds_extreme(const float *x, qf *magnitude) {
  qf high = qf_load(x), low = high;
  for (int i = ROUNDS_STRIDE; i < 16 * ROUNDS_STRIDE; i += ROUNDS_STRIDE) {
    high = qf_max(high, qf_load(x + i));
    low = qf_min(low, qf_load(x + i));
  }
  qf down = qf_neg(low), amax = qf_max(down, high);
  qf max = qf_pick(qf_lt(high, down), low, high);
  if (qm_any(qm_not_and(qf_ne(high, down), qf_lt(qf_set(0), amax)))) {
    max = amax = qf_set(0);
    for (int i = 0; i < 16 * ROUNDS_STRIDE; i += ROUNDS_STRIDE) {
      qf xi = qf_load(x + i), a = qf_abs(xi);
      qm larger = qf_lt(amax, a);
      amax = qf_pick(larger, a, amax);
      max = qf_pick(larger, xi, max);
    }
  }
  *magnitude = amax;
  return max;
}

/* The first levels, -4 .. 3, and their sums, of the QUAD lanes at x and l. */
WN_VEC void rounds_begin(const float *x, float *l, float *sum_xl,
                         float *sum_l2) {
  const qf zero = qf_set(0), magic = qf_set(WN_K_MAGIC);
  qf amax, max = rounds_extreme(x, &amax);
  qf iscale = qf_div(qf_set(-4), max), xl = zero, l2 = zero;
  for (int i = 0; i < 16 * ROUNDS_STRIDE; i += ROUNDS_STRIDE) {
    qf xi = qf_load(x + i), w = qf_mul(xi, xi);
    qf v = qf_min(qf_mul(iscale, xi), qf_set(3)); /* >= -4, rounded */
    qf li = qf_sub(qf_add(v, magic), magic);
    qf_store(l + i, li);
    xl = qf_add(xl, qf_mul(qf_mul(w, xi), li));
    l2 = qf_add(l2, qf_mul(qf_mul(w, li), li));
  }
  qm dead = qf_lt(amax, qf_set(WN_K_EPS));
  qf_store(sum_xl, qf_pick(dead, qf_set(NAN), xl)); /* never changes */
  qf_store(sum_l2, qf_pick(dead, zero, l2));
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

/* A round for lanes i .. i + QUAD - 1. Steps of one lane wait for each other:
 * two chains of two registers fill the waiting time. */
WN_VEC void rounds_quad(rounds_state *s, int i) {
  float *xl = s->sum_xl + i, *l2 = s->sum_l2 + i;
  wf xl_a = wf_load(xl), xl_b = wf_load(xl + WIDE);
  wf l2_a = wf_load(l2), l2_b = wf_load(l2 + WIDE);
  wm changed_a = wf_lt(xl_a, xl_a), changed_b = changed_a; /* none */
  for (int k = i; k < 16 * ROUNDS_STRIDE; k += ROUNDS_STRIDE) {
    float *x = s->x + k, *l = s->l + k;
    changed_a = wm_or(changed_a, rounds_step(x, l, &xl_a, &l2_a));
    x += WIDE;
    l += WIDE;
    changed_b = wm_or(changed_b, rounds_step(x, l, &xl_b, &l2_b));
  }
  wf_store(xl, xl_a);
  wf_store(xl + WIDE, xl_b);
  wf_store(l2, l2_a);
  wf_store(l2 + WIDE, l2_b);
  unsigned *c = s->changed + i / LANES;
  c[0] = vm_bits(changed_a.a);
  c[1] = vm_bits(changed_a.b);
  c[2] = vm_bits(changed_b.a);
  c[3] = vm_bits(changed_b.b);
}

/* Packs the changed ones among n lanes to the front and returns how many
 * they are. The lanes up to a full quad get sums that never change. */
static int rounds_pack(rounds_state *s, int n) {
  int kept = 0;
  for (int i = 0; i < n; i += LANES) {
    unsigned bits = s->changed[i / LANES];
    if (bits == 0) continue;
    v_plan p = vm_plan(vm_of_bits(bits));
    WN_UNROLL
    for (int k = 0; k < 16; k++) {
      float *x = s->x + k * ROUNDS_STRIDE, *l = s->l + k * ROUNDS_STRIDE;
      vf_store(x + kept, vf_pack(p, vf_load(x + i)));
      vf_store(l + kept, vf_pack(p, vf_load(l + i)));
    }
    vf_store(s->sum_xl + kept, vf_pack(p, vf_load(s->sum_xl + i)));
    vf_store(s->sum_l2 + kept, vf_pack(p, vf_load(s->sum_l2 + i)));
    vf_store(s->id + kept, vf_pack(p, vf_load(s->id + i)));
    kept += __builtin_popcount(bits);
  }
  qf_store(s->sum_xl + kept, qf_set(NAN));
  return kept;
}

/* Scales of the 16 n_super sub-blocks at x. */
static void rounds_search(const float *x, int n_super, rounds_state *s,
                          float *scale) {
  int n = 16 * n_super;
  for (int i = 0; i < (n + QUAD - 1) / QUAD * QUAD; i += LANES)
    fetch_lanes(x, i, n, 16, s->x + i, ROUNDS_STRIDE);
  for (int i = 0; i < n; i += QUAD) {
    rounds_begin(s->x + i, s->l + i, s->sum_xl + i, s->sum_l2 + i);
    rounds_quad(s, i);
  }
  for (int i = 0; i < n; i += LANES) {
    vf xl = vf_load(s->sum_xl + i), l2 = vf_load(s->sum_l2 + i);
    vf_store(scale + i,
             vf_pick(vf_lt(vf_set(0), l2), vf_div(xl, l2), vf_set(0)));
  }
  for (int i = 0; i < n; i++)
    s->id[i] = (float)i;
  for (int round = 1; round < 5; round++) {
    n = rounds_pack(s, n);
    for (int i = 0; i < n; i += QUAD)
      rounds_quad(s, i);
    for (int i = 0; i < n; i++)
      scale[(int)s->id[i]] = s->sum_l2[i] > 0 ? s->sum_xl[i] / s->sum_l2[i] : 0;
  }
}
