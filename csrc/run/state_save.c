/* state_save.c - a sequence as bytes (state.h).
 *
 *   "wanestat"  version (u32)  slots (u32)  tokens (u32)  type_k, type_v (u32)
 *   for each slot: kind, heads, width of keys, of values, window, floats (u32)
 *   for each slot: rows of the positions that the next token can see, head by
 *   head, keys then values; or the floats
 *
 * Numbers are in this machine's order: the first word tells. Sizes are worked
 * out from the slots of the program, never from the bytes; the bytes must have
 * exactly that length before anything is copied. */
#include <string.h>

#include "base/arith.h"
#include "run/state_parts.h"

enum { VERSION = 1, HEAD = 8 + 5 * 4, PER_SLOT = 6 * 4 };

static const char magic[] = "wanestat";

static uint8_t *put(uint8_t *to, uint32_t v) {
  memcpy(to, &v, sizeof v);
  return to + sizeof v;
}

static uint8_t *put_head(const wn_state *s, uint32_t n, uint8_t *to) {
  memcpy(to, magic, 8);
  to = put(to + 8, VERSION);
  to = put(to, s->n_slots);
  to = put(to, n);
  to = put(to, (uint32_t)s->type_k.type);
  return put(to, (uint32_t)s->type_v.type);
}

static uint8_t *put_slot(const wn_slot *t, uint8_t *to) {
  to = put(to, (uint32_t)t->keep);
  to = put(to, t->n_head_kv);
  to = put(to, t->width_k);
  to = put(to, t->width_v);
  to = put(to, t->window);
  return put(to, t->n_state);
}

/* Bytes of slot i with n tokens: below the allocated ones, so no overflow. */
static uint64_t slot_bytes(const wn_state *s, uint32_t i, uint32_t n) {
  const wn_slot *t = &s->shape[i];
  const wn_cache_slot *c = &s->slots[i];
  if (t->keep == WN_KEEP_STATE) return (uint64_t)t->n_state * sizeof(float);
  uint64_t row = c->k_pos + (t->keep != WN_KEEP_KEYS ? c->v_pos : 0);
  return row * t->n_head_kv * (n - wn_state_first(s, i, n));
}

uint64_t wn_state_saved_bytes(const wn_state *s, uint32_t n) {
  uint64_t sum = HEAD + (uint64_t)PER_SLOT * s->n_slots;
  for (uint32_t i = 0; i < s->n_slots; i++)
    sum += slot_bytes(s, i, n);
  return sum;
}

void wn_state_save(const wn_state *s, uint32_t seq, uint32_t n, uint8_t *to) {
  to = put_head(s, n, to);
  for (uint32_t i = 0; i < s->n_slots; i++)
    to = put_slot(&s->shape[i], to);
  for (uint32_t i = 0; i < s->n_slots; i++)
    to = wn_state_move(s, i, seq, wn_state_first(s, i, n), n, to, false);
}

static uint32_t get(const uint8_t *from) {
  uint32_t v;
  memcpy(&v, from, sizeof v);
  return v;
}

/* Is this the state of such a program? */
int wn_state_check(const wn_state *s, const uint8_t *from, size_t bytes,
                   uint32_t *n_tokens, wn_err *e) {
  uint8_t want[PER_SLOT > HEAD ? PER_SLOT : HEAD];
  uint64_t head = HEAD + (uint64_t)PER_SLOT * s->n_slots;
  if (bytes < HEAD || memcmp(from, magic, 8) != 0 || get(from + 8) != VERSION)
    return wn_fail(e, WN_EFORMAT,
                   "state: not a state of this version: %zu bytes", bytes);
  uint32_t n = get(from + 16);
  put_head(s, n, want);
  if (memcmp(from, want, HEAD) != 0)
    return wn_fail(e, WN_EFORMAT,
                   "state: of %u slots and cache types %u and %u, want %u, %d "
                   "and %d",
                   get(from + 12), get(from + 20), get(from + 24), s->n_slots,
                   s->type_k.type, s->type_v.type);
  if (n > s->o.n_ctx)
    return wn_fail(e, WN_EFORMAT, "state: of %u tokens, the context has %u", n,
                   s->o.n_ctx);
  if (bytes < head || bytes != wn_state_saved_bytes(s, n))
    return wn_fail(e, WN_EFORMAT, "state: %zu bytes, want %llu", bytes,
                   (unsigned long long)wn_state_saved_bytes(s, n));
  for (uint32_t i = 0; i < s->n_slots; i++) {
    put_slot(&s->shape[i], want);
    if (memcmp(from + HEAD + (size_t)i * PER_SLOT, want, PER_SLOT) != 0)
      return wn_fail(e, WN_EFORMAT, "state: slot %u is another program's", i);
  }
  *n_tokens = n;
  return WN_OK;
}

void wn_state_load(wn_state *s, uint32_t seq, const uint8_t *from) {
  uint32_t n = get(from + 16);
  /* wn_state_move reads only when it moves inwards */
  union {
    const uint8_t *in;
    uint8_t *out;
  } at = {from + HEAD + (size_t)PER_SLOT * s->n_slots};
  uint8_t *data = at.out;
  for (uint32_t k = 0; k < s->o.n_marks; k++)
    s->marks[(size_t)seq * s->o.n_marks + k].pos = 0;
  for (uint32_t i = 0; i < s->n_slots; i++)
    data = wn_state_move(s, i, seq, wn_state_first(s, i, n), n, data, true);
  s->top[seq] = n;
}
