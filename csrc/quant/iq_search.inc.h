/* iq_search.inc.h - template: encoders of iq2_xxs, iq2_xs, iq2_s, iq3_xxs and
 * iq3_s. See iq_search.c for what is computed; here is how it is arranged.
 *
 * A super-block goes through five stages, each stage for all its sub-blocks
 * before the next: a stage is a long chain of dependent operations, but the
 * chains of different sub-blocks overlap.
 *   1. weigh: weights, sizes, signs; which scales to try;
 *   2. round every value at all scales, a try per lane, which gives the keys
 *      of every group;
 *   3. where a key is no grid point, find the nearest neighbour, many
 *      neighbours at once (iq_runs.inc.h);
 *   4. sum up all tries, a try per lane, and keep one (iq_tries.inc.h);
 *   5. round again with the scale found.
 *
 * Sub-blocks with numbers near the ends of the float range go to the
 * reference, so that the rest need not think of overflow. */

WN_TARGET_BEGIN(WN_VEC_TARGET)

/* The five rules with their constants at compile time. */
typedef struct shape {
  int dims, bits; /* of the grid */
  int sub, n_groups, max_q, tries;
} shape;

enum { MAX_SUBS = 16, MAX_GROUPS = 64, MAX_RUNS = MAX_GROUPS * MAX_TRIES };
enum { SOME_RUNS = 256 }; /* that are searched together */
#define ALL_LANES ((1u << LANES) - 1)

/* Tries of one group with one key: places in work.key, and the neighbours. */
typedef struct run {
  uint16_t first, last, core, n_core;
} run;

/* A super-block while it is searched. Groups are counted through it. */
typedef struct work {
  const wn_iq_grid *grid;
  _Alignas(64) float weight[WN_QK], root[WN_QK], size[WN_QK];
  _Alignas(64) float weighted[WN_QK];     /* weight * size */
  int n_live, live[MAX_SUBS];             /* sub-blocks to be searched here */
  float start[MAX_SUBS], reach[MAX_SUBS]; /* first scale; what top maps to */
  _Alignas(64) float id[MAX_SUBS][MAX_TRIES];    /* the tries, ascending */
  _Alignas(64) float scale[MAX_SUBS][MAX_TRIES]; /* 1 / id */
  _Alignas(64) float qx[MAX_SUBS][MAX_TRIES], qq[MAX_SUBS][MAX_TRIES];
  float margin[MAX_GROUPS][2]; /* factors of 1 / s and s, see iq_runs.inc.h */
  /* Per group: the keys as rounded; bits of the tries with a value at the
   * edge of its rounding interval, and of those whose point is not known with
   * a margin; the keys of the points: as rounded, or of the nearest. */
  _Alignas(64) uint16_t key[MAX_GROUPS][MAX_TRIES];
  uint32_t edge[MAX_GROUPS], alone[MAX_GROUPS];
  _Alignas(64) uint16_t point[MAX_GROUPS][MAX_TRIES];
  /* Runs of tries of a group with the same key: places in the arrays above
   * of the first and the last; then those off the grid, by kind. */
  int n_runs, n_small, n_wide, n_huge, n_mixed;
  uint16_t first[MAX_RUNS + LANES], last[MAX_RUNS + LANES];
  run small[SOME_RUNS + 1], wide[SOME_RUNS + 1], huge[SOME_RUNS + 1];
  run mixed[SOME_RUNS + 1];
} work;

/* --- 1. weigh ------------------------------------------------------------ */

/* Where the number of minus signs of 8 values is odd, the value of least cost
 * w x^2 gets the wrong sign. `minus`: bits of LANES values; returns the bits
 * that flip. */
WN_VEC unsigned odd_ones_out(unsigned minus, vf cost) {
  unsigned hit = vm_bits(vf_eq(cost, vf_least8(cost))), flips = 0;
  for (int i = 0; i < LANES; i += 8) {
    unsigned first = hit >> i & 255 & -(hit >> i & 255);
    unsigned odd = (unsigned)__builtin_popcount(minus >> i & 255) & 1;
    flips |= first * odd << i;
  }
  return flips;
}

