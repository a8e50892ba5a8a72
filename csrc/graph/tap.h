/* tap.h - watching the inputs of matrices while a program runs.
 *
 * A tap has one item per stage whose input it watches: what the linear
 * operations of that stage, or the experts of a mixture, multiply. An item
 * adds up, over all rows that pass, the squares and the absolute values of
 * each channel, and can keep the rows of the latest step for whoever wants
 * more (correlations, samples). For experts everything is per expert.
 *
 * A tap can also cut a pass short at both ends. The values that live between
 * two stages (an edge: mostly one row a token) can be kept on the way, and a
 * later step can enter there with them instead of computing them again. So
 * a pass over layer after layer costs one layer each time.
 *
 * Sums are in double and run over the rows in their order, channel by
 * channel, so they do not depend on the number of threads. A program that is
 * not tapped pays one comparison a stage. */
#ifndef WN_GRAPH_TAP_H
#define WN_GRAPH_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wn_tap_item {
  uint32_t stage;
  uint32_t n;         /* channels */
  uint32_t n_experts; /* 1: an ordinary matrix */
  double *squares;    /* n_experts * n, or NULL */
  double *sizes;      /* the same of |x|, or NULL */
  uint64_t *counts;   /* n_experts: rows seen */
  float *rows;        /* cap * n: those of the latest step, or NULL */
  uint32_t cap, n_rows;
  uint32_t *starts; /* n_experts + 1: first row of each expert in `rows` */
} wn_tap_item;

/* What lives between a stage and those before it, one row a token. */
typedef struct wn_tap_edge {
  uint32_t stage;
  uint32_t n_values; /* made before `stage`, read in it or later */
  uint32_t *values;
  uint32_t width; /* of all of them */
  uint32_t cap, n_rows;
  float *rows; /* cap * width */
} wn_tap_edge;

typedef struct wn_tap {
  wn_tap_edge *enter; /* steps start here with these rows, or NULL */
  wn_tap_edge *leave; /* keeps rows of the latest step, or NULL */
  uint32_t n_items;
  wn_tap_item *items; /* ascending in stage */
  bool stop;          /* end the step after the last item: no result, and
                         the cache holds nothing of later layers */
} wn_tap;

/* The item of a stage, or NULL. */
static inline wn_tap_item *wn_tap_find(const wn_tap *t, uint32_t stage) {
  for (uint32_t i = 0; t != NULL && i < t->n_items; i++)
    if (t->items[i].stage == stage) return &t->items[i];
  return NULL;
}

/* Is there nothing left to watch behind this stage? */
static inline bool wn_tap_ends(const wn_tap *t, uint32_t stage) {
  return t != NULL && t->stop && t->n_items != 0 &&
         t->items[t->n_items - 1].stage <= stage &&
         (t->leave == NULL || t->leave->stage <= stage + 1);
}

/* What a member adds of one row of an expert: channels c0 <= c < c1. */
static inline void wn_tap_add(wn_tap_item *t, uint32_t expert, const float *x,
                              uint32_t c0, uint32_t c1) {
  size_t at = (size_t)expert * t->n;
  for (uint32_t c = c0; c < c1 && t->squares != NULL; c++)
    t->squares[at + c] += (double)(x[c] * x[c]);
  for (uint32_t c = c0; c < c1 && t->sizes != NULL; c++)
    t->sizes[at + c] += (double)(x[c] < 0 ? -x[c] : x[c]);
}

#endif
