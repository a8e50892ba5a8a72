/* plan.c - see plan.h.
 *
 * First a list of buffers, each with the stages between which it must live;
 * then places for them, stage by stage, in the first gap that is wide
 * enough. All sizes go through checked arithmetic: a program may ask for
 * more than there is. */
#include "graph/plan.h"

#include <string.h>

#include "base/arith.h"
#include "base/mem.h"
#include "kern/kern.h"

typedef struct buffer {
  uint64_t bytes;
  uint32_t first, last; /* stages */
  size_t *off;          /* where the place is to be stored */
  uint32_t next;        /* next buffer of the same first stage */
} buffer;

typedef struct planner {
  const wn_prog *p;
  const wn_sched *s;
  const wn_plan_opts *o;
  wn_plan *plan;
  uint32_t *last; /* of each value: the last stage that reads it */
  buffer *bufs;
  uint32_t n_bufs, cap_bufs;
  uint32_t *heads; /* of each stage: its first buffer */
  uint64_t narrow; /* bytes of a member's memory taken by the stage in hand */
  uint64_t most_narrow;
  bool overflow, no_memory;
} planner;

static uint64_t product(planner *pl, uint64_t a, uint64_t b) {
  uint64_t r = 0;
  if (!wn_mul(a, b, &r)) pl->overflow = true;
  return r;
}

static uint64_t padded(planner *pl, uint64_t a) {
  uint64_t r = 0;
  if (!wn_pad(a, 64, &r)) pl->overflow = true;
  return r;
}

/* Bytes of `rows` rows of `width` floats. */
static uint64_t floats(planner *pl, uint64_t rows, uint64_t width) {
  return padded(pl, product(pl, product(pl, rows, width), sizeof(float)));
}

static void add_buffer(planner *pl, uint64_t bytes, uint32_t first,
                       uint32_t last, size_t *off) {
  if (pl->n_bufs == pl->cap_bufs) {
    uint32_t cap = pl->cap_bufs == 0 ? 256 : 2 * pl->cap_bufs;
    buffer *q = wn_realloc(WN_MEM_GRAPH, pl->bufs, cap * sizeof *q);
    if (q == NULL) {
      pl->no_memory = true;
      return;
    }
    pl->bufs = q;
    pl->cap_bufs = cap;
  }
  if (last < first) last = first;
  pl->bufs[pl->n_bufs] = (buffer){bytes, first, last, off, pl->heads[first]};
  pl->heads[first] = pl->n_bufs++;
}

/* Room in a member's memory, for the stage in hand. */
static void add_own(planner *pl, uint64_t bytes, size_t *off) {
  *off = (size_t)pl->narrow;
  if (!wn_add(pl->narrow, padded(pl, bytes), &pl->narrow)) pl->overflow = true;
  if (pl->narrow > pl->most_narrow) pl->most_narrow = pl->narrow;
}

/* -- who reads what, until when ------------------------------------------- */

typedef struct reader {
  uint32_t *last;
  uint32_t stage;
} reader;

static void note_last(void *arg, uint32_t v) {
  reader *r = arg;
  r->last[v] = r->stage;
}

static void find_last(planner *pl) {
  for (uint32_t i = 0; i < pl->s->n_stages; i++) {
    reader r = {pl->last, i};
    wn_stage_reads(pl->p, &pl->s->stages[i], note_last, &r);
  }
  pl->last[pl->p->result] = pl->s->n_stages;
}

/* -- buffers of a stage --------------------------------------------------- */

static void plan_value(planner *pl, uint32_t v, uint32_t stage, bool own) {
  wn_value_mem *vm = &pl->plan->values[v];
  uint32_t rows = wn_plan_rows(pl->plan, pl->s, v), width = pl->p->widths[v];
  add_buffer(pl, floats(pl, rows, width), stage, pl->last[v], &vm->off);
  vm->own = SIZE_MAX;
  if (own) add_own(pl, floats(pl, WN_NARROW_ROWS, width), &vm->own);
}

/* Most assignments of a moe operation for so many rows. */
static uint64_t assignments(const wn_op *op, uint64_t rows) {
  return rows * op->i[0];
}

static uint32_t stage_rows(const planner *pl, const wn_stage *st) {
  return st->wanted ? pl->o->n_out : pl->o->n_batch;
}

