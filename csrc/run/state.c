/* state.c - see state.h: sizes, places, marks, returning. */
#include "run/state.h"

#include <string.h>

#include "base/arith.h"
#include "base/mem.h"

/* Rings are cut at whole panels: a block of keys lies in one piece. */
#define RING_STEP WN_PANEL

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

static int too_large(const wn_state *s, wn_err *e) {
  return wn_fail(e, WN_ELIMIT,
                 "cache: %u sequences of %u tokens need more memory than there "
                 "are addresses",
                 s->o.n_seq, s->o.n_ctx);
}

/* -- places --------------------------------------------------------------- */

/* Positions for which a slot has room. */
static uint32_t ring_of(const wn_state *s, const wn_slot *t) {
  uint64_t n = s->o.n_ctx;
  if (t->keep == WN_KEEP_WINDOW && (uint64_t)t->window + s->o.n_batch < n)
    n = (uint64_t)t->window + s->o.n_batch;
  n = (n + RING_STEP - 1) / RING_STEP * RING_STEP;
  return (uint32_t)n;
}

/* Lays out rows of a slot, keys or values, behind *end. */
static int lay_out_rows(const wn_state *s, const wn_slot *t, uint32_t width,
                        int type, uint64_t *end, size_t dist[3], wn_err *e) {
  uint64_t row, head, seq, all;
  uint32_t n = ring_of(s, t);
  /* a whole cache needs no room beyond the context */
  if (n > s->o.n_ctx) n = s->o.n_ctx;
  int rc = wn_row_bytes(type, width, &row, e);
  if (rc != WN_OK) return wn_fail_in(e, "cache: a head's row");
  if (!wn_mul(row, n, &head) || !wn_pad(head, 64, &head) ||
      !wn_mul(head, t->n_head_kv, &seq) || !wn_mul(seq, s->o.n_seq, &all) ||
      !wn_add(*end, all, end) || *end > SIZE_MAX / 2)
    return too_large(s, e);
  dist[0] = (size_t)row;
  dist[1] = (size_t)head;
  dist[2] = (size_t)seq;
  return WN_OK;
}

static int lay_out_state(const wn_state *s, const wn_slot *t, uint64_t *end,
                         wn_cache_slot *c, wn_err *e) {
  uint64_t one = (uint64_t)t->n_state * sizeof(float), all;
  if (!wn_pad(one, 64, &one) || !wn_mul(2 * one, s->o.n_seq, &all) ||
      !wn_add(*end, all, end) || *end > SIZE_MAX / 2)
    return too_large(s, e);
  c->half = (size_t)one;
  c->k_seq = (size_t)(2 * one);
  return WN_OK;
}

/* The place of one slot behind *end, from `mem` on (NULL while planning). */
static int lay_out(const wn_state *s, uint32_t i, uint8_t *mem, uint64_t *end,
                   wn_cache_slot *c, wn_err *e) {
  const wn_slot *t = &s->shape[i];
  size_t k[3] = {0}, v[3] = {0};
  memset(c, 0, sizeof *c);
  if (mem != NULL) c->k = mem + *end;
  if (t->keep == WN_KEEP_STATE) return lay_out_state(s, t, end, c, e);
  c->ring = ring_of(s, t);
  int rc = lay_out_rows(s, t, t->width_k, s->type_k.type, end, k, e);
  c->v = c->k;
  memcpy(v, k, sizeof v);
  uint64_t values;
  if (rc == WN_OK && t->keep == WN_KEEP_KEYS) /* whole blocks of the keys */
    rc = wn_row_bytes(s->type_k.type, t->width_v, &values, e);
  if (rc == WN_OK && t->keep != WN_KEEP_KEYS) {
    if (mem != NULL) c->v = mem + *end;
    rc = lay_out_rows(s, t, t->width_v, s->type_v.type, end, v, e);
  }
  c->k_pos = k[0], c->k_head = k[1], c->k_seq = k[2];
  c->v_pos = v[0], c->v_head = v[1], c->v_seq = v[2];
  return rc;
}

/* -- marks: sizes --------------------------------------------------------- */

/* Does this slot forget? Then returning needs a mark. */
static bool forgets(const wn_state *s, const wn_slot *t) {
  if (t->keep == WN_KEEP_STATE) return true;
  return t->keep == WN_KEEP_WINDOW && ring_of(s, t) < s->o.n_ctx;
}

