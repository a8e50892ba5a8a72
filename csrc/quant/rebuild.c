/* rebuild.c - see rebuild.h. Rows in tiles of TILE; a tile is the work of one
 * thread, so results do not depend on how many there are.
 *
 * For a row: e = w - q, r = H e. Moving q by delta along a direction v
 * changes the error e^T H e by delta^2 v^T H v - 2 delta v^T r. Every stored
 * number is such a direction: a level moves one value, a scale code or a
 * minimum moves a sub-block, d and dmin move a block. All updates of r are
 * sums of rows of H, element by element in a fixed order without fused
 * rounding, so that all machines agree.
 *
 * H does not fit into a near cache, so columns are gone through in chunks:
 * inside of a chunk r is kept up to date for the chunk alone (a corner of H);
 * when all rows of the tile have been through it, what they changed is taken
 * to the columns outside as one product of matrices, which reads each row of
 * H once for the whole tile. */
#include "quant/rebuild.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/compose.h"
#include "quant/dense.h"

WN_EXACT_FLOAT

/* ---- the state of one row */

typedef struct row {
  const wn_grid *g;
  const wn_hessian *hs;
  size_t n, n_blocks;
  const float *w;
  wn_explained *x;     /* n_blocks */
  float *q;            /* n: current values */
  float *r;            /* n: H (w - q), up to date for columns lo .. hi */
  size_t lo, hi;       /* the chunk in hand */
  bool active;         /* the last sweep still gained something */
  double before, last; /* errors: the encoder's, and after the last sweep */
  const wn_dense *dense;
} row;

enum {
  TILE = 32,        /* rows that share the traffic of H */
  CHUNK_WIDE = 256, /* columns: of types with blocks of 256 */
  CHUNK = 128       /* of the others */
};

/* Value c was moved by delta. */
static void moved(row *o, size_t c, float delta) {
  o->dense->subtract(o->r + o->lo, o->hs->h + c * o->n + o->lo, delta,
                     o->hi - o->lo);
}

static float code_factor(const wn_grid *g, int code) {
  return g->code_mul * (float)code + g->code_add;
}

/* Scales, minima and values of a block from its stored numbers; d and dmin
 * become what binary16 can hold. */
static void refresh(const wn_grid *g, wn_explained *x, float *q) {
  x->d = wn_f32_of_f16(wn_f16_of_f32(x->d));
  x->dmin = wn_f32_of_f16(wn_f16_of_f32(x->dmin));
  for (int s = 0; s * g->sub < x->n; s++) {
    x->scale[s] = x->d * code_factor(g, x->scale_code[s]);
    x->min[s] = g->min_is_dmin ? x->dmin : -x->dmin * (float)x->min_code[s];
    for (int i = s * g->sub; i < (s + 1) * g->sub; i++)
      q[i] = x->scale[s] * x->level[i] + x->min[s];
  }
}

/* Adds to r of all rows the sums over columns c0 <= c < c1 of e[c] times row
 * c of H, for columns j0 <= j < j1. e holds TILE values for each column. */
static void add_product(row *rows, int n_rows, const float *e, size_t c0,
                        size_t c1, size_t j0, size_t j1) {
  size_t n = rows->n;
  if (c1 > c0 && j1 > j0)
    rows->dense->outer(rows->r + j0, n, e, TILE, rows->hs->h + c0 * n + j0, n,
                       c1 - c0, (size_t)n_rows, j1 - j0);
}

/* r = H (w - q), from nothing, for all rows; e is scratch of TILE n. */
static void recompute(row *rows, int n_rows, float *e) {
  size_t n = rows->n;
  memset(e, 0, n * TILE * sizeof *e);
  for (int k = 0; k < n_rows; k++) {
    memset(rows[k].r, 0, n * sizeof *rows[k].r);
    for (size_t c = 0; c < n; c++)
      e[c * TILE + (size_t)k] = rows[k].w[c] - rows[k].q[c];
  }
  add_product(rows, n_rows, e, 0, n, 0, n);
}

static double error_of(const row *o) {
  double sum = 0;
  for (size_t i = 0; i < o->n; i++)
    sum += (double)(o->w[i] - o->q[i]) * (double)o->r[i];
  return sum;
}

/* ---- coordinate descent */

