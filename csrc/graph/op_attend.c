/* op_attend.c - attention over the cache by an online softmax.
 *
 * Keys are taken in blocks of WN_ATTEND_BLOCK positions, aligned to multiples
 * of it, and blocks in parts of WN_ATTEND_PART. Within a part a running
 * maximum, sum and weighted sum of values are kept; a finished part is
 * merged into the row's total. Which keys meet in which block and part
 * depends on positions alone, so a token's result does not depend on the
 * batch it came in, nor on the number of threads.
 *
 * Wide: a unit is a tile of rows and one key/value head with all query heads
 * that share it; a block is expanded to float32 once for the tile. Narrow: a
 * unit is one row, one key/value head and one part; whoever finishes the
 * last part of a head merges them all, in order. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "graph/exec.h"

/* Sizes and places for one attend operation. */
typedef struct att {
  wn_member *m;
  const wn_op *op;
  uint32_t id;
  uint32_t group; /* query heads per key/value head */
  uint32_t wk, wv;
  size_t state; /* floats of a state: maximum, sum, weighted values */
  /* this member's scratch */
  float *keys, *values, *weights, *states;
} att;

/* A running softmax: st[0] maximum, st[1] sum, st[2..] weighted values. */
enum { MAXIMUM, SUM, WEIGHTED };

size_t wn_attend_floats(const wn_prog *p, const wn_op *op) {
  const wn_slot *s = &p->slots[op->i[0]];
  size_t group = op->i[1] / op->i[2];
  return WN_ATTEND_BLOCK * ((size_t)s->width_k + s->width_v + 1) + 64 +
         2 * WN_ATTEND_TILE * group * ((size_t)s->width_v + 2);
}

static att att_of(wn_member *m) {
  const wn_op *op = &m->f->p->ops[m->st->op];
  const wn_slot *s = &m->f->p->slots[op->i[0]];
  att a = {.m = m, .op = op, .id = m->st->op, .group = op->i[1] / op->i[2]};
  a.wk = s->width_k;
  a.wv = s->width_v;
  a.state = (size_t)a.wv + 2;
  a.keys = wn_floats(m->mem, m->f->plan->attend_own);
  a.values = a.keys + WN_ATTEND_BLOCK * (size_t)a.wk;
  a.weights = a.values + WN_ATTEND_BLOCK * (size_t)a.wv;
  a.states = a.weights + WN_ATTEND_BLOCK;
  return a;
}

/* The positions that row r sees: lo <= p < hi. */
static void range_of(const att *a, uint32_t r, uint32_t *lo, uint32_t *hi) {
  uint32_t t = wn_token_of(a->m, r), window = a->op->i[3];
  *hi = a->op->kind == WN_ATTEND_FULL ? a->m->f->end[t] : a->m->f->pos[t] + 1;
  *lo = window != 0 && *hi > window ? *hi - window : 0;
}

static void clear_state(const att *a, float *st) {
  st[MAXIMUM] = -INFINITY;
  memset(st + SUM, 0, (a->state - 1) * sizeof *st);
}

/* A rescaling factor of a running softmax; exp(0) is exactly 1. */
static float rescale(float from, float to) {
  if (from == -INFINITY) return 0;
  return from == to ? 1.0f : wn_expf(from - to);
}

/* total += part, both running softmaxes. An empty total becomes the part
 * exactly. */
static void merge_state(const att *a, float *total, const float *part) {
  const wn_vec *v = a->m->f->vec;
  if (part[MAXIMUM] == -INFINITY && part[SUM] == 0) return;
  float top = fmaxf(total[MAXIMUM], part[MAXIMUM]);
  float keep = rescale(total[MAXIMUM], top), gain = rescale(part[MAXIMUM], top);
  total[MAXIMUM] = top;
  total[SUM] = total[SUM] * keep + part[SUM] * gain;
  v->scale(keep, total + WEIGHTED, total + WEIGHTED, a->wv);
  v->madd(gain, part + WEIGHTED, total + WEIGHTED, a->wv);
}

/* n positions of one head as float32: in place where the cache is float32,
 * else expanded into buf. */
static const float *expand(const att *a, const wn_cache_type *t,
                           const uint8_t *from, size_t n, float *buf) {
  if (t->type == WN_TYPE_F32) return (const float *)(const void *)from;
  if (t->type == WN_TYPE_F16)
    a->m->f->vec->f32_of_f16((const uint16_t *)(const void *)from, buf, n);
  else
    t->decode(from, buf, n);
  return buf;
}

/* Keys and values of positions p0 <= p < p1 of one head of one sequence, as
 * float32, or as halves in the cache. */
typedef struct block {
  uint32_t p0, p1;
  const float *k, *v;
  const uint16_t *k16, *v16; /* NULL: float32 */
} block;

/* Halves for `users` queries: converting in registers, each time, costs less
 * than expanding them for a few. The bits are the same. */
static const uint16_t *halves(const wn_cache_type *t, const uint8_t *from,
                              uint32_t users) {
  bool direct = t->type == WN_TYPE_F16 && users <= WN_ATTEND_DIRECT;
  return direct ? (const uint16_t *)(const void *)from : NULL;
}