/* Positions of a window that a token behind n others sees. */
static uint32_t seen_by_next(const wn_slot *t, uint32_t n) {
  uint32_t w = t->window - 1;
  return n < w ? n : w;
}

/* Bytes of one position of a slot. */
static int position_bytes(const wn_state *s, const wn_slot *t, uint64_t *n,
                          wn_err *e) {
  uint64_t k = 0, v = 0;
  int rc = wn_row_bytes(s->type_k.type, t->width_k, &k, e);
  if (rc == WN_OK && t->keep != WN_KEEP_KEYS)
    rc = wn_row_bytes(s->type_v.type, t->width_v, &v, e);
  if (rc == WN_OK && !wn_mul(k + v, t->n_head_kv, n)) rc = too_large(s, e);
  return rc;
}

static int plan_marks(wn_state *s, wn_err *e) {
  uint64_t all;
  for (uint32_t i = 0; i < s->n_slots; i++) {
    const wn_slot *t = &s->shape[i];
    uint64_t n = (uint64_t)t->n_state * sizeof(float);
    if (!forgets(s, t)) continue;
    int rc = WN_OK;
    if (t->keep == WN_KEEP_WINDOW) rc = position_bytes(s, t, &n, e);
    if (rc != WN_OK) return rc;
    if (t->keep == WN_KEEP_WINDOW &&
        !wn_mul(n, seen_by_next(t, s->o.n_ctx), &n))
      return too_large(s, e);
    if (!wn_add(s->mark_bytes, n, &s->mark_bytes)) return too_large(s, e);
  }
  if (s->mark_bytes == 0) s->o.n_marks = 0;
  if (!wn_mul(s->mark_bytes, s->o.n_marks, &all) ||
      !wn_mul(all, s->o.n_seq, &all) || !wn_add(s->bytes, all, &s->bytes) ||
      s->bytes > SIZE_MAX / 2)
    return too_large(s, e);
  return WN_OK;
}

/* -- life ----------------------------------------------------------------- */

int wn_state_plan(const wn_prog *p, const wn_state_opts *o, wn_state *s,
                  wn_err *e) {
  memset(s, 0, sizeof *s);
  s->o = *o;
  s->n_slots = p->n_slots;
  s->shape = p->slots;
  int rc = check_cache_type(o->type_k, &s->type_k, e);
  if (rc == WN_OK) rc = check_cache_type(o->type_v, &s->type_v, e);
  for (uint32_t i = 0; i < s->n_slots && rc == WN_OK; i++) {
    wn_cache_slot c;
    rc = lay_out(s, i, NULL, &s->bytes, &c, e);
  }
  return rc == WN_OK ? plan_marks(s, e) : rc;
}

int wn_state_alloc(wn_state *s, wn_err *e) {
  size_t n_marks = (size_t)s->o.n_seq * s->o.n_marks;
  s->slots = wn_calloc(WN_MEM_KV, s->n_slots, sizeof *s->slots);
  s->mem = wn_alloc(WN_MEM_KV, (size_t)s->bytes);
  s->turn = wn_calloc(WN_MEM_KV, s->o.n_seq, sizeof *s->turn);
  s->top = wn_calloc(WN_MEM_KV, s->o.n_seq, sizeof *s->top);
  s->marks = wn_calloc(WN_MEM_KV, n_marks, sizeof *s->marks);
  if (!s->slots || !s->mem || !s->turn || !s->top || !s->marks)
    return wn_fail(e, WN_ENOMEM, "cache: no memory for %llu bytes",
                   (unsigned long long)s->bytes);
  uint64_t end = 0;
  for (uint32_t i = 0; i < s->n_slots; i++)
    (void)lay_out(s, i, s->mem, &end, &s->slots[i], e);
  for (size_t i = 0; i < n_marks; i++)
    s->marks[i].data = s->mem + end + i * (size_t)s->mark_bytes;
  return WN_OK;
}

void wn_state_free(wn_state *s) {
  wn_free(s->slots);
  wn_free(s->mem);
  wn_free(s->turn);
  wn_free(s->top);
  wn_free(s->marks);
  memset(s, 0, sizeof *s);
}

