/* move.c - see move.h. */
#include "run/move.h"

#include <string.h>

static const wn_op *key_of(const wn_prog *p, const wn_op *attend) {
  return attend->in[1] == WN_NONE ? NULL : &p->ops[attend->in[1]];
}

static bool knows_positions(const wn_prog *p, const wn_op *op) {
  if (op->code == WN_OP_EMBED) return op->kind == WN_EMBED_POSITION;
  if (op->code != WN_OP_ATTEND) return false;
  if (op->kind != WN_ATTEND_CAUSAL) return true;
  const wn_op *key = key_of(p, op); /* NULL: another one's, looked at there */
  return key != NULL && key->code != WN_OP_ROPE && key->code != WN_OP_LINEAR &&
         key->code != WN_OP_NORM;
}

bool wn_can_move(const wn_prog *p) {
  for (uint32_t i = 0; i < p->n_slots; i++)
    if (p->slots[i].keep != WN_KEEP_ALL) return false;
  for (uint32_t i = 0; i < p->n_ops; i++)
    if (knows_positions(p, &p->ops[i])) return false;
  return p->n_slots > 0;
}

/* A row, and a table for it. */
size_t wn_move_floats(const wn_prog *p) {
  uint32_t most = 0;
  for (uint32_t i = 0; i < p->n_slots; i++)
    if (p->slots[i].width_k > most) most = p->slots[i].width_k;
  return 2 * (size_t)most;
}

/* n rows of a head; to lies before from. */
static void move_rows(uint8_t *head, size_t row, uint32_t from, uint32_t to,
                      uint32_t n) {
  memmove(head + to * row, head + from * row, n * row);
}

static void turn_rows(const wn_frame *f, const wn_op *rope, uint8_t *k,
                      size_t row, uint32_t n, uint32_t width, const float *cs,
                      float *x) {
  for (uint32_t i = 0; i < n; i++, k += row) {
    f->type_k.decode(k, x, width);
    wn_rope_turn(f, rope, cs, x);
    f->type_k.encode(x, k, width, NULL);
  }
}

void wn_move(const wn_frame *f, uint32_t seq, uint32_t from, uint32_t to,
             uint32_t n, float *scratch) {
  const wn_prog *p = f->p;
  float *cs = scratch + wn_move_floats(p) / 2;
  for (uint32_t i = 0; i < p->n_ops; i++) {
    const wn_op *op = &p->ops[i], *key;
    if (op->code != WN_OP_ATTEND || (key = key_of(p, op)) == NULL) continue;
    const wn_cache_slot *c = &f->slots[op->i[0]];
    const wn_slot *s = &p->slots[op->i[0]];
    bool turns = key->code == WN_OP_ROPE;
    if (turns) wn_rope_table_by(f, key, (int32_t)to - (int32_t)from, cs);
    for (uint32_t h = 0; h < s->n_head_kv; h++) {
      uint8_t *k = c->k + seq * c->k_seq + h * c->k_head;
      move_rows(k, c->k_pos, from, to, n);
      move_rows(c->v + seq * c->v_seq + h * c->v_head, c->v_pos, from, to, n);
      if (turns)
        turn_rows(f, key, k + to * c->k_pos, c->k_pos, n, s->width_k, cs,
                  scratch);
    }
  }
}
