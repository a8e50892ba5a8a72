/* op_rows.c - steps on one row: embeddings, norms, sums, activations,
 * storing keys and values. Each works on any range of the row that its
 * granule allows, with the same result. */
#include <string.h>

#include "graph/exec.h"

static void do_embed(wn_member *m, const wn_op *op, uint32_t i, uint32_t r) {
  const wn_frame *f = m->f;
  const wn_bound *w = &f->bound[op->w[0]];
  uint32_t t = wn_token_of(m, r), row = op->i[0];
  if (op->kind == WN_EMBED_TOKEN) row = (uint32_t)f->tokens[t];
  if (op->kind == WN_EMBED_POSITION) row = f->pos[t];
  w->decode(w->data + (size_t)row * w->row_bytes, wn_row(m, i, r),
            f->p->widths[i]);
}

static void do_norm(wn_member *m, const wn_op *op, uint32_t i, uint32_t r,
                    uint32_t c0, uint32_t c1) {
  const wn_frame *f = m->f;
  uint32_t group = op->i[0] != 0 ? op->i[0] : f->p->widths[i];
  const float *x = wn_row_in(m, op->in[0], r), *p[2] = {NULL, NULL};
  float *y = wn_row(m, i, r);
  for (uint32_t c = c0; c < c1; c += group) {
    for (int k = 0; k < 2; k++) {
      if (op->w[k] == WN_NONE) continue;
      bool per_group = wn_weight_values(&f->p->weights[op->w[k]]) == group;
      p[k] = f->bound[op->w[k]].vec + (per_group ? 0 : c);
    }
    if (op->kind == WN_NORM_RMS)
      f->vec->norm_rms(x + c, p[0], p[1], y + c, group, op->f[0]);
    else
      f->vec->norm_layer(x + c, p[0], p[1], y + c, group, op->f[0]);
  }
}

static void do_elements(wn_member *m, const wn_op *op, uint32_t i, uint32_t r,
                        uint32_t c0, uint32_t c1) {
  const wn_vec *v = m->f->vec;
  size_t n = c1 - c0;
  const float *x = wn_row_in(m, op->in[0], r) + c0, *z = NULL;
  if (op->in[1] != WN_NONE) z = wn_row_in(m, op->in[1], r) + c0;
  float *y = wn_row(m, i, r) + c0;
  switch (op->code) {
    case WN_OP_ACT:
      v->act((wn_act)op->kind, x, y, n);
      break;
    case WN_OP_GLU:
      v->glu((wn_act)op->kind, x, z, y, n, op->f[0], op->f[1]);
      break;
    case WN_OP_ADD:
      v->add(x, z, y, n);
      break;
    case WN_OP_MUL:
      v->mul(x, z, y, n);
      break;
    case WN_OP_SCALE:
      v->scale(op->f[0], x, y, n);
      break;
    case WN_OP_SOFTCAP:
      v->softcap(op->f[0], x, y, n);
      break;
    default:
      break;
  }
}

/* n values of one head into the cache. */
static void keep_head(const wn_frame *f, const wn_cache_type *t, const float *x,
                      uint8_t *to, size_t n) {
  switch (t->type) {
    case WN_TYPE_F32:
      memcpy(to, x, n * sizeof *x);
      break;
    case WN_TYPE_F16:
      f->vec->f16_of_f32(x, (uint16_t *)(void *)to, n);
      break;
    default:
      t->encode(x, to, n, NULL);
      break;
  }
}

static void do_keep(wn_member *m, const wn_op *op, bool keys, uint32_t r,
                    uint32_t c0, uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_cache_slot *s = &f->slots[op->i[0]];
  const wn_slot *slot = &f->p->slots[op->i[0]];
  uint32_t t = wn_token_of(m, r), seq = f->seq[t], pos = f->pos[t];
  uint32_t width = keys ? slot->width_k : slot->width_v;
  const float *x = wn_row_in(m, op->in[keys ? 1 : 2], r);
  for (uint32_t c = c0; c < c1; c += width) {
    size_t head = c / width;
    uint8_t *to =
        keys ? s->k + seq * s->k_seq + head * s->k_head + pos * s->k_pos
             : s->v + seq * s->v_seq + head * s->v_head + pos * s->v_pos;
    keep_head(f, keys ? &f->type_k : &f->type_v, x + c, to, width);
  }
}

void wn_do_step(wn_member *m, wn_step s, uint32_t r, uint32_t c0, uint32_t c1) {
  const wn_op *op = &m->f->p->ops[s.op];
  switch (s.what) {
    case WN_DO_KEEP_K:
      do_keep(m, op, true, r, c0, c1);
      return;
    case WN_DO_KEEP_V:
      do_keep(m, op, false, r, c0, c1);
      return;
    case WN_DO_ROUTE:
      wn_route(m, s.op, r);
      return;
    case WN_DO_OP:
      break;
  }
  switch (op->code) {
    case WN_OP_EMBED:
      do_embed(m, op, s.op, r);
      break;
    case WN_OP_NORM:
      do_norm(m, op, s.op, r, c0, c1);
      break;
    case WN_OP_ROPE:
      wn_rope(m, op, s.op, r, c0, c1);
      break;
    default:
      do_elements(m, op, s.op, r, c0, c1);
      break;
  }
}

/* Values in a whole row that the step works on. */
static uint32_t full_width(const wn_prog *p, wn_step s) {
  const wn_op *op = &p->ops[s.op];
  switch (s.what) {
    case WN_DO_KEEP_K:
      return p->widths[op->in[1]];
    case WN_DO_KEEP_V:
      return p->widths[op->in[2]];
    default:
      return p->widths[s.op];
  }
}

void wn_do_prologue(wn_member *m, uint32_t r) {
  for (uint32_t k = 0; k < m->st->n_pros; k++) {
    wn_step s = m->st->pros[k];
    wn_do_step(m, s, r, 0, full_width(m->f->p, s));
  }
}

void wn_do_epilogues(wn_member *m, const wn_bundle *b, uint32_t c0,
                     uint32_t c1) {
  for (uint32_t r = 0; r < m->n_rows; r++)
    for (uint32_t k = 0; k < b->n_epis; k++)
      wn_do_step(m, b->epis[k], r, c0, c1);
}
