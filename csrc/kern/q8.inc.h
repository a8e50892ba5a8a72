/* q8.inc.h - template: integer levels times 8-bit activations.
 *
 * A panel holds R rows side by side: the levels of 4 neighbouring values of a
 * row are 4 bytes of its lane, u = level + offset, unsigned. One activation
 * dword, repeated in all lanes, meets R rows at once: the sums of products
 * are exact integers, and no sum across lanes is ever needed.
 *
 * Order of operations for one (row, column), in every tier the same and
 * independent of what else is computed (i: exact integers, f, y: floats, fma
 * rounds once, dx: the activations' scale, sums: of their levels):
 *
 *   types with scales per 32 (or 16) values, y from 0:
 *     for each block b:  y = fma(i(b), scale(b) * dx(b), y)
 *         with minima:   y = fma(min(b), dx(b) * sum(b), y)
 *   types with super-blocks of 256 values:
 *     f = 0;  for each sub-block s:  f = fma(i(s), scale(s), f)
 *     y = fma(f, d * dx, y)
 *         with minima:   y = fma(sum over s of min(s) * sum(s), -dmin * dx, y)
 *
 * The offset is taken back exactly: i starts at -offset * sum of the levels
 * of the activations.
 *
 * With VNNI an instruction adds 4 products to a lane. Without it (dot_plain)
 * pairs of products are added in 16 bits as long as they cannot overflow:
 * `run` says for how many steps (levels up to 15: 8, 31: 4, 63: 2, 127: 1),
 * and 0 stands for signed bytes that need 8 bits: there the sign of the
 * weight is moved to the activation. */

typedef struct qpanel {
  uint8_t u[CHUNK / 4][R][4];
  float scale[CHUNK / 16][R]; /* per block or sub-block */
  union {
    float real[CHUNK / 32][R];      /* minimum per block */
    int16_t pair[CHUNK / 32][R][2]; /* of two sub-blocks, side by side */
  } min;
  float d[R], minus_dmin[R]; /* super-blocks */
} qpanel;

/* Types whose levels need all 8 bits: unsigned with this offset, or signed
 * where there is no unsigned-by-signed product of 8 full bits. */
#if defined(DOT_PLAIN) || defined(DOT_SIGNED)
#define WIDE_OFFSET 0
#else
#define WIDE_OFFSET 128
#endif

/* Scales of sub-blocks that are small integers can be multiplied into the
 * levels of a panel where the products fit unsigned bytes: the sum over a
 * super-block is one exact integer then (far below 2^24, so that a chain of
 * float adds gives the same). It pays for many columns, but for the types that
 * go through tiles (dot_amx.inc.h), whose products are not that deep. */
#if !defined(DOT_PLAIN) && !defined(DOT_SIGNED)
#define FUSED
#define Q3_OFFSET 127 /* of (level - 4) * scale */
#endif

/* Packed columns as a kernel sees them: from value k of column 0 on. */
typedef struct qcols {
  const uint8_t *q, *d, *sums, *sums32;
  size_t stride;
} qcols;

/* ---- sums of products -------------------------------------------------- */

#ifdef DOT_PLAIN
INLINE VI plain_pairs(VI w, VI size_w, VI x, size_t run) {
  return run == 0 ? _mm256_maddubs_epi16(size_w, _mm256_sign_epi8(x, w))
                  : _mm256_maddubs_epi16(w, x);
}

INLINE void dot_steps(const uint8_t *u, const uint8_t *x, size_t ldx, size_t nc,
                      size_t steps, size_t run, VI lo[], VI hi[]) {
  size_t group = run == 0 ? 1 : run < steps ? run : steps;
  VI one = _mm256_set1_epi16(1);
  for (size_t s = 0; s < steps; s += group) {
    VI t[QCOLS], v[QCOLS];
    WN_UNROLL
    for (size_t i = 0; i < group; i++, u += 4 * R) {
      VI w0 = vi_load(u), w1 = vi_load(u + 4 * LANES);
      VI a0 = run == 0 ? _mm256_abs_epi8(w0) : w0;
      VI a1 = run == 0 ? _mm256_abs_epi8(w1) : w1;
      WN_UNROLL
      for (size_t j = 0; j < nc; j++) {
        VI b = vi_bcast(x + j * ldx + 4 * (s + i));
        VI p0 = plain_pairs(w0, a0, b, run), p1 = plain_pairs(w1, a1, b, run);
        t[j] = i == 0 ? p0 : _mm256_add_epi16(t[j], p0);
        v[j] = i == 0 ? p1 : _mm256_add_epi16(v[j], p1);
      }
    }
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      lo[j] = vi_dot16(lo[j], t[j], one);
      hi[j] = vi_dot16(hi[j], v[j], one);
    }
  }
}
#elif defined(DOT_SIGNED)
#include "kern/dot_neon.inc.h"
#else
/* lo[j], hi[j] += the products of 4 * steps values with column j. */
INLINE void dot_steps(const uint8_t *u, const uint8_t *x, size_t ldx, size_t nc,
                      size_t steps, size_t run, VI lo[], VI hi[]) {
  (void)run;
  for (size_t s = 0; s < steps; s++, u += 4 * R) {
    VI w0 = vi_load(u), w1 = vi_load(u + 4 * LANES);
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      VI b = vi_bcast(x + j * ldx + 4 * s);
      lo[j] = vi_dot8(lo[j], w0, b);
      hi[j] = vi_dot8(hi[j], w1, b);
    }
  }
}
#endif

