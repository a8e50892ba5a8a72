/* avx2.c - the AVX2 tier of the matrix multiply. */
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

#define TIER wn_mm_avx2
#define TIER_NAME "avx2"
#define WN_TIER_ISA WN_ISA_AVX2
#define FLOAT_NC 3 /* columns whose accumulators fit 16 registers */
#define QCOLS 2
#define DOT_PLAIN

WN_TARGET_BEGIN(WN_T_AVX2)
#include "kern/lanes_avx2.h"
#include "kern/pack_x86.inc.h"

#include "kern/pack.inc.h"
#include "kern/points.inc.h"

#include "kern/mm.inc.h"
WN_TARGET_END
#endif
