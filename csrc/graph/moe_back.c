/* moe_back.c - the gradient of a mixture of experts.
 *
 * Which experts a row goes to is taken as it is; how much each counts is not.
 * Routes, and gate and up before the activation, are computed again, in the
 * places that the operation has in the arena: what was made after it is not
 * needed any more. With dy the gradient of a row and d = W h (+ bias) what an
 * expert says:
 *   y = sum of w d:  dw = dy d = h W^T dy + bias dy;  dh = w W^T dy
 * or, where weights come before the activation, h = act(w g) w u:
 *   dh = W^T dy, and from there as far as w.
 * The rows of one expert go together, one expert after the other. */
#include <math.h>
#include <string.h>

#include "graph/back.h"
#include "graph/moe.h"

/* Shared by all members, a row for each assignment in the order of columns. */
typedef struct room {
  float *dy, *dx; /* width */
  float *dh, *h;  /* ff */
  float *dw;      /* 1 */
} room;

size_t wn_moe_back_shared(const wn_prog *p, const wn_op *op,
                          uint32_t n_tokens) {
  size_t width = p->widths[op->in[0]], ff = op->i[3];
  return (size_t)n_tokens * op->i[0] * (2 * width + 2 * ff + 1);
}

static room room_of(const wn_moe *o) {
  size_t n = (size_t)o->m->n_rows * o->used;
  size_t width = o->m->f->p->widths[o->id];
  room r;
  r.dy = o->m->f->back->shared;
  r.dx = r.dy + n * width;
  r.dh = r.dx + n * width;
  r.h = r.dh + n * o->ff;
  r.dw = r.h + n * o->ff;
  return r;
}

static const float *vector_of(const wn_moe *o, int k) {
  return o->op->w[k] != WN_NONE ? o->m->f->bound[o->op->w[k]].vec : NULL;
}
static float factor_of(const wn_moe *o, int which, uint32_t expert) {
  const float *s = vector_of(o, which + WN_MOE_GATE_S - WN_MOE_GATE);
  return s != NULL ? s[expert] : 1;
}

/* Row r of what place() fills. */
typedef struct rows {
  float *at;
  size_t width;
} rows;
static float *place(wn_member *m, const void *arg, uint32_t r) {
  (void)m;
  const rows *to = arg;
  return to->at + r * to->width;
}

/* to += from W for the columns of each expert. */
static void through(const wn_moe *o, wn_moe_product p, const float *from,
                    float *to) {
  wn_member *m = o->m;
  const wn_bound *w = &m->f->bound[o->op->w[p.which]];
  uint32_t n_rows = m->n_rows;
  for (uint32_t e = 0; e < o->n_experts; e++) {
    uint32_t a = o->start[e], b = o->start[e + 1];
    if (a == b) continue;
    rows at = {to + (size_t)a * p.k, p.k};
    m->n_rows = b - a;
    wn_back_through(m, w, w->data + e * w->matrix_bytes, p.k, p.first,
                    p.first + p.width, factor_of(o, p.which, e),
                    from + (size_t)a * p.width, p.width, place, &at);
    m->n_rows = n_rows;
  }
}

/* dW += g^T x and db += g for each expert: members divide its rows. x: a row
 * for each column, or the rows of the input. */
static void weights(const wn_moe *o, wn_moe_product p, const float *g,
                    const float *x) {
  const wn_member *m = o->m;
  float *dw = wn_grad_weight(m, o->op, p.which);
  float *db = wn_grad_weight(m, o->op, p.which + WN_MOE_GATE_B - WN_MOE_GATE);
  uint32_t c0 = wn_share(m, p.width, m->id),
           c1 = wn_share(m, p.width, m->id + 1);
  size_t all = m->f->p->weights[o->op->w[p.which]].ne[1];
  for (uint32_t a = 0; (dw != NULL || db != NULL) && a < m->n_rows * o->used;
       a++) {
    uint32_t e = (uint32_t)wn_moe_route(o, a / o->used)[a % o->used];
    size_t column = o->column[a], first = e * all + p.first;
    const float *row = g + column * p.width;
    const float *in =
        x != NULL ? x + column * p.k : wn_row_in(m, o->op->in[0], a / o->used);
    if (dw != NULL)
      wn_back_outer(m, factor_of(o, p.which, e), row, in, dw + first * p.k, c0,
                    c1, p.k);
    for (uint32_t c = c0; db != NULL && c < c1; c++)
      db[first + c] += row[c];
  }
}

