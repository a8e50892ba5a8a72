/* attend.c - attention over the cache by an online softmax.
 *
 * Keys are taken in blocks of WN_PANEL positions, aligned to multiples of it,
 * and blocks in parts of WN_ATTEND_PART. Within a part a running maximum, sums
 * and weighted values are kept; a finished part is merged into the row's
 * total. Which keys meet in which block and part depends on positions alone,
 * and every score and every weighted value is one chain of additions in a
 * fixed order, so a token's result does not depend on the batch it came in,
 * nor on the number of threads.
 *
 * The work is done on tiles: some rows of one sequence and one key/value
 * head, with all query heads that share it. A block is loaded once for a
 * tile: keys turned into columns, values expanded to float32 unless few
 * queries use them. Then a handful of rows at a time is multiplied with the
 * keys, put through the softmax, multiplied with the values.
 *
 * Wide: a unit is a tile of many rows. Narrow: a unit is one row and one part;
 * whoever finishes the last part of a head merges them all, in order. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "graph/attend.h"

/* Sizes and places for one attend operation. */
typedef struct att {
  wn_member *m;
  const wn_op *op;
  uint32_t id;
  uint32_t group; /* query heads that are worked on together */
  uint32_t units; /* such groups */
  uint32_t split; /* of them, for each key/value head */
  uint32_t wk, wv;
  const wn_cache_type *type_k, *type_v;
  bool in_keys; /* values are the beginning of the keys */
  size_t state; /* floats of a state */
  /* this member's scratch */
  float *panel, *rows, *queries, *scores, *keep, *states;
} att;

/* A running softmax as wn_vec.soften keeps it, then the weighted values. */
enum { MAXIMUM = 0, SUMS = 16, LANES = 16, WEIGHTED = 32 };

/* Query heads of one key/value head that are worked on together, if they can
 * be halved. */
enum { MOST_TOGETHER = 16 };

static size_t whole_lanes(size_t n) {
  return (n + LANES - 1) / LANES * LANES;
}

static size_t state_floats(size_t wv) {
  return WEIGHTED + whole_lanes(wv);
}

/* Rows that go through a block together, and most rows of a tile: at least
 * one. */
static uint32_t step_rows(uint32_t group) {
  return group < WN_ATTEND_STEP ? WN_ATTEND_STEP / group : 1;
}
static uint32_t most_rows(uint32_t group) {
  uint32_t step = step_rows(group);
  uint32_t steps = WN_ATTEND_TILE / (step * group);
  return steps > 0 ? steps * step : step;
}

/* Floats of each part of a member's scratch. */
typedef struct scratch {
  size_t panel, rows, queries, scores, keep, states;
} scratch;

static scratch scratch_of(const wn_slot *s, uint32_t group) {
  size_t tile = (size_t)most_rows(group) * group;
  size_t step = (size_t)step_rows(group) * group;
  size_t width = s->width_k > s->width_v ? s->width_k : s->width_v;
  return (scratch){.panel = WN_PANEL * (size_t)s->width_k,
                   .rows = WN_PANEL * width,
                   .queries = whole_lanes(tile * s->width_k),
                   .scores = WN_PANEL * step,
                   .keep = whole_lanes(step),
                   .states = 2 * tile * state_floats(s->width_v)};
}

/* Many query heads of one key/value head are divided, so that there is work
 * for everyone. */
static uint32_t group_of(const wn_op *op) {
  uint32_t group = op->i[1] / op->i[2];
  while (group > MOST_TOGETHER && group % 2 == 0)
    group /= 2;
  return group;
}

uint32_t wn_attend_units(const wn_op *op) {
  return op->i[1] / group_of(op);
}

size_t wn_attend_floats(const wn_prog *p, const wn_op *op) {
  scratch n = scratch_of(&p->slots[op->i[0]], group_of(op));
  return n.panel + n.rows + n.queries + n.scores + n.keep + n.states;
}

size_t wn_attend_partial(const wn_prog *p, const wn_op *op) {
  return op->i[1] * state_floats(p->slots[op->i[0]].width_v);
}