static void move_level(row *o, wn_explained *x, size_t at, int i) {
  int s = i / o->g->sub;
  float scale = x->scale[s];
  const float *h = o->hs->h + (at + (size_t)i) * o->n;
  float hii = h[at + (size_t)i], r = o->r[at + (size_t)i];
  if (scale == 0 || !(hii > 0)) return;
  float want = o->q[at + (size_t)i] + r / hii;
  float level = wn_grid_nearest(o->g, (want - x->min[s]) / scale);
  if (level == x->level[i]) return;
  float value = scale * level + x->min[s];
  float delta = value - o->q[at + (size_t)i];
  if (!(delta * delta * hii - 2 * delta * r < 0)) return;
  x->level[i] = level;
  o->q[at + (size_t)i] = value;
  moved(o, at + (size_t)i, delta);
}

/* ---- groups of levels: points of a grid with signs */

/* Signs for the magnitudes of a group: those of `want`; where their number
 * must be even or odd (parity 0 or 1; -1: free), the value that is nearest to
 * zero gives in. */
static void choose_signs(const float *want, const float *weight, int n,
                         int parity, float *sign) {
  int odd = 0, least = 0;
  for (int i = 0; i < n; i++) {
    sign[i] = want[i] < 0 ? -1.f : 1.f;
    odd ^= want[i] < 0;
    if (want[i] * want[i] * weight[i] <
        want[least] * want[least] * weight[least])
      least = i;
  }
  if (parity >= 0 && odd != parity) sign[least] = -sign[least];
}

/* The levels l of a group for which scale^2 l^T A l - 2 scale l^T b is least,
 * among all points with the signs of `want`. Returns that cost. */
static float best_point(const row *o, const float *a, const float *b,
                        const float *want, float scale, int parity,
                        float *level) {
  float sign[WN_GRID_GROUP], weight[WN_GRID_GROUP], sb[WN_GRID_GROUP];
  float sa[WN_GRID_GROUP * WN_GRID_GROUP], cost[WN_GRID_POINTS];
  int n = o->g->group;
  size_t n_points, best = 0;
  const float *points = wn_grid_points(o->g, &n_points);
  for (int i = 0; i < n; i++)
    weight[i] = a[i * n + i];
  choose_signs(want, weight, n, parity, sign);
  for (int i = 0; i < n; i++) {
    sb[i] = scale * sign[i] * b[i];
    for (int j = 0; j < n; j++)
      sa[i * n + j] = scale * scale * sign[i] * sign[j] * a[i * n + j];
  }
  o->dense->costs(points, n_points, n, sa, sb, cost);
  for (size_t k = 1; k < n_points; k++)
    if (cost[k] < cost[best]) best = k;
  for (int i = 0; i < n; i++)
    level[i] = sign[i] * points[(size_t)i * n_points + best];
  return cost[best];
}

static int parity_of(const float *level, int n) {
  int odd = 0;
  for (int i = 0; i < n; i++)
    odd ^= level[i] < 0;
  return odd;
}

/* The best point for the group at level i of a block, all else fixed. */
static void move_group(row *o, wn_explained *x, size_t at, int i) {
  int n = o->g->group;
  float scale = x->scale[i / o->g->sub];
  float a[WN_GRID_GROUP * WN_GRID_GROUP] = {0}, b[WN_GRID_GROUP] = {0};
  float want[WN_GRID_GROUP] = {0}, level[WN_GRID_GROUP];
  const float *q = o->q + at + i, *r = o->r + at + i;
  if (scale == 0) return;
  for (int k = 0; k < n; k++) {
    const float *h = o->hs->h + (at + (size_t)(i + k)) * o->n + at + i;
    b[k] = r[k];
    if (!(h[k] > 0)) return;
    want[k] = (q[k] + r[k] / h[k]) / scale;
    for (int j = 0; j < n; j++) {
      a[k * n + j] = h[j];
      b[k] += h[j] * q[j];
    }
  }
  int parity = o->g->even_signs ? parity_of(x->level + i, n) : -1;
  best_point(o, a, b, want, scale, parity, level);
  if (memcmp(level, x->level + i, (size_t)n * sizeof *level) == 0) return;
  float delta[WN_GRID_GROUP];
  double change = 0;
  for (int k = 0; k < n; k++) {
    delta[k] = scale * level[k] - q[k];
    change -= 2 * (double)delta[k] * (double)r[k];
  }
  for (int k = 0; k < n; k++)
    for (int j = 0; j < n; j++)
      change += (double)delta[k] * (double)a[k * n + j] * (double)delta[j];
  if (!(change < 0)) return;
  for (int k = 0; k < n; k++) {
    size_t c = at + (size_t)(i + k);
    x->level[i + k] = level[k];
    o->q[c] = scale * level[k];
    if (delta[k] != 0) moved(o, c, delta[k]);
  }
}

