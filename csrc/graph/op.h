/* op.h - what is known about one operation, in one place.
 *
 * Each operation has a descriptor, a constant in its op_*.c; one line of
 * WN_OPS (prog.h) puts it into the table. Verifier, fuser, planner, executor,
 * printer and the bindings read the table and nothing else, so that an
 * operation that is added is known to all of them.
 *
 * A descriptor answers in turn: what may it look like (names, form, verify);
 * on which ranges of a row can it be done, and what has to be done before its
 * stage (granule, parts, place); what memory does it want (plan, plan_stage);
 * how is it done (row, run); what can be watched (taps). */
#ifndef WN_GRAPH_OP_H
#define WN_GRAPH_OP_H

#include "graph/exec.h"

/* -- verifying (verify.c) ------------------------------------------------- */

typedef struct wn_checker {
  wn_prog *p;
  uint32_t at; /* index of the operation in hand */
  const wn_op *op;
  wn_err *e;
} wn_checker;

/* Fails with "op 12 (linear blk.0.attn_q): reason". */
__attribute__((format(printf, 2, 3))) int wn_bad(wn_checker *c, const char *fmt,
                                                 ...);
/* Width of input k. */
uint32_t wn_in_width(const wn_checker *c, int k);
/* Declaration of weight k, which is there. */
const wn_weight *wn_weight_of(const wn_checker *c, int k);
/* Weight k, when present, is a matrix of ne0 x ne1 x ne2 ... */
int wn_check_matrix(wn_checker *c, int k, uint32_t ne0, uint32_t ne1,
                    uint32_t ne2);
/* ... or a vector of n values, in any shape. */
int wn_check_vector(wn_checker *c, int k, uint64_t n);
/* The first two inputs have one width. */
int wn_check_same(wn_checker *c);
/* Alpha and limit of a gate of op->kind: f[at] and f[at + 1]. */
int wn_check_gate(wn_checker *c, int at);
/* A slot of the sequence's state: number i[0], which must be the next. */
int wn_check_slot(wn_checker *c, wn_slot slot);
/* Width of the value made here. */
int wn_make(wn_checker *c, uint32_t width);

/* -- placing (fuse.c) ----------------------------------------------------- */

typedef struct wn_fuser wn_fuser;

/* The program. */
const wn_prog *wn_fuse_prog(const wn_fuser *f);
/* A step on single rows: joins the open stage as an epilogue, or waits to
 * become part of the next prologue. wn_fuse_wait: waits in any case. */
int wn_fuse_step(wn_fuser *f, wn_step s, bool wanted);
int wn_fuse_wait(wn_fuser *f, wn_step s, bool wanted);
/* What waits becomes a stage of its own. */
int wn_fuse_flush(wn_fuser *f);
/* The open stage, when a step on such rows could join it; else NULL. */
wn_stage *wn_fuse_joinable(wn_fuser *f, bool wanted);
/* Opens a stage with what waits as its prologue; NULL: out of memory. */
wn_stage *wn_fuse_open(wn_fuser *f, wn_stage_kind kind, bool wanted);
/* Opens a stage for operation i alone: what waits is done before it, and
 * nothing joins it. */
int wn_fuse_alone(wn_fuser *f, uint32_t i, bool wanted);
/* Nothing more joins the last stage. */
int wn_fuse_close(wn_fuser *f);
/* Adds an empty bundle of so many output rows. */
wn_bundle *wn_fuse_bundle(wn_stage *st, uint32_t rows);
/* The value is made by the last stage. */
void wn_fuse_made(wn_fuser *f, uint32_t value);

/* -- planning (plan.c) ---------------------------------------------------- */

typedef struct wn_planner wn_planner;

const wn_prog *wn_planner_prog(const wn_planner *pl);
const wn_sched *wn_planner_sched(const wn_planner *pl);
const wn_plan_opts *wn_planner_opts(const wn_planner *pl);
wn_plan *wn_planner_plan(const wn_planner *pl);

/* Checked sizes: an overflow fails the plan at its end. */
uint64_t wn_plan_product(wn_planner *pl, uint64_t a, uint64_t b);
uint64_t wn_plan_floats(wn_planner *pl, uint64_t rows, uint64_t width);
/* Most rows that a stage works on. */
uint32_t wn_plan_stage_rows(const wn_planner *pl, const wn_stage *st);
/* Room in the arena from stage `first` to stage `last`; in the memory of a
 * member, during the stage in hand. */
void wn_plan_buffer(wn_planner *pl, uint64_t bytes, uint32_t first,
                    uint32_t last, size_t *off);
void wn_plan_own(wn_planner *pl, uint64_t bytes, size_t *off);
/* Room in the arena, or in each member's memory, throughout; of several
 * wishes for one place the largest counts. */
