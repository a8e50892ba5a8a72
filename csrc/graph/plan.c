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
#include "graph/op.h"
#include "kern/kern.h"

typedef struct buffer {
  uint64_t bytes;
  uint32_t first, last; /* stages */
  size_t *off;          /* where the place is to be stored */
  uint32_t next;        /* next buffer of the same first stage */
} buffer;

/* A place that is there throughout. */
typedef struct lasting {
  size_t *off;
  uint64_t bytes;
} lasting;

/* The lasting places of the arena, or of a member. */
typedef struct region {
  uint32_t n, cap;
  lasting *list;
} region;

struct wn_planner {
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
  region arena, member;
  bool overflow, no_memory;
};

const wn_prog *wn_planner_prog(const wn_planner *pl) {
  return pl->p;
}
const wn_sched *wn_planner_sched(const wn_planner *pl) {
  return pl->s;
}
const wn_plan_opts *wn_planner_opts(const wn_planner *pl) {
  return pl->o;
}
wn_plan *wn_planner_plan(const wn_planner *pl) {
  return pl->plan;
}

uint64_t wn_plan_product(wn_planner *pl, uint64_t a, uint64_t b) {
  uint64_t r = 0;
  if (!wn_mul(a, b, &r)) pl->overflow = true;
  return r;
}

static uint64_t padded(wn_planner *pl, uint64_t a) {
  uint64_t r = 0;
  if (!wn_pad(a, 64, &r)) pl->overflow = true;
  return r;
}

/* Bytes of `rows` rows of `width` floats. */
uint64_t wn_plan_floats(wn_planner *pl, uint64_t rows, uint64_t width) {
  return padded(
      pl, wn_plan_product(pl, wn_plan_product(pl, rows, width), sizeof(float)));
}