static void plan_route(planner *pl, uint32_t op, uint32_t stage) {
  wn_moe_mem *mm = &pl->plan->moes[op];
  uint32_t i = stage; /* used until the experts are done */
  while (pl->s->stages[i].kind != WN_STAGE_EXPERTS_DOWN)
    i++;
  uint64_t rows = stage_rows(pl, &pl->s->stages[stage]);
  uint64_t n = assignments(&pl->p->ops[op], 2);
  add_buffer(pl, floats(pl, rows, n), stage, i, &mm->route);
  add_own(pl, floats(pl, WN_NARROW_ROWS, n), &mm->route_own);
}

static void plan_prologue(planner *pl, const wn_stage *st, uint32_t stage) {
  for (uint32_t k = 0; k < st->n_pros; k++) {
    wn_step s = st->pros[k];
    if (s.what == WN_DO_OP) plan_value(pl, s.op, stage, true);
    if (s.what == WN_DO_ROUTE) plan_route(pl, s.op, stage);
  }
}

static void plan_bundle(planner *pl, const wn_bundle *b, uint32_t stage) {
  for (uint32_t k = 0; k < b->n_parts; k++)
    plan_value(pl, b->parts[k], stage, false);
  for (uint32_t k = 0; k < b->n_epis; k++)
    if (b->epis[k].what == WN_DO_OP)
      plan_value(pl, b->epis[k].op, stage, false);
}

/* A packed input of k values for `rows` rows, once for each packing. */
static void plan_pack(planner *pl, uint32_t stage, uint32_t weight, uint32_t k,
                      uint64_t rows, uint64_t narrow_rows) {
  wn_stage_mem *sm = &pl->plan->stages[stage];
  int type = pl->o->types[weight], kind = wn_mm_pack_kind(type);
  for (uint32_t i = 0; i < sm->n_packs; i++)
    if (sm->packs[i].kind == kind) return;
  wn_pack_mem *pm = &sm->packs[sm->n_packs++];
  pm->type = type;
  pm->kind = kind;
  add_buffer(pl, wn_mm_pack_bytes(type, k, rows), stage, stage, &pm->off);
  add_own(pl, wn_mm_pack_bytes(type, k, narrow_rows), &pm->own);
}

static void plan_matrix(planner *pl, const wn_stage *st, uint32_t stage) {
  for (uint32_t b = 0; b < st->n_bundles; b++)
    for (uint32_t k = 0; k < st->bundles[b].n_parts; k++)
      plan_pack(pl, stage, pl->p->ops[st->bundles[b].parts[k]].w[0],
                pl->p->widths[st->input], stage_rows(pl, st), WN_NARROW_ROWS);
}

static void plan_experts(planner *pl, const wn_stage *st, uint32_t stage) {
  const wn_op *op = &pl->p->ops[st->op];
  wn_moe_mem *mm = &pl->plan->moes[st->op];
  uint64_t n = assignments(op, stage_rows(pl, st));
  uint64_t narrow = assignments(op, WN_NARROW_ROWS);
  uint32_t width = pl->p->widths[st->op], ff = op->i[3];
  if (st->kind == WN_STAGE_EXPERTS_UP) {
    add_buffer(pl, floats(pl, n, ff), stage, stage + 1, &mm->gate);
    add_buffer(pl, floats(pl, n, ff), stage, stage, &mm->up);
    plan_pack(pl, stage, op->w[WN_MOE_GATE], width, n, narrow);
    plan_pack(pl, stage, op->w[WN_MOE_UP], width, n, narrow);
  } else {
    add_buffer(pl, floats(pl, n, width), stage, stage, &mm->down);
    plan_pack(pl, stage, op->w[WN_MOE_DOWN], ff, n, narrow);
    plan_value(pl, st->op, stage, false);
  }
}

static void plan_stage(planner *pl, uint32_t stage) {
  const wn_stage *st = &pl->s->stages[stage];
  pl->narrow = 0;
  plan_prologue(pl, st, stage);
  switch (st->kind) {
    case WN_STAGE_ROWS:
      break;
    case WN_STAGE_MATRIX:
      plan_matrix(pl, st, stage);
      break;
    case WN_STAGE_ATTEND:
      plan_value(pl, st->op, stage, false);
      break;
    case WN_STAGE_EXPERTS_UP:
    case WN_STAGE_EXPERTS_DOWN:
      plan_experts(pl, st, stage);
      break;
  }
  for (uint32_t b = 0; b < st->n_bundles; b++)
    plan_bundle(pl, &st->bundles[b], stage);
}

/* -- places --------------------------------------------------------------- */

