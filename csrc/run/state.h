/* state.h - what a context keeps of its sequences, as the program declares it.
 *
 * A program has slots (wn_slot, graph/prog.h), about one for a layer, each of
 * a kind:
 *   all     keys and values of every position: [head][position][width]
 *   window  the same for the last positions only, in a ring: what the window
 *           sees and a batch beside it, however long the sequence is
 *   keys    one row for each position; values are the beginning of the keys
 *   state   a fixed number of floats (the tail of a convolution, a matrix),
 *           whatever the length. There are two of each: a step reads one and
 *           writes the other, and wn_state_commit makes that the valid one. A
 *           step that is left or fails changes nothing.
 *
 * Rings and states cannot return to any earlier position. Marks are copies of
 * them at positions worth returning to; wn_state_rewind gives the nearest
 * position that can be reached. Callers evaluate from there.
 *
 * Rows are stored as float32, float16 or any block type whose block divides
 * the width; states are float32. One allocation, made when the context is;
 * pages that no token has reached yet are not touched. */
#ifndef WN_RUN_STATE_H
#define WN_RUN_STATE_H

#include "graph/exec.h"

/* A copy of the rings and states of a sequence at a position. */
typedef struct wn_mark {
  uint32_t pos; /* tokens before it; 0: none */
  uint8_t *data;
} wn_mark;

typedef struct wn_state_opts {
  uint32_t n_seq, n_ctx, n_batch;
  uint32_t n_marks; /* for each sequence; none where nothing needs them */
  int type_k, type_v;
} wn_state_opts;

typedef struct wn_state {
  wn_state_opts o;
  uint32_t n_slots;
  const wn_slot *shape; /* the program's */
  wn_cache_slot *slots;
  wn_cache_type type_k, type_v;
  uint8_t *mem;
  uint64_t bytes;      /* of everything, with the marks */
  uint64_t mark_bytes; /* of one mark; 0: none is ever needed */
  uint8_t *turn;       /* of each sequence: which of two states is valid */
  uint32_t *top;       /* of each sequence: one past the highest position that
                          was written since it was last empty */
  wn_mark *marks;      /* n_seq * n_marks */
} wn_state;

/* Sizes only: fills *s without memory. WN_EFORMAT when a width does not fit
 * the type, WN_EUNSUP for a type that cannot be written. */
int wn_state_plan(const wn_prog *p, const wn_state_opts *o, wn_state *s,
                  wn_err *e);
/* Allocates what was planned. */
int wn_state_alloc(wn_state *s, wn_err *e);
void wn_state_free(wn_state *s);

/* A step will write positions below `end` of a sequence: before it runs. */
void wn_state_begin(wn_state *s, uint32_t seq, uint32_t end);
/* A step on this sequence is done: what it wrote is valid. */
void wn_state_commit(wn_state *s, uint32_t seq);

/* Keeps a mark at the end of a sequence of n tokens, in the place of the mark
 * that is furthest back. Nothing when marks are not needed. */
void wn_state_mark(wn_state *s, uint32_t seq, uint32_t n);

/* The nearest position, at most n, to which a sequence of `past` tokens can
 * return; 0 always works. Changes nothing. */
uint32_t wn_state_reach(const wn_state *s, uint32_t seq, uint32_t past,
                        uint32_t n);
/* Returns there, and tells where that is. */
uint32_t wn_state_rewind(wn_state *s, uint32_t seq, uint32_t past, uint32_t n);

/* Makes `to` the first n of the `past` tokens of `from`, or fewer: as many as
 * rewinding would give; returns how many. */
uint32_t wn_state_copy(wn_state *s, uint32_t from, uint32_t to, uint32_t past,
                       uint32_t n);

/* Shows all that the next token of a sequence of n can depend on, as ranges of
 * bytes in a fixed order, until visit says false: the same ranges, cut at
 * other places maybe, in any context of the program and types. */
void wn_state_visit(const wn_state *s, uint32_t seq, uint32_t n,
                    bool (*visit)(void *arg, uint8_t *p, size_t bytes),
                    void *arg);
/* The sequence holds n tokens that were put there through such a visit. */
void wn_state_set(wn_state *s, uint32_t seq, uint32_t n);

#endif
