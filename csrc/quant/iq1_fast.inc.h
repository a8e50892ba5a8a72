/* iq1_fast.inc.h - template: encoders of iq1_s and iq1_m. See iq1.c for what
 * is computed. A sub-block stands in each lane; sorting, running sums and the
 * search for the best cut do in each lane what the reference does. */

WN_TARGET_BEGIN(WN_VEC_TARGET)

/* LANES sub-blocks of n values (32 or 16). */
typedef struct batch {
  const float *x[LANES], *weight[LANES];
  _Alignas(64) float value[32 * LANES]; /* value i of lane l at i * LANES + l */
  _Alignas(64) int rank[32 * LANES];    /* where it comes when sorted */
  _Alignas(64) float max[LANES];        /* the largest magnitude */
} batch;

/* Sorts: counts for each value how many come before it. Equal values keep
 * their order. */
WN_VEC void rank_values(int n, batch *b) {
  for (int i = 0; i < n; i += LANES)
    vf_transpose(b->x, (size_t)i, b->value + LANES * i, LANES);
  vf max = vf_set(0);
  for (int i = 0; i < n; i++) {
    vf v = vf_load(b->value + LANES * i);
    vi rank = vi_set(0);
    max = vf_max(max, vf_abs(v));
    for (int j = 0; j < i; j++)
      rank = vi_count(rank, vf_le(vf_load(b->value + LANES * j), v));
    for (int j = i + 1; j < n; j++)
      rank = vi_count(rank, vf_lt(vf_load(b->value + LANES * j), v));
    vi_store(b->rank + LANES * i, rank);
  }
  vf_store(b->max, max);
}

/* A best cut so far in each lane: its gain, its scale, and first, second and
 * deltas as CUT_CODE. */
typedef struct best_cut {
  vf gain, scale;
  vi code;
} best_cut;
#define CUT_CODE(first, second, minus) ((first) << 16 | (second) << 8 | (minus))

WN_VEC vm cut_gains(const best_cut *c, vf qx, vf qq) {
  return vf_lt(vf_mul(c->gain, qq), vf_mul(qx, qx));
}

WN_VEC void offer_cut(best_cut *c, vf qx, vf qq, int code) {
  vm gains = vm_and(cut_gains(c, qx, qq), vf_lt(vf_set(0), qq));
  if (!vm_any(gains)) return;
  vf scale = vf_div(qx, qq);
  c->scale = vf_pick(gains, scale, c->scale);
  c->gain = vf_pick(gains, vf_mul(scale, qx), c->gain);
  c->code = vi_pick(gains, vi_set(code), c->code);
}

static const best_cut *no_cut(best_cut *c) {
  *c = (best_cut){vf_set(-3.402823466e+38f), vf_set(0), vi_set(-1)};
  return c;
}

/* The two largest gains in each lane. The last 2 bits of a gain are the number
 * of its choice of deltas; pair is CUT_CODE without it.
 *
 * The cut with the largest gain is the one that the reference ends with when
 * the second is smaller by more than rounding can hide (see keep_try: 1e-6 are
 * plenty; here 4e-6, as the numbers of deltas change a gain by 4e-7), and when
 * qx^2 of the largest is far from the ends of the float range: no other sum
 * w q^2 is less than a ninetieth of its own, so no test that matters loses
 * bits. That spares the loop's dependence of each test on the one before. */
typedef struct top_cuts {
  vf best, second;
  vi pair;
} top_cuts;

/* The gain of a cut with its number (a vi): qx / qq * qx. */
WN_VEC vf numbered_gain(vf qx, vf qq, vi number) {
  return vf_with_low2(vf_mul(vf_div(qx, qq), qx), number);
}

/* Takes in the larger and the smaller gain of more cuts at a pair of places. */
WN_VEC void take_gains(top_cuts *t, vf large, vf small, int pair) {
  t->pair = vi_pick(vf_lt(t->best, large), vi_set(pair), t->pair);
  t->second = vf_max(t->second, vf_max(small, vf_min(large, t->best)));
  t->best = vf_max(t->best, large);
}