/* One assignment, whose weight is w: h from gate and up (pre), and with dh =
 * W^T dy in place the gradients of gate and up (post), dw. */
static float gate_value(const wn_moe *o, float g, float u, float slopes[2]) {
  const float *f = o->op->f;
  wn_act kind = (wn_act)o->op->kind;
  if (o->op->w[WN_MOE_GATE] == WN_NONE) {
    slopes[0] = 0, slopes[1] = wn_act_slope(kind, u);
    return wn_act_value(kind, u);
  }
  wn_glu_slopes(kind, g, u, f[1], f[2], slopes);
  if (kind < WN_ACT_N_UNARY) return wn_act_value(kind, g) * u;
  float x = g < f[2] ? g : f[2];
  float z = u > f[2] ? f[2] : u < -f[2] ? -f[2] : u;
  return x / (1 + wn_expf(-f[1] * x)) * (z + 1);
}

static void assignment_h(const wn_moe *o, const room *r, uint32_t a,
                         const float *g, const float *u) {
  bool first = (o->op->i[6] & WN_MOE_WEIGHT_FIRST) != 0;
  float w = first ? wn_moe_weights(o, a / o->used)[a % o->used] : 1, s[2];
  float *h = r->h + (size_t)o->column[a] * o->ff;
  for (uint32_t c = 0; c < o->ff; c++)
    h[c] = gate_value(o, w * g[c], w * u[c], s);
}

static void assignment_back(const wn_moe *o, const room *r, uint32_t a,
                            float *g, float *u) {
  const wn_vec *vec = o->m->f->vec;
  bool first = (o->op->i[6] & WN_MOE_WEIGHT_FIRST) != 0;
  size_t at = o->column[a], width = o->m->f->p->widths[o->id];
  uint32_t e = (uint32_t)wn_moe_route(o, a / o->used)[a % o->used];
  float w = wn_moe_weights(o, a / o->used)[a % o->used], dw = 0, s[2];
  float *dh = r->dh + at * o->ff, *dy = r->dy + at * width;
  const float *bias = vector_of(o, WN_MOE_DOWN_B);
  if (!first) {
    dw = vec->dot(r->h + at * o->ff, dh, o->ff);
    if (bias != NULL) dw += vec->dot(bias + e * width, dy, width);
  }
  for (uint32_t c = 0; c < o->ff; c++) {
    float in = first ? w : 1, out = first ? 1 : w;
    gate_value(o, in * g[c], in * u[c], s);
    float dg = out * dh[c] * s[0], du = out * dh[c] * s[1];
    if (first) dw += dg * g[c] + du * u[c];
    g[c] = in * dg;
    u[c] = in * du;
  }
  r->dw[at] = dw;
  if (!first) vec->scale(w, dy, dy, width); /* of what the expert says */
}

/* From the gradients of a row's weights to those of its logits. */
static void route_back(const wn_moe *o, const room *rm, uint32_t r) {
  const wn_op *op = o->op;
  const int32_t *ids = wn_moe_route(o, r);
  const float *x = wn_row_in(o->m, op->in[1], r);
  float *dx = wn_grad_in(o->m, op->in[1], r), top = -INFINITY, sum = 0;
  float *v = wn_back_own(o->m), *dv = v + o->used, total = 0, along = 0;
  for (uint32_t i = 0; i < o->n_experts; i++)
    top = fmaxf(top, x[i]);
  for (uint32_t i = 0; i < o->n_experts; i++)
    sum += wn_expf(x[i] - top);
  if (op->i[1] == WN_GATE_CHOSEN) { /* a softmax of those alone */
    sum = 0;
    for (uint32_t k = 0; k < o->used; k++)
      sum += wn_expf(x[ids[k]] - top);
  }
  for (uint32_t k = 0; k < o->used; k++) {
    v[k] = op->i[1] == WN_GATE_CHOSEN
               ? wn_expf(x[ids[k]] - top) / sum
               : wn_moe_weight(o, x, top, sum, (uint32_t)ids[k]);
    dv[k] = op->f[0] * rm->dw[o->column[r * o->used + k]];
    total += v[k];
    along += dv[k] * v[k];
  }
  if (op->i[2] != 0) { /* v / total, or over the least that is divided by */
    bool least = total < WN_MOE_LEAST_SUM;
    float by = least ? WN_MOE_LEAST_SUM : total;
    for (uint32_t k = 0; k < o->used; k++)
      dv[k] = (dv[k] - (least ? 0 : along / by)) / by;
    along = 0;
    for (uint32_t k = 0; k < o->used; k++)
      along += dv[k] * v[k];
  }
  for (uint32_t k = 0; k < o->used; k++) {
    float *to = &dx[ids[k]];
    if (op->i[1] == WN_GATE_SIGMOID)
      *to += dv[k] * v[k] * (1 - v[k]);
    else if (op->i[1] == WN_GATE_SQRT_SOFTPLUS)
      *to += dv[k] / (2 * v[k] * (1 + wn_expf(-x[ids[k]])));
    else if (op->i[1] == WN_GATE_CHOSEN)
      *to += v[k] * (dv[k] - along);
    else
      *to += v[k] * dv[k];
  }
  if (op->i[1] != WN_GATE_SOFTMAX) return;
  for (uint32_t i = 0; i < o->n_experts; i++)
    dx[i] -= wn_expf(x[i] - top) / sum * along;
}

