/* iq_block.c - rules and packing of the i-quants that search a grid.
 *
 * Layouts are drawn in blocks.h. Every format stores a scale per sub-block as
 * 4 bits l: scale = d * (2 l + 1) with d = largest scale / 31, times a factor
 * that was found to help (the `fudge` arguments). */
#include "quant/iq_block.h"

#include <string.h>

WN_EXACT_FLOAT

static const wn_iq_rule rules[] = {
    {.type = WN_TYPE_IQ2_XXS,
     .sub = 32,
     .max_q = 3,
     .tries = 6,
     .step = 0.1f,
     .epsilon = 1e-15f,
     .sigma = 1,
     .even_signs = true,
     .fits_start = true,
     .redo = WN_IQ_REDO_ALL},
    {.type = WN_TYPE_IQ2_XS,
     .sub = 16,
     .max_q = 3,
     .tries = 9,
     .step = 0.1f,
     .epsilon = 1e-15f,
     .sigma = 1,
     .even_signs = true,
     .starts_good = true,
     .redo = WN_IQ_REDO_OFF_GRID},
    {.type = WN_TYPE_IQ2_S,
     .sub = 16,
     .max_q = 3,
     .tries = 9,
     .step = 0.1f,
     .epsilon = 1e-8f,
     .sigma = 2,
     .starts_good = true,
     .redo = WN_IQ_REDO_OFF_GRID},
    {.type = WN_TYPE_IQ3_XXS,
     .sub = 32,
     .max_q = 8,
     .tries = 15,
     .step = 0.2f,
     .epsilon = 1e-8f,
     .sigma = 2,
     .even_signs = true,
     .starts_good = true,
     .redo = WN_IQ_REDO_OFF_GRID},
    {.type = WN_TYPE_IQ3_S,
     .sub = 32,
     .max_q = 8,
     .tries = 9,
     .step = 0.2f,
     .epsilon = 0,
     .sigma = 2,
     .redo = WN_IQ_REDO_ALL_IF_OFF_GRID},
};

const wn_iq_rule *wn_iq_rule_of(int type) {
  for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
    if (rules[i].type == type) return &rules[i];
  return NULL;
}

void wn_iq_settle(const wn_iq_rule *rule, wn_iq_super *s, int sub_block) {
  float *scale = &s->scale[sub_block];
  if (*scale < 0) {
    int n = rule->sub / 8;
    for (int k = n * sub_block; k < n * (sub_block + 1); k++)
      s->signs[k] = (uint8_t)~s->signs[k];
    *scale = -*scale;
  }
  if (!(*scale >= 0)) *scale = 0;
}

/* Levels of all sub-block scales (4 bits each) and the scale d of the
 * super-block times `fudge` as binary16. False when all scales are 0. */
static bool pack_scales(const wn_iq_rule *rule, const wn_iq_super *s,
                        float fudge, wn_half *half, uint8_t *levels) {
  int n = WN_QK / rule->sub;
  float max = 0;
  for (int ib = 0; ib < n; ib++)
    max = max > s->scale[ib] ? max : s->scale[ib];
  *half = 0;
  memset(levels, 0, 16);
  if (max == 0) return false;
  float d = max / 31, id = 1 / d;
  *half = wn_f16_of_f32(d * fudge);
  for (int ib = 0; ib < n; ib++) {
    int l = wn_iq_nearest(0.5f * (id * s->scale[ib] - 1));
    levels[ib] = (uint8_t)wn_iq_clamp(l, 0, 15);
  }
  return true;
}

static uint32_t index_of(const wn_iq_grid *grid, uint16_t key) {
  return grid->cells[key].at;
}

/* | level 28..31 | 4 x 7 sign bits | of a sub-block of 32 values. */
static uint32_t scale_and_signs(const uint8_t *signs, uint8_t level) {
  uint32_t word = (uint32_t)level << 28;
  for (int k = 0; k < 4; k++)
    word |= (uint32_t)(signs[k] & 127) << 7 * k;
  return word;
}

static void pack_iq2_xxs(const wn_iq_rule *rule, const wn_iq_super *s,
                         wn_block_iq2_xxs *b) {
  const wn_iq_grid *grid = wn_iq_grid_of(rule->type);
  uint8_t levels[16];
  wn_half d;
  memset(b, 0, sizeof *b);
  if (!pack_scales(rule, s, 1, &d, levels)) return;
  b->d = d;
  for (int ib = 0; ib < 8; ib++) {
    uint32_t words[2] = {0, scale_and_signs(s->signs + 4 * ib, levels[ib])};
    for (int k = 0; k < 4; k++)
      words[0] |= index_of(grid, s->key[4 * ib + k]) << 8 * k;
    memcpy((uint8_t *)b->qs + 8 * ib, words, sizeof words);
  }
}

