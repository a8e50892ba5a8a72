/* op_moe.c - mixtures of experts: gate, up and down of the chosen ones
 * (moe_route.c), grouped by expert.
 *
 * Each expert's assignments become neighbouring columns of one packed input, so
 * that its weights are read once. Every member works out the order for
 * itself (it is short). The weighted sum of a row runs over its experts in
 * the order they were chosen. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "graph/back.h"
#include "graph/moe.h"
#include "kern/kern.h"

/* Phases, a stage each. */
enum { UPWARDS, DOWNWARDS };

/* -- verifying, placing, planning ----------------------------------------- */

/* Groups of equal size, of which so many are used: enough for the choice. */
static int check_groups(wn_checker *c, uint32_t n) {
  uint32_t groups = c->op->i[4], used = c->op->i[5];
  if (groups == 0 && used == 0) return WN_OK;
  if (groups == 0 || n % groups != 0 || used == 0 || used > groups ||
      (uint64_t)used * (n / groups) < c->op->i[0])
    return wn_bad(c, "chooses %u of %u in %u of %u groups", c->op->i[0], n,
                  used, groups);
  return WN_OK;
}

/* Gate and up, up alone, or both in one. */
static int check_matrices(wn_checker *c) {
  const uint32_t *w = c->op->w;
  bool gate = w[WN_MOE_GATE] != WN_NONE, up = w[WN_MOE_UP] != WN_NONE;
  bool merged = (c->op->i[6] & WN_MOE_MERGED) != 0;
  if (c->op->i[6] > (WN_MOE_MERGED | WN_MOE_WEIGHT_FIRST))
    return wn_bad(c, "flags %u", c->op->i[6]);
  if (merged ? !gate || up : !up)
    return wn_bad(c, "gate and up %s: gate %d, up %d",
                  merged ? "in one matrix" : "apart", gate, up);
  if (!up && (w[WN_MOE_UP_B] != WN_NONE || w[WN_MOE_UP_S] != WN_NONE))
    return wn_bad(c, "a bias or scale of rows that gate has");
  return WN_OK;
}

static int check_shapes(wn_checker *c, uint32_t width, uint32_t ff,
                        uint32_t n) {
  uint64_t all_ff = (uint64_t)ff * n, all = (uint64_t)width * n;
  bool merged = (c->op->i[6] & WN_MOE_MERGED) != 0;
  uint32_t gate = merged ? 2 * ff : ff;
  int rc = wn_check_matrix(c, WN_MOE_GATE, width, gate, n);
  if (rc == WN_OK) rc = wn_check_matrix(c, WN_MOE_UP, width, ff, n);
  if (rc == WN_OK) rc = wn_check_matrix(c, WN_MOE_DOWN, ff, width, n);
  if (rc == WN_OK) rc = wn_check_vector(c, WN_MOE_GATE_B, (uint64_t)gate * n);
  if (rc == WN_OK) rc = wn_check_vector(c, WN_MOE_UP_B, all_ff);
  if (rc == WN_OK) rc = wn_check_vector(c, WN_MOE_DOWN_B, all);
  if (rc == WN_OK) rc = wn_check_vector(c, WN_MOE_CHOICE_B, n);
  for (int k = WN_MOE_GATE_S; k <= WN_MOE_DOWN_S && rc == WN_OK; k++)
    rc = wn_check_vector(c, k, n);
  return rc;
}

static int verify(wn_checker *c) {
  int rc = wn_check_gate(c, 1);
  if (rc != WN_OK) return rc;
  uint32_t width = wn_in_width(c, 0), n = wn_in_width(c, 1);
  uint32_t used = c->op->i[0], ff = c->op->i[3];
  if (n > (uint32_t)WN_MAX_EXPERTS || used == 0 || used > n)
    return wn_bad(c, "uses %u of %u experts", used, n);
  if (c->op->i[1] >= WN_N_GATE || c->op->i[2] > 1)
    return wn_bad(c, "gating %u, normalising %u", c->op->i[1], c->op->i[2]);
  if (ff == 0 || ff > (uint32_t)WN_MAX_WIDTH)
    return wn_bad(c, "experts of width %u", ff);
  if (c->op->w[WN_MOE_GATE] == WN_NONE &&
      (c->op->kind >= WN_ACT_N_UNARY || c->op->w[WN_MOE_GATE_B] != WN_NONE ||
       c->op->w[WN_MOE_GATE_S] != WN_NONE))
    return wn_bad(c, "no gate, but what belongs to one");
  rc = check_matrices(c);
  if (rc == WN_OK) rc = check_groups(c, n);
  if (rc == WN_OK) rc = check_shapes(c, width, ff, n);
  return rc == WN_OK ? wn_make(c, width) : rc;
}