/* Sets the margins of a sub-block's groups. */
WN_VEC void set_margins(const shape sh, int ib, work *w) {
  const float top = (float)(2 * sh.max_q - 1);
  for (int g = sh.n_groups * ib; g < sh.n_groups * (ib + 1); g++) {
    const float *x = w->size + sh.dims * g, *root = w->root + sh.dims * g;
    float sum = 0, sum2 = 0;
    for (int i = 0; i < sh.dims; i++) {
      sum += root[i];
      sum2 += root[i] * x[i] * x[i];
    }
    w->margin[g][0] = 2.7e-5f * sum2;
    w->margin[g][1] = 1.4e-5f * top * top * sum;
  }
}

/* What weigh() finds out about a sub-block. */
typedef struct extent {
  float max;   /* the largest size */
  float far;   /* the largest magnitude: sizes may be negative */
  float heavy; /* the largest root, 1e9 for more than that */
} extent;

/* Sets weights and sizes of the sub-block at `at`, takes its signs off. */
WN_VEC extent weigh(const shape sh, const wn_iq_rule *rule, const float *x,
                    const float *importance, float variance, work *w, int at,
                    uint8_t *signs) {
  vf far = vf_set(0), heavy = vf_set(0), max = vf_set(-1e38f);
  for (int i = 0; i < sh.sub; i += LANES) {
    vf v = vf_load(x + i), vv = vf_mul(v, v), weight = vv, size = vf_abs(v);
    if (importance)
      weight = vf_mul(vf_load(importance + i),
                      vf_sqrt(vf_add(vf_set(variance), vv)));
    else if (rule->type == WN_TYPE_IQ2_S)
      weight = vf_add(vf_set(0.25f * variance), vv);
    unsigned minus = vm_bits(vf_lt(v, vf_set(0)));
    far = vf_max(far, size);
    if (rule->even_signs) {
      unsigned flips = odd_ones_out(minus, vf_mul(vf_mul(weight, v), v));
      size = vf_pick(vm_of_bits(flips), vf_neg(size), size);
      minus ^= flips;
    }
    for (int j = 0; j < LANES; j += 8)
      signs[(i + j) / 8] = (uint8_t)(minus >> j);
    vf root = vf_sqrt(weight), limit = vf_set(1e9f);
    vf_store(w->weight + at + i, weight);
    vf_store(w->root + at + i, root);
    vf_store(w->size + at + i, size);
    vf_store(w->weighted + at + i, vf_mul(weight, size));
    max = vf_max(max, size);
    heavy = vf_max(heavy, vf_pick(vf_lt(root, limit), root, limit));
  }
  return (extent){vf_most(max), vf_most(far), vf_most(heavy)};
}

/* Sets the tries of sub-block ib. False when a rounded number could leave the
 * range in which rounding works. */
WN_VEC bool set_tries(const float *top, float far, int ib, work *w) {
  for (int t = 0; t < MAX_TRIES; t += LANES) {
    vf id = vf_div(vf_load(top + t), vf_set(w->reach[ib]));
    vf_store(w->id[ib] + t, id);
    vf_store(w->scale[ib] + t, vf_div(vf_set(1), id));
  }
  return far * w->id[ib][MAX_TRIES - 1] < 4e6f;
}

/* Weighs sub-block ib and decides who searches it: nobody, when it is zero;
 * the reference; or the stages that follow. */
WN_VEC void begin_sub(const shape sh, const wn_iq_rule *rule, const float *top,
                      const float *x, const float *importance, float variance,
                      int ib, work *w, wn_iq_super *s) {
  uint8_t *signs = s->signs + sh.sub / 8 * ib;
  int at = sh.sub * ib;
  extent e = weigh(sh, rule, x, importance, variance, w, at, signs);
  bool nothing = rule->epsilon > 0 ? e.max < rule->epsilon : e.max == 0;
  bool tame = e.far < 1e9f && e.heavy < 1e9f && e.max > 1e-30f;
  w->reach[ib] = e.max;
  w->start[ib] = e.max / (float)(2 * sh.max_q - 1);
  if (rule->fits_start && tame && !nothing) {
    w->start[ib] = fit_start(w->size + at, w->weight + at, e.max);
    w->reach[ib] = w->start[ib] * (float)sh.max_q;
    nothing = w->reach[ib] <= 0;
  }
  if (nothing) {
    s->skipped[ib] = true;
    memset(signs, 0, (size_t)sh.sub / 8);
  } else if (tame && set_tries(top, e.far, ib, w)) {
    set_margins(sh, ib, w);
    w->live[w->n_live++] = ib;
  } else {
    wn_iq_search_sub(rule, w->grid, x, importance, variance, ib, s);
  }
}

