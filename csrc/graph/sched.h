/* sched.h - a verified program, grouped into stages.
 *
 * A stage is what a team of threads does between two barriers. It has
 *   a prologue   steps done row by row (one row: one token's vector): sums,
 *                norms, embeddings ...; then the rows are packed once for
 *                the matrix kernels,
 *   a main part  matrix products, attention, or experts, split by output
 *                rows,
 *   epilogues    steps that need only the output rows just made: bias,
 *                gate, residual sum, rotation of whole heads, storing keys
 *                and values in the cache.
 * So q|k|v share one packed input, gate|up are multiplied where they were
 * made, and a layer needs five barriers (six with experts).
 *
 * Grouping changes the order of work between values, never the arithmetic
 * inside one: with or without it (WANE_FUSE=0) the bits are the same.
 *
 * Rows: a program computes all rows of a batch up to its last attention, and
 * only the rows whose result is wanted behind it. `wanted[v]` tells for each
 * value; a step for wanted rows finds its row of an all-rows value through
 * the frame's map. */
#ifndef WN_GRAPH_SCHED_H
#define WN_GRAPH_SCHED_H

#include "graph/prog.h"

enum {
  WN_STAGE_PROS = 12,
  WN_STAGE_BUNDLES = 4,
  WN_BUNDLE_PARTS = 3,
  WN_BUNDLE_EPIS = 10
};

/* Work on one row: an operation (part WN_WHOLE), or what of it is done before
 * its stage, part k of its descriptor as k + 1. */
enum { WN_WHOLE = 0 };
typedef struct wn_step {
  uint32_t op, part;
} wn_step;

/* Matrix products (linear operations) with the same number of output rows,
 * computed together for a range of rows that is a multiple of `granule`,
 * then the epilogues on that range. */
typedef struct wn_bundle {
  uint32_t rows, granule;
  uint32_t n_parts, n_epis;
  uint32_t parts[WN_BUNDLE_PARTS];
  wn_step epis[WN_BUNDLE_EPIS];
} wn_bundle;

typedef enum wn_stage_kind {
  WN_STAGE_ROWS,   /* nothing but a prologue */
  WN_STAGE_MATRIX, /* linear operations on `input` */
  WN_STAGE_MAIN    /* a phase of `op`: attention, experts, a recurrence */
} wn_stage_kind;

typedef struct wn_stage {
  wn_stage_kind kind;
  bool wanted;    /* works on wanted rows only */
  uint32_t op;    /* of a main stage */
  uint32_t phase; /* of an operation that takes more than one stage */
  uint32_t input; /* value that is multiplied */
  uint32_t n_pros, n_bundles;
  wn_step pros[WN_STAGE_PROS];
  wn_bundle bundles[WN_STAGE_BUNDLES];
} wn_stage;

typedef struct wn_sched {
  uint32_t n_stages, cap_stages;
  wn_stage *stages;
  uint8_t *wanted;    /* of each value */
  uint32_t *stage_of; /* of each value: where it is made */
} wn_sched;

/* Groups a finished program; `fuse` false: one operation a stage. */
int wn_sched_new(const wn_prog *p, bool fuse, wn_sched **out, wn_err *e);
void wn_sched_free(wn_sched *s);

/* Calls visit(arg, v) for every value that a step reads. */
void wn_step_reads(const wn_prog *p, wn_step s,
                   void (*visit)(void *arg, uint32_t value), void *arg);

/* The same for everything that a stage reads. */
void wn_stage_reads(const wn_prog *p, const wn_stage *st,
                    void (*visit)(void *arg, uint32_t value), void *arg);

#endif
