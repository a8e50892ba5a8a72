/* blocks.h - the bytes of every block format, drawn.
 *
 * One struct per format, fields in file order, little-endian, no holes and
 * alignment 1: blocks may lie at any byte, and the compiler reads their
 * members accordingly. (Take no uint16_t * into a block: copy the member.)
 *
 * In the drawings w[i] is value i of the block, q[i] its level (a small
 * integer), `a..b` means bits a to b of a byte, low bit first, and d, m are
 * binary16 numbers. The formula under each drawing is what decode computes,
 * in this order of operations in float32.
 *
 * `_Static_assert`s at the end check each struct against its row of
 * types.def. */
#ifndef WN_QUANT_BLOCKS_H
#define WN_QUANT_BLOCKS_H

#include <stdint.h>

#include "gguf/types.h"

/* A binary16 number as it lies in a file. */
typedef uint16_t wn_half;

/* Blocks are arrays in a byte stream: alignment 1, so that a pointer to any
 * byte is a valid pointer to a block. */
#define WN_BLOCK __attribute__((packed, aligned(1)))

#define WN_QK 256 /* values of a super-block (k, iq and ternary formats) */

/* ------------------------------------------------------------------------
 * Legacy: 32 values, one scale. Nibbles are split by halves:
 *   qs[j] = | q[j+16] 4..7 | q[j] 0..3 |        j = 0..15
 * The fifth bit of a 5-bit level is bit i of qh (little-endian 32 bits). */

/* w[i] = (q[i] - 8) * d */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[16];
} wn_block_q4_0;

/* w[i] = q[i] * d + m */
typedef struct WN_BLOCK {
  wn_half d, m;
  uint8_t qs[16];
} wn_block_q4_1;

/* w[i] = ((q[i] | qh bit i << 4) - 16) * d */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qh[4];
  uint8_t qs[16];
} wn_block_q5_0;

/* w[i] = (q[i] | qh bit i << 4) * d + m */
typedef struct WN_BLOCK {
  wn_half d, m;
  uint8_t qh[4];
  uint8_t qs[16];
} wn_block_q5_1;

/* w[i] = qs[i] * d */
typedef struct WN_BLOCK {
  wn_half d;
  int8_t qs[32];
} wn_block_q8_0;

/* Activations: q8_0 with s = d * (sum of qs), for formats with a minimum. */
typedef struct WN_BLOCK {
  wn_half d, s;
  int8_t qs[32];
} wn_block_q8_1;

/* One bit: 128 values.  w[i] = bit i%8 of qs[i/8] ? d : -d */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[16];
} wn_block_q1_0;

/* Two bits: 64 values.
 *   qs[j] = | q[4j+3] 6..7 | q[4j+2] 4..5 | q[4j+1] 2..3 | q[4j] 0..1 |
 * w[i] = (q[i] - 1) * d */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[16];
} wn_block_q2_0;

/* ------------------------------------------------------------------------
 * 4-bit floats. A nibble indexes E2M1 doubled: 0 1 2 3 4 6 8 12, then the
 * same negated (bit 3 is the sign). */

/* 32 values; e = E8M0 exponent; nibbles as in q4_0.
 * w[i] = v(q[i]) * 2^(e - 128) */
typedef struct WN_BLOCK {
  uint8_t e;
  uint8_t qs[16];
} wn_block_mxfp4;

/* 64 values in 4 groups of 16 with an unsigned E4M3 scale each.
 *   qs[8 s + j] = | q[16 s + j + 8] 4..7 | q[16 s + j] 0..3 |   j = 0..7
 * w[i] = v(q[i]) * (e4m3(d[i / 16]) / 2) */
typedef struct WN_BLOCK {
  uint8_t d[4];
  uint8_t qs[32];
} wn_block_nvfp4;

/* ------------------------------------------------------------------------
 * Ternary: 256 values of -1, 0, 1 times d. */

/* Five base-3 digits a byte, stored as ceil(number * 256 / 243) so that
 * multiplying by 3 brings out one digit at a time in bits 8..9, the most
 * significant first. Digit n of
 *   qs[m],      m < 32 : q[32 n + m]            n = 0..4 (values 0..159)
 *   qs[32 + m], m < 16 : q[160 + 16 n + m]      n = 0..4 (values 160..239)
 *   qh[m],      m < 4  : q[240 + 4 n + m]       n = 0..3 (values 240..255)
 * w[i] = (q[i] - 1) * d */