static att att_of(wn_member *m) {
  const wn_op *op = &m->f->p->ops[m->st->op];
  const wn_slot *s = &m->f->p->slots[op->i[0]];
  att a = {.m = m, .op = op, .id = m->st->op, .group = group_of(op)};
  a.units = wn_attend_units(op);
  a.split = a.units / op->i[2];
  a.in_keys = s->keep == WN_KEEP_KEYS;
  a.type_k = &m->f->type_k;
  a.type_v = a.in_keys ? a.type_k : &m->f->type_v;
  a.wk = s->width_k;
  a.wv = s->width_v;
  a.state = state_floats(a.wv);
  scratch n = scratch_of(s, a.group);
  a.panel = wn_floats(m->mem, m->f->plan->attend_own);
  a.rows = a.panel + n.panel;
  a.queries = a.rows + n.rows;
  a.scores = a.queries + n.queries;
  a.keep = a.scores + n.scores;
  a.states = a.keep + n.keep;
  return a;
}

/* The positions that row r sees: lo <= p < hi. A window ends at the row's own
 * position, or lies around it where all positions see each other. */
void wn_attend_range(const wn_member *m, const wn_op *op, uint32_t r,
                     uint32_t *lo, uint32_t *hi) {
  uint32_t t = wn_token_of(m, r), window = op->i[3], pos = m->f->pos[t];
  if (op->kind != WN_ATTEND_FULL) {
    *hi = pos + 1;
    *lo = window != 0 && *hi > window ? *hi - window : 0;
    if (op->kind == WN_ATTEND_CHUNKED) *lo = pos / window * window;
    return;
  }
  uint32_t end = m->f->end[t], half = window / 2;
  *lo = window != 0 && pos > half ? pos - half : 0;
  *hi = window != 0 && end - pos > half ? pos + half + 1 : end;
}

/* What a score of head h loses for each position between query and key, times
 * what scores are multiplied by: slopes halve (or so) from head to head, from
 * 2^(-bias / n) for n heads, a power of two; heads beyond go between. */
float wn_attend_slope(const wn_op *op, uint32_t h) {
  uint32_t n = op->i[1], n2 = 1;
  while (n2 * 2 <= n)
    n2 *= 2;
  float bias = op->f[2], m0 = exp2f(-bias / (float)n2);
  float m1 = exp2f(-bias / 2.0f / (float)n2);
  return h < n2 ? powf(m0, (float)(h + 1))
                : powf(m1, (float)(2 * (h - n2) + 1));
}

/* -- running softmaxes ---------------------------------------------------- */

static void clear_states(const att *a, float *st, size_t n) {
  memset(st, 0, n * a->state * sizeof *st);
  for (size_t i = 0; i < n; i++)
    st[i * a->state + MAXIMUM] = -INFINITY;
}

/* A rescaling factor of a running softmax; exp(0) is exactly 1. */
static float rescale(float from, float to) {
  if (from == -INFINITY) return 0;
  return from == to ? 1.0f : wn_expf(from - to);
}

/* Lane i with i + 8, then + 4, + 2, + 1. */
static float sum_of(const float *st) {
  float b[LANES];
  memcpy(b, st + SUMS, sizeof b);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int k = 0; k < half; k++)
      b[k] += b[k + half];
  return b[0];
}

/* total += part, both running softmaxes. An empty total becomes the part
 * exactly. */
static void merge_state(const att *a, float *total, const float *part) {
  const wn_vec *v = a->m->f->vec;
  if (part[MAXIMUM] == -INFINITY && sum_of(part) == 0) return;
  float top = fmaxf(total[MAXIMUM], part[MAXIMUM]);
  float keep = rescale(total[MAXIMUM], top), gain = rescale(part[MAXIMUM], top);
  total[MAXIMUM] = top;
  v->scale(keep, total + SUMS, total + SUMS, a->state - SUMS);
  v->madd(gain, part + SUMS, total + SUMS, a->state - SUMS);
}

