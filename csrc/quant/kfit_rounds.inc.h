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
  float id[ROUNDS_STRIDE];                 /* which sub-block a lane holds */
  unsigned changed[ROUNDS_STRIDE / LANES]; /* lanes changed by a round */
} rounds_state;

/* The first levels, -4 .. 3, and their sums, of the QUAD lanes at x and l. */
WN_VEC void rounds_begin(const float *x, float *l, qf *sum_xl, qf *sum_l2) {
  const qf zero = qf_set(0), magic = qf_set(WN_K_MAGIC);
  qf max = zero, amax = zero;
  for (int i = 0; i < 16; i++) {
    qf xi = qf_load(x + i * ROUNDS_STRIDE), magnitude = qf_abs(xi);
    qm larger = qf_lt(amax, magnitude);
    amax = qf_pick(larger, magnitude, amax);
    max = qf_pick(larger, xi, max);
  }
  qf iscale = qf_div(qf_set(-4), max), xl = zero, l2 = zero;
  for (int i = 0; i < 16; i++) { /* |iscale * x| is at most 4, rounded */
    qf xi = qf_load(x + i * ROUNDS_STRIDE), w = qf_mul(xi, xi);
    qf v = qf_min(qf_mul(iscale, xi), qf_set(3));
    qf li = qf_sub(qf_add(v, magic), magic);
    qf_store(l + i * ROUNDS_STRIDE, li);
    xl = qf_add(xl, qf_mul(qf_mul(w, xi), li));
    l2 = qf_add(l2, qf_mul(qf_mul(w, li), li));
  }
  qm dead = qf_lt(amax, qf_set(WN_K_EPS));
  *sum_xl = qf_pick(dead, qf_set(NAN), xl); /* never changes a level */
  *sum_l2 = qf_pick(dead, zero, l2);
}

/* One round; which lanes changed. */
WN_VEC qm rounds_round(const float *x, float *l, qf *sum_xl, qf *sum_l2) {
  const qf zero = qf_set(0);
  qm changed = qf_lt(zero, zero);
  for (int i = 0; i < 16; i++) {
    qf xi = qf_load(x + i * ROUNDS_STRIDE),
       was = qf_load(l + i * ROUNDS_STRIDE);
    qf w = qf_mul(xi, xi), wx = qf_mul(w, xi);
    qf xl = qf_sub(*sum_xl, qf_mul(wx, was));
    qf l2 = qf_sub(*sum_l2, qf_mul(qf_mul(w, was), was));
    qm ok = qf_lt(zero, xl);
    qf v = qf_add(qf_div(qf_mul(xi, l2), xl), qf_set(WN_K_MAGIC));
    qi bits = qi_and(qf_bits(v), qi_set(0x007fffff));
    bits = qi_min(qi_sub(bits, qi_set(0x00400000)), qi_set(3));
    qf want = qi_to_float(qi_max(bits, qi_set(-4)));
    ok = qm_and(ok, qf_ne(want, was));
    xl = qf_add(xl, qf_mul(wx, want));
    l2 = qf_add(l2, qf_mul(qf_mul(w, want), want));
    ok = qm_and(ok, qf_lt(zero, l2));
    ok = qm_and(ok, qf_lt(qf_mul(qf_mul(*sum_xl, *sum_xl), l2),
                          qf_mul(qf_mul(xl, xl), *sum_l2)));
    qf_store(l + i * ROUNDS_STRIDE, qf_pick(ok, want, was));
    *sum_xl = qf_pick(ok, xl, *sum_xl);
    *sum_l2 = qf_pick(ok, l2, *sum_l2);
    changed = qm_or(changed, ok);
  }
  return changed;
}

/* A round for lanes i .. i + QUAD - 1, on the first levels when `first`. */
WN_VEC void rounds_quad(rounds_state *s, int i, bool first) {
  qf sum_xl, sum_l2;
  if (first) {
    rounds_begin(s->x + i, s->l + i, &sum_xl, &sum_l2);
  } else {
    sum_xl = qf_load(s->sum_xl + i);
    sum_l2 = qf_load(s->sum_l2 + i);
  }
  qm changed = rounds_round(s->x + i, s->l + i, &sum_xl, &sum_l2);
  qf_store(s->sum_xl + i, sum_xl);
  qf_store(s->sum_l2 + i, sum_l2);
  unsigned *c = s->changed + i / LANES;
  c[0] = vm_bits(changed.a.a);
  c[1] = vm_bits(changed.a.b);
  c[2] = vm_bits(changed.b.a);
  c[3] = vm_bits(changed.b.b);
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

static inline float rounds_scale(const rounds_state *s, int i) {
  return s->sum_l2[i] > 0 ? s->sum_xl[i] / s->sum_l2[i] : 0;
}

/* Scales of the 16 n_super sub-blocks at x. */
static void rounds_search(const float *x, int n_super, rounds_state *s,
                          float *scale) {
  int n = 16 * n_super;
  for (int i = 0; i < n; i += LANES)
    fetch_lanes(x + 16 * i, n - i, 16, s->x + i, ROUNDS_STRIDE);
  for (int i = (n + LANES - 1) / LANES * LANES; i % QUAD != 0; i += LANES)
    for (int k = 0; k < 16; k++)
      vf_store(s->x + k * ROUNDS_STRIDE + i, vf_set(0));
  for (int i = 0; i < n; i += QUAD)
    rounds_quad(s, i, true);
  for (int i = 0; i < n; i++) {
    scale[i] = rounds_scale(s, i);
    s->id[i] = (float)i;
  }
  for (int round = 1; round < 5; round++) {
    n = rounds_pack(s, n);
    for (int i = 0; i < n; i += QUAD)
      rounds_quad(s, i, false);
    for (int i = 0; i < n; i++)
      scale[(int)s->id[i]] = rounds_scale(s, i);
  }
}
