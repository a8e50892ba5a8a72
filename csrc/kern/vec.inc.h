/* vec.inc.h - the operations of vec.h, written once.
 *
 * Included by one file per instruction set, between WN_TARGET_BEGIN and
 * WN_TARGET_END, with
 *   VEC_BYTES  width of a register: 16, 32 or 64
 *   VEC_TABLE  name of the table to define
 *   VEC_F16C   the target converts halves in hardware (optional)
 *
 * Everything works on strips of 16 floats, held in 64 / VEC_BYTES registers
 * of the compilers' vector type. The last strip of a row is copied to a
 * buffer filled up with zeros. Sums keep 16 lane totals, added up in one
 * tree: the bits are the same for every VEC_BYTES. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/half.h"
#include "kern/vec.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi" /* vectors never leave this file */
#endif

#define STRIP 16
#define REGS (64 / VEC_BYTES)
#define PER_REG (VEC_BYTES / 4)
#define EACH_REG \
  WN_UNROLL      \
  for (int r_ = 0; r_ < REGS; r_++)
#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(VEC_BYTES)));
typedef uint32_t vu __attribute__((vector_size(VEC_BYTES)));
typedef int32_t vi __attribute__((vector_size(VEC_BYTES)));

/* 16 floats. */
typedef struct strip {
  vf v[REGS];
} strip;

/* Register by register: a strip that is copied whole may go through memory. */
INLINE strip load(const float *p) {
  strip s;
  EACH_REG memcpy(&s.v[r_], p + r_ * PER_REG, sizeof s.v[r_]);
  return s;
}

INLINE void store(float *p, strip s) {
  EACH_REG memcpy(p + r_ * PER_REG, &s.v[r_], sizeof s.v[r_]);
}

/* The first n of 16, the others zero. */
INLINE strip load_n(const float *p, size_t n) {
  float buf[STRIP] = {0};
  memcpy(buf, p, n * sizeof *buf);
  return load(buf);
}

INLINE void store_n(float *p, strip s, size_t n) {
  float buf[STRIP];
  store(buf, s);
  memcpy(p, buf, n * sizeof *buf);
}

INLINE vf all(float x) {
  vf v;
  for (int k = 0; k < PER_REG; k++)
    v[k] = x;
  return v;
}

/* a * b + c in one rounding; where the target lacks the instruction the C
 * library does it, slowly. */
