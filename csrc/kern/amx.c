/* amx.c - the AMX tier of the matrix multiply: 16 and more columns of the
 * integer types go through the tile unit, everything else is the AVX-512
 * tier's code.
 *
 * Tiles are used sub-block by sub-block, 32 or 16 values deep, because scales
 * change there: at most a half or a quarter of the unit's rate for 8-bit
 * products. F32, F16 and BF16 weights stay on AVX-512: in
 * bf16 tiles they would give other bits than alone in a column.
 *
 * State: written from the manuals and proven by the emulation in tile_amx.h
 * only (make check-amx); it never ran on a CPU with AMX and was never timed.
 * So the unit must do a product rightly once before it is used. */
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
#include "kern/pack_avx512.inc.h"
#include "kern/tile_amx.h"

#include "kern/pack.inc.h"

#include "kern/mm.inc.h"

/* 16 x 16 sums of 32 products by tiles, compared with plain sums. */
bool wn_mm_amx_works(void) {
  enum { DEPTH = 32 };
  int8_t a[TILE_SIDE][DEPTH];
  uint8_t b[DEPTH / 4][TILE_SIDE][4];
  int32_t sum[TILE_SIDE][TILE_SIDE];
  for (int i = 0; i < TILE_SIDE * DEPTH; i++) {
    a[i / DEPTH][i % DEPTH] = (int8_t)(i * 37 % 255 - 127);
    b[i / 64][i / 4 % TILE_SIDE][i % 4] = (uint8_t)(i * 91);
  }
  tiles_begin(DEPTH);
  tile_zero(0);
  tile_load(4, a, sizeof a[0]);
  tile_load(5, b, sizeof b[0]);
  tile_dot(0, 4, 5);
  tile_store(0, sum, sizeof sum[0]);
  tiles_end();
  for (int i = 0; i < TILE_SIDE * TILE_SIDE; i++) {
    int m = i / TILE_SIDE, n = i % TILE_SIDE, want = 0;
    for (int k = 0; k < DEPTH; k++)
      want += a[m][k] * b[k / 4][n][k % 4];
    if (sum[m][n] != want) return false;
  }
  return true;
}
WN_TARGET_END
#endif
