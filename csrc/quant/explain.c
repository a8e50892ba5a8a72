/* explain.c - see explain.h.
 *
 * Levels of the linear formats are read from their bits. A level of the grid
 * formats is what decode gives for the same block with all scales set to 1:
 * so it is exact, and known even where the real scale is zero. */
#include "quant/explain.h"

#include <string.h>

#include "quant/blocks.h"
#include "quant/fp4.h"

enum { ONE = 0x3c00 }; /* 1 in binary16 */

/* The whole block has one scale. */
static void one_scale(wn_explained *x, const char *formula, uint16_t d) {
  x->formula = formula;
  x->d = x->scale[0] = wn_f32_of_f16(d);
}

static void one_min(wn_explained *x, uint16_t m) {
  x->has_min = true;
  x->dmin = x->min[0] = wn_f32_of_f16(m);
}

/* Sub-blocks of `sub` values under a common scale d (and dmin). */
static void sub_blocks(wn_explained *x, const char *formula, int sub,
                       uint16_t d) {
  x->formula = formula;
  x->sub = sub;
  x->d = wn_f32_of_f16(d);
}

/* Sub-block s: scale = d * factor, kept with the integer it came from. */
static void sub_scale(wn_explained *x, int s, int code, float factor) {
  x->scale_code[s] = code;
  x->scale[s] = x->d * factor;
}

static void sub_min(wn_explained *x, int s, int code) {
  x->has_min = true;
  x->min_code[s] = code;
  x->min[s] = -x->dmin * (float)code;
}

/* level[i] = value(i) * factor, for a copy of the block whose scales are set
 * so that value * factor is the level. */
static void levels_of(wn_explained *x, int type, const void *block,
                      float factor) {
  wn_format_of(type)->decode(block, x->level, (size_t)x->n);
  for (int i = 0; i < x->n; i++)
    x->level[i] *= factor;
}

/* -- one function per format; b is the block ------------------------------ */

#define EXPLAIN(name) \
  static void explain_##name(const wn_block_##name *b, wn_explained *x)