/* The row's output for one query head: the state over its sum, with the
 * head's sink as one more key that has no value. */
static void finish(const att *a, uint32_t r, uint32_t head, const float *st) {
  const wn_vec *v = a->m->f->vec;
  float factor = 1.0f, sum = sum_of(st);
  if (a->op->w[0] != WN_NONE) {
    float sink = a->m->f->bound[a->op->w[0]].vec[head];
    float top = fmaxf(st[MAXIMUM], sink);
    factor = rescale(st[MAXIMUM], top);
    sum = sum * factor + wn_expf(sink - top);
  }
  float *y = wn_row(a->m, a->id, r) + (size_t)head * a->wv;
  v->scale(factor / sum, st + WEIGHTED, y, a->wv);
}

/* -- blocks of the cache -------------------------------------------------- */

/* Keys (in att.panel) and values of the n positions from p0 on. */
typedef struct block {
  uint32_t p0, n;
  wn_row_kind kind; /* of the values: rows v_row bytes apart */
  const uint8_t *v;
  size_t v_row;
} block;

/* How attention reads rows of a type, or WN_ROW_KINDS: not as they lie. */
static wn_row_kind kind_of(int type) {
  switch (type) {
    case WN_TYPE_F32:
      return WN_ROW_F32;
    case WN_TYPE_F16:
      return WN_ROW_F16;
    case WN_TYPE_BF16:
      return WN_ROW_BF16;
    case WN_TYPE_Q8_0:
      return WN_ROW_Q8_0;
    case WN_TYPE_Q4_0:
      return WN_ROW_Q4_0;
    default:
      return WN_ROW_KINDS;
  }
}

static void load_keys(const att *a, const uint8_t *k, size_t row, size_t n) {
  const wn_vec *v = a->m->f->vec;
  const wn_cache_type *t = a->type_k;
  wn_row_kind kind = kind_of(t->type);
  if (kind == WN_ROW_KINDS) {
    t->decode(k, a->rows, n * a->wk);
    kind = WN_ROW_F32;
    k = (const uint8_t *)a->rows;
    row = a->wk * sizeof *a->rows;
  }
  v->panel(kind, k, row, n, a->wk, a->panel);
}

/* n values in a row. */
static void expand(const att *a, wn_row_kind kind, const uint8_t *v, float *to,
                   size_t n) {
  if (kind == WN_ROW_F16)
    a->m->f->vec->f32_of_f16((const uint16_t *)(const void *)v, to, n);
  else
    a->type_v->decode(v, to, n);
}

/* Values for `users` queries. For no more than are multiplied at once they
 * stay where they are: each number is expanded once, on the way. */
static void load_values(const att *a, const uint8_t *v, size_t row,
                        uint32_t users, block *b) {
  const wn_cache_type *t = a->type_v;
  b->kind = kind_of(t->type);
  b->v = v;
  b->v_row = row;
  if (b->kind == WN_ROW_F32) return;
  if (b->kind != WN_ROW_KINDS && users <= WN_ATTEND_DIRECT) return;
  if (a->in_keys) /* with more between one row and the next */
    for (uint32_t i = 0; i < b->n; i++)
      expand(a, b->kind, v + i * row, a->rows + (size_t)i * a->wv, a->wv);
  else
    expand(a, b->kind, v, a->rows, (size_t)b->n * a->wv);
  b->kind = WN_ROW_F32;
  b->v = (const uint8_t *)a->rows;
  b->v_row = a->wv * sizeof *a->rows;
}

/* -- tiles ---------------------------------------------------------------- */

/* Rows r0 <= r < r1 of one sequence, and one group of query heads. */
typedef struct tile {
  uint32_t r0, r1, seq, head;
  uint32_t lo[WN_ATTEND_TILE], hi[WN_ATTEND_TILE];
  uint32_t first, end; /* positions that any row sees */
} tile;

