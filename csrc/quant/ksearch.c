/* ksearch.c - the searches behind the k formats, in scalar code.
 *
 * These functions are definitions: every sum is a chain of single-precision
 * additions in the order of the values, without contraction, because the
 * bytes of the blocks depend on each rounding. The order of the operations is
 * that of llama.cpp v0.5.0. */
#include <math.h>

#include "base/cpu.h"
#include "quant/k.h"

WN_EXACT_FLOAT

const wn_k_affine wn_k_affine_q2 = {
    .sub = 16,
    .top = 3,
    .scale_top = 15,
    .plain = {-0.5f, 0.1f, 15, true},
    .weighed = {-0.9f, 0.05f, 36, false},
};
const wn_k_affine wn_k_affine_q4 = {
    .sub = 32,
    .top = 15,
    .scale_top = 63,
    .plain = {-1.f, 0.1f, 20, false},
    .weighed = {-0.9f, 0.05f, 36, false},
};
const wn_k_affine wn_k_affine_q5 = {
    .sub = 32,
    .top = 31,
    .scale_top = 63,
    .plain = {-0.5f, 0.1f, 15, false},
    .weighed = {-0.9f, 0.05f, 36, false},
};

/* ---- Scale and minimum. ------------------------------------------------- */

/* What the search knows about a sub-block. */
typedef struct affine {
  int n, top;
  const float *x, *w;
  float max, sum_w, sum_x; /* largest x; sums of w and w x */
} affine;

/* Levels for steps of 1 / iscale from min upwards. */
static void affine_levels(const affine *a, float iscale, float min,
                          uint8_t *L) {
  for (int i = 0; i < a->n; i++) {
    int l = wn_k_round(iscale * (a->x[i] - min));
    L[i] = (uint8_t)wn_k_clamp(l, 0, a->top);
  }
}

static float affine_error(const affine *a, bool mad, const uint8_t *L,
                          float scale, float min) {
  float error = 0;
  for (int i = 0; i < a->n; i++) {
    float diff = scale * (float)L[i] + min - a->x[i];
    diff = mad ? fabsf(diff) : diff * diff;
    error += a->w[i] * diff;
  }
  return error;
}

/* Least squares for given levels: the scale and minimum of smallest weighted
 * square error; a positive minimum is replaced by 0. False: degenerate. */
static bool affine_solve(const affine *a, const uint8_t *L, float *scale,
                         float *min) {
  float sum_l = 0, sum_l2 = 0, sum_xl = 0;
  for (int i = 0; i < a->n; i++) {
    float l = (float)L[i], wl = a->w[i] * l;
    sum_l += wl;
    sum_l2 += wl * l;
    sum_xl += wl * a->x[i];
  }
  float det = a->sum_w * sum_l2 - sum_l * sum_l;
  if (!(det > 0)) return false;
  *scale = (a->sum_w * sum_xl - a->sum_x * sum_l) / det;
  *min = (sum_l2 * a->sum_x - sum_l * sum_xl) / det;
  if (*min > 0) {
    *min = 0;
    *scale = sum_xl / sum_l2;
  }
  return true;
}

float wn_k_fit_affine(int n, int top, const wn_k_grid *g, const float *x,
                      const float *w, uint8_t *L, float *minimum) {
  float min = x[0];
  affine a = {n, top, x, w, x[0], w[0], w[0] * x[0]};
  for (int i = 1; i < n; i++) {
    if (x[i] < min) min = x[i];
    if (x[i] > a.max) a.max = x[i];
    a.sum_w += w[i];
    a.sum_x += w[i] * x[i];
  }
  if (min > 0) min = 0;
  if (a.max == min) {
    memset(L, 0, (size_t)n);
    *minimum = -min;
    return 0;
  }
  float iscale = (float)top / (a.max - min), scale = 1 / iscale;
  affine_levels(&a, iscale, min, L);
  float best = affine_error(&a, g->mad, L, scale, min);
  for (int i = 0; i <= g->last; i++) {
    /* An accepted candidate moves `min`, and with it all that follow. */
    uint8_t trial[32];
    float trial_scale, trial_min;
    iscale = (g->rmin + g->rdelta * (float)i + (float)top) / (a.max - min);
    affine_levels(&a, iscale, min, trial);
    if (!affine_solve(&a, trial, &trial_scale, &trial_min)) continue;
    float error = affine_error(&a, g->mad, trial, trial_scale, trial_min);
    if (!(error < best)) continue;
    memcpy(L, trial, (size_t)n);
    best = error;
    scale = trial_scale;
    min = trial_min;
  }
  *minimum = -min;
  return scale;
}

/* ---- Scale only, levels around zero. ------------------------------------ */

/* The first value of the largest magnitude, with its sign; 0 when all are
 * below WN_K_EPS. */
static float extreme(int n, const float *x) {
  float max = 0, amax = 0;
  for (int i = 0; i < n; i++) {
    if (fabsf(x[i]) > amax) {
      amax = fabsf(x[i]);
      max = x[i];
    }
  }
  return amax < WN_K_EPS ? 0 : max;
}

/* Sums of w x l and w l^2 for steps of 1 / iscale. */
static void symmetric_sums(int n, int top, const float *x, const float *w,
                           float iscale, float *sum_xl, float *sum_l2) {
  *sum_xl = *sum_l2 = 0;
  for (int i = 0; i < n; i++) {
    float l = (float)wn_k_clamp(wn_k_round(iscale * x[i]), -top, top - 1);
    *sum_xl += w[i] * x[i] * l;
    *sum_l2 += w[i] * l * l;
  }
}

