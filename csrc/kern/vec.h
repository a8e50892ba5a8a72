/* vec.h - vector operations of inference: norms, activations, rotation,
 * the pieces of attention. One table per instruction set.
 *
 * All tables give the same bits: every operation is written once, over 16
 * lanes whatever the width of the registers (vec.inc.h), with fused
 * multiply-add only where it says so, and sums are taken lane by lane and
 * then in one fixed tree.
 * An element's result does not depend on where in a vector it stands, so
 * rows may be cut anywhere. Outputs may be the same memory as inputs, not
 * overlap them otherwise. n may be 0. */
#ifndef WN_KERN_VEC_H
#define WN_KERN_VEC_H

#include <stddef.h>
#include <stdint.h>

enum { WN_PEAK_GROUP = 256, WN_PEAK_LANES = 16 };

/* Activations. id, name in programs. swiglu_oai exists only with a gate. */
#define WN_ACTS(X)            \
  X(SILU, "silu")             \
  X(GELU, "gelu")             \
  X(GELU_ERF, "gelu_erf")     \
  X(GELU_QUICK, "gelu_quick") \
  X(RELU, "relu")             \
  X(RELU2, "relu2")           \
  X(SIGMOID, "sigmoid")       \
  X(TANH, "tanh")             \
  X(SOFTPLUS, "softplus")     \
  X(EXP, "exp")               \
  X(SWIGLU_OAI, "swiglu_oai")

typedef enum wn_act {
#define X(id, name) WN_ACT_##id,
  WN_ACTS(X)
#undef X
      WN_ACT_N,
  WN_ACT_N_UNARY = WN_ACT_SWIGLU_OAI
} wn_act;

enum { WN_PANEL = 64 }; /* keys of a panel */

/* Rows of keys and values that attention reads where they are. Numbers are
 * what the decoder of the type says, bit for bit. Of block types a row has
 * whole blocks. When they are not float32 they are taken to be in a cache:
 * the same rows of the next WN_PANEL positions are asked for. */
typedef enum wn_row_kind {
  WN_ROW_F32,
  WN_ROW_F16,
  WN_ROW_BF16,
  WN_ROW_Q8_0,
  WN_ROW_Q4_0,
  WN_ROW_KINDS
} wn_row_kind;

/* The keys lo <= j < hi of a panel. */
typedef struct wn_range {
  uint32_t lo, hi;
} wn_range;

