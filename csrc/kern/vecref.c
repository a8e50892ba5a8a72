/* vecref.c - vec.inc.h for any machine, over 16-byte vectors. */
#include "base/cpu.h"

WN_EXACT_FLOAT

#define VEC_BYTES 16
#define VEC_TABLE wn_vec_ref
#include "kern/vec.inc.h"

float wn_expf(float x) {
  return exp_reg(all(x))[0];
}
