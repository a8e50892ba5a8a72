/* iq_search.c - the reference encoders of iq2_xxs, iq2_xs, iq2_s, iq3_xxs and
 * iq3_s: plain scalar float arithmetic, the definition of the bytes.
 *
 * Per sub-block: weigh the values, take their signs off, try a range of
 * scales. For each scale every value is rounded to a level; a group whose
 * levels are no grid point takes the neighbour with the least weighted
 * distance. The scale then follows from the chosen points by least squares;
 * the try with the largest gain (sum w x q)^2 / (sum w q^2) wins. At last the
 * groups are rounded once more with the scale found. A level l stands for
 * q = 2 l + 1. */
#include <string.h>

#include "quant/family.h"
#include "quant/iq_block.h"

WN_EXACT_FLOAT

/* A sub-block while it is searched. */
typedef struct sub_block {
  int n;             /* values */
  float weight[32];  /* per value */
  float root[32];    /* square roots of the weights: they weigh distances */
  float size[32];    /* values without sign (see take_signs) */
  float max;         /* the largest size */
  uint16_t key[8];   /* the points chosen so far */
  bool on_grid[8];   /* they came from rounding alone */
  float scale, best; /* the scale chosen so far and its gain */
} sub_block;

static void weigh(const wn_iq_rule *rule, const float *x,
                  const float *importance, float variance, sub_block *b) {
  for (int i = 0; i < b->n; i++) {
    if (importance)
      b->weight[i] = wn_iq_weight(x[i], importance[i], variance);
    else if (rule->type == WN_TYPE_IQ2_S)
      b->weight[i] = 0.25f * variance + x[i] * x[i];
    else
      b->weight[i] = x[i] * x[i];
    b->root[i] = sqrtf(b->weight[i]);
  }
}

/* Signs of 8 values and their sizes. Where the number of minus signs must be
 * even and is odd, the least value gets the wrong sign: a negative size. */
static uint8_t take_signs(const float *x, const float *weight, bool even,
                          float *size) {
  unsigned signs = 0;
  for (int i = 0; i < 8; i++) {
    bool negative = !(x[i] >= 0);
    size[i] = negative ? -x[i] : x[i];
    signs |= (unsigned)negative << i;
  }
  if (even && __builtin_popcount(signs) % 2 != 0) {
    int least = wn_iq_least_value(x, weight);
    size[least] = -size[least];
    signs ^= 1u << least;
  }
  return (uint8_t)signs;
}

/* Rounds a group with inverse scale `id`. */
static uint16_t round_group(const wn_iq_grid *grid, int max_q,
                            const float *size, float id) {
  unsigned key = 0;
  for (int i = 0; i < grid->dims; i++) {
    int l = wn_iq_nearest(0.5f * (id * size[i] - 1));
    key |= (unsigned)wn_iq_clamp(l, 0, max_q - 1) << grid->bits * i;
  }
  return (uint16_t)key;
}

static int level_of(const wn_iq_grid *grid, uint16_t key, int i) {
  return key >> grid->bits * i & ((1 << grid->bits) - 1);
}

/* The neighbour of `key` with the least distance, the first of equals. When
 * no distance is a finite number (overflow), the first. */
static uint16_t best_neighbour(const wn_iq_grid *grid, uint16_t key,
                               const float *size, const float *root,
                               float scale) {
  wn_iq_cell cell = grid->cells[key];
  const uint16_t *near = grid->near + 16 * cell.at;
  uint16_t best = near[0];
  float best_d2 = 3.402823466e+38f;
  for (int j = 0; j < cell.n; j++) {
    float d2 = 0;
    for (int i = 0; i < grid->dims; i++) {
      float q = (float)(2 * level_of(grid, near[j], i) + 1);
      float diff = scale * q - size[i];
      d2 += root[i] * diff * diff;
    }
    if (d2 < best_d2) {
      best_d2 = d2;
      best = near[j];
    }
  }
  return best;
}

/* Rounds group k to a grid point; *on_grid tells whether the search for a
 * neighbour was spared. */
static uint16_t fit_group(const wn_iq_rule *rule, const wn_iq_grid *grid,
                          const sub_block *b, int k, float id, float scale,
                          bool *on_grid) {
  const float *size = b->size + grid->dims * k;
  uint16_t key = round_group(grid, rule->max_q, size, id);
  *on_grid = grid->cells[key].n == 0;
  if (*on_grid) return key;
  return best_neighbour(grid, key, size, b->root + grid->dims * k, scale);
}

