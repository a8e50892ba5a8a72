/* fast_avx2.c - the simple families with AVX2; see fast.h. */
#if defined(__x86_64__)

#include "quant/fast.h"

#include <float.h>
#include <string.h>

#include "quant/blocks.h"
#include "quant/bytes_avx2.h"
#include "quant/family.h"
#include "quant/fp4.h"
#include "quant/search.h"

WN_EXACT_FLOAT
WN_TARGET_BEGIN(WN_T_AVX2)

#define FAST_TABLE wn_fast_avx2
#include "quant/fast_table.inc.h"

WN_TARGET_END

#endif
