/* iq_search.inc.h - template: encoders of iq2_xxs, iq2_xs, iq2_s, iq3_xxs and
 * iq3_s. See iq_search.c for what is computed; here is how it is arranged.
 *
 * A sub-block is searched for all its scales (tries) at once:
 *   1. round every value at all scales, a try per lane, which gives the keys
 *      of every group, in order of growing inverse scale;
 *   2. where a key is no grid point, find the nearest neighbour, many
 *      neighbours at once (iq_near.inc.h);
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
  uint16_t key[9][MAX_TRIES];   /* per group and try: as rounded */
  uint16_t point[9][MAX_TRIES]; /* ... and on the grid */
  uint32_t edge[8]; /* per group: tries with a value at the edge of rounding */
} work;

/* --- 1. round ------------------------------------------------------------ */

/* Keys of group k at LANES inverse scales.
 *
 * A level is taken from the low bits of v + 1.5 * 2^23. max_q is at most 8 and
 * that number's bits end in zeros, so they can be taken off after packing.
 * *off becomes the largest distance of a value from its level, up to 0.5.
 * Halving is exact, so its product may fuse with the addition. */
WN_VEC vi round_group(const shape sh, const float *size, vf id, vf *off) {
  const int bias = 0x4b400000;
  unsigned excess = 0;
  vi key = vi_set(0);
  *off = vf_set(0);
  WN_UNROLL
  for (int i = 0; i < sh.dims; i++) {
    vf t = vf_sub(vf_mul(id, vf_set(size[i])), vf_set(1));
    vf r = vf_fma(t, vf_set(.5f), vf_set(12582912.f));
    vf level = vf_sub(r, vf_set(12582912.f));
    *off = vf_max(*off, vf_abs(vf_fms(t, vf_set(.5f), level)));
    vi l = vi_min(vi_max(vf_bits(r), vi_set(bias)), vi_set(bias + sh.max_q - 1));
    key = vi_add(key, vi_left(l, sh.bits * i));
    excess += (unsigned)bias << sh.bits * i;
  }
  return vi_sub(key, vi_set((int)excess));
}

/* Sets w->key, w->point and w->edge. */
WN_VEC void round_tries(const shape sh, work *w) {
  const int n_vectors = (2 * sh.tries + LANES) / LANES;
  for (int k = 0; k < sh.n_groups; k++) {
    w->edge[k] = 0;
    for (int v = 0; v < n_vectors; v++) {
      vf off, id = vf_load(w->id + LANES * v);
      vi key = round_group(sh, w->size + sh.dims * k, id, &off);
      vi_store_u16(w->key[k] + LANES * v, key);
      vi_store_u16(w->point[k] + LANES * v, key);
      w->edge[k] |= vm_bits(vf_lt(vf_set(0.49999f), off)) << LANES * v;
    }
  }
}

/* --- 2. find neighbours -------------------------------------------------- */

/* Replaces keys off the grid by their nearest neighbours in w->point. First
 * lists the places, without a branch on what lies on the grid: such branches
 * would often be guessed wrong. */
WN_VEC void find_points(const shape sh, work *w) {
  const int n_tries = 2 * sh.tries + 1;
  uint16_t todo[8 * MAX_TRIES];
  int n = 0;
  for (int k = 0; k < sh.n_groups; k++)
    for (int t = 0; t < n_tries; t++) {
      todo[n] = (uint16_t)(MAX_TRIES * k + t);
      n += w->grid->cells[w->key[k][t]].n != 0;
    }
  for (int i = 0; i < n; i++) {
    int k = todo[i] / MAX_TRIES, t = todo[i] % MAX_TRIES;
    const float *x = w->size + sh.dims * k, *root = w->root + sh.dims * k;
    w->point[k][t] = near_point(sh.dims, sh.bits, w->grid,
                                w->grid->cells[w->key[k][t]],
                                w->edge[k] >> t & 1, x, root, w->scale[t]);
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
    const float *x = w->size + sh.dims * k, *root = w->root + sh.dims * k;
    key[k] = cell.n == 0 ? again[k]
                         : near_point(sh.dims, sh.bits, w->grid, cell, true, x,
                                      root, scale);
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
  float max;   /* the largest size */
  float far;   /* the largest magnitude: sizes may be negative */
  float heavy; /* the largest root, 1e9 for more than that */
} extent;

/* Sets weights and sizes, takes the signs off. */
WN_VEC extent prepare(const shape sh, const wn_iq_rule *rule, const float *x,
                      const float *importance, float variance, work *w,
                      uint8_t *signs) {
  vf far = vf_set(0), heavy = vf_set(0);
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
  return (extent){vf_most(max), vf_most(far), vf_most(heavy)};
}

/* Sets ids and scales of the tries; `reach` is what the top
 * level stands for. False when a rounded number would leave the range in
 * which rounding works. */
WN_VEC bool set_tries(const shape sh, const float *top, float reach, extent x,
                      work *w) {
  for (int t = 0; t < MAX_TRIES; t += LANES) {
    vf id = vf_div(vf_load(top + t), vf_set(reach));
    vf_store(w->id + t, id);
    vf_store(w->scale + t, vf_div(vf_set(1), id));
  }
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
