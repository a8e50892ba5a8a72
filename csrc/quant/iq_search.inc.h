/* iq_search.inc.h - template: encoders of iq2_xxs, iq2_xs, iq2_s, iq3_xxs and
 * iq3_s. See iq_search.c for what is computed; here is how it is arranged.
 *
 * A sub-block is searched for all its scales (tries) at once:
 *   1. round every value at all scales, a try per lane, which gives the keys
 *      of every group, in order of growing inverse scale;
 *   2. per group, find the neighbour where a key is no grid point. Successive
 *      tries mostly round to the same key: a run. See fill_run;
 *   3. sum up all tries, a try per lane, and keep one (iq_tries.inc.h);
 *   4. round again with the scale found.
 *
 * Sub-blocks with numbers near the ends of the float range (`tame` says no)
 * go to the reference, so that the rest need not think of overflow. */

WN_TARGET_BEGIN(WN_VEC_TARGET)

/* The five rules with their constants at compile time. */
typedef struct shape {
  int dims, bits; /* of the grid */
  int sub, n_groups, max_q, tries;
} shape;

/* A sub-block while it is searched. */
typedef struct work {
  const wn_iq_grid *grid;
  float weight[32], root[32], size[32];
  float weighted[32];           /* weight * size */
  float id[MAX_TRIES];          /* the tries, ascending */
  float scale[MAX_TRIES];       /* 1 / id */
  float slack;                  /* see fill_run */
  uint16_t key[8][2 * MAX_TRIES];   /* per group and try: as rounded */
  uint16_t point[8][2 * MAX_TRIES]; /* ... and on the grid */
} work;

/* --- 1. round ------------------------------------------------------------ */

/* Levels of one value at LANES inverse scales, plus the bits of 1.5 * 2^23:
 * max_q is at most 8 and those bits end in zeros, so that they can be taken
 * off after packing. Exact: halving is, so the product may fuse. */
WN_VEC vi biased_levels(vf id, float x, int max_q) {
  const int bias = 0x4b400000;
  vf v = vf_sub(vf_mul(id, vf_set(x)), vf_set(1));
  vi l = vf_bits(vf_fma(v, vf_set(.5f), vf_set(12582912.f)));
  return vi_min(vi_max(l, vi_set(bias)), vi_set(bias + max_q - 1));
}

WN_VEC void round_tries(const shape sh, work *w) {
  const int n_vectors = (2 * sh.tries + LANES) / LANES;
  for (int k = 0; k < sh.n_groups; k++)
    for (int v = 0; v < n_vectors; v++) {
      vf id = vf_load(w->id + LANES * v);
      vi key = vi_set(0);
      unsigned bias = 0;
      WN_UNROLL
      for (int i = 0; i < sh.dims; i++) {
        vi l = biased_levels(id, w->size[sh.dims * k + i], sh.max_q);
        key = vi_add(key, vi_left(l, sh.bits * i));
        bias += 0x4b400000u << sh.bits * i;
      }
      vi_store_u16(w->key[k] + LANES * v, vi_sub(key, vi_set((int)bias)));
    }
}

/* --- 2. find neighbours -------------------------------------------------- */

/* The neighbour of a key in group k at one scale. */
WN_VEC nearest at_scale(const shape sh, const work *w, int k, wn_iq_cell cell,
                        float scale) {
  const float *x = w->size + sh.dims * k, *root = w->root + sh.dims * k;
  const uint16_t *near = w->grid->near + 16 * cell.at;
  return sh.dims == 4 ? near_point_4(near, cell.n, x, root, scale, w->slack)
                      : near_point_8(near, cell.n, x, root, scale, w->slack);
}

WN_VEC void copy_point(uint16_t *point, int a, int e, uint16_t key) {
  for (int t = a; t <= e; t++) point[t] = key;
}

/* Sets the points of tries a + 1 .. e - 1 of a run, given those of a and e.
 *
 * Why the ends may decide. The distance of point g at scale s is
 *   D_g(s) = A_g s^2 - 2 B_g s + C,   C the same for all points,
 * so D_h - D_g = s * (a line in s): if g beats h at both ends of an interval
 * of positive s, it does so everywhere between. That is about exact numbers.
 * The computed distance d of a group is off by at most
 *   alpha D + beta,  alpha = 4.8e-6,  beta = 1e-9 s^2 (2 max_q - 1)^2 sum w
 * (a term w (s q - x)^2 has a relative error of 10 roundings, and s q - x an
 * absolute one of a rounding of s q; split 2 |s q - x| s q by the inequality
 * of the means at ratio 64). Take F = (1 - alpha) D_h - (1 + alpha) D_g:
 * F + 2 alpha C is again s times a line, and the scales of a run differ by at
 * most a third, so F > alpha C + 3 beta at both ends gives F > 2 beta inside,
 * that is d_h > d_g. At the ends, d_h > 1.0001 d_g + slack implies it when
 *   slack >= 1.1 (alpha C + 5.1 beta);
 * set_tries takes twice that, over the whole sub-block, and a slack that
 * nothing exceeds where numbers are so small that they lose bits. */
