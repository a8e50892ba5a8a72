/* iq_near.inc.h - template: the neighbour with the least distance, for many
 * neighbours at once.
 *
 * A neighbour's distance is a sum over coordinates of w (s q - x)^2, where q
 * takes only 3 or 8 values. So the terms of each coordinate are computed once
 * per possible level, into a table in a register, and each lane then looks up
 * the terms of its neighbour and adds them in the reference's order: the same
 * floats, far fewer operations. */

WN_TARGET_BEGIN(WN_VEC_TARGET)

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

/* Distances of LANES neighbours given by their keys. */
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
  int left = n - at;
  return left >= LANES ? (1u << LANES) - 1 : (1u << left) - 1;
}

/* Position of the first of n neighbours at distance `least`, or 0. */
WN_VEC int position_of(int dims, int bits, const terms *t,
                       const uint16_t *near, int n, float least) {
  for (int at = 0; at < n; at += LANES) {
    vf d = distances(dims, bits, t, vi_load_u16(near + at));
    unsigned hit = vm_bits(vf_eq(d, vf_set(least)));
    if (hit != 0) return at + __builtin_ctz(hit);
  }
  return 0;
}

/* The nearest neighbour; *alone tells that all others are farther by more
 * than a ten thousandth of its distance plus `slack`. Distances are finite. */
typedef struct nearest {
  uint16_t key;
  bool alone;
} nearest;

WN_VEC nearest find_nearest(int dims, int bits, const terms *t,
                            const uint16_t *near, int n, float slack) {
  vf far = vf_set(3e38f);
  vf best = vf_pick(vm_of_bits(lanes_left(n, 0)),
                    distances(dims, bits, t, vi_load_u16(near)), far);
  if (n <= LANES) {
    float least = vf_least(best);
    unsigned hit = vm_bits(vf_eq(best, vf_set(least)));
    unsigned close = vm_bits(vf_le(best, vf_set(least * 1.0001f + slack)));
    return (nearest){near[__builtin_ctz(hit)], (close & (close - 1)) == 0};
  }
  vf second = far; /* the second best in each lane */
  vi key = vi_load_u16(near);
  for (int at = LANES; at < n; at += LANES) {
    vi k = vi_load_u16(near + at);
    vf d = vf_pick(vm_of_bits(lanes_left(n, at)), distances(dims, bits, t, k),
                   far);
    key = vi_pick(vf_lt(d, best), k, key);
    second = vf_min(second, vf_max(d, best));
    best = vf_min(d, best);
  }
  float least = vf_least(best);
  vf limit = vf_set(least * 1.0001f + slack);
  unsigned hit = vm_bits(vf_eq(best, vf_set(least)));
  unsigned close = vm_bits(vf_le(best, limit));
  unsigned close2 = vm_bits(vf_le(second, limit));
  if ((hit & (hit - 1)) != 0) /* equals in two lanes: the first in order */
    return (nearest){near[position_of(dims, bits, t, near, n, least)], false};
  int keys[LANES];
  vi_store(keys, key);
  return (nearest){(uint16_t)keys[__builtin_ctz(hit)],
                   close2 == 0 && (close & (close - 1)) == 0};
}

/* The nearest of n neighbours to a group of x at one scale; see find_nearest.
 * Functions of their own: they are called from several places. */
#define NEAR_POINT(dims, bits)                                              \
  static __attribute__((noinline)) nearest near_point_##dims(               \
      const uint16_t *near, int n, const float *x, const float *weight,     \
      float scale, float slack) {                                           \
    terms t = make_terms(dims, odd_numbers(dims), x, weight, scale);        \
    return find_nearest(dims, bits, &t, near, n, slack);                    \
  }
NEAR_POINT(4, 3)
NEAR_POINT(8, 2)
#undef NEAR_POINT

WN_TARGET_END
