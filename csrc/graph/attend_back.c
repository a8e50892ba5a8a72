/* attend_back.c - the gradient of attention.
 *
 * For one query of a head, with the keys and values it sees, x the scores and
 * p = softmax(x) (a sink is one more score without a value): with g the
 * gradient of its output,
 *   dv_j += p_j g;  dp_j = g v_j;  dx_j = p_j (dp_j - sum of p dp);
 *   dq += scale dx_j k_j;  dk_j += scale dx_j q
 * and dx also times the slope of a soft cap. Probabilities are computed again:
 * none are kept. A unit of work is a key/value head with all its queries, so
 * that nobody else adds to its keys and values.
 *
 * A step holds one sequence from its start: row j of keys is position j. */
#include <math.h>

#include "graph/attend.h"
#include "graph/back.h"

typedef struct att {
  wn_member *m;
  const wn_op *op;
  uint32_t id, k, v; /* values of keys and of values */
  size_t wk, wv, ldk, ldv;
  uint32_t group, head; /* query heads of a key head; the key head */
  float *p, *dp;
} att;

static att att_of(wn_member *m, uint32_t i) {
  const wn_prog *p = m->f->p;
  const wn_op *from = &p->ops[wn_attend_source(p, i)];
  att a = {.m = m, .op = &p->ops[i], .id = i};
  const wn_slot *s = &p->slots[a.op->i[0]];
  a.k = from->in[1];
  a.v = from->in[2] != WN_NONE ? from->in[2] : from->in[1];
  a.wk = s->width_k, a.wv = s->width_v;
  a.ldk = a.wk;
  a.ldv = a.v == a.k ? a.wk : a.wv;
  a.group = a.op->i[1] / a.op->i[2];
  a.p = wn_back_own(m);
  a.dp = a.p + m->f->n_tokens;
  return a;
}

static float *key_row(const att *a, uint32_t j) {
  return wn_row(a->m, a->k, j) + a->head * a->ldk;
}
static float *value_row(const att *a, uint32_t j) {
  return wn_row(a->m, a->v, j) + a->head * a->ldv;
}

/* Probabilities of lo <= j < hi into p, the sink's is returned; with a cap, dp
 * holds its slopes. */
static float softmax(const att *a, const float *q, uint32_t head, uint32_t pos,
                     uint32_t lo, uint32_t hi) {
  const wn_vec *vec = a->m->f->vec;
  float cap = a->op->f[1], top = -INFINITY, sink = -INFINITY, sum = 0;
  float slope = a->op->f[2] != 0 ? wn_attend_slope(a->op, head) : 0;
  if (a->op->w[0] != WN_NONE)
    top = sink = a->m->f->bound[a->op->w[0]].vec[head];
  for (uint32_t j = lo; j < hi; j++) {
    float x = a->op->f[0] * vec->dot(q, key_row(a, j), a->wk);
    if (cap > 0) {
      float t = tanhf(x / cap);
      a->dp[j] = 1 - t * t;
      x = cap * t;
    }
    x -= slope * fabsf((float)j - (float)pos);
    a->p[j] = x;
    if (x > top) top = x;
  }
  for (uint32_t j = lo; j < hi; j++)
    sum += a->p[j] = wn_expf(a->p[j] - top);
  if (sink != -INFINITY) sum += wn_expf(sink - top);
  vec->scale(1 / sum, a->p + lo, a->p + lo, hi - lo);
  return sink != -INFINITY ? wn_expf(sink - top) / sum : 0;
}

static void one_query(const att *a, uint32_t r, uint32_t head) {
  const wn_frame *f = a->m->f;
  const wn_vec *vec = f->vec;
  uint32_t in = a->op->in[0], lo, hi;
  const float *q = wn_row_in(a->m, in, r) + head * a->wk;
  const float *g = wn_grad(a->m, a->id, r) + head * a->wv;
  float *dq =
      wn_needs(a->m, in) ? wn_grad_in(a->m, in, r) + head * a->wk : NULL;
  float *dsink = wn_grad_weight(a->m, a->op, 0), total = 0;
  bool keys = wn_needs(a->m, a->k), values = wn_needs(a->m, a->v);
  wn_attend_range(a->m, a->op, r, &lo, &hi);
  float sink = softmax(a, q, head, f->pos[wn_token_of(a->m, r)], lo, hi);
  float cap = a->op->f[1];
  for (uint32_t j = lo; j < hi; j++) {
    float dp = vec->dot(g, value_row(a, j), a->wv);
    total += a->p[j] * dp;
    if (values)
      vec->madd(a->p[j], g, wn_grad(a->m, a->v, j) + a->head * a->ldv, a->wv);
    if (cap > 0) a->p[j] *= a->dp[j];
    a->dp[j] = dp;
  }
  if (dsink != NULL) dsink[head] -= sink * total;
  for (uint32_t j = lo; j < hi; j++) {
    float dx = a->op->f[0] * a->p[j] * (a->dp[j] - total);
    if (dq != NULL) vec->madd(dx, key_row(a, j), dq, a->wk);
    if (keys)
      vec->madd(dx, q, wn_grad(a->m, a->k, j) + a->head * a->ldk, a->wk);
  }
}

void wn_attend_back(wn_member *m, uint32_t i) {
  att a = att_of(m, i);
  for (;;) {
    uint64_t unit = (uint64_t)wn_team_next(m->team);
    if (unit >= a.op->i[2]) return;
    a.head = (uint32_t)unit;
    for (uint32_t r = 0; r < m->n_rows; r++)
      for (uint32_t k = 0; k < a.group; k++)
        one_query(&a, r, a.head * a.group + k);
  }
}
