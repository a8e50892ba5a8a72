/* op_act.c - activations, element by element, without and with a gate. */
#include "graph/back.h"

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
  wn_activate(m, (wn_act)op->kind, x, y, c1 - c0);
}

static void act_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r), *g = wn_grad(m, i, r);
  const float *b = op->w[0] != WN_NONE ? m->f->bound[op->w[0]].vec : NULL;
  if (!wn_needs(m, op->in[0])) return;
  float *dx = wn_grad_in(m, op->in[0], r);
  for (uint32_t c = 0; c < m->f->p->widths[i]; c++)
    dx[c] +=
        g[c] * wn_act_slope((wn_act)op->kind, b != NULL ? x[c] + b[c] : x[c]);
}

/* Of what is added before the activation. */
static void act_back_weights(wn_member *m, uint32_t i) {
  const wn_op *op = &m->f->p->ops[i];
  float *db = wn_grad_weight(m, op, 0);
  uint32_t n = m->f->p->widths[i], c1 = wn_share(m, n, m->id + 1);
  if (db == NULL) return;
  const float *b = m->f->bound[op->w[0]].vec;
  for (uint32_t r = 0; r < m->n_rows; r++) {
    const float *x = wn_row_in(m, op->in[0], r), *g = wn_grad(m, i, r);
    for (uint32_t c = wn_share(m, n, m->id); c < c1; c++)
      db[c] += g[c] * wn_act_slope((wn_act)op->kind, x[c] + b[c]);
  }
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
  float *y = wn_row(m, i, r) + c0;
  wn_activate_gate(m, (wn_act)op->kind, gate, up, y, c1 - c0, op->f[0],
                   op->f[1]);
}

void wn_glu_slopes(wn_act kind, float g, float u, float alpha, float limit,
                   float slopes[2]) {
  if (kind < WN_ACT_N_UNARY) {
    slopes[0] = wn_act_slope(kind, g) * u;
    slopes[1] = wn_act_value(kind, g);
    return;
  }
  float x = g < limit ? g : limit, s = 1 / (1 + wn_expf(-alpha * x));
  float z = u > limit ? limit : u < -limit ? -limit : u;
  slopes[0] = g < limit ? s * (1 + alpha * x * (1 - s)) * (z + 1) : 0;
  slopes[1] = u < limit && u > -limit ? x * s : 0;
}

static void glu_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r), *z = wn_row_in(m, op->in[1], r);
  const float *g = wn_grad(m, i, r);
  float *dx = wn_needs(m, op->in[0]) ? wn_grad_in(m, op->in[0], r) : NULL;
  float *dz = wn_needs(m, op->in[1]) ? wn_grad_in(m, op->in[1], r) : NULL;
  for (uint32_t c = 0; c < m->f->p->widths[i]; c++) {
    float s[2];
    wn_glu_slopes((wn_act)op->kind, x[c], z[c], op->f[0], op->f[1], s);
    if (dx != NULL) dx[c] += g[c] * s[0];
    if (dz != NULL) dz[c] += g[c] * s[1];
  }
}

const wn_op_desc wn_op_act = {.name = "act",
                              .kinds = wn_act_names,
                              .n_kinds = WN_ACT_N,
                              .n_in = 1,
                              .may = 1,
                              .verify = verify_act,
                              .granule = wn_granule_any,
                              .row = act,
                              .back_of = 1,
                              .back_row = act_back,
                              .back_weights = act_back_weights};

const wn_op_desc wn_op_glu = {.name = "glu",
                              .kinds = wn_act_names,
                              .n_kinds = WN_ACT_N,
                              .n_in = 2,
                              .n_f = 2,
                              .verify = verify_glu,
                              .granule = wn_granule_any,
                              .row = glu,
                              .back_row = glu_back};

static void xielu(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                  uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + c0;
  m->f->vec->xielu(op->f, x, wn_row(m, i, r) + c0, c1 - c0);
}

static void xielu_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r), *g = wn_grad(m, i, r);
  float *dx = wn_grad_in(m, op->in[0], r);
  for (uint32_t c = 0; c < m->f->p->widths[i]; c++) {
    float low = x[c] < op->f[3] ? wn_expf(x[c]) : 0;
    dx[c] += g[c] * (x[c] > 0 ? 2 * op->f[0] * x[c] + op->f[2]
                              : op->f[1] * (low - 1) + op->f[2]);
  }
}

static int verify_xielu(wn_checker *c) {
  return wn_make(c, wn_in_width(c, 0));
}

const wn_op_desc wn_op_xielu = {.name = "xielu",
                                .n_in = 1,
                                .n_f = 4,
                                .verify = verify_xielu,
                                .granule = wn_granule_any,
                                .row = xielu,
                                .back_row = xielu_back};
