/* iq_runs.inc.h - part of iq_search.inc.h: the nearest neighbours for runs of
 * tries.
 *
 * The distance of point g from a group x is, as a function of the scale s,
 *   D_g(s) = s * V_g(s) + C,   V_g(s) = A_g s - B_g,
 *   A = sum w q^2,   B = 2 sum w q x,   C = sum w x^2, the same for all g.
 * So the nearest point is the one with the lowest line V, and a run of tries
 * has the same list of points. A point stands in each lane; two lists of up to
 * 8, or one of up to 16, are searched at once.
 *
 * Let h be any other point than the lowest g, and d the distances that the
 * reference computes. They are off by at most alpha D + beta with
 * alpha = 4.8e-6 and beta = 1e-9 s^2 Q W, where Q is the largest q^2 and
 * W = sum w: a term w (s q - x)^2 has a relative error of 10 roundings, and
 * s q - x an absolute one of a rounding of s q (2 |s q - x| s q is split by the
 * inequality of the means at ratio 64). V is off by 43 roundings of A s + |B|,
 * 32 of them in lowest_line only, and that is at most 2 s Q W + C / s. So d_h >
 * d_g when V_h - V_g > 1.1e-5 D_g / s + 1.1e-5 s Q W + 5.2e-6 C / s. The margin
 * has more than that without the part of V in D_g / s = V_g + C / s, which is
 * twice what is needed: V_h > (1 + 2e-5) V_g + margin,   margin = 2.7e-5 C / s
 * + 1.4e-5 s Q W.
 *
 * The difference of both sides is concave in s: lines but for -C / s. So when
 * one g satisfies this against all h at the first and at the last try of a
 * run, it does at those between, and two searches do for the whole run. */

/* Looks up n runs from number `from` and sorts those off the grid by kind.
 * Lists grow by 0 or 1 without a branch, which would be guessed wrong too
 * often. */
WN_VEC void sort_runs(work *w, int from, int n_runs) {
  const uint16_t *keys = w->key[0];
  int n_small = 0, n_wide = 0, n_huge = 0;
  for (int i = from; i < from + n_runs; i++) {
    const unsigned a = w->first[i], e = w->last[i];
    bool at_edge = w->edge[a / MAX_TRIES] >> a % MAX_TRIES & 1;
    uint64_t r; /* a run: the cell's upper half over the places */
    memcpy(&r, w->grid->cells + keys[a], sizeof r);
    unsigned n = (unsigned)(r >> 48);
    r = (r >> 32 << 32) | e << 16 | a;
    memcpy(w->small + n_small, &r, sizeof r);
    memcpy(w->wide + n_wide, &r, sizeof r);
    memcpy(w->huge + n_huge, &r, sizeof r);
    n_small += !at_edge & (n - 1 < 8);
    n_wide += !at_edge & (n - 9 < 8);
    n_huge += !at_edge & (n - 17 < 16);
    if ((n > 32) | (at_edge & (n != 0)))
      w->alone[a / MAX_TRIES] |= (2u << e % MAX_TRIES) - (1u << a % MAX_TRIES);
  }
  w->n_small = n_small;
  w->n_wide = n_wide;
  w->n_huge = n_huge;
  w->n_mixed = 0;
}

/* How many points are searched at once. The halves of 16 lanes take a list of
 * up to 8 each; the others one list. */
enum { V = 16 / LANES }; /* registers of 16 lanes */
enum { SMALL = 8, WIDE = 16, HUGE = 32 };
#define REGISTERS(room) (((room) == HUGE ? 32 : 16) / LANES)

typedef struct lines {
  vf a[32 / LANES], b[32 / LANES];
} lines;

/* Lines of the points of r[0] and r[1]; the same run twice unless `room` is
 * SMALL. Points that do not exist are never lowest. Roundings may fuse: see
 * above. */
WN_VEC lines make_lines(const shape sh, const work *w, int room,
                        const run *const r[2]) {
  const uint16_t *lo = w->grid->near + 16 * r[0]->core;
  const uint16_t *hi = w->grid->near + 16 * r[1]->core;
  const int at0 = sh.dims * (r[0]->first / MAX_TRIES);
  const int at1 = sh.dims * (r[1]->first / MAX_TRIES);
  uint32_t listed = _bzhi_u32(~0u, r[0]->n_core);
  if (room == SMALL) listed |= (0xffu >> (8 - r[1]->n_core)) << 8;
  vf odd = odd_numbers(sh.dims);
  lines l;
  WN_UNROLL
  for (int v = 0; v < 2 * V; v++) {
    if (v >= REGISTERS(room)) break;
    vi key =
        room == SMALL ? vi_load_halves(lo, hi, v) : vi_load_u16(lo + LANES * v);
    vf a = vf_set(0), b = a;
    WN_UNROLL
    for (int i = 0; i < sh.dims; i++) {
      vf weight = vf_halves(w->root + at0 + i, w->root + at1 + i, v % V);
      vf x = vf_halves(w->size + at0 + i, w->size + at1 + i, v % V);
      vf q = look_term(sh.dims, odd, key), wq = vf_mul(weight, q);
      a = vf_fma(wq, q, a);
      b = vf_fma(wq, x, b);
      key = vi_right(key, sh.bits);
    }
    vm some = vm_of_bits(listed >> LANES * v & ALL_LANES);
    l.a[v] = vf_pick(some, a, vf_set(0));
    l.b[v] = vf_pick(some, vf_add(b, b), vf_set(-3e38f));
  }
  return l;
}