void wn_state_begin(wn_state *s, uint32_t seq, uint32_t end) {
  if (end > s->top[seq]) s->top[seq] = end;
}

void wn_state_commit(wn_state *s, uint32_t seq) {
  s->turn[seq] ^= 1;
}

/* -- what there is -------------------------------------------------------- */

/* The valid floats of a slot of kind state. */
static float *floats_of(const wn_state *s, uint32_t i, uint32_t seq) {
  const wn_cache_slot *c = &s->slots[i];
  return (float *)(void *)(c->k + seq * c->k_seq + s->turn[seq] * c->half);
}

typedef bool (*visitor)(void *arg, uint8_t *p, size_t bytes);

/* Rows of one head at positions p0 <= p < p1: pieces of the ring. */
static bool visit_rows(uint8_t *head, size_t row, uint32_t ring, uint32_t p0,
                       uint32_t p1, visitor visit, void *arg) {
  for (uint32_t p = p0, n; p < p1; p += n) {
    uint32_t at = p % ring;
    n = p1 - p < ring - at ? p1 - p : ring - at;
    if (!visit(arg, head + (size_t)at * row, n * row)) return false;
  }
  return true;
}

/* Slot i of a sequence, positions p0 <= p < p1; of a state all. */
static bool visit_slot(const wn_state *s, uint32_t i, uint32_t seq, uint32_t p0,
                       uint32_t p1, visitor visit, void *arg) {
  const wn_cache_slot *c = &s->slots[i];
  const wn_slot *t = &s->shape[i];
  if (t->keep == WN_KEEP_STATE)
    return visit(arg, (uint8_t *)floats_of(s, i, seq),
                 t->n_state * sizeof(float));
  for (uint32_t h = 0; h < t->n_head_kv; h++) {
    uint8_t *k = c->k + seq * c->k_seq + h * c->k_head;
    uint8_t *v = c->v + seq * c->v_seq + h * c->v_head;
    if (!visit_rows(k, c->k_pos, c->ring, p0, p1, visit, arg)) return false;
    if (t->keep != WN_KEEP_KEYS &&
        !visit_rows(v, c->v_pos, c->ring, p0, p1, visit, arg))
      return false;
  }
  return true;
}

/* The first position that the token behind n others can see in slot i. */
static uint32_t first_seen(const wn_state *s, uint32_t i, uint32_t n) {
  const wn_slot *t = &s->shape[i];
  return t->keep == WN_KEEP_WINDOW ? n - seen_by_next(t, n) : 0;
}

void wn_state_visit(const wn_state *s, uint32_t seq, uint32_t n, visitor visit,
                    void *arg) {
  for (uint32_t i = 0; i < s->n_slots && n != 0; i++)
    if (!visit_slot(s, i, seq, first_seen(s, i, n), n, visit, arg)) return;
}

/* -- marks ---------------------------------------------------------------- */

static wn_mark *marks_of(const wn_state *s, uint32_t seq) {
  return s->marks + (size_t)seq * s->o.n_marks;
}

typedef struct mover {
  uint8_t *bytes;
  bool inwards;
} mover;

static bool move(void *arg, uint8_t *p, size_t n) {
  mover *m = arg;
  memcpy(m->inwards ? p : m->bytes, m->inwards ? m->bytes : p, n);
  m->bytes += n;
  return true;
}

/* What forgets, between a sequence at position n and the bytes of a mark. */
static void move_mark(const wn_state *s, uint32_t seq, uint32_t n,
                      uint8_t *bytes, bool inwards) {
  mover m = {bytes, inwards};
  for (uint32_t i = 0; i < s->n_slots; i++)
    if (forgets(s, &s->shape[i]))
      (void)visit_slot(s, i, seq, first_seen(s, i, n), n, move, &m);
}

void wn_state_mark(wn_state *s, uint32_t seq, uint32_t n) {
  wn_mark *m = marks_of(s, seq), *to = m;
  if (s->o.n_marks == 0 || n == 0) return;
  for (uint32_t k = 0; k < s->o.n_marks; k++) {
    if (m[k].pos == n) to = &m[k];
    if (to->pos != n && m[k].pos < to->pos) to = &m[k];
  }
  to->pos = n;
  move_mark(s, seq, n, to->data, false);
}

