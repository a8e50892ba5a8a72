/* compose.h - a block put together from its parts: the inverse of explain.h.
 *
 * For encoders that choose scales and levels themselves (rebuild.c): what
 * numbers each format can hold, and how they become bytes. */
#ifndef WN_QUANT_COMPOSE_H
#define WN_QUANT_COMPOSE_H

#include <stdbool.h>

#include "quant/explain.h"

/* What a format can express:
 *   value = scale * level + min
 *   scale = d * (code_mul * code + code_add), code_lo <= code <= code_hi
 *   min   = -dmin * min_code, or dmin itself (min_is_dmin)
 * Levels are the integers level_lo..level_hi, or those of `table`.
 * Scales that are no multiples of d (small floats of their own) stay as the
 * encoder chose them: code_mul and code_add are 0 (wn_grid_keeps_scales). */
typedef struct wn_grid {
  int type;
  int sub;                /* values of a sub-block */
  int level_lo, level_hi; /* or places in `table`, ascending */
  const float *table;     /* NULL: the level is its own number */
  int code_lo, code_hi;   /* both 0: one scale, d itself */
  float code_mul, code_add;
  int min_hi; /* min_code is 0..min_hi; 0: none */
  bool min_is_dmin;
  int group;       /* 4 or 8: the levels of so many neighbours are a point of
                      the format's grid with signs; 0: each on its own */
  bool even_signs; /* an even number of minus signs in 8 levels */
} wn_grid;

/* The most points of a grid, and of a group. */
enum { WN_GRID_POINTS = 1024, WN_GRID_GROUP = 8 };

/* Points of a grid with groups, for search: coordinate i of point k at
 * points[i * *n + k]. */
const float *wn_grid_points(const wn_grid *g, size_t *n);

static inline bool wn_grid_keeps_scales(const wn_grid *g) {
  return g->code_mul == 0 && g->code_add == 0;
}

/* The grid of a type, or NULL where blocks cannot be composed. */
const wn_grid *wn_grid_of(int type);

/* Writes the block that x describes: d and dmin (rounded to binary16), codes
 * and levels, which must be numbers that the grid has. */
void wn_compose(const wn_grid *g, const wn_explained *x, void *block);

/* The level nearest to v: an element of the grid. */
float wn_grid_nearest(const wn_grid *g, float v);

#endif