/* v^T r and v^T H v of a direction over columns at .. at + n. */
static void slopes(const row *o, size_t at, int n, const float *v, float *hv,
                   double *vr, double *vhv) {
  memset(hv, 0, (size_t)n * sizeof *hv);
  for (int i = 0; i < n; i++)
    if (v[i] != 0)
      o->dense->subtract(hv, o->hs->h + (at + (size_t)i) * o->n + at, -v[i],
                         (size_t)n);
  *vr = *vhv = 0;
  for (int i = 0; i < n; i++) {
    *vr += (double)v[i] * (double)o->r[at + (size_t)i];
    *vhv += (double)v[i] * (double)hv[i];
  }
}

/* Takes over the values of a block after one of its numbers changed, if the
 * error shrinks; else puts the block back. `first`, `n`: which columns may
 * differ. Returns whether it was taken. */
static bool settle(row *o, wn_explained *x, const wn_explained *old, size_t at,
                   int first, int n) {
  float q[256], delta[256] = {0}, hv[256];
  double dr, dhd;
  refresh(o->g, x, q);
  for (int i = 0; i < n; i++)
    delta[i] = q[first + i] - o->q[at + (size_t)(first + i)];
  slopes(o, at + (size_t)first, n, delta, hv, &dr, &dhd);
  if (!(dhd - 2 * dr < 0)) {
    *x = *old;
    return false;
  }
  for (int i = 0; i < n; i++) {
    size_t c = at + (size_t)(first + i);
    o->q[c] = q[first + i];
    if (delta[i] != 0) moved(o, c, delta[i]);
  }
  return true;
}

static int clamp_int(double v, int lo, int hi) {
  return v <= lo ? lo : v >= hi ? hi : (int)rint(v);
}

/* The best code of the scale or the minimum of sub-block s, all else fixed. */
static void move_code(row *o, wn_explained *x, size_t at, int s, bool is_min) {
  const wn_grid *g = o->g;
  int first = s * g->sub;
  float v[256], hv[256], unit = is_min ? -x->dmin : x->d * g->code_mul;
  double vr, vhv;
  for (int i = 0; i < g->sub; i++)
    v[i] = is_min ? unit : unit * x->level[first + i];
  slopes(o, at + (size_t)first, g->sub, v, hv, &vr, &vhv);
  if (!(vhv > 0)) return;
  wn_explained old = *x;
  int *code = is_min ? &x->min_code[s] : &x->scale_code[s];
  int lo = is_min ? 0 : g->code_lo, hi = is_min ? g->min_hi : g->code_hi;
  *code = clamp_int(*code + vr / vhv, lo, hi);
  if (*code != (is_min ? old.min_code[s] : old.scale_code[s]))
    settle(o, x, &old, at, first, g->sub);
}

/* The best d or dmin of a block, all else fixed. */
static void move_block_scale(row *o, wn_explained *x, size_t at, bool is_min) {
  const wn_grid *g = o->g;
  float v[256], hv[256];
  double vr, vhv;
  for (int i = 0; i < x->n; i++) {
    int s = i / g->sub;
    v[i] = is_min ? (g->min_is_dmin ? 1 : -(float)x->min_code[s])
                  : code_factor(g, x->scale_code[s]) * x->level[i];
  }
  slopes(o, at, x->n, v, hv, &vr, &vhv);
  if (!(vhv > 0)) return;
  wn_explained old = *x;
  float *d = is_min ? &x->dmin : &x->d;
  double want = (double)*d + vr / vhv;
  if (!(fabs(want) <= 65504)) return;
  *d = wn_f32_of_f16(wn_f16_of_f32((float)want));
  if (*d != (is_min ? old.dmin : old.d)) settle(o, x, &old, at, 0, x->n);
}

