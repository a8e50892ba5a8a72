/* amx.c - the AMX tier of the matrix multiply: 16 and more columns of the
 * integer types go through the tile unit, everything else is the AVX-512
 * tier's code.
 *
 * Tiles are used sub-block by sub-block, 16 or 32 values deep, because scales
 * change there: at most half of the unit's rate for 8-bit products, four
 * times that of AVX-512 VNNI. F32, F16 and BF16 weights stay on AVX-512: in
 * bf16 tiles they would give other bits than alone in a column.
 *
 * State: written from the manuals and proven by the emulation in tile_amx.h
 * only (make check-amx); it never ran on a CPU with AMX and was never timed. */
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

#define TIER wn_mm_amx
#define TIER_NAME "amx"
#define WN_TIER_ISA WN_ISA_AVX512
#define FLOAT_NC 6 /* columns whose accumulators fit 32 registers */
#define QCOLS 6
#define DOT_TILES

WN_TARGET_BEGIN(WN_T_AMX)
#include "kern/lanes_avx512.h"
#include "kern/pack_x86.inc.h"
#include "kern/tile_amx.h"

#include "kern/pack.inc.h"

#include "kern/mm.inc.h"
WN_TARGET_END
#endif
