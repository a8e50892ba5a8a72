/* vecavx512.c - vec.inc.h over 64-byte vectors. */
#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>

WN_EXACT_FLOAT

WN_TARGET_BEGIN(WN_T_AVX512)
#define VEC_BYTES 64
#define VEC_TABLE wn_vec_avx512
#define VEC_F16C
#include "kern/vec.inc.h"
WN_TARGET_END
#endif
