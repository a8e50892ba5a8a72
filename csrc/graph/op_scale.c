/* op_scale.c - factors, fixed, stored or by position; soft caps, clamps. */
#include <math.h>

#include "graph/back.h"

static int verify_scale(wn_checker *c) {
  bool by_position = c->op->kind == WN_SCALE_POSITION;
  if ((c->op->i[0] != 0) != by_position || (!by_position && c->op->i[1] != 0))
    return wn_bad(c, "steps of %u positions from %u", c->op->i[0], c->op->i[1]);
  if (by_position && c->op->f[0] < 0)
    return wn_bad(c, "growth %g", (double)c->op->f[0]);
  uint32_t width = wn_in_width(c, 0);
  bool one =
      c->op->w[0] != WN_NONE && wn_weight_values(wn_weight_of(c, 0)) == 1;
  int rc = wn_check_vector(c, 0, one ? 1 : width);
  return rc == WN_OK ? wn_make(c, width) : rc;
}

/* What a row is multiplied by. */
static float factor_of(wn_member *m, const wn_op *op, uint32_t r) {
  if (op->kind != WN_SCALE_POSITION) return op->f[0];
  uint64_t pos = (uint64_t)m->f->pos[wn_token_of(m, r)] + op->i[1];
  return 1 + op->f[0] * logf(1 + (float)(pos / op->i[0]));
}

static void scale(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                  uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  float *y = wn_row(m, i, r) + c0, factor = factor_of(m, op, r);
  const float *w = op->w[0] != WN_NONE ? m->f->bound[op->w[0]].vec : NULL;
  bool one = w != NULL && wn_weight_values(&m->f->p->weights[op->w[0]]) == 1;
  m->f->vec->scale(one ? factor * w[0] : factor, x, y, c1 - c0);
  if (w != NULL && !one) m->f->vec->mul(y, w + c0, y, c1 - c0);
}

static void scale_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *g = wn_grad(m, i, r);
  float factor = factor_of(m, op, r);
  const float *w = op->w[0] != WN_NONE ? m->f->bound[op->w[0]].vec : NULL;
  bool one = w != NULL && wn_weight_values(&m->f->p->weights[op->w[0]]) == 1;
  if (!wn_needs(m, op->in[0])) return;
  float *dx = wn_grad_in(m, op->in[0], r);
  for (uint32_t c = 0; c < m->f->p->widths[i]; c++)
    dx[c] += g[c] * (w == NULL ? factor : factor * w[one ? 0 : c]);
}

/* One factor of all values is member 0's. */
static void scale_back_weights(wn_member *m, uint32_t i) {
  const wn_op *op = &m->f->p->ops[i];
  float *dw = wn_grad_weight(m, op, 0);
  if (dw == NULL) return;
  bool one = wn_weight_values(&m->f->p->weights[op->w[0]]) == 1;
  uint32_t n = m->f->p->widths[i];
  uint32_t c0 = one ? 0 : wn_share(m, n, m->id);
  uint32_t c1 = !one ? wn_share(m, n, m->id + 1) : m->id == 0 ? n : 0;
  for (uint32_t r = 0; r < m->n_rows; r++) {
    const float *x = wn_row_in(m, op->in[0], r), *g = wn_grad(m, i, r);
    float factor = factor_of(m, op, r);
    for (uint32_t c = c0; c < c1; c++)
      dw[one ? 0 : c] += factor * g[c] * x[c];
  }
}

static int verify_cap(wn_checker *c) {
  if (!(c->op->f[0] > 0)) return wn_bad(c, "cap %g", (double)c->op->f[0]);
  return wn_make(c, wn_in_width(c, 0));
}

static void softcap(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                    uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  m->f->vec->softcap(op->f[0], x, wn_row(m, i, r) + c0, c1 - c0);
}

static void softcap_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *y = wn_row(m, i, r), *g = wn_grad(m, i, r);
  float *dx = wn_grad_in(m, op->in[0], r);
  for (uint32_t c = 0; c < m->f->p->widths[i]; c++) {
    float t = y[c] / op->f[0];
    dx[c] += g[c] * (1 - t * t);
  }
}

static const char *const scale_kinds[] = {"constant", "position"};

const wn_op_desc wn_op_scale = {.name = "scale",
                                .kinds = scale_kinds,
                                .n_kinds = WN_N_SCALE,
                                .n_in = 1,
                                .may = 1,
                                .n_i = 2,
                                .n_f = 1,
                                .verify = verify_scale,
                                .granule = wn_granule_any,
                                .row = scale,
                                .back_of = 1,
                                .back_row = scale_back,
                                .back_weights = scale_back_weights};

const wn_op_desc wn_op_softcap = {.name = "softcap",
                                  .n_in = 1,
                                  .n_f = 1,
                                  .verify = verify_cap,
                                  .granule = wn_granule_any,
                                  .row = softcap,
                                  .back_row = softcap_back};

static int verify_clamp(wn_checker *c) {
  if (!(c->op->f[0] <= c->op->f[1]))
    return wn_bad(c, "from %g to %g", (double)c->op->f[0], (double)c->op->f[1]);
  return wn_make(c, wn_in_width(c, 0));
}

static void clamp(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                  uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  m->f->vec->clamp(op->f[0], op->f[1], x, wn_row(m, i, r) + c0, c1 - c0);
}

static void clamp_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r), *g = wn_grad(m, i, r);
  float *dx = wn_grad_in(m, op->in[0], r);
  for (uint32_t c = 0; c < m->f->p->widths[i]; c++)
    if (x[c] > op->f[0] && x[c] < op->f[1]) dx[c] += g[c];
}

const wn_op_desc wn_op_clamp = {.name = "clamp",
                                .n_in = 1,
                                .n_f = 2,
                                .verify = verify_clamp,
                                .granule = wn_granule_any,
                                .row = clamp,
                                .back_row = clamp_back};
