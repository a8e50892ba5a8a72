/* op_conv.c - causal convolution over the tokens of a sequence, channel by
 * channel.
 *
 *   y[t][c] = sum over k < taps of w[c][k] * x[t - taps + 1 + k][c] (+ bias[c])
 *
 * The last taps - 1 rows before a batch are the sequence's state (zeros at its
 * start). Kind shift has no weights: y[t] is x[t - 1]. Members divide the
 * channels; each walks its channels of a sequence token by token, so a result
 * never depends on how the sequence was cut into batches. */
#include <string.h>

#include "base/limits.h"
#include "graph/back.h"

enum { CONV, SHIFT, N_KINDS };
enum { MAX_TAPS = 16, WEIGHT = 0, BIAS = 1 };

static int verify(wn_checker *c) {
  uint32_t width = wn_in_width(c, 0), taps = c->op->i[1];
  bool shift = c->op->kind == SHIFT;
  if (taps < 2 || taps > MAX_TAPS || (shift && taps != 2))
    return wn_bad(c, "%u taps, want %s", taps, shift ? "2" : "2 to 16");
  if (shift != (c->op->w[WEIGHT] == WN_NONE))
    return wn_bad(c, "a shift has no weights, a convolution has");
  if (shift && c->op->w[BIAS] != WN_NONE)
    return wn_bad(c, "a shift has no bias");
  int rc = wn_check_vector(c, WEIGHT, (uint64_t)width * taps);
  if (rc == WN_OK) rc = wn_check_vector(c, BIAS, width);
  if (rc != WN_OK) return rc;
  wn_slot slot = {.keep = WN_KEEP_STATE, .n_state = width * (taps - 1)};
  rc = wn_check_slot(c, slot);
  return rc == WN_OK ? wn_make(c, width) : rc;
}

/* In a member's memory, made anew for each stage, it is small: the weights
 * turned, a row for each tap, so that channels are neighbours; a row of zeros.
 */
static void plan(wn_planner *pl, uint32_t i) {
  const wn_prog *p = wn_planner_prog(pl);
  const wn_op *op = &p->ops[i];
  wn_plan_member(pl, wn_plan_floats(pl, op->i[1] + 1, p->widths[i]),
                 &wn_planner_plan(pl)->conv_own);
}

/* One member's channels c0 <= c < c1. */
typedef struct conv {
  wn_member *m;
  const wn_op *op;
  uint32_t id, width, taps, c0, c1;
  const float *weights; /* taps rows of c1 - c0 */
} conv;

static void turn_weights(const conv *v, float *to) {
  const float *w = v->m->f->bound[v->op->w[WEIGHT]].vec;
  for (uint32_t c = v->c0; c < v->c1; c++)
    for (uint32_t k = 0; k < v->taps; k++)
      to[k * (v->c1 - v->c0) + c - v->c0] = w[(size_t)c * v->taps + k];
}

/* y of one token from the rows x[0] .. x[taps - 1], oldest first. */
static void one_token(const conv *v, const float *const *x, float *y) {
  const wn_vec *vec = v->m->f->vec;
  uint32_t n = v->c1 - v->c0;
  if (v->op->kind == SHIFT) {
    memcpy(y + v->c0, x[0] + v->c0, n * sizeof *y);
    return;
  }
  vec->mul(v->weights, x[0] + v->c0, y + v->c0, n);
  for (uint32_t k = 1; k < v->taps; k++)
    vec->mul_add(v->weights + k * n, x[k] + v->c0, y + v->c0, n);
  if (v->op->w[BIAS] != WN_NONE)
    vec->add(y + v->c0, v->m->f->bound[v->op->w[BIAS]].vec + v->c0, y + v->c0,
             n);
}