/* Bits of the lanes where the second is apart. */
WN_VEC unsigned apart(const top_cuts *t) {
  return vm_bits(vf_lt(t->second, vf_mul(t->best, vf_set(1 - 4e-6f))));
}

/* Running sums of iq1_s: sums of w x and of w over the sorted values, and what
 * level 2 adds when it begins at a place, per delta. */
typedef struct sums_s {
  _Alignas(64) float wx[33 * LANES], w[33 * LANES];
  float high_x[2][33 * LANES], high_w[2][33 * LANES];
} sums_s;

WN_VEC void run_sums_s(batch *b, sums_s *s) {
  enum { n = 32 };
  for (int l = 0; l < LANES; l++)
    for (int i = 0; i < n; i++) {
      int at = b->rank[LANES * i + l];
      s->w[LANES * (at + 1) + l] = b->weight[l][i];
      s->wx[LANES * (at + 1) + l] = b->weight[l][i] * b->x[l][i];
    }
  vf wx = vf_set(0), w = wx;
  vf_store(s->wx, wx);
  vf_store(s->w, w);
  for (int j = 1; j <= n; j++) {
    wx = vf_add(wx, vf_load(s->wx + LANES * j));
    w = vf_add(w, vf_load(s->w + LANES * j));
    vf_store(s->wx + LANES * j, wx);
    vf_store(s->w + LANES * j, w);
  }
  for (int m = 0; m < 2; m++) {
    vf q = vf_set(wn_iq1_levels[m][2]);
    for (int j = 0; j <= n; j++) {
      vf rest_x = vf_sub(wx, vf_load(s->wx + LANES * j));
      vf rest_w = vf_sub(w, vf_load(s->w + LANES * j));
      vf_store(s->high_x[m] + LANES * j, vf_mul(rest_x, q));
      vf_store(s->high_w[m] + LANES * j, vf_mul(vf_mul(rest_w, q), q));
    }
  }
}

/* The best cuts of the reference's loops. Level 1 is plus or minus an eighth:
 * what it adds to sum w q x only changes its sign, and to sum w q^2 nothing. */
static void cut_lanes_s(const sums_s *s, best_cut *best) {
  enum { n = 32 };
  const vf eighth = vf_set(0.125f);
  const vf low[2] = {vf_set(wn_iq1_levels[0][0]), vf_set(wn_iq1_levels[1][0])};
  best_cut c;
  no_cut(&c);
  for (int i1 = 0; i1 <= n; i1++) {
    vf wx1 = vf_load(s->wx + LANES * i1), w1 = vf_load(s->w + LANES * i1);
    vf low_x[2], low_w[2];
    for (int m = 0; m < 2; m++) {
      low_x[m] = vf_mul(wx1, low[m]);
      low_w[m] = vf_mul(vf_mul(w1, low[m]), low[m]);
    }
    for (int i2 = i1; i2 <= n; i2++) {
      const int at = LANES * i2;
      vf mid_x = vf_mul(vf_sub(vf_load(s->wx + at), wx1), eighth);
      vf mid_w = vf_mul(vf_mul(vf_sub(vf_load(s->w + at), w1), eighth), eighth);
      vf qx0 = vf_add(vf_add(low_x[0], mid_x), vf_load(s->high_x[0] + at));
      vf qq0 = vf_add(vf_add(low_w[0], mid_w), vf_load(s->high_w[0] + at));
      vf qx1 = vf_add(vf_sub(low_x[1], mid_x), vf_load(s->high_x[1] + at));
      vf qq1 = vf_add(vf_add(low_w[1], mid_w), vf_load(s->high_w[1] + at));
      vm any = vm_or(cut_gains(&c, qx0, qq0), cut_gains(&c, qx1, qq1));
      if (!vm_any(any)) continue;
      offer_cut(&c, qx0, qq0, CUT_CODE(i1, i2, 0));
      offer_cut(&c, qx1, qq1, CUT_CODE(i1, i2, 1));
    }
  }
  *best = c;
}

