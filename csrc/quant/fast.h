/* fast.h - the vector encoders and decoders of the simple families (plain,
 * legacy, fp4, ternary).
 *
 * One template file per family (*_fast.inc.h) is written in the vocabulary of
 * vec_<isa>.h and included once by fast_<isa>.c, which ends in a table of
 * what it offers. Same bytes as the references, by one of two means:
 *   - exact lane-wise operations (conversions, rounding of each value);
 *   - one block per lane, each lane doing the reference's float operations in
 *     the reference's order (searches and sums).
 * Blocks in the corners of float32 (scales whose inverse overflows, levels
 * out of range) are handed to the reference, block by block.
 * fast.c chooses between the tables. */
#ifndef WN_QUANT_FAST_H
#define WN_QUANT_FAST_H

#include "quant/quant.h"

typedef struct wn_fast_entry {
  wn_encode_fn encode; /* NULL: use the reference */
  wn_decode_fn decode;
} wn_fast_entry;

typedef struct wn_fast_table {
  wn_fast_entry type[WN_N_TYPE_IDS];
  /* the largest magnitude of n floats, as bits (NaN above infinity) */
  uint32_t (*worst)(const float *x, size_t n);
} wn_fast_table;

extern const wn_fast_table wn_fast_avx2, wn_fast_avx512;

/* The table of a tier, or NULL where it has none. */
const wn_fast_table *wn_fast_of(wn_isa isa);

#endif
