/* op_norm.c - rows, or groups of a row (heads), normalised. */
#include <math.h>

#include "graph/back.h"

static int verify(wn_checker *c) {
  uint32_t width = wn_in_width(c, 0), group = c->op->i[0];
  int rc = WN_OK;
  if (group == 0) group = width;
  if (width % group != 0)
    return wn_bad(c, "width %u is not a multiple of the group, %u", width,
                  group);
  if (!(c->op->f[0] > 0) || c->op->f[0] > 1)
    return wn_bad(c, "eps %g, want more than 0 and at most 1",
                  (double)c->op->f[0]);
  for (int k = 0; k < 2; k++) {
    if (c->op->w[k] == WN_NONE) continue;
    bool whole = wn_weight_values(wn_weight_of(c, k)) == width;
    rc = wn_check_vector(c, k, whole ? width : group);
    if (rc != WN_OK) return rc;
  }
  return wn_make(c, width);
}

static uint32_t granule(const wn_prog *p, const wn_op *op) {
  (void)p;
  return op->i[0];
}

static void norm(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  uint32_t group = op->i[0] != 0 ? op->i[0] : f->p->widths[i];
  const float *x = wn_row_in(m, op->in[0], r), *p[2] = {NULL, NULL};
  float *y = wn_row(m, i, r);
  for (uint32_t c = c0; c < c1; c += group) {
    for (int k = 0; k < 2; k++) {
      if (op->w[k] == WN_NONE) continue;
      bool per_group = wn_weight_values(&f->p->weights[op->w[k]]) == group;
      p[k] = f->bound[op->w[k]].vec + (per_group ? 0 : c);
    }
    if (op->kind == WN_NORM_RMS)
      f->vec->norm_rms(x + c, p[0], p[1], y + c, group, op->f[0]);
    else
      f->vec->norm_layer(x + c, p[0], p[1], y + c, group, op->f[0]);
  }
}

/* Mean (0 for kind rms) and the factor that normalises. */
static void moments(const wn_op *op, const float *x, uint32_t n, float *mean,
                    float *factor) {
  double sum = 0, squares = 0;
  for (uint32_t c = 0; c < n && op->kind == WN_NORM_LAYER; c++)
    sum += (double)x[c];
  *mean = (float)(sum / n);
  for (uint32_t c = 0; c < n; c++) {
    double d = (double)x[c] - (double)*mean;
    squares += d * d;
  }
  *factor = (float)(1 / sqrt(squares / n + (double)op->f[0]));
}

/* The values of weight k that belong to the group at c. */
static const float *weights_at(const wn_frame *f, const wn_op *op, int k,
                               uint32_t c, uint32_t group) {
  if (op->w[k] == WN_NONE) return NULL;
  bool per_group = wn_weight_values(&f->p->weights[op->w[k]]) == group;
  return f->bound[op->w[k]].vec + (per_group ? 0 : c);
}

/* With h = (x - mean) factor and u = g w: dx = factor (u - mean(u) - h mean(u
 * h)), the first mean of kind layer only. */
static void norm_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  uint32_t n = op->i[0] != 0 ? op->i[0] : f->p->widths[i];
  if (!wn_needs(m, op->in[0])) return;
  for (uint32_t at = 0; at < f->p->widths[i]; at += n) {
    const float *x = wn_row_in(m, op->in[0], r) + at;
    const float *g = wn_grad(m, i, r) + at, *w = weights_at(f, op, 0, at, n);
    float *dx = wn_grad_in(m, op->in[0], r) + at, mean, factor;
    double u_sum = 0, uh_sum = 0;
    moments(op, x, n, &mean, &factor);
    for (uint32_t c = 0; c < n; c++) {
      float u = w != NULL ? g[c] * w[c] : g[c];
      u_sum += (double)u;
      uh_sum += (double)(u * (x[c] - mean) * factor);
    }
    float u_mean = op->kind == WN_NORM_LAYER ? (float)(u_sum / n) : 0;
    float uh_mean = (float)(uh_sum / n);
    for (uint32_t c = 0; c < n; c++) {
      float u = w != NULL ? g[c] * w[c] : g[c];
      dx[c] += factor * (u - u_mean - (x[c] - mean) * factor * uh_mean);
    }
  }
}

/* Rows are few; members divide the channels of a group. */
static void norm_back_weights(wn_member *m, uint32_t i) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  uint32_t n = op->i[0] != 0 ? op->i[0] : f->p->widths[i];
  uint32_t c0 = wn_share(m, n, m->id), c1 = wn_share(m, n, m->id + 1);
  float *d[2];
  for (int k = 0; k < 2; k++)
    d[k] = wn_grad_weight(m, op, k);
  if (d[0] == NULL && d[1] == NULL) return;
  for (uint32_t r = 0; r < m->n_rows; r++)
    for (uint32_t at = 0; at < f->p->widths[i]; at += n) {
      const float *x = wn_row_in(m, op->in[0], r) + at;
      const float *g = wn_grad(m, i, r) + at;
      float mean, factor;
      moments(op, x, n, &mean, &factor);
      for (int k = 0; k < 2; k++) {
        if (d[k] == NULL) continue;
        bool per_group = wn_weight_values(&f->p->weights[op->w[k]]) == n;
        float *to = d[k] + (per_group ? 0 : at);
        for (uint32_t c = c0; c < c1; c++)
          to[c] += k == 0 ? g[c] * (x[c] - mean) * factor : g[c];
      }
    }
}

static const char *const kinds[] = {"rms", "layer"};

const wn_op_desc wn_op_norm = {.name = "norm",
                               .kinds = kinds,
                               .n_kinds = WN_N_NORM,
                               .n_in = 1,
                               .may = 3,
                               .n_i = 1,
                               .n_f = 1,
                               .verify = verify,
                               .granule = granule,
                               .row = norm,
                               .back_of = 3,
                               .back_row = norm_back,
                               .back_weights = norm_back_weights};