/* What the sums of a chunk's sub-blocks start from: -offset * (sum of a
 * column's levels), for sub-blocks of 16 values the even ones before the odd
 * ones. Made for all of them at once, then each is repeated in all lanes. */
typedef int32_t starts[2][LANES < 8 ? 8 : LANES];

INLINE void make_starts(const uint8_t *sums, size_t n, size_t sub, int offset,
                        starts t) {
  if (offset == 0) return;
  if (sub == CHUNK) {
    int32_t sum = 0;
    for (size_t i = 0; i < CHUNK / 16; i++) {
      int16_t s;
      memcpy(&s, sums + 2 * i, 2);
      sum += s;
    }
    t[0][0] = -offset * sum;
    return;
  }
  uint32_t minus = (uint32_t)-offset & 0xffff;
  VI odd = vi_set1((int32_t)(minus << 16));
  VI even =
      sub == 16 ? vi_set1((int32_t)minus) : vi_or(odd, vi_set1((int32_t)minus));
  for (size_t i = 0; i < n / 32; i += LANES) {
    VI v = vi_load(sums + 4 * i);
    vi_store(t[0] + i, vi_dot16(vi_zero(), v, even));
    if (sub == 16) vi_store(t[1] + i, vi_dot16(vi_zero(), v, odd));
  }
}

INLINE VI start(starts t, size_t s, size_t sub, int offset) {
  return offset == 0 ? vi_zero()
         : sub == 16 ? vi_bcast(&t[s % 2][s / 2])
                     : vi_bcast(&t[0][s]);
}

/* The columns from the n-th on. */
INLINE qcols columns_after(qcols x, size_t n) {
  n *= x.stride;
  return (qcols){x.q + n, x.d + n, x.sums + n, x.sums32 + n, x.stride};
}

#ifdef DOT_TILES
#include "kern/dot_amx.inc.h"
#else
#define TILED 1
#define MULTIPLY_TILES(core, sub, offset, min, run)
#define RUN run
#endif

/* lo[j], hi[j] = the sums of products of sub-block s with column j, offset
 * taken back. ready: where column 0's sums lie, when tiles made them. */
INLINE void sub_block(const qpanel *p, qcols x, size_t nc, size_t s, size_t sub,
                      int offset, size_t run, starts from[],
                      const int32_t *ready, VI lo[], VI hi[]) {
  WN_UNROLL
  for (size_t j = 0; j < nc; j++) {
    lo[j] = hi[j] = start(from[j], s, sub, offset);
    const int32_t *t = ready == NULL ? NULL : ready + (s * TILED + j) * R;
    if (t != NULL) lo[j] = vi_add(lo[j], vi_load(t));
    if (t != NULL) hi[j] = vi_add(hi[j], vi_load(t + LANES));
  }
  if (ready == NULL)
    dot_steps(p->u[s * sub / 4][0], x.q + s * sub, x.stride, nc, sub / 4, run,
              lo, hi);
}

/* ---- scales per block of 32 or 16 values ------------------------------- */