/* --- 2. round ------------------------------------------------------------ */

/* Keys of a group at LANES inverse scales.
 *
 * A level is taken from the low bits of v + 1.5 * 2^23, where v has the range
 * of levels: these are below 8 and that number's bits end in zeros, so they can
 * be taken off after packing. *off becomes the largest distance of a v from its
 * level, up to 0.5: beyond the last level there is no edge. Halving is exact,
 * so its product may fuse with the addition. */
WN_VEC vi round_group(const shape sh, const float *size, vf id, vf *off) {
  const vf half = vf_set(.5f), bias = vf_set(12582912.f);
  unsigned excess = 0;
  vi key = vi_set(0);
  *off = vf_set(0);
  WN_UNROLL
  for (int i = 0; i < sh.dims; i++) {
    vf t = vf_sub(vf_mul(id, vf_set(size[i])), vf_set(1));
    t = vf_min(vf_max(t, vf_set(0)), vf_set((float)(2 * sh.max_q - 2)));
    vf r = vf_fma(t, half, bias);
    *off = vf_max_abs(*off, vf_fms(t, half, vf_sub(r, bias)));
    key = vi_add(key, vi_left(vf_bits(r), sh.bits * i));
    excess += 0x4b400000u << sh.bits * i;
  }
  return vi_sub(key, vi_set((int)excess));
}

/* Rounds group g: sets its keys, edges and runs. Tries in idle lanes repeat
 * the last one. */
WN_VEC void round_tries(const shape sh, work *w, int g) {
  const int n = 2 * sh.tries + 1, n_vectors = (n + LANES - 1) / LANES;
  const float *ids = w->id[g / sh.n_groups];
  uint32_t starts = 0, edge = 0;
  vi before = vi_set(-1);
  WN_UNROLL
  for (int v = 0; v < n_vectors; v++) {
    vf rest, id = vf_load(ids + LANES * v);
    vi key = round_group(sh, w->size + sh.dims * g, id, &rest);
    vi_store_u16(w->key[g] + LANES * v, key);
    vi_store_u16(w->point[g] + LANES * v, key);
    uint32_t same = vm_bits(vi_eq(key, vi_follow(before, key)));
    starts |= (same ^ ALL_LANES) << LANES * v;
    edge |= vm_bits(vf_lt(vf_set(0.49999f), rest)) << LANES * v;
    before = key;
  }
  bool tiny = !(w->margin[g][0] > 1e-24f); /* sums may have lost bits */
  if (tiny) edge = ~0u;
  w->edge[g] = edge;
  w->alone[g] = 0;
  /* A try at an edge is a run of its own. */
  starts = (starts | edge | edge << 1) & ((2u << (n - 1)) - 1);
  uint32_t ends = starts >> 1 | 1u << (n - 1);
  int i = w->n_runs, j = i;
  WN_UNROLL
  for (int v = 0; v < n_vectors; v++) {
    unsigned at = (unsigned)(MAX_TRIES * g + LANES * v);
    i += v16_list_bits(w->first + i, starts >> LANES * v & ALL_LANES, at);
    j += v16_list_bits(w->last + j, ends >> LANES * v & ALL_LANES, at);
  }
  w->n_runs = i;
}

/* --- 3. find neighbours -------------------------------------------------- */

#include "quant/iq_runs.inc.h"

/* --- 4. sum up ----------------------------------------------------------- */

