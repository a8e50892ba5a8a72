/* rebuild.c - see rebuild.h. Rows in tiles; a tile is the work of one thread,
 * and no row depends on its neighbours, so results depend neither on how many
 * threads there are nor on the size of tiles. The moves are in rows.h. */
#include "quant/rebuild.h"

#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/rows.h"

WN_EXACT_FLOAT

/* What a row of a tile needs: q, r, a spare q, and two of scratch. */
enum { FLOATS = 5 };

typedef struct work {
  int type;
  const wn_grid *g;
  const wn_hessian *hs;
  const float *src, *importance;
  uint8_t *dst;
  size_t n_rows, row_bytes, block_bytes;
  size_t tile; /* rows of a tile: at most WN_ROWS */
  const wn_rebuild_opts *o;
  float *floats;          /* per member: FLOATS WN_ROWS n */
  wn_explained *parts;    /* per member: 2 WN_ROWS n_blocks */
  double *before, *after; /* per wn_row */
} work;

static void take_apart(const work *k, wn_row *o, const uint8_t *blocks) {
  for (size_t b = 0; b < o->n_blocks; b++) {
    wn_explain(k->type, blocks + b * k->block_bytes, &o->x[b], NULL);
    wn_rows_refresh(o->g, &o->x[b], o->q + b * (size_t)o->x[b].n);
  }
}

/* Feedback that lowers a row's error to no less than this share of the
 * encoder's is tried against the encoder's own blocks; always where levels are
 * points of a grid, which follow their scales least. */
static double doubtful(const wn_grid *g) {
  return g->group > 0 ? 0 : 0.75;
}

/* Some rounds for the rows that are active; their errors. One would not tell:
 * descent from blocks as encoded starts higher and ends lower. */
static void try_rounds(const work *k, wn_row *rows, int n_rows, float *e,
                       double *errors) {
  for (int i = 0; i < n_rows; i++)
    rows[i].least = 0;
  for (int round = 0; round < 3 && round < k->o->n_sweeps; round++)
    wn_rows_sweep(rows, n_rows, e);
  for (int i = 0; i < n_rows; i++)
    errors[i] = wn_rows_error(&rows[i]);
}

/* Error feedback for the whole tile. It keeps the scales of the encoder, so
 * where few columns decide (massive activations), descent from the encoder's
 * own blocks can get further: rows in doubt take some rounds from both, and go
 * on from the better one. `spare` has room for the parts and values of a tile.
 */
static void feed_tile(const work *k, wn_row *rows, int n_rows, uint8_t *dst,
                      float *scratch, const wn_row *spare) {
  size_t n = rows->n;
  float *shifted = scratch, *e = scratch + WN_ROWS * n;
  double fed[WN_ROWS], plain[WN_ROWS];
  bool doubt = false, was[WN_ROWS];
  wn_rows_feed(rows, n_rows, shifted, e);
  wn_rows_recompute(rows, n_rows, e);
  for (int i = 0; i < n_rows; i++) {
    was[i] = rows[i].active;
    rows[i].active =
        was[i] && !(wn_rows_error(&rows[i]) <= doubtful(k->g) * rows[i].before);
    doubt = doubt || rows[i].active;
  }
  if (doubt) {
    try_rounds(k, rows, n_rows, e, fed);
    for (int i = 0; i < n_rows; i++)
      if (rows[i].active) {
        memcpy(spare[i].x, rows[i].x, rows[i].n_blocks * sizeof *rows[i].x);
        memcpy(spare[i].q, rows[i].q, n * sizeof *rows[i].q);
        take_apart(k, &rows[i], dst + (size_t)i * k->row_bytes);
      }
    wn_rows_recompute(rows, n_rows, e);
    try_rounds(k, rows, n_rows, e, plain);
    for (int i = 0; i < n_rows; i++)
      if (rows[i].active && fed[i] < plain[i]) {
        memcpy(rows[i].x, spare[i].x, rows[i].n_blocks * sizeof *rows[i].x);
        memcpy(rows[i].q, spare[i].q, n * sizeof *rows[i].q);
      }
    wn_rows_recompute(rows, n_rows, e);
  }
  for (int i = 0; i < n_rows; i++)
    rows[i].active = was[i];
}

/* A round that gains less than this share of a row's error is its last, and a
 * scale must gain NUMBER of it to be moved (each drags a block along). */
static const double ROUND = 2e-3, NUMBER = 1e-6;