WN_VEC void fill_between(const shape sh, work *w, int k, wn_iq_cell cell, int a,
                         nearest at_a, int e, nearest at_e) {
  struct interval { /* still to be filled, both ends known */
    int a, e;
    nearest at_a, at_e;
  } todo[8] = {{a, e, at_a, at_e}};
  uint16_t *point = w->point[k];
  for (int n = 1; n > 0;) {
    struct interval i = todo[--n];
    if (i.at_a.alone && i.at_e.alone && i.at_a.key == i.at_e.key) {
      copy_point(point, i.a + 1, i.e - 1, i.at_a.key);
    } else if (i.e - i.a > 1) {
      int mid = (i.a + i.e) / 2;
      nearest at_mid = at_scale(sh, w, k, cell, w->scale[mid]);
      point[mid] = at_mid.key;
      todo[n++] = (struct interval){i.a, mid, i.at_a, at_mid};
      todo[n++] = (struct interval){mid, i.e, at_mid, i.at_e};
    }
  }
}

/* Sets the points of tries a .. e of group k, which share a key. */
WN_VEC void fill_run(const shape sh, work *w, int k, int a, int e) {
  uint16_t *point = w->point[k], key = w->key[k][a];
  wn_iq_cell cell = w->grid->cells[key];
  if (cell.n == 0) {
    copy_point(point, a, e, key);
    return;
  }
  nearest at_a = at_scale(sh, w, k, cell, w->scale[a]);
  point[a] = at_a.key;
  if (a == e) return;
  nearest at_e = at_scale(sh, w, k, cell, w->scale[e]);
  point[e] = at_e.key;
  fill_between(sh, w, k, cell, a, at_a, e, at_e);
}

/* Bit t: try t begins a run of equal keys. */
WN_VEC unsigned run_starts(const uint16_t *key, int n_vectors) {
  unsigned starts = 0;
  for (int v = 0; v < n_vectors; v++) {
    vi here = vi_load_u16(key + LANES * v);
    vi next = vi_load_u16(key + LANES * v + 1);
    starts |= vm_bits(vi_eq(here, next)) << LANES * v;
  }
  return ~starts << 1 | 1;
}

WN_VEC void find_points(const shape sh, work *w) {
  const int n_vectors = (2 * sh.tries + LANES) / LANES, n = LANES * n_vectors;
  for (int k = 0; k < sh.n_groups; k++) {
    unsigned starts = run_starts(w->key[k], n_vectors);
    starts &= n == 32 ? ~0u : (1u << n) - 1;
    while (starts != 0) {
      int a = __builtin_ctz(starts);
      starts &= starts - 1;
      int e = starts != 0 ? __builtin_ctz(starts) - 1 : n - 1;
      fill_run(sh, w, k, a, e);
    }
  }
}

/* --- 3. sum up ----------------------------------------------------------- */

/* qx and qq of all tries; returns the try to keep or -1, and its scale. */
WN_VEC int choose_try(const shape sh, const work *w, float *scale) {
  const int n = 2 * sh.tries + 1, n_vectors = (n + LANES - 1) / LANES;
  vf qx[TRY_VECTORS], qq[TRY_VECTORS], odd = odd_numbers(sh.dims);
  float scales[MAX_TRIES], gains[MAX_TRIES];
  for (int v = 0; v < n_vectors; v++) {
    qx[v] = qq[v] = vf_set(0);
    for (int k = 0; k < sh.n_groups; k++) {
      vi key = vi_load_u16(w->point[k] + LANES * v);
      WN_UNROLL
      for (int i = 0; i < sh.dims; i++) {
        vf q = look_term(sh.dims, odd, key);
        key = vi_right(key, sh.bits);
        int at = sh.dims * k + i;
        qx[v] = vf_add(qx[v], vf_mul(vf_set(w->weighted[at]), q));
        qq[v] = vf_add(qq[v], vf_mul(vf_mul(vf_set(w->weight[at]), q), q));
      }
    }
  }
  int kept = keep_try(qx, qq, n_vectors, n, scales, gains);
  if (kept >= 0) *scale = scales[kept];
  return kept;
}

/* --- 4. round again ------------------------------------------------------ */