typedef struct WN_BLOCK {
  uint8_t qs[48];
  uint8_t qh[4];
  wn_half d;
} wn_block_tq1_0;

/* Two bits:  qs[32 h + m] = | q[96+m] | q[64+m] | q[32+m] | q[m] 0..1 |
 * of half h (128 values), m < 32.   w[i] = (q[i] - 1) * d */
typedef struct WN_BLOCK {
  uint8_t qs[64];
  wn_half d;
} wn_block_tq2_0;

/* ------------------------------------------------------------------------
 * k: 256 values in sub-blocks whose scales are quantized too. */

/* 16 sub-blocks of 16.  scales[s] = | min 4..7 | scale 0..3 |
 * qs as in tq2_0: qs[32 h + m] bits 2j..2j+1 = q[128 h + 32 j + m]
 * w[i] = d * scale * q[i] - dmin * min */
typedef struct WN_BLOCK {
  uint8_t scales[16];
  uint8_t qs[64];
  wn_half d, dmin;
} wn_block_q2_K;

/* 16 sub-blocks of 16; the third bit of q[32 j + m] is bit j of hmask[m]
 * (m < 32, j < 8); the low two as in q2_K. 6-bit scales sc[0..15], biased by
 * 32:
 *   scales[s],     s < 8 = | sc[s + 8] low 4 | sc[s] low 4 |
 *   scales[8 + t], t < 4 = | sc[t+12] | sc[t+8] | sc[t+4] | sc[t] high 2 |
 * w[i] = d * (sc - 32) * (q[i] - 4) */
typedef struct WN_BLOCK {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  wn_half d;
} wn_block_q3_K;

/* 8 sub-blocks of 32 with 6-bit scales sc and minima mn:
 *   scales[t],     t < 4 = | sc[t+4] high 2 | sc[t] 0..5 |
 *   scales[4 + t], t < 4 = | mn[t+4] high 2 | mn[t] 0..5 |
 *   scales[8 + t], t < 4 = | mn[t+4] low 4  | sc[t+4] low 4 |
 * qs[32 p + m] = | q[64 p + 32 + m] 4..7 | q[64 p + m] 0..3 |  p<4, m<32
 * w[i] = d * sc * q[i] - dmin * mn */
typedef struct WN_BLOCK {
  wn_half d, dmin;
  uint8_t scales[12];
  uint8_t qs[128];
} wn_block_q4_K;

/* q4_K with a fifth bit: bit j of qh[m] belongs to q[32 j + m]. */
typedef struct WN_BLOCK {
  wn_half d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
} wn_block_q5_K;

/* 16 sub-blocks of 16 with 8-bit scales. For half h (128 values), m < 32:
 *   ql[64 h + m]      = | q[64+m] low 4 | q[m] low 4 |
 *   ql[64 h + 32 + m] = | q[96+m] low 4 | q[32+m] low 4 |
 *   qh[32 h + m]      = | q[96+m] | q[64+m] | q[32+m] | q[m] high 2 |
 * w[i] = d * scales[i / 16] * (q[i] - 32) */
typedef struct WN_BLOCK {
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  wn_half d;
} wn_block_q6_K;

/* Activations. bsums[s] = sum of qs[16 s .. 16 s + 15].  w[i] = d * qs[i] */
typedef struct WN_BLOCK {
  float d;
  int8_t qs[256];
  int16_t bsums[16];
} wn_block_q8_K;

/* ------------------------------------------------------------------------
 * iq: groups of values are points of a grid (tables in iq_grids.c). Signs
 * are 8 bits per 8 values; where only 7 are stored the eighth makes the
 * number of minus signs even. ib counts groups of 32 values. */

/* Per ib, two 32-bit words in qs[4 ib ..]: word 0 = 4 grid indices of 8
 * bits (8 values each); word 1 = | scale 28..31 | 4 x 7 sign bits |.
 * w = d * (0.5 + scale) * 0.25 * grid * sign */