INLINE void blocks_nc(const qpanel *p, size_t n, qcols x, size_t nc, totals acc,
                      size_t sub, int offset, size_t min, size_t run,
                      const int32_t *ready) {
  VF flo[QCOLS], fhi[QCOLS];
  starts from[QCOLS];
  WN_UNROLL
  for (size_t j = 0; j < nc; j++) {
    const float *y = totals_after(acc, j).from;
    flo[j] = y == NULL ? vf_zero() : vf_load(y);
    fhi[j] = y == NULL ? vf_zero() : vf_load(y + LANES);
  }
  for (size_t j = 0; j < nc; j++)
    make_starts(x.sums + j * x.stride, n, sub, offset, from[j]);
  for (size_t s = 0; s < n / sub; s++) {
    VI lo[QCOLS], hi[QCOLS];
    sub_block(p, x, nc, s, sub, offset, run, from, ready, lo, hi);
    VF s0 = vf_load(p->scale[s]), s1 = vf_load(p->scale[s] + LANES);
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      VF dx = vf_set1(x.d + j * x.stride + s * sub / 32 * 4);
      flo[j] = vf_fma(vi_f32(lo[j]), vf_mul(s0, dx), flo[j]);
      fhi[j] = vf_fma(vi_f32(hi[j]), vf_mul(s1, dx), fhi[j]);
    }
    if (min == 0) continue;
    VF m0 = vf_load(p->min.real[s]), m1 = vf_load(p->min.real[s] + LANES);
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      VF sum = vf_set1(x.sums32 + j * x.stride + 4 * s);
      flo[j] = vf_fma(m0, sum, flo[j]);
      fhi[j] = vf_fma(m1, sum, fhi[j]);
    }
  }
  WN_UNROLL
  for (size_t j = 0; j < nc; j++) {
    vf_store(totals_after(acc, j).to, flo[j]);
    vf_store(totals_after(acc, j).to + LANES, fhi[j]);
  }
}

/* ---- super-blocks of 256 values ---------------------------------------- */

/* sum over pairs of sub-blocks of `sub` values of min * (sum of activations) */
INLINE void minima(const qpanel *p, qcols x, size_t nc, size_t sub, VI lo[],
                   VI hi[]) {
  const uint8_t *sums = sub == 32 ? x.sums32 : x.sums;
  WN_UNROLL
  for (size_t j = 0; j < nc; j++)
    lo[j] = hi[j] = vi_zero();
  for (size_t i = 0; i < CHUNK / sub / 2; i++) {
    VI m0 = vi_load(p->min.pair[i]), m1 = vi_load(p->min.pair[i][LANES]);
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      VI b = vi_bcast(sums + j * x.stride + 4 * i);
      lo[j] = vi_dot16(lo[j], m0, b);
      hi[j] = vi_dot16(hi[j], m1, b);
    }
  }
}

/* y + v * (d * dx) */
INLINE VF add_scaled(VF y, VF v, const float *d, VF dx) {
  return vf_fma(v, vf_mul(vf_load(d), dx), y);
}

INLINE void super_nc(const qpanel *p, size_t n, qcols x, size_t nc, totals acc,
                     size_t sub, int offset, size_t min, size_t run,
                     const int32_t *ready) {
  VF flo[QCOLS], fhi[QCOLS];
  VI lo[QCOLS], hi[QCOLS];
  starts from[QCOLS];
  WN_UNROLL
  for (size_t j = 0; j < nc; j++)
    flo[j] = fhi[j] = vf_zero();
  for (size_t j = 0; j < nc; j++)
    make_starts(x.sums + j * x.stride, n, sub, offset, from[j]);
  for (size_t s = 0; s < CHUNK / sub; s++) {
    sub_block(p, x, nc, s, sub, offset, run, from, ready, lo, hi);
    VF s0 = vf_load(p->scale[s]), s1 = vf_load(p->scale[s] + LANES);
    WN_UNROLL
    for (size_t j = 0; j < nc; j++) {
      VF a = vi_f32(lo[j]), b = vi_f32(hi[j]);
      flo[j] = sub == CHUNK ? a : vf_fma(a, s0, flo[j]);
      fhi[j] = sub == CHUNK ? b : vf_fma(b, s1, fhi[j]);
    }
  }
  if (min > 0) minima(p, x, nc, min, lo, hi);
  WN_UNROLL
  for (size_t j = 0; j < nc; j++) {
    VF dx = vf_set1(x.d + j * x.stride);
    totals s = totals_after(acc, j);
    VF a = s.from == NULL ? vf_zero() : vf_load(s.from);
    VF b = s.from == NULL ? vf_zero() : vf_load(s.from + LANES);
    a = add_scaled(a, flo[j], p->d, dx);
    b = add_scaled(b, fhi[j], p->d + LANES, dx);
    if (min > 0) {
      a = add_scaled(a, vi_f32(lo[j]), p->minus_dmin, dx);
      b = add_scaled(b, vi_f32(hi[j]), p->minus_dmin + LANES, dx);
    }
    vf_store(s.to, a);
    vf_store(s.to + LANES, b);
  }
}