/* All numbers of one block. */
static void sweep_block(row *o, wn_explained *x, size_t at) {
  const wn_grid *g = o->g;
  move_block_scale(o, x, at, false);
  if (x->has_min) move_block_scale(o, x, at, true);
  for (int s = 0; s * g->sub < x->n; s++) {
    if (g->code_hi > 0) move_code(o, x, at, s, false);
    if (g->min_hi > 0) move_code(o, x, at, s, true);
    int step = g->group > 0 ? g->group : 1;
    for (int i = s * g->sub; i < (s + 1) * g->sub; i += step)
      if (g->group > 0)
        move_group(o, x, at, i);
      else
        move_level(o, x, at, i);
  }
}

/* The end of the chunk that begins at column c. */
static size_t chunk_end(const row *o, size_t c) {
  size_t step = o->x[0].n > CHUNK ? CHUNK_WIDE : CHUNK;
  return o->n - c < step ? o->n : c + step;
}

/* One round over all numbers of all active rows; e is scratch of TILE n. */
static void sweep(row *rows, int n_rows, float *e) {
  size_t n = rows->n;
  for (size_t c0 = 0, c1; c0 < n; c0 = c1) {
    c1 = chunk_end(rows, c0);
    bool any = false;
    memset(e, 0, (c1 - c0) * TILE * sizeof *e);
    for (int k = 0; k < n_rows; k++) {
      row *o = &rows[k];
      size_t len = (size_t)o->x[0].n;
      if (!o->active) continue;
      for (size_t c = c0; c < c1; c++)
        e[(c - c0) * TILE + (size_t)k] = o->q[c];
      o->lo = c0;
      o->hi = c1;
      for (size_t c = c0; c < c1; c += len)
        sweep_block(o, &o->x[c / len], c);
      for (size_t c = c0; c < c1; c++) {
        float *d = &e[(c - c0) * TILE + (size_t)k];
        *d -= o->q[c];
        any = any || *d != 0;
      }
    }
    if (!any) continue;
    add_product(rows, n_rows, e, c0, c1, 0, c0);
    add_product(rows, n_rows, e, c0, c1, c1, n);
  }
}

/* ---- error feedback */

/* A = (U^T U)^-1 of the n x n corner of U at column c: what an error in these
 * columns costs when the columns after them make up for it. */
static void corner(const row *o, size_t c, int n, float *a) {
  double inv[WN_GRID_GROUP][WN_GRID_GROUP] = {{0}}; /* of the corner of U */
  for (int j = 0; j < n; j++)
    for (int i = j; i >= 0; i--) {
      double s = i == j;
      for (int k = i + 1; k <= j; k++)
        s -= (double)o->hs->feed[(c + (size_t)i) * o->n + c + (size_t)k] *
             inv[k][j];
      inv[i][j] = s / (double)o->hs->feed[(c + (size_t)i) * (o->n + 1)];
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double s = 0;
      for (int k = 0; k < n; k++)
        s += inv[i][k] * inv[j][k];
      a[i * n + j] = (float)s;
    }
}

/* The point for the group at level i of block x, as the errors before it have
 * shifted its weights. In formats with even signs the first half of 8 is free
 * and the second makes the count even. */
static void feed_group(row *o, wn_explained *x, size_t at, int i,
                       const float *shifted) {
  int n = o->g->group, parity = -1;
  float scale = x->scale[i / o->g->sub], a[WN_GRID_GROUP * WN_GRID_GROUP];
  float b[WN_GRID_GROUP] = {0}, want[WN_GRID_GROUP];
  const float *w = shifted + at + i;
  if (scale == 0) return;
  corner(o, at + (size_t)i, n, a);
  for (int k = 0; k < n; k++) {
    want[k] = w[k] / scale;
    for (int j = 0; j < n; j++)
      b[k] += a[k * n + j] * w[j];
  }
  if (o->g->even_signs && i % 8 + n == 8)
    parity = n == 8 ? 0 : parity_of(x->level + i - 4, 4);
  best_point(o, a, b, want, scale, parity, x->level + i);
}

/* Column c of one row: the level nearest to the weight as the errors before it
 * have shifted it. Returns its error in units of U; columns of the chunk that
 * are to come are shifted at once. */