typedef struct WN_BLOCK {
  wn_half d;
  uint16_t qs[32];
} wn_block_iq2_xxs;

/* qs[g] = | signs 9..15 | grid index 0..8 |, g counts groups of 8.
 * scales[ib] = | scale of values 16..31 | scale of values 0..15 |
 * w = d * (0.5 + scale) * 0.25 * grid * sign */
typedef struct WN_BLOCK {
  wn_half d;
  uint16_t qs[32];
  uint8_t scales[8];
} wn_block_iq2_xs;

/* qs[0..31]: grid index low 8, per group of 8; qs[32..63]: 8 signs per
 * group. qh[ib] bits 2l..2l+1: index high 2 of group 4 ib + l. scales as in
 * iq2_xs. */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t scales[8];
} wn_block_iq2_s;

/* qs[0..63]: grid index of each group of 4; then 8 32-bit words, one per
 * ib: | scale 28..31 | 4 x 7 sign bits |.
 * w = d * (0.5 + scale) * 0.5 * grid * sign */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[96];
} wn_block_iq3_xxs;

/* qs: grid index low 8, per group of 4; qh[ib] bit l: the ninth bit of group
 * 8 ib + l; signs[g]: 8 values. scales[j] = | ib 2j+1 | ib 2j |
 * w = d * (1 + 2 scale) * grid * sign */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t signs[32];
  uint8_t scales[4];
} wn_block_iq3_s;

/* qs: grid index low 8, per group of 8.
 * qh[ib] = | delta sign 15 | scale 12..14 | 4 x 3 high index bits |
 * w = d * (2 scale + 1) * (grid +- 0.125) */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[32];
  uint16_t qh[8];
} wn_block_iq1_s;

/* qs: grid index low 8, per group of 8. qh nibble g = | delta sign | high 3
 * index bits | of group g. scales: 4 16-bit words, word k:
 * | d bits 4k..4k+3 | 4 x 3-bit scale of 16 values each, low first |
 * w = d * (2 scale + 1) * (grid +- 0.125) */
typedef struct WN_BLOCK {
  uint8_t qs[32];
  uint8_t qh[16];
  uint8_t scales[8];
} wn_block_iq1_m;

/* q4_0's layout; a level indexes 16 uneven values. w = d * value[q] */
typedef struct WN_BLOCK {
  wn_half d;
  uint8_t qs[16];
} wn_block_iq4_nl;

/* 8 sub-blocks of 32. 6-bit scales biased by 32: low nibbles in scales_l
 * (| sub 2j+1 | sub 2j |), high 2 bits of sub-block s in bits 2s..2s+1 of
 * scales_h. qs[16 s + j] as in q4_0. w = d * (scale - 32) * value[q] */
typedef struct WN_BLOCK {
  wn_half d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
} wn_block_iq4_xs;

/* clang-format off */
#define WN_BLOCK_STRUCTS(X) \
  X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) \
  X(Q8_0, q8_0) X(Q8_1, q8_1) X(Q2_K, q2_K) X(Q3_K, q3_K) \
  X(Q4_K, q4_K) X(Q5_K, q5_K) X(Q6_K, q6_K) X(Q8_K, q8_K) \
  X(IQ2_XXS, iq2_xxs) X(IQ2_XS, iq2_xs) X(IQ3_XXS, iq3_xxs) X(IQ1_S, iq1_s) \
  X(IQ4_NL, iq4_nl) X(IQ3_S, iq3_s) X(IQ2_S, iq2_s) X(IQ4_XS, iq4_xs) \
  X(IQ1_M, iq1_m) X(TQ1_0, tq1_0) X(TQ2_0, tq2_0) X(MXFP4, mxfp4) \
  X(NVFP4, nvfp4) X(Q1_0, q1_0) X(Q2_0, q2_0)
/* clang-format on */
enum {
#define X(ID, id, name, block, bytes, class) \
  WN_BYTES_##ID = bytes, WN_VALUES_##ID = block,
#include "gguf/types.def"
#undef X
};

#define X(ID, name)                                        \
  _Static_assert(sizeof(wn_block_##name) == WN_BYTES_##ID, \
                 "struct of " #name " differs from types.def");
WN_BLOCK_STRUCTS(X)
#undef X

#endif