/* qx and qq of all tries of sub-block ib. */
WN_VEC void sum_tries(const shape sh, work *w, int ib) {
  const int n_vectors = (2 * sh.tries + LANES) / LANES;
  vf qx[TRY_VECTORS], qq[TRY_VECTORS], odd = odd_numbers(sh.dims);
  for (int v = 0; v < n_vectors; v++)
    qx[v] = qq[v] = vf_set(0);
  for (int g = sh.n_groups * ib; g < sh.n_groups * (ib + 1); g++)
    for (int v = 0; v < n_vectors; v++) {
      vi key = vi_load_u16(w->point[g] + LANES * v);
      WN_UNROLL
      for (int i = 0; i < sh.dims; i++) {
        vf q = look_term(sh.dims, odd, key);
        key = vi_right(key, sh.bits);
        int at = sh.dims * g + i;
        qx[v] = vf_add(qx[v], vf_mul(vf_set(w->weighted[at]), q));
        qq[v] = vf_add(qq[v], vf_mul(vf_mul(vf_set(w->weight[at]), q), q));
      }
    }
  for (int v = 0; v < n_vectors; v++) {
    vf_store(w->qx[ib] + LANES * v, qx[v]);
    vf_store(w->qq[ib] + LANES * v, qq[v]);
  }
}

/* The tries kept of the sub-blocks live[from ...], one per lane: the loop of
 * the reference. kept = -1: none. */
WN_VEC void keep_tries(const shape sh, const work *w, int from, int *kept,
                       float *scale) {
  const int n = 2 * sh.tries + 1;
  const float *qx_row[LANES], *qq_row[LANES];
  _Alignas(64) float qx_of[MAX_TRIES * LANES], qq_of[MAX_TRIES * LANES];
  for (int i = 0; i < LANES; i++) {
    int ib = w->live[from + i < w->n_live ? from + i : w->n_live - 1];
    qx_row[i] = w->qx[ib];
    qq_row[i] = w->qq[ib];
  }
  for (int t = 0; t < n; t += LANES) {
    vf_transpose(qx_row, (size_t)t, qx_of + LANES * t, LANES);
    vf_transpose(qq_row, (size_t)t, qq_of + LANES * t, LANES);
  }
  vf best = vf_set(0), s = vf_set(0);
  vi which = vi_set(-1);
  for (int t = 0; t < n; t++) {
    vf qx = vf_load(qx_of + LANES * t), qq = vf_load(qq_of + LANES * t);
    vm gains = vf_lt(vf_mul(best, qq), vf_mul(qx, qx));
    gains = vm_and(gains, vf_lt(vf_set(0), qq));
    vf ratio = vf_div(qx, qq);
    s = vf_pick(gains, ratio, s);
    best = vf_pick(gains, vf_mul(ratio, qx), best);
    which = vi_pick(gains, vi_set(t), which);
  }
  vf_store(scale, s);
  vi_store(kept, which);
}

/* Takes over the keys and the scale of the try kept of sub-block ib; returns
 * the bits of its groups that are to be rounded again. */
WN_VEC unsigned take_try(const shape sh, const wn_iq_rule *rule, const work *w,
                         int ib, int kept, float scale, wn_iq_super *s) {
  const unsigned all = (1u << sh.n_groups) - 1;
  unsigned off = kept >= 0 || rule->starts_good ? 0 : all;
  for (int k = 0; k < sh.n_groups && kept >= 0; k++) {
    int g = sh.n_groups * ib + k;
    s->key[g] = w->point[g][kept];
    off |= (unsigned)(w->point[g][kept] != w->key[g][kept]) << k;
  }
  s->scale[ib] = kept < 0 ? w->start[ib] : scale;
  if (!(s->scale[ib] > 0)) return 0;
  if (rule->redo == WN_IQ_REDO_ALL) return all;
  return rule->redo == WN_IQ_REDO_OFF_GRID || off == 0 ? off : all;
}

/* --- 5. round again ------------------------------------------------------ */

/* The try t of sub-block ib with id[t] <= id <= id[t + 1], or -1. */
WN_VEC int try_below(const shape sh, const wn_iq_rule *rule, const work *w,
                     int ib, float id) {
  float first = w->id[ib][0], guess = (id - first) * w->reach[ib] / rule->step;
  if (!(guess >= 0 && guess < (float)(2 * sh.tries))) return -1;
  int t = (int)guess;
  return w->id[ib][t] <= id && id <= w->id[ib][t + 1] ? t : -1;
}

/* Whether tries t and t + 1 of group g tell the point of a key between them.
 * They do when they have that key and the same point with a margin: between
 * two scales, the difference of two lines is nowhere less than at both ends
 * (see iq_runs.inc.h; scales a step apart change the margin by a few percent of
 * the factor two that it has in hand), and a value that keeps its level at
 * both ends is not at the edge of it between them. */
