/* op_moe.c - mixtures of experts: choosing, then gate, up and down of the
 * chosen ones, grouped by expert.
 *
 * An assignment is a row and one of its experts, number row * used + k. Each
 * expert's assignments become neighbouring columns of one packed input, so
 * that its weights are read once. Every member works out the order for
 * itself (it is short). The weighted sum of a row runs over its experts in
 * the order they were chosen. */
#include <math.h>
#include <string.h>

#include "graph/exec.h"
#include "kern/kern.h"

/* Smallest sum of chosen weights that is divided by: the smallest normal
 * half, as in other implementations. */
#define LEAST_SUM 6.103515625e-5f

typedef struct moe {
  wn_member *m;
  const wn_op *op;
  const wn_moe_mem *mm;
  uint32_t id, n_experts, used, ff;
  uint32_t *start;  /* of each expert, and one more: its first column */
  uint32_t *column; /* of each assignment */
} moe;

static moe moe_of(wn_member *m, uint32_t id) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[id];
  moe o = {.m = m, .op = op, .mm = &f->plan->moes[id], .id = id};
  o.n_experts = f->p->widths[op->in[1]];
  o.used = op->i[0];
  o.ff = op->i[3];
  o.start = (uint32_t *)(void *)(m->mem + f->plan->order_own);
  o.column = o.start + o.n_experts + 1;
  return o;
}

/* -- choosing ------------------------------------------------------------- */

/* The chosen experts of row r: ids, then weights. A narrow member has its
 * own copy while it is in the stage that chooses. */
static int32_t *route_of(const moe *o, uint32_t r) {
  const wn_member *m = o->m;
  bool own = false;
  for (uint32_t k = 0; k < m->st->n_pros; k++)
    own |= m->st->pros[k].what == WN_DO_ROUTE && m->st->pros[k].op == o->id;
  uint8_t *base = own && m->narrow && m->id != 0 ? m->mem + o->mm->route_own
                                                 : m->f->arena + o->mm->route;
  return (int32_t *)(void *)base + (size_t)r * 2 * o->used;
}

static float *weights_of(const moe *o, uint32_t r) {
  return (float *)(void *)(route_of(o, r) + o->used);
}

/* What the router says about one row. */
typedef struct logits {
  const float *x;
  float max, sum; /* of a softmax over all experts */
  const float *choice_bias;
} logits;