/* The mark furthest on, at most at n; NULL: none. */
static const wn_mark *mark_at(const wn_state *s, uint32_t seq, uint32_t n) {
  const wn_mark *m = marks_of(s, seq), *best = NULL;
  for (uint32_t k = 0; k < s->o.n_marks; k++)
    if (m[k].pos != 0 && m[k].pos <= n &&
        (best == NULL || m[k].pos > best->pos))
      best = &m[k];
  return best;
}

/* What was marked beyond n belongs to another future. */
static void drop_marks(wn_state *s, uint32_t seq, uint32_t n) {
  wn_mark *m = marks_of(s, seq);
  for (uint32_t k = 0; k < s->o.n_marks; k++)
    if (m[k].pos > n) m[k].pos = 0;
}

/* Is all of a sequence that a token at n needs still there? */
static bool holds(const wn_state *s, uint32_t seq, uint32_t past, uint32_t n) {
  for (uint32_t i = 0; i < s->n_slots; i++) {
    const wn_slot *t = &s->shape[i];
    if (!forgets(s, t)) continue;
    if (t->keep == WN_KEEP_STATE && n != past) return false;
    if (t->keep == WN_KEEP_WINDOW &&
        (uint64_t)first_seen(s, i, n) + s->slots[i].ring < s->top[seq])
      return false;
  }
  return true;
}

uint32_t wn_state_reach(const wn_state *s, uint32_t seq, uint32_t past,
                        uint32_t n) {
  if (n > past) n = past;
  if (n == 0 || holds(s, seq, past, n)) return n;
  const wn_mark *m = mark_at(s, seq, n);
  return m != NULL ? m->pos : 0;
}

uint32_t wn_state_rewind(wn_state *s, uint32_t seq, uint32_t past, uint32_t n) {
  if (n > past) n = past;
  if (n == past) return n;
  bool there = n == 0 || holds(s, seq, past, n);
  const wn_mark *m = there ? NULL : mark_at(s, seq, n);
  if (m != NULL) move_mark(s, seq, n = m->pos, m->data, true);
  if (m == NULL && !there) n = 0;
  drop_marks(s, seq, n);
  /* a ring that was filled again holds nothing above n */
  if (m != NULL || n == 0) s->top[seq] = n;
  return n;
}

/* Copies what sequence `from` has of slot i for a token at n. */
static void copy_slot(const wn_state *s, uint32_t i, uint32_t from, uint32_t to,
                      uint32_t n) {
  const wn_cache_slot *c = &s->slots[i];
  const wn_slot *t = &s->shape[i];
  if (t->keep == WN_KEEP_STATE) {
    memcpy(floats_of(s, i, to), floats_of(s, i, from),
           t->n_state * sizeof(float));
    return;
  }
  size_t rows = n < c->ring ? n : c->ring;
  for (uint32_t h = 0; h < t->n_head_kv; h++) {
    memcpy(c->k + to * c->k_seq + h * c->k_head,
           c->k + from * c->k_seq + h * c->k_head, rows * c->k_pos);
    if (t->keep != WN_KEEP_KEYS)
      memcpy(c->v + to * c->v_seq + h * c->v_head,
             c->v + from * c->v_seq + h * c->v_head, rows * c->v_pos);
  }
}

uint32_t wn_state_copy(wn_state *s, uint32_t from, uint32_t to, uint32_t past,
                       uint32_t n) {
  if (n > past) n = past;
  if (from == to) return wn_state_rewind(s, from, past, n);
  bool there = n == 0 || holds(s, from, past, n);
  const wn_mark *m = there ? NULL : mark_at(s, from, n);
  if (!there) n = m != NULL ? m->pos : 0;
  drop_marks(s, to, 0);
  for (uint32_t i = 0; i < s->n_slots && n != 0; i++)
    if (m == NULL || !forgets(s, &s->shape[i]))
      copy_slot(s, i, from, to,
                s->shape[i].keep == WN_KEEP_WINDOW ? s->top[from] : n);
  if (m != NULL) move_mark(s, to, n, m->data, true);
  s->top[to] = n == 0 || m != NULL ? n : s->top[from];
  return n;
}

void wn_state_set(wn_state *s, uint32_t seq, uint32_t n) {
  drop_marks(s, seq, 0);
  s->top[seq] = n;
}