/* Rounds until no row gains any more. */
static void sweep_tile(const work *k, wn_row *rows, int n_rows, float *e) {
  for (int i = 0; i < n_rows; i++) {
    rows[i].last = wn_rows_error(&rows[i]);
    rows[i].least = NUMBER * rows[i].last;
  }
  for (int round = 0; round < k->o->n_sweeps; round++) {
    bool any = false;
    wn_rows_sweep(rows, n_rows, e);
    for (int i = 0; i < n_rows; i++) {
      wn_row *o = &rows[i];
      if (!o->active) continue;
      double now = wn_rows_error(o);
      o->active = o->last - now > ROUND * o->last;
      if (o->active) o->last = now;
      any = any || o->active;
    }
    if (!any) break;
  }
  wn_rows_recompute(rows, n_rows, e); /* without what rounding built up */
}

/* Rows of one tile into dst; scratch: 2 WN_ROWS n floats. */
static void rebuild_tile(const work *k, wn_row *rows, int n_rows, uint8_t *dst,
                         float *scratch, const wn_row *spare, double *before,
                         double *after) {
  size_t n = rows->n;
  float *e = scratch + WN_ROWS * n;
  for (int i = 0; i < n_rows; i++) {
    uint8_t *d = dst + (size_t)i * k->row_bytes;
    wn_encode_best(k->type, wn_cpu_get()->isa)(rows[i].w, d, n, k->importance);
    take_apart(k, &rows[i], d);
  }
  wn_rows_recompute(rows, n_rows, e);
  for (int i = 0; i < n_rows; i++) {
    before[i] = rows[i].before = wn_rows_error(&rows[i]);
    rows[i].active = isfinite(before[i]);
  }
  if (k->o->feedback) feed_tile(k, rows, n_rows, dst, scratch, spare);
  sweep_tile(k, rows, n_rows, e);
  for (int i = 0; i < n_rows; i++) {
    uint8_t *d = dst + (size_t)i * k->row_bytes;
    after[i] = wn_rows_error(&rows[i]);
    if (after[i] < before[i]) {
      for (size_t b = 0; b < rows[i].n_blocks; b++)
        wn_compose(k->g, &rows[i].x[b], d + b * k->block_bytes);
    } else {
      after[i] = before[i]; /* the encoder's own blocks stand */
    }
  }
}

/* As many rows as share well, as few as it takes to give every thread two. */
static size_t tile_rows(size_t n_rows, int n_threads) {
  size_t share = n_rows / (2 * (size_t)n_threads);
  return share < 4 ? 4 : share > WN_ROWS ? WN_ROWS : share / 4 * 4;
}

static void task(void *arg, wn_team *team, int member, int n_members) {
  const work *k = arg;
  size_t n = k->hs->n, n_blocks = k->row_bytes / k->block_bytes;
  float *f = k->floats + (size_t)member * FLOATS * WN_ROWS * n;
  wn_explained *parts = k->parts + (size_t)member * 2 * WN_ROWS * n_blocks;
  wn_row rows[WN_ROWS], spare[WN_ROWS];
  (void)n_members;
  for (int64_t t;
       (t = wn_team_next(team)) * (int64_t)k->tile < (int64_t)k->n_rows;) {
    size_t at = (size_t)t * k->tile;
    int n_rows = (int)(k->n_rows - at < k->tile ? k->n_rows - at : k->tile);
    for (size_t i = 0; i < (size_t)n_rows; i++) {
      rows[i] = spare[i] = (wn_row){.g = k->g,
                                    .hs = k->hs,
                                    .n = n,
                                    .n_blocks = n_blocks,
                                    .w = k->src + (at + i) * n,
                                    .x = parts + i * n_blocks,
                                    .q = f + i * n,
                                    .r = f + (WN_ROWS + i) * n,
                                    .dense = wn_dense_get()};
      spare[i].x += WN_ROWS * n_blocks;
      spare[i].q = f + (2 * WN_ROWS + i) * n;
    }
    rebuild_tile(k, rows, n_rows, k->dst + at * k->row_bytes,
                 f + 3 * WN_ROWS * n, spare, k->before + at, k->after + at);
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
  k.tile = tile_rows(n_rows, o->n_threads);
  size_t nt = (size_t)o->n_threads, n_blocks = k.row_bytes / k.block_bytes;
  float *diagonal = wn_alloc(WN_MEM_QUANT, hs->n * sizeof *diagonal);
  k.floats =
      wn_alloc(WN_MEM_QUANT, nt * FLOATS * WN_ROWS * hs->n * sizeof *k.floats);
  k.parts =
      wn_calloc(WN_MEM_QUANT, nt * 2 * WN_ROWS * n_blocks, sizeof *k.parts);
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