/* sum w x q and sum w q^2 of a choice of points. */
static void sum_up(const wn_iq_grid *grid, const sub_block *b,
                   const uint16_t *key, float *sum_xq, float *sum_qq) {
  *sum_xq = *sum_qq = 0;
  for (int i = 0; i < b->n; i++) {
    int level = level_of(grid, key[i / grid->dims], i % grid->dims);
    float w = b->weight[i], q = (float)(2 * level + 1);
    *sum_xq += w * b->size[i] * q;
    *sum_qq += w * q * q;
  }
}

/* One scale: rounds all groups and keeps the result if it gains. */
static void try_scale(const wn_iq_rule *rule, const wn_iq_grid *grid, float id,
                      sub_block *b) {
  int n_groups = b->n / grid->dims;
  uint16_t key[8];
  bool on_grid[8];
  for (int k = 0; k < n_groups; k++)
    key[k] = fit_group(rule, grid, b, k, id, 1 / id, &on_grid[k]);
  float sum_xq, sum_qq;
  sum_up(grid, b, key, &sum_xq, &sum_qq);
  if (sum_qq > 0 && sum_xq * sum_xq > b->best * sum_qq) {
    b->scale = sum_xq / sum_qq;
    b->best = b->scale * sum_xq;
    memcpy(b->key, key, sizeof key);
    memcpy(b->on_grid, on_grid, sizeof on_grid);
  }
}

/* Rounds groups again with the scale found, as the rule says. */
static void redo(const wn_iq_rule *rule, const wn_iq_grid *grid, sub_block *b) {
  int n_groups = b->n / grid->dims, n_off = 0;
  for (int k = 0; k < n_groups; k++)
    n_off += !b->on_grid[k];
  if (!(b->scale > 0) || (n_off == 0 && rule->redo != WN_IQ_REDO_ALL)) return;
  float id = 1 / b->scale;
  for (int k = 0; k < n_groups; k++) {
    bool ignored;
    if (rule->redo == WN_IQ_REDO_OFF_GRID && b->on_grid[k]) continue;
    b->key[k] = fit_group(rule, grid, b, k, id, b->scale, &ignored);
  }
  float sum_xq, sum_qq;
  sum_up(grid, b, b->key, &sum_xq, &sum_qq);
  if (sum_qq > 0) b->scale = sum_xq / sum_qq;
}

/* The scale of iq2_xxs before its tries: 32 values rounded to 0..4 without a
 * grid. Levels are bytes, also those of values with the wrong sign, which
 * wrap; that is how llama.cpp computes it. */
float wn_iq_fit_start(const float *x, const float *weight, float max) {
  enum { n = 32, n_max = 4 };
  uint8_t level[n];
  float inverse = n_max / max, scale = 1 / inverse, best = 0;
  for (int i = 0; i < n; i++) {
    level[i] = (uint8_t)wn_iq_nearest(inverse * x[i]);
    float diff = x[i] - scale * level[i];
    best += weight[i] * diff * diff;
  }
  for (int is = -4; is <= 4; is++) {
    if (is == 0) continue;
    float id = (0.1f * (float)is + n_max) / max, error = 0;
    scale = 1 / id;
    for (int i = 0; i < n; i++) {
      int l = wn_iq_nearest(id * x[i]);
      float diff = x[i] - scale * (float)(l < n_max ? l : n_max);
      error += weight[i] * diff * diff;
    }
    if (error < best) {
      best = error;
      inverse = id;
    }
  }
  float sum_xl = 0, sum_ll = 0;
  for (int i = 0; i < n; i++) {
    int l = wn_iq_nearest(inverse * x[i]);
    l = l < n_max ? l : n_max;
    level[i] = (uint8_t)l;
    sum_xl += weight[i] * x[i] * (float)l;
    sum_ll += weight[i] * (float)l * (float)l;
  }
  /* Move one level at a time where that helps, at most five rounds. */
  for (int round = 0, changed = 1; round < 5 && changed; round++) {
    changed = 0;
    for (int i = 0; i < n; i++) {
      float w = weight[i], l = level[i];
      float xl = sum_xl - w * x[i] * l, ll = sum_ll - w * l * l;
      if (!(xl > 0 && ll > 0)) continue;
      int to = wn_iq_nearest(x[i] * ll / xl);
      if (to > n_max) to = n_max;
      if (to == level[i]) continue;
      xl += w * x[i] * (float)to;
      ll += w * (float)to * (float)to;
      if (xl * xl * sum_ll > sum_xl * sum_xl * ll) {
        level[i] = (uint8_t)to;
        sum_xl = xl;
        sum_ll = ll;
        changed = 1;
      }
    }
  }
  return sum_ll > 0 ? sum_xl / sum_ll : 0;
}