void wn_plan_buffer(wn_planner *pl, uint64_t bytes, uint32_t first,
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
void wn_plan_own(wn_planner *pl, uint64_t bytes, size_t *off) {
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

static void find_last(wn_planner *pl) {
  for (uint32_t i = 0; i < pl->s->n_stages; i++) {
    reader r = {pl->last, i};
    wn_stage_reads(pl->p, &pl->s->stages[i], note_last, &r);
  }
  pl->last[pl->p->result] = pl->s->n_stages;
  for (uint32_t v = 0; pl->o->until != NULL && v < pl->p->n_ops; v++)
    if (pl->o->until[v] > pl->last[v]) pl->last[v] = pl->o->until[v];
}

/* -- buffers of a stage --------------------------------------------------- */

void wn_plan_value(wn_planner *pl, uint32_t v, uint32_t stage, bool own) {
  wn_value_mem *vm = &pl->plan->values[v];
  uint32_t rows = wn_plan_rows(pl->plan, pl->s, v), width = pl->p->widths[v];
  wn_plan_buffer(pl, wn_plan_floats(pl, rows, width), stage, pl->last[v],
                 &vm->off);
  vm->own = SIZE_MAX;
  if (own) wn_plan_own(pl, wn_plan_floats(pl, WN_NARROW_ROWS, width), &vm->own);
}

void wn_plan_alone(wn_planner *pl, const wn_stage *st, uint32_t stage) {
  wn_plan_value(pl, st->op, stage, false);
}

uint32_t wn_plan_stage_rows(const wn_planner *pl, const wn_stage *st) {
  return st->wanted ? pl->o->n_out : pl->o->n_batch;
}

static void plan_prologue(wn_planner *pl, const wn_stage *st, uint32_t stage) {
  for (uint32_t k = 0; k < st->n_pros; k++) {
    wn_step s = st->pros[k];
    if (s.part == WN_WHOLE) {
      wn_plan_value(pl, s.op, stage, true);
    } else {
      const wn_op_before *part = &wn_desc(pl->p, s.op)->parts[s.part - 1];
      if (part->plan != NULL) part->plan(pl, s.op, stage);
    }
  }
}

static void plan_bundle(wn_planner *pl, const wn_bundle *b, uint32_t stage) {
  for (uint32_t k = 0; k < b->n_parts; k++)
    wn_plan_value(pl, b->parts[k], stage, false);
  for (uint32_t k = 0; k < b->n_epis; k++)
    if (b->epis[k].part == WN_WHOLE)
      wn_plan_value(pl, b->epis[k].op, stage, false);
}

void wn_plan_pack(wn_planner *pl, uint32_t stage, uint32_t weight, uint32_t k,
                  uint64_t rows, uint64_t narrow_rows) {
  wn_stage_mem *sm = &pl->plan->stages[stage];
  int type = pl->o->exact ? WN_TYPE_F32 : pl->o->types[weight];
  int kind = wn_mm_pack_kind(type);
  if (pl->o->exact)
    wn_plan_member(pl, wn_plan_floats(pl, WN_MM_ROWS, k), &pl->plan->exact_own);
  for (uint32_t i = 0; i < sm->n_packs; i++)
    if (sm->packs[i].kind == kind) return;
  wn_pack_mem *pm = &sm->packs[sm->n_packs++];
  pm->type = type;
  pm->kind = kind;
  wn_plan_buffer(pl, wn_mm_pack_bytes(type, k, rows), stage, stage, &pm->off);
  wn_plan_own(pl, wn_mm_pack_bytes(type, k, narrow_rows), &pm->own);
}

static void plan_stage(wn_planner *pl, uint32_t stage) {
  const wn_stage *st = &pl->s->stages[stage];
  pl->narrow = 0;
  plan_prologue(pl, st, stage);
  const wn_op_desc *d = wn_stage_desc(pl->p, st);
  if (d != NULL) d->plan_stage(pl, st, stage);
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
static uint64_t give_places(wn_planner *pl) {
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

static void wish(wn_planner *pl, region *g, uint64_t bytes, size_t *off) {
  for (uint32_t i = 0; i < g->n; i++)
    if (g->list[i].off == off) {
      if (bytes > g->list[i].bytes) g->list[i].bytes = bytes;
      return;
    }
  if (g->n == g->cap) {
    uint32_t cap = g->cap == 0 ? 16 : 2 * g->cap;
    lasting *q = wn_realloc(WN_MEM_GRAPH, g->list, cap * sizeof *q);
    if (q == NULL) {
      pl->no_memory = true;
      return;
    }
    g->list = q;
    g->cap = cap;
  }
  g->list[g->n++] = (lasting){off, bytes};
}

void wn_plan_arena(wn_planner *pl, uint64_t bytes, size_t *off) {
  wish(pl, &pl->arena, bytes, off);
}

void wn_plan_member(wn_planner *pl, uint64_t bytes, size_t *off) {
  wish(pl, &pl->member, bytes, off);
}

/* Places behind *end for all wishes. */
static void lay_out(wn_planner *pl, const region *g, uint64_t *end) {
  for (uint32_t i = 0; i < g->n; i++) {
    *g->list[i].off = (size_t)*end;
    if (!wn_add(*end, padded(pl, g->list[i].bytes), end)) pl->overflow = true;
  }
}

static void plan_lasting(wn_planner *pl, uint64_t *arena, uint64_t *member) {
  for (uint32_t i = 0; i < pl->p->n_ops; i++) {
    const wn_op_desc *d = wn_desc(pl->p, i);
    if (d->plan != NULL) d->plan(pl, i);
  }
  lay_out(pl, &pl->arena, arena);
  lay_out(pl, &pl->member, member);
}

static void plan_memory(wn_planner *pl) {
  find_last(pl);
  for (uint32_t st = 0; st < pl->s->n_stages; st++)
    plan_stage(pl, st);
  if (pl->no_memory) return;
  uint64_t arena = give_places(pl), member = padded(pl, pl->most_narrow);
  plan_lasting(pl, &arena, &member);
  uint64_t all = 0;
  all = wn_plan_product(pl, member, (uint64_t)pl->o->n_threads);
  if (!wn_add(all, arena, &all) || all > SIZE_MAX / 2) pl->overflow = true;
  pl->plan->arena_bytes = (size_t)arena;
  pl->plan->member_bytes = (size_t)member;
}

static bool alloc_plan(wn_planner *pl) {
  wn_plan *plan = pl->plan;
  uint32_t n = pl->p->n_ops, n_st = pl->s->n_stages;
  plan->values = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->values);
  plan->stages = wn_calloc(WN_MEM_GRAPH, n_st, sizeof *plan->stages);
  plan->ops = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->ops);
  plan->rope_of = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->rope_of);
  plan->ropes = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->ropes);
  plan->rope_off = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->rope_off);
  plan->rope_own = wn_calloc(WN_MEM_GRAPH, n, sizeof *plan->rope_own);
  pl->last = wn_calloc(WN_MEM_GRAPH, n, sizeof *pl->last);
  pl->heads = wn_alloc(WN_MEM_GRAPH, n_st * sizeof *pl->heads);
  if (pl->heads != NULL) memset(pl->heads, 0xff, n_st * sizeof *pl->heads);
  return plan->values && plan->stages && plan->ops && plan->rope_of &&
         plan->ropes && plan->rope_off && plan->rope_own && pl->last &&
         pl->heads;
}

int wn_plan_new(const wn_prog *p, const wn_sched *s, const wn_plan_opts *o,
                wn_plan **out, wn_err *e) {
  wn_planner pl = {.p = p, .s = s, .o = o};
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
  wn_free(pl.arena.list);
  wn_free(pl.member.list);
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
  wn_free(plan->ops);
  wn_free(plan->rope_of);
  wn_free(plan->ropes);
  wn_free(plan->rope_off);
  wn_free(plan->rope_own);
  wn_free(plan);
}
