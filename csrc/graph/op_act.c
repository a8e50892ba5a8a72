/* op_act.c - activations, element by element, without and with a gate. */
#include "graph/op.h"

const char *const wn_act_names[] = {
#define X(id, name) name,
    WN_ACTS(X)
#undef X
};

static int verify_act(wn_checker *c) {
  if (c->op->kind >= WN_ACT_N_UNARY) /* there is no gate */
    return wn_bad(c, "kind %u of %d", c->op->kind, WN_ACT_N_UNARY);
  int rc = wn_check_vector(c, 0, wn_in_width(c, 0));
  return rc == WN_OK ? wn_make(c, wn_in_width(c, 0)) : rc;
}

static void act(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  float *y = wn_row(m, i, r) + c0;
  if (op->w[0] != WN_NONE) {
    m->f->vec->add(x, m->f->bound[op->w[0]].vec + c0, y, c1 - c0);
    x = y;
  }
  m->f->vec->act((wn_act)op->kind, x, y, c1 - c0);
}

static int verify_glu(wn_checker *c) {
  int rc = wn_check_same(c);
  if (rc == WN_OK) rc = wn_check_gate(c, 0);
  return rc == WN_OK ? wn_make(c, wn_in_width(c, 0)) : rc;
}

static void glu(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *gate = wn_row_in(m, op->in[0], r) + c0;
  const float *up = wn_row_in(m, op->in[1], r) + c0;
  m->f->vec->glu((wn_act)op->kind, gate, up, wn_row(m, i, r) + c0, c1 - c0,
                 op->f[0], op->f[1]);
}

const wn_op_desc wn_op_act = {.name = "act",
                              .kinds = wn_act_names,
                              .n_kinds = WN_ACT_N,
                              .n_in = 1,
                              .may = 1,
                              .verify = verify_act,
                              .granule = wn_granule_any,
                              .row = act};

const wn_op_desc wn_op_glu = {.name = "glu",
                              .kinds = wn_act_names,
                              .n_kinds = WN_ACT_N,
                              .n_in = 2,
                              .n_f = 2,
                              .verify = verify_glu,
                              .granule = wn_granule_any,
                              .row = glu};

static void xielu(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                  uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  m->f->vec->xielu(op->f, x, wn_row(m, i, r) + c0, c1 - c0);
}

static int verify_xielu(wn_checker *c) {
  return wn_make(c, wn_in_width(c, 0));
}

const wn_op_desc wn_op_xielu = {.name = "xielu",
                                .n_in = 1,
                                .n_f = 4,
                                .verify = verify_xielu,
                                .granule = wn_granule_any,
                                .row = xielu};
