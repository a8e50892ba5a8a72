/* exec.h - running one step of a planned program.
 *
 * A wn_frame is all that the threads of a step share: program, plan, weights,
 * memory, the tokens of the batch. wn_exec_task is the task of one
 * wn_pool_run: every member walks the stages and meets the others at
 * barriers. Nothing is allocated, nothing can fail: the program was verified,
 * the batch checked by the caller.
 *
 * Two regimes. A stage with few rows is narrow: every member does the
 * prologue for itself, in memory of its own, which saves a barrier. A stage
 * with many rows is wide: the rows of the prologue are divided, then a
 * barrier. Both do the same arithmetic on each row. */
#ifndef WN_GRAPH_EXEC_H
#define WN_GRAPH_EXEC_H

#include "base/pool.h"
#include "graph/plan.h"
#include "graph/sched.h"
#include "graph/tap.h"
#include "kern/vec.h"
#include "quant/quant.h"

/* A weight as the executor sees it. Matrices keep their type; vectors are
 * float32. */
typedef struct wn_bound {
  int type;
  const uint8_t *data;
  size_t row_bytes;
  size_t matrix_bytes; /* from one expert to the next */
  wn_decode_fn decode; /* of a row, for embeddings */
  const float *vec;    /* vectors; NULL for matrices */
} wn_bound;

/* Where one slot of a context's state lies: byte distances. A head's keys are
 * contiguous over positions; position p is at place p mod ring, and rings are
 * cut at whole panels. A slot of kind state is at k + seq k_seq: two of them,
 * `half` bytes apart. */
typedef struct wn_cache_slot {
  uint8_t *k, *v;
  size_t k_seq, v_seq, k_head, v_head, k_pos, v_pos;
  uint32_t ring;
  size_t half;
} wn_cache_slot;

/* One type of the cache: rows of a head to and from float32. */
typedef struct wn_cache_type {
  int type;
  wn_encode_fn encode;
  wn_decode_fn decode;
} wn_cache_type;

typedef struct wn_frame {
  const wn_prog *p;
  const wn_sched *s;
  const wn_plan *plan;
  const wn_bound *bound; /* of each weight of the program */
  const wn_vec *vec;
  uint8_t *arena;
  uint8_t *members; /* plan->member_bytes each */
  const wn_cache_slot *slots;
  wn_cache_type type_k, type_v;
  bool long_rope; /* the context exceeds the original one */
  /* the batch */
  uint32_t n_tokens, n_out;
  const int32_t *tokens;
  const uint32_t *pos, *seq;
  /* Tokens of one sequence, one behind the other: the first of each sequence
   * in the batch, and the one that follows each token (WN_NONE: none). */
  uint32_t n_runs;
  const uint32_t *runs, *follow;
  const uint8_t *turn;        /* of each sequence: which half is valid */
  const uint32_t *end;        /* of each token: one past the last position of
                                 its sequence in this batch (kind full) */
  const uint32_t *out_rows;   /* the token of each wanted row */
  const float *gains;         /* of each sequence: p->n_gains */
  const wn_tap *tap;          /* who watches inputs, or NULL */
  bool exact;                 /* matrices are multiplied as float32 */
  wn_rounding rounding;       /* and what meets them is rounded before */
  const struct wn_back *back; /* gradients (back.h), or NULL */
  /* A step may be left between two stages and go on later: member 0 asks
   * `leave(pace, stage)` after each stage but the last (NULL: never leaves).
   * `first` is the stage to go on with, 0 for a new step; `next` comes out:
   * n_stages when the step is complete. */
  bool (*leave)(void *pace, uint32_t stage);
  void *pace;
  uint32_t first, next;
  bool leaves[2];     /* the answers, in turn */
  uint32_t n_regions; /* out: barriers met in this step */
} wn_frame;

void wn_exec_task(void *frame, wn_team *team, int member, int n_members);

/* The rows of the result: n_out for logits, n_tokens for embeddings. */
static inline const float *wn_exec_result(const wn_frame *f, uint32_t row) {
  uint32_t v = f->p->result;
  const void *base = f->arena + f->plan->values[v].off;
  return (const float *)base + (size_t)row * f->p->widths[v];
}

/* -- shared by exec.c and op_*.c ------------------------------------------ */

/* One thread inside one stage. */
typedef struct wn_member {
  wn_frame *f;
  wn_team *team;
  int id, n;
  uint8_t *mem;
  const wn_stage *st;
  const wn_stage_mem *sm;
  uint32_t stage;
  uint32_t n_rows;
  bool narrow;
  uint32_t n_regions;
} wn_member;

static inline float *wn_floats(uint8_t *base, size_t off) {
  return (float *)(void *)(base + off);
}

/* Is v made by the prologue of this stage in this member's own memory? */
static inline bool wn_is_own(const wn_member *m, uint32_t v) {
  return m->narrow && m->id != 0 && m->f->plan->values[v].own != SIZE_MAX &&
         m->f->s->stage_of[v] == m->stage;
}

