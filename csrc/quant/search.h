/* search.h - the weighted searches of the legacy formats, for one block.
 *
 * With an importance vector, q4_0 ... q5_1 do not round to the nearest level
 * of an obvious scale: they try a series of scales and keep the one with the
 * smallest weighted squared error. These are the definitions, one block of
 * 32 values at a time; search_fast.inc.h does many blocks at once with the
 * same operations in the same order. Float sums are sequential on purpose. */
#ifndef WN_QUANT_SEARCH_H
#define WN_QUANT_SEARCH_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quant/round.h"

enum { WN_LEGACY_BLOCK = 32, WN_AFFINE_STEPS = 36 };

/* Blocks whose largest magnitude is below this become all zero. */
#define WN_TINY_BLOCK 1e-15f

/* Mean square of a row, summed from left to right. */
static inline float wn_row_sigma2(const float *x, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += x[i] * x[i];
  return sum / (float)n;
}

/* w[i] = importance[i] * sqrt(sigma2 + x[i]^2): what an error at i costs. */
static inline void wn_search_weights(const float *x, const float *importance,
                                     float sigma2, float *w) {
  for (int i = 0; i < WN_LEGACY_BLOCK; i++)
    w[i] = importance[i] * sqrtf(sigma2 + x[i] * x[i]);
}

/* The value of largest magnitude, with its sign; of equal ones the first. */
static inline float wn_signed_max(const float *x, int n) {
  float amax = 0, max = 0;
  for (int i = 0; i < n; i++)
    if (fabsf(x[i]) > amax) {
      amax = fabsf(x[i]);
      max = x[i];
    }
  return max;
}

static inline int wn_clamp(int v, int lo, int hi) {
  return v < lo ? lo : v > hi ? hi : v;
}

/* One candidate of the symmetric search: levels -top .. top-1 of iscale * x,
 * and the two sums from which the best scale for these levels follows:
 * lx = sum w x l, l2 = sum w l^2. q (may be NULL) gets level + top. */
static inline void wn_try_scale(const float *x, const float *w, int top,
                                float iscale, float *lx, float *l2,
                                uint8_t *q) {
  *lx = *l2 = 0;
  for (int i = 0; i < WN_LEGACY_BLOCK; i++) {
    int l = wn_clamp(wn_nearest_i32(iscale * x[i]), -top, top - 1);
    *lx += w[i] * x[i] * (float)l;
    *l2 += w[i] * (float)l * (float)l;
    if (q != NULL) q[i] = (uint8_t)(l + top);
  }
}

/* Symmetric search: x ~ scale * (q - top), q in 0 .. 2 top - 1. Tries the
 * scale that maps the largest magnitude to -top and 18 around it. Returns the
 * scale. */
static inline float wn_search_scale(const float *x, const float *w, int top,
                                    uint8_t *q) {
  float max = wn_signed_max(x, WN_LEGACY_BLOCK);
  if (fabsf(max) < WN_TINY_BLOCK) {
    memset(q, 0, WN_LEGACY_BLOCK);
    return 0;
  }
  float lx, l2;
  wn_try_scale(x, w, top, (float)-top / max, &lx, &l2, q);
  float scale = l2 != 0 ? lx / l2 : 0.0f, best = scale * lx;
  for (int step = -9; step <= 9; step++) {
    if (step == 0) continue;
    float iscale = -((float)top + 0.1f * (float)step) / max;
    wn_try_scale(x, w, top, iscale, &lx, &l2, NULL);
    if (!(l2 > 0 && lx * lx > best * l2)) continue;
    wn_try_scale(x, w, top, iscale, &lx, &l2, q);
    scale = lx / l2;
    best = scale * lx;
  }
  return scale;
}

/* Smallest (at most 0) and largest value of a block, and the sums of w and of
 * w x; each starts with element 0, not with zero. */
typedef struct wn_affine {
  float min, max, w, wx;
} wn_affine;

static inline wn_affine wn_affine_of(const float *x, const float *w) {
  wn_affine a = {x[0], x[0], w[0], w[0] * x[0]};
  for (int i = 1; i < WN_LEGACY_BLOCK; i++) {
    if (x[i] < a.min) a.min = x[i];
    if (x[i] > a.max) a.max = x[i];
    a.w += w[i];
    a.wx += w[i] * x[i];
  }
  if (a.min > 0) a.min = 0;
  return a;
}

/* Levels 0..top of iscale * (x - min). */
static inline void wn_affine_levels(const float *x, float iscale, float min,
                                    int top, uint8_t *q) {
  for (int i = 0; i < WN_LEGACY_BLOCK; i++)
    q[i] = (uint8_t)wn_clamp(wn_nearest_i32(iscale * (x[i] - min)), 0, top);
}

/* sum w (scale q + min - x)^2 */
static inline float wn_affine_error(const float *x, const float *w,
                                    const uint8_t *q, float scale, float min) {
  float sum = 0;
  for (int i = 0; i < WN_LEGACY_BLOCK; i++) {
    float diff = scale * (float)q[i] + min - x[i];
    sum += w[i] * (diff * diff);
  }
  return sum;
}

/* The least-squares scale and minimum for levels q; false when the levels do
 * not determine them. A positive minimum is replaced by none. */
static inline bool wn_affine_fit(const float *x, const float *w,
                                 const uint8_t *q, const wn_affine *a,
                                 float *scale, float *min) {
  float l1 = 0, l2 = 0, lx = 0;
  for (int i = 0; i < WN_LEGACY_BLOCK; i++) {
    float wl = w[i] * (float)q[i];
    l1 += wl;
    l2 += wl * (float)q[i];
    lx += wl * x[i];
  }
  float det = a->w * l2 - l1 * l1;
  if (!(det > 0)) return false;
  *scale = (a->w * lx - a->wx * l1) / det;
  *min = (l2 * a->wx - l1 * lx) / det;
  if (*min > 0) {
    *min = 0;
    *scale = lx / l2;
  }
  return true;
}

/* Affine search: x ~ scale * q + min, q in 0..top, min <= 0. Levels of 37
 * scales from (top - 0.9) to (top + 0.9) steps per range, each with its
 * least-squares scale and minimum. Returns the scale. */
static inline float wn_search_affine(const float *x, const float *w, int top,
                                     uint8_t *q, float *min) {
  wn_affine a = wn_affine_of(x, w);
  *min = a.min;
  memset(q, 0, WN_LEGACY_BLOCK);
  if (a.max <= a.min) return 0;
  float range = a.max - a.min, iscale = (float)top / range;
  float scale = 1 / iscale;
  wn_affine_levels(x, iscale, a.min, top, q);
  float best = wn_affine_error(x, w, q, scale, a.min);
  float from = a.min; /* levels count from the best minimum found so far */
  for (int step = 0; step <= WN_AFFINE_STEPS; step++) {
    uint8_t try_q[WN_LEGACY_BLOCK];
    float try_scale, try_min;
    iscale = (-0.9f + 0.05f * (float)step + (float)top) / (a.max - from);
    wn_affine_levels(x, iscale, from, top, try_q);
    if (!wn_affine_fit(x, w, try_q, &a, &try_scale, &try_min)) continue;
    float err = wn_affine_error(x, w, try_q, try_scale, try_min);
    if (!(err < best)) continue;
    memcpy(q, try_q, sizeof try_q);
    best = err;
    scale = try_scale;
    *min = from = try_min;
  }
  return scale;
}

#endif
