/* adam.c - AdamW on the trained weights of a trainer (train.h). */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "run/train_in.h"

static size_t values_of(const wn_trained *r) {
  return (size_t)r->rows * r->cols;
}

void wn_train_zero(wn_train *t) {
  for (uint32_t i = 0; i < t->n_trained; i++)
    memset(t->trained[i].part[WN_TRAIN_GRAD], 0,
           values_of(&t->trained[i]) * sizeof(float));
}

static double length_of(const wn_train *t) {
  double sum = 0;
  for (uint32_t i = 0; i < t->n_trained; i++) {
    const float *g = t->trained[i].part[WN_TRAIN_GRAD];
    for (size_t k = 0; k < values_of(&t->trained[i]); k++)
      sum += (double)g[k] * (double)g[k];
  }
  return sqrt(sum);
}

int wn_train_make(wn_train *t, int part, wn_err *e) {
  for (uint32_t i = 0; i < t->n_trained; i++) {
    wn_trained *r = &t->trained[i];
    if (r->part[part] != NULL) continue;
    r->part[part] = wn_calloc(WN_MEM_RUN, values_of(r), sizeof(float));
    if (r->part[part] == NULL)
      return wn_fail(e, WN_ENOMEM, "train: out of memory");
    t->bytes += values_of(r) * sizeof(float);
  }
  return WN_OK;
}

/* Decay is apart from the gradient, as in AdamW. */
static void step_one(const wn_trained *r, const wn_adam *a, double shrink) {
  double c1 = 1 - pow(a->beta1, (double)a->step);
  double c2 = 1 - pow(a->beta2, (double)a->step);
  float *w = r->part[WN_TRAIN_WEIGHT];
  const float *g = r->part[WN_TRAIN_GRAD];
  float *mean = r->part[WN_TRAIN_MEAN], *square = r->part[WN_TRAIN_SQUARE];
  for (size_t k = 0; k < values_of(r); k++) {
    double d = (double)g[k] * shrink;
    double m = a->beta1 * (double)mean[k] + (1 - a->beta1) * d;
    double v = a->beta2 * (double)square[k] + (1 - a->beta2) * d * d;
    double go = m / c1 / (sqrt(v / c2) + a->eps) + a->decay * (double)w[k];
    mean[k] = (float)m;
    square[k] = (float)v;
    w[k] = (float)((double)w[k] - a->rate * go);
  }
}

int wn_train_adam(wn_train *t, const wn_adam *a, double *length, wn_err *e) {
  *length = length_of(t);
  if (!isfinite(*length)) {
    wn_train_zero(t);
    return wn_fail(e, WN_EDATA, "train: the gradient is not finite");
  }
  int rc = wn_train_make(t, WN_TRAIN_MEAN, e);
  if (rc == WN_OK) rc = wn_train_make(t, WN_TRAIN_SQUARE, e);
  if (rc != WN_OK) return rc;
  double shrink = a->clip > 0 && *length > a->clip ? a->clip / *length : 1;
  for (uint32_t i = 0; i < t->n_trained; i++)
    step_one(&t->trained[i], a, shrink);
  wn_train_zero(t);
  return WN_OK;
}
