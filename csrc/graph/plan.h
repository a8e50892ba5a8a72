/* plan.h - where everything lies while a program runs.
 *
 * Planned once for a context: the largest batch and number of wanted rows,
 * the number of threads, the types of the bound weights. Values get places in
 * one arena by liveness: two values share memory when no stage needs both.
 * Each member of the team has memory of its own for narrow prologues, packed
 * inputs and scratch. The plan is all there is to allocate. */
#ifndef WN_GRAPH_PLAN_H
#define WN_GRAPH_PLAN_H

#include "graph/sched.h"

enum {
  WN_NARROW_ROWS = 4,  /* most rows of a narrow stage */
  WN_STAGE_PACKS = 12, /* kinds of packed input of a stage: its parts */
  WN_OP_PLACES = 6,
  WN_ATTEND_PART = 1024, /* keys after which partial results are merged */
  WN_ATTEND_TILE = 144,  /* queries that share a block of keys */
  WN_ATTEND_STEP = 24,   /* queries that go through a block together */
  WN_ATTEND_DIRECT = 6   /* queries for which values stay as they are */
};

typedef struct wn_value_mem {
  size_t off; /* in the arena */
  size_t own; /* in a member's memory; SIZE_MAX: not made by a prologue */
} wn_value_mem;

/* A packed input: weights of `type` and all that share its packing. */
typedef struct wn_pack_mem {
  int type, kind;
  size_t off, own; /* in the arena (wide), in a member's memory (narrow) */
} wn_pack_mem;

typedef struct wn_stage_mem {
  uint32_t n_packs;
  wn_pack_mem packs[WN_STAGE_PACKS];
} wn_stage_mem;

/* Places in the arena and in a member's memory that an operation has for
 * itself; which is which is its own business. */
typedef struct wn_op_mem {
  size_t at[WN_OP_PLACES];
} wn_op_mem;

typedef struct wn_plan {
  uint32_t n_batch, n_out, n_ctx;
  int n_threads;
  wn_value_mem *values;
  wn_stage_mem *stages;
  wn_op_mem *ops;
  /* rotation tables: rope_of[op] is the table's number; an operation that
   * defines table t is ropes[t] */
  uint32_t *rope_of, *ropes;
  uint32_t n_ropes;
  size_t *rope_off, *rope_own;
  /* attention: partial results of narrow stages, and their counters, which
   * must start at zero; nothing else in the arena must */
  size_t partial_off, counter_off, counter_bytes;
  uint32_t n_parts;
  size_t arena_bytes;
  /* a member's memory */
  size_t scratch_own, attend_own, order_own, conv_own, scan_own, exact_own;
  size_t member_bytes;
} wn_plan;

/* What the values that meet a matrix are rounded to where matrices are
 * multiplied as float32: nothing, 8-bit integers or 8-bit floats (E4M3), with
 * one scale a token. */
typedef enum wn_rounding {
  WN_ROUND_NONE,
  WN_ROUND_INT8,
  WN_ROUND_FP8
} wn_rounding;

typedef struct wn_plan_opts {
  uint32_t n_batch, n_out, n_ctx;
  int n_threads;
  const int *types;      /* of the bound weights, by weight */
  bool exact;            /* matrices are multiplied as float32 (exact.c) */
  const uint32_t *until; /* for gradients (back.h): value v lives at least
                            until stage until[v]; or NULL */
} wn_plan_opts;

/* Fails with WN_ELIMIT when sizes do not fit. */
int wn_plan_new(const wn_prog *p, const wn_sched *s, const wn_plan_opts *o,
                wn_plan **out, wn_err *e);
void wn_plan_free(wn_plan *plan);

/* Rows that value v can have. */
static inline uint32_t wn_plan_rows(const wn_plan *plan, const wn_sched *s,
                                    uint32_t v) {
  return s->wanted[v] ? plan->n_out : plan->n_batch;
}

/* The pack of a stage that weights of `kind` want. */
static inline const wn_pack_mem *wn_find_pack(const wn_stage_mem *sm,
                                              int kind) {
  uint32_t k = 0;
  while (k + 1 < sm->n_packs && sm->packs[k].kind != kind)
    k++;
  return &sm->packs[k];
}

#endif
