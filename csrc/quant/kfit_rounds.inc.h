/* kfit_rounds.inc.h - template: wn_k_fit_rounds on all sub-blocks of a batch.
 *
 * Four of five sub-blocks change no level in the first round and are done; a
 * twentieth needs a third round. So all lanes do one round; then the few that
 * changed are gathered into full registers, begin again, which is cheaper
 * than moving their state, and do all rounds. Value k of lane i of a quad
 * lies at [k * QUAD + i]. */

/* Four registers of sub-blocks at work. */
typedef struct rounds_quad {
  float x[16 * QUAD], l[16 * QUAD];  /* values and levels */
  float w[16 * QUAD], wx[16 * QUAD]; /* x^2 and x^3 */
  float sum_xl[QUAD], sum_l2[QUAD], step[QUAD];
} rounds_quad;

/* What the search found per sub-block: its scale, and the step of the first
 * levels where no round changes them (NaN: all values count as zero), else
 * 0. */
typedef struct rounds_fit {
  float *scale, *step;
} rounds_fit;

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

WN_VEC uint64_t quad_bits(qm m) {
  uint64_t low = vm_bits(m.a.a) | (uint64_t)vm_bits(m.a.b) << LANES;
  uint64_t high = vm_bits(m.b.a) | (uint64_t)vm_bits(m.b.b) << LANES;
  return low | high << WIDE;
}

/* The first levels, -4 .. 3, and their sums. Returns whether a round could
 * change something in any lane.
 *
 * Where the extreme value is positive, step is negative and no x l is
 * positive. Sums of numbers of one sign are, rounded, no smaller in magnitude
 * than each of them, so `others_xl` of ksearch.c is never positive. */
WN_VEC bool rounds_begin(rounds_quad *q) {
  const qf zero = qf_set(0), magic = qf_set(WN_K_MAGIC);
  qf amax, max = rounds_extreme(q->x, &amax);
  qf iscale = qf_div(qf_set(-4), max), xl = zero, l2 = zero;
  for (int i = 0; i < 16 * QUAD; i += QUAD) {
    qf xi = qf_load(q->x + i), w = qf_mul(xi, xi), wx = qf_mul(w, xi);
    qf v = qf_min(qf_mul(iscale, xi), qf_set(3)); /* >= -4, rounded */
    qf li = qf_sub(qf_add(v, magic), magic);
    xl = qf_add(xl, qf_mul(wx, li));
    l2 = qf_add(l2, qf_mul(qf_mul(w, li), li));
    qf_store(q->l + i, li);
    qf_store(q->w + i, w);
    qf_store(q->wx + i, wx);
  }
  qm dead = qf_lt(amax, qf_set(WN_K_EPS)), negative = qf_lt(max, zero);
  qf_store(q->sum_xl, qf_pick(dead, qf_set(NAN), xl)); /* never changes */
  qf_store(q->sum_l2, qf_pick(dead, zero, l2));
  iscale = qf_pick(negative, zero, iscale);
  qf_store(q->step, qf_pick(dead, qf_set(NAN), iscale));
  return qm_any(qm_not_and(dead, negative));
}

/* Value x gets the level that suits the others best, if that lowers the
 * error. Which lanes changed. */
WN_VEC vm rounds_step(rounds_quad *q, int at, vf *sum_xl, vf *sum_l2) {
  const vf zero = vf_set(0);
  vf xi = vf_load(q->x + at), was = vf_load(q->l + at);
  vf w = vf_load(q->w + at), wx = vf_load(q->wx + at);
  vf xl = vf_sub(*sum_xl, vf_mul(wx, was));
  vf l2 = vf_sub(*sum_l2, vf_mul(vf_mul(w, was), was));
  vm ok = vf_lt(zero, xl);
  vf want = vf_nearest(vf_div(vf_mul(xi, l2), xl));
  want = vf_max(vf_min(want, vf_set(3)), vf_set(-4));
  ok = vf_ne_where(ok, want, was);
  xl = vf_add(xl, vf_mul(wx, want));
  l2 = vf_add(l2, vf_mul(vf_mul(w, want), want));
  ok = vf_lt_where(ok, zero, l2);
  ok = vf_lt_where(ok, vf_mul(vf_mul(*sum_xl, *sum_xl), l2),
                   vf_mul(vf_mul(xl, xl), *sum_l2));
  vf_store(q->l + at, vf_pick(ok, want, was));
  *sum_xl = vf_pick(ok, xl, *sum_xl);
  *sum_l2 = vf_pick(ok, l2, *sum_l2);
  return ok;
}