/* ---- all columns ------------------------------------------------------- */

/* Defines multiply_<name>: blocks_nc or super_nc over groups of columns. min:
 * values that share a minimum, or 0. */
#define MULTIPLY(name, core, per, sub, offset, min, run)                       \
  static void multiply_##name(const void *panel, size_t n,                     \
                              const uint8_t *packed, const wn_column *col,     \
                              size_t k, size_t n_cols, totals acc) {           \
    qcols x = {                                                                \
        packed + k, packed + col->d + k / (per)*4, packed + col->sums + k / 8, \
        packed + col->sums32 + ((per) == 256 ? k / 16 : k / 8), col->stride};  \
    MULTIPLY_TILES(core, sub, offset, min, run)                                \
    while (n_cols > 0) {                                                       \
      size_t nc = n_cols >= QCOLS            ? QCOLS                           \
                  : n_cols >= 3 && QCOLS > 3 ? 3                               \
                  : n_cols >= 2              ? 2                               \
                                             : 1;                                           \
      if (nc == QCOLS)                                                         \
        core(panel, n, x, QCOLS, acc, sub, offset, min, run, NULL);            \
      else if (nc == 3)                                                        \
        core(panel, n, x, 3, acc, sub, offset, min, run, NULL);                \
      else if (nc == 2)                                                        \
        core(panel, n, x, 2, acc, sub, offset, min, run, NULL);                \
      else                                                                     \
        core(panel, n, x, 1, acc, sub, offset, min, run, NULL);                \
      n_cols -= nc;                                                            \
      acc = totals_after(acc, nc);                                             \
      x = columns_after(x, nc);                                                \
    }                                                                          \
  }

/* clang-format off */
/*       name     core       per  sub offset       min    run */
MULTIPLY(o1,      blocks_nc, 32,  32, 1,           0,     8) /* q1_0 q2_0 */
MULTIPLY(o8,      blocks_nc, 32,  32, 8,           0,     8) /* q4_0 */
MULTIPLY(m15,     blocks_nc, 32,  32, 0,           32,    8) /* q4_1 */
MULTIPLY(o16,     blocks_nc, 32,  32, 16,          0,     4) /* q5_0 */
MULTIPLY(m31,     blocks_nc, 32,  32, 0,           32,    4) /* q5_1 */
MULTIPLY(wide,    blocks_nc, 32,  32, WIDE_OFFSET, 0,     0) /* q8_0 iq4_nl */
MULTIPLY(o12,     blocks_nc, 32,  32, 12,          0,     4) /* mxfp4 */
MULTIPLY(o12_16,  blocks_nc, 32,  16, 12,          0,     4) /* nvfp4 */
MULTIPLY(q2_K,    super_nc,  256, 16, 0,           16,    8)
MULTIPLY(q3_K,    super_nc,  256, 16, 4,           0,     8)
MULTIPLY(q4_K,    super_nc,  256, 32, 0,           32,    8)
MULTIPLY(q5_K,    super_nc,  256, 32, 0,           32,    4)
MULTIPLY(q6_K,    super_nc,  256, 16, 32,          0,     2)
MULTIPLY(iq4_xs,  super_nc,  256, 32, WIDE_OFFSET, 0,     0)
MULTIPLY(ternary, super_nc,  256, 32, 1,           0,     8)
MULTIPLY(iq1_s,   super_nc,  256, 32, 9,           0,     4)
MULTIPLY(iq1_m,   super_nc,  256, 16, 9,           0,     4)
MULTIPLY(iq2_xxs, super_nc,  256, 32, 43,          0,     1)
MULTIPLY(iq2_16,  super_nc,  256, 16, 43,          0,     1) /* iq2_xs iq2_s */
MULTIPLY(iq3_xxs, super_nc,  256, 32, 62,          0,     1)
MULTIPLY(iq3_s,   super_nc,  256, 32, 15,          0,     4)
#ifdef FUSED
MULTIPLY(q2_K_fused,    super_nc, 256, 256, 0,         16, 0)
MULTIPLY(q3_K_fused,    super_nc, 256, 256, Q3_OFFSET, 0,  0)
#ifndef DOT_TILES
MULTIPLY(ternary_fused, super_nc, 256, 256, 1,         0,  0)
#endif
#endif
/* clang-format on */
