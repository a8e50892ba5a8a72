/* back.h - gradients: the program walked backwards.
 *
 * Every operation has its gradient beside it (op_*.c: back_row, back,
 * back_weights of its descriptor), in float32. The forward pass is the
 * ordinary one (exec.c) of a plan that multiplies exactly (exact.c), one
 * operation a stage, in which values live long enough. Gradients lie in a
 * second arena at the places of their values, and add up: whoever reads a
 * value adds to its gradient.
 *
 * The program is cut into segments, one for each layer (operations named
 * blk.N). What one segment makes and a later one reads is kept; all else
 * shares memory between segments and is computed again before a segment is
 * walked backwards. So memory is that of one layer and one row of width a
 * token for each layer, and the work of a step grows by a third.
 *
 * A step is one sequence from its first token on. Weights are frozen unless
 * asked for: only these have a gradient, added up over steps in a buffer of
 * their own. The gradient of any matrix's output and its input can be looked at
 * while its segment is the latest; nothing of the size of the model is
 * allocated. */
#ifndef WN_GRAPH_BACK_H
#define WN_GRAPH_BACK_H

#include "graph/op.h"

enum { WN_BACK_TILE = 64, WN_BACK_ROWS = 6 };

/* What the members of a step share. */
typedef struct wn_back {
  uint8_t *grads;        /* of values: places as in the arena */
  float *const *weights; /* of each weight: its gradient, or NULL */
  const uint8_t *needs;  /* of each value: is its gradient wanted? */
  float *tile; /* of each member: WN_BACK_TILE rows of the widest matrix */
  size_t tile_floats;
  const float *ones; /* n_tokens of them */
  float *shared;     /* scratch for all members together */
  float *own;        /* scratch of each member: own_floats */
  size_t own_floats;
} wn_back;

/* Operations op0 <= i < op1, in the stages stage0 <= s < stage1. */
typedef struct wn_segment {
  uint32_t op0, op1, stage0, stage1;
} wn_segment;

/* The segments of a program in its unfused schedule: one for each layer, or
 * a single one. until: of each value, the stage until which it must live;
 * clear: of each value, the segment before which its gradient is set to 0. All
 * three are arrays of n_ops; the number of segments is returned. */
uint32_t wn_back_segments(const wn_prog *p, const wn_sched *s, bool split,
                          wn_segment *segments, uint32_t *until,
                          uint32_t *clear);

/* Which values' gradients are wanted, when those of the weights with
 * asked[w] != 0 are; all: those of every matrix's output too. WN_EUNSUP naming
 * the operation when one of them has no gradient. */
int wn_back_needs(const wn_prog *p, const uint8_t *asked, bool all,
                  uint8_t *needs, wn_err *e);

/* Floats of a member's scratch for steps of n tokens. */
size_t wn_back_floats(const wn_prog *p, uint32_t n_tokens);
/* ... of what they share. */
size_t wn_back_shared(const wn_prog *p, uint32_t n_tokens);
/* Values of the widest row of a matrix. */
size_t wn_back_widest(const wn_prog *p);

/* All members together: sets the gradients to 0 that segment k is the first to
 * add to; the operations of a segment, the last one first. */
void wn_back_clear(wn_member *m, uint32_t k, const uint32_t *clear);
void wn_back_walk(wn_member *m, const wn_segment *segment);

/* The operation that fills the cache which attend operation i reads: i
 * itself, or an earlier one whose keys and values it shares. */
uint32_t wn_attend_source(const wn_prog *p, uint32_t i);

/* -- for op_*.c ------------------------------------------------------------ */

/* Row r of the gradient of v; the row of the gradient of input v that belongs
 * to row r of this stage. */
static inline float *wn_grad(const wn_member *m, uint32_t v, uint32_t r) {
  const wn_frame *f = m->f;
  float *base = wn_floats(f->back->grads, f->plan->values[v].off);
  return base + (size_t)r * f->p->widths[v];
}
static inline float *wn_grad_in(const wn_member *m, uint32_t v, uint32_t r) {
  if (m->st->wanted && !m->f->s->wanted[v]) r = m->f->out_rows[r];
  return wn_grad(m, v, r);
}
/* Is the gradient of v wanted? */
static inline bool wn_needs(const wn_member *m, uint32_t v) {
  return v != WN_NONE && m->f->back->needs[v];
}
/* The gradient of weight k of an operation, or NULL when nobody asked. */
static inline float *wn_grad_weight(const wn_member *m, const wn_op *op,
                                    int k) {
  return op->w[k] != WN_NONE ? m->f->back->weights[op->w[k]] : NULL;
}
/* This member's scratch. */
static inline float *wn_back_own(const wn_member *m) {
  return m->f->back->own + (size_t)m->id * m->f->back->own_floats;
}

/* dx += g W for rows w0 <= w < w1 of a matrix of k columns, scaled: row r of
 * the stage's n_rows has its g at g + r * ldg (value 0 belongs to row w0) and
 * its dx at place(arg, r). All members together; they meet afterwards, before
 * a product with another matrix adds to the same rows. */
void wn_back_through(wn_member *m, const wn_bound *w, const uint8_t *rows,
                     size_t k, size_t w0, size_t w1, float factor,
                     const float *g, size_t ldg,
                     float *(*place)(wn_member *m, const void *arg, uint32_t r),
                     const void *arg);
/* dw += factor g^T x for matrix rows w0 <= w < w1 of k columns: one row, of
 * this stage's row r. By one member. */
void wn_back_outer(const wn_member *m, float factor, const float *g,
                   const float *x, float *dw, size_t w0, size_t w1, size_t k);

/* Activations and their slopes as smooth functions (act.c): those that running
 * rounds to half precision are not rounded. */
float wn_act_value(wn_act kind, float x);
float wn_act_slope(wn_act kind, float x);
/* An activation, or a gated one, of n values: by the kernels, or, where the
 * frame is exact, as the smooth function that the slopes are of. */
void wn_activate(const wn_member *m, wn_act kind, const float *x, float *y,
                 uint32_t n);
void wn_activate_gate(const wn_member *m, wn_act kind, const float *gate,
                      const float *up, float *y, uint32_t n, float alpha,
                      float limit);
/* Slopes of a gated activation in gate and up (op_act.c). */
void wn_glu_slopes(wn_act kind, float g, float u, float alpha, float limit,
                   float slopes[2]);

#endif