/* The top cuts of all. */
static void top_lanes_s(const sums_s *s, top_cuts *top) {
  enum { n = 32 };
  const vf eighth = vf_set(0.125f);
  const vf low[2] = {vf_set(wn_iq1_levels[0][0]), vf_set(wn_iq1_levels[1][0])};
  top_cuts t = {vf_set(0), vf_set(0), vi_set(0)};
  for (int i1 = 0; i1 <= n; i1++) {
    vf wx1 = vf_load(s->wx + LANES * i1), w1 = vf_load(s->w + LANES * i1);
    vf low_x[2], low_w[2];
    for (int m = 0; m < 2; m++) {
      low_x[m] = vf_mul(wx1, low[m]);
      low_w[m] = vf_mul(vf_mul(w1, low[m]), low[m]);
    }
    for (int i2 = i1; i2 <= n; i2++) {
      const int at = LANES * i2;
      vf mid_x = vf_mul(vf_sub(vf_load(s->wx + at), wx1), eighth);
      vf mid_w = vf_mul(vf_mul(vf_sub(vf_load(s->w + at), w1), eighth), eighth);
      vf qx0 = vf_add(vf_add(low_x[0], mid_x), vf_load(s->high_x[0] + at));
      vf qq0 = vf_add(vf_add(low_w[0], mid_w), vf_load(s->high_w[0] + at));
      vf qx1 = vf_add(vf_sub(low_x[1], mid_x), vf_load(s->high_x[1] + at));
      vf qq1 = vf_add(vf_add(low_w[1], mid_w), vf_load(s->high_w[1] + at));
      vf g0 = numbered_gain(qx0, qq0, vi_set(0));
      vf g1 = numbered_gain(qx1, qq1, vi_set(1));
      take_gains(&t, vf_max(g0, g1), vf_min(g0, g1), CUT_CODE(i1, i2, 0));
    }
  }
  *top = t;
}

/* The scale of one cut in lane l, as cut_lanes_s computes it, and its qx. */
WN_VEC float scale_s(const sums_s *s, int l, int i1, int i2, int m,
                     float *sum_qx) {
  const float *wx = s->wx + l, *w = s->w + l, low = wn_iq1_levels[m][0];
  float mid_x = (wx[LANES * i2] - wx[LANES * i1]) * wn_iq1_levels[m][1];
  float mid_w = (w[LANES * i2] - w[LANES * i1]) * 0.125f * 0.125f;
  float qx = wx[LANES * i1] * low + mid_x + s->high_x[m][LANES * i2 + l];
  float qq = w[LANES * i1] * low * low + mid_w + s->high_w[m][LANES * i2 + l];
  *sum_qx = qx;
  return qx / qq;
}

/* Running sums of iq1_m, per half (8 values): they stand still where a value
 * belongs to the other half. Then what the cuts make of them, per delta: the
 * part of sum w q^2 that hangs on the first and on the second cut. */
typedef struct sums_m {
  _Alignas(64) float wx[2][17 * LANES], w[2][17 * LANES];
  float low[2][2][17 * LANES], high[2][2][17 * LANES];
} sums_m;

WN_VEC void run_sums_m(batch *b, sums_m *s) {
  enum { n = 16 };
  memset(s->wx, 0, sizeof s->wx);
  memset(s->w, 0, sizeof s->w);
  for (int l = 0; l < LANES; l++)
    for (int i = 0; i < n; i++) {
      int at = b->rank[LANES * i + l];
      s->w[i / 8][LANES * (at + 1) + l] = b->weight[l][i];
      s->wx[i / 8][LANES * (at + 1) + l] = b->weight[l][i] * b->x[l][i];
    }
  for (int h = 0; h < 2; h++) {
    vf wx = vf_set(0), w = wx;
    for (int j = 1; j <= n; j++) {
      wx = vf_add(wx, vf_load(s->wx[h] + LANES * j));
      w = vf_add(w, vf_load(s->w[h] + LANES * j));
      vf_store(s->wx[h] + LANES * j, wx);
      vf_store(s->w[h] + LANES * j, w);
    }
    for (int m = 0; m < 2; m++) {
      const float *q = wn_iq1_levels[m];
      vf low = vf_set(q[0] * q[0] - q[1] * q[1]), q2 = vf_set(q[2]);
      vf high = vf_set(q[1] * q[1] - q[2] * q[2]);
      vf all = vf_mul(vf_mul(w, q2), q2);
      for (int j = 0; j <= n; j++) {
        vf wj = vf_load(s->w[h] + LANES * j);
        vf_store(s->low[h][m] + LANES * j, vf_add(vf_mul(low, wj), all));
        vf_store(s->high[h][m] + LANES * j, vf_mul(high, wj));
      }
    }
  }
}

