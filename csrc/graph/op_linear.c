/* op_linear.c - linear operations: those that multiply the same input share a
 * stage, with its prologue and packing; products by ranges of output rows,
 * scale, bias and epilogues on the range just made. */
#include <string.h>

#include "base/arith.h"
#include "graph/back.h"
#include "kern/kern.h"

/* -- verifying, placing, planning ----------------------------------------- */

static int verify(wn_checker *c) {
  int rc = WN_OK;
  if (rc != WN_OK) return rc;
  const wn_weight *w = wn_weight_of(c, 0);
  uint32_t all = w->ne[1], row0 = c->op->i[0], rows = c->op->i[1];
  rc = wn_check_matrix(c, 0, wn_in_width(c, 0), all, 1);
  if (rc == WN_OK) rc = wn_check_vector(c, 1, all);
  if (rc == WN_OK) rc = wn_check_vector(c, 2, 1);
  if (rc != WN_OK) return rc;
  uint32_t group = c->op->i[2], stride = c->op->i[3];
  if (rows == 0 || !wn_inside(row0, group == 0 ? rows : 1, all))
    return wn_bad(c, "rows %u to %u of %u", row0, row0 + rows, all);
  if (group == 0 && stride != 0)
    return wn_bad(c, "groups of 0 rows, %u apart", stride);
  if (group != 0 &&
      (rows % group != 0 || stride < group ||
       (uint64_t)(rows / group - 1) * stride + group > all - row0))
    return wn_bad(c, "%u rows in groups of %u, %u apart, from %u on of %u",
                  rows, group, stride, row0, all);
  return wn_make(c, rows);
}

static int place(wn_fuser *f, uint32_t i, bool wanted) {
  const wn_prog *p = wn_fuse_prog(f);
  uint32_t in = p->ops[i].in[0];
  wn_stage *st = wn_fuse_joinable(f, wanted);
  if (st == NULL || st->kind != WN_STAGE_MATRIX || st->input != in ||
      st->n_bundles == WN_STAGE_BUNDLES) {
    st = wn_fuse_open(f, WN_STAGE_MATRIX, wanted);
    if (st == NULL) return WN_ENOMEM;
    st->input = in;
  }
  wn_bundle *b = wn_fuse_bundle(st, p->widths[i]);
  b->parts[b->n_parts++] = i;
  wn_fuse_made(f, i);
  return WN_OK;
}

static void plan(wn_planner *pl, uint32_t i) {
  (void)i;
  wn_plan_member(pl, wn_mm_scratch_bytes(), &wn_planner_plan(pl)->scratch_own);
}

static void plan_stage(wn_planner *pl, const wn_stage *st, uint32_t stage) {
  const wn_prog *p = wn_planner_prog(pl);
  for (uint32_t b = 0; b < st->n_bundles; b++)
    for (uint32_t k = 0; k < st->bundles[b].n_parts; k++)
      wn_plan_pack(pl, stage, p->ops[st->bundles[b].parts[k]].w[0],
                   p->widths[st->input], wn_plan_stage_rows(pl, st),
                   WN_NARROW_ROWS);
}

/* -- running -------------------------------------------------------------- */

/* Units a member should get of a stage: enough to even out the load, few
 * enough to keep streams long. With few rows (FEW) weights are read at the
 * memory's pace, and a start costs more; the results of a unit are small
 * however long it is. With many they shall stay in the cache. A stage of less
 * than SHORT products for each member is over before drawing units could even
 * out anything: there each member has one fixed range. */
enum {
  UNITS_EACH = 4,
  UNITS_FEW = 2,
  MIN_CHUNK = WN_MM_ROWS,
  MAX_CHUNK = 256,
  FEW = 4
};
enum { SHORT = 1 << 18 };

/* Ranges of a bundle begin at multiples of this. */
static uint32_t step_of(const wn_bundle *b) {
  uint32_t step = b->granule; /* a common multiple with MIN_CHUNK, if short */
  return MIN_CHUNK % step == 0 ? MIN_CHUNK : step;
}

