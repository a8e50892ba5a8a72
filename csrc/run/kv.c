/* kv.c - see kv.h. */
#include "run/kv.h"

#include <string.h>

#include "base/arith.h"
#include "base/mem.h"

static int check_cache_type(int type, wn_cache_type *t, wn_err *e) {
  const wn_format *f = wn_format_of(type);
  if (f == NULL || f->encode == NULL || f->needs_importance ||
      wn_type(type)->class == WN_CLASS_ACT)
    return wn_fail(e, WN_EUNSUP, "cache: type %s cannot hold keys and values",
                   wn_type(type) != NULL ? wn_type(type)->name : "?");
  t->type = type;
  t->encode = wn_encode_best(type, wn_cpu_get()->isa);
  if (t->encode == NULL) t->encode = f->encode;
  t->decode = wn_decode_best(type, wn_cpu_get()->isa);
  if (t->decode == NULL) t->decode = f->decode;
  return WN_OK;
}

/* Lays out one of the two regions of a slot behind *end. */
static int lay_out(uint32_t n_head, uint32_t width, int type, uint32_t n_seq,
                   uint32_t n_ctx, uint64_t *end, size_t dist[3], wn_err *e) {
  uint64_t row, head, seq, all;
  int rc = wn_row_bytes(type, width, &row, e);
  if (rc != WN_OK) return wn_fail_in(e, "cache: a head's row");
  if (!wn_mul(row, n_ctx, &head) || !wn_pad(head, 64, &head) ||
      !wn_mul(head, n_head, &seq) || !wn_mul(seq, n_seq, &all) ||
      !wn_add(*end, all, end) || *end > SIZE_MAX / 2)
    return wn_fail(e, WN_ELIMIT,
                   "cache: %u sequences of %u tokens need more "
                   "memory than there are addresses",
                   n_seq, n_ctx);
  dist[0] = (size_t)row;
  dist[1] = (size_t)head;
  dist[2] = (size_t)seq;
  return WN_OK;
}

int wn_cache_plan(const wn_prog *p, uint32_t n_seq, uint32_t n_ctx, int type_k,
                  int type_v, wn_cache *c, wn_err *e) {
  memset(c, 0, sizeof *c);
  c->n_slots = p->n_slots;
  c->n_seq = n_seq;
  c->n_ctx = n_ctx;
  c->shape = p->slots;
  int rc = check_cache_type(type_k, &c->type_k, e);
  if (rc == WN_OK) rc = check_cache_type(type_v, &c->type_v, e);
  for (uint32_t i = 0; i < c->n_slots && rc == WN_OK; i++) {
    const wn_slot *s = &c->shape[i];
    size_t dist[3];
    rc = lay_out(s->n_head_kv, s->width_k, type_k, n_seq, n_ctx, &c->bytes,
                 dist, e);
    if (rc == WN_OK)
      rc = lay_out(s->n_head_kv, s->width_v, type_v, n_seq, n_ctx, &c->bytes,
                   dist, e);
  }
  return rc;
}

int wn_cache_alloc(wn_cache *c, wn_err *e) {
  c->slots = wn_calloc(WN_MEM_KV, c->n_slots, sizeof *c->slots);
  c->mem = wn_alloc(WN_MEM_KV, (size_t)c->bytes);
  if (c->slots == NULL || c->mem == NULL)
    return wn_fail(e, WN_ENOMEM, "cache: no memory for %llu bytes",
                   (unsigned long long)c->bytes);
  uint64_t end = 0;
  for (uint32_t i = 0; i < c->n_slots; i++) {
    const wn_slot *s = &c->shape[i];
    wn_cache_slot *t = &c->slots[i];
    size_t k[3], v[3];
    t->k = c->mem + end;
    (void)lay_out(s->n_head_kv, s->width_k, c->type_k.type, c->n_seq, c->n_ctx,
                  &end, k, e);
    t->v = c->mem + end;
    (void)lay_out(s->n_head_kv, s->width_v, c->type_v.type, c->n_seq, c->n_ctx,
                  &end, v, e);
    t->k_pos = k[0], t->k_head = k[1], t->k_seq = k[2];
    t->v_pos = v[0], t->v_head = v[1], t->v_seq = v[2];
  }
  return WN_OK;
}

void wn_cache_free(wn_cache *c) {
  wn_free(c->slots);
  wn_free(c->mem);
  c->slots = NULL;
  c->mem = NULL;
}

void wn_cache_visit(const wn_cache *c, uint32_t seq, uint32_t n,
                    bool (*visit)(void *arg, uint8_t *p, size_t bytes),
                    void *arg) {
  for (uint32_t i = 0; i < c->n_slots && n != 0; i++) {
    const wn_cache_slot *s = &c->slots[i];
    for (uint32_t h = 0; h < c->shape[i].n_head_kv; h++)
      if (!visit(arg, s->k + seq * s->k_seq + h * s->k_head, n * s->k_pos) ||
          !visit(arg, s->v + seq * s->v_seq + h * s->v_head, n * s->v_pos))
        return;
  }
}

void wn_cache_copy(wn_cache *c, uint32_t from, uint32_t to, uint32_t n) {
  if (from == to) return;
  for (uint32_t i = 0; i < c->n_slots; i++) {
    const wn_cache_slot *s = &c->slots[i];
    for (uint32_t h = 0; h < c->shape[i].n_head_kv; h++) {
      memcpy(s->k + to * s->k_seq + h * s->k_head,
             s->k + from * s->k_seq + h * s->k_head, n * s->k_pos);
      memcpy(s->v + to * s->v_seq + h * s->v_head,
             s->v + from * s->v_seq + h * s->v_head, n * s->v_pos);
    }
  }
}