/* The least number of each list, in all lanes of the list. */
WN_VEC void least_of_list(int room, vf *a) {
  if (room == HUGE) WN_UNROLL
  for (int v = 0; v < V; v++)
    a[v] = a[v + V] = vf_min(a[v], a[v + V]);
  if (room != SMALL) vf_least16(a);
  if (room == HUGE) {
    WN_UNROLL
    for (int v = 0; v < V; v++)
      a[v + V] = a[v];
  }
  if (room != SMALL) return;
  WN_UNROLL
  for (int v = 0; v < V; v++)
    a[v] = vf_least8(a[v]);
}

/* The bits of the points that may be nearest at try t0 of the first list and
 * t1 of the second (places in work.key): one bit when that is certain. */
WN_VEC uint32_t lowest_points(const shape sh, const work *w, int room,
                              const lines *l, int t0, int t1) {
  const int g0 = t0 / MAX_TRIES, g1 = t1 / MAX_TRIES;
  const int i0 = t0 - MAX_TRIES * (g0 - g0 / sh.n_groups);
  const int i1 = t1 - MAX_TRIES * (g1 - g1 / sh.n_groups);
  const float *scale = w->scale[0], *id = w->id[0];
  float m0 = w->margin[g0][0] * id[i0] + w->margin[g0][1] * scale[i0];
  float m1 = w->margin[g1][0] * id[i1] + w->margin[g1][1] * scale[i1];
  vf line[32 / LANES], least[32 / LANES];
  WN_UNROLL
  for (int v = 0; v < 2 * V; v++) {
    if (v >= REGISTERS(room)) break;
    vf s = vf_halves(scale + i0, scale + i1, v % V);
    least[v] = line[v] = vf_fms(s, l->a[v], l->b[v]);
  }
  least_of_list(room, least);
  uint32_t low = 0;
  WN_UNROLL
  for (int v = 0; v < 2 * V; v++) {
    if (v >= REGISTERS(room)) break;
    vf margin = vf_halves(&m0, &m1, v % V);
    vf limit = vf_fma(least[v], vf_set(1 + 2e-5f), margin);
    low |= (vm_bits(vf_lt(limit, line[v])) ^ ALL_LANES) << LANES * v;
  }
  return low;
}

/* Gives all tries of a run a point, when the same one is the only one that may
 * be lowest at both ends; else the run joins the mixed ones. */
WN_VEC void take_point(work *w, const run *r, uint32_t first, uint32_t last) {
  const uint16_t *near = w->grid->near + 16 * r->core;
  int a = r->first % MAX_TRIES, e = r->last % MAX_TRIES;
  v32_fill_u16(w->point[r->first / MAX_TRIES], a, e,
               near[__builtin_ctz(first)]);
  memcpy(w->mixed + w->n_mixed, r, sizeof *r);
  w->n_mixed += (first != last) | ((first & (first - 1)) != 0);
}

WN_VEC void search_small(const shape sh, work *w) {
  w->small[w->n_small] = w->small[0]; /* pairs the last one */
  for (int i = 0; i < w->n_small; i += 2) {
    const run *const r[2] = {w->small + i, w->small + i + 1};
    lines l = make_lines(sh, w, SMALL, r);
    uint32_t a = lowest_points(sh, w, SMALL, &l, r[0]->first, r[1]->first);
    uint32_t e = lowest_points(sh, w, SMALL, &l, r[0]->last, r[1]->last);
    take_point(w, r[0], a & 0xff, e & 0xff);
    if (i + 1 < w->n_small) take_point(w, r[1], a >> 8, e >> 8);
  }
}

WN_VEC void search_large(const shape sh, work *w, int room, const run *list,
                         int n) {
  for (int i = 0; i < n; i++) {
    const run *const r[2] = {list + i, list + i};
    lines l = make_lines(sh, w, room, r);
    uint32_t a = lowest_points(sh, w, room, &l, r[0]->first, r[0]->first);
    uint32_t e = lowest_points(sh, w, room, &l, r[0]->last, r[0]->last);
    take_point(w, r[0], a, e);
  }
}

/* The numbers of the lowest of n lines at LANES scales, in the last 4 bits of
 * *lowest: they replace those of V, so that the minimum brings them along.
 * True lanes: that is certain. */