static int place(wn_fuser *f, uint32_t i, bool wanted) {
  const wn_prog *p = wn_fuse_prog(f);
  int rc = wn_fuse_wait(f, (wn_step){i, WN_WHOLE + 1}, wanted);
  if (rc != WN_OK) return rc;
  wn_stage *st = wn_fuse_open(f, WN_STAGE_MAIN, wanted);
  if (st == NULL) return WN_ENOMEM;
  st->op = i;
  st->phase = UPWARDS;
  st->input = p->ops[i].in[0];
  st = wn_fuse_open(f, WN_STAGE_MAIN, wanted);
  if (st == NULL) return WN_ENOMEM;
  st->op = i;
  st->phase = DOWNWARDS;
  wn_fuse_bundle(st, p->widths[i]);
  wn_fuse_made(f, i);
  return WN_OK;
}

/* Most assignments of so many rows. */
static uint64_t assignments(const wn_op *op, uint64_t rows) {
  return rows * op->i[0];
}

/* The order of assignments, as wn_moe_of lays it out. */
static void plan(wn_planner *pl, uint32_t i) {
  const wn_prog *p = wn_planner_prog(pl);
  const wn_op *op = &p->ops[i];
  wn_plan *plan = wn_planner_plan(pl);
  uint64_t rows = wn_plan_rows(plan, wn_planner_sched(pl), i);
  uint64_t n = op->i[4] + p->widths[op->in[1]] + 1 + assignments(op, rows);
  wn_plan_member(pl, wn_plan_product(pl, n, sizeof(uint32_t)),
                 &plan->order_own);
  wn_plan_member(pl, wn_mm_scratch_bytes(), &plan->scratch_own);
}

/* Used until the experts are done, in the stage that makes the value. */
static void plan_route(wn_planner *pl, uint32_t i, uint32_t stage) {
  const wn_sched *s = wn_planner_sched(pl);
  wn_op_mem *mm = &wn_planner_plan(pl)->ops[i];
  uint64_t rows = wn_plan_stage_rows(pl, &s->stages[stage]);
  uint64_t n = assignments(&wn_planner_prog(pl)->ops[i], 2);
  wn_plan_buffer(pl, wn_plan_floats(pl, rows, n), stage, s->stage_of[i],
                 &mm->at[WN_MOE_AT_ROUTE]);
  wn_plan_own(pl, wn_plan_floats(pl, WN_NARROW_ROWS, n),
              &mm->at[WN_MOE_AT_ROUTE_OWN]);
}

static void plan_stage(wn_planner *pl, const wn_stage *st, uint32_t stage) {
  const wn_prog *p = wn_planner_prog(pl);
  const wn_op *op = &p->ops[st->op];
  size_t *at = wn_planner_plan(pl)->ops[st->op].at;
  uint64_t n = assignments(op, wn_plan_stage_rows(pl, st));
  uint64_t narrow = assignments(op, WN_NARROW_ROWS);
  uint32_t width = p->widths[st->op], ff = op->i[3];
  if (st->phase == UPWARDS) {
    uint64_t bytes = wn_plan_floats(pl, n, ff);
    wn_plan_buffer(pl, bytes, stage, stage + 1, &at[WN_MOE_AT_GATE]);
    wn_plan_buffer(pl, bytes, stage, stage, &at[WN_MOE_AT_UP]);
    if (op->w[WN_MOE_GATE] != WN_NONE)
      wn_plan_pack(pl, stage, op->w[WN_MOE_GATE], width, n, narrow);
    if (op->w[WN_MOE_UP] != WN_NONE)
      wn_plan_pack(pl, stage, op->w[WN_MOE_UP], width, n, narrow);
  } else {
    wn_plan_buffer(pl, wn_plan_floats(pl, n, width), stage, stage,
                   &at[WN_MOE_AT_DOWN]);
    wn_plan_pack(pl, stage, op->w[WN_MOE_DOWN], ff, n, narrow);
    wn_plan_value(pl, st->op, stage, false);
  }
}