uint32_t wn_chunk_rows(const wn_member *m, uint64_t all_rows,
                       const wn_bundle *b) {
  bool few = m->n_rows <= FEW;
  uint64_t each = !few ? UNITS_EACH : m->n == 1 ? 1 : UNITS_FEW;
  uint64_t units = (uint64_t)m->n * each;
  uint64_t chunk = (all_rows + units - 1) / units;
  if (chunk < MIN_CHUNK) chunk = MIN_CHUNK;
  if (chunk > MAX_CHUNK && !few) chunk = MAX_CHUNK;
  uint32_t step = step_of(b);
  chunk = (chunk + step - 1) / step * step;
  return chunk > b->rows ? b->rows : (uint32_t)chunk;
}

bool wn_is_short(const wn_member *m, uint64_t products) {
  return products < (uint64_t)m->n * SHORT;
}

/* Where share k of `all` rows begins in a bundle whose first row is row
 * `first` of them: its own row, rounded to where a range may begin. */
static uint32_t share_start(const wn_member *m, uint64_t all, uint64_t first,
                            const wn_bundle *b, int k) {
  uint64_t at = all * (uint64_t)k / (uint64_t)m->n;
  uint64_t parts = b->n_parts != 0 ? b->n_parts : 1, step = step_of(b);
  if (at <= first) return 0;
  at = ((at - first) / parts + step / 2) / step * step;
  return at < b->rows ? (uint32_t)at : b->rows;
}

void wn_my_rows(const wn_member *m, uint64_t all, uint64_t first,
                const wn_bundle *b, uint32_t *c0, uint32_t *c1) {
  *c0 = share_start(m, all, first, b, m->id);
  *c1 = m->id + 1 < m->n ? share_start(m, all, first, b, m->id + 1) : b->rows;
}

static uint64_t rows_of_stage(const wn_stage *st) {
  uint64_t n = 0;
  for (uint32_t b = 0; b < st->n_bundles; b++)
    n += (uint64_t)st->bundles[b].rows * st->bundles[b].n_parts;
  return n;
}

/* Packs row r of the stage's input in every way its weights want. */
static void pack_row(wn_member *m, uint32_t r) {
  const float *x = wn_row_in(m, m->st->input, r);
  size_t k = m->f->p->widths[m->st->input];
  for (uint32_t i = 0; i < m->sm->n_packs; i++) {
    const wn_pack_mem *pm = &m->sm->packs[i];
    wn_pack(m, pm, x, k, r, m->n_rows, wn_pack_place(m, pm));
  }
}

static void prepare(wn_member *m) {
  uint32_t r = m->narrow ? 0 : wn_share(m, m->n_rows, m->id);
  uint32_t end = m->narrow ? m->n_rows : wn_share(m, m->n_rows, m->id + 1);
  for (; r < end; r++) {
    wn_do_prologue(m, r);
    pack_row(m, r);
  }
  if (!m->narrow) wn_meet(m);
}

static void scale(wn_member *m, float factor, float *y, size_t ldy, uint32_t c0,
                  uint32_t c1) {
  for (uint32_t r = 0; r < m->n_rows; r++, y += ldy)
    m->f->vec->scale(factor, y + c0, y + c0, c1 - c0);
}

static void add_bias(wn_member *m, const float *bias, float *y, size_t ldy,
                     uint32_t c0, uint32_t c1) {
  for (uint32_t r = 0; r < m->n_rows; r++, y += ldy)
    m->f->vec->add(y + c0, bias + c0, y + c0, c1 - c0);
}

/* Output rows c0 <= c < c1 of one linear operation, for all rows of the stage;
 * output row 0 is row `first` of the matrix. */
static void multiply_rows(wn_member *m, uint32_t i, size_t first, uint32_t c0,
                          uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  const wn_bound *w = &f->bound[op->w[0]];
  const wn_pack_mem *pm = wn_find_pack(m->sm, wn_mm_pack_kind(w->type));
  size_t ldy = f->p->widths[i];
  float *y = wn_row(m, i, 0);
  wn_multiply(m, w, w->data + first * w->row_bytes, f->p->widths[m->st->input],
              c0, c1, wn_pack_place(m, pm), m->n_rows, 0, m->n_rows, y, ldy);
  if (op->w[2] != WN_NONE) scale(m, f->bound[op->w[2]].vec[0], y, ldy, c0, c1);
  if (op->w[1] != WN_NONE)
    add_bias(m, f->bound[op->w[1]].vec + first, y, ldy, c0, c1);
}

