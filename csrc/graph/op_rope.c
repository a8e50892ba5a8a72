/* op_rope.c - rotary positions: tables of cosines and sines for the tokens
 * of a step, and the rotation.
 *
 * Angles follow the usual recurrence, theta_(j+1) = theta_j * base^(-2/n) in
 * float32 from theta_0 = position, so that long contexts agree with other
 * implementations bit for bit. */
#include <math.h>

#include <string.h>

#include "graph/back.h"

static int verify(wn_checker *c) {
  int rc = WN_OK;
  uint32_t width = wn_in_width(c, 0), head = c->op->i[0], rot = c->op->i[1];
  const float *f = c->op->f;
  if (head == 0 || width % head != 0)
    return wn_bad(c, "heads of %u values in a row of %u", head, width);
  if (rot == 0 || rot % 2 != 0 || rot > head)
    return wn_bad(c, "rotates %u values, want an even number up to %u", rot,
                  head);
  if (!(f[0] > 0) || !(f[1] > 0) || !(f[3] > 0))
    return wn_bad(c, "base %g, scale %g, magnitude %g: want more than 0",
                  (double)f[0], (double)f[1], (double)f[3]);
  if (f[2] != 0 && (!(f[0] > 1) || !(f[4] > 0) || !(f[5] > 0) ||
                    c->op->i[2] == 0 || f[2] < 0 || f[2] > 1))
    return wn_bad(c,
                  "YaRN with base %g, bounds %g and %g, strength %g, "
                  "original context %u",
                  (double)f[0], (double)f[4], (double)f[5], (double)f[2],
                  c->op->i[2]);
  bool axes = c->op->kind == WN_ROPE_MROPE || c->op->kind == WN_ROPE_IMROPE;
  if ((c->op->i[3] != 0) != axes)
    return wn_bad(c, "sections %#x of axes", c->op->i[3]);
  if (c->op->w[1] != WN_NONE && c->op->w[0] == WN_NONE)
    return wn_bad(c, "long factors without short ones");
  for (int k = 0; k < 2 && rc == WN_OK; k++)
    rc = wn_check_vector(c, k, rot / 2);
  return rc == WN_OK ? wn_make(c, width) : rc;
}

/* -- planning ------------------------------------------------------------- */

/* Do two operations turn alike? They share a table. */
static bool same_table(const wn_op *a, const wn_op *b) {
  if (a->i[3] != b->i[3] || (a->i[3] != 0 && a->kind != b->kind)) return false;
  return a->i[1] == b->i[1] && a->i[2] == b->i[2] && a->w[0] == b->w[0] &&
         a->w[1] == b->w[1] && memcmp(a->f, b->f, sizeof a->f) == 0;
}

static void plan(wn_planner *pl, uint32_t i) {
  wn_plan *plan = wn_planner_plan(pl);
  const wn_op *ops = wn_planner_prog(pl)->ops;
  uint32_t t = 0, rot = ops[i].i[1];
  while (t < plan->n_ropes && !same_table(&ops[i], &ops[plan->ropes[t]]))
    t++;
  plan->rope_of[i] = t;
  if (t < plan->n_ropes) return;
  plan->ropes[plan->n_ropes++] = i;
  uint64_t rows = wn_planner_opts(pl)->n_batch;
  wn_plan_arena(pl, wn_plan_floats(pl, rows, rot), &plan->rope_off[t]);
  wn_plan_member(pl, wn_plan_floats(pl, WN_NARROW_ROWS, rot),
                 &plan->rope_own[t]);
}

static uint32_t granule(const wn_prog *p, const wn_op *op) {
  (void)p;
  return op->i[0];
}

/* -- tables --------------------------------------------------------------- */

/* Where YaRN's ramp begins and ends, in dimensions. `turns` full turns over
 * the original context: d with n_ctx = turns * 2 pi * base^(2d/n). */
static float ramp_edge(float n_rot, float n_ctx, float turns, float base) {
  return n_rot * logf(n_ctx / (turns * 2.0f * 3.14159265358979323846f)) /
         (2.0f * logf(base));
}

typedef struct yarn {
  float low, high, strength, scale, magnitude;
} yarn;

static yarn yarn_of(const wn_op *op) {
  const float *f = op->f;
  yarn y = {0, 0, f[2], f[1], f[3]};
  if (f[2] == 0) return y;
  float n = (float)op->i[1], ctx = (float)op->i[2];
  y.low = fmaxf(0, floorf(ramp_edge(n, ctx, f[4], f[0])));
  y.high = fminf(n - 1, ceilf(ramp_edge(n, ctx, f[5], f[0])));
  y.magnitude *= 1.0f + 0.1f * logf(1.0f / f[1]);
  return y;
}

/* Cosine and sine of pair j at the unscaled angle. */
static void turn(const yarn *y, float angle, uint32_t j, float *cs) {
  float theta = y->scale * angle;
  if (y->strength != 0) {
    float along = ((float)j - y->low) / fmaxf(0.001f, y->high - y->low);
    float mix = (1.0f - fminf(1, fmaxf(0, along))) * y->strength;
    theta = theta * (1.0f - mix) + angle * mix;
  }
  cs[0] = cosf(theta) * y->magnitude;
  cs[1] = sinf(theta) * y->magnitude;
}

static const float *factors_of(const wn_frame *f, const wn_op *op) {
  uint32_t w = op->w[0];
  if (op->w[1] != WN_NONE && f->long_rope) w = op->w[1];
  return w == WN_NONE ? NULL : f->bound[w].vec;
}

