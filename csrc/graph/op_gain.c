/* op_gain.c - factors that belong to a sequence: how much of an adapter it
 * has. */
#include <string.h>

#include "graph/back.h"

/* More adapters than anybody has at once. */
#define MOST_GAINS 64

static int verify(wn_checker *c) {
  uint32_t k = c->op->i[0];
  if (k >= MOST_GAINS) return wn_bad(c, "factor %u of %d", k, MOST_GAINS);
  if (k >= c->p->n_gains) c->p->n_gains = k + 1;
  return wn_make(c, wn_in_width(c, 0));
}

/* Without the adapter nothing of it counts, infinities neither. */
static void gain(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  uint32_t seq = f->seq[wn_token_of(m, r)];
  float factor = f->gains[(size_t)seq * f->p->n_gains + op->i[0]];
  float *y = wn_row(m, i, r) + c0;
  if (factor != 0)
    f->vec->scale(factor * op->f[0], wn_row_in(m, op->in[0], r) + c0, y,
                  c1 - c0);
  else
    memset(y, 0, (c1 - c0) * sizeof *y);
}

static void gain_back(wn_member *m, uint32_t i, uint32_t r) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  uint32_t seq = f->seq[wn_token_of(m, r)];
  float factor = f->gains[(size_t)seq * f->p->n_gains + op->i[0]];
  if (factor == 0) return;
  f->vec->madd(factor * op->f[0], wn_grad(m, i, r), wn_grad_in(m, op->in[0], r),
               f->p->widths[i]);
}

const wn_op_desc wn_op_gain = {.name = "gain",
                               .n_in = 1,
                               .n_i = 1,
                               .n_f = 1,
                               .verify = verify,
                               .granule = wn_granule_any,
                               .row = gain,
                               .back_row = gain_back};