/* The same, group by group. Group g begins at output row g * group and at row
 * i[0] + g * stride of the matrix. */
static void multiply(wn_member *m, uint32_t i, uint32_t c0, uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  uint32_t group = op->i[2];
  size_t gap = op->i[3] - group;
  if (group == 0) {
    multiply_rows(m, i, op->i[0], c0, c1);
    return;
  }
  for (uint32_t c = c0, end; c < c1; c = end) {
    uint32_t g = c / group;
    end = (g + 1) * group < c1 ? (g + 1) * group : c1;
    multiply_rows(m, i, op->i[0] + g * gap, c, end);
  }
}

/* One range of a bundle: its products, then its epilogues. */
static void do_range(wn_member *m, const wn_bundle *b, uint32_t c0,
                     uint32_t c1) {
  for (uint32_t k = 0; k < b->n_parts; k++)
    multiply(m, b->parts[k], c0, c1);
  wn_do_epilogues(m, b, c0, c1);
}

/* A fixed range of the bundles, as if they lay one behind the other. */
static void share_rows(wn_member *m, uint64_t all) {
  const wn_stage *st = m->st;
  uint64_t first = 0;
  for (uint32_t b = 0; b < st->n_bundles; b++) {
    const wn_bundle *bn = &st->bundles[b];
    uint32_t c0, c1;
    wn_my_rows(m, all, first, bn, &c0, &c1);
    if (c0 < c1) do_range(m, bn, c0, c1);
    first += (uint64_t)bn->rows * bn->n_parts;
  }
}

/* Units drawn by whoever is free. */
static void draw_units(wn_member *m, uint64_t all) {
  const wn_stage *st = m->st;
  uint64_t unit = (uint64_t)wn_team_next(m->team), first = 0;
  for (uint32_t b = 0; b < st->n_bundles; b++) {
    const wn_bundle *bn = &st->bundles[b];
    uint32_t chunk = wn_chunk_rows(m, all, bn);
    uint32_t n = (bn->rows + chunk - 1) / chunk;
    while (unit < first + n) {
      uint32_t c0 = (uint32_t)(unit - first) * chunk;
      do_range(m, bn, c0, bn->rows - c0 < chunk ? bn->rows : c0 + chunk);
      unit = (uint64_t)wn_team_next(m->team);
    }
    first += n;
  }
}

static void linear(wn_member *m) {
  uint64_t all = rows_of_stage(m->st);
  prepare(m);
  if (wn_is_short(m, all * m->f->p->widths[m->st->input] * m->n_rows))
    share_rows(m, all);
  else
    draw_units(m, all);
}

/* -- gradients ------------------------------------------------------------ */

static float *place_in(wn_member *m, const void *arg, uint32_t r) {
  return wn_grad_in(m, *(const uint32_t *)arg, r);
}

/* Calls visit for each range of output rows and of the matrix. */
typedef struct range {
  uint32_t c0, c1; /* outputs */
  size_t first;    /* row of the matrix that makes output c0 */
} range;
static bool next_range(const wn_prog *p, uint32_t i, range *g) {
  const wn_op *op = &p->ops[i];
  uint32_t n = p->widths[i], group = op->i[2] != 0 ? op->i[2] : n;
  if (g->c1 == n) return false;
  g->c0 = g->c1;
  g->c1 += group;
  g->first = op->i[0] + (size_t)(g->c0 / group) * op->i[3];
  if (op->i[2] == 0) g->first = op->i[0];
  return true;
}

static void back(wn_member *m, uint32_t i) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  const wn_bound *w = &f->bound[op->w[0]];
  float factor = op->w[2] != WN_NONE ? f->bound[op->w[2]].vec[0] : 1;
  range g = {0};
  while (wn_needs(m, op->in[0]) && next_range(f->p, i, &g))
    wn_back_through(m, w, w->data, f->p->widths[op->in[0]], g.first,
                    g.first + (g.c1 - g.c0), factor, wn_grad(m, i, 0) + g.c0,
                    f->p->widths[i], place_in, &op->in[0]);
}

/* dw += factor g^T x for outputs c0 <= c < c1, some rows of it at a time: g
 * turned, then a product with x where its rows lie together. */