/* All tries of a sub-block whose weights and sizes are set. Returns false
 * when it has no usable scale and is to be skipped. */
static bool search(const wn_iq_rule *rule, const wn_iq_grid *grid,
                   sub_block *b) {
  float top = (float)(2 * rule->max_q - 1), reach = b->max;
  b->best = 0;
  memset(b->key, 0, sizeof b->key);
  for (int k = 0; k < 8; k++)
    b->on_grid[k] = rule->starts_good;
  if (rule->fits_start) {
    b->scale = wn_iq_fit_start(b->size, b->weight, b->max);
    reach = b->scale * (float)rule->max_q;
    if (reach <= 0) return false;
  } else {
    b->scale = b->max / top;
  }
  for (int is = -rule->tries; is <= rule->tries; is++)
    try_scale(rule, grid, (top + (float)is * rule->step) / reach, b);
  redo(rule, grid, b);
  return true;
}

void wn_iq_search_sub(const wn_iq_rule *rule, const wn_iq_grid *grid,
                      const float *x, const float *importance, float variance,
                      int ib, wn_iq_super *s) {
  sub_block b = {.n = rule->sub};
  uint8_t *signs = s->signs + rule->sub / 8 * ib;
  weigh(rule, x, importance, variance, &b);
  for (int k = 0; k < b.n / 8; k++)
    signs[k] = take_signs(x + 8 * k, b.weight + 8 * k, rule->even_signs,
                          b.size + 8 * k);
  b.max = b.size[0];
  for (int i = 1; i < b.n; i++)
    b.max = b.max > b.size[i] ? b.max : b.size[i];
  bool nothing = rule->epsilon > 0 ? b.max < rule->epsilon : b.max == 0;
  if (nothing || !search(rule, grid, &b)) {
    s->skipped[ib] = true;
    memset(signs, 0, (size_t)rule->sub / 8);
    return;
  }
  int n_groups = b.n / grid->dims;
  memcpy(s->key + n_groups * ib, b.key, sizeof *b.key * (size_t)n_groups);
  s->scale[ib] = b.scale;
  wn_iq_settle(rule, s, ib);
}

/* Encodes a row of any of the five types. */
static void encode(int type, const float *src, void *dst, size_t n,
                   const float *importance) {
  const wn_iq_rule *rule = wn_iq_rule_of(type);
  const wn_iq_grid *grid = wn_iq_grid_of(type);
  size_t bytes = wn_type(type)->bytes;
  for (size_t i = 0; i < n; i += WN_QK) {
    wn_iq_super s = {.scale = {0}};
    float variance = rule->sigma * wn_iq_sum_squares(src + i) / WN_QK;
    for (int ib = 0; ib < WN_QK / rule->sub; ib++) {
      size_t at = i + (size_t)(rule->sub * ib);
      wn_iq_search_sub(rule, grid, src + at,
                       importance ? importance + at : NULL, variance, ib, &s);
    }
    wn_iq_pack(rule, &s, (uint8_t *)dst + i / WN_QK * bytes);
  }
}

#define FORMAT(ID, name, needs)                                              \
  static void encode_##name(const float *src, void *dst, size_t n,           \
                            const float *importance) {                       \
    encode(WN_TYPE_##ID, src, dst, n, importance);                           \
  }                                                                          \
  const wn_format wn_fmt_##name = {WN_TYPE_##ID, needs, true, encode_##name, \
                                   wn_iq_decode_##name};
FORMAT(IQ2_XXS, iq2_xxs, true)
FORMAT(IQ2_XS, iq2_xs, true)
FORMAT(IQ2_S, iq2_s, false)
FORMAT(IQ3_XXS, iq3_xxs, false)
FORMAT(IQ3_S, iq3_s, false)