void wn_plan_arena(wn_planner *pl, uint64_t bytes, size_t *off);
void wn_plan_member(wn_planner *pl, uint64_t bytes, size_t *off);
/* A value; `own`: prologues make it, narrow members for themselves. */
void wn_plan_value(wn_planner *pl, uint32_t v, uint32_t stage, bool own);
/* plan_stage of operations whose stage has nothing but the result. */
void wn_plan_alone(wn_planner *pl, const wn_stage *st, uint32_t stage);
/* The packed input, k values each, that this weight of the stage wants. */
void wn_plan_pack(wn_planner *pl, uint32_t stage, uint32_t weight, uint32_t k,
                  uint64_t rows, uint64_t narrow_rows);

/* -- descriptors ---------------------------------------------------------- */

/* Something of an operation that is done row by row before its stage: it
 * reads one input and makes no value. */
typedef struct wn_op_before {
  int in;
  uint32_t (*granule)(const wn_prog *p, const wn_op *op);
  void (*plan)(wn_planner *pl, uint32_t i, uint32_t stage); /* or NULL */
  void (*run)(wn_member *m, uint32_t i, uint32_t r, uint32_t c0, uint32_t c1);
} wn_op_before;

/* What the rows are that a tap sees in a stage. */
typedef struct wn_tap_shape {
  uint32_t n, n_experts;
  uint32_t per_row; /* rows for each row of the stage */
} wn_tap_shape;

enum { WN_OP_PARTS = 3, WN_OP_PHASES = 2 };

typedef struct wn_op_desc {
  const char *name;
  const char *const *kinds; /* n_kinds of them; NULL: one without a name */
  int n_kinds;
  int n_in; /* inputs: from least_in, if that is not 0, to n_in */
  int least_in;
  /* Inputs that the main part reads: the first n_main (0: all of them). The
   * others are read by the parts. */
  int n_main;
  unsigned must, may; /* weights: bit k for weight k */
  int n_i, n_f;       /* integers and numbers in use, from the first on */
  bool all_rows;      /* needs all rows of its inputs, whichever of its own
                         are wanted */
  bool recurrent;     /* ... and makes all rows: each token changes a state */
  int (*verify)(wn_checker *c);

  /* Lengths of ranges of a row on which it can be done: multiples of this; 0
   * (and NULL): whole rows only. */
  uint32_t (*granule)(const wn_prog *p, const wn_op *op);
  int n_parts;
  wn_op_before parts[WN_OP_PARTS];
  /* Puts operation i into stages. NULL: it is a row step. */
  int (*place)(wn_fuser *f, uint32_t i, bool wanted);

  void (*plan)(wn_planner *pl, uint32_t i); /* once; or NULL */
  /* For each stage that `run` does. */
  void (*plan_stage)(wn_planner *pl, const wn_stage *st, uint32_t stage);

  /* One of the two: a range of a row, or the main part of a stage. */
  void (*row)(wn_member *m, uint32_t i, uint32_t r, uint32_t c0, uint32_t c1);
  void (*run)(wn_member *m);

  /* Weights that a stage of each phase multiplies with its input. */
  unsigned taps[WN_OP_PHASES];
  void (*tap_shape)(const wn_prog *p, const wn_stage *st, wn_tap_shape *shape);
  void (*watch)(wn_member *m, wn_tap_item *t);

  /* Gradients (back.h): of the inputs, for row r or, by all members
   * together, for all rows; of weights that are asked for, by all members
   * together; back_of: which of the weights have one. NULL: there are none. */
  unsigned back_of;
  /* ... floats of a member's scratch, and of scratch that members share, for
   * so many tokens; or NULL. */
  size_t (*back_floats)(const wn_op *op, uint32_t n_tokens);
  size_t (*back_shared)(const wn_prog *p, const wn_op *op, uint32_t n_tokens);
  void (*back_row)(wn_member *m, uint32_t i, uint32_t r);
  void (*back)(wn_member *m, uint32_t i);
  void (*back_weights)(wn_member *m, uint32_t i);
} wn_op_desc;

#define X(id, desc) extern const wn_op_desc desc;
WN_OPS(X)
#undef X

/* Of a verified operation; NULL: there is no such code. */
const wn_op_desc *wn_op_desc_of(uint32_t code);
static inline const wn_op_desc *wn_desc(const wn_prog *p, uint32_t i) {
  return wn_op_desc_of(p->ops[i].code);
}
/* Who does the main part of a stage; NULL: it is nothing but a prologue. */
const wn_op_desc *wn_stage_desc(const wn_prog *p, const wn_stage *st);

/* Kinds of operations that apply an activation (wn_act). */
extern const char *const wn_act_names[];

/* A granule of one value. */
uint32_t wn_granule_any(const wn_prog *p, const wn_op *op);

#endif
