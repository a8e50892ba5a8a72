/* learn.c - see learn.h. Blocks are independent of one another. */
#include "quant/learn.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/rows.h"

WN_EXACT_FLOAT

/* Levels that are rounded together at most: signs of 8 share a parity. */
enum { TOGETHER = 8 };

struct wn_learn {
  int type;
  const wn_grid *g;
  size_t n_rows, n_cols, n_blocks, block_bytes;
  size_t n, n_sub; /* of a block: values, sub-blocks */
  float unit;      /* between neighbouring levels, on average */
  float edge[2];   /* twins of levels stay between these */
  float per_scale; /* a step of a scale, by a step of a level in units */
  const float *points;
  size_t n_points;
  uint8_t *blocks; /* as given */
  float *twins;    /* of each block: stride(l) floats */
};

/* Twins of a block lie so: n levels, n_sub codes of scales, n_sub of minima, d,
 * dmin. */
static size_t stride(const wn_learn *l) {
  return l->n + 2 * l->n_sub + 2;
}
static float *codes_of(const wn_learn *l, float *twins) {
  return twins + l->n;
}
static float *ends_of(const wn_learn *l, float *twins) {
  return twins + l->n + 2 * l->n_sub;
}

/* -- rounding ------------------------------------------------------------- */

/* Levels of a run of 8 in a format of points: signs as they are, but that the
 * value nearest to zero gives in where their number must be even; then for each
 * group the point nearest to the magnitudes. */
static void nearest_points(const wn_learn *l, const float *t, float *level) {
  static const float one[WN_GRID_GROUP * WN_GRID_GROUP] = {
      [0] = 1,  [9] = 1,  [18] = 1, [27] = 1,
      [36] = 1, [45] = 1, [54] = 1, [63] = 1};
  static const float one_of_4[16] = {[0] = 1, [5] = 1, [10] = 1, [15] = 1};
  int group = l->g->group, least = 0;
  float sign[TOGETHER], size[TOGETHER], cost[WN_GRID_POINTS];
  for (int i = 0; i < TOGETHER; i++) {
    sign[i] = t[i] < 0 ? -1.f : 1.f;
    if (fabsf(t[i]) < fabsf(t[least])) least = i;
  }
  if (l->g->even_signs && wn_rows_parity(t, TOGETHER) != 0)
    sign[least] = -sign[least];
  for (int i = 0; i < TOGETHER; i++)
    size[i] = sign[i] * t[i];
  for (int at = 0; at < TOGETHER; at += group) {
    size_t best = 0;
    wn_dense_get()->costs(l->points, l->n_points, group,
                          group == 4 ? one_of_4 : one, size + at, cost);
    for (size_t k = 1; k < l->n_points; k++)
      if (cost[k] < cost[best]) best = k;
    for (int i = 0; i < group; i++)
      level[at + i] = sign[at + i] * l->points[(size_t)i * l->n_points + best];
  }
}

static void nearest_levels(const wn_learn *l, const float *t, float *level) {
  if (l->g->group > 0)
    nearest_points(l, t, level);
  else
    for (int i = 0; i < TOGETHER; i++)
      level[i] = wn_grid_nearest(l->g, t[i]);
}

static int nearest_code(float v, int lo, int hi) {
  return v <= (float)lo ? lo : v >= (float)hi ? hi : (int)rintf(v);
}

/* Block b as its twins round to it; its values go to q. */
static void round_block(const wn_learn *l, size_t b, wn_explained *x,
                        float *q) {
  float *t = l->twins + b * stride(l), *codes = codes_of(l, t);
  wn_explain(l->type, l->blocks + b * l->block_bytes, x, NULL);
  for (size_t i = 0; i < l->n; i += TOGETHER)
    nearest_levels(l, t + i, x->level + i);
  for (size_t s = 0; s < l->n_sub; s++) {
    if (l->g->code_hi > 0)
      x->scale_code[s] = nearest_code(codes[s], l->g->code_lo, l->g->code_hi);
    if (l->g->min_hi > 0)
      x->min_code[s] = nearest_code(codes[l->n_sub + s], 0, l->g->min_hi);
  }
  x->d = ends_of(l, t)[0];
  x->dmin = ends_of(l, t)[1];
  wn_rows_refresh(l->g, x, q);
}

/* -- stepping ------------------------------------------------------------- */

static void against(float *twin, double slope, float step) {
  if (slope > 0) *twin -= step;
  if (slope < 0) *twin += step;
}