/* Buffers in use, in order of place. */
typedef struct live {
  uint64_t off, end;
  uint32_t last;
} live;

/* The first gap of so many bytes; *at is its index in the list. */
static uint64_t find_gap(const live *l, uint32_t n, uint64_t bytes,
                         uint32_t *at) {
  uint64_t end = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (l[i].off - end >= bytes) {
      *at = i;
      return end;
    }
    end = l[i].end;
  }
  *at = n;
  return end;
}

static uint32_t drop_dead(live *l, uint32_t n, uint32_t stage) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < n; i++)
    if (l[i].last >= stage) l[kept++] = l[i];
  return kept;
}

/* Gives every buffer its place; returns the bytes of the arena. */
static uint64_t give_places(planner *pl) {
  live *l = wn_alloc(WN_MEM_GRAPH, ((size_t)pl->n_bufs + 1) * sizeof *l);
  uint64_t most = 0;
  uint32_t n = 0;
  if (l == NULL) {
    pl->no_memory = true;
    return 0;
  }
  for (uint32_t st = 0; st < pl->s->n_stages; st++) {
    n = drop_dead(l, n, st);
    for (uint32_t b = pl->heads[st]; b != WN_NONE; b = pl->bufs[b].next) {
      const buffer *bf = &pl->bufs[b];
      uint32_t at;
      uint64_t off = find_gap(l, n, bf->bytes, &at), end = 0;
      if (!wn_add(off, bf->bytes, &end)) pl->overflow = true;
      memmove(l + at + 1, l + at, (n - at) * sizeof *l);
      l[at] = (live){off, end, bf->last};
      n++;
      *bf->off = (size_t)off;
      if (end > most) most = end;
    }
  }
  wn_free(l);
  return most;
}

/* -- what lives throughout ------------------------------------------------ */

static bool same_rope(const wn_op *a, const wn_op *b) {
  return a->i[1] == b->i[1] && a->i[2] == b->i[2] && a->w[0] == b->w[0] &&
         a->w[1] == b->w[1] && memcmp(a->f, b->f, sizeof a->f) == 0;
}

/* Numbers the rotation tables: one for all operations that turn alike. */
static void number_ropes(planner *pl) {
  wn_plan *plan = pl->plan;
  for (uint32_t i = 0; i < pl->p->n_ops; i++) {
    const wn_op *op = &pl->p->ops[i];
    if (op->code != WN_OP_ROPE) continue;
    uint32_t t = 0;
    while (t < plan->n_ropes && !same_rope(op, &pl->p->ops[plan->ropes[t]]))
      t++;
    if (t == plan->n_ropes) plan->ropes[plan->n_ropes++] = i;
    plan->rope_of[i] = t;
  }
}

/* Appends `bytes` behind *end; returns the place. */
static size_t append(planner *pl, uint64_t *end, uint64_t bytes) {
  uint64_t at = *end;
  if (!wn_add(at, padded(pl, bytes), end)) pl->overflow = true;
  return (size_t)at;
}

static void plan_ropes(planner *pl, uint64_t *arena, uint64_t *member) {
  wn_plan *plan = pl->plan;
  number_ropes(pl);
  for (uint32_t t = 0; t < plan->n_ropes; t++) {
    uint32_t rot = pl->p->ops[plan->ropes[t]].i[1];
    plan->rope_off[t] = append(pl, arena, floats(pl, pl->o->n_batch, rot));
    plan->rope_own[t] = append(pl, member, floats(pl, WN_NARROW_ROWS, rot));
  }
}

/* Scratch of attention, and the partial results of narrow stages: for each
 * row, head and part a running softmax. */
static void plan_attention(planner *pl, uint64_t *arena, uint64_t *member) {
  uint64_t partial = 0, counters = 0, scratch = 0;
  wn_plan *plan = pl->plan;
  plan->n_parts = (pl->o->n_ctx + WN_ATTEND_PART - 1) / WN_ATTEND_PART;
  for (uint32_t i = 0; i < pl->p->n_ops; i++) {
    const wn_op *op = &pl->p->ops[i];
    if (op->code != WN_OP_ATTEND) continue;
    uint64_t all =
        product(pl, floats(pl, plan->n_parts, wn_attend_partial(pl->p, op)),
                WN_NARROW_ROWS);
    if (all > partial) partial = all;
    if (op->i[2] > counters) counters = op->i[2];
    uint64_t own = wn_attend_floats(pl->p, op);
    if (own > scratch) scratch = own;
  }
  plan->partial_off = append(pl, arena, partial);
  plan->counter_bytes = (size_t)counters * WN_NARROW_ROWS * sizeof(int32_t);
  plan->counter_off = append(pl, arena, plan->counter_bytes);
  plan->attend_own = append(pl, member, floats(pl, 1, scratch));
}