/* Keys of all groups at one inverse scale. */
WN_VEC void round_once(const shape sh, const work *w, float id, uint16_t *key) {
  uint8_t level[32];
  for (int i = 0; i < sh.sub; i += LANES) {
    vf v = vf_sub(vf_mul(vf_set(id), vf_load(w->size + i)), vf_set(1));
    vi l = vf_bits(vf_fma(v, vf_set(.5f), vf_set(12582912.f)));
    l = vi_sub(vi_and(l, vi_set(0x7fffff)), vi_set(0x400000));
    l = vi_min(vi_max(l, vi_set(0)), vi_set(sh.max_q - 1));
    vi_store_bytes(level + i, l);
  }
  for (int k = 0; k < sh.n_groups; k++) {
    unsigned u = 0;
    for (int i = 0; i < sh.dims; i++)
      u |= (unsigned)level[sh.dims * k + i] << sh.bits * i;
    key[k] = (uint16_t)u;
  }
}

/* The scale after rounding again; key[] holds the kept points. */
WN_VEC float redo_scale(const shape sh, const wn_iq_rule *rule, const work *w,
                        const bool *on_grid, float scale, uint16_t *key) {
  uint16_t again[8];
  round_once(sh, w, 1 / scale, again);
  for (int k = 0; k < sh.n_groups; k++) {
    if (rule->redo == WN_IQ_REDO_OFF_GRID && on_grid[k]) continue;
    wn_iq_cell cell = w->grid->cells[again[k]];
    key[k] = cell.n == 0 ? again[k] : at_scale(sh, w, k, cell, scale).key;
  }
  float qx = 0, qq = 0;
  for (int k = 0; k < sh.n_groups; k++)
    for (int i = 0; i < sh.dims; i++) {
      int level = key[k] >> sh.bits * i & ((1 << sh.bits) - 1);
      float q = (float)(2 * level + 1);
      qx += w->weighted[sh.dims * k + i] * q;
      qq += w->weight[sh.dims * k + i] * q * q;
    }
  return qq > 0 ? qx / qq : scale;
}

/* --- all of it ----------------------------------------------------------- */

/* What prepare() finds out about a sub-block. */
typedef struct extent {
  float max;       /* the largest size */
  float far;       /* the largest magnitude: sizes may be negative */
  float heavy;     /* the largest root, 1e9 for more than that */
  float sum, sum2; /* of roots; of roots * size^2 */
} extent;

/* Sets weights and sizes, takes the signs off. */
WN_VEC extent prepare(const shape sh, const wn_iq_rule *rule, const float *x,
                      const float *importance, float variance, work *w,
                      uint8_t *signs) {
  vf far = vf_set(0), heavy = vf_set(0), sum = vf_set(0), sum2 = vf_set(0);
  for (int i = 0; i < sh.sub; i += LANES) {
    vf v = vf_load(x + i), vv = vf_mul(v, v), weight = vv, size = vf_abs(v);
    if (importance)
      weight = vf_mul(vf_load(importance + i),
                      vf_sqrt(vf_add(vf_set(variance), vv)));
    else if (rule->type == WN_TYPE_IQ2_S)
      weight = vf_add(vf_set(0.25f * variance), vv);
    vf root = vf_sqrt(weight), limit = vf_set(1e9f);
    unsigned minus = vm_bits(vf_lt(v, vf_set(0)));
    for (int j = 0; j < LANES; j += 8)
      signs[(i + j) / 8] = (uint8_t)(minus >> j);
    vf_store(w->weight + i, weight);
    vf_store(w->root + i, root);
    vf_store(w->size + i, size);
    far = vf_max(far, size);
    heavy = vf_max(heavy, vf_pick(vf_lt(root, limit), root, limit));
    sum = vf_add(sum, root);
    sum2 = vf_add(sum2, vf_mul(root, vv));
  }
  if (rule->even_signs)
    for (int k = 0; k < sh.sub / 8; k++) {
      if (__builtin_popcount(signs[k]) % 2 == 0) continue;
      int least = wn_iq_least_value(x + 8 * k, w->weight + 8 * k);
      w->size[8 * k + least] = -w->size[8 * k + least];
      signs[k] ^= (uint8_t)(1u << least);
    }
  vf max = vf_load(w->size);
  for (int i = 0; i < sh.sub; i += LANES) {
    vf size = vf_load(w->size + i);
    max = vf_max(max, size);
    vf_store(w->weighted + i, vf_mul(vf_load(w->weight + i), size));
  }
  return (extent){vf_most(max), vf_most(far), vf_most(heavy), vf_total(sum),
                  vf_total(sum2)};
}

/* Sets ids and scales of the tries and the slack; `reach` is what the top
 * level stands for. False when a rounded number would leave the range in
 * which rounding works. */
WN_VEC bool set_tries(const shape sh, const float *top, float reach, extent x,
                      work *w) {
  for (int t = 0; t < MAX_TRIES; t += LANES) {
    vf id = vf_div(vf_load(top + t), vf_set(reach));
    vf_store(w->id + t, id);
    vf_store(w->scale + t, vf_div(vf_set(1), id));
  }
  float point = w->scale[0] * (float)(2 * sh.max_q - 1);
  w->slack = 1.1e-5f * x.sum2 + 1.2e-8f * point * point * x.sum;
  if (!(w->slack > 1e-24f)) w->slack = 3.2e38f;
  return x.far * w->id[MAX_TRIES - 1] < 4e6f;
}