/* level[i] of a format with block scale only: decode with d = 1, m = 0 */
#define UNIT_LEVELS(name, ID)             \
  do {                                    \
    wn_block_##name unit = *b;            \
    unit.d = ONE;                         \
    levels_of(x, WN_TYPE_##ID, &unit, 1); \
  } while (0)

EXPLAIN(q4_0) {
  one_scale(x, "value = d * level, level = q - 8, q = 0..15", b->d);
  UNIT_LEVELS(q4_0, Q4_0);
}

EXPLAIN(q5_0) {
  one_scale(x, "value = d * level, level = q - 16, q = 0..31", b->d);
  UNIT_LEVELS(q5_0, Q5_0);
}

EXPLAIN(q8_0) {
  one_scale(x, "value = d * level, level = -127..127", b->d);
  UNIT_LEVELS(q8_0, Q8_0);
}

EXPLAIN(q8_1) {
  one_scale(x, "value = d * level; s = d * sum of the levels", b->d);
  x->dmin = wn_f32_of_f16(b->s);
  UNIT_LEVELS(q8_1, Q8_1);
}

EXPLAIN(q1_0) {
  one_scale(x, "value = d * level, level = -1 or 1", b->d);
  UNIT_LEVELS(q1_0, Q1_0);
}

EXPLAIN(q2_0) {
  one_scale(x, "value = d * level, level = q - 1, q = 0..3", b->d);
  UNIT_LEVELS(q2_0, Q2_0);
}

EXPLAIN(tq1_0) {
  one_scale(x, "value = d * level, level = -1, 0 or 1", b->d);
  UNIT_LEVELS(tq1_0, TQ1_0);
}

EXPLAIN(tq2_0) {
  one_scale(x, "value = d * level, level = -1, 0 or 1", b->d);
  UNIT_LEVELS(tq2_0, TQ2_0);
}

EXPLAIN(iq4_nl) {
  one_scale(x, "value = d * level, level = one of 16 uneven values", b->d);
  UNIT_LEVELS(iq4_nl, IQ4_NL);
}

EXPLAIN(q4_1) {
  wn_block_q4_1 unit = *b;
  one_scale(x, "value = d * level + m, level = 0..15", b->d);
  one_min(x, b->m);
  unit.d = ONE, unit.m = 0;
  levels_of(x, WN_TYPE_Q4_1, &unit, 1);
}

EXPLAIN(q5_1) {
  wn_block_q5_1 unit = *b;
  one_scale(x, "value = d * level + m, level = 0..31", b->d);
  one_min(x, b->m);
  unit.d = ONE, unit.m = 0;
  levels_of(x, WN_TYPE_Q5_1, &unit, 1);
}

EXPLAIN(q8_K) {
  x->formula = "value = d * level, level = -127..127";
  x->d = x->scale[0] = b->d;
  for (int i = 0; i < WN_QK; i++)
    x->level[i] = (float)b->qs[i];
}

EXPLAIN(mxfp4) {
  wn_block_mxfp4 unit = *b;
  x->formula = "value = 2^(e - 127) * level, level = an E2M1 number";
  x->scale_code[0] = b->e;
  x->d = x->scale[0] = 2 * wn_half_of_e8m0(b->e);
  unit.e = 127;
  levels_of(x, WN_TYPE_MXFP4, &unit, 1);
}

EXPLAIN(nvfp4) {
  wn_block_nvfp4 unit = *b;
  sub_blocks(x, "value = scale * level, scale an E4M3, level an E2M1 number",
             16, ONE);
  memset(unit.d, 0x38, sizeof unit.d); /* 1 in E4M3 */
  for (int s = 0; s < 4; s++)
    sub_scale(x, s, b->d[s], 2 * wn_half_of_e4m3(b->d[s]));
  levels_of(x, WN_TYPE_NVFP4, &unit, 1);
}

EXPLAIN(q2_K) {
  sub_blocks(x, "value = d * sc * level - dmin * mn, level = 0..3", 16, b->d);
  x->dmin = wn_f32_of_f16(b->dmin);
  for (int s = 0; s < 16; s++) {
    sub_scale(x, s, b->scales[s] & 15, (float)(b->scales[s] & 15));
    sub_min(x, s, b->scales[s] >> 4);
  }
  wn_block_q2_K unit = *b;
  unit.d = ONE, unit.dmin = 0;
  memset(unit.scales, 1, sizeof unit.scales);
  levels_of(x, WN_TYPE_Q2_K, &unit, 1);
}

EXPLAIN(q3_K) {
  sub_blocks(x, "value = d * (sc - 32) * level, level = q - 4, q = 0..7", 16,
             b->d);
  for (int s = 0; s < 16; s++) {
    int low = s < 8 ? b->scales[s] & 15 : b->scales[s - 8] >> 4;
    int code = low | (b->scales[8 + s % 4] >> (2 * (s / 4)) & 3) << 4;
    sub_scale(x, s, code, (float)(code - 32));
  }
  wn_block_q3_K unit = *b;
  unit.d = ONE;
  memset(unit.scales, 0x11, 8); /* all scales 33: 1 after the bias */
  memset(unit.scales + 8, 0xaa, 4);
  levels_of(x, WN_TYPE_Q3_K, &unit, 1);
}

/* The 6-bit scales and minima that q4_K and q5_K share (blocks.h). */
static void six_bit_scales(wn_explained *x, const uint8_t *p, uint16_t dmin) {
  x->dmin = wn_f32_of_f16(dmin);
  for (int s = 0; s < 8; s++) {
    int sc = p[s] & 63, mn = s < 4 ? p[s + 4] & 63 : 0;
    if (s >= 4) {
      sc = (p[s + 4] & 15) | p[s - 4] >> 6 << 4;
      mn = p[s + 4] >> 4 | p[s] >> 6 << 4;
    }
    sub_scale(x, s, sc, (float)sc);
    sub_min(x, s, mn);
  }
}

/* Scale bytes that mean: all scales 1, all minima 0. */
static const uint8_t unit_scales[12] = {1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1};

EXPLAIN(q4_K) {
  sub_blocks(x, "value = d * sc * level - dmin * mn, level = 0..15", 32, b->d);
  six_bit_scales(x, b->scales, b->dmin);
  wn_block_q4_K unit = *b;
  unit.d = ONE, unit.dmin = 0;
  memcpy(unit.scales, unit_scales, sizeof unit_scales);
  levels_of(x, WN_TYPE_Q4_K, &unit, 1);
}

EXPLAIN(q5_K) {
  sub_blocks(x, "value = d * sc * level - dmin * mn, level = 0..31", 32, b->d);
  six_bit_scales(x, b->scales, b->dmin);
  wn_block_q5_K unit = *b;
  unit.d = ONE, unit.dmin = 0;
  memcpy(unit.scales, unit_scales, sizeof unit_scales);
  levels_of(x, WN_TYPE_Q5_K, &unit, 1);
}

EXPLAIN(q6_K) {
  sub_blocks(x, "value = d * sc * level, level = q - 32, q = 0..63", 16, b->d);
  for (int s = 0; s < 16; s++)
    sub_scale(x, s, b->scales[s], (float)b->scales[s]);
  wn_block_q6_K unit = *b;
  unit.d = ONE;
  memset(unit.scales, 1, sizeof unit.scales);
  levels_of(x, WN_TYPE_Q6_K, &unit, 1);
}

/* The grid formats: scale = d * (code + 1/2) * unit. levels: decode with d =
 * 1 and code 0 and undo the scale of code 0. */
static const char grid_formula[] =
    "value = d * (sc + 1/2) * unit * level, level from a grid";

static uint32_t word_at(const void *p, int k) {
  uint32_t w;
  memcpy(&w, (const char *)p + 4 * k, 4);
  return w;
}

EXPLAIN(iq2_xxs) {
  wn_block_iq2_xxs unit = *b;
  sub_blocks(x, grid_formula, 32, b->d);
  unit.d = ONE;
  for (int s = 0; s < 8; s++) {
    int code = (int)(word_at(b->qs, 2 * s + 1) >> 28);
    sub_scale(x, s, code, ((float)code + 0.5f) * 0.25f);
    unit.qs[4 * s + 3] = (uint16_t)(b->qs[4 * s + 3] & 0x0fff);
  }
  levels_of(x, WN_TYPE_IQ2_XXS, &unit, 8);
}

/* Nibble scales of 16 values each, as iq2_xs and iq2_s have. */
static void nibble_scales(wn_explained *x, const uint8_t *scales) {
  for (int s = 0; s < 16; s++) {
    int code = scales[s / 2] >> (4 * (s % 2)) & 15;
    sub_scale(x, s, code, ((float)code + 0.5f) * 0.25f);
  }
}

EXPLAIN(iq2_xs) {
  wn_block_iq2_xs unit = *b;
  sub_blocks(x, grid_formula, 16, b->d);
  nibble_scales(x, b->scales);
  unit.d = ONE;
  memset(unit.scales, 0, sizeof unit.scales);
  levels_of(x, WN_TYPE_IQ2_XS, &unit, 8);
}

EXPLAIN(iq2_s) {
  wn_block_iq2_s unit = *b;
  sub_blocks(x, grid_formula, 16, b->d);
  nibble_scales(x, b->scales);
  unit.d = ONE;
  memset(unit.scales, 0, sizeof unit.scales);
  levels_of(x, WN_TYPE_IQ2_S, &unit, 8);
}

EXPLAIN(iq3_xxs) {
  wn_block_iq3_xxs unit = *b;
  sub_blocks(x, grid_formula, 32, b->d);
  unit.d = ONE;
  for (int s = 0; s < 8; s++) {
    int code = (int)(word_at(b->qs + 64, s) >> 28);
    sub_scale(x, s, code, ((float)code + 0.5f) * 0.5f);
    unit.qs[64 + 4 * s + 3] &= 0x0f;
  }
  levels_of(x, WN_TYPE_IQ3_XXS, &unit, 4);
}

EXPLAIN(iq3_s) {
  wn_block_iq3_s unit = *b;
  sub_blocks(x, "value = d * (1 + 2 sc) * level, level from a grid", 32, b->d);
  for (int s = 0; s < 8; s++) {
    int code = b->scales[s / 2] >> (4 * (s % 2)) & 15;
    sub_scale(x, s, code, (float)(1 + 2 * code));
  }
  unit.d = ONE;
  memset(unit.scales, 0, sizeof unit.scales);
  levels_of(x, WN_TYPE_IQ3_S, &unit, 1);
}

static const char ternary_grid[] =
    "value = d * (1 + 2 sc) * level, level = -1, 0, 1 with a shift of 1/8";

EXPLAIN(iq1_s) {
  wn_block_iq1_s unit = *b;
  sub_blocks(x, ternary_grid, 32, b->d);
  unit.d = ONE;
  for (int s = 0; s < 8; s++) {
    int code = b->qh[s] >> 12 & 7;
    sub_scale(x, s, code, (float)(1 + 2 * code));
    unit.qh[s] = (uint16_t)(b->qh[s] & 0x8fff);
  }
  levels_of(x, WN_TYPE_IQ1_S, &unit, 1);
}

EXPLAIN(iq1_m) {
  /* the four words' top nibbles are d; 0 0 c 3 makes it 1 */
  static const uint8_t unit_words[8] = {0, 0, 0, 0, 0, 0xc0, 0, 0x30};
  wn_block_iq1_m unit = *b;
  unsigned d = 0;
  for (int k = 0; k < 4; k++)
    d |= (unsigned)(b->scales[2 * k + 1] >> 4) << 4 * k;
  sub_blocks(x, ternary_grid, 16, (uint16_t)d);
  for (int s = 0; s < 16; s++) {
    unsigned word = b->scales[s / 4 * 2] | (unsigned)b->scales[s / 4 * 2 + 1]
                                               << 8;
    int code = (int)(word >> (3 * (s % 4)) & 7);
    sub_scale(x, s, code, (float)(1 + 2 * code));
  }
  memcpy(unit.scales, unit_words, sizeof unit_words);
  levels_of(x, WN_TYPE_IQ1_M, &unit, 1);
}

EXPLAIN(iq4_xs) {
  wn_block_iq4_xs unit = *b;
  sub_blocks(x, "value = d * (sc - 32) * level, level = one of 16 values", 32,
             b->d);
  for (int s = 0; s < 8; s++) {
    int code = (b->scales_l[s / 2] >> (4 * (s % 2)) & 15) |
               (b->scales_h >> (2 * s) & 3) << 4;
    sub_scale(x, s, code, (float)(code - 32));
  }
  unit.d = ONE;
  memset(unit.scales_l, 0x11, sizeof unit.scales_l); /* 33: 1 after the bias */
  unit.scales_h = 0xaaaa;
  levels_of(x, WN_TYPE_IQ4_XS, &unit, 1);
}

/* Plain numbers: the value is its own level. */
static void explain_plain(wn_explained *x) {
  x->formula = "value = level: a plain number";
  x->d = x->scale[0] = 1;
  x->level[0] = x->value[0];
}

int wn_explain(int type, const void *block, wn_explained *x, wn_err *e) {
  const wn_format *f = wn_format_of(type);
  const wn_type_info *t = wn_type(type);
  if (f == NULL || t == NULL)
    return wn_fail(e, WN_EUNSUP, "type %d is not known", type);
  memset(x, 0, sizeof *x);
  x->n = x->sub = (int)t->block;
  f->decode(block, x->value, t->block);
  switch (type) {
#define X(ID, name)           \
  case WN_TYPE_##ID:          \
    explain_##name(block, x); \
    return WN_OK;
    WN_BLOCK_STRUCTS(X)
#undef X
    default:
      explain_plain(x);
      return WN_OK;
  }
}
