/* op_scale.c - factors, fixed, stored or by position; soft caps, clamps. */
#include <math.h>

#include "graph/op.h"

static int verify_scale(wn_checker *c) {
  uint32_t width = wn_in_width(c, 0);
  bool by_position = c->op->kind == WN_SCALE_POSITION;
  if (by_position != (c->op->i[0] != 0) ||
      (!by_position && (c->op->f[1] != 0 || c->op->f[2] != 0)))
    return wn_bad(c, "by position: %d, steps of %u tokens", by_position,
                  c->op->i[0]);
  if (c->op->f[2] < 0) return wn_bad(c, "offset %g", (double)c->op->f[2]);
  bool one =
      c->op->w[0] != WN_NONE && wn_weight_values(wn_weight_of(c, 0)) == 1;
  int rc = wn_check_vector(c, 0, one ? 1 : width);
  return rc == WN_OK ? wn_make(c, width) : rc;
}

/* The factor of all values of a token. */
static float factor_of(const wn_frame *f, const wn_op *op, uint32_t pos) {
  float s = op->f[0];
  if (op->kind == WN_SCALE_POSITION) {
    float steps = floorf(((float)pos + op->f[2]) / (float)op->i[0]);
    s *= 1.0f + op->f[1] * logf(1.0f + steps);
  }
  if (op->w[0] != WN_NONE && wn_weight_values(&f->p->weights[op->w[0]]) == 1)
    s *= f->bound[op->w[0]].vec[0];
  return s;
}

static void scale(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                  uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  const wn_frame *f = m->f;
  float *y = wn_row(m, i, r) + c0;
  f->vec->scale(factor_of(f, op, f->pos[wn_token_of(m, r)]), x, y, c1 - c0);
  if (op->w[0] != WN_NONE && wn_weight_values(&f->p->weights[op->w[0]]) != 1)
    f->vec->mul(y, f->bound[op->w[0]].vec + c0, y, c1 - c0);
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

static const char *const kinds[] = {"plain", "position"};

const wn_op_desc wn_op_scale = {.name = "scale",
                                .kinds = kinds,
                                .n_kinds = WN_N_SCALE,
                                .n_in = 1,
                                .may = 1,
                                .n_i = 1,
                                .n_f = 3,
                                .verify = verify_scale,
                                .granule = wn_granule_any,
                                .row = scale};

const wn_op_desc wn_op_softcap = {.name = "softcap",
                                  .n_in = 1,
                                  .n_f = 1,
                                  .verify = verify_cap,
                                  .granule = wn_granule_any,
                                  .row = softcap};

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

const wn_op_desc wn_op_clamp = {.name = "clamp",
                                .n_in = 1,
                                .n_f = 2,
                                .verify = verify_clamp,
                                .granule = wn_granule_any,
                                .row = clamp};