static void matrix_back(const wn_member *m, uint32_t i, uint32_t c0,
                        uint32_t c1, float factor, float *dw) {
  const wn_frame *f = m->f;
  uint32_t in = f->p->ops[i].in[0], n = m->n_rows;
  size_t k = f->p->widths[in], ldg = f->p->widths[i];
  bool together = wn_row_in(m, in, n - 1) == wn_row_in(m, in, 0) + (n - 1) * k;
  const float *g = wn_grad(m, i, 0);
  float *own = wn_back_own(m);
  for (uint32_t c = c0, end; c < c1; c = end, dw += WN_BACK_ROWS * k) {
    end = c1 - c > WN_BACK_ROWS ? c + WN_BACK_ROWS : c1;
    for (uint32_t a = c; a < end; a++)
      for (uint32_t r = 0; r < n; r++)
        own[(a - c) * n + r] = factor * g[r * ldg + a];
    for (uint32_t r = 0; r < n; r += together ? n : 1)
      f->vec->product(own + r, n, end - c, WN_ROW_F32, wn_row_in(m, in, r),
                      k * sizeof(float), together ? n : 1, k, f->back->ones, dw,
                      k);
  }
}

/* Members divide the outputs. */
static void back_weights(wn_member *m, uint32_t i) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  float *dw = wn_grad_weight(m, op, 0), *db = wn_grad_weight(m, op, 1);
  float factor = op->w[2] != WN_NONE ? f->bound[op->w[2]].vec[0] : 1;
  size_t k = f->p->widths[op->in[0]], ldg = f->p->widths[i];
  range g = {0};
  while ((dw != NULL || db != NULL) && next_range(f->p, i, &g)) {
    uint32_t n = g.c1 - g.c0;
    uint32_t c0 = g.c0 + wn_share(m, n, m->id);
    uint32_t c1 = g.c0 + wn_share(m, n, m->id + 1);
    size_t row = g.first + (c0 - g.c0);
    if (dw != NULL) matrix_back(m, i, c0, c1, factor, dw + row * k);
    for (uint32_t r = 0; db != NULL && r < m->n_rows; r++)
      for (uint32_t c = c0; c < c1; c++)
        db[row + (c - c0)] += wn_grad(m, i, 0)[r * ldg + c];
  }
}

/* -- taps ----------------------------------------------------------------- */

static void tap_shape(const wn_prog *p, const wn_stage *st,
                      wn_tap_shape *shape) {
  *shape = (wn_tap_shape){p->widths[st->input], 1, 1};
}

/* Shows a tap the rows that this stage multiplied: this member's share of
 * the channels. The rows live until the stage ends (plan.c). */
static void watch(wn_member *m, wn_tap_item *t) {
  uint32_t c0 = wn_share(m, t->n, m->id), c1 = wn_share(m, t->n, m->id + 1);
  const wn_value_mem *vm = &m->f->plan->values[m->st->input];
  const float *base = wn_floats(m->f->arena, vm->off);
  for (uint32_t r = 0; r < m->n_rows; r++) {
    uint32_t at =
        m->st->wanted && !m->f->s->wanted[m->st->input] ? m->f->out_rows[r] : r;
    const float *x = base + (size_t)at * t->n;
    wn_tap_add(t, 0, x, c0, c1);
    if (t->rows != NULL && r < t->cap)
      memcpy(t->rows + (size_t)r * t->n + c0, x + c0, (c1 - c0) * sizeof *x);
  }
  if (m->id != 0) return;
  t->counts[0] += m->n_rows;
  t->n_rows = m->n_rows < t->cap ? m->n_rows : t->cap;
  t->starts[1] = t->n_rows;
}

const wn_op_desc wn_op_linear = {.name = "linear",
                                 .n_in = 1,
                                 .must = 1,
                                 .may = 6,
                                 .n_i = 4,
                                 .verify = verify,
                                 .place = place,
                                 .plan = plan,
                                 .plan_stage = plan_stage,
                                 .run = linear,
                                 .taps = {1},
                                 .tap_shape = tap_shape,
                                 .watch = watch,
                                 .back_of = 3,
                                 .back = back,
                                 .back_weights = back_weights};
