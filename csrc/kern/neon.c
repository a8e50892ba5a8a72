/* neon.c - the tier for every CPU of the matrix multiply for aarch64. */
#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#include "base/cpu.h"
#include "kern/grids.h"
#include "kern/mm.h"
#include "quant/blocks.h"
#include "quant/fp4.h"
#include "quant/iq_grid.h"
#include "quant/quant.h"

#define TIER wn_mm_neon
#define TIER_NAME "neon"
#define WN_TIER_ISA WN_ISA_NEON
#define FLOAT_NC 6 /* columns whose accumulators fit 32 registers */
#define QCOLS 2

#include "kern/lanes_neon.h"
#include "kern/pack_neon.inc.h"
#include "kern/points.inc.h"

#include "kern/pack.inc.h"

#include "kern/mm.inc.h"
#endif