/* Ranges and queries of the rows. */
static void open_tile(const att *a, tile *t) {
  float *to = a->queries;
  size_t n = (size_t)a->group * a->wk;
  t->first = UINT32_MAX;
  t->end = 0;
  for (uint32_t k = 0; k < t->r1 - t->r0; k++, to += n) {
    wn_attend_range(a->m, a->op, t->r0 + k, &t->lo[k], &t->hi[k]);
    if (t->lo[k] < t->first) t->first = t->lo[k];
    if (t->hi[k] > t->end) t->end = t->hi[k];
    memcpy(to, wn_row_in(a->m, a->op->in[0], t->r0 + k) + t->head * n,
           n * sizeof *to);
  }
}

/* Rows k0 <= k < k1 of a tile in a block, and which of its keys they see: at
 * least one. */
typedef struct pass {
  uint32_t k0, k1;
  wn_range seen[WN_ATTEND_STEP];
} pass;

/* The next rows, from k1 on, that see some of the block; false: none. */
static bool next_pass(const att *a, const tile *t, const block *b, pass *s) {
  uint32_t most = step_rows(a->group), n_rows = t->r1 - t->r0;
  for (s->k0 = s->k1; s->k1 < n_rows && s->k1 - s->k0 < most; s->k1++) {
    uint32_t lo = t->lo[s->k1], hi = t->hi[s->k1], at = s->k1 - s->k0;
    lo = lo > b->p0 ? lo - b->p0 : 0;
    hi = hi > b->p0 ? hi - b->p0 : 0;
    if (hi > b->n) hi = b->n;
    if (lo < hi)
      s->seen[at] = (wn_range){lo, hi};
    else if (at == 0)
      s->k0++; /* and k1 with it */
    else
      break;
  }
  return s->k0 < s->k1;
}

/* Weighted values of the keys lo <= j < hi for n queries from q0 of a step on,
 * whose states start at st. */
static void weigh(const att *a, const block *b, uint32_t q0, uint32_t n,
                  uint32_t lo, uint32_t hi, float *st) {
  const wn_vec *v = a->m->f->vec;
  const float *p = a->scores + (size_t)q0 * WN_PANEL + lo;
  float *y = st + WEIGHTED;
  if (lo >= hi) return;
  v->product(p, WN_PANEL, n, b->kind, b->v + lo * b->v_row, b->v_row, hi - lo,
             a->wv, a->keep + q0, y, a->state);
  for (uint32_t i = 0; i < n; i++)
    a->keep[q0 + i] = 1;
}

/* Keys that all rows of a step see are weighed together; those before and
 * behind, row by row: the order of keys is the same for everyone. */
static void weigh_pass(const att *a, const block *b, const pass *s, float *st) {
  uint32_t n = s->k1 - s->k0, lo = 0, hi = UINT32_MAX, g = a->group;
  size_t row = g * a->state;
  for (uint32_t k = 0; k < n; k++) {
    if (s->seen[k].lo > lo) lo = s->seen[k].lo;
    if (s->seen[k].hi < hi) hi = s->seen[k].hi;
  }
  if (hi < lo) hi = lo; /* nothing in common */
  for (uint32_t k = 0; k < n; k++) {
    uint32_t end = s->seen[k].hi < lo ? s->seen[k].hi : lo;
    weigh(a, b, k * g, g, s->seen[k].lo, end, st + k * row);
  }
  weigh(a, b, 0, n * g, lo, hi, st);
  for (uint32_t k = 0; k < n; k++) {
    uint32_t start = s->seen[k].lo > hi ? s->seen[k].lo : hi;
    weigh(a, b, k * g, g, start, s->seen[k].hi, st + k * row);
  }
}

/* Takes the distances of n keys off the scores of a pass (ALiBi). */
static void lean(const att *a, const tile *t, const block *b, const pass *s,
                 uint32_t n) {
  const wn_frame *f = a->m->f;
  float *x = a->scores;
  for (uint32_t k = s->k0; k < s->k1; k++) {
    float pos = (float)f->pos[wn_token_of(a->m, t->r0 + k)];
    for (uint32_t i = 0; i < a->group; i++, x += WN_PANEL) {
      float slope =
          wn_attend_slope(a->op, t->head * a->group + i) / a->op->f[0];
      for (uint32_t j = 0; j < n; j++)
        x[j] -= slope * fabsf((float)(b->p0 + j) - pos);
    }
  }
}

