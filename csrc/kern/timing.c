/* timing.c - see timing.h. */
#include "kern/timing.h"

#include <string.h>
#include <time.h>

#include "base/arith.h"
#include "base/mem.h"
#include "base/pool.h"

#define REPEATS 5

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- multiplying ------------------------------------------------------- */

typedef struct mm_run {
  const wn_timed_mm *p;
  size_t row_bytes;
  uint8_t *w, *packed, *scratch;
  float *y;
} mm_run;

static void mm_task(void *arg, wn_team *team, int member, int n_members) {
  const mm_run *m = arg;
  const wn_timed_mm *p = m->p;
  (void)team;
  size_t tiles = (p->rows + 31) / 32, i = (size_t)member;
  size_t r0 = tiles * i / (size_t)n_members * 32;
  size_t r1 = tiles * (i + 1) / (size_t)n_members * 32;
  if (r1 > p->rows) r1 = p->rows;
  for (size_t c = 0; c < p->copies; c++)
    wn_tier_mm(p->tier, p->type, m->w + c * p->rows * m->row_bytes,
               m->row_bytes, p->k, r0, r1, m->packed, 0, p->n_cols, m->y,
               p->rows, m->scratch + i * WN_MM_SCRATCH);
}

static void mm_fill(mm_run *m, float *x) {
  const wn_timed_mm *p = m->p;
  size_t all = p->rows * p->copies * m->row_bytes;
  for (size_t at = 0; at < all; at += p->n_bytes)
    memcpy(m->w + at, p->bytes, all - at < p->n_bytes ? all - at : p->n_bytes);
  uint32_t seed = 1;
  for (size_t i = 0; i < p->k * p->n_cols; i++) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = (float)(seed >> 8) * 0x1p-23f - 1;
  }
  wn_tier_pack(p->tier, p->type, x, p->k, p->k, 0, p->n_cols, m->packed);
}

static double mm_time(mm_run *m) {
  double best = 1e9, start = now();
  do {
    double t = now();
    wn_pool_run(m->p->threads, mm_task, m);
    t = now() - t;
    if (t < best) best = t;
  } while (now() - start < m->p->seconds);
  return best / (double)m->p->copies;
}

int wn_time_mm(const wn_timed_mm *p, double *seconds, wn_err *e) {
  mm_run m = {.p = p};
  uint64_t bytes, all;
  int rc = wn_row_bytes(p->type, p->k, &bytes, e);
  if (rc != WN_OK) return rc;
  if (p->n_bytes == 0 || p->n_bytes % bytes != 0 || p->rows == 0 ||
      p->n_cols == 0 || p->copies == 0 || !wn_mul(bytes, p->rows, &all) ||
      !wn_mul(all, p->copies, &all))
    return wn_fail(e, WN_EARG, "want whole rows and sizes above 0");
  m.row_bytes = (size_t)bytes;
  m.w = wn_alloc(WN_MEM_RUN, (size_t)all);
  m.packed = wn_alloc(WN_MEM_RUN,
                      wn_tier_pack_bytes(p->tier, p->type, p->k, p->n_cols));
  m.scratch = wn_calloc(WN_MEM_RUN, (size_t)p->threads, WN_MM_SCRATCH);
  m.y = wn_calloc(WN_MEM_RUN, p->rows * p->n_cols, sizeof(float));
  float *x = wn_calloc(WN_MEM_RUN, p->k * p->n_cols, sizeof *x);
  wn_pool_enter();
  if (m.w != NULL && m.packed != NULL && m.scratch != NULL && m.y != NULL &&
      x != NULL) {
    mm_fill(&m, x);
    *seconds = mm_time(&m);
  } else {
    rc = wn_fail(e, WN_ENOMEM, "no memory for a bench");
  }
  wn_pool_leave();
  wn_free(m.w);
  wn_free(m.packed);
  wn_free(m.scratch);
  wn_free(m.y);
  wn_free(x);
  return rc;
}

/* ---- the machine ------------------------------------------------------- */

typedef struct work_run {
  uint64_t (*work)(size_t steps);
  uint64_t ops[WN_MAX_THREADS];
} work_run;

static void work_task(void *arg, wn_team *team, int member, int n_members) {
  work_run *w = arg;
  (void)team, (void)n_members;
  w->ops[member] = w->work(200000);
}

double wn_time_peak(const wn_mm_tier *t, char kind, int threads) {
  work_run w = {.work = kind == 'i' ? t->work_int8 : t->work_float};
  if (w.work == NULL) return 0;
  double best = 0;
  wn_pool_enter();
  for (int i = 0; i < REPEATS; i++) {
    double start = now();
    int n = wn_pool_run(threads, work_task, &w);
    double rate = (double)w.ops[0] * n / (now() - start);
    if (rate > best) best = rate;
  }
  wn_pool_leave();
  return best;
}

typedef struct read_run {
  const wn_mm_tier *tier;
  const uint8_t *mem;
  size_t bytes, streams;
  uint32_t sums[WN_MAX_THREADS];
} read_run;

static void read_task(void *arg, wn_team *team, int member, int n_members) {
  read_run *r = arg;
  (void)team;
  size_t each = r->bytes / (size_t)n_members;
  r->sums[member] =
      r->tier->read(r->mem + each * (size_t)member, each, r->streams);
}

int wn_time_read(const wn_mm_tier *t, size_t bytes, size_t streams,
                  int threads, double *rate, wn_err *e) {
  *rate = 0;
  if (t->read == NULL) return WN_OK;
  uint8_t *mem = wn_alloc(WN_MEM_RUN, bytes);
  if (mem == NULL) return wn_fail(e, WN_ENOMEM, "no memory for a bench");
  memset(mem, 1, bytes);
  read_run r = {.tier = t, .mem = mem, .bytes = bytes, .streams = streams};
  wn_pool_enter();
  for (int i = 0; i < REPEATS; i++) {
    double start = now();
    wn_pool_run(threads, read_task, &r);
    double got = (double)bytes / (now() - start);
    if (got > *rate) *rate = got;
  }
  wn_pool_leave();
  wn_free(mem);
  return WN_OK;
}