/* The order of assignments: start of each expert, then the assignments. */
static void plan_order(planner *pl, uint64_t *member) {
  uint64_t most = 0;
  for (uint32_t i = 0; i < pl->p->n_ops; i++) {
    const wn_op *op = &pl->p->ops[i];
    if (op->code != WN_OP_MOE) continue;
    uint64_t rows = pl->s->wanted[i] ? pl->o->n_out : pl->o->n_batch;
    uint64_t n = pl->p->widths[op->in[1]] + 1 + assignments(op, rows);
    if (n > most) most = n;
  }
  pl->plan->order_own = append(pl, member, product(pl, most, sizeof(uint32_t)));
}

static void plan_memory(planner *pl) {
  find_last(pl);
  for (uint32_t st = 0; st < pl->s->n_stages; st++)
    plan_stage(pl, st);
  if (pl->no_memory) return;
  uint64_t arena = give_places(pl), member = padded(pl, pl->most_narrow);
  plan_ropes(pl, &arena, &member);
  plan_attention(pl, &arena, &member);
  plan_order(pl, &member);
  pl->plan->scratch_own = append(pl, &member, wn_mm_scratch_bytes());
  uint64_t all = 0;
  all = product(pl, member, (uint64_t)pl->o->n_threads);
  if (!wn_add(all, arena, &all) || all > SIZE_MAX / 2) pl->overflow = true;
  pl->plan->arena_bytes = (size_t)arena;
  pl->plan->member_bytes = (size_t)member;
}

static bool alloc_plan(planner *pl) {
  wn_plan *plan = pl->plan;
  uint32_t n = pl->p->n_ops, n_st = pl->s->n_stages;
  plan->values = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->values);
  plan->stages = wn_calloc(WN_MEM_GRAPH, n_st, sizeof *plan->stages);
  plan->moes = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->moes);
  plan->rope_of = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->rope_of);
  plan->ropes = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->ropes);
  plan->rope_off = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->rope_off);
  plan->rope_own = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->rope_own);
  pl->last = wn_calloc(WN_MEM_GRAPH, n, sizeof *pl->last);
  pl->heads = wn_alloc(WN_MEM_GRAPH, n_st * sizeof *pl->heads);
  if (pl->heads != NULL) memset(pl->heads, 0xff, n_st * sizeof *pl->heads);
  return plan->values && plan->stages && plan->moes && plan->rope_of &&
         plan->ropes && plan->rope_off && plan->rope_own && pl->last &&
         pl->heads;
}

int wn_plan_new(const wn_prog *p, const wn_sched *s, const wn_plan_opts *o,
                wn_plan **out, wn_err *e) {
  planner pl = {.p = p, .s = s, .o = o};
  pl.plan = wn_calloc(WN_MEM_GRAPH, 1, sizeof *pl.plan);
  if (pl.plan == NULL) return wn_fail(e, WN_ENOMEM, "plan: out of memory");
  pl.plan->n_batch = o->n_batch;
  pl.plan->n_out = o->n_out;
  pl.plan->n_ctx = o->n_ctx;
  pl.plan->n_threads = o->n_threads;
  if (alloc_plan(&pl))
    plan_memory(&pl);
  else
    pl.no_memory = true;
  wn_free(pl.last);
  wn_free(pl.heads);
  wn_free(pl.bufs);
  if (!pl.no_memory && !pl.overflow) {
    *out = pl.plan;
    return WN_OK;
  }
  wn_plan_free(pl.plan);
  if (pl.no_memory) return wn_fail(e, WN_ENOMEM, "plan: out of memory");
  return wn_fail(e, WN_ELIMIT,
                 "plan: a batch of %u tokens needs more memory "
                 "than there are addresses",
                 o->n_batch);
}

void wn_plan_free(wn_plan *plan) {
  if (plan == NULL) return;
  wn_free(plan->values);
  wn_free(plan->stages);
  wn_free(plan->moes);
  wn_free(plan->rope_of);
  wn_free(plan->ropes);
  wn_free(plan->rope_off);
  wn_free(plan->rope_own);
  wn_free(plan);
}