static void pack_iq2_xs(const wn_iq_rule *rule, const wn_iq_super *s,
                        wn_block_iq2_xs *b) {
  const wn_iq_grid *grid = wn_iq_grid_of(rule->type);
  uint8_t levels[16];
  wn_half d;
  memset(b, 0, sizeof *b);
  if (!pack_scales(rule, s, 1, &d, levels)) return;
  b->d = d;
  for (int k = 0; k < 32; k++)
    b->qs[k] = (uint16_t)(index_of(grid, s->key[k]) |
                          (uint32_t)(s->signs[k] & 127) << 9);
  for (int j = 0; j < 8; j++)
    b->scales[j] = (uint8_t)(levels[2 * j] | levels[2 * j + 1] << 4);
}

/* Indices and signs are written even when all scales are 0. */
static void pack_iq2_s(const wn_iq_rule *rule, const wn_iq_super *s,
                       wn_block_iq2_s *b) {
  const wn_iq_grid *grid = wn_iq_grid_of(rule->type);
  uint8_t levels[16];
  wn_half d;
  memset(b, 0, sizeof *b);
  pack_scales(rule, s, 0.9875f, &d, levels);
  b->d = d;
  for (int k = 0; k < 32; k++) {
    uint32_t index = index_of(grid, s->key[k]);
    b->qs[k] = (uint8_t)index;
    b->qh[k / 4] |= (uint8_t)(index >> 8 << 2 * (k % 4));
    b->qs[32 + k] = s->signs[k];
  }
  for (int j = 0; j < 8; j++)
    b->scales[j] = (uint8_t)(levels[2 * j] | levels[2 * j + 1] << 4);
}

static void pack_iq3_xxs(const wn_iq_rule *rule, const wn_iq_super *s,
                         wn_block_iq3_xxs *b) {
  const wn_iq_grid *grid = wn_iq_grid_of(rule->type);
  uint8_t levels[16];
  wn_half d;
  memset(b, 0, sizeof *b);
  if (!pack_scales(rule, s, 1.0125f, &d, levels)) return;
  b->d = d;
  for (int k = 0; k < 64; k++)
    b->qs[k] = (uint8_t)index_of(grid, s->key[k]);
  for (int ib = 0; ib < 8; ib++) {
    uint32_t word = scale_and_signs(s->signs + 4 * ib, levels[ib]);
    memcpy(b->qs + 64 + 4 * ib, &word, sizeof word);
  }
}

/* llama.cpp does not move its write position for a skipped sub-block: the low
 * index bytes and the signs of later ones close up, and only the ninth bits
 * of the indices stay in place. Files are made that way, so we do the same
 * (the scale of the affected sub-blocks is what matters least: a skipped one
 * is all zero, as in the padding of a matrix). */
static void pack_iq3_s(const wn_iq_rule *rule, const wn_iq_super *s,
                       wn_block_iq3_s *b) {
  const wn_iq_grid *grid = wn_iq_grid_of(rule->type);
  uint8_t levels[16], *qs = b->qs, *signs = b->signs;
  wn_half d;
  memset(b, 0, sizeof *b);
  pack_scales(rule, s, 1.033f, &d, levels);
  b->d = d;
  for (int ib = 0; ib < 8; ib++) {
    if (s->skipped[ib]) continue;
    for (int k = 0; k < 8; k++) {
      uint32_t index = index_of(grid, s->key[8 * ib + k]);
      *qs++ = (uint8_t)index;
      b->qh[ib] |= (uint8_t)(index >> 8 << k);
    }
    memcpy(signs, s->signs + 4 * ib, 4);
    signs += 4;
  }
  for (int j = 0; j < 4; j++)
    b->scales[j] = (uint8_t)(levels[2 * j] | levels[2 * j + 1] << 4);
}

void wn_iq_pack(const wn_iq_rule *rule, const wn_iq_super *s, void *block) {
  switch (rule->type) {
    case WN_TYPE_IQ2_XXS:
      pack_iq2_xxs(rule, s, block);
      break;
    case WN_TYPE_IQ2_XS:
      pack_iq2_xs(rule, s, block);
      break;
    case WN_TYPE_IQ2_S:
      pack_iq2_s(rule, s, block);
      break;
    case WN_TYPE_IQ3_XXS:
      pack_iq3_xxs(rule, s, block);
      break;
    default:
      pack_iq3_s(rule, s, block);
      break;
  }
}
