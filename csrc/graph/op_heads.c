/* op_heads.c - each head of a row times a matrix of its own.
 *
 * The matrix w[0] is rows x columns x heads: head h of x, of as many values as
 * its rows are long, gives as many values as it has rows. A unit of work is
 * one head. */
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "graph/back.h"
#include "kern/kern.h"

static int verify(wn_checker *c) {
  const wn_weight *w = wn_weight_of(c, 0);
  uint32_t width = wn_in_width(c, 0), n = c->op->i[0];
  if (n == 0 || n > (uint32_t)WN_MAX_HEADS || width % n != 0)
    return wn_bad(c, "width %u in %u heads", width, n);
  int rc = wn_check_matrix(c, 0, width / n, w->ne[1], n);
  if (rc == WN_OK) rc = wn_check_vector(c, 1, 1);
  uint64_t all = (uint64_t)w->ne[1] * n;
  if (rc != WN_OK) return rc;
  return wn_make(c, all > UINT32_MAX ? 0 : (uint32_t)all);
}

static int place(wn_fuser *f, uint32_t i, bool wanted) {
  wn_stage *st = wn_fuse_open(f, WN_STAGE_MAIN, wanted);
  if (st == NULL) return WN_ENOMEM;
  st->op = i;
  st->input = wn_fuse_prog(f)->ops[i].in[0];
  wn_fuse_made(f, i);
  return wn_fuse_close(f);
}

static uint32_t head_width(const wn_prog *p, const wn_op *op) {
  return p->widths[op->in[0]] / op->i[0];
}

static void plan(wn_planner *pl, uint32_t i) {
  (void)i;
  wn_plan_member(pl, wn_mm_scratch_bytes(), &wn_planner_plan(pl)->scratch_own);
}

/* Each member packs the heads that it multiplies, for itself. */
static void plan_stage(wn_planner *pl, const wn_stage *st, uint32_t stage) {
  const wn_prog *p = wn_planner_prog(pl);
  const wn_op *op = &p->ops[st->op];
  wn_plan_value(pl, st->op, stage, false);
  uint32_t rows = wn_plan_stage_rows(pl, st);
  wn_plan_pack(pl, stage, op->w[0], head_width(p, op), 1, rows);
}

static void one_head(wn_member *m, uint32_t head) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[m->st->op];
  const wn_bound *w = &f->bound[op->w[0]];
  const wn_pack_mem *pm = wn_find_pack(m->sm, wn_mm_pack_kind(w->type));
  uint32_t k = head_width(f->p, op), n = f->p->weights[op->w[0]].ne[1];
  size_t ldy = f->p->widths[m->st->op];
  float *y = wn_row(m, m->st->op, 0) + (size_t)head * n;
  uint8_t *pack = m->mem + pm->own;
  for (uint32_t r = 0; r < m->n_rows; r++)
    wn_pack(m, pm, wn_row_in(m, op->in[0], r) + (size_t)head * k, k, r,
            m->n_rows, pack);
  wn_multiply(m, w, w->data + head * w->matrix_bytes, k, 0, n, pack, m->n_rows,
              0, m->n_rows, y, ldy);
  if (op->w[1] == WN_NONE) return;
  for (uint32_t r = 0; r < m->n_rows; r++, y += ldy)
    f->vec->scale(f->bound[op->w[1]].vec[0], y, y, n);
}

static void run(wn_member *m) {
  uint32_t n = m->f->p->ops[m->st->op].i[0];
  wn_do_prologues(m);
  for (;;) {
    uint64_t head = (uint64_t)wn_team_next(m->team);
    if (head >= n) return;
    one_head(m, (uint32_t)head);
  }
}

/* -- taps: heads as experts, each of which sees all rows ------------------- */

static void tap_shape(const wn_prog *p, const wn_stage *st,
                      wn_tap_shape *shape) {
  const wn_op *op = &p->ops[st->op];
  *shape = (wn_tap_shape){head_width(p, op), op->i[0], op->i[0]};
}

static void watch(wn_member *m, wn_tap_item *t) {
  const wn_op *op = &m->f->p->ops[m->st->op];
  uint32_t n = op->i[0], end = wn_share(m, n, m->id + 1);
  for (uint32_t h = wn_share(m, n, m->id); h < end; h++)
    for (uint32_t r = 0; r < m->n_rows; r++) {
      const float *x = wn_row_in(m, op->in[0], r) + (size_t)h * t->n;
      uint32_t row = h * m->n_rows + r;
      wn_tap_add(t, h, x, 0, t->n);
      if (t->rows != NULL && row < t->cap)
        memcpy(t->rows + (size_t)row * t->n, x, t->n * sizeof *x);
    }
  if (m->id != 0) return;
  for (uint32_t h = 0; h <= n; h++) {
    if (h < n) t->counts[h] += m->n_rows;
    t->starts[h] = h * m->n_rows < t->cap ? h * m->n_rows : t->cap;
  }
  t->n_rows = t->starts[n];
}

/* -- gradients ------------------------------------------------------------ */

typedef struct head_of {
  uint32_t in;
  size_t at; /* of its values in a row */
} head_of;

static float *place_head(wn_member *m, const void *arg, uint32_t r) {
  const head_of *h = arg;
  return wn_grad_in(m, h->in, r) + h->at;
}

static void back(wn_member *m, uint32_t i) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  const wn_bound *w = &f->bound[op->w[0]];
  uint32_t k = head_width(f->p, op), n = f->p->weights[op->w[0]].ne[1];
  float factor = op->w[1] != WN_NONE ? f->bound[op->w[1]].vec[0] : 1;
  for (uint32_t h = 0; wn_needs(m, op->in[0]) && h < op->i[0]; h++) {
    head_of arg = {op->in[0], (size_t)h * k};
    wn_back_through(m, w, w->data + h * w->matrix_bytes, k, 0, n, factor,
                    wn_grad(m, i, 0) + (size_t)h * n, f->p->widths[i],
                    place_head, &arg);
  }
}

/* Members divide the heads. */
static void back_weights(wn_member *m, uint32_t i) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  float *dw = wn_grad_weight(m, op, 0);
  size_t k = head_width(f->p, op), n = f->p->weights[op->w[0]].ne[1];
  float factor = op->w[1] != WN_NONE ? f->bound[op->w[1]].vec[0] : 1;
  uint32_t end = wn_share(m, op->i[0], m->id + 1);
  for (uint32_t h = wn_share(m, op->i[0], m->id); dw != NULL && h < end; h++)
    for (uint32_t r = 0; r < m->n_rows; r++)
      wn_back_outer(m, factor, wn_grad(m, i, r) + h * n,
                    wn_row_in(m, op->in[0], r) + h * k, dw + h * n * k, 0, n,
                    k);
}

const wn_op_desc wn_op_heads = {.name = "heads",
                                .n_in = 1,
                                .must = 1,
                                .may = 2,
                                .n_i = 1,
                                .verify = verify,
                                .place = place,
                                .plan = plan,
                                .plan_stage = plan_stage,
                                .run = run,
                                .taps = {1},
                                .tap_shape = tap_shape,
                                .watch = watch,
                                .back_of = 1,
                                .back = back,
                                .back_weights = back_weights};