float wn_k_fit_symmetric(int n, int top, const float *x, const float *w,
                         uint8_t *L) {
  memset(L, 0, (size_t)n);
  float max = extreme(n, x), sum_xl, sum_l2;
  if (max == 0) return 0;
  float iscale = (float)-top / max, best_iscale = iscale;
  symmetric_sums(n, top, x, w, iscale, &sum_xl, &sum_l2);
  float scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0, best = scale * sum_xl;
  for (int is = -9; is <= 9; is++) {
    if (is == 0) continue;
    iscale = -((float)top + 0.1f * (float)is) / max;
    symmetric_sums(n, top, x, w, iscale, &sum_xl, &sum_l2);
    if (sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2) {
      best_iscale = iscale;
      scale = sum_xl / sum_l2;
      best = scale * sum_xl;
    }
  }
  for (int i = 0; i < n; i++)
    L[i] = (uint8_t)(top +
                     wn_k_clamp(wn_k_round(best_iscale * x[i]), -top, top - 1));
  return scale;
}

/* One round: each value in turn tries the level that is best for the scale
 * fitted to all the others. True when any level changed. */
static bool round_of_changes(int n, int top, const float *x, int *l,
                             float *sum_xl, float *sum_l2) {
  bool changed = false;
  for (int i = 0; i < n; i++) {
    float w = x[i] * x[i], was = (float)l[i];
    float others_xl = *sum_xl - w * x[i] * was;
    if (!(others_xl > 0)) continue;
    float others_l2 = *sum_l2 - w * was * was;
    int want =
        wn_k_clamp(wn_k_round(x[i] * others_l2 / others_xl), -top, top - 1);
    if (want == l[i]) continue;
    others_xl += w * x[i] * (float)want;
    others_l2 += w * (float)want * (float)want;
    if (others_l2 > 0 &&
        others_xl * others_xl * *sum_l2 > *sum_xl * *sum_xl * others_l2) {
      l[i] = want;
      *sum_xl = others_xl;
      *sum_l2 = others_l2;
      changed = true;
    }
  }
  return changed;
}

float wn_k_fit_rounds(int n, int top, const float *x, uint8_t *L) {
  memset(L, 0, (size_t)n);
  float max = extreme(n, x), sum_xl = 0, sum_l2 = 0;
  if (max == 0) return 0;
  float iscale = (float)-top / max;
  int l[32];
  for (int i = 0; i < n; i++) {
    l[i] = wn_k_clamp(wn_k_round(iscale * x[i]), -top, top - 1);
    float w = x[i] * x[i];
    sum_xl += w * x[i] * (float)l[i];
    sum_l2 += w * (float)l[i] * (float)l[i];
  }
  for (int round = 0; round < 5; round++)
    if (!round_of_changes(n, top, x, l, &sum_xl, &sum_l2)) break;
  for (int i = 0; i < n; i++)
    L[i] = (uint8_t)(l[i] + top);
  return sum_l2 > 0 ? sum_xl / sum_l2 : 0;
}

/* ---- Scales of scales. -------------------------------------------------- */

/* Weighted square error of levels stored as bytes (a negative level of a
 * freak input wraps, there as here). */
static float positive_error(int n, int top, const float *x, const float *w,
                            float iscale) {
  float scale = 1 / iscale, error = 0;
  for (int i = 0; i < n; i++) {
    int l = wn_k_round(iscale * x[i]);
    float diff = x[i] - scale * (float)(l > top ? top : l);
    error += w[i] * diff * diff;
  }
  return error;
}

/* As round_of_changes, for levels 0 .. top. */
static bool round_of_positive(int n, int top, const float *x, const float *w,
                              uint8_t *L, float *sum_xl, float *sum_l2) {
  bool changed = false;
  for (int i = 0; i < n; i++) {
    float was = (float)L[i];
    float others_xl = *sum_xl - w[i] * x[i] * was;
    float others_l2 = *sum_l2 - w[i] * was * was;
    if (!(others_xl > 0 && others_l2 > 0)) continue;
    int want = wn_k_round(x[i] * others_l2 / others_xl);
    if (want > top) want = top;
    if (want == L[i]) continue;
    others_xl += w[i] * x[i] * (float)want;
    others_l2 += w[i] * (float)want * (float)want;
    if (others_xl * others_xl * *sum_l2 > *sum_xl * *sum_xl * others_l2) {
      L[i] = (uint8_t)want;
      *sum_xl = others_xl;
      *sum_l2 = others_l2;
      changed = true;
    }
  }
  return changed;
}

float wn_k_fit_positive(int n, int top, const float *x, const float *w,
                        uint8_t *L) {
  memset(L, 0, (size_t)n);
  float max = 0, sum_xl = 0, sum_l2 = 0;
  for (int i = 0; i < n; i++)
    if (!(max > x[i])) max = x[i];
  if (max < WN_K_EPS) return 0;
  float iscale = (float)top / max, scale = 1 / iscale, best = 0;
  for (int i = 0; i < n; i++) { /* here the byte itself is not capped */
    float diff = x[i] - scale * (float)(uint8_t)wn_k_round(iscale * x[i]);
    best += w[i] * diff * diff;
  }
  for (int is = -4; is <= 4; is++) {
    if (is == 0) continue;
    float trial = (0.1f * (float)is + (float)top) / max;
    float error = positive_error(n, top, x, w, trial);
    if (!(error < best)) continue;
    best = error;
    iscale = trial;
  }
  for (int i = 0; i < n; i++) {
    int l = wn_k_round(iscale * x[i]);
    if (l > top) l = top;
    L[i] = (uint8_t)l;
    sum_xl += w[i] * x[i] * (float)l;
    sum_l2 += w[i] * (float)l * (float)l;
  }
  for (int round = 0; round < 5; round++)
    if (!round_of_positive(n, top, x, w, L, &sum_xl, &sum_l2)) break;
  return sum_l2 > 0 ? sum_xl / sum_l2 : 0;
}