#if VEC_BYTES == 64
INLINE vf fused(vf a, vf b, vf c) {
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#elif VEC_BYTES == 32
INLINE vf fused(vf a, vf b, vf c) {
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#elif defined(VEC_F16C) /* NEON */
INLINE vf fused(vf a, vf b, vf c) {
  return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#else
INLINE vf fused(vf a, vf b, vf c) {
  for (int k = 0; k < PER_REG; k++)
    c[k] = fmaf(a[k], b[k], c[k]);
  return c;
}
#endif
INLINE float fused1(float a, float b, float c) {
  return fmaf(a, b, c);
}

/* m ? a : b, for masks made by comparisons. */
INLINE vf pick(vi m, vf a, vf b) {
  return (vf)(((vi)a & m) | ((vi)b & ~m));
}

/* The lesser and the greater of x and a bound; a NaN in x stays one: the
 * instructions return their second operand then. less(x, y, a, b): x < y ? a
 * : b. */
#if VEC_BYTES == 64
INLINE vf at_most(vf x, vf top) {
  return (vf)_mm512_min_ps((__m512)top, (__m512)x);
}
INLINE vf at_least(vf x, vf low) {
  return (vf)_mm512_max_ps((__m512)low, (__m512)x);
}
INLINE vf less(vf x, vf y, vf a, vf b) {
  __mmask16 m = _mm512_cmp_ps_mask((__m512)x, (__m512)y, _CMP_LT_OQ);
  return (vf)_mm512_mask_blend_ps(m, (__m512)b, (__m512)a);
}
#elif VEC_BYTES == 32
INLINE vf at_most(vf x, vf top) {
  return (vf)_mm256_min_ps((__m256)top, (__m256)x);
}
INLINE vf at_least(vf x, vf low) {
  return (vf)_mm256_max_ps((__m256)low, (__m256)x);
}
INLINE vf less(vf x, vf y, vf a, vf b) {
  __m256 m = _mm256_cmp_ps((__m256)x, (__m256)y, _CMP_LT_OQ);
  return (vf)_mm256_blendv_ps((__m256)b, (__m256)a, m);
}
#else
INLINE vf at_most(vf x, vf top) {
  return pick(x > top, top, x);
}
INLINE vf at_least(vf x, vf low) {
  return pick(x < low, low, x);
}
INLINE vf less(vf x, vf y, vf a, vf b) {
  return pick(x < y, a, b);
}
#endif

/* Fixed tree: lane i with i + 8, then + 4, + 2, + 1. */
INLINE float total(strip s) {
  float b[STRIP];
  store(b, s);
  for (int half = STRIP / 2; half > 0; half /= 2)
    for (int k = 0; k < half; k++)
      b[k] += b[k + half];
  return b[0];
}

/* p * 2^n for a whole n, -126 <= n <= 128; `shifted` is n + 1.5 * 2^23. One
 * rounding at most, when the result is below the smallest normal number. */
INLINE vf times_power(vf p, vf n, vf shifted) {
#if VEC_BYTES == 64
  (void)shifted;
  return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  (void)n;
  vu bits = (vu)shifted; /* the low 22 bits: n in two's complement */
  vi whole = (vi)(bits << 10) >> 10;
  vi half = whole >> 1;
  vf lo = (vf)(vu)((half + 127) << 23);
  vf hi = (vf)(vu)((whole - half + 127) << 23);
  return p * lo * hi;
#endif
}

/* exp, within 1.5 units in the last place: x = n ln 2 + r, a polynomial in r
 * (Cephes' expf), times 2^n: results down to the smallest normal number are
 * exact scalings; below -87.3 zero, above 88.7 infinity. The sum with 1.5 *
 * 2^23 rounds to an integer. `low`: x is not above 0. */
INLINE vf exp_any(vf x, bool low) {
  const vf magic = all(12582912.0f);
  vf t = at_least(low ? x : at_most(x, all(89.0f)), all(-89.0f));
  vf shifted = t * all(1.44269504f) + magic;
  vf n = shifted - magic;
  vf r = t - n * all(0.693359375f);
  r = r - n * all(-2.12194440e-4f);
  vf p = all(1.9875691500e-4f);
  p = p * r + all(1.3981999507e-3f);
  p = p * r + all(8.3334519073e-3f);
  p = p * r + all(4.1665795894e-2f);
  p = p * r + all(1.6666665459e-1f);
  p = p * r + all(5.0000001201e-1f);
  p = p * (r * r) + r + all(1.0f);
  vf y = times_power(p, n, shifted);
  y = less(x, all(-87.33655f), all(0.0f), y);
  return low ? y : less(all(88.72284f), x, all(INFINITY), y);
}

INLINE vf exp_reg(vf x) {
  return exp_any(x, false);
}

INLINE vf exp_low(vf x) {
  return exp_any(x, true);
}

INLINE vf sigmoid_reg(vf x) {
  return all(1.0f) / (all(1.0f) + exp_reg(-x));
}

/* tanh: an odd polynomial near zero (Cephes' tanhf), 1 - 2 / (e^2x + 1)
 * elsewhere. */
INLINE vf tanh_reg(vf x) {
  vf a = (vf)((vi)x & 0x7fffffff), z = x * x;
  vf p = all(-5.70498872745e-3f);
  p = p * z + all(2.06390887954e-2f);
  p = p * z + all(-5.37397155531e-2f);
  p = p * z + all(1.33314422036e-1f);
  p = p * z + all(-3.33332819422e-1f);
  vf near = p * z * x + x;
  vf far = all(1.0f) - all(2.0f) / (exp_reg(a + a) + all(1.0f));
  far = (vf)((vi)far | ((vi)x & (vi)all(-0.0f)));
  return pick(a < all(0.625f), near, far);
}

/* x rounded to half precision (ties to even) and back, for |x| < 65504.
 * Subnormal halves are multiples of 2^-24, a float's step near 0.75. */
INLINE vf through_half(vf x) {
  vu u = (vu)x;
  vu even = (u >> 13) & 1u;
  vf normal = (vf)((u + 0xfffu + even) & ~0x1fffu);
  vf tiny = (x + all(0.75f)) - all(0.75f);
  vf a = (vf)((vi)x & 0x7fffffff);
  return pick(a < all(6.103515625e-5f), tiny, normal);
}

/* GELU by tanh, as x sigmoid(2u): the same function without cancellation.
 * Defined as in ggml, which reads it from a table: argument and result have
 * half precision between -10 and 10; beyond it is 0 and x. */
INLINE vf gelu_reg(vf exact) {
  vf x = through_half(exact);
  vf u =
      all(0.79788456080286535588f) * x * (all(1.0f) + all(0.044715f) * x * x);
  vf y = through_half(x * sigmoid_reg(u + u));
  y = pick(exact <= all(-10.0f), all(0.0f), y);
  return pick(exact >= all(10.0f), exact, y);
}

/* x sigmoid(1.702 x), through half precision in the same way. */
INLINE vf gelu_quick_reg(vf exact) {
  vf x = through_half(at_least(at_most(exact, all(65504.0f)), all(-65504.0f)));
  return through_half(x * sigmoid_reg(all(1.702f) * x));
}

INLINE vf gelu_erf_reg(vf x) {
  for (int k = 0; k < PER_REG; k++)
    x[k] = 0.5f * x[k] * (1.0f + erff(x[k] * 0.70710678118654752440f));
  return x;
}

/* ln(1 + e^x) */
INLINE vf softplus_reg(vf x) {
  vf e = exp_reg(at_most(x, all(20.0f)));
  for (int k = 0; k < PER_REG; k++)
    e[k] = log1pf(e[k]);
  return pick(x > all(20.0f), x, e);
}

INLINE vf act_reg(wn_act kind, vf x) {
  switch (kind) {
    case WN_ACT_SILU:
      return x * sigmoid_reg(x);
    case WN_ACT_GELU:
      return gelu_reg(x);
    case WN_ACT_GELU_ERF:
      return gelu_erf_reg(x);
    case WN_ACT_GELU_QUICK:
      return gelu_quick_reg(x);
    case WN_ACT_RELU:
      return at_least(x, all(0.0f));
    case WN_ACT_RELU2:
      x = at_least(x, all(0.0f));
      return x * x;
    case WN_ACT_SIGMOID:
      return sigmoid_reg(x);
    case WN_ACT_TANH:
      return tanh_reg(x);
    case WN_ACT_EXP:
      return exp_reg(x);
    case WN_ACT_SOFTPLUS:
      return softplus_reg(x);
    default:
      return x;
  }
}

/* y[i] = EXPR of a register `x` (and `z`, when there is a second input) for
 * all i < n: whole strips, then the rest. */
#define MAP1(n, X, Y, EXPR)                  \
  do {                                       \
    size_t i_ = 0;                           \
    for (; i_ + STRIP <= (n); i_ += STRIP) { \
      strip a_ = load((X) + i_);             \
      EACH_REG {                             \
        vf x = a_.v[r_];                     \
        a_.v[r_] = (EXPR);                   \
      }                                      \
      store((Y) + i_, a_);                   \
    }                                        \
    if (i_ < (n)) {                          \
      strip a_ = load_n((X) + i_, (n)-i_);   \
      EACH_REG {                             \
        vf x = a_.v[r_];                     \
        a_.v[r_] = (EXPR);                   \
      }                                      \
      store_n((Y) + i_, a_, (n)-i_);         \
    }                                        \
  } while (0)

#define MAP2(n, X, Z, Y, EXPR)                        \
  do {                                                \
    size_t i_ = 0;                                    \
    for (; i_ + STRIP <= (n); i_ += STRIP) {          \
      strip a_ = load((X) + i_), b_ = load((Z) + i_); \
      EACH_REG {                                      \
        vf x = a_.v[r_], z = b_.v[r_];                \
        a_.v[r_] = (EXPR);                            \
      }                                               \
      store((Y) + i_, a_);                            \
    }                                                 \
    if (i_ < (n)) {                                   \
      strip a_ = load_n((X) + i_, (n)-i_);            \
      strip b_ = load_n((Z) + i_, (n)-i_);            \
      EACH_REG {                                      \
        vf x = a_.v[r_], z = b_.v[r_];                \
        a_.v[r_] = (EXPR);                            \
      }                                               \
      store_n((Y) + i_, a_, (n)-i_);                  \
    }                                                 \
  } while (0)

static void add(const float *a, const float *b, float *y, size_t n) {
  MAP2(n, a, b, y, x + z);
}

static void mul(const float *a, const float *b, float *y, size_t n) {
  MAP2(n, a, b, y, x * z);
}

static void scale(float s, const float *in, float *y, size_t n) {
  MAP1(n, in, y, all(s) * x);
}

static void madd(float s, const float *in, float *y, size_t n) {
  MAP2(n, in, y, y, z + all(s) * x);
}

#include "kern/vec_state.inc.h"

static void softcap(float cap, const float *in, float *y, size_t n) {
  const float inverse = 1.0f / cap;
  MAP1(n, in, y, all(cap) * tanh_reg(x * all(inverse)));
}

static void clamp(float lo, float hi, const float *in, float *y, size_t n) {
  MAP1(n, in, y, at_least(at_most(x, all(hi)), all(lo)));
}

INLINE vf xielu_reg(const float *p, vf x) {
  vf linear = all(p[2]) * x;
  vf above = all(p[0]) * x * x + linear;
  vf e = exp_reg(at_most(x, all(p[3]))) - all(1.0f);
  return pick(x > all(0.0f), above, all(p[1]) * (e - x) + linear);
}

static void xielu(const float *p, const float *in, float *y, size_t n) {
  MAP1(n, in, y, xielu_reg(p, x));
}

static void act(wn_act kind, const float *in, float *y, size_t n) {
  switch (kind) { /* one loop each, so that the choice is outside */
    case WN_ACT_SILU:
      MAP1(n, in, y, act_reg(WN_ACT_SILU, x));
      break;
    case WN_ACT_GELU:
      MAP1(n, in, y, act_reg(WN_ACT_GELU, x));
      break;
    default:
      MAP1(n, in, y, act_reg(kind, x));
      break;
  }
}

static void swiglu_oai(const float *g, const float *u, float *y, size_t n,
                       float alpha, float limit) {
  MAP2(n, g, u, y,
       (at_most(x, all(limit)) *
        sigmoid_reg(all(alpha) * at_most(x, all(limit)))) *
           (at_least(at_most(z, all(limit)), all(-limit)) + all(1.0f)));
}

static void glu(wn_act kind, const float *g, const float *u, float *y, size_t n,
                float alpha, float limit) {
  switch (kind) {
    case WN_ACT_SILU:
      MAP2(n, g, u, y, act_reg(WN_ACT_SILU, x) * z);
      break;
    case WN_ACT_GELU:
      MAP2(n, g, u, y, act_reg(WN_ACT_GELU, x) * z);
      break;
    case WN_ACT_SWIGLU_OAI:
      swiglu_oai(g, u, y, n, alpha, limit);
      break;
    default:
      MAP2(n, g, u, y, act_reg(kind, x) * z);
      break;
  }
}

/* sum of x (or of x^2), over n values */
INLINE float sum_of(const float *x, size_t n, bool squares) {
  strip acc = {{{0}}};
  size_t i = 0;
  for (; i + STRIP <= n; i += STRIP) {
    strip a = load(x + i);
    EACH_REG acc.v[r_] += squares ? a.v[r_] * a.v[r_] : a.v[r_];
  }
  if (i < n) {
    strip a = load_n(x + i, n - i);
    EACH_REG acc.v[r_] += squares ? a.v[r_] * a.v[r_] : a.v[r_];
  }
  return total(acc);
}

/* y = y * w + b, where given */
INLINE void weigh_row(const float *w, const float *b, float *y, size_t n) {
  if (w != NULL) mul(y, w, y, n);
  if (b != NULL) add(y, b, y, n);
}

static float sum(const float *x, size_t n) {
  return sum_of(x, n, false);
}

static void norm_rms(const float *x, const float *w, const float *b, float *y,
                     size_t n, float eps) {
  float mean = sum_of(x, n, true) / (float)n;
  scale(1.0f / sqrtf(mean + eps), x, y, n);
  weigh_row(w, b, y, n);
}

static void norm_layer(const float *in, const float *w, const float *b,
                       float *y, size_t n, float eps) {
  float mean = sum_of(in, n, false) / (float)n;
  MAP1(n, in, y, x - all(mean));
  /* the padding of a last strip must not count: sum_of reads n values */
  float variance = sum_of(y, n, true) / (float)n;
  scale(1.0f / sqrtf(variance + eps), y, y, n);
  weigh_row(w, b, y, n);
}

#include "kern/vec_rows.inc.h"
/* after the rows, which it reads */
#include "kern/vec_attend.inc.h"
#include "kern/vec_pick.inc.h"
#include "kern/vec_rope.inc.h"

static float max(const float *x, size_t n) {
  float m = -INFINITY;
  size_t i = 0;
  if (n >= STRIP) {
    strip top = load(x);
    EACH_REG top.v[r_] = pick(top.v[r_] == top.v[r_], top.v[r_], all(m));
    for (i = STRIP; i + STRIP <= n; i += STRIP) {
      strip a = load(x + i);
      EACH_REG top.v[r_] = less(top.v[r_], a.v[r_], a.v[r_], top.v[r_]);
    }
    float b[STRIP];
    store(b, top);
    for (int k = 0; k < STRIP; k++)
      if (b[k] > m) m = b[k];
  }
  for (; i < n; i++)
    if (x[i] > m) m = x[i];
  return m;
}

const wn_vec VEC_TABLE = {
    .norm_rms = norm_rms,
    .norm_layer = norm_layer,
    .add = add,
    .mul = mul,
    .scale = scale,
    .madd = madd,
    .softcap = softcap,
    .mul_add = mul_add,
    .dot = dot,
    .sum = sum,
    .exp_of = exp_of,
    .fade = fade,
    .outer = outer,
    .scan = scan,
    .clamp = clamp,
    .xielu = xielu,
    .act = act,
    .glu = glu,
    .rope_normal = rope_normal,
    .rope_neox = rope_neox,
    .max = max,
    .panel = panel,
    .product = product,
    .soften = soften,
    .f32_of_f16 = f32_of_f16,
    .f16_of_f32 = f16_of_f32,
    .peaks = peaks,
    .exp_total = exp_total,
};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
