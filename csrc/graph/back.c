/* back.c - see back.h: segments, the walk, products with matrices turned. */
#include "graph/back.h"

#include <stdlib.h>
#include <string.h>

/* -- segments ------------------------------------------------------------- */

/* The layer of an operation by its name, blk.N, or -1. */
static long layer_of(const wn_prog *p, uint32_t i) {
  const char *name = wn_prog_str(p, p->ops[i].name);
  if (strncmp(name, "blk.", 4) != 0) return -1;
  return strtol(name + 4, NULL, 10);
}

/* Calls visit for every value that operation i reads, through a cache too. */
static void each_read(const wn_prog *p, uint32_t i,
                      void (*visit)(void *arg, uint32_t v), void *arg) {
  const wn_op *op = &p->ops[i];
  uint32_t from = i;
  for (int k = 0; k < WN_OP_INS; k++)
    if (op->in[k] != WN_NONE) visit(arg, op->in[k]);
  if (op->code == WN_OP_ATTEND) from = wn_attend_source(p, i);
  for (int k = 1; k < WN_OP_INS && from != i; k++)
    if (p->ops[from].in[k] != WN_NONE) visit(arg, p->ops[from].in[k]);
}

typedef struct reader {
  uint32_t segment;
  uint32_t *last;
} reader;

static void note(void *arg, uint32_t v) {
  reader *r = arg;
  r->last[v] = r->segment;
}

/* Cuts where the layer's number grows. Operations without one belong to the
 * segment before them. */
static uint32_t cut(const wn_prog *p, const wn_sched *s, bool split,
                    wn_segment *to) {
  uint32_t n = 0, stage = 0;
  long layer = -1;
  for (uint32_t i = 0; i < p->n_ops; i++) {
    long own = layer_of(p, i);
    if (i == 0 || (split && own > layer)) {
      to[n++] = (wn_segment){.op0 = i, .stage0 = stage};
      if (own > layer) layer = own;
    }
    stage = s->stage_of[i] + 1;
    to[n - 1].op1 = i + 1;
    to[n - 1].stage1 = stage;
  }
  return n;
}

uint32_t wn_back_segments(const wn_prog *p, const wn_sched *s, bool split,
                          wn_segment *segments, uint32_t *until,
                          uint32_t *clear) {
  uint32_t n = cut(p, s, split, segments);
  for (uint32_t k = 0; k < n; k++)
    for (uint32_t i = segments[k].op0; i < segments[k].op1; i++)
      clear[i] = k;
  for (uint32_t k = 0; k < n; k++)
    for (uint32_t i = segments[k].op0; i < segments[k].op1; i++) {
      reader r = {k, clear};
      each_read(p, i, note, &r);
    }
  for (uint32_t k = 0; k < n; k++)
    for (uint32_t i = segments[k].op0; i < segments[k].op1; i++)
      until[i] = clear[i] == k ? segments[k].stage1 - 1 : s->n_stages;
  clear[p->result] = n; /* by whoever has the loss */
  return n;
}

/* -- what is wanted ------------------------------------------------------- */

uint32_t wn_attend_source(const wn_prog *p, uint32_t i) {
  while (i > 0 && p->ops[i].in[1] == WN_NONE) {
    uint32_t slot = p->ops[i].i[0], k = i;
    while (k-- > 0)
      if (p->ops[k].code == WN_OP_ATTEND && p->ops[k].i[0] == slot) break;
    if (k == UINT32_MAX) break;
    i = k;
  }
  return i;
}

typedef struct needer {
  const uint8_t *needs;
  bool any;
} needer;

static void note_needed(void *arg, uint32_t v) {
  needer *n = arg;
  n->any |= n->needs[v] != 0;
}

static int unsupported(const wn_prog *p, uint32_t i, const char *what,
                       wn_err *e) {
  return wn_fail(e, WN_EUNSUP, "op %u (%s %.150s): no gradient%s%.150s", i,
                 wn_op_name(p->ops[i].code), wn_prog_str(p, p->ops[i].name),
                 what != NULL ? " of " : "", what != NULL ? what : "");
}

