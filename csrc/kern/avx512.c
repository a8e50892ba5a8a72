/* avx512.c - the AVX-512 tier of the matrix multiply. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "base/cpu.h"
#include "kern/grids.h"
#include "kern/mm.h"
#include "quant/blocks.h"
#include "quant/fp4.h"
#include "quant/iq_grid.h"
#include "quant/quant.h"

#define TIER wn_mm_avx512
#define TIER_NAME "avx512"
#define WN_TIER_ISA WN_ISA_AVX512
#define FLOAT_NC 6 /* columns whose accumulators fit 32 registers */
#define QCOLS 6

WN_TARGET_BEGIN(WN_T_AVX512)
#include "kern/lanes_avx512.h"
#include "kern/pack_avx512.inc.h"

#include "kern/pack.inc.h"

#include "kern/mm.inc.h"
WN_TARGET_END
#endif
