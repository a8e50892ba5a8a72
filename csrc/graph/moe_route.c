/* moe_route.c - mixtures of experts: which experts a row goes to, and how much
 * each counts. Experts can be chosen by other numbers than they are weighed
 * by, and within the best groups only. */
#include <math.h>

#include "graph/moe.h"

/* The arrays, one behind the other (op_moe.c plans them): scores of groups,
 * starts of experts, columns of assignments. */
wn_moe wn_moe_of(wn_member *m, uint32_t id) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[id];
  wn_moe o = {.m = m, .op = op, .mm = &f->plan->ops[id], .id = id};
  o.n_experts = f->p->widths[op->in[1]];
  o.used = op->i[0];
  o.ff = op->i[3];
  o.n_groups = op->i[4];
  o.groups = wn_floats(m->mem, f->plan->order_own);
  o.start = (uint32_t *)(void *)(o.groups + o.n_groups);
  o.column = o.start + o.n_experts + 1;
  return o;
}

/* A narrow member has its own copy while it is in the stage that chooses. */
int32_t *wn_moe_route(const wn_moe *o, uint32_t r) {
  const wn_member *m = o->m;
  bool own = false;
  for (uint32_t k = 0; k < m->st->n_pros; k++)
    own |= m->st->pros[k].part != WN_WHOLE && m->st->pros[k].op == o->id;
  uint8_t *base = own && m->narrow && m->id != 0
                      ? m->mem + o->mm->at[WN_MOE_AT_ROUTE_OWN]
                      : m->f->arena + o->mm->at[WN_MOE_AT_ROUTE];
  return (int32_t *)(void *)base + (size_t)r * 2 * o->used;
}

float *wn_moe_weights(const wn_moe *o, uint32_t r) {
  return (float *)(void *)(wn_moe_route(o, r) + o->used);
}

/* What the router says about one row. */
typedef struct logits {
  const float *x;
  float max, sum; /* of a softmax over all experts */
  const float *choice_bias;
} logits;

static logits logits_of(const wn_moe *o, uint32_t r) {
  const wn_member *m = o->m;
  uint32_t b = o->op->w[WN_MOE_CHOICE_B];
  logits l = {.x = wn_row_in(m, o->op->in[1], r)};
  l.max = m->f->vec->max(l.x, o->n_experts);
  if (b != WN_NONE) l.choice_bias = m->f->bound[b].vec;
  for (uint32_t i = 0; i < o->n_experts; i++)
    l.sum += wn_expf(l.x[i] - l.max);
  return l;
}

/* The weight of an expert before normalisation. */
float wn_moe_weight(const wn_moe *o, const float *x, float max, float sum,
                    uint32_t i) {
  if (o->op->i[1] == WN_GATE_SIGMOID) return 1.0f / (1.0f + wn_expf(-x[i]));
  if (o->op->i[1] == WN_GATE_CHOSEN) return x[i];
  if (o->op->i[1] == WN_GATE_SQRT_SOFTPLUS)
    return sqrtf(x[i] > 20 ? x[i] : log1pf(wn_expf(x[i])));
  return wn_expf(x[i] - max) / sum;
}

static float weight_of(const wn_moe *o, const logits *l, uint32_t i) {
  return wn_moe_weight(o, l->x, l->max, l->sum, i);
}

/* Which groups' scores are larger than that of group g, or equal and first? */
static uint32_t rank_of(const wn_moe *o, uint32_t g) {
  uint32_t better = 0;
  for (uint32_t k = 0; k < o->n_groups; k++)
    if (o->groups[k] > o->groups[g] || (o->groups[k] == o->groups[g] && k < g))
      better++;
  return better;
}

/* The sum of the two largest of n scores. */
static float best_two(const float *s, uint32_t n) {
  float a = -INFINITY, b = -INFINITY;
  for (uint32_t i = 0; i < n; i++) {
    if (s[i] > a) {
      b = a;
      a = s[i];
    } else if (s[i] > b) {
      b = s[i];
    }
  }
  return n > 1 ? a + b : a;
}

/* Only experts of the best groups may be chosen. */
static void keep_groups(const wn_moe *o, float *s) {
  uint32_t size = o->n_experts / o->n_groups;
  for (uint32_t g = 0; g < o->n_groups; g++)
    o->groups[g] = best_two(s + (size_t)g * size, size);
  for (uint32_t g = 0; g < o->n_groups; g++) {
    if (rank_of(o, g) < o->op->i[5]) continue;
    for (uint32_t i = 0; i < size; i++)
      s[(size_t)g * size + i] = -INFINITY;
  }
}

/* What experts are chosen by: their weight plus a bias; without both biases
 * and groups the logits, which have the same order. */
static const float *scores_of(const wn_moe *o, const logits *l) {
  if (l->choice_bias == NULL && o->n_groups == 0) return l->x;
  float *s = (float *)(void *)o->start;
  for (uint32_t i = 0; i < o->n_experts; i++) {
    s[i] = weight_of(o, l, i);
    if (l->choice_bias != NULL) s[i] += l->choice_bias[i];
  }
  if (o->n_groups != 0) keep_groups(o, s);
  return s;
}

static bool is_chosen(const int32_t *ids, uint32_t n, uint32_t i) {
  for (uint32_t k = 0; k < n; k++)
    if (ids[k] == (int32_t)i) return true;
  return false;
}

/* Best first; of equal ones the lower number. NaN loses to everything. */
static void choose(const wn_moe *o, const logits *l, int32_t *ids) {
  const float *scores = scores_of(o, l);
  for (uint32_t k = 0; k < o->used; k++) {
    uint32_t best = WN_NONE;
    float top = 0;
    for (uint32_t i = 0; i < o->n_experts; i++) {
      float s = scores[i];
      if (is_chosen(ids, k, i)) continue;
      if (best == WN_NONE || s > top || (isnan(top) && !isnan(s))) {
        best = i;
        top = s;
      }
    }
    ids[k] = (int32_t)best;
  }
}

static void softmax(float *x, uint32_t n) {
  float top = -INFINITY, sum = 0;
  for (uint32_t k = 0; k < n; k++)
    top = fmaxf(top, x[k]);
  for (uint32_t k = 0; k < n; k++)
    sum += x[k] = wn_expf(x[k] - top);
  for (uint32_t k = 0; k < n; k++)
    x[k] /= sum;
}

void wn_moe_choose(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                   uint32_t c1) {
  (void)c0, (void)c1; /* whole rows */
  wn_moe o = wn_moe_of(m, i);
  logits l = logits_of(&o, r);
  int32_t *ids = wn_moe_route(&o, r);
  float *w = wn_moe_weights(&o, r), sum = 0;
  choose(&o, &l, ids);
  for (uint32_t k = 0; k < o.used; k++)
    w[k] = weight_of(&o, &l, (uint32_t)ids[k]);
  if (o.op->i[1] == WN_GATE_CHOSEN) softmax(w, o.used);
  for (uint32_t k = 0; k < o.used; k++)
    sum += w[k];
  if (sum < WN_MOE_LEAST_SUM) sum = WN_MOE_LEAST_SUM;
  for (uint32_t k = 0; k < o.used; k++) {
    if (o.op->i[2] != 0) w[k] /= sum;
    w[k] *= o.op->f[0];
  }
}
