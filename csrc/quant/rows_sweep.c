/* rows_sweep.c - coordinate descent: each stored number in its turn to where
 * the error is least, all else fixed. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "quant/rows.h"

WN_EXACT_FLOAT

/* Value c was moved by delta. */
static void moved(wn_row *o, size_t c, float delta) {
  o->dense->subtract(o->r + o->lo, o->hs->h + c * o->n + o->lo, delta,
                     o->hi - o->lo);
}

static void move_level(wn_row *o, wn_explained *x, size_t at, int i) {
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

/* The best point for the group at level i of a block, all else fixed. */
static void move_group(wn_row *o, wn_explained *x, size_t at, int i) {
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
  int parity = o->g->even_signs ? wn_rows_parity(x->level + i, n) : -1;
  wn_rows_best_point(o, a, b, want, scale, parity, level);
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
static void slopes(const wn_row *o, size_t at, int n, const float *v, float *hv,
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

/* Whether `step` along a direction with these slopes lowers the error by more
 * than it is worth to look at. */
static bool worth(const wn_row *o, double step, double vr, double vhv) {
  return step * step * vhv - 2 * step * vr < -o->least;
}

/* Takes over the values of a block after one of its numbers changed: r, too.
 * `first`, `n`: which columns may differ. */
static void settle(wn_row *o, wn_explained *x, size_t at, int first, int n) {
  float q[256];
  wn_rows_refresh(o->g, x, q);
  for (int i = first; i < first + n; i++) {
    size_t c = at + (size_t)i;
    float delta = q[i] - o->q[c];
    o->q[c] = q[i];
    if (delta != 0) moved(o, c, delta);
  }
}

static int clamp_int(double v, int lo, int hi) {
  return v <= lo ? lo : v >= hi ? hi : (int)rint(v);
}

/* The best code of the scale or the minimum of sub-block s, all else fixed. */
static void move_code(wn_row *o, wn_explained *x, size_t at, int s,
                      bool is_min) {
  const wn_grid *g = o->g;
  int first = s * g->sub;
  float v[256], hv[256], unit = is_min ? -x->dmin : x->d * g->code_mul;
  double vr, vhv;
  for (int i = 0; i < g->sub; i++)
    v[i] = is_min ? unit : unit * x->level[first + i];
  slopes(o, at + (size_t)first, g->sub, v, hv, &vr, &vhv);
  if (!(vhv > 0)) return;
  int *code = is_min ? &x->min_code[s] : &x->scale_code[s], old = *code;
  int lo = is_min ? 0 : g->code_lo, hi = is_min ? g->min_hi : g->code_hi;
  int best = clamp_int(old + vr / vhv, lo, hi);
  if (best == old || !worth(o, best - old, vr, vhv)) return;
  *code = best;
  settle(o, x, at, first, g->sub);
}

/* The best d or dmin of a block, all else fixed. */
static void move_block_scale(wn_row *o, wn_explained *x, size_t at,
                             bool is_min) {
  const wn_grid *g = o->g;
  float v[256], hv[256];
  double vr, vhv;
  for (int i = 0; i < x->n; i++) {
    int s = i / g->sub;
    v[i] = is_min ? (g->min_is_dmin ? 1 : -(float)x->min_code[s])
                  : wn_rows_code_factor(g, x->scale_code[s]) * x->level[i];
  }
  slopes(o, at, x->n, v, hv, &vr, &vhv);
  if (!(vhv > 0)) return;
  float *d = is_min ? &x->dmin : &x->d, old = *d;
  double want = (double)old + vr / vhv;
  if (!(fabs(want) <= 65504)) return;
  float best = wn_f32_of_f16(wn_f16_of_f32((float)want));
  double step = (double)best - (double)old;
  if (best == old || !worth(o, step, vr, vhv)) return;
  *d = best;
  if (o->hi - o->lo == (size_t)x->n) { /* the chunk is the block: H v is here */
    wn_rows_refresh(g, x, o->q + at);
    o->dense->subtract(o->r + at, hv, (float)step, (size_t)x->n);
  } else {
    settle(o, x, at, 0, x->n);
  }
}

/* All numbers of one block. */
static void sweep_block(wn_row *o, wn_explained *x, size_t at) {
  const wn_grid *g = o->g;
  if (!wn_grid_keeps_scales(g)) move_block_scale(o, x, at, false);
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

void wn_rows_sweep(wn_row *rows, int n_rows, float *e) {
  size_t n = rows->n;
  for (size_t c0 = 0, c1; c0 < n; c0 = c1) {
    c1 = wn_rows_chunk_end(rows, c0);
    bool any = false;
    memset(e, 0, (c1 - c0) * WN_ROWS * sizeof *e);
    for (int k = 0; k < n_rows; k++) {
      wn_row *o = &rows[k];
      size_t len = (size_t)o->x[0].n;
      if (!o->active) continue;
      for (size_t c = c0; c < c1; c++)
        e[(c - c0) * WN_ROWS + (size_t)k] = o->q[c];
      o->lo = c0;
      o->hi = c1;
      for (size_t c = c0; c < c1; c += len)
        sweep_block(o, &o->x[c / len], c);
      for (size_t c = c0; c < c1; c++) {
        float *d = &e[(c - c0) * WN_ROWS + (size_t)k];
        *d -= o->q[c];
        any = any || *d != 0;
      }
    }
    if (!any) continue;
    wn_rows_add_product(rows, n_rows, e, c0, c1, 0, c0);
    wn_rows_add_product(rows, n_rows, e, c0, c1, c1, n);
  }
}