/* Keys and scale of a sub-block whose tries are set. */
WN_VEC void search_tries(const shape sh, const wn_iq_rule *rule, work *w,
                         float *scale, uint16_t *key) {
  round_tries(sh, w);
  find_points(sh, w);
  int kept = choose_try(sh, w, scale), n_off = 0;
  bool on_grid[8];
  for (int k = 0; k < sh.n_groups; k++) {
    on_grid[k] = kept < 0 ? rule->starts_good
                          : w->key[k][kept] == w->point[k][kept];
    key[k] = kept < 0 ? 0 : w->point[k][kept];
    n_off += !on_grid[k];
  }
  if (*scale > 0 && (n_off > 0 || rule->redo == WN_IQ_REDO_ALL))
    *scale = redo_scale(sh, rule, w, on_grid, *scale, key);
}

WN_VEC void search_sub(const shape sh, const wn_iq_rule *rule,
                       const float *top, const float *x,
                       const float *importance, float variance, int ib,
                       work *w, wn_iq_super *s) {
  uint8_t *signs = s->signs + sh.sub / 8 * ib;
  extent e = prepare(sh, rule, x, importance, variance, w, signs);
  bool nothing = rule->epsilon > 0 ? e.max < rule->epsilon : e.max == 0;
  bool tame = e.far < 1e9f && e.heavy < 1e9f && e.max > 1e-30f;
  float reach = e.max, scale = e.max / (float)(2 * sh.max_q - 1);
  if (rule->fits_start && tame && !nothing) {
    scale = wn_iq_fit_start(w->size, w->weight, e.max);
    reach = scale * (float)sh.max_q;
    nothing = reach <= 0;
  }
  if (nothing) {
    s->skipped[ib] = true;
    memset(signs, 0, (size_t)sh.sub / 8);
  } else if (tame && set_tries(sh, top, reach, e, w)) {
    search_tries(sh, rule, w, &scale, s->key + sh.n_groups * ib);
    s->scale[ib] = scale;
    wn_iq_settle(rule, s, ib);
  } else {
    wn_iq_search_sub(rule, w->grid, x, importance, variance, ib, s);
  }
}

WN_VEC void encode_row(const shape sh, int type, const float *src, void *dst,
                       size_t n, const float *importance) {
  const wn_iq_rule *rule = wn_iq_rule_of(type);
  size_t bytes = wn_type(type)->bytes;
  float sums[LANES] = {0}, top[MAX_TRIES];
  work w;
  w.grid = wn_iq_grid_of(type);
  /* What the largest value maps to; the last try fills the idle lanes. */
  for (int t = 0; t < MAX_TRIES; t++) {
    int is = (t < 2 * sh.tries ? t : 2 * sh.tries) - sh.tries;
    top[t] = (float)(2 * sh.max_q - 1) + (float)is * rule->step;
  }
  for (size_t i = 0; i < n; i += WN_QK) {
    wn_iq_super s = {.scale = {0}};
    size_t turn = i / WN_QK % LANES, left = (n - i) / WN_QK;
    if (turn == 0) sum_squares(src + i, WN_QK, left < LANES ? left : LANES, sums);
    float variance = rule->sigma * sums[turn] / WN_QK;
    for (int ib = 0; ib < WN_QK / sh.sub; ib++) {
      size_t at = i + (size_t)(sh.sub * ib);
      search_sub(sh, rule, top, src + at, importance ? importance + at : NULL,
                 variance, ib, &w, &s);
    }
    wn_iq_pack(rule, &s, (uint8_t *)dst + i / WN_QK * bytes);
  }
}

#define ENCODER(ID, name, dims, bits, sub, max_q, tries)                  \
  static void encode_##name(const float *src, void *dst, size_t n,        \
                            const float *importance) {                    \
    const shape sh = {dims, bits, sub, (sub) / (dims), max_q, tries};     \
    encode_row(sh, WN_TYPE_##ID, src, dst, n, importance);                \
  }
ENCODER(IQ2_XXS, iq2_xxs, 8, 2, 32, 3, 6)
ENCODER(IQ2_XS, iq2_xs, 8, 2, 16, 3, 9)
ENCODER(IQ2_S, iq2_s, 8, 2, 16, 3, 9)
ENCODER(IQ3_XXS, iq3_xxs, 4, 3, 32, 8, 15)
ENCODER(IQ3_S, iq3_s, 4, 3, 32, 8, 9)
#undef ENCODER

WN_TARGET_END