static block load_block(const att *a, uint32_t seq, uint32_t head, uint32_t p0,
                        uint32_t p1, uint32_t users) {
  const wn_frame *f = a->m->f;
  const wn_cache_slot *s = &f->slots[a->op->i[0]];
  size_t n = p1 - p0;
  const uint8_t *k = s->k + seq * s->k_seq + head * s->k_head + p0 * s->k_pos;
  const uint8_t *v = s->v + seq * s->v_seq + head * s->v_head + p0 * s->v_pos;
  block b = {.p0 = p0,
             .p1 = p1,
             .k16 = halves(&f->type_k, k, users),
             .v16 = halves(&f->type_v, v, users)};
  if (b.k16 == NULL) b.k = expand(a, &f->type_k, k, n * a->wk, a->keys);
  if (b.v16 == NULL) b.v = expand(a, &f->type_v, v, n * a->wv, a->values);
  return b;
}

/* One query head over its part of a block: lo <= p < hi. */
static void attend_block(const att *a, const float *q, const block *b,
                         uint32_t lo, uint32_t hi, float *st) {
  const wn_vec *v = a->m->f->vec;
  size_t n = hi - lo, skip = lo - b->p0;
  float *s = a->weights, cap = a->op->f[1];
  if (b->k16 != NULL)
    v->scores_f16(q, b->k16 + skip * a->wk, a->wk, n, a->wk, a->op->f[0], s);
  else
    v->scores(q, b->k + skip * a->wk, a->wk, n, a->wk, a->op->f[0], s);
  if (cap > 0) v->softcap(cap, s, s, n);
  float top = fmaxf(st[MAXIMUM], v->max(s, n));
  float keep = rescale(st[MAXIMUM], top);
  st[SUM] = st[SUM] * keep + v->exp_sum(s, n, top);
  st[MAXIMUM] = top;
  if (b->v16 != NULL)
    v->weigh_f16(s, b->v16 + skip * a->wv, a->wv, n, a->wv, keep,
                 st + WEIGHTED);
  else
    v->weigh(s, b->v + skip * a->wv, a->wv, n, a->wv, keep, st + WEIGHTED);
}

/* The row's output for one query head: the state over its sum, with the
 * head's sink as one more key that has no value. */
static void finish(const att *a, uint32_t r, uint32_t head, float *st) {
  const wn_vec *v = a->m->f->vec;
  float factor = 1.0f;
  if (a->op->w[0] != WN_NONE) {
    float sink = a->m->f->bound[a->op->w[0]].vec[head];
    float top = fmaxf(st[MAXIMUM], sink);
    factor = rescale(st[MAXIMUM], top);
    st[SUM] = st[SUM] * factor + wn_expf(sink - top);
  }
  float *y = wn_row(a->m, a->id, r) + (size_t)head * a->wv;
  v->scale(factor / st[SUM], st + WEIGHTED, y, a->wv);
}

static const float *query(const att *a, uint32_t r, uint32_t head) {
  return wn_row_in(a->m, a->op->in[0], r) + (size_t)head * a->wk;
}

/* -- wide ----------------------------------------------------------------- */

/* Rows r0 <= r < r1, of one sequence. */
typedef struct tile {
  uint32_t r0, r1, seq;
  uint32_t lo[WN_ATTEND_TILE], hi[WN_ATTEND_TILE];
  uint32_t first, end; /* positions that any row sees */
} tile;

static tile tile_of(const att *a, uint32_t r0) {
  const wn_frame *f = a->m->f;
  tile t = {.r0 = r0, .r1 = r0, .first = UINT32_MAX};
  t.seq = f->seq[wn_token_of(a->m, r0)];
  while (t.r1 < a->m->n_rows && t.r1 - r0 < WN_ATTEND_TILE &&
         f->seq[wn_token_of(a->m, t.r1)] == t.seq) {
    uint32_t k = t.r1++ - r0;
    range_of(a, r0 + k, &t.lo[k], &t.hi[k]);
    if (t.lo[k] < t.first) t.first = t.lo[k];
    if (t.hi[k] > t.end) t.end = t.hi[k];
  }
  return t;
}

/* State of one row and query head of a tile; `part`: the running one. */
static float *tile_state(const att *a, uint32_t k, uint32_t g, bool part) {
  size_t i = (size_t)k * a->group + g;
  return a->states + (2 * i + (part ? 1 : 0)) * a->state;
}

/* Ends a part for all of the tile: merge and clear. */
static void merge_tile(const att *a, const tile *t) {
  for (uint32_t k = 0; k < t->r1 - t->r0; k++)
    for (uint32_t g = 0; g < a->group; g++) {
      merge_state(a, tile_state(a, k, g, false), tile_state(a, k, g, true));
      clear_state(a, tile_state(a, k, g, true));
    }
}

