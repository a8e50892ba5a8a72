/* op_sum.c - sums and products of two values. */
#include "graph/back.h"

uint32_t wn_granule_any(const wn_prog *p, const wn_op *op) {
  (void)p, (void)op;
  return 1;
}

static int verify(wn_checker *c) {
  int rc = wn_check_same(c);
  return rc == WN_OK ? wn_make(c, wn_in_width(c, 0)) : rc;
}

static void add(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  const float *y = wn_row_in(m, op->in[1], r) + c0;
  m->f->vec->add(x, y, wn_row(m, i, r) + c0, c1 - c0);
}

static void add_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *g = wn_grad(m, i, r);
  for (int k = 0; k < 2; k++) {
    if (!wn_needs(m, op->in[k])) continue;
    float *dx = wn_grad_in(m, op->in[k], r);
    m->f->vec->add(dx, g, dx, m->f->p->widths[i]);
  }
}

/* Values of x for each of y. */
static uint32_t group_of(const wn_prog *p, const wn_op *op) {
  return p->widths[op->in[0]] / p->widths[op->in[1]];
}

static int verify_mul(wn_checker *c) {
  uint32_t x = wn_in_width(c, 0), y = wn_in_width(c, 1);
  if (x % y != 0)
    return wn_bad(c, "widths %u and %u, want the same, or a multiple", x, y);
  return wn_make(c, x);
}

static void mul(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r);
  const float *y = wn_row_in(m, op->in[1], r);
  float *to = wn_row(m, i, r);
  uint32_t group = group_of(m->f->p, op);
  if (group == 1)
    m->f->vec->mul(x + c0, y + c0, to + c0, c1 - c0);
  else
    for (uint32_t c = c0; c < c1; c += group)
      m->f->vec->scale(y[c / group], x + c, to + c, group);
}

static void mul_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r), *y = wn_row_in(m, op->in[1], r);
  const float *g = wn_grad(m, i, r);
  uint32_t group = group_of(m->f->p, op), n = m->f->p->widths[i];
  float *dx = wn_needs(m, op->in[0]) ? wn_grad_in(m, op->in[0], r) : NULL;
  float *dy = wn_needs(m, op->in[1]) ? wn_grad_in(m, op->in[1], r) : NULL;
  for (uint32_t c = 0; c < n; c++) {
    if (dx != NULL) dx[c] += g[c] * y[c / group];
    if (dy != NULL) dy[c / group] += g[c] * x[c];
  }
}

const wn_op_desc wn_op_add = {.name = "add",
                              .n_in = 2,
                              .verify = verify,
                              .granule = wn_granule_any,
                              .row = add,
                              .back_row = add_back};

const wn_op_desc wn_op_mul = {.name = "mul",
                              .n_in = 2,
                              .verify = verify_mul,
                              .granule = group_of,
                              .row = mul,
                              .back_row = mul_back};
