/* dense_avx512.c - dense.inc.h over 64-byte vectors. */
#include <string.h>

#include "base/cpu.h"
#include "quant/dense.h"

#if defined(__x86_64__)
WN_EXACT_FLOAT

WN_TARGET_BEGIN(WN_T_AVX512)
#define DENSE_BYTES 64
#define DENSE_TABLE wn_dense_avx512
#include "quant/dense.inc.h"
WN_TARGET_END
#endif