WN_VEC bool tries_tell(const work *w, int g, int t, uint16_t key) {
  return (w->key[g][t] == key) & (w->key[g][t + 1] == key) &
         (w->point[g][t] == w->point[g][t + 1]) & ((w->alone[g] >> t & 3) == 0);
}

/* Rounds the groups whose bits are set at the scale of the sub-block. */
WN_VEC void round_again(const shape sh, const wn_iq_rule *rule, const work *w,
                        int ib, unsigned again, wn_iq_super *s) {
  const float *size = w->size + sh.sub * ib;
  float scale = s->scale[ib], id = 1 / scale;
  int below = try_below(sh, rule, w, ib, id), t = below < 0 ? 0 : below;
  _Alignas(64) uint8_t level[32];
  uint32_t edges = 0; /* values at the edge of rounding, or far off */
  for (int i = 0; i < sh.sub; i += LANES) {
    vf v = vf_sub(vf_mul(vf_set(id), vf_load(size + i)), vf_set(1));
    vf r = vf_fma(v, vf_set(.5f), vf_set(12582912.f));
    vf rest = vf_fms(v, vf_set(.5f), vf_sub(r, vf_set(12582912.f)));
    vi l = vi_sub(vi_and(vf_bits(r), vi_set(0x7fffff)), vi_set(0x400000));
    l = vi_min(vi_max(l, vi_set(0)), vi_set(sh.max_q - 1));
    vi_store_bytes(level + i, l);
    vm inside = vm_and(vf_lt(vf_abs(rest), vf_set(0.49999f)),
                       vf_lt(vf_abs(v), vf_set(4e6f)));
    edges |= (vm_bits(inside) ^ ALL_LANES) << i;
  }
  for (int k = 0; k < sh.n_groups; k++) {
    int g = sh.n_groups * ib + k;
    uint16_t key = pack_levels(sh.dims, level + sh.dims * k), point;
    wn_iq_cell cell = w->grid->cells[key];
    bool told = tries_tell(w, g, t, key) & (below >= 0);
    point = told ? w->point[g][t] : key;
    if (!(told | (cell.n == 0))) {
      bool edge = (edges >> sh.dims * k & ((1u << sh.dims) - 1)) != 0;
      if (!edge) cell = (wn_iq_cell){cell.core, cell.n_core, 0, 0};
      point = near_point(sh.dims, sh.bits, w->grid, cell, w->size + sh.dims * g,
                         w->root + sh.dims * g, scale);
    }
    if (again >> k & 1) s->key[g] = point;
  }
}

/* qx and qq of the values of sub-block ib, with the keys chosen last: their
 * products go where the tries were rounded. */
WN_VEC void fit_products(const shape sh, const wn_iq_super *s, int ib,
                         const work *w, float *qx, float *qq) {
  _Alignas(64) uint8_t level[32];
  for (int k = 0; k < sh.n_groups; k++)
    unpack_levels(sh.dims, s->key[sh.n_groups * ib + k], level + sh.dims * k);
  for (int i = 0; i < sh.sub; i += LANES) {
    vi l = vi_load_bytes(level + i);
    vf q = vi_to_float(vi_add(vi_add(l, l), vi_set(1)));
    vf weight = vf_load(w->weight + sh.sub * ib + i);
    vf_store(qx + i, vf_mul(vf_load(w->weighted + sh.sub * ib + i), q));
    vf_store(qq + i, vf_mul(vf_mul(weight, q), q));
  }
}

/* Fits the scales of the sub-blocks live[from ...] whose again[] is not 0,
 * one per lane, summing in order. */