/* One round; the set of lanes that changed, lane 0 lowest. */
WN_VEC uint64_t rounds_round(rounds_quad *q) {
  vf xl[4], l2[4];
  vm c[4];
  WN_UNROLL
  for (int r = 0; r < 4; r++) {
    xl[r] = vf_load(q->sum_xl + r * LANES);
    l2[r] = vf_load(q->sum_l2 + r * LANES);
    c[r] = vf_lt(xl[r], xl[r]);
  }
  for (int k = 0; k < 16 * QUAD; k += QUAD) {
    WN_UNROLL
    for (int r = 0; r < 4; r++)
      c[r] = vm_or(c[r], rounds_step(q, k + r * LANES, &xl[r], &l2[r]));
  }
  uint64_t all = 0;
  WN_UNROLL
  for (int r = 0; r < 4; r++) {
    vf_store(q->sum_xl + r * LANES, xl[r]);
    vf_store(q->sum_l2 + r * LANES, l2[r]);
    all |= (uint64_t)vm_bits(c[r]) << (r * LANES);
  }
  return all;
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

/* Scales of all lanes to q->sum_xl. */
WN_VEC void rounds_scales(rounds_quad *q) {
  for (int i = 0; i < QUAD; i += LANES) {
    vf xl = vf_load(q->sum_xl + i), l2 = vf_load(q->sum_l2 + i);
    vf_store(q->sum_xl + i,
             vf_pick(vf_lt(vf_set(0), l2), vf_div(xl, l2), vf_set(0)));
  }
}

static int rounds_some(int i, int n) {
  return n - i < QUAD ? n - i : QUAD;
}

/* Scales and steps of the n sub-blocks at x after the first round. Lists
 * those that changed. */
static int rounds_first(const float *x, int n, rounds_fit fit, short *list) {
  int n_list = 0;
  rounds_quad q;
  for (int i = 0; i < n; i += QUAD) {
    short id[QUAD];
    int some = rounds_some(i, n);
    for (int k = 0; k < QUAD; k++)
      id[k] = (short)(i + k);
    rounds_load(x, id, some, &q);
    uint64_t changed = rounds_begin(&q) ? rounds_round(&q) : 0;
    rounds_scales(&q);
    memcpy(fit.scale + i, q.sum_xl, (size_t)some * sizeof(float));
    memcpy(fit.step + i, q.step, (size_t)some * sizeof(float));
    for (; changed != 0; changed &= changed - 1)
      list[n_list++] = (short)(i + __builtin_ctzll(changed));
  }
  return n_list;
}

/* All rounds of some sub-blocks of x. */
static void rounds_all(const float *x, const short *id, int some,
                       rounds_quad *q) {
  rounds_load(x, id, some, q);
  rounds_begin(q);
  for (int r = 0; r < 5; r++)
    if (rounds_round(q) == 0) break;
}

/* Scales and steps of n sub-blocks at x, at most BATCH * 16. */
static void rounds_search(const float *x, int n, rounds_fit fit) {
  short list[BATCH * 16];
  rounds_quad q;
  int n_list = rounds_first(x, n, fit, list);
  for (int i = 0; i < n_list; i += QUAD) {
    int some = rounds_some(i, n_list);
    rounds_all(x, list + i, some, &q);
    rounds_scales(&q);
    for (int k = 0; k < some; k++)
      fit.scale[list[i + k]] = q.sum_xl[k];
  }
}

/* The levels 0 .. 7 of the n sub-blocks id[...] after all their rounds. */
static void rounds_keep(const float *x, const short *id, int n, uint8_t *L) {
  rounds_quad q;
  for (int i = 0; i < n; i += QUAD) {
    int some = rounds_some(i, n);
    rounds_all(x, id + i, some, &q);
    for (int k = 0; k < some; k++)
      for (int v = 0; v < 16; v++)
        L[16 * id[i + k] + v] = (uint8_t)(q.l[v * QUAD + k] + 4);
  }
}