/* -- running -------------------------------------------------------------- */

/* -- order and packing ---------------------------------------------------- */

static uint32_t n_assigned(const wn_moe *o) {
  return o->m->n_rows * o->used;
}

/* Counting sort of the assignments by expert. */
void wn_moe_order(const wn_moe *o) {
  uint32_t n = o->m->n_rows, *start = o->start;
  memset(start, 0, (o->n_experts + 1) * sizeof *start);
  for (uint32_t r = 0; r < n; r++)
    for (uint32_t k = 0; k < o->used; k++)
      start[wn_moe_route(o, r)[k]]++;
  uint32_t sum = 0;
  for (uint32_t i = 0; i <= o->n_experts; i++) {
    uint32_t count = start[i];
    start[i] = sum;
    sum += count;
  }
  for (uint32_t r = 0; r < n; r++)
    for (uint32_t k = 0; k < o->used; k++)
      o->column[r * o->used + k] = start[wn_moe_route(o, r)[k]]++;
  memmove(start + 1, start, o->n_experts * sizeof *start); /* ends: starts */
  start[0] = 0;
}

/* Packs x, k values, as the column of an assignment. */
static void pack_column(const wn_moe *o, const float *x, size_t k,
                        uint32_t column) {
  wn_member *m = o->m;
  for (uint32_t i = 0; i < m->sm->n_packs; i++) {
    const wn_pack_mem *pm = &m->sm->packs[i];
    wn_pack(m, pm, x, k, column, n_assigned(o), wn_pack_place(m, pm));
  }
}

/* This member's share of the assignments: all of them when narrow. */
static void my_assignments(const wn_moe *o, uint32_t *first, uint32_t *end) {
  const wn_member *m = o->m;
  *first = m->narrow ? 0 : wn_share(m, n_assigned(o), m->id);
  *end = m->narrow ? n_assigned(o) : wn_share(m, n_assigned(o), m->id + 1);
}

/* -- products ------------------------------------------------------------- */

static float *buffer(const wn_moe *o, size_t off) {
  return wn_floats(o->m->f->arena, off);
}

/* Factor and bias of an expert on its columns a <= c < b. */
static void adjust(const wn_moe *o, const wn_moe_product *p, uint32_t expert,
                   float *y, uint32_t a, uint32_t b, uint32_t c0, uint32_t c1) {
  const wn_frame *f = o->m->f;
  uint32_t bias = o->op->w[p->which + WN_MOE_GATE_B - WN_MOE_GATE];
  uint32_t factor = o->op->w[p->which + WN_MOE_GATE_S - WN_MOE_GATE];
  for (uint32_t c = a; c < b; c++) {
    float *row = y + (size_t)c * p->width + c0;
    if (factor != WN_NONE)
      f->vec->scale(f->bound[factor].vec[expert], row, row, c1 - c0);
    if (bias == WN_NONE) continue;
    size_t all = f->p->weights[o->op->w[p->which]].ne[1];
    f->vec->add(row, f->bound[bias].vec + expert * all + p->first + c0, row,
                c1 - c0);
  }
}

/* Output rows c0 <= c < c1 of every expert that has assignments: y has one
 * row of p->width values per column. */
static void multiply(const wn_moe *o, wn_moe_product p, float *y, uint32_t c0,
                     uint32_t c1) {
  const wn_frame *f = o->m->f;
  const wn_bound *w = &f->bound[o->op->w[p.which]];
  const wn_pack_mem *pm = wn_find_pack(o->m->sm, wn_mm_pack_kind(w->type));
  const uint8_t *rows = w->data + p.first * w->row_bytes;
  for (uint32_t i = 0; i < o->n_experts; i++) {
    uint32_t a = o->start[i], b = o->start[i + 1];
    if (a == b) continue;
    wn_multiply(o->m, w, rows + i * w->matrix_bytes, p.k, c0, c1,
                wn_pack_place(o->m, pm), n_assigned(o), a, b, y, p.width);
    adjust(o, &p, i, y, a, b, c0, c1);
  }
}

