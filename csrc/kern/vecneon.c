/* vecneon.c - vec.inc.h over the 16-byte vectors of aarch64: the portable
 * table's code, with halves converted by the CPU. */
#include "base/cpu.h"

#if defined(__aarch64__)
#include <arm_neon.h>

WN_EXACT_FLOAT

#define VEC_BYTES 16
#define VEC_TABLE wn_vec_neon
#define VEC_F16C
#include "kern/vec.inc.h"
#endif
