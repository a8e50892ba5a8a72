/* op_part.c - a part of a row; two rows joined head by head; sums of groups. */
#include <string.h>

#include "base/arith.h"
#include "graph/back.h"

static int verify_part(wn_checker *c) {
  uint32_t width = wn_in_width(c, 0), at = c->op->i[0], n = c->op->i[1];
  if (n == 0 || !wn_inside(at, n, width))
    return wn_bad(c, "values %u to %u of %u", at, at + n, width);
  return wn_make(c, n);
}

static void part(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r) + op->i[0];
  memcpy(wn_row(m, i, r) + c0, x + c0, (c1 - c0) * sizeof *x);
}

static void part_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  float *dx = wn_grad_in(m, op->in[0], r) + op->i[0];
  m->f->vec->add(dx, wn_grad(m, i, r), dx, m->f->p->widths[i]);
}

static int verify_join(wn_checker *c) {
  uint32_t x = wn_in_width(c, 0), y = wn_in_width(c, 1);
  uint32_t a = c->op->i[0], b = c->op->i[1];
  if (a == 0 || b == 0 || x % a != 0 ||
      (y != b && (y % b != 0 || y / b != x / a)))
    return wn_bad(c, "widths %u and %u, in heads of %u and %u", x, y, a, b);
  uint64_t width = (uint64_t)(x / a) * ((uint64_t)a + b);
  return wn_make(c, width > UINT32_MAX ? 0 : (uint32_t)width);
}

static void join(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  uint32_t a = op->i[0], b = op->i[1];
  const float *x = wn_row_in(m, op->in[0], r);
  const float *y = wn_row_in(m, op->in[1], r);
  bool shared = m->f->p->widths[op->in[1]] == b;
  float *to = wn_row(m, i, r);
  for (uint32_t c = c0; c < c1; c += a + b) {
    uint32_t head = c / (a + b);
    memcpy(to + c, x + (size_t)head * a, a * sizeof *x);
    memcpy(to + c + a, y + (shared ? 0 : (size_t)head * b), b * sizeof *y);
  }
}

static void join_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const wn_vec *vec = m->f->vec;
  uint32_t a = op->i[0], b = op->i[1], head = 0;
  bool shared = m->f->p->widths[op->in[1]] == b;
  const float *g = wn_grad(m, i, r);
  float *dx = wn_needs(m, op->in[0]) ? wn_grad_in(m, op->in[0], r) : NULL;
  float *dy = wn_needs(m, op->in[1]) ? wn_grad_in(m, op->in[1], r) : NULL;
  for (uint32_t c = 0; c < m->f->p->widths[i]; c += a + b, head++) {
    float *x = dx + (size_t)head * a;
    float *y = dy + (shared ? 0 : (size_t)head * b);
    if (dx != NULL) vec->add(x, g + c, x, a);
    if (dy != NULL) vec->add(y, g + c + a, y, b);
  }
}

/* Both on whole rows: an input's values stand elsewhere than their own. */
const wn_op_desc wn_op_part = {.name = "part",
                               .n_in = 1,
                               .n_i = 2,
                               .verify = verify_part,
                               .row = part,
                               .back_row = part_back};

const wn_op_desc wn_op_join = {.name = "join",
                               .n_in = 2,
                               .n_i = 2,
                               .verify = verify_join,
                               .row = join,
                               .back_row = join_back};

static int verify_sums(wn_checker *c) {
  uint32_t width = wn_in_width(c, 0), group = c->op->i[0];
  if (group == 0 || width % group != 0)
    return wn_bad(c, "width %u in groups of %u", width, group);
  return wn_make(c, width / group);
}

static void sums(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_op *op = &m->f->p->ops[i];
  const float *x = wn_row_in(m, op->in[0], r);
  float *to = wn_row(m, i, r);
  for (uint32_t c = c0; c < c1; c++)
    to[c] = m->f->vec->sum(x + (size_t)c * op->i[0], op->i[0]);
}

static void sums_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  const float *g = wn_grad(m, i, r);
  float *dx = wn_grad_in(m, op->in[0], r);
  for (uint32_t c = 0; c < m->f->p->widths[op->in[0]]; c++)
    dx[c] += g[c / op->i[0]];
}

const wn_op_desc wn_op_sums = {.name = "sums",
                               .n_in = 1,
                               .n_i = 1,
                               .verify = verify_sums,
                               .row = sums,
                               .back_row = sums_back};