static void cut_lanes_m(const sums_m *s, best_cut *best) {
  enum { n = 16 };
  vf all[2][2];
  best_cut c;
  no_cut(&c);
  for (int h = 0; h < 2; h++)
    for (int m = 0; m < 2; m++)
      all[h][m] =
          vf_mul(vf_load(s->wx[h] + LANES * n), vf_set(wn_iq1_levels[m][2]));
  for (int i1 = 0; i1 <= n; i1++)
    for (int i2 = i1; i2 <= n; i2++) {
      vf qx[2][2], qq[2][2];
      WN_UNROLL
      for (int h = 0; h < 2; h++) {
        vf lost = vf_add(vf_load(s->wx[h] + LANES * i1),
                         vf_load(s->wx[h] + LANES * i2));
        WN_UNROLL
        for (int m = 0; m < 2; m++) {
          qx[h][m] = vf_sub(all[h][m], lost);
          qq[h][m] = vf_add(vf_load(s->high[h][m] + LANES * i2),
                            vf_load(s->low[h][m] + LANES * i1));
        }
      }
      vf sum_x[4], sum_q[4];
      vm any = vm_of_bits(0);
      WN_UNROLL
      for (int k = 0; k < 4; k++) { /* deltas ++, +-, -+, -- */
        sum_x[k] = vf_add(qx[0][k >> 1], qx[1][k & 1]);
        sum_q[k] = vf_add(qq[0][k >> 1], qq[1][k & 1]);
        any = vm_or(any, cut_gains(&c, sum_x[k], sum_q[k]));
      }
      if (!vm_any(any)) continue;
      for (int k = 0; k < 4; k++)
        offer_cut(&c, sum_x[k], sum_q[k],
                  CUT_CODE(i1, i2, k >> 1 | (k & 1) << 1));
    }
  *best = c;
}

static void top_lanes_m(const sums_m *s, top_cuts *top) {
  enum { n = 16 };
  vf all[2][2];
  top_cuts t = {vf_set(0), vf_set(0), vi_set(0)};
  for (int h = 0; h < 2; h++)
    for (int m = 0; m < 2; m++)
      all[h][m] =
          vf_mul(vf_load(s->wx[h] + LANES * n), vf_set(wn_iq1_levels[m][2]));
  for (int i1 = 0; i1 <= n; i1++)
    for (int i2 = i1; i2 <= n; i2++) {
      vf qx[2][2], qq[2][2], g[4];
      WN_UNROLL
      for (int h = 0; h < 2; h++) {
        vf lost = vf_add(vf_load(s->wx[h] + LANES * i1),
                         vf_load(s->wx[h] + LANES * i2));
        WN_UNROLL
        for (int m = 0; m < 2; m++) {
          qx[h][m] = vf_sub(all[h][m], lost);
          qq[h][m] = vf_add(vf_load(s->high[h][m] + LANES * i2),
                            vf_load(s->low[h][m] + LANES * i1));
        }
      }
      WN_UNROLL
      for (int k = 0; k < 4; k++)
        g[k] = numbered_gain(vf_add(qx[0][k >> 1], qx[1][k & 1]),
                             vf_add(qq[0][k >> 1], qq[1][k & 1]), vi_set(k));
      vf a = vf_max(g[0], g[1]), b = vf_max(g[2], g[3]);
      vf c = vf_max(vf_min(g[0], g[1]), vf_min(g[2], g[3]));
      take_gains(&t, vf_max(a, b), vf_max(c, vf_min(a, b)),
                 CUT_CODE(i1, i2, 0));
    }
  *top = t;
}

