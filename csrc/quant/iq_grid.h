/* iq_grid.h - the grids (code books) of the i-quants.
 *
 * A grid is a list of points of 4 or 8 small levels. A key packs the levels of
 * a point, 2 bits each (8 levels 0..2) or 3 bits each (4 levels 0..7),
 * coordinate 0 in the low bits. A block stores indices into the grid.
 *
 * Decoders use the point tables: one byte per coordinate, already the value
 * that enters the formula of blocks.h. Encoders round a group of values to a
 * key; when that key is no grid point they choose among its neighbours: all
 * grid points in the nearest 1, 2 or 3 shells of equal distance around it,
 * nearest shell first and by index inside a shell. That order decides ties,
 * so it is part of the format's definition.
 *
 * The neighbour lists (about 4 MB for all grids) are derived from the keys
 * at first use of each grid, into static memory: getting them cannot fail.
 * Thread safe. */
#ifndef WN_QUANT_IQ_GRID_H
#define WN_QUANT_IQ_GRID_H

#include <stdint.h>

/* What an encoder finds under a key. n = 0: the key is a grid point and `at`
 * its index. Otherwise: n neighbours, near[16 * at ...], as keys; and among
 * them, in the same order, the n_core that can be nearest to a point which
 * rounds to this key, near[16 * core ...].
 *
 * The core leaves out a neighbour g when an earlier one h has in every
 * coordinate the level of g or one nearer to the key's: no weights make g
 * nearer than h (iq_near.inc.h says when that holds for computed distances
 * too). Of the 58 neighbours that an iq2_xs group meets on average 13 stay. */
typedef struct wn_iq_cell {
  uint16_t at, n, core, n_core;
} wn_iq_cell;

typedef struct wn_iq_grid {
  int n_points;
  int dims, bits;          /* 8 levels of 2 bits or 4 levels of 3 bits */
  const uint16_t *keys;    /* key of each point */
  const wn_iq_cell *cells; /* by key; only keys with valid levels are set */
  /* Each list is padded to a multiple of 16 by repeating its first entry, so
   * that vectors may be loaded whole; 64-byte aligned. */
  const uint16_t *near;
} wn_iq_grid;

/* The grid of an i-quant type (iq1_m has that of iq1_s), complete with its
 * neighbour lists; NULL for iq4_nl, iq4_xs and types that are no i-quants. */
const wn_iq_grid *wn_iq_grid_of(int type);

/* Points, coordinate 0 in the lowest byte. iq1: signed bytes -1, 0, 1; iq2:
 * 8, 25, 43; iq3_xxs: 4, 12, ..., 52, 62; iq3_s: 1, 3, ..., 15. */
extern const uint64_t wn_iq1_points[2048];
extern const uint64_t wn_iq2_xxs_points[256];
extern const uint64_t wn_iq2_xs_points[512];
extern const uint64_t wn_iq2_s_points[1024];
extern const uint32_t wn_iq3_xxs_points[256];
extern const uint32_t wn_iq3_s_points[512];

/* The 16 values of iq4_nl and iq4_xs, ascending. */
extern const int8_t wn_iq4_values[16];

/* Seven stored signs -> eight: the highest makes the count even. */
static inline uint8_t wn_iq_signs(uint32_t seven) {
  seven &= 127;
  return (uint8_t)(seven | (uint32_t)(__builtin_popcount(seven) & 1) << 7);
}

#endif