typedef struct wn_vec {
  /* y = x / sqrt(mean(x^2) + eps) * w + b; w, b may be NULL (1 and 0) */
  void (*norm_rms)(const float *x, const float *w, const float *b, float *y,
                   size_t n, float eps);
  /* y = (x - mean) / sqrt(variance + eps) * w + b */
  void (*norm_layer)(const float *x, const float *w, const float *b, float *y,
                     size_t n, float eps);
  void (*add)(const float *a, const float *b, float *y, size_t n);
  void (*mul)(const float *a, const float *b, float *y, size_t n);
  void (*scale)(float s, const float *x, float *y, size_t n);
  void (*madd)(float s, const float *x, float *y, size_t n); /* y += s x */
  void (*mul_add)(const float *a, const float *b, float *y, size_t n);
  float (*dot)(const float *a, const float *b, size_t n);
  float (*sum)(const float *x, size_t n);
  void (*exp_of)(float s, const float *x, float *y, size_t n); /* e^(s x) */
  /* A state of n_rows rows of n columns, ld values apart. fade: s *= factor,
   * y[c] = sum over r of a[r] s[r][c]. outer: s[r][c] += k[r] u[c], then y as
   * before. Sums run over r in order, element by element. */
  void (*fade)(float factor, const float *a, float *s, size_t ld, size_t n_rows,
               size_t n, float *y);
  void (*outer)(const float *k, const float *u, const float *a, float *s,
                size_t ld, size_t n_rows, size_t n, float *y);
  /* For each of n_rows rows of s, n values long: s[r] = factor s[r] + k[r] b,
   * y[r] = the dot product of s[r] and a: the bits of scale, madd and dot. */
  void (*scan)(float factor, const float *k, const float *b, const float *a,
               float *s, size_t n_rows, size_t n, float *y);
  void (*softcap)(float cap, const float *x, float *y, size_t n);
  /* x, at least lo and at most hi; NaN stays NaN */
  void (*clamp)(float lo, float hi, const float *x, float *y, size_t n);
  /* with P, Q, beta, eps = p[0..3]: P x^2 + beta x for x > 0, else
   * Q (e^min(x, eps) - 1 - x) + beta x */
  void (*xielu)(const float *p, const float *x, float *y, size_t n);
  void (*act)(wn_act kind, const float *x, float *y, size_t n);
  /* y = act(g) * u. swiglu_oai: with g cut at limit from above and u from
   * both sides, g * sigmoid(alpha g) * (u + 1) */
  void (*glu)(wn_act kind, const float *g, const float *u, float *y, size_t n,
              float alpha, float limit);
  /* Rotates one head: pair j by the angle whose cosine and sine are cs[2j]
   * and cs[2j+1]. Pairs are (2j, 2j+1), or (j, j + n_rot/2) for neox. */
  void (*rope_normal)(const float *cs, const float *x, float *y, size_t n_rot);
  void (*rope_neox)(const float *cs, const float *x, float *y, size_t n_rot);
  float (*max)(const float *x, size_t n); /* -inf for n = 0 */
  /* Keys as columns: panel[i * WN_PANEL + j] = value i of key j, for n keys of
   * `width` values, ldk bytes apart. n <= WN_PANEL; columns up to the next
   * multiple of 16 become 0. */
  void (*panel)(wn_row_kind kind, const void *k, size_t ldk, size_t n,
                size_t width, float *panel);
  /* y[r][c] = keep[r] y[r][c] + sum of a[r][i] b[i][c] over i < depth, for n
   * rows of n_cols columns: a chain of fused multiply-adds in the order of i.
   * keep NULL: from 0. The rows of b are ldb bytes apart. */
  void (*product)(const float *a, size_t lda, size_t n, wn_row_kind kind,
                  const void *b, size_t ldb, size_t depth, size_t n_cols,
                  const float *keep, float *y, size_t ldy);
  /* A step of an online softmax for n queries. Query i has WN_PANEL scores at
   * s + i WN_PANEL and sees those of the range seen[i / group], which is not
   * empty: with x[j] = scale * s[j], bent by softcap where cap > 0, and m the
   * greatest so far, s[j] = exp(x[j] - m); the others become 0. Its running
   * state is at run + i ld: m, and from place 16 on sums over the lanes j mod
   * 16. keep[i]: what all its sums so far are multiplied by. */
  void (*soften)(float *s, size_t n, const wn_range *seen, size_t group,
                 float scale, float cap, float *run, size_t ld, float *keep);
  void (*f32_of_f16)(const uint16_t *x, float *y, size_t n);
  void (*f16_of_f32)(const float *x, uint16_t *y, size_t n);
  /* y[16 g + i] = the greatest of x[256 g + 16 j + i] for j = 0..15, for n
   * values in groups of 256: -inf where there are none, NaN where one is */
  void (*peaks)(const float *x, size_t n, float *y);
  /* the sum of exp(x - max), without changing x */
  float (*exp_total)(const float *x, size_t n, float max);
} wn_vec;

/* The table of the tier in force (base/cpu.h). */
const wn_vec *wn_vec_get(void);

extern const wn_vec wn_vec_ref;
#if defined(__x86_64__)
extern const wn_vec wn_vec_avx2, wn_vec_avx512;
#elif defined(__aarch64__)
extern const wn_vec wn_vec_neon;
#endif

/* exp(x), the scalar of the vector code above: what every table computes. */
float wn_expf(float x);

#endif