/* The scale of one cut in lane l, as cut_lanes_m computes it, and its qx. */
WN_VEC float scale_m(const sums_m *s, int l, int i1, int i2, int k,
                     float *sum_qx) {
  float qx[2], qq[2];
  for (int h = 0; h < 2; h++) {
    int m = h == 0 ? k >> 1 : k & 1;
    const float *wx = s->wx[h] + l;
    qx[h] = wx[LANES * 16] * wn_iq1_levels[m][2] -
            (wx[LANES * i1] + wx[LANES * i2]);
    qq[h] = s->high[h][m][LANES * i2 + l] + s->low[h][m][LANES * i1 + l];
  }
  *sum_qx = qx[0] + qx[1];
  return *sum_qx / (qq[0] + qq[1]);
}

/* The neighbour of a group's key with the least distance. The core of the
 * list is enough when all values lie inside the interval that is nearer to
 * their level than to others (see near_point; here the levels come from a cut,
 * so that has to be asked). */
static uint16_t nearest_iq1(const wn_iq_grid *grid, uint16_t key,
                            const float *x, const float *weight, float scale,
                            const float *levels) {
  bool tame = scale < 1e9f, inside = true;
  for (int i = 0; i < 8; i++) {
    int l = key >> 2 * i & 3;
    float off = x[i] - scale * levels[l], limit = 0.4999f * scale;
    tame &= fabsf(x[i]) < 1e9f;
    tame &= weight[i] < 1e18f;
    inside &= (l == 0) | (off > -limit);
    inside &= (l == 2) | (off < limit);
  }
  if (!tame) return wn_iq1_nearest(grid, key, x, weight, scale, levels);
  wn_iq_cell cell = grid->cells[key];
  terms t = make_terms(8, vf_load4(levels), x, weight, scale);
  if (inside)
    return find_nearest(8, 2, &t, grid->near + 16 * cell.core, cell.n_core);
  return find_nearest(8, 2, &t, grid->near + 16 * cell.at, cell.n);
}

/* Weights of a super-block, given its sum of squares. */
WN_VEC void weigh_iq1(const float *x, const float *importance, float sum,
                      float *weight) {
  vf variance = vf_set(2 * sum / WN_QK);
  for (int i = 0; i < WN_QK; i += LANES) {
    vf v = vf_load(x + i), w = vf_mul(v, v);
    if (importance)
      w = vf_mul(vf_load(importance + i), vf_sqrt(vf_add(variance, w)));
    vf_store(weight + i, w);
  }
}

/* Keys of the groups: which level the cut gives each value. */
WN_VEC void cut_keys(int n, const batch *b, vi code, uint16_t key[4][LANES]) {
  vi last = vi_sub(vi_right(code, 16), vi_set(1));
  vi last2 = vi_sub(vi_and(vi_right(code, 8), vi_set(255)), vi_set(1));
  for (int k = 0; k < n / 8; k++) {
    vi keys = vi_set(0);
    WN_UNROLL
    for (int i = 0; i < 8; i++) {
      vi rank = vi_load(b->rank + LANES * (8 * k + i)), level = vi_set(0);
      level = vi_count(level, vi_gt(rank, last));
      level = vi_count(level, vi_gt(rank, last2));
      keys = vi_or(keys, vi_left(level, 2 * i));
    }
    vi_store_u16(key[k], keys);
  }
}

typedef union any_sums {
  sums_s s;
  sums_m m;
} any_sums;

/* The best cuts of the lanes whose bits are in `wanted`, from the top cuts.
 * False where that is not certain. */
