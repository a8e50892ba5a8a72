/* dotprod.c - the tier for CPUs with sdot of the matrix multiply for aarch64.
 */
#include "base/cpu.h"

#if defined(WN_ARM_TARGETS)
#include <arm_neon.h>
#include <string.h>

#include "kern/grids.h"
#include "kern/mm.h"
#include "quant/blocks.h"
#include "quant/fp4.h"
#include "quant/iq_grid.h"
#include "quant/quant.h"

#define TIER wn_mm_dotprod
#define TIER_NAME "dotprod"
#define WN_TIER_ISA WN_ISA_NEON
#define FLOAT_NC 6 /* columns whose accumulators fit 32 registers */
#define QCOLS 4
#define DOT_SDOT

WN_TARGET_BEGIN(WN_T_DOTPROD)
#include "kern/lanes_neon.h"
#include "kern/pack_neon.inc.h"
#include "kern/points.inc.h"

#include "kern/pack.inc.h"

#include "kern/mm.inc.h"
WN_TARGET_END
#endif