/* Rows k0 <= k < k1 of a tile through a block; st: the state of the tile's
 * first query. */
static void attend_pass(const att *a, const tile *t, const block *b,
                        const pass *s, float *st) {
  const wn_vec *v = a->m->f->vec;
  uint32_t n = s->k1 - s->k0, hi = 0;
  for (uint32_t k = 0; k < n; k++)
    if (s->seen[k].hi > hi) hi = s->seen[k].hi;
  st += (size_t)s->k0 * a->group * a->state;
  v->product(a->queries + (size_t)s->k0 * a->group * a->wk, a->wk, n * a->group,
             WN_ROW_F32, a->panel, WN_PANEL * sizeof *a->panel, a->wk,
             whole_lanes(hi), NULL, a->scores, WN_PANEL);
  if (a->op->f[2] != 0) lean(a, t, b, s, hi);
  v->soften(a->scores, n * a->group, s->seen, a->group, a->op->f[0],
            a->op->f[1], st, a->state, a->keep);
  weigh_pass(a, b, s, st);
}

/* The positions from <= p < to of a tile, all of one part, into cleared
 * states. */
static void attend_part(const att *a, const tile *t, uint32_t from, uint32_t to,
                        float *states) {
  const wn_frame *f = a->m->f;
  const wn_cache_slot *c = &f->slots[a->op->i[0]];
  uint32_t head = t->head / a->split;
  const uint8_t *keys = c->k + t->seq * c->k_seq + head * c->k_head;
  const uint8_t *values = c->v + t->seq * c->v_seq + head * c->v_head;
  for (uint32_t p = from / WN_PANEL * WN_PANEL; p < to; p += WN_PANEL) {
    block b = {.p0 = p, .n = to - p < WN_PANEL ? to - p : WN_PANEL};
    size_t at = p % c->ring; /* a panel lies in one piece */
    load_keys(a, keys + at * c->k_pos, c->k_pos, b.n);
    load_values(a, values + at * c->v_pos, c->v_pos, (t->r1 - t->r0) * a->group,
                &b);
    pass s;
    for (s.k1 = 0; next_pass(a, t, &b, &s);)
      attend_pass(a, t, &b, &s, states);
  }
}

/* Where the part that holds position p ends. */
static uint32_t part_end(uint32_t p, uint32_t end) {
  uint32_t next = (p / WN_ATTEND_PART + 1) * WN_ATTEND_PART;
  return next < end ? next : end;
}

/* -- wide ----------------------------------------------------------------- */

static void attend_tile(const att *a, tile *t) {
  size_t n = (size_t)(t->r1 - t->r0) * a->group;
  float *total = a->states, *part = total + n * a->state;
  open_tile(a, t);
  clear_states(a, total, n);
  for (uint32_t p = t->first, end; p < t->end; p = end) {
    end = part_end(p, t->end);
    clear_states(a, part, n);
    attend_part(a, t, p, end, part);
    for (size_t i = 0; i < n; i++)
      merge_state(a, total + i * a->state, part + i * a->state);
  }
  for (size_t i = 0; i < n; i++)
    finish(a, t->r0 + (uint32_t)i / a->group,
           t->head * a->group + (uint32_t)i % a->group, total + i * a->state);
}

/* The tile of at most `most` rows that ends before row r1. */
static tile tile_before(const att *a, uint32_t r1, uint32_t most) {
  const wn_frame *f = a->m->f;
  tile t = {.r0 = r1 - 1, .r1 = r1};
  t.seq = f->seq[wn_token_of(a->m, t.r0)];
  while (t.r0 > 0 && r1 - t.r0 < most &&
         f->seq[wn_token_of(a->m, t.r0 - 1)] == t.seq)
    t.r0--;
  return t;
}