/* Does pair j turn? Of several axes the first three have a text token's
 * position and the fourth has 0: its pairs stay. Sections say how many pairs
 * an axis has, one after the other (mrope) or taking turns (imrope), over and
 * over. */
static bool turns(const wn_op *op, uint32_t j) {
  uint32_t n[4], all = 0;
  if (op->i[3] == 0) return true;
  for (int k = 0; k < 4; k++)
    all += n[k] = op->i[3] >> (8 * k) & 255;
  uint32_t at = j % all;
  if (op->kind == WN_ROPE_MROPE) return at < n[0] + n[1] + n[2];
  return at < 3 * n[at % 3];
}

/* The table's row for a position: n_rot floats. */
static void fill_row(const wn_frame *f, const wn_op *op, const yarn *y,
                     float theta, float *cs) {
  const float *factors = factors_of(f, op);
  float step = powf(op->f[0], -2.0f / (float)op->i[1]);
  for (uint32_t j = 0; j < op->i[1] / 2; j++) {
    float angle = turns(op, j) ? theta : 0;
    turn(y, factors != NULL ? angle / factors[j] : angle, j, cs + 2 * j);
    theta *= step;
  }
}

static void table_row(const wn_frame *f, const wn_op *op, uint32_t pos,
                      float *cs) {
  yarn y = yarn_of(op);
  fill_row(f, op, &y, (float)pos, cs);
}

void wn_rope_table_by(const wn_frame *f, const wn_op *op, int32_t by,
                      float *cs) {
  yarn y = yarn_of(op);
  y.magnitude = 1; /* angles add up, magnitudes would multiply */
  fill_row(f, op, &y, (float)by, cs);
}

void wn_rope_turn(const wn_frame *f, const wn_op *op, const float *cs,
                  float *x) {
  if (op->kind == WN_ROPE_NORMAL)
    f->vec->rope_normal(cs, x, x, op->i[1]);
  else
    f->vec->rope_neox(cs, x, x, op->i[1]);
}

/* With few tokens each member makes tables for itself (own); with many the
 * tokens are divided. */
void wn_rope_tables(wn_member *m, bool own) {
  const wn_frame *f = m->f;
  uint32_t n = f->n_tokens;
  if (own && n > WN_NARROW_ROWS) return;
  uint32_t first = own ? 0 : wn_share(m, n, m->id);
  uint32_t end = own ? n : wn_share(m, n, m->id + 1);
  for (uint32_t t = 0; t < f->plan->n_ropes; t++) {
    const wn_op *op = &f->p->ops[f->plan->ropes[t]];
    float *table = own ? wn_floats(m->mem, f->plan->rope_own[t])
                       : wn_floats(f->arena, f->plan->rope_off[t]);
    for (uint32_t i = first; i < end; i++)
      table_row(f, op, f->pos[i], table + (size_t)i * op->i[1]);
  }
}

/* Cosines and sines of operation i for row r of the stage. */
static const float *turns_of(const wn_member *m, uint32_t i, uint32_t r) {
  const wn_frame *f = m->f;
  uint32_t t = f->plan->rope_of[i];
  const float *table = f->n_tokens <= WN_NARROW_ROWS
                           ? wn_floats(m->mem, f->plan->rope_own[t])
                           : wn_floats(f->arena, f->plan->rope_off[t]);
  return table + (size_t)wn_token_of(m, r) * f->p->ops[i].i[1];
}

static void rope(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  uint32_t head = op->i[0], rot = op->i[1];
  const float *cs = turns_of(m, i, r);
  const float *x = wn_row_in(m, op->in[0], r);
  float *y = wn_row(m, i, r);
  for (uint32_t c = c0; c < c1; c += head) {
    if (op->kind == WN_ROPE_NORMAL)
      f->vec->rope_normal(cs, x + c, y + c, rot);
    else
      f->vec->rope_neox(cs, x + c, y + c, rot);
    for (uint32_t k = rot; k < head; k++)
      y[c + k] = x[c + k];
  }
}

/* The other way round. */
static void rope_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_op *op = &m->f->p->ops[i];
  uint32_t head = op->i[0], rot = op->i[1];
  bool normal = op->kind == WN_ROPE_NORMAL;
  const float *cs = turns_of(m, i, r), *g = wn_grad(m, i, r);
  float *dx = wn_grad_in(m, op->in[0], r);
  for (uint32_t c = 0; c < m->f->p->widths[i];
       c += head, g += head, dx += head) {
    for (uint32_t j = 0; j < rot / 2; j++) {
      uint32_t a = normal ? 2 * j : j, b = normal ? 2 * j + 1 : j + rot / 2;
      dx[a] += g[a] * cs[2 * j] + g[b] * cs[2 * j + 1];
      dx[b] += g[b] * cs[2 * j] - g[a] * cs[2 * j + 1];
    }
    for (uint32_t k = rot; k < head; k++)
      dx[k] += g[k];
  }
}

static const char *const kinds[] = {"normal", "neox", "mrope", "imrope"};

const wn_op_desc wn_op_rope = {.name = "rope",
                               .kinds = kinds,
                               .n_kinds = WN_N_ROPE,
                               .n_in = 1,
                               .may = 3,
                               .n_i = 4,
                               .n_f = 6,
                               .verify = verify,
                               .granule = granule,
                               .plan = plan,
                               .row = rope,
                               .back_row = rope_back};
