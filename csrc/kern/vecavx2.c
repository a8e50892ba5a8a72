/* vecavx2.c - vec.inc.h over 32-byte vectors. */
#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>

WN_EXACT_FLOAT

WN_TARGET_BEGIN(WN_T_AVX2)
#define VEC_BYTES 32
#define VEC_TABLE wn_vec_avx2
#define VEC_F16C
#include "kern/vec.inc.h"
WN_TARGET_END
#endif