/* Row r of value v, to be written. */
static inline float *wn_row(const wn_member *m, uint32_t v, uint32_t r) {
  const wn_value_mem *vm = &m->f->plan->values[v];
  float *base = wn_is_own(m, v) ? wn_floats(m->mem, vm->own)
                                : wn_floats(m->f->arena, vm->off);
  return base + (size_t)r * m->f->p->widths[v];
}

/* The token that row r of this stage belongs to. */
static inline uint32_t wn_token_of(const wn_member *m, uint32_t r) {
  return m->st->wanted ? m->f->out_rows[r] : r;
}

/* Row r of this stage, read from value v. */
static inline const float *wn_row_in(const wn_member *m, uint32_t v,
                                     uint32_t r) {
  if (m->st->wanted && !m->f->s->wanted[v]) r = m->f->out_rows[r];
  return wn_row(m, v, r);
}

/* The floats of a slot of kind state: what a sequence has (NULL when the token
 * at `first` is its first: zeros), and where what it will have goes. */
static inline const float *wn_state_old(const wn_frame *f, uint32_t slot,
                                        uint32_t first) {
  const wn_cache_slot *c = &f->slots[slot];
  uint32_t seq = f->seq[first];
  if (f->pos[first] == 0) return NULL;
  return wn_floats(c->k, seq * c->k_seq + f->turn[seq] * c->half);
}
static inline float *wn_state_new(const wn_frame *f, uint32_t slot,
                                  uint32_t first) {
  const wn_cache_slot *c = &f->slots[slot];
  uint32_t seq = f->seq[first];
  return wn_floats(c->k, seq * c->k_seq + (f->turn[seq] ^ 1u) * c->half);
}

/* All members meet; counts the region. */
static inline void wn_meet(wn_member *m) {
  m->n_regions++;
  wn_team_barrier(m->team, m->id);
}

/* Does a step for the values c0 <= c < c1 of row r. */
void wn_do_step(wn_member *m, wn_step s, uint32_t r, uint32_t c0, uint32_t c1);
/* The prologue of this stage for row r. */
void wn_do_prologue(wn_member *m, uint32_t r);
/* The prologue for this member's share of the rows, and a meeting; when
 * narrow: for all rows, in memory of its own. */
void wn_do_prologues(wn_member *m);
/* The epilogues of a bundle on a range, for all rows. */
void wn_do_epilogues(wn_member *m, const wn_bundle *b, uint32_t c0,
                     uint32_t c1);
/* Values in a whole row that the step works on. */
uint32_t wn_step_width(const wn_prog *p, wn_step s);
/* First and one past the last of this member's share of n rows. */
static inline uint32_t wn_share(const wn_member *m, uint32_t n, int k) {
  return (uint32_t)((uint64_t)n * (uint64_t)k / (uint64_t)m->n);
}

/* Packs x, k values, as column c of n_cols at `packed`, as `pm` says:
 * wn_mm_pack, rounded before where the frame says so. */
void wn_pack(wn_member *m, const wn_pack_mem *pm, const float *x, size_t k,
             size_t c, size_t n_cols, uint8_t *packed);
/* Rows r0 <= r < r1 of a matrix of w, whose row 0 is at `rows`, times the
 * packed columns c0 <= c < c1 of n_cols: wn_mm, or the same with the matrix as
 * float32 where the frame says exact. y[c * ldy + r]. */
void wn_multiply(wn_member *m, const wn_bound *w, const uint8_t *rows, size_t k,
                 size_t r0, size_t r1, const uint8_t *packed, size_t n_cols,
                 size_t c0, size_t c1, float *y, size_t ldy);
/* The tables of op_rope.c for this step: `own`: for narrow stages. */
void wn_rope_tables(wn_member *m, bool own);
/* For rows that were turned already: a table of `by` positions more (fewer when
 * negative), n_rot floats, and one head turned by it. */
void wn_rope_table_by(const wn_frame *f, const wn_op *op, int32_t by,
                      float *cs);
void wn_rope_turn(const wn_frame *f, const wn_op *op, const float *cs,
                  float *x);
/* Where a packed input of this stage lies for this member. */
uint8_t *wn_pack_place(const wn_member *m, const wn_pack_mem *pm);

/* How many output rows a member takes at a time, of a bundle. */
uint32_t wn_chunk_rows(const wn_member *m, uint64_t all_rows,
                       const wn_bundle *b);
/* Is a stage of so many products better divided into fixed ranges, one for
 * each member? */
bool wn_is_short(const wn_member *m, uint64_t products);
/* The range of this member in a bundle whose rows begin at row `first` of
 * `all` rows that the team shares: c0 <= c < c1, empty if c0 = c1. */
void wn_my_rows(const wn_member *m, uint64_t all, uint64_t first,
                const wn_bundle *b, uint32_t *c0, uint32_t *c1);

#endif
