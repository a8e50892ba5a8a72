/* iq_fit.inc.h - template: the starting scale of iq2_xxs, which is
 * wn_iq_fit_start of iq_search.c with the nine trial scales in lanes, and then
 * the values in lanes. */

WN_TARGET_BEGIN(WN_VEC_TARGET)

enum { FIT_N = 32, FIT_MAX = 4, FIT_TRIES = 9 };

/* The levels of values at inverse scales, as integers: wn_iq_nearest. */
WN_VEC vi nearest_level(vf v) {
  vi bits = vf_bits(vf_add(v, vf_set(12582912.f)));
  return vi_sub(vi_and(bits, vi_set(0x7fffff)), vi_set(0x400000));
}

/* The inverse scale with the least error. Try 0 is the one that the reference
 * tries first; its levels are bytes, not bounded by FIT_MAX. */
WN_VEC float fit_inverse(const float *x, const float *weight, float max) {
  enum { V = 16 / LANES };
  static const float steps[16] = {0, -4, -3, -2, -1, 1, 2, 3, 4};
  _Alignas(64) float id[16], error[16];
  vf inverse[V], scale[V], sum[V];
  for (int v = 0; v < V; v++) {
    vf top = vf_mul(vf_set(0.1f), vf_load(steps + LANES * v));
    inverse[v] = vf_div(vf_add(top, vf_set(FIT_MAX)), vf_set(max));
    scale[v] = vf_div(vf_set(1), inverse[v]);
    sum[v] = vf_set(0);
    vf_store(id + LANES * v, inverse[v]);
  }
  for (int i = 0; i < FIT_N; i++)
    for (int v = 0; v < V; v++) {
      vf xi = vf_set(x[i]);
      vi l = nearest_level(vf_mul(inverse[v], xi)),
         byte = vi_and(l, vi_set(255));
      l = vi_min(l, vi_set(FIT_MAX));
      if (v == 0) l = vi_pick(vm_of_bits(1), byte, l);
      vf diff = vf_sub(xi, vf_mul(scale[v], vi_to_float(l)));
      vf term = vf_mul(vf_mul(vf_set(weight[i]), diff), diff);
      sum[v] = vf_add(sum[v], term);
    }
  int best = 0;
  for (int v = 0; v < V; v++)
    vf_store(error + LANES * v, sum[v]);
  for (int t = 1; t < FIT_TRIES; t++)
    if (error[t] < error[best]) best = t;
  return id[best];
}

/* Values, products and levels while levels move. */
typedef struct fit {
  _Alignas(64) float x[FIT_N], weight[FIT_N], weighted[FIT_N];
  _Alignas(64) float level[FIT_N]; /* bytes, 0 .. 255 */
  float sum_xl, sum_ll;
} fit;

/* Sets levels, bounded, and their sums in order; the sums take levels below
 * zero as they are, level[] as bytes. */
WN_VEC void fit_levels(float inverse, fit *f) {
  _Alignas(64) float xl[FIT_N], ll[FIT_N];
  for (int i = 0; i < FIT_N; i += LANES) {
    vi l = nearest_level(vf_mul(vf_set(inverse), vf_load(f->x + i)));
    l = vi_min(l, vi_set(FIT_MAX));
    vf q = vi_to_float(l), w = vf_load(f->weight + i);
    vf_store(f->level + i, vi_to_float(vi_and(l, vi_set(255))));
    vf_store(xl + i, vf_mul(vf_load(f->weighted + i), q));
    vf_store(ll + i, vf_mul(vf_mul(w, q), q));
  }
  f->sum_xl = f->sum_ll = 0;
  for (int i = 0; i < FIT_N; i++) {
    f->sum_xl += xl[i];
    f->sum_ll += ll[i];
  }
}

/* One round of moving levels of values i .. i + LANES - 1 where that helps.
 * All lanes try at once with the sums as they are; the first that moves is
 * right, as no one before it did; it changes the sums, and the lanes after it
 * try again. Returns whether any moved. */
WN_VEC bool move_levels(fit *f, int i) {
  vf x = vf_load(f->x + i), w = vf_load(f->weight + i);
  vf wx = vf_load(f->weighted + i);
  unsigned rest = (1u << LANES) - 1;
  bool moved = false;
  for (;;) {
    vf l = vf_load(f->level + i);
    vf all_xl = vf_set(f->sum_xl), all_ll = vf_set(f->sum_ll);
    vf xl = vf_sub(all_xl, vf_mul(wx, l));
    vf ll = vf_sub(all_ll, vf_mul(vf_mul(w, l), l));
    vm valid = vm_and(vf_lt(vf_set(0), xl), vf_lt(vf_set(0), ll));
    vi to = nearest_level(vf_div(vf_mul(x, ll), xl));
    vf q = vi_to_float(vi_min(to, vi_set(FIT_MAX)));
    valid = vm_and(valid, vf_ne(q, l));
    xl = vf_add(xl, vf_mul(wx, q));
    ll = vf_add(ll, vf_mul(vf_mul(w, q), q));
    vm gains = vf_lt(vf_mul(vf_mul(all_xl, all_xl), ll),
                     vf_mul(vf_mul(xl, xl), all_ll));
    unsigned hit = vm_bits(vm_and(valid, gains)) & rest;
    if (hit == 0) return moved;
    _Alignas(64) float to_xl[LANES], to_ll[LANES], to_l[LANES];
    int j = __builtin_ctz(hit);
    vf_store(to_xl, xl);
    vf_store(to_ll, ll);
    vf_store(to_l, q);
    f->sum_xl = to_xl[j];
    f->sum_ll = to_ll[j];
    f->level[i + j] = (float)((int)to_l[j] & 255);
    rest &= ~0u << 1 << j;
    moved = true;
  }
}

WN_VEC float fit_start(const float *x, const float *weight, float max) {
  fit f;
  for (int i = 0; i < FIT_N; i += LANES) {
    vf_store(f.x + i, vf_load(x + i));
    vf_store(f.weight + i, vf_load(weight + i));
    vf_store(f.weighted + i, vf_mul(vf_load(weight + i), vf_load(x + i)));
  }
  fit_levels(fit_inverse(x, weight, max), &f);
  for (int round = 0; round < 5; round++) {
    bool moved = false;
    for (int i = 0; i < FIT_N; i += LANES)
      moved |= move_levels(&f, i);
    if (!moved) break;
  }
  return f.sum_ll > 0 ? f.sum_xl / f.sum_ll : 0;
}

WN_TARGET_END