WN_VEC bool take_top(int n, const any_sums *sums, unsigned wanted,
                     const top_cuts *top, int *code, float *scale) {
  _Alignas(64) uint32_t gain[LANES];
  if ((wanted & ~apart(top)) != 0) return false;
  vi_store(gain, vf_bits(top->best));
  vi_store(code, top->pair);
  bool sane = true;
  for (int l = 0; l < LANES; l++) {
    int i1 = code[l] >> 16, i2 = code[l] >> 8 & 255, k = gain[l] & 3;
    float qx;
    scale[l] = n == 32 ? scale_s(&sums->s, l, i1, i2, k & 1, &qx)
                       : scale_m(&sums->m, l, i1, i2, k, &qx);
    code[l] |= n == 32 ? k : k >> 1 | (k & 1) << 1;
    bool good = (qx * qx > 1e-30f) & (qx * qx < 1e30f);
    sane &= good | !(wanted >> l & 1);
  }
  return sane;
}

/* The best cuts of a batch: code and scale per lane. */
WN_VEC void find_cuts(int n, batch *b, unsigned wanted, any_sums *sums,
                      int *code, float *scale) {
  top_cuts top;
  best_cut best;
  if (n == 32) {
    run_sums_s(b, &sums->s);
    top_lanes_s(&sums->s, &top);
  } else {
    run_sums_m(b, &sums->m);
    top_lanes_m(&sums->m, &top);
  }
  if (take_top(n, sums, wanted, &top, code, scale)) return;
  if (n == 32)
    cut_lanes_s(&sums->s, &best);
  else
    cut_lanes_m(&sums->m, &best);
  vf_store(scale, best.scale);
  vi_store(code, best.code);
}

/* Searches LANES sub-blocks of n values, of which `used` are wanted; the first
 * is number `from` of its super-blocks. */
WN_VEC void search_batch(int n, const wn_iq_grid *grid, batch *b, int from,
                         int used, wn_iq1_super *s) {
  const int per_super = WN_QK / n;
  const float epsilon = n == 32 ? WN_IQ1_S_EPSILON : WN_IQ1_M_EPSILON;
  _Alignas(64) float scale[LANES];
  _Alignas(64) int code[LANES];
  uint16_t keys[4][LANES];
  any_sums sums;
  rank_values(n, b);
  unsigned zero = vm_bits(vf_lt(vf_load(b->max), vf_set(epsilon)));
  unsigned wanted = ((2u << (used - 1)) - 1) & ~zero;
  find_cuts(n, b, wanted, &sums, code, scale);
  cut_keys(n, b, vi_load(code), keys);
  for (int l = 0; l < used; l++) {
    int c = code[l], ib = (from + l) % per_super;
    wn_iq1_cut cut = {c >> 16, c >> 8 & 255, c & 255, scale[l]};
    const uint16_t key[4] = {keys[0][l], keys[1][l], keys[2][l], keys[3][l]};
    if (wanted >> l & 1)
      wn_iq1_settle(grid, b->x[l], b->weight[l], n, key, cut, nearest_iq1, ib,
                    &s[(from + l) / per_super]);
  }
}

/* Searches the sub-blocks (of n values) of super-blocks that stand one after
 * another, LANES at a time, given their values and weights. */
WN_VEC void search_iq1(int n, const wn_iq_grid *grid, const float *x,
                       const float *weight, int n_supers, wn_iq1_super *s) {
  const int n_subs = n_supers * (WN_QK / n);
  batch b;
  for (int from = 0; from < n_subs; from += LANES) {
    int used = n_subs - from < LANES ? n_subs - from : LANES;
    for (int l = 0; l < LANES; l++) {
      int at = n * (l < used ? from + l : from);
      b.x[l] = x + at;
      b.weight[l] = weight + at;
    }
    search_batch(n, grid, &b, from, used, s);
  }
}

/* Super-blocks that go through search_iq1 together. */
enum { IQ1_SUPERS = 2 };

static void pack_s(const wn_iq1_super *s, const float *x, const float *weight,
                   int n, wn_block_iq1_s *b) {
  (void)x;
  (void)weight;
  for (int j = 0; j < n; j++)
    wn_iq1_pack_s(&s[j], &b[j]);
}

/* The products that the fit of an iq1_m super-block sums up. A level stands for
 * (l - 1 + delta) * (2 level of the scale + 1), which is exact. */
