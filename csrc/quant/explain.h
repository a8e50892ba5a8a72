/* explain.h - one block taken apart, as a textbook would print it. */
#ifndef WN_QUANT_EXPLAIN_H
#define WN_QUANT_EXPLAIN_H

#include <stdint.h>

#include "quant/quant.h"

/* Every format is: value[i] = scale[s] * level[i] + min[s], s = i / sub, up
 * to the rounding of float32 (value is what decode gives, exactly). */
typedef struct wn_explained {
  int n;               /* values of the block */
  int sub;             /* values of a sub-block; n when there is only one */
  const char *formula; /* how the stored numbers make a value */
  float d;             /* the block's scale as stored */
  float dmin;          /* the block's minimum, or scale of the minima */
  bool has_min;
  int scale_code[16], min_code[16]; /* stored integers of the sub-blocks */
  float scale[16], min[16];
  float level[256], value[256];
} wn_explained;

/* Takes the block at `block` apart; WN_EUNSUP for a type without blocks. */
int wn_explain(int type, const void *block, wn_explained *x, wn_err *e);

#endif
