/* amx.c - the AMX tier of the matrix multiply: F16 and BF16 weights, and 16
 * and more columns of the integer types, go through the tile unit; everything
 * else is the AVX-512 tier's code.
 *
 * F16, BF16: operands are cut into bfloat16 parts, so that three or two tile
 * products are as good as one of floats with activations of 17 bits: at most a
 * third or a half of the unit's rate for bfloat16 (half_amx.inc.h). Decoding
 * goes the same way, because it must give the same bits: that costs, see below.
 * F32 weights would need three parts and six products; they stay on AVX-512.
 * Integer types: tiles are used sub-block by sub-block, 32 values deep, because
 * scales change there; types with scales per 16 values stay on AVX-512, which
 * is faster for them (dot_amx.inc.h has the table).
 *
 * State: run and timed on one machine, a Granite Rapids (the unit: 12.1 Top/s
 * of bytes, 6.0 of bfloat16; AVX-512 1.55 of bytes, 0.41 of floats). One
 * thread, 512 columns, Gop/s by tiles : by AVX-512: F16 291 : 103, BF16 351 :
 * 107; whole prompts reach 2 to 8 % of the unit's rate. With few columns
 * halves lose: F16 with 4 columns 27 : 88, a decoded token of 430 M weights 75
 * ms : 49 ms. `WANE_ISA=avx512` is the better choice where tokens are decoded
 * from F16 or BF16 files. The kernels are also proven by the emulation in
 * tile_amx.h (make check-amx), and the unit must do a product of each kind
 * rightly once before it is used. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
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

/* 16 x 16 sums of 32 products of bytes by tiles, compared with plain sums. */
static bool bytes_work(void) {
  enum { DEPTH = 32 };
  int8_t a[TILE_SIDE][DEPTH];
  uint8_t b[DEPTH / 4][TILE_SIDE][4];
  int32_t sum[TILE_SIDE][TILE_SIDE];
  for (int i = 0; i < TILE_SIDE * DEPTH; i++) {
    a[i / DEPTH][i % DEPTH] = (int8_t)(i * 37 % 255 - 127);
    b[i / 64][i / 4 % TILE_SIDE][i % 4] = (uint8_t)(i * 91);
  }
  tiles_shape(TILE_SIDE, TILE_SIDE, DEPTH);
  tile_zero(0);
  tile_load(4, a, sizeof a[0]);
  tile_load(6, b, sizeof b[0]);
  tile_dot8(0, 4, 6);
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

/* BF16 weights that are pairs of small numbers, times columns of floats that
 * need both of their parts. Rows are 16 pairs long: one block. */
typedef struct half_test {
  uint32_t w[R][PAIRS];
  float x[TILE_SIDE][BLOCK];
  _Alignas(64) uint8_t packed[TILE_SIDE][64 + 8 * PAIRS];
} half_test;

static void half_test_fill(half_test *t) {
  for (uint32_t i = 0; i < R * PAIRS; i++) {
    uint32_t low = 0x3f80 + i * 37 % 255, high = 0xbf80 + i * 59 % 253;
    t->w[i / PAIRS][i % PAIRS] = high << 16 | low;
  }
  for (uint32_t i = 0; i < TILE_SIDE * BLOCK; i++)
    t->x[i / BLOCK][i % BLOCK] = (float)(i * 7919 % 65521) * 0x1p-14f - 1;
  for (size_t c = 0; c < TILE_SIDE; c++)
    pack_bf16(t->x[c], BLOCK, t->packed[c]);
}

/* The sum of row r and column c in double: off by at most the unit's and the
 * parts' roundings, 2^-16 of the products' magnitudes. */
static bool half_test_near(const half_test *t, size_t r, size_t c, float y) {
  double want = 0, most = 0;
  for (size_t k = 0; k < BLOCK; k++) {
    uint32_t bits = t->w[r][k / 2] << (k % 2 == 0 ? 16 : 0) & 0xffff0000u;
    double product = (double)wn_f32_of_bits(bits) * (double)t->x[c][k];
    want += product;
    most += fabs(product);
  }
  return fabs((double)y - want) <= 0x1p-16 * most;
}

/* One block by the kernels for many and for few columns: right, and the same
 * bits in every column. */
static bool halves_work(void) {
  half_test t;
  half_block panel[1];
  float many[TILE_SIDE][R], few[1][R];
  const wn_column col = {.stride = sizeof t.packed[0]};
  half_test_fill(&t);
  wn_rows rows = {(const uint8_t *)t.w, sizeof t.w[0], (const uint8_t *)t.w, 0};
  wn_rows again = rows;
  unpack_bf16(WN_TYPE_BF16, &rows, BLOCK, panel);
  multiply_bf16(panel, BLOCK, t.packed[0], &col, 0, TILE_SIDE,
                (totals){NULL, many[0], R});
  bool works = true;
  for (size_t c = 0; c < TILE_SIDE; c++) {
    few_tiles_bf16(WN_TYPE_BF16, again, BLOCK, t.packed[c], &col, 0, 1, few,
                   true);
    works = works && memcmp(few[0], many[c], sizeof few[0]) == 0;
    for (size_t r = 0; r < R; r++)
      works = works && half_test_near(&t, r, c, many[c][r]);
  }
  tiles_end();
  return works;
}

/* A configuration of somebody else's is there again after a product. */
static bool others_stay(void) {
  tile_shapes before, theirs = tile_shapes_of(3, 5, 8), after;
  tiles_save(&before);
  tiles_load(&theirs);
  bool works = bytes_work();
  tiles_save(&after);
  tiles_load(&before);
  return works && memcmp(&theirs, &after, sizeof theirs) == 0;
}

bool wn_mm_amx_works(void) {
  return bytes_work() && halves_work() && others_stay();
}
WN_TARGET_END
#endif