/* The weights of operation i that are asked for. */
static int check_weights(const wn_prog *p, uint32_t i, const uint8_t *asked,
                         bool *any, wn_err *e) {
  const wn_op *op = &p->ops[i];
  const wn_op_desc *d = wn_desc(p, i);
  for (int k = 0; k < WN_OP_WEIGHTS; k++) {
    if (op->w[k] == WN_NONE || !asked[op->w[k]]) continue;
    *any = true;
    if ((d->back_of >> k & 1) == 0)
      return unsupported(p, i, wn_prog_str(p, p->weights[op->w[k]].name), e);
  }
  return WN_OK;
}

int wn_back_needs(const wn_prog *p, const uint8_t *asked, bool all,
                  uint8_t *needs, wn_err *e) {
  for (uint32_t i = 0; i < p->n_ops; i++) {
    const wn_op_desc *d = wn_desc(p, i);
    needer n = {needs, false};
    bool own = all && p->ops[i].code == WN_OP_LINEAR;
    int rc = check_weights(p, i, asked, &own, e);
    if (rc != WN_OK) return rc;
    each_read(p, i, note_needed, &n);
    if (n.any && d->back == NULL && d->back_row == NULL)
      return unsupported(p, i, NULL, e);
    needs[i] = own || n.any;
  }
  return WN_OK;
}

size_t wn_back_floats(const wn_prog *p, uint32_t n_tokens) {
  size_t n = (size_t)WN_BACK_ROWS * n_tokens, most = 0;
  for (uint32_t i = 0; i < p->n_ops; i++)
    if (p->widths[i] > most) most = p->widths[i];
  n = n > 4 * most ? n : 4 * most;
  for (uint32_t i = 0; i < p->n_ops; i++) {
    const wn_op_desc *d = wn_desc(p, i);
    size_t own =
        d->back_floats != NULL ? d->back_floats(&p->ops[i], n_tokens) : 0;
    if (own > n) n = own;
  }
  return (n + 15) / 16 * 16;
}

size_t wn_back_shared(const wn_prog *p, uint32_t n_tokens) {
  size_t most = 0;
  for (uint32_t i = 0; i < p->n_ops; i++) {
    const wn_op_desc *d = wn_desc(p, i);
    size_t n =
        d->back_shared != NULL ? d->back_shared(p, &p->ops[i], n_tokens) : 0;
    if (n > most) most = n;
  }
  return most;
}

size_t wn_back_widest(const wn_prog *p) {
  size_t most = 1;
  for (uint32_t i = 0; i < p->n_weights; i++)
    if (p->weights[i].matrix && p->weights[i].ne[0] > most)
      most = p->weights[i].ne[0];
  return most;
}

/* -- the walk ------------------------------------------------------------- */

void wn_back_clear(wn_member *m, uint32_t k, const uint32_t *clear) {
  const wn_frame *f = m->f;
  for (uint32_t v = 0; v < f->p->n_ops; v++) {
    if (clear[v] != k || !f->back->needs[v]) continue;
    uint32_t n = f->s->wanted[v] ? f->n_out : f->n_tokens;
    uint32_t r0 = wn_share(m, n, m->id), r1 = wn_share(m, n, m->id + 1);
    memset(wn_grad(m, v, r0), 0,
           (size_t)(r1 - r0) * f->p->widths[v] * sizeof(float));
  }
  wn_meet(m);
}

/* One operation: all members, who have met and meet again. */
static void walk_op(wn_member *m, uint32_t i) {
  const wn_frame *f = m->f;
  const wn_op_desc *d = wn_desc(f->p, i);
  m->stage = f->s->stage_of[i];
  m->st = &f->s->stages[m->stage];
  m->sm = &f->plan->stages[m->stage];
  m->n_rows = m->st->wanted ? f->n_out : f->n_tokens;
  m->narrow = false;
  if (d->back_row != NULL) {
    uint32_t end = wn_share(m, m->n_rows, m->id + 1);
    for (uint32_t r = wn_share(m, m->n_rows, m->id); r < end; r++)
      d->back_row(m, i, r);
  }
  if (d->back != NULL) d->back(m, i);
  if (d->back_weights != NULL) {
    if (d->back != NULL) wn_meet(m);
    d->back_weights(m, i);
  }
  wn_meet(m);
}