/* Rows of a tile: many, but enough tiles for everyone; whole steps. */
static uint32_t tile_rows(const att *a) {
  uint32_t most = most_rows(a->group), step = step_rows(a->group);
  uint64_t rows = (uint64_t)a->m->n_rows * a->units / (4u * (uint32_t)a->m->n);
  if (rows >= most) return most;
  return rows > step ? (uint32_t)rows / step * step : step;
}

/* From the last rows, which see the most, to the first. */
static void attend_wide(const att *a) {
  uint32_t n_kv = a->units, most = tile_rows(a);
  uint64_t unit = (uint64_t)wn_team_next(a->m->team), at = 0;
  for (uint32_t r = a->m->n_rows; r > 0;) {
    tile t = tile_before(a, r, most);
    for (; unit < at + n_kv; unit = (uint64_t)wn_team_next(a->m->team)) {
      t.head = (uint32_t)(unit - at);
      attend_tile(a, &t);
    }
    at += n_kv;
    r = t.r0;
  }
}

/* -- narrow --------------------------------------------------------------- */

/* The shared states of one part of row r, one for each query head of a
 * key/value head. */
static float *partial(const att *a, uint32_t r, uint32_t head, uint32_t part) {
  const wn_plan *plan = a->m->f->plan;
  size_t i = ((size_t)r * a->units + head) * plan->n_parts + part;
  return wn_floats(a->m->f->arena, plan->partial_off) + i * a->group * a->state;
}

/* Merges the parts of a row that is a tile, in order. */
static void merge_parts(const att *a, const tile *t) {
  for (uint32_t g = 0; g < a->group; g++) {
    float *total = a->states;
    clear_states(a, total, 1);
    for (uint32_t p = t->first; p < t->end; p = part_end(p, t->end))
      merge_state(
          a, total,
          partial(a, t->r0, t->head, p / WN_ATTEND_PART) + g * a->state);
    finish(a, t->r0, t->head * a->group + g, total);
  }
}

/* One part of a row that is a tile; the last one to finish merges. */
static void attend_unit(const att *a, tile *t, uint32_t part) {
  const wn_frame *f = a->m->f;
  atomic_int *done = (atomic_int *)(void *)(f->arena + f->plan->counter_off);
  atomic_int *count = &done[(size_t)t->r0 * a->units + t->head];
  open_tile(a, t);
  uint32_t n = (t->end - 1) / WN_ATTEND_PART - t->first / WN_ATTEND_PART + 1;
  uint32_t from = part * WN_ATTEND_PART;
  if (from < t->first) from = t->first;
  float *states = partial(a, t->r0, t->head, part);
  clear_states(a, states, a->group);
  attend_part(a, t, from, part_end(from, t->end), states);
  if (atomic_fetch_add(count, 1) != (int)n - 1) return;
  atomic_store(count, 0);
  merge_parts(a, t);
}

static void attend_narrow(const att *a) {
  uint64_t unit = (uint64_t)wn_team_next(a->m->team), at = 0;
  for (uint32_t r = 0; r < a->m->n_rows; r++) {
    tile t = {.r0 = r, .r1 = r + 1};
    uint32_t lo, hi;
    wn_attend_range(a->m, a->op, r, &lo, &hi);
    t.seq = a->m->f->seq[wn_token_of(a->m, r)];
    uint32_t first = lo / WN_ATTEND_PART;
    uint32_t n = (hi - 1) / WN_ATTEND_PART - first + 1;
    uint64_t end = at + (uint64_t)n * a->units;
    for (; unit < end; unit = (uint64_t)wn_team_next(a->m->team)) {
      t.head = (uint32_t)((unit - at) / n);
      attend_unit(a, &t, first + (uint32_t)((unit - at) % n));
    }
    at = end;
  }
}

void wn_attend_run(wn_member *m) {
  att a = att_of(m);
  if (m->narrow)
    attend_narrow(&a);
  else
    attend_wide(&a);
}
