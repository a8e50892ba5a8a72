/* act.c - activations as smooth functions of one number, and their slopes:
 * what gradients (back.h) are made of. */
#include <math.h>

#include "graph/back.h"

static float sigmoid(float x) {
  return 1.0f / (1.0f + wn_expf(-x));
}

/* x sigmoid(u(x)) and its slope; du: that of u. */
static float gated(float x, float u) {
  return x * sigmoid(u);
}
static float gated_slope(float x, float u, float du) {
  float s = sigmoid(u);
  return s + x * s * (1 - s) * du;
}

/* GELU by tanh is x sigmoid(2u). */
static float gelu_u(float x) {
  return 2 * 0.79788456080286535588f * x * (1 + 0.044715f * x * x);
}
static float gelu_du(float x) {
  return 2 * 0.79788456080286535588f * (1 + 3 * 0.044715f * x * x);
}

static float normal_cdf(float x) {
  return 0.5f * (1 + erff(x * 0.70710678118654752440f));
}

float wn_act_value(wn_act kind, float x) {
  switch (kind) {
    case WN_ACT_SILU:
      return gated(x, x);
    case WN_ACT_GELU:
      return gated(x, gelu_u(x));
    case WN_ACT_GELU_QUICK:
      return gated(x, 1.702f * x);
    case WN_ACT_GELU_ERF:
      return x * normal_cdf(x);
    case WN_ACT_RELU:
      return x > 0 ? x : 0;
    case WN_ACT_RELU2:
      return x > 0 ? x * x : 0;
    case WN_ACT_SIGMOID:
      return sigmoid(x);
    case WN_ACT_TANH:
      return tanhf(x);
    case WN_ACT_EXP:
      return wn_expf(x);
    case WN_ACT_SOFTPLUS:
      return x > 20 ? x : log1pf(wn_expf(x));
    default:
      return x;
  }
}

float wn_act_slope(wn_act kind, float x) {
  float t;
  switch (kind) {
    case WN_ACT_SILU:
      return gated_slope(x, x, 1);
    case WN_ACT_GELU:
      return gated_slope(x, gelu_u(x), gelu_du(x));
    case WN_ACT_GELU_QUICK:
      return gated_slope(x, 1.702f * x, 1.702f);
    case WN_ACT_GELU_ERF:
      return normal_cdf(x) +
             x * 0.39894228040143267794f * wn_expf(-0.5f * x * x);
    case WN_ACT_RELU:
      return x > 0 ? 1 : 0;
    case WN_ACT_RELU2:
      return x > 0 ? 2 * x : 0;
    case WN_ACT_SIGMOID:
      t = sigmoid(x);
      return t * (1 - t);
    case WN_ACT_TANH:
      t = tanhf(x);
      return 1 - t * t;
    case WN_ACT_EXP:
      return wn_expf(x);
    case WN_ACT_SOFTPLUS:
      return sigmoid(x);
    default:
      return 1;
  }
}

void wn_activate(const wn_member *m, wn_act kind, const float *x, float *y,
                 uint32_t n) {
  if (m->f->exact)
    for (uint32_t c = 0; c < n; c++)
      y[c] = wn_act_value(kind, x[c]);
  else
    m->f->vec->act(kind, x, y, n);
}

void wn_activate_gate(const wn_member *m, wn_act kind, const float *gate,
                      const float *up, float *y, uint32_t n, float alpha,
                      float limit) {
  if (m->f->exact && kind < WN_ACT_N_UNARY)
    for (uint32_t c = 0; c < n; c++)
      y[c] = wn_act_value(kind, gate[c]) * up[c];
  else
    m->f->vec->glu(kind, gate, up, y, n, alpha, limit);
}
