/* op_scale.c - factors and soft caps. */
#include "graph/op.h"

static int verify_scale(wn_checker *c) {
  return wn_make(c, wn_in_width(c, 0));
}

static void scale(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                  uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  m->f->vec->scale(op->f[0], x, wn_row(m, i, r) + c0, c1 - c0);
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

const wn_op_desc wn_op_scale = {.name = "scale",
                                .n_in = 1,
                                .n_f = 1,
                                .verify = verify_scale,
                                .granule = wn_granule_any,
                                .row = scale};

const wn_op_desc wn_op_softcap = {.name = "softcap",
                                  .n_in = 1,
                                  .n_f = 1,
                                  .verify = verify_cap,
                                  .granule = wn_granule_any,
                                  .row = softcap};