wn_moe_product wn_moe_up(const wn_moe *o) {
  bool merged = (o->op->i[6] & WN_MOE_MERGED) != 0;
  return (wn_moe_product){merged ? WN_MOE_GATE : WN_MOE_UP, merged ? o->ff : 0,
                          o->ff, o->m->f->p->widths[o->op->in[0]]};
}

/* Weights that come before the activation: a product is linear. */
static void weigh_first(const wn_moe *o, float *y, uint32_t c0, uint32_t c1) {
  for (uint32_t r = 0; r < o->m->n_rows; r++)
    for (uint32_t k = 0; k < o->used; k++) {
      float *row = y + (size_t)o->column[r * o->used + k] * o->ff + c0;
      o->m->f->vec->scale(wn_moe_weights(o, r)[k], row, row, c1 - c0);
    }
}

static void up_unit(const wn_moe *o, uint32_t c0, uint32_t c1) {
  bool first = (o->op->i[6] & WN_MOE_WEIGHT_FIRST) != 0;
  bool has_gate = o->op->w[WN_MOE_GATE] != WN_NONE;
  uint32_t k = o->m->f->p->widths[o->op->in[0]];
  float *g = buffer(o, o->mm->at[WN_MOE_AT_GATE]),
        *u = buffer(o, o->mm->at[WN_MOE_AT_UP]);
  wn_moe_product gate = {WN_MOE_GATE, 0, o->ff, k}, up = wn_moe_up(o);
  if (has_gate) multiply(o, gate, g, c0, c1);
  multiply(o, up, u, c0, c1);
  if (first && has_gate) weigh_first(o, g, c0, c1);
  if (first) weigh_first(o, u, c0, c1);
  for (uint32_t a = 0; a < n_assigned(o); a++) {
    size_t at = (size_t)a * o->ff + c0;
    if (has_gate)
      wn_activate_gate(o->m, (wn_act)o->op->kind, g + at, u + at, g + at,
                       c1 - c0, o->op->f[1], o->op->f[2]);
    else
      wn_activate(o->m, (wn_act)o->op->kind, u + at, g + at, c1 - c0);
  }
}

static void down_unit(const wn_moe *o, uint32_t c0, uint32_t c1) {
  const wn_vec *v = o->m->f->vec;
  uint32_t width = o->m->f->p->widths[o->id];
  float *d = buffer(o, o->mm->at[WN_MOE_AT_DOWN]);
  wn_moe_product down = {WN_MOE_DOWN, 0, width, o->ff};
  bool weighed = (o->op->i[6] & WN_MOE_WEIGHT_FIRST) != 0;
  multiply(o, down, d, c0, c1);
  for (uint32_t r = 0; r < o->m->n_rows; r++) {
    float *y = wn_row(o->m, o->id, r) + c0;
    const float *w = wn_moe_weights(o, r);
    for (uint32_t k = 0; k < o->used; k++) {
      const float *x = d + (size_t)o->column[r * o->used + k] * width + c0;
      if (k == 0)
        v->scale(weighed ? 1 : w[k], x, y, c1 - c0);
      else
        v->madd(weighed ? 1 : w[k], x, y, c1 - c0);
    }
  }
  wn_do_epilogues(o->m, &o->m->st->bundles[0], c0, c1);
}

/* Does the output rows of a bundle, each made by `products` products: a fixed
 * range of them, or ranges drawn until none is left. */
