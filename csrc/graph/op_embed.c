/* op_embed.c - rows of a matrix: of the token, of its position, or always the
 * same one. */
#include "graph/back.h"

static int verify(wn_checker *c) {
  const wn_weight *w = wn_weight_of(c, 0);
  int rc = wn_check_matrix(c, 0, w->ne[0], w->ne[1], 1);
  if (rc != WN_OK) return rc;
  if (c->op->kind != WN_EMBED_ROW && c->op->i[0] != 0)
    return wn_bad(c, "a row is given, but not used");
  if (c->op->kind == WN_EMBED_ROW && c->op->i[0] >= w->ne[1])
    return wn_bad(c, "row %u of %u", c->op->i[0], w->ne[1]);
  uint32_t *rows = c->op->kind == WN_EMBED_TOKEN      ? &c->p->n_vocab
                   : c->op->kind == WN_EMBED_POSITION ? &c->p->n_positions
                                                      : NULL;
  if (rows != NULL && w->ne[1] < *rows) *rows = w->ne[1];
  return wn_make(c, w->ne[0]);
}

/* The row of the matrix that row r of the stage is. */
static size_t row_of(const wn_member *m, const wn_op *op, uint32_t r) {
  uint32_t t = wn_token_of(m, r);
  if (op->kind == WN_EMBED_TOKEN) return (size_t)m->f->tokens[t];
  return op->kind == WN_EMBED_POSITION ? m->f->pos[t] : op->i[0];
}

static void embed(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                  uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  const wn_bound *w = &f->bound[op->w[0]];
  (void)c0, (void)c1; /* whole rows: blocks cannot be cut */
  w->decode(w->data + row_of(m, op, r) * w->row_bytes, wn_row(m, i, r),
            f->p->widths[i]);
}

/* Members divide the columns: a token may stand in many rows. */
static void embed_back(wn_member *m, uint32_t i) {
  const wn_op *op = &m->f->p->ops[i];
  float *dw = wn_grad_weight(m, op, 0);
  size_t n = m->f->p->widths[i];
  uint32_t c0 = wn_share(m, (uint32_t)n, m->id);
  uint32_t c1 = wn_share(m, (uint32_t)n, m->id + 1);
  for (uint32_t r = 0; dw != NULL && r < m->n_rows; r++) {
    float *to = dw + row_of(m, op, r) * n + c0;
    m->f->vec->add(to, wn_grad(m, i, r) + c0, to, c1 - c0);
  }
}

static const char *const kinds[] = {"token", "position", "row"};

const wn_op_desc wn_op_embed = {.name = "embed",
                                .kinds = kinds,
                                .n_kinds = WN_N_EMBED,
                                .must = 1,
                                .n_i = 1,
                                .verify = verify,
                                .row = embed,
                                .back_of = 1,
                                .back_weights = embed_back};
