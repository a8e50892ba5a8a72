/* pace.h - how long the stages of a step take, and when to leave one.
 *
 * A host that gives a step two milliseconds gets its thread back in time: the
 * executor asks after each stage whether to go on, and goes on only when the
 * next stage is expected to fit. What to expect is measured all the time, by
 * stage: seconds for few rows (there a stage reads its weights once, whatever
 * the rows), seconds a row for many. Only times depend on this, never
 * results. */
#ifndef WN_RUN_PACE_H
#define WN_RUN_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "graph/sched.h"

/* Up to so many rows a stage costs about what one row does. */
#define WN_PACE_FEW 8

typedef struct wn_pace {
  const wn_sched *s;
  float *few, *each; /* by stage: seconds; seconds a row. 0: not known */
  /* of the run in hand */
  uint32_t n_tokens, n_out;
  double last;              /* when the stage in hand began */
  double until;             /* when to be back; 0: no matter */
  const atomic_bool *hurry; /* leave now; NULL: nobody asks */
} wn_pace;

int wn_pace_init(wn_pace *p, const wn_sched *s, wn_err *e);
void wn_pace_free(wn_pace *p);

/* Seconds of a clock that only goes forward. */
double wn_now(void);

/* Before a run of stages. */
void wn_pace_start(wn_pace *p, uint32_t n_tokens, uint32_t n_out, double until,
                   const atomic_bool *hurry);
/* wn_frame's `leave`: notes how long the stage took and decides. */
bool wn_pace_leave(void *pace, uint32_t stage);
/* Would this stage end in time? Yes also when nothing is known. */
bool wn_pace_fits(const wn_pace *p, uint32_t stage, double now);

/* The most tokens of a step none of whose stages is expected to take longer
 * than `seconds`, at least `least`, at most `most`. */
uint32_t wn_pace_piece(const wn_pace *p, double seconds, uint32_t least,
                       uint32_t most);

#endif