static void do_units(const wn_moe *o, const wn_bundle *b, uint64_t products,
                     void (*unit)(const wn_moe *o, uint32_t c0, uint32_t c1)) {
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

/* Orders the assignments and packs their inputs; members meet. */
static void pack_inputs(const wn_moe *o) {
  wn_member *m = o->m;
  uint32_t a, end;
  wn_moe_order(o);
  my_assignments(o, &a, &end);
  for (; a < end; a++)
    pack_column(o, wn_row_in(m, m->st->input, a / o->used),
                m->f->p->widths[m->st->input], o->column[a]);
  if (!m->narrow) wn_meet(m);
}

void wn_moe_products(const wn_moe *o) {
  wn_member *m = o->m;
  uint32_t c0 = wn_share(m, o->ff, m->id), c1 = wn_share(m, o->ff, m->id + 1);
  wn_moe_product gate = {WN_MOE_GATE, 0, o->ff, m->f->p->widths[o->op->in[0]]};
  pack_inputs(o);
  if (c0 < c1 && o->op->w[WN_MOE_GATE] != WN_NONE)
    multiply(o, gate, buffer(o, o->mm->at[WN_MOE_AT_GATE]), c0, c1);
  if (c0 < c1)
    multiply(o, wn_moe_up(o), buffer(o, o->mm->at[WN_MOE_AT_UP]), c0, c1);
  wn_meet(m);
}

static void experts_up(wn_member *m) {
  wn_moe o = wn_moe_of(m, m->st->op);
  wn_do_prologues(m);
  pack_inputs(&o);
  wn_bundle all = {.rows = o.ff, .granule = 1};
  uint64_t products = (uint64_t)m->f->p->widths[m->st->input] * 2;
  do_units(&o, &all, products * n_assigned(&o), up_unit);
}

static void experts_down(wn_member *m) {
  wn_moe o = wn_moe_of(m, m->st->op);
  const float *h = buffer(&o, o.mm->at[WN_MOE_AT_GATE]);
  uint32_t a, end;
  wn_moe_order(&o);
  my_assignments(&o, &a, &end);
  for (; a < end; a++)
    pack_column(&o, h + (size_t)o.column[a] * o.ff, o.ff, o.column[a]);
  if (!m->narrow) wn_meet(m);
  do_units(&o, &m->st->bundles[0], (uint64_t)o.ff * n_assigned(&o), down_unit);
}

/* The input of an assignment, as the stage multiplied it. */
static const float *input_of(const wn_moe *o, uint32_t a) {
  if (o->m->st->phase == DOWNWARDS)
    return buffer(o, o->mm->at[WN_MOE_AT_GATE]) + (size_t)o->column[a] * o->ff;
  return wn_row_in(o->m, o->m->st->input, a / o->used);
}

static void watch(wn_member *m, wn_tap_item *t) {
  wn_moe o = wn_moe_of(m, m->st->op);
  uint32_t c0 = wn_share(m, t->n, m->id), c1 = wn_share(m, t->n, m->id + 1);
  wn_moe_order(&o);
  for (uint32_t a = 0; a < n_assigned(&o); a++) {
    const float *x = input_of(&o, a);
    uint32_t expert = (uint32_t)wn_moe_route(&o, a / o.used)[a % o.used];
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

static void tap_shape(const wn_prog *p, const wn_stage *st,
                      wn_tap_shape *shape) {
  const wn_op *op = &p->ops[st->op];
  shape->n = st->phase == DOWNWARDS ? op->i[3] : p->widths[op->in[0]];
  shape->n_experts = p->widths[op->in[1]];
  shape->per_row = op->i[0];
}

static void experts(wn_member *m) {
  if (m->st->phase == UPWARDS)
    experts_up(m);
  else
    experts_down(m);
}

const wn_op_desc wn_op_moe = {
    .name = "moe",
    .kinds = wn_act_names,
    .n_kinds = WN_ACT_N,
    .n_in = 2,
    .n_main = 1,
    .must = 1 << WN_MOE_DOWN,
    .may = 0x3ff,
    .n_i = 7,
    .n_f = 3,
    .verify = verify,
    .n_parts = 1,
    .parts = {{.in = 1, .plan = plan_route, .run = wn_moe_choose}},
    .place = place,
    .plan = plan,
    .plan_stage = plan_stage,
    .run = experts,
    .taps = {1 << WN_MOE_GATE | 1 << WN_MOE_UP, 1 << WN_MOE_DOWN},
    .tap_shape = tap_shape,
    .watch = watch,
    .back_of = 63,
    .back_shared = wn_moe_back_shared,
    .back = wn_moe_back};