static float feed_column(row *o, float *shifted, size_t c) {
  size_t len = (size_t)o->x[0].n;
  wn_explained *x = &o->x[c / len];
  int i = (int)(c % len), s = i / o->g->sub;
  float scale = x->scale[s], min = x->min[s];
  if (o->g->group == 0 && scale != 0)
    x->level[i] = wn_grid_nearest(o->g, (shifted[c] - min) / scale);
  if (o->g->group > 0 && i % o->g->group == 0)
    feed_group(o, x, c - (size_t)i, i, shifted);
  o->q[c] = scale * x->level[i] + min;
  const float *uc = o->hs->feed + c * o->n;
  float err = (shifted[c] - o->q[c]) / uc[c];
  o->dense->subtract(shifted + c, uc + c, err, o->hi - c);
  return err;
}

/* Column by column, chunk by chunk: what a chunk's errors shift behind it is
 * one product for all rows. `shifted`: n floats a row; e: TILE n. */
static void feed_errors(row *rows, int n_rows, float *shifted, float *e) {
  size_t n = rows->n;
  for (int k = 0; k < n_rows; k++)
    memcpy(shifted + (size_t)k * n, rows[k].w, n * sizeof *shifted);
  for (size_t c0 = 0, c1; c0 < n; c0 = c1) {
    c1 = chunk_end(rows, c0);
    memset(e, 0, (c1 - c0) * TILE * sizeof *e);
    for (int k = 0; k < n_rows; k++) {
      rows[k].hi = c1;
      for (size_t c = c0; c < c1; c++)
        e[(c - c0) * TILE + (size_t)k] =
            -feed_column(&rows[k], shifted + (size_t)k * n, c);
    }
    if (c1 < n)
      rows->dense->outer(shifted + c1, n, e, TILE, rows->hs->feed + c0 * n + c1,
                         n, c1 - c0, (size_t)n_rows, n - c1);
  }
}

/* ---- all rows */

typedef struct work {
  int type;
  const wn_grid *g;
  const wn_hessian *hs;
  const float *src, *importance;
  uint8_t *dst;
  size_t n_rows, row_bytes, block_bytes;
  const wn_rebuild_opts *o;
  float *floats;          /* per member: 4 TILE n */
  wn_explained *parts;    /* per member: TILE n_blocks */
  double *before, *after; /* per row */
} work;

static void take_apart(const work *k, row *o, const uint8_t *blocks) {
  for (size_t b = 0; b < o->n_blocks; b++) {
    wn_explain(k->type, blocks + b * k->block_bytes, &o->x[b], NULL);
    refresh(o->g, &o->x[b], o->q + b * (size_t)o->x[b].n);
  }
}

/* Error feedback for the whole tile; rows that lose by it go back. */
static void feed_tile(const work *k, row *rows, int n_rows, uint8_t *dst,
                      float *shifted, float *e) {
  bool back = false;
  feed_errors(rows, n_rows, shifted, e);
  recompute(rows, n_rows, e);
  for (int i = 0; i < n_rows; i++)
    if (!(error_of(&rows[i]) <= rows[i].before)) {
      take_apart(k, &rows[i], dst + (size_t)i * k->row_bytes);
      back = true;
    }
  if (back) recompute(rows, n_rows, e);
}

/* Rounds until no row gains a ten thousandth any more. */
static void sweep_tile(const work *k, row *rows, int n_rows, float *e) {
  for (int i = 0; i < n_rows; i++)
    rows[i].last = error_of(&rows[i]);
  for (int round = 0; round < k->o->n_sweeps; round++) {
    bool any = false;
    sweep(rows, n_rows, e);
    recompute(rows, n_rows, e); /* rounding must not build up */
    for (int i = 0; i < n_rows; i++) {
      row *o = &rows[i];
      if (!o->active) continue;
      double now = error_of(o);
      o->active = o->last - now > 1e-4 * o->last;
      if (o->active) o->last = now;
      any = any || o->active;
    }
    if (!any) break;
  }
}

