/* iq_tries.inc.h - template: choosing among scales that were tried at once.
 *
 * The reference tries scales one after another and keeps one when
 *   qq > 0 and qx * qx > best * qq,   then  best = (qx / qq) * qx
 * with qx = sum w q x and qq = sum w q^2. Here all tries stand in lanes. */
#include <string.h>

WN_TARGET_BEGIN(WN_VEC_TARGET)

/* Tries stand in order through the lanes of a few vectors. */
enum { MAX_TRIES = 32, TRY_VECTORS = MAX_TRIES / LANES };

/* Bits of the lanes whose try would be kept after one with gain `best`. */
WN_VEC unsigned better_tries(const vf *qx, const vf *qq, int n_vectors,
                             float best) {
  unsigned bits = 0;
  for (int v = 0; v < n_vectors; v++) {
    vm gain = vf_lt(vf_mul(vf_set(best), qq[v]), vf_mul(qx[v], qx[v]));
    vm valid = vf_lt(vf_set(0), qq[v]);
    bits |= vm_bits(vm_and(gain, valid)) << LANES * v;
  }
  return bits;
}

/* Runs the reference's loop over the first n tries. Returns the try kept, or
 * -1; `scale` and `gain` take qx / qq and its gain of every try (garbage
 * where qq is 0).
 *
 * The loop need not start at the first try. Let top be the largest gain and
 * suppose that no gain lies between (1 - 2e-6) top and (1 - 1e-6) top. The
 * first try f above that gap is kept whatever came before: all earlier gains
 * are below the gap, which is far wider than the rounding errors of the test
 * (four roundings, 2.4e-7). And after f nothing below the gap can be kept. So
 * the loop may start at f and look at those above the gap only. Sums near the
 * ends of the float range, where rounding errors are larger, take the whole
 * loop. */
WN_VEC int keep_try(const vf *qx, const vf *qq, int n_vectors, int n,
                    float *scale, float *gain) {
  unsigned all = n == 32 ? ~0u : (1u << n) - 1, near = 0, gap = 0;
  vf top = vf_set(0), g[TRY_VECTORS];
  unsigned sane = 0;
  for (int v = 0; v < n_vectors; v++) {
    vf s = vf_div(qx[v], qq[v]), none = vf_set(-1);
    vf square = vf_mul(qx[v], qx[v]);
    g[v] = vf_mul(s, qx[v]);
    sane |= vm_bits(vm_and(vf_lt(vf_set(1e-28f), square),
                           vf_lt(square, vf_set(1e28f))))
            << LANES * v;
    vf_store(scale + LANES * v, s);
    vf_store(gain + LANES * v, g[v]);
    g[v] = vf_pick(vf_lt(vf_set(0), qq[v]), g[v], none);
    top = vf_max(g[v], top);
  }
  float most = vf_most(top);
  for (int v = 0; v < n_vectors; v++) {
    vm above = vf_lt(vf_set(most * (1 - 1e-6f)), g[v]);
    vm below = vf_lt(vf_set(most * (1 - 2e-6f)), g[v]);
    near |= vm_bits(above) << LANES * v;
    gap |= vm_bits(below) << LANES * v;
  }
  near &= all;
  gap &= all;
  if ((all & ~sane) != 0 || near != gap || near == 0) {
    near = all;
    gap = better_tries(qx, qq, n_vectors, 0) & all;
  }
  int kept = -1;
  for (unsigned rest = gap; rest != 0;) {
    kept = __builtin_ctz(rest);
    near &= ~1u << kept;
    rest = near == 0 ? 0 : near & better_tries(qx, qq, n_vectors, gain[kept]);
  }
  return kept;
}

/* sums[i] = the squares of values i * len .. i * len + len - 1 added in
 * order, for i < n <= LANES: lane i runs sum i. len is a multiple of LANES. */
static void sum_squares(const float *x, size_t len, size_t n, float *sums) {
  const float *row[LANES];
  _Alignas(64) float turned[LANES * LANES];
  vf sum = vf_set(0);
  for (size_t i = 0; i < LANES; i++)
    row[i] = x + len * (i < n ? i : n - 1);
  for (size_t at = 0; at < len; at += LANES) {
    vf_transpose(row, at, turned, LANES);
    for (size_t i = 0; i < LANES; i++) {
      vf v = vf_load(turned + LANES * i);
      sum = vf_add(sum, vf_mul(v, v));
    }
  }
  vf_store(sums, sum);
}

WN_TARGET_END