/* All tokens of the sequence whose first one in the batch is `first`. */
static void one_run(const conv *v, uint32_t first, const float *zeros) {
  const wn_frame *f = v->m->f;
  uint32_t slot = v->op->i[0], past = v->taps - 1;
  const float *old = wn_state_old(f, slot, first);
  float *fresh = wn_state_new(f, slot, first);
  const float *x[MAX_TAPS];
  for (uint32_t k = 0; k < past; k++)
    x[k] = old != NULL ? old + (size_t)k * v->width : zeros;
  for (uint32_t t = first; t != WN_NONE; t = f->follow[t]) {
    x[past] = wn_row_in(v->m, v->op->in[0], t);
    one_token(v, x, wn_row(v->m, v->id, t));
    memmove(x, x + 1, past * sizeof *x);
  }
  for (uint32_t k = 0; k < past; k++)
    memcpy(fresh + (size_t)k * v->width + v->c0, x[k] + v->c0,
           (v->c1 - v->c0) * sizeof *fresh);
}

static void run(wn_member *m) {
  const wn_frame *f = m->f;
  conv v = {.m = m, .op = &f->p->ops[m->st->op], .id = m->st->op};
  v.width = f->p->widths[v.id];
  v.taps = v.op->i[1];
  v.c0 = wn_share(m, v.width, m->id);
  v.c1 = wn_share(m, v.width, m->id + 1);
  if (v.c0 == v.c1) return;
  float *own = wn_floats(m->mem, f->plan->conv_own);
  float *zeros = own + (size_t)v.taps * v.width;
  if (v.op->kind == CONV) turn_weights(&v, own);
  memset(zeros, 0, v.width * sizeof *zeros);
  v.weights = own;
  for (uint32_t k = 0; k < f->n_runs; k++)
    one_run(&v, f->runs[k], zeros);
}

/* -- gradients ------------------------------------------------------------ */

/* dx of token t from the rows that its taps reach; members divide the
 * channels. A step holds one sequence from its start. */
static void back(wn_member *m, uint32_t i) {
  const wn_op *op = &m->f->p->ops[i];
  bool shift = op->kind == SHIFT;
  const float *w = shift ? NULL : m->f->bound[op->w[WEIGHT]].vec;
  uint32_t n = m->f->p->widths[i], taps = op->i[1], in = op->in[0];
  uint32_t c0 = wn_share(m, n, m->id), c1 = wn_share(m, n, m->id + 1);
  for (uint32_t t = 0; wn_needs(m, in) && t < m->n_rows; t++)
    for (uint32_t k = 0; k < (shift ? 1 : taps); k++) {
      uint32_t from = t + taps - 1 - k;
      if (from >= m->n_rows) continue;
      const float *g = wn_grad(m, i, from);
      float *dx = wn_grad_in(m, in, t);
      for (uint32_t c = c0; c < c1; c++)
        dx[c] += shift ? g[c] : g[c] * w[(size_t)c * taps + k];
    }
}

static void back_weights(wn_member *m, uint32_t i) {
  const wn_op *op = &m->f->p->ops[i];
  float *dw = wn_grad_weight(m, op, WEIGHT), *db = wn_grad_weight(m, op, BIAS);
  uint32_t n = m->f->p->widths[i], taps = op->i[1];
  uint32_t c0 = wn_share(m, n, m->id), c1 = wn_share(m, n, m->id + 1);
  for (uint32_t t = 0; t < m->n_rows; t++) {
    const float *g = wn_grad(m, i, t);
    for (uint32_t c = c0; db != NULL && c < c1; c++)
      db[c] += g[c];
    for (uint32_t k = 0; dw != NULL && k < taps; k++) {
      if (t + k + 1 < taps) continue; /* before the sequence */
      const float *x = wn_row_in(m, op->in[0], t + k + 1 - taps);
      for (uint32_t c = c0; c < c1; c++)
        dw[(size_t)c * taps + k] += g[c] * x[c];
    }
  }
}

static const char *const kinds[] = {"conv", "shift"};

const wn_op_desc wn_op_conv = {.name = "conv",
                               .kinds = kinds,
                               .n_kinds = N_KINDS,
                               .n_in = 1,
                               .may = 3,
                               .n_i = 2,
                               .all_rows = true,
                               .recurrent = true,
                               .verify = verify,
                               .place = wn_fuse_alone,
                               .plan = plan,
                               .plan_stage = wn_plan_alone,
                               .run = run,
                               .back_of = 3,
                               .back = back,
                               .back_weights = back_weights};