WN_VEC vm lowest_line(const float *a, const float *b, int n, vf scale,
                      vf margin, vf *lowest) {
  static const int32_t number[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                     8, 9, 10, 11, 12, 13, 14, 15};
  vf best[2] = {vf_set(3e38f), vf_set(3e38f)}, second[2] = {best[0], best[0]};
  WN_UNROLL
  for (int i = 0; i < 16; i++) {
    if (i >= n) break;
    vf v = vf_fms(scale, vf_set(a[i]), vf_set(b[i]));
    v = vf_with_low4(v, vi_set(number[i]));
    second[i % 2] = vf_min(second[i % 2], vf_max(v, best[i % 2]));
    best[i % 2] = vf_min(v, best[i % 2]);
  }
  vf next = vf_min(vf_max(best[0], best[1]), vf_min(second[0], second[1]));
  *lowest = vf_min(best[0], best[1]);
  return vf_lt(vf_fma(*lowest, vf_set(1 + 2e-5f), margin), next);
}

/* The point changes within the run: searches all its tries, one per lane. */
WN_VEC void search_mixed(const shape sh, work *w, int room, const run *r) {
  const run *const twice[2] = {r, r};
  const uint16_t *near = w->grid->near + 16 * r->core;
  const int g = r->first / MAX_TRIES, ib = g / sh.n_groups;
  const unsigned first = r->first % MAX_TRIES, last = r->last % MAX_TRIES;
  const uint32_t these = (2u << last) - (1u << first);
  lines l = make_lines(sh, w, room, twice);
  _Alignas(64) float a[16], b[16], *lines_a = a, *lines_b = b;
  WN_UNROLL
  for (int v = 0; v < V; v++) {
    vf_store(a + LANES * v, l.a[v]);
    vf_store(b + LANES * v, l.b[v]);
  }
  /* Lets the compiler forget what it knows of them: a broadcast from memory is
   * free, shuffling it out of the register that was just stored is not. */
  __asm__("" : "+r"(lines_a), "+r"(lines_b) : : "memory");
  for (unsigned at = first / LANES * LANES; at <= last; at += LANES) {
    vf scale = vf_load(w->scale[ib] + at), lowest;
    vf margin = vf_mul(scale, vf_set(w->margin[g][1]));
    margin = vf_fma(vf_load(w->id[ib] + at), vf_set(w->margin[g][0]), margin);
    vm sure = lowest_line(lines_a, lines_b, room, scale, margin, &lowest);
    vi key = vi_look16_u16(near, vf_bits(lowest));
    uint32_t mine = these >> at & ALL_LANES;
    uint16_t *out = w->point[g] + at;
    vi_store_u16(out, vi_pick(vm_of_bits(mine), key, vi_load_u16(out)));
    w->alone[g] |= (mine & ~vm_bits(sure)) << at;
  }
}

/* The same for a long list: searches try after try. */
WN_VEC void search_each(const shape sh, work *w, const run *r) {
  const run *const twice[2] = {r, r};
  const uint16_t *near = w->grid->near + 16 * r->core;
  lines l = make_lines(sh, w, HUGE, twice);
  for (int t = r->first; t <= r->last; t++) {
    uint32_t low = lowest_points(sh, w, HUGE, &l, t, t);
    w->point[t / MAX_TRIES][t % MAX_TRIES] = near[__builtin_ctz(low)];
    w->alone[t / MAX_TRIES] |= (uint32_t)((low & (low - 1)) != 0)
                               << t % MAX_TRIES;
  }
}

WN_VEC void clear_mixed(const shape sh, work *w) {
  for (int i = 0; i < w->n_mixed; i++) {
    const run *r = w->mixed + i;
    if (r->n_core <= SMALL)
      search_mixed(sh, w, SMALL, r);
    else if (r->n_core <= WIDE)
      search_mixed(sh, w, WIDE, r);
    else
      search_each(sh, w, r);
  }
}

/* Searches tries one by one with all that the reference computes. */
WN_VEC void search_alone(const shape sh, work *w) {
  for (int i = 0; i < sh.n_groups * w->n_live; i++) {
    int g = sh.n_groups * w->live[i / sh.n_groups] + i % sh.n_groups;
    for (uint32_t alone = w->alone[g]; alone != 0; alone &= alone - 1) {
      int t = __builtin_ctz(alone);
      wn_iq_cell cell = w->grid->cells[w->key[g][t]];
      if (!(w->edge[g] >> t & 1))
        cell = (wn_iq_cell){cell.core, cell.n_core, 0, 0};
      w->point[g][t] =
          near_point(sh.dims, sh.bits, w->grid, cell, w->size + sh.dims * g,
                     w->root + sh.dims * g, w->scale[g / sh.n_groups][t]);
    }
  }
}

/* Sets w->point where the key is off the grid. */
WN_VEC void find_points(const shape sh, work *w) {
  for (int i = 0; i < w->n_runs; i += SOME_RUNS) {
    int left = w->n_runs - i;
    sort_runs(w, i, left < SOME_RUNS ? left : SOME_RUNS);
    search_small(sh, w);
    search_large(sh, w, WIDE, w->wide, w->n_wide);
    search_large(sh, w, HUGE, w->huge, w->n_huge);
    clear_mixed(sh, w);
  }
  search_alone(sh, w);
}