void wn_back_walk(wn_member *m, const wn_segment *segment) {
  wn_rope_tables(m, true);
  for (uint32_t i = segment->op1; i-- > segment->op0;)
    if (m->f->back->needs[i]) walk_op(m, i);
}

/* -- products ------------------------------------------------------------- */

/* What a member does of a product: columns c0 <= c < c1 of dx, for the rows r0
 * <= r < r1. Columns are divided first, at whole blocks, so that nothing is
 * decoded twice; where there are too few of them, rows are too. No barriers: on
 * a busy machine they cost more than the work between. */
typedef struct part {
  size_t c0, c1;
  uint32_t r0, r1;
} part;

static part part_of(const wn_member *m, const wn_bound *w, size_t k) {
  size_t block = wn_type(w->type)->block, step = block > 64 ? block : 64;
  size_t n = k % step == 0 ? k / step : 1;
  size_t columns = n < (size_t)m->n ? n : (size_t)m->n;
  size_t rows = (size_t)m->n / columns, id = (size_t)m->id;
  part p = {0, 0, 0, 0};
  if (id >= columns * rows) return p;
  size_t at = id % columns, r = id / columns;
  p.c0 = n * at / columns * (k / n);
  p.c1 = n * (at + 1) / columns * (k / n);
  p.r0 = (uint32_t)(m->n_rows * r / rows);
  p.r1 = (uint32_t)(m->n_rows * (r + 1) / rows);
  return p;
}

/* The columns of matrix rows w0 <= w < w1 into the tile. */
static void load_tile(const wn_member *m, const wn_bound *w,
                      const uint8_t *rows, const part *p, size_t w0, size_t w1,
                      float factor, float *tile) {
  const wn_type_info *type = wn_type(w->type);
  size_t n = p->c1 - p->c0, skip = p->c0 / type->block * type->bytes;
  for (size_t i = w0; i < w1; i++, tile += n) {
    w->decode(rows + i * w->row_bytes + skip, tile, n);
    if (factor != 1) m->f->vec->scale(factor, tile, tile, n);
  }
}

/* Rows of the stage that lie one behind the other in dx go together. */
void wn_back_through(wn_member *m, const wn_bound *w, const uint8_t *rows,
                     size_t k, size_t w0, size_t w1, float factor,
                     const float *g, size_t ldg,
                     float *(*place)(wn_member *m, const void *arg, uint32_t r),
                     const void *arg) {
  const wn_back *b = m->f->back;
  float *tile = b->tile + (size_t)m->id * b->tile_floats;
  part p = part_of(m, w, k);
  size_t n_cols = p.c1 - p.c0;
  if (n_cols == 0 || p.r0 == p.r1) return;
  for (size_t at = w0, end; at < w1; at = end) {
    end = w1 - at > WN_BACK_TILE ? at + WN_BACK_TILE : w1;
    load_tile(m, w, rows, &p, at, end, factor, tile);
    for (uint32_t r = p.r0, n; r < p.r1; r += n) {
      float *dx = place(m, arg, r), *last = dx;
      size_t step = 0;
      for (n = 1; r + n < p.r1; n++) {
        float *next = place(m, arg, r + n);
        if (n == 1) step = (size_t)(next - last);
        if (next < last || (size_t)(next - last) != step) break;
        last = next;
      }
      m->f->vec->product(g + r * ldg + (at - w0), ldg, n, WN_ROW_F32, tile,
                         n_cols * sizeof(float), end - at, n_cols, b->ones,
                         dx + p.c0, step);
    }
  }
}

void wn_back_outer(const wn_member *m, float factor, const float *g,
                   const float *x, float *dw, size_t w0, size_t w1, size_t k) {
  for (size_t i = w0; i < w1; i++)
    if (g[i] != 0) m->f->vec->madd(factor * g[i], x, dw + i * k, k);
}