static logits logits_of(const moe *o, uint32_t r) {
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
static float weight_of(const moe *o, const logits *l, uint32_t i) {
  if (o->op->i[1] == WN_GATE_SIGMOID) return 1.0f / (1.0f + wn_expf(-l->x[i]));
  if (o->op->i[1] == WN_GATE_CHOSEN) return l->x[i];
  return wn_expf(l->x[i] - l->max) / l->sum;
}

/* Experts are chosen by weight plus bias; without a bias the logits have the
 * same order. */
static float score_of(const moe *o, const logits *l, uint32_t i) {
  if (l->choice_bias == NULL) return l->x[i];
  return weight_of(o, l, i) + l->choice_bias[i];
}

static bool is_chosen(const int32_t *ids, uint32_t n, uint32_t i) {
  for (uint32_t k = 0; k < n; k++)
    if (ids[k] == (int32_t)i) return true;
  return false;
}

/* Best first; of equal ones the lower number. NaN loses to everything. */
static void choose(const moe *o, const logits *l, int32_t *ids) {
  for (uint32_t k = 0; k < o->used; k++) {
    uint32_t best = WN_NONE;
    float top = 0;
    for (uint32_t i = 0; i < o->n_experts; i++) {
      float s = score_of(o, l, i);
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

void wn_route(wn_member *m, uint32_t i, uint32_t r) {
  moe o = moe_of(m, i);
  logits l = logits_of(&o, r);
  int32_t *ids = route_of(&o, r);
  float *w = weights_of(&o, r), sum = 0;
  choose(&o, &l, ids);
  for (uint32_t k = 0; k < o.used; k++)
    w[k] = weight_of(&o, &l, (uint32_t)ids[k]);
  if (o.op->i[1] == WN_GATE_CHOSEN) softmax(w, o.used);
  for (uint32_t k = 0; k < o.used; k++)
    sum += w[k];
  if (sum < LEAST_SUM) sum = LEAST_SUM;
  for (uint32_t k = 0; k < o.used; k++) {
    if (o.op->i[2] != 0) w[k] /= sum;
    w[k] *= o.op->f[0];
  }
}

/* -- order and packing ---------------------------------------------------- */

static uint32_t n_assigned(const moe *o) {
  return o->m->n_rows * o->used;
}

/* Counting sort of the assignments by expert. */
static void find_order(const moe *o) {
  uint32_t n = o->m->n_rows, *start = o->start;
  memset(start, 0, (o->n_experts + 1) * sizeof *start);
  for (uint32_t r = 0; r < n; r++)
    for (uint32_t k = 0; k < o->used; k++)
      start[route_of(o, r)[k]]++;
  uint32_t sum = 0;
  for (uint32_t i = 0; i <= o->n_experts; i++) {
    uint32_t count = start[i];
    start[i] = sum;
    sum += count;
  }
  for (uint32_t r = 0; r < n; r++)
    for (uint32_t k = 0; k < o->used; k++)
      o->column[r * o->used + k] = start[route_of(o, r)[k]]++;
  memmove(start + 1, start, o->n_experts * sizeof *start); /* ends: starts */
  start[0] = 0;
}

static uint8_t *pack_place(const wn_member *m, const wn_pack_mem *pm) {
  return m->narrow ? m->mem + pm->own : m->f->arena + pm->off;
}

/* Packs x, k values, as the column of an assignment. */
static void pack_column(const moe *o, const float *x, size_t k,
                        uint32_t column) {
  const wn_member *m = o->m;
  for (uint32_t i = 0; i < m->sm->n_packs; i++) {
    const wn_pack_mem *pm = &m->sm->packs[i];
    wn_mm_pack(pm->type, x, 0, k, column, column + 1, n_assigned(o),
               pack_place(m, pm));
  }
}

/* This member's share of the assignments: all of them when narrow. */
static void my_assignments(const moe *o, uint32_t *first, uint32_t *end) {
  const wn_member *m = o->m;
  *first = m->narrow ? 0 : wn_share(m, n_assigned(o), m->id);
  *end = m->narrow ? n_assigned(o) : wn_share(m, n_assigned(o), m->id + 1);
}

/* -- products ------------------------------------------------------------- */

static float *buffer(const moe *o, size_t off) {
  return wn_floats(o->m->f->arena, off);
}

/* Output rows c0 <= c < c1 of every expert that has assignments: y has one
 * row of `width` values per column. Biases are rows of `width` values. */
static void multiply(const moe *o, int which, uint32_t k, float *y,
                     uint32_t width, uint32_t c0, uint32_t c1) {
  const wn_frame *f = o->m->f;
  const wn_bound *w = &f->bound[o->op->w[which]];
  uint32_t bias = o->op->w[which + WN_MOE_GATE_B - WN_MOE_GATE];
  const wn_pack_mem *pm = wn_find_pack(o->m->sm, wn_mm_pack_kind(w->type));
  for (uint32_t i = 0; i < o->n_experts; i++) {
    uint32_t a = o->start[i], b = o->start[i + 1];
    if (a == b) continue;
    wn_mm(w->type, w->data + i * w->matrix_bytes, w->row_bytes, k, c0, c1,
          pack_place(o->m, pm), n_assigned(o), a, b, y, width,
          o->m->mem + f->plan->scratch_own);
    for (uint32_t c = a; c < b && bias != WN_NONE; c++) {
      float *row = y + (size_t)c * width + c0;
      f->vec->add(row, f->bound[bias].vec + (size_t)i * width + c0, row,
                  c1 - c0);
    }
  }
}

static void up_unit(const moe *o, uint32_t c0, uint32_t c1) {
  const wn_vec *v = o->m->f->vec;
  uint32_t k = o->m->f->p->widths[o->op->in[0]];
  float *g = buffer(o, o->mm->gate), *u = buffer(o, o->mm->up);
  multiply(o, WN_MOE_GATE, k, g, o->ff, c0, c1);
  multiply(o, WN_MOE_UP, k, u, o->ff, c0, c1);
  for (uint32_t a = 0; a < n_assigned(o); a++) {
    size_t at = (size_t)a * o->ff + c0;
    v->glu((wn_act)o->op->kind, g + at, u + at, g + at, c1 - c0, o->op->f[1],
           o->op->f[2]);
  }
}

static void down_unit(const moe *o, uint32_t c0, uint32_t c1) {
  const wn_vec *v = o->m->f->vec;
  uint32_t width = o->m->f->p->widths[o->id];
  float *d = buffer(o, o->mm->down);
  multiply(o, WN_MOE_DOWN, o->ff, d, width, c0, c1);
  for (uint32_t r = 0; r < o->m->n_rows; r++) {
    float *y = wn_row(o->m, o->id, r) + c0;
    const float *w = weights_of(o, r);
    for (uint32_t k = 0; k < o->used; k++) {
      const float *x = d + (size_t)o->column[r * o->used + k] * width + c0;
      if (k == 0)
        v->scale(w[k], x, y, c1 - c0);
      else
        v->madd(w[k], x, y, c1 - c0);
    }
  }
  wn_do_epilogues(o->m, &o->m->st->bundles[0], c0, c1);
}

/* Does the output rows of a bundle, each made by `products` products: a fixed
 * range of them, or ranges drawn until none is left. */
static void do_units(const moe *o, const wn_bundle *b, uint64_t products,
                     void (*unit)(const moe *o, uint32_t c0, uint32_t c1)) {
  wn_member *m = o->m;
  if (wn_is_short(m, products * b->rows)) {
    uint32_t c0, c1;
    wn_my_rows(m, b->rows, 0, b, &c0, &c1);
    if (c0 < c1) unit(o, c0, c1);
    return;
  }
  uint32_t chunk = wn_chunk_rows(m, b->rows, b);
  for (;;) {
    uint64_t c0 = (uint64_t)wn_team_next(m->team) * chunk;
    if (c0 >= b->rows) return;
    uint32_t left = b->rows - (uint32_t)c0;
    unit(o, (uint32_t)c0, (uint32_t)c0 + (left < chunk ? left : chunk));
  }
}

void wn_stage_experts_up(wn_member *m) {
  moe o = moe_of(m, m->st->op);
  uint32_t r = m->narrow ? 0 : wn_share(m, m->n_rows, m->id), a, end;
  uint32_t stop = m->narrow ? m->n_rows : wn_share(m, m->n_rows, m->id + 1);
  for (; r < stop; r++)
    wn_do_prologue(m, r);
  if (!m->narrow) wn_meet(m);
  find_order(&o);
  my_assignments(&o, &a, &end);
  for (; a < end; a++)
    pack_column(&o, wn_row_in(m, m->st->input, a / o.used),
                m->f->p->widths[m->st->input], o.column[a]);
  if (!m->narrow) wn_meet(m);
  wn_bundle all = {.rows = o.ff, .granule = 1};
  uint64_t products = (uint64_t)m->f->p->widths[m->st->input] * 2;
  do_units(&o, &all, products * n_assigned(&o), up_unit);
}

void wn_stage_experts_down(wn_member *m) {
  moe o = moe_of(m, m->st->op);
  const float *h = buffer(&o, o.mm->gate);
  uint32_t a, end;
  find_order(&o);
  my_assignments(&o, &a, &end);
  for (; a < end; a++)
    pack_column(&o, h + (size_t)o.column[a] * o.ff, o.ff, o.column[a]);
  if (!m->narrow) wn_meet(m);
  do_units(&o, &m->st->bundles[0], (uint64_t)o.ff * n_assigned(&o), down_unit);
}

/* The input of an assignment, as the stage multiplied it. */
static const float *input_of(const moe *o, uint32_t a) {
  if (o->m->st->kind == WN_STAGE_EXPERTS_DOWN)
    return buffer(o, o->mm->gate) + (size_t)o->column[a] * o->ff;
  return wn_row_in(o->m, o->m->st->input, a / o->used);
}

void wn_tap_experts(wn_member *m, wn_tap_item *t) {
  moe o = moe_of(m, m->st->op);
  uint32_t c0 = wn_share(m, t->n, m->id), c1 = wn_share(m, t->n, m->id + 1);
  find_order(&o);
  for (uint32_t a = 0; a < n_assigned(&o); a++) {
    const float *x = input_of(&o, a);
    uint32_t expert = (uint32_t)route_of(&o, a / o.used)[a % o.used];
    uint32_t row = o.column[a];
    wn_tap_add(t, expert, x, c0, c1);
    if (t->rows != NULL && row < t->cap)
      memcpy(t->rows + (size_t)row * t->n + c0, x + c0, (c1 - c0) * sizeof *x);
  }
  if (m->id != 0) return;
  for (uint32_t i = 0; i <= o.n_experts; i++) {
    if (i < o.n_experts) t->counts[i] += o.start[i + 1] - o.start[i];
    t->starts[i] = o.start[i] < t->cap ? o.start[i] : t->cap;
  }
  t->n_rows = t->starts[o.n_experts];
}
