/* vec_wide.h - two (w) and four (q) registers of lanes handled as one.
 *
 * Sums in a fixed order are chains: each addition waits for the one before.
 * A wide vector carries independent chains side by side, which keeps the
 * arithmetic units busy; a template says wf where it would say vf. Include it
 * after vec_avx2.h or vec_avx512.h. Functions as there; lanes are counted
 * through `a`, then `b`. */
#ifndef WN_QUANT_VEC_WIDE_H
#define WN_QUANT_VEC_WIDE_H

#include "base/cpu.h"

enum { WIDE = 2 * LANES, QUAD = 4 * LANES };

/* Applies the operation to both halves: result, narrow and wide prefix and
 * name, one to three operands. */
#define WN_PAIR_1(R, N, W, name, A)            \
  WN_VEC W##R W##name(W##A x) {                \
    return (W##R){N##name(x.a), N##name(x.b)}; \
  }
#define WN_PAIR_2(R, N, W, name, A)                      \
  WN_VEC W##R W##name(W##A x, W##A y) {                  \
    return (W##R){N##name(x.a, y.a), N##name(x.b, y.b)}; \
  }
#define WN_PAIR_PICK(N, W, t)                          \
  WN_VEC W##t W##t##_pick(W##m m, W##t yes, W##t no) { \
    return (W##t){N##t##_pick(m.a, yes.a, no.a),       \
                  N##t##_pick(m.b, yes.b, no.b)};      \
  }

#define WN_PAIR_WHERE(N, W, name)                                  \
  WN_VEC W##m W##name(W##m m, W##f x, W##f y) {                    \
    return (W##m){N##name(m.a, x.a, y.a), N##name(m.b, x.b, y.b)}; \
  }

#define WN_VEC_PAIR(N, W, HALF)                       \
  typedef struct W##f {                               \
    N##f a, b;                                        \
  } W##f;                                             \
  typedef struct W##i {                               \
    N##i a, b;                                        \
  } W##i;                                             \
  typedef struct W##m {                               \
    N##m a, b;                                        \
  } W##m;                                             \
  WN_VEC W##f W##f_load(const float *p) {             \
    return (W##f){N##f_load(p), N##f_load(p + HALF)}; \
  }                                                   \
  WN_VEC void W##f_store(float *p, W##f x) {          \
    N##f_store(p, x.a);                               \
    N##f_store(p + HALF, x.b);                        \
  }                                                   \
  WN_VEC W##f W##f_set(float x) {                     \
    return (W##f){N##f_set(x), N##f_set(x)};          \
  }                                                   \
  WN_VEC W##i W##i_set(int x) {                       \
    return (W##i){N##i_set(x), N##i_set(x)};          \
  }                                                   \
  WN_PAIR_2(f, N, W, f_add, f)                        \
  WN_PAIR_2(f, N, W, f_sub, f)                        \
  WN_PAIR_2(f, N, W, f_mul, f)                        \
  WN_PAIR_2(f, N, W, f_div, f)                        \
  WN_PAIR_2(f, N, W, f_min, f)                        \
  WN_PAIR_2(f, N, W, f_max, f)                        \
  WN_PAIR_1(f, N, W, f_sqrt, f)                       \
  WN_PAIR_1(f, N, W, f_abs, f)                        \
  WN_PAIR_1(f, N, W, f_nearest, f)                    \
  WN_PAIR_1(f, N, W, f_neg, f)                        \
  WN_PAIR_2(i, N, W, i_and, i)                        \
  WN_PAIR_2(i, N, W, i_sub, i)                        \
  WN_PAIR_2(i, N, W, i_min, i)                        \
  WN_PAIR_2(i, N, W, i_max, i)                        \
  WN_PAIR_1(i, N, W, f_bits, f)                       \
  WN_PAIR_1(f, N, W, i_to_float, i)                   \
  WN_PAIR_2(m, N, W, f_lt, f)                         \
  WN_PAIR_2(m, N, W, f_le, f)                         \
  WN_PAIR_2(m, N, W, f_ne, f)                         \
  WN_PAIR_2(m, N, W, m_and, m)                        \
  WN_PAIR_2(m, N, W, m_or, m)                         \
  WN_PAIR_2(m, N, W, m_not_and, m)                    \
  WN_PAIR_WHERE(N, W, f_lt_where)                     \
  WN_PAIR_WHERE(N, W, f_ne_where)                     \
  WN_PAIR_PICK(N, W, f)                               \
  WN_VEC int W##m_any(W##m x) {                       \
    return N##m_any(N##m_or(x.a, x.b));               \
  }

WN_TARGET_BEGIN(WN_VEC_TARGET)
WN_VEC_PAIR(v, w, LANES)
WN_VEC_PAIR(w, q, WIDE)
WN_TARGET_END

#endif