/* Rows of one tile into dst; floats: q and r are the rows' own. */
static void rebuild_tile(const work *k, row *rows, int n_rows, uint8_t *dst,
                         float *scratch, double *before, double *after) {
  size_t n = rows->n;
  float *shifted = scratch, *e = scratch + TILE * n;
  for (int i = 0; i < n_rows; i++) {
    uint8_t *d = dst + (size_t)i * k->row_bytes;
    wn_encode_best(k->type, wn_cpu_get()->isa)(rows[i].w, d, n, k->importance);
    take_apart(k, &rows[i], d);
  }
  recompute(rows, n_rows, e);
  for (int i = 0; i < n_rows; i++) {
    before[i] = rows[i].before = error_of(&rows[i]);
    rows[i].active = isfinite(before[i]);
  }
  if (k->o->feedback) feed_tile(k, rows, n_rows, dst, shifted, e);
  sweep_tile(k, rows, n_rows, e);
  for (int i = 0; i < n_rows; i++) {
    uint8_t *d = dst + (size_t)i * k->row_bytes;
    after[i] = error_of(&rows[i]);
    if (after[i] < before[i]) {
      for (size_t b = 0; b < rows[i].n_blocks; b++)
        wn_compose(k->g, &rows[i].x[b], d + b * k->block_bytes);
    } else {
      after[i] = before[i]; /* the encoder's own blocks stand */
    }
  }
}

static void task(void *arg, wn_team *team, int member, int n_members) {
  const work *k = arg;
  size_t n = k->hs->n, n_blocks = k->row_bytes / k->block_bytes;
  float *f = k->floats + (size_t)member * 4 * TILE * n;
  row rows[TILE];
  (void)n_members;
  for (int64_t t; (t = wn_team_next(team)) * TILE < (int64_t)k->n_rows;) {
    size_t at = (size_t)t * TILE;
    int n_rows = k->n_rows - at < TILE ? (int)(k->n_rows - at) : TILE;
    for (int i = 0; i < n_rows; i++)
      rows[i] =
          (row){.g = k->g,
                .hs = k->hs,
                .n = n,
                .n_blocks = n_blocks,
                .w = k->src + (at + (size_t)i) * n,
                .x = k->parts + ((size_t)member * TILE + (size_t)i) * n_blocks,
                .q = f + (size_t)i * n,
                .r = f + (size_t)(TILE + i) * n,
                .dense = wn_dense_get()};
    rebuild_tile(k, rows, n_rows, k->dst + at * k->row_bytes, f + 2 * TILE * n,
                 k->before + at, k->after + at);
  }
}

bool wn_rebuild_supported(int type) {
  return wn_grid_of(type) != NULL;
}

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "rebuild: out of memory");
}

int wn_rebuild_rows(int type, const float *src, void *dst, size_t n_rows,
                    const wn_hessian *hs, const float *importance,
                    const wn_rebuild_opts *o, wn_rebuild_stats *stats,
                    wn_err *e) {
  uint64_t row_bytes;
  work k = {.type = type,
            .g = wn_grid_of(type),
            .hs = hs,
            .src = src,
            .dst = dst,
            .n_rows = n_rows,
            .o = o,
            .importance = importance};
  if (k.g == NULL)
    return wn_fail(e, WN_EUNSUP, "rebuild: blocks of this type cannot be");
  if (o->feedback && hs->feed == NULL)
    return wn_fail(e, WN_EARG, "rebuild: the Hessian is not factored");
  int rc = wn_row_bytes(type, hs->n, &row_bytes, e);
  if (rc != WN_OK) return rc;
  k.row_bytes = (size_t)row_bytes;
  k.block_bytes = wn_type(type)->bytes;
  size_t nt = (size_t)o->n_threads, n_blocks = k.row_bytes / k.block_bytes;
  float *diagonal = wn_alloc(WN_MEM_QUANT, hs->n * sizeof *diagonal);
  k.floats = wn_alloc(WN_MEM_QUANT, nt * 4 * TILE * hs->n * sizeof *k.floats);
  k.parts = wn_calloc(WN_MEM_QUANT, nt * TILE * n_blocks, sizeof *k.parts);
  k.before = wn_calloc(WN_MEM_QUANT, 2 * n_rows + 1, sizeof *k.before);
  if (!diagonal || !k.floats || !k.parts || !k.before) {
    rc = no_memory(e);
  } else {
    k.after = k.before + n_rows;
    for (size_t i = 0; i < hs->n; i++)
      diagonal[i] = hs->h[i * hs->n + i];
    if (importance == NULL) k.importance = diagonal;
    wn_pool_run(o->n_threads, task, &k);
    *stats = (wn_rebuild_stats){0, 0};
    for (size_t i = 0; i < n_rows; i++) {
      stats->before += k.before[i];
      stats->after += k.after[i];
    }
  }
  wn_free(diagonal);
  wn_free(k.floats);
  wn_free(k.parts);
  wn_free(k.before);
  return rc;
}
