/* pace.c - see pace.h. */
#include "run/pace.h"

#include <time.h>

#include "base/mem.h"

/* Until something is known a piece of prompt is this long. */
#define FIRST_PIECE 16

int wn_pace_init(wn_pace *p, const wn_sched *s, wn_err *e) {
  p->s = s;
  p->few = wn_calloc(WN_MEM_RUN, s->n_stages, sizeof *p->few);
  p->each = wn_calloc(WN_MEM_RUN, s->n_stages, sizeof *p->each);
  if (p->few != NULL && p->each != NULL) return WN_OK;
  return wn_fail(e, WN_ENOMEM, "context: out of memory");
}

void wn_pace_free(wn_pace *p) {
  wn_free(p->few);
  wn_free(p->each);
}

double wn_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void wn_pace_start(wn_pace *p, uint32_t n_tokens, uint32_t n_out, double until,
                   const atomic_bool *hurry) {
  p->n_tokens = n_tokens;
  p->n_out = n_out;
  p->until = until;
  p->hurry = hurry;
  p->last = wn_now();
}

static uint32_t rows_of(const wn_pace *p, uint32_t stage) {
  return p->s->stages[stage].wanted ? p->n_out : p->n_tokens;
}

/* A machine that was busy elsewhere is not a slow machine: the expectation
 * falls at once part of the way, and rises as slowly as it is proved. */
static void note(float *mean, double seconds) {
  float x = (float)seconds;
  *mean = *mean == 0 ? x : *mean + (x - *mean) * (x < *mean ? 0.3F : 0.15F);
}

bool wn_pace_fits(const wn_pace *p, uint32_t stage, double now) {
  if (p->until == 0 || stage >= p->s->n_stages) return true;
  uint32_t rows = rows_of(p, stage);
  double expect = rows <= WN_PACE_FEW ? (double)p->few[stage]
                                      : (double)p->each[stage] * rows;
  return now + expect <= p->until;
}

bool wn_pace_leave(void *pace, uint32_t stage) {
  wn_pace *p = pace;
  double now = wn_now();
  uint32_t rows = rows_of(p, stage);
  if (rows <= WN_PACE_FEW)
    note(&p->few[stage], now - p->last);
  else
    note(&p->each[stage], (now - p->last) / rows);
  p->last = now;
  if (p->hurry != NULL && atomic_load_explicit(p->hurry, memory_order_relaxed))
    return true;
  return !wn_pace_fits(p, stage + 1, now);
}

uint32_t wn_pace_piece(const wn_pace *p, double seconds, uint32_t least,
                       uint32_t most) {
  double slowest = 0;
  for (uint32_t i = 0; i < p->s->n_stages; i++)
    if (!p->s->stages[i].wanted && (double)p->each[i] > slowest)
      slowest = (double)p->each[i];
  double n = slowest > 0 ? seconds / slowest : FIRST_PIECE;
  if (n > most) return most;
  return n < least ? (least < most ? least : most) : (uint32_t)n;
}
