/* op_rope.c - rotary positions: tables of cosines and sines for the tokens
 * of a step, and the rotation.
 *
 * Angles follow the usual recurrence, theta_(j+1) = theta_j * base^(-2/n) in
 * float32 from theta_0 = position, so that long contexts agree with other
 * implementations bit for bit. */
#include <math.h>

#include "graph/exec.h"

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

/* The table's row for one position: n_rot floats. */
static void table_row(const wn_frame *f, const wn_op *op, uint32_t pos,
                      float *cs) {
  yarn y = yarn_of(op);
  const float *factors = factors_of(f, op);
  float step = powf(op->f[0], -2.0f / (float)op->i[1]), theta = (float)pos;
  for (uint32_t j = 0; j < op->i[1] / 2; j++) {
    turn(&y, factors != NULL ? theta / factors[j] : theta, j, cs + 2 * j);
    theta *= step;
  }
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

void wn_rope(wn_member *m, const wn_op *op, uint32_t i, uint32_t r, uint32_t c0,
             uint32_t c1) {
  const wn_frame *f = m->f;
  uint32_t t = f->plan->rope_of[i], head = op->i[0], rot = op->i[1];
  const float *table = f->n_tokens <= WN_NARROW_ROWS
                           ? wn_floats(m->mem, f->plan->rope_own[t])
                           : wn_floats(f->arena, f->plan->rope_off[t]);
  const float *cs = table + (size_t)wn_token_of(m, r) * rot;
  const float *x = wn_row_in(m, op->in[0], r);
  float *y = wn_row(m, i, r);
  for (uint32_t c = c0; c < c1; c += head) {
    if (op->kind == WN_ROPE_NEOX)
      f->vec->rope_neox(cs, x + c, y + c, rot);
    else
      f->vec->rope_normal(cs, x + c, y + c, rot);
    for (uint32_t k = rot; k < head; k++)
      y[c + k] = x[c + k];
  }
}