/* Routes, products before the activation, gathered dy; h, cleared sums. */
static void prepare(const wn_moe *o, const room *r, float *g, float *u) {
  wn_member *m = o->m;
  size_t width = m->f->p->widths[o->id];
  uint32_t r1 = wn_share(m, m->n_rows, m->id + 1);
  for (uint32_t k = wn_share(m, m->n_rows, m->id); k < r1; k++)
    wn_moe_choose(m, o->id, k, 0, 0);
  wn_meet(m);
  wn_moe_products(o);
  uint32_t n = m->n_rows * o->used, end = wn_share(m, n, m->id + 1);
  for (uint32_t a = wn_share(m, n, m->id); a < end; a++) {
    size_t at = o->column[a];
    memcpy(r->dy + at * width, wn_grad(m, o->id, a / o->used),
           width * sizeof(float));
    memset(r->dx + at * width, 0, width * sizeof(float));
    memset(r->dh + at * o->ff, 0, o->ff * sizeof(float));
    assignment_h(o, r, a, g + at * o->ff, u + at * o->ff);
  }
  wn_meet(m);
}

/* Sums of a row's experts, and its router's. */
static void hand_back(const wn_moe *o, const room *r) {
  wn_member *m = o->m;
  size_t width = m->f->p->widths[o->id];
  uint32_t r1 = wn_share(m, m->n_rows, m->id + 1);
  for (uint32_t k = wn_share(m, m->n_rows, m->id); k < r1; k++) {
    for (uint32_t a = k * o->used; a < (k + 1) * o->used; a++) {
      if (!wn_needs(m, o->op->in[0])) break;
      float *dx = wn_grad_in(m, o->op->in[0], k);
      m->f->vec->add(dx, r->dx + o->column[a] * width, dx, width);
    }
    if (wn_needs(m, o->op->in[1])) route_back(o, r, k);
  }
}

void wn_moe_back(wn_member *m, uint32_t i) {
  m->stage--; /* of gate and up: no other operation is in between */
  m->st = &m->f->s->stages[m->stage];
  m->sm = &m->f->plan->stages[m->stage];
  wn_moe o = wn_moe_of(m, i);
  room r = room_of(&o);
  float *g = wn_floats(m->f->arena, o.mm->at[WN_MOE_AT_GATE]);
  float *u = wn_floats(m->f->arena, o.mm->at[WN_MOE_AT_UP]);
  uint32_t width = m->f->p->widths[i];
  wn_moe_product down = {WN_MOE_DOWN, 0, width, o.ff};
  wn_moe_product gate = {WN_MOE_GATE, 0, o.ff, width};
  prepare(&o, &r, g, u);
  through(&o, down, r.dy, r.dh);
  wn_meet(m);
  uint32_t n = m->n_rows * o.used, end = wn_share(m, n, m->id + 1);
  for (uint32_t a = wn_share(m, n, m->id); a < end; a++) {
    size_t at = (size_t)o.column[a] * o.ff;
    assignment_back(&o, &r, a, g + at, u + at);
  }
  wn_meet(m);
  weights(&o, down, r.dy, r.h);
  if (o.op->w[WN_MOE_GATE] != WN_NONE) {
    weights(&o, gate, g, NULL);
    if (wn_needs(m, o.op->in[0])) through(&o, gate, g, r.dx);
    wn_meet(m); /* up's matrix may be divided otherwise */
  }
  weights(&o, wn_moe_up(&o), u, NULL);
  if (wn_needs(m, o.op->in[0])) through(&o, wn_moe_up(&o), u, r.dx);
  wn_meet(m);
  hand_back(&o, &r);
}
