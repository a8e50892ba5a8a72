/* iq_near.inc.h - template: the neighbour with the least distance, for many
 * neighbours at once.
 *
 * A neighbour's distance is a sum over coordinates of w (s q - x)^2, where q
 * takes only 3 or 8 values. So the terms of each coordinate are computed once
 * per possible level, into a table in a register, and each lane then looks up
 * the terms of its neighbour and adds them in the reference's order: the same
 * floats, far fewer operations. */

WN_TARGET_BEGIN(WN_VEC_TARGET)

/* Levels of a key, a byte each, and back. */
WN_VEC void unpack_levels(int dims, uint16_t key, uint8_t *level) {
  if (dims == 4) {
    uint32_t bytes = _pdep_u32(key, 0x07070707);
    memcpy(level, &bytes, sizeof bytes);
  } else {
    uint64_t bytes = _pdep_u64(key, 0x0303030303030303);
    memcpy(level, &bytes, sizeof bytes);
  }
}
WN_VEC uint16_t pack_levels(int dims, const uint8_t *level) {
  uint64_t bytes = 0;
  memcpy(&bytes, level, (size_t)dims);
  uint64_t bits = dims == 4 ? 0x07070707 : 0x0303030303030303;
  return (uint16_t)_pext_u64(bytes, bits);
}

/* Terms of all coordinates of a group, per level. */
typedef struct terms {
  vf of[8];
} terms;

WN_VEC vf look_term(int dims, vf table, vi key) {
  return dims == 4 ? vf_look8(table, key) : vf_look4(table, key);
}

/* What the levels 0, 1, 2 ... mean: q = 2 level + 1. */
WN_VEC vf odd_numbers(int dims) {
  static const float odd[8] = {1, 3, 5, 7, 9, 11, 13, 15};
  return dims == 4 ? vf_load8(odd) : vf_load4(odd);
}

WN_VEC terms make_terms(int dims, vf q, const float *x, const float *weight,
                        float scale) {
  terms t;
  vf point = vf_mul(vf_set(scale), q);
  WN_UNROLL
  for (int i = 0; i < dims; i++) {
    vf diff = vf_sub(point, vf_set(x[i]));
    t.of[i] = vf_mul(vf_mul(vf_set(weight[i]), diff), diff);
  }
  return t;
}

/* Distances of LANES neighbours given by their keys, with a table lookup per
 * coordinate. */
WN_VEC vf distances(int dims, int bits, const terms *t, vi key) {
  vf sum = look_term(dims, t->of[0], key);
  WN_UNROLL
  for (int i = 1; i < dims; i++) {
    key = vi_right(key, bits);
    sum = vf_add(sum, look_term(dims, t->of[i], key));
  }
  return sum;
}

/* Lanes of the neighbours at `at` ... that exist; the list has n. */
WN_VEC unsigned lanes_left(int n, int at) {
  unsigned all = _bzhi_u32(0xffff, (unsigned)n);
  return all >> at & ((1u << LANES) - 1);
}

/* Position of the first of n neighbours at distance `least`, or 0. */
WN_VEC int position_of(int dims, int bits, const terms *t, const uint16_t *near,
                       int n, float least) {
  for (int at = 0; at < n; at += LANES) {
    vf d = distances(dims, bits, t, vi_load_u16(near + at));
    unsigned hit = vm_bits(vf_eq(d, vf_set(least)));
    if (hit != 0) return at + __builtin_ctz(hit);
  }
  return 0;
}

/* The nearest of n neighbours, the first of equals; distances are finite. */
WN_VEC uint16_t find_nearest(int dims, int bits, const terms *t,
                             const uint16_t *near, int n) {
  vi key = vi_load_u16(near);
  vf best = distances(dims, bits, t, key), far = vf_set(3e38f);
  if (n <= LANES) { /* idle lanes repeat the first neighbour */
    unsigned hit = vm_bits(vf_eq(best, vf_set(vf_least(best))));
    return near[__builtin_ctz(hit)];
  }
  for (int at = LANES; at < n; at += LANES) {
    vi k = vi_load_u16(near + at);
    vf d = distances(dims, bits, t, k);
    int left = n - at;
    d = vf_pick(vm_of_bits(lanes_left(left < LANES ? left : LANES, 0)), d, far);
    key = vi_pick(vf_lt(d, best), k, key);
    best = vf_min(d, best);
  }
  float least = vf_least(best);
  unsigned hit = vm_bits(vf_eq(best, vf_set(least)));
  if ((hit & (hit - 1)) != 0) /* equals in two lanes: the first in order */
    return near[position_of(dims, bits, t, near, n, least)];
  _Alignas(64) int keys[LANES];
  vi_store(keys, key);
  return (uint16_t)keys[__builtin_ctz(hit)];
}

/* The neighbour in the list of a cell that is nearest to a group of x at one
 * scale. The list may be the core unless a value lies at the `edge` of its
 * rounding interval.
 *
 * Why the core is enough. Let u be the level that x was rounded to, h and g
 * levels with |h - u| < |g - u|. If h and g lie on one side of x / s, h is
 * between: rounding is monotonic, so the computed |s q_h - x| is not larger
 * than |s q_g - x|. Else they lie on both sides, and then s q_g is farther
 * from x than s q_h by at least 4e-5 s, as x / s is more than 2e-5 (in q, 1e-5
 * in levels) inside its interval; computing both takes errors below 1e-5 s,
 * for q <= 15. So each term of the core's h is at most that of g, and as
 * rounding is monotonic so are the sums: g never wins over the earlier h. */
WN_VEC uint16_t near_point(int dims, int bits, const wn_iq_grid *grid,
                           wn_iq_cell cell, const float *x, const float *weight,
                           float scale) {
  terms t = make_terms(dims, odd_numbers(dims), x, weight, scale);
  return find_nearest(dims, bits, &t, grid->near + 16 * cell.at, cell.n);
}

WN_TARGET_END