/* A step in proportion to the number itself, or to 1 where a code is less. */
static float share(float number, float rate) {
  return rate * fmaxf(fabsf(number), 1);
}

static void move_block(const wn_learn *l, size_t b, const float *grad,
                       float rate) {
  const wn_grid *g = l->g;
  wn_explained x;
  float q[256], *t = l->twins + b * stride(l), *codes = codes_of(l, t);
  float *ends = ends_of(l, t), scale_rate = rate * l->per_scale;
  double by_d = 0, by_dmin = 0;
  round_block(l, b, &x, q);
  for (size_t s = 0, i = 0; s < l->n_sub; s++) {
    double along = 0, sum = 0; /* slopes by scale and by minimum */
    for (size_t end = i + (size_t)g->sub; i < end; i++) {
      along += (double)grad[i] * (double)x.level[i];
      sum += (double)grad[i];
      against(&t[i], (double)x.scale[s] * (double)grad[i], rate * l->unit);
      t[i] = fminf(fmaxf(t[i], l->edge[0]), l->edge[1]);
    }
    float factor = wn_rows_code_factor(g, x.scale_code[s]);
    by_d += (double)factor * along;
    by_dmin += g->min_is_dmin ? sum : -sum * x.min_code[s];
    if (g->code_hi > 0)
      against(&codes[s], (double)x.d * (double)g->code_mul * along,
              share(factor / g->code_mul, scale_rate));
    if (g->min_hi > 0)
      against(&codes[l->n_sub + s], -(double)x.dmin * sum,
              share((float)x.min_code[s], scale_rate));
  }
  if (wn_grid_keeps_scales(g)) return;
  against(&ends[0], by_d, scale_rate * fabsf(ends[0]));
  if (x.has_min) against(&ends[1], by_dmin, scale_rate * fabsf(ends[1]));
}

/* -- all blocks ----------------------------------------------------------- */

typedef struct work {
  const wn_learn *l;
  const float *grad; /* step */
  float rate;
  float *values;   /* or values */
  uint8_t *blocks; /* or blocks */
} work;

enum { SHARE = 64 }; /* blocks that a member takes at a time */

static void task(void *arg, wn_team *team, int member, int n_members) {
  const work *k = arg;
  const wn_learn *l = k->l;
  (void)member, (void)n_members;
  for (int64_t at; (at = wn_team_next(team)) * SHARE < (int64_t)l->n_blocks;) {
    size_t b = (size_t)at * SHARE, end = b + SHARE;
    for (; b < end && b < l->n_blocks; b++) {
      wn_explained x;
      float q[256];
      if (k->grad != NULL) {
        move_block(l, b, k->grad + b * l->n, k->rate);
        continue;
      }
      round_block(l, b, &x, q);
      if (k->values != NULL)
        memcpy(k->values + b * l->n, q, l->n * sizeof *q);
      else
        wn_compose(l->g, &x, k->blocks + b * l->block_bytes);
    }
  }
}

void wn_learn_step(wn_learn *l, const float *grad, float rate, int n_threads) {
  work k = {.l = l, .grad = grad, .rate = rate};
  wn_pool_run(n_threads, task, &k);
}

void wn_learn_values(const wn_learn *l, float *values, int n_threads) {
  work k = {.l = l, .values = values};
  wn_pool_run(n_threads, task, &k);
}

void wn_learn_blocks(const wn_learn *l, void *dst, int n_threads) {
  work k = {.l = l, .blocks = dst};
  memcpy(dst, l->blocks, l->n_blocks * l->block_bytes);
  wn_pool_run(n_threads, task, &k);
}

/* -- beginning ------------------------------------------------------------ */

/* The distance between neighbouring levels, and how far twins may go: half of
 * it beyond the last ones. */
static void measure_levels(wn_learn *l) {
  const wn_grid *g = l->g;
  float lo = g->table != NULL ? g->table[0] : (float)g->level_lo;
  float hi = g->table != NULL ? g->table[g->level_hi] : (float)g->level_hi;
  int gaps = g->level_hi - g->level_lo;
  if (g->group > 0) {
    bool seen[256] = {false};
    l->points = wn_grid_points(g, &l->n_points);
    for (size_t k = 0; k < l->n_points * (size_t)g->group; k++)
      seen[(int)l->points[k]] = true;
    lo = hi = 0;
    for (int v = 1; v < 256; v++) {
      if (!seen[v]) continue;
      gaps = lo == 0 ? 0 : gaps + 1;
      lo = lo == 0 ? (float)v : lo;
      hi = (float)v;
    }
  }
  l->unit = (hi - lo) / (float)gaps;
  l->per_scale = 3 * l->unit / fmaxf(hi, -lo);
  l->edge[1] = hi + l->unit / 2;
  l->edge[0] = g->group > 0 ? -l->edge[1] : lo - l->unit / 2;
}