WN_VEC void fit_products_m(const wn_iq1_super *s, const int *scale_level,
                           const float *x, const float *weight, float *qx,
                           float *qq) {
  const wn_iq_grid *grid = wn_iq_grid_of(WN_TYPE_IQ1_M);
  uint8_t level[WN_QK];
  float delta[WN_QK / 8];
  for (int k = 0; k < WN_QK / 8; k++) {
    unpack_levels(8, grid->keys[s->index[k]], level + 8 * k);
    delta[k] = wn_iq1_levels[s->minus[k / 2] >> k % 2 & 1][1] - 1;
  }
  for (int i = 0; i < WN_QK; i += LANES) {
    const float *d = delta + i / 16 * 2;
    vf odd = vf_set((float)(2 * scale_level[i / 16] + 1));
    vf l = vi_to_float(vi_load_bytes(level + i)), w = vf_load(weight + i);
    vf q =
        vf_mul(vf_add(l, vf_halves(d, d + 1, i / LANES % (16 / LANES))), odd);
    vf wq = vf_mul(w, q);
    vf_store(qx + i, vf_mul(wq, vf_load(x + i)));
    vf_store(qq + i, vf_mul(wq, q));
  }
}

/* Fits and packs n super-blocks. Each sum is one chain of additions, in order;
 * those of two super-blocks overlap. */
static void pack_m(const wn_iq1_super *s, const float *x, const float *weight,
                   int n, wn_block_iq1_m *b) {
  _Alignas(64) float qx[IQ1_SUPERS][WN_QK], qq[IQ1_SUPERS][WN_QK];
  float scale[IQ1_SUPERS], sum_qx[IQ1_SUPERS] = {0}, sum_qq[IQ1_SUPERS] = {0};
  int level[IQ1_SUPERS][16];
  for (int j = 0; j < IQ1_SUPERS; j++) {
    int from = j < n ? j : 0;
    scale[j] = wn_iq1_scales_m(&s[from], level[j]);
    fit_products_m(&s[from], level[j], x + WN_QK * from, weight + WN_QK * from,
                   qx[j], qq[j]);
  }
  for (int i = 0; i < WN_QK; i++) {
    WN_UNROLL
    for (int j = 0; j < IQ1_SUPERS; j++) {
      sum_qx[j] += qx[j][i];
      sum_qq[j] += qq[j][i];
    }
  }
  for (int j = 0; j < n; j++) {
    if (sum_qq[j] > 0) scale[j] = sum_qx[j] / sum_qq[j];
    wn_iq1_pack_m(&s[j], level[j], scale[j], &b[j]);
  }
}

#define ENCODER(ID, name, n, PACK)                                      \
  static void encode_##name(const float *src, void *dst, size_t len,    \
                            const float *importance) {                  \
    const wn_iq_grid *grid = wn_iq_grid_of(WN_TYPE_##ID);               \
    wn_block_##name *b = dst;                                           \
    _Alignas(64) float weight[IQ1_SUPERS * WN_QK], sums[LANES] = {0};   \
    for (size_t i = 0; i < len;) {                                      \
      size_t left = (len - i) / WN_QK;                                  \
      int supers = left < IQ1_SUPERS ? (int)left : IQ1_SUPERS;          \
      wn_iq1_super s[IQ1_SUPERS] = {{.scale = {0}}, {.scale = {0}}};    \
      size_t turn = i / WN_QK % LANES;                                  \
      if (turn == 0)                                                    \
        sum_squares(src + i, WN_QK, left < LANES ? left : LANES, sums); \
      for (int j = 0; j < supers; j++) {                                \
        size_t at = i + (size_t)(WN_QK * j);                            \
        weigh_iq1(src + at, importance ? importance + at : NULL,        \
                  sums[turn + (size_t)j], weight + WN_QK * j);          \
      }                                                                 \
      search_iq1(n, grid, src + i, weight, supers, s);                  \
      PACK(s, src + i, weight, supers, b);                              \
      b += supers;                                                      \
      i += (size_t)(WN_QK * supers);                                    \
    }                                                                   \
  }
ENCODER(IQ1_S, iq1_s, 32, pack_s)
ENCODER(IQ1_M, iq1_m, 16, pack_m)
#undef ENCODER

WN_TARGET_END