static void tile_block(const att *a, const tile *t, uint32_t head,
                       const block *b) {
  for (uint32_t k = 0; k < t->r1 - t->r0; k++) {
    uint32_t lo = t->lo[k] > b->p0 ? t->lo[k] : b->p0;
    uint32_t hi = t->hi[k] < b->p1 ? t->hi[k] : b->p1;
    for (uint32_t g = 0; g < a->group && lo < hi; g++)
      attend_block(a, query(a, t->r0 + k, head * a->group + g), b, lo, hi,
                   tile_state(a, k, g, true));
  }
}

static void attend_tile(const att *a, const tile *t, uint32_t head) {
  for (uint32_t k = 0; k < t->r1 - t->r0; k++)
    for (uint32_t g = 0; g < a->group; g++) {
      clear_state(a, tile_state(a, k, g, false));
      clear_state(a, tile_state(a, k, g, true));
    }
  for (uint32_t p = t->first; p < t->end;) {
    uint32_t next = (p / WN_ATTEND_BLOCK + 1) * WN_ATTEND_BLOCK;
    block b = load_block(a, t->seq, head, p, next < t->end ? next : t->end,
                         (t->r1 - t->r0) * a->group);
    tile_block(a, t, head, &b);
    if (next % WN_ATTEND_PART == 0 || next >= t->end) merge_tile(a, t);
    p = next;
  }
  for (uint32_t k = 0; k < t->r1 - t->r0; k++)
    for (uint32_t g = 0; g < a->group; g++)
      finish(a, t->r0 + k, head * a->group + g, tile_state(a, k, g, false));
}

static void attend_wide(const att *a) {
  uint32_t n_kv = a->op->i[2];
  uint64_t unit = (uint64_t)wn_team_next(a->m->team), at = 0;
  for (uint32_t r = 0; r < a->m->n_rows;) {
    tile t = tile_of(a, r);
    for (uint32_t h = 0; h < n_kv; h++, at++) {
      if (at != unit) continue;
      attend_tile(a, &t, h);
      unit = (uint64_t)wn_team_next(a->m->team);
    }
    r = t.r1;
  }
}

/* -- narrow --------------------------------------------------------------- */

/* The shared partial state of row r, query head and part. */
static float *partial(const att *a, uint32_t r, uint32_t head, uint32_t part) {
  const wn_plan *plan = a->m->f->plan;
  size_t i = ((size_t)r * a->op->i[1] + head) * plan->n_parts + part;
  return wn_floats(a->m->f->arena, plan->partial_off) + i * a->state;
}

/* One part of row r for the query heads of one key/value head. */
static void attend_part(const att *a, uint32_t r, uint32_t head, uint32_t part,
                        uint32_t lo, uint32_t hi) {
  uint32_t seq = a->m->f->seq[wn_token_of(a->m, r)];
  uint32_t end = (part + 1) * WN_ATTEND_PART;
  uint32_t p = part * WN_ATTEND_PART;
  if (p < lo) p = lo;
  if (end > hi) end = hi;
  for (uint32_t g = 0; g < a->group; g++)
    clear_state(a, partial(a, r, head * a->group + g, part));
  while (p < end) {
    uint32_t next = (p / WN_ATTEND_BLOCK + 1) * WN_ATTEND_BLOCK;
    block b = load_block(a, seq, head, p, next < end ? next : end, a->group);
    for (uint32_t g = 0; g < a->group; g++) {
      uint32_t h = head * a->group + g;
      attend_block(a, query(a, r, h), &b, b.p0, b.p1, partial(a, r, h, part));
    }
    p = next;
  }
}

/* Merges parts first .. end-1 of row r, in order. */
static void merge_parts(const att *a, uint32_t r, uint32_t head, uint32_t first,
                        uint32_t end) {
  for (uint32_t g = 0; g < a->group; g++) {
    uint32_t h = head * a->group + g;
    float *total = a->states;
    clear_state(a, total);
    for (uint32_t part = first; part < end; part++)
      merge_state(a, total, partial(a, r, h, part));
    finish(a, r, h, total);
  }
}

static void attend_narrow(const att *a) {
  const wn_frame *f = a->m->f;
  uint32_t n_kv = a->op->i[2];
  atomic_int *done = (atomic_int *)(void *)(f->arena + f->plan->counter_off);
  uint64_t unit = (uint64_t)wn_team_next(a->m->team), at = 0;
  for (uint32_t r = 0; r < a->m->n_rows; r++) {
    uint32_t lo, hi;
    range_of(a, r, &lo, &hi);
    uint32_t first = lo / WN_ATTEND_PART;
    uint32_t end = (hi + WN_ATTEND_PART - 1) / WN_ATTEND_PART;
    for (uint32_t h = 0; h < n_kv; h++)
      for (uint32_t part = first; part < end; part++, at++) {
        if (at != unit) continue;
        atomic_int *count = &done[(size_t)r * n_kv + h];
        attend_part(a, r, h, part, lo, hi);
        if (atomic_fetch_add(count, 1) == (int)(end - first) - 1) {
          atomic_store(count, 0);
          merge_parts(a, r, h, first, end);
        }
        unit = (uint64_t)wn_team_next(a->m->team);
      }
  }
}

void wn_stage_attend(wn_member *m) {
  att a = att_of(m);
  if (m->narrow)
    attend_narrow(&a);
  else
    attend_wide(&a);
}