/* Twins of a run of levels: as far from the levels towards the weights as
 * rounds to the levels. */
static void begin_levels(const wn_learn *l, const wn_explained *x, size_t at,
                         const float *w, float *t) {
  float back[TOGETHER];
  int each = l->g->group > 0 ? TOGETHER : 1;
  for (int i = 0; i < TOGETHER; i += each)
    for (float part = 1;; part = part > .2f ? part / 2 : 0) {
      for (int k = i; k < i + each; k++) {
        size_t s = (at + (size_t)k) / (size_t)l->g->sub;
        float level = x->level[at + (size_t)k], scale = x->scale[s];
        float want = scale != 0 ? (w[k] - x->min[s]) / scale : level;
        t[k] = level + part * (want - level);
        t[k] = fminf(fmaxf(t[k], l->edge[0]), l->edge[1]);
      }
      for (int k = i + each; k < TOGETHER; k++)
        t[k] = 0;
      nearest_levels(l, t, back);
      if (part == 0 || memcmp(back + i, x->level + at + (size_t)i,
                              (size_t)each * sizeof *back) == 0)
        break;
    }
}

static void begin_block(const wn_learn *l, size_t b, const float *w) {
  wn_explained x;
  float *t = l->twins + b * stride(l), *codes = codes_of(l, t);
  wn_explain(l->type, l->blocks + b * l->block_bytes, &x, NULL);
  for (size_t i = 0; i < l->n; i += TOGETHER)
    begin_levels(l, &x, i, w + i, t + i);
  for (size_t s = 0; s < l->n_sub; s++) {
    codes[s] = (float)x.scale_code[s];
    codes[l->n_sub + s] = (float)x.min_code[s];
  }
  ends_of(l, t)[0] = x.d;
  ends_of(l, t)[1] = x.dmin;
}

int wn_learn_new(int type, const void *blocks, const float *w, size_t n_rows,
                 size_t n_cols, wn_learn **out, wn_err *e) {
  uint64_t row_bytes, n_bytes;
  const wn_grid *g = wn_grid_of(type);
  if (g == NULL)
    return wn_fail(e, WN_EUNSUP, "learn: blocks of this type cannot be");
  int rc = wn_row_bytes(type, n_cols, &row_bytes, e);
  if (rc != WN_OK) return rc;
  if (!wn_mul(row_bytes, n_rows, &n_bytes) || n_bytes > SIZE_MAX)
    return wn_fail(e, WN_ELIMIT, "learn: too many rows");
  wn_learn *l = wn_calloc(WN_MEM_QUANT, 1, sizeof *l);
  if (l == NULL) return wn_fail(e, WN_ENOMEM, "learn: out of memory");
  l->type = type;
  l->g = g;
  l->n_rows = n_rows;
  l->n_cols = n_cols;
  l->n = wn_type(type)->block;
  l->n_sub = l->n / (size_t)g->sub;
  l->block_bytes = wn_type(type)->bytes;
  l->n_blocks = (size_t)n_bytes / l->block_bytes;
  measure_levels(l);
  l->blocks = wn_alloc(WN_MEM_QUANT, (size_t)n_bytes);
  l->twins = wn_calloc(WN_MEM_QUANT, l->n_blocks, stride(l) * sizeof(float));
  if (l->blocks == NULL || l->twins == NULL) {
    wn_learn_free(l);
    return wn_fail(e, WN_ENOMEM, "learn: no memory for %zu x %zu values",
                   n_rows, n_cols);
  }
  memcpy(l->blocks, blocks, (size_t)n_bytes);
  for (size_t b = 0; b < l->n_blocks; b++)
    begin_block(l, b, w + b * l->n);
  *out = l;
  return WN_OK;
}

void wn_learn_free(wn_learn *l) {
  if (l == NULL) return;
  wn_free(l->blocks);
  wn_free(l->twins);
  wn_free(l);
}

void wn_learn_shape(const wn_learn *l, size_t *n_rows, size_t *n_cols,
                    size_t *bytes) {
  *n_rows = l->n_rows;
  *n_cols = l->n_cols;
  *bytes = l->n_blocks * l->block_bytes;
}

float *wn_learn_twins(wn_learn *l, size_t *n) {
  *n = l->n_blocks * stride(l);
  return l->twins;
}