WN_VEC void refit(const shape sh, const work *w, int from,
                  const unsigned *again, wn_iq_super *s) {
  _Alignas(64) float products[2][LANES][32], turned[2][32 * LANES];
  const float *qx_row[LANES], *qq_row[LANES];
  for (int i = 0; i < LANES; i++) {
    int j = from + i < w->n_live ? i : 0;
    qx_row[i] = products[0][j];
    qq_row[i] = products[1][j];
    if (j == i)
      fit_products(sh, s, w->live[from + i], w, products[0][i], products[1][i]);
  }
  vf qx = vf_set(0), qq = vf_set(0);
  for (int t = 0; t < sh.sub; t += LANES) {
    vf_transpose(qx_row, (size_t)t, turned[0] + LANES * t, LANES);
    vf_transpose(qq_row, (size_t)t, turned[1] + LANES * t, LANES);
  }
  for (int t = 0; t < sh.sub; t++) {
    qx = vf_add(qx, vf_load(turned[0] + LANES * t));
    qq = vf_add(qq, vf_load(turned[1] + LANES * t));
  }
  _Alignas(64) float scale[LANES];
  vf_store(scale, vf_div(qx, qq));
  unsigned valid = vm_bits(vf_lt(vf_set(0), qq));
  for (int i = 0; i < LANES && from + i < w->n_live; i++)
    if (again[from + i] != 0 && (valid >> i & 1))
      s->scale[w->live[from + i]] = scale[i];
}

/* --- all of it ----------------------------------------------------------- */

/* Searches a super-block: sets *s, which is all zero. */
WN_VEC void search_super(const shape sh, const wn_iq_rule *rule,
                         const float *top, const float *x,
                         const float *importance, float variance, work *w,
                         wn_iq_super *s) {
  unsigned again[MAX_SUBS];
  w->n_live = w->n_runs = 0;
  for (int ib = 0; ib < WN_QK / sh.sub; ib++) {
    int at = sh.sub * ib;
    begin_sub(sh, rule, top, x + at, importance ? importance + at : NULL,
              variance, ib, w, s);
  }
  for (int i = 0; i < w->n_live; i++)
    for (int k = 0; k < sh.n_groups; k++)
      round_tries(sh, w, sh.n_groups * w->live[i] + k);
  find_points(sh, w);
  for (int i = 0; i < w->n_live; i++)
    sum_tries(sh, w, w->live[i]);
  for (int from = 0; from < w->n_live; from += LANES) {
    _Alignas(64) int kept[LANES];
    _Alignas(64) float scale[LANES];
    keep_tries(sh, w, from, kept, scale);
    for (int i = 0; i < LANES && from + i < w->n_live; i++)
      again[from + i] =
          take_try(sh, rule, w, w->live[from + i], kept[i], scale[i], s);
  }
  for (int i = 0; i < w->n_live; i++)
    round_again(sh, rule, w, w->live[i], again[i], s);
  for (int from = 0; from < w->n_live; from += LANES)
    refit(sh, w, from, again, s);
  for (int i = 0; i < w->n_live; i++)
    wn_iq_settle(rule, s, w->live[i]);
}

WN_VEC void encode_row(const shape sh, int type, const float *src, void *dst,
                       size_t n, const float *importance) {
  const wn_iq_rule *rule = wn_iq_rule_of(type);
  size_t bytes = wn_type(type)->bytes;
  _Alignas(64) float sums[LANES] = {0}, top[MAX_TRIES];
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
    if (turn == 0)
      sum_squares(src + i, WN_QK, left < LANES ? left : LANES, sums);
    search_super(sh, rule, top, src + i, importance ? importance + i : NULL,
                 rule->sigma * sums[turn] / WN_QK, &w, &s);
    wn_iq_pack(rule, &s, (uint8_t *)dst + i / WN_QK * bytes);
  }
}

#define ENCODER(ID, name, dims, bits, sub, max_q, tries)              \
  static void encode_##name(const float *src, void *dst, size_t n,    \
                            const float *importance) {                \
    const shape sh = {dims, bits, sub, (sub) / (dims), max_q, tries}; \
    encode_row(sh, WN_TYPE_##ID, src, dst, n, importance);            \
  }
ENCODER(IQ2_XXS, iq2_xxs, 8, 2, 32, 3, 6)
ENCODER(IQ2_XS, iq2_xs, 8, 2, 16, 3, 9)
ENCODER(IQ2_S, iq2_s, 8, 2, 16, 3, 9)
ENCODER(IQ3_XXS, iq3_xxs, 4, 3, 32, 8, 15)
ENCODER(IQ3_S, iq3_s, 4, 3, 32, 8, 9)
#undef ENCODER

WN_TARGET_END
