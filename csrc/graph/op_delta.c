/* op_delta.c - the gated delta rule (gated delta net), token by token.
 *
 * in = q|k|v (one row: heads of q, then of k, then of v), gates: decay in
 * logarithm g, one for each value head, and beta, one for each value head.
 * For each value head, with S a matrix of d x d, zero at the start:
 *   S *= exp(g);  u = beta (v - S^T k);  S += k u^T;  o = S^T q / sqrt(d)
 * q and k are first divided by sqrt(sum of squares + eps). The key head of
 * value head h is h mod n_k (kind tiled) or h / (n_v / n_k) (kind grouped).
 *
 * A unit of work is some columns of the state of one head: they do not meet.
 * Tokens follow each other one by one whatever the batch, so the bits are
 * those of a sequence fed token by token. S is kept with the key index as the
 * row: each step is two passes over d rows of the unit's columns. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "graph/back.h"
#include "graph/recur.h"

enum { TILED, GROUPED, N_KINDS };
enum { SLOT, N_KEY, N_VALUE, SIZE }; /* integers */
enum { QKV, DECAY, BETA };           /* inputs */
enum { COLUMNS = 32 };               /* of a unit */

static int verify(wn_checker *c) {
  const uint32_t *i = c->op->i;
  uint32_t n_k = i[N_KEY], n_v = i[N_VALUE], d = i[SIZE];
  uint64_t want = (2 * (uint64_t)n_k + n_v) * d, state = (uint64_t)n_v * d * d;
  if (n_k == 0 || n_v == 0 || n_v > (uint32_t)WN_MAX_HEADS || n_v % n_k != 0)
    return wn_bad(c, "%u value heads over %u key heads", n_v, n_k);
  if (d == 0 || d > 1024 || state > UINT32_MAX / 8)
    return wn_bad(c, "heads of %u values", d);
  if (wn_in_width(c, QKV) != want || wn_in_width(c, DECAY) != n_v ||
      wn_in_width(c, BETA) != n_v)
    return wn_bad(c, "widths %u, %u, %u, want %llu, %u, %u",
                  wn_in_width(c, QKV), wn_in_width(c, DECAY),
                  wn_in_width(c, BETA), (unsigned long long)want, n_v, n_v);
  if (!(c->op->f[0] > 0) || c->op->f[0] > 1)
    return wn_bad(c, "eps %g", (double)c->op->f[0]);
  wn_slot slot = {.keep = WN_KEEP_STATE, .n_state = (uint32_t)state};
  int rc = wn_check_slot(c, slot);
  return rc == WN_OK ? wn_make(c, n_v * d) : rc;
}

/* A member's scratch: one token's q and k of a head, normalised, and u. */
static void plan(wn_planner *pl, uint32_t i) {
  const wn_op *op = &wn_planner_prog(pl)->ops[i];
  wn_plan_member(pl, wn_plan_floats(pl, 3, op->i[SIZE]),
                 &wn_planner_plan(pl)->scan_own);
}

typedef struct delta {
  wn_member *m;
  const wn_op *op;
  uint32_t id, n_k, n_v, d;
  uint32_t head, key, c0, n; /* of the unit: head, its key head, columns */
  float *q, *k, *u;
} delta;

/* The unit's head of x (queries or keys), at length one times `factor`. */
static void unit_length(const delta *v, const float *x, float factor,
                        float *to) {
  const wn_vec *vec = v->m->f->vec;
  float sum = vec->dot(x, x, v->d);
  vec->scale(factor / sqrtf(sum + v->op->f[0]), x, to, v->d);
}

/* One token: the unit's columns of S and of the result. */
static void one_token(const delta *v, uint32_t t, float *s) {
  const wn_frame *f = v->m->f;
  const wn_vec *vec = f->vec;
  const float *x = wn_row_in(v->m, v->op->in[QKV], t);
  float decay = wn_expf(wn_row_in(v->m, v->op->in[DECAY], t)[v->head]);
  float beta = wn_row_in(v->m, v->op->in[BETA], t)[v->head];
  size_t d = v->d, at = (size_t)v->head * d + v->c0;
  float *y = wn_row(v->m, v->id, t) + at;
  unit_length(v, x + v->key * d, 1.0f / sqrtf((float)d), v->q);
  unit_length(v, x + (v->n_k + v->key) * d, 1, v->k);
  vec->fade(decay, v->k, s, d, d, v->n, v->u); /* S *= decay, u = S^T k */
  const float *value = x + 2 * v->n_k * d + at;
  for (uint32_t c = 0; c < v->n; c++)
    v->u[c] = beta * (value[c] - v->u[c]);
  vec->outer(v->k, v->u, v->q, s, d, d, v->n, y); /* S += k u^T, y = S^T q */
}

/* All tokens of a sequence in this unit. */
static void one_run(const delta *v, uint32_t first) {
  const wn_frame *f = v->m->f;
  size_t d = v->d, at = (size_t)v->head * d * d + v->c0;
  const float *old = wn_state_old(f, v->op->i[SLOT], first);
  float *s = wn_state_new(f, v->op->i[SLOT], first) + at;
  for (size_t r = 0; r < d; r++) {
    if (old != NULL)
      memcpy(s + r * d, old + at + r * d, v->n * sizeof *s);
    else
      memset(s + r * d, 0, v->n * sizeof *s);
  }
  for (uint32_t t = first; t != WN_NONE; t = f->follow[t])
    one_token(v, t, s);
}

static void run(wn_member *m) {
  const wn_frame *f = m->f;
  delta v = {.m = m, .op = &f->p->ops[m->st->op], .id = m->st->op};
  v.n_k = v.op->i[N_KEY], v.n_v = v.op->i[N_VALUE], v.d = v.op->i[SIZE];
  v.q = wn_floats(m->mem, f->plan->scan_own);
  v.k = v.q + v.d;
  v.u = v.k + v.d;
  uint32_t each = (v.d + COLUMNS - 1) / COLUMNS;
  uint64_t units = (uint64_t)v.n_v * each;
  for (;;) {
    uint64_t unit = (uint64_t)wn_team_next(m->team);
    if (unit >= units * f->n_runs) return;
    uint32_t in_run = (uint32_t)(unit % units);
    v.head = in_run / each;
    v.key = v.op->kind == TILED ? v.head % v.n_k : v.head / (v.n_v / v.n_k);
    v.c0 = in_run % each * COLUMNS;
    v.n = v.d - v.c0 < COLUMNS ? v.d - v.c0 : COLUMNS;
    one_run(&v, f->runs[unit / units]);
  }
}

/* -- gradients ------------------------------------------------------------ */

/* One value head, all its columns. q, k: at length one; dq, dk: their
 * gradients. */
typedef struct walk {
  delta v;
  float *dq, *dk, *m, *du;
} walk;

/* q, k at length one, S *= decay into s, u. */
static void enter_token(const walk *w, uint32_t t, float *s) {
  const delta *v = &w->v;
  const float *x = wn_row_in(v->m, v->op->in[QKV], t);
  float decay = wn_expf(wn_row_in(v->m, v->op->in[DECAY], t)[v->head]);
  float beta = wn_row_in(v->m, v->op->in[BETA], t)[v->head];
  size_t d = v->d;
  unit_length(v, x + v->key * d, 1.0f / sqrtf((float)d), v->q);
  unit_length(v, x + (v->n_k + v->key) * d, 1, v->k);
  v->m->f->vec->fade(decay, v->k, s, d, d, d, w->m); /* m = S^T k */
  const float *value = x + (2 * v->n_k + v->head) * d;
  for (size_t c = 0; c < d; c++)
    v->u[c] = beta * (value[c] - w->m[c]);
}

static void walk_forward(void *arg, uint32_t t, float *s) {
  const walk *w = arg;
  size_t d = w->v.d;
  enter_token(w, t, s);
  for (size_t r = 0; r < d; r++)
    w->v.m->f->vec->madd(w->v.k[r], w->v.u, s + r * d, d);
}

/* x at length one times `factor` is y, whose gradient is dy: adds x's. */
static void length_back(const delta *v, const float *x, float factor,
                        const float *dy, float *dx) {
  const wn_vec *vec = v->m->f->vec;
  float inverse = 1 / sqrtf(vec->dot(x, x, v->d) + v->op->f[0]);
  float along = vec->dot(x, dy, v->d) * inverse * inverse;
  for (size_t c = 0; c < v->d; c++)
    dx[c] += factor * inverse * (dy[c] - x[c] * along);
}

/* With S' the faded state: u = beta (v - S'^T k), S = S' + k u^T, y = S^T q. */
static void walk_back(void *arg, uint32_t t, const float *before,
                      const float *after, float *ds) {
  const walk *w = arg;
  const delta *v = &w->v;
  const wn_vec *vec = v->m->f->vec;
  const wn_op *op = v->op;
  size_t d = v->d, at = (size_t)v->head * d;
  const float *x = wn_row_in(v->m, op->in[QKV], t);
  const float *value = x + 2 * v->n_k * d + at;
  const float *g = wn_grad(v->m, v->id, t) + at;
  float decay = wn_expf(wn_row_in(v->m, op->in[DECAY], t)[v->head]);
  float beta = wn_row_in(v->m, op->in[BETA], t)[v->head], d_decay = 0,
        d_beta = 0;
  float *faded = w->du + d;
  memcpy(faded, before, d * d * sizeof *faded);
  enter_token(w, t, faded);
  memset(w->du, 0, d * sizeof *w->du);
  for (size_t r = 0; r < d; r++) {
    vec->madd(v->q[r], g, ds + r * d, d);
    w->dq[r] = vec->dot(after + r * d, g, d);
    vec->madd(v->k[r], ds + r * d, w->du, d);
    w->dk[r] = vec->dot(ds + r * d, v->u, d);
  }
  float *dx = wn_grad_in(v->m, op->in[QKV], t), *dv = dx + 2 * v->n_k * d + at;
  for (size_t c = 0; c < d; c++) {
    d_beta += w->du[c] * (value[c] - w->m[c]);
    dv[c] += beta * w->du[c];
    w->du[c] *= -beta; /* now of S'^T k */
  }
  for (size_t r = 0; r < d; r++) {
    w->dk[r] += vec->dot(faded + r * d, w->du, d);
    vec->madd(v->k[r], w->du, ds + r * d, d);
    d_decay += vec->dot(ds + r * d, before + r * d, d);
    vec->scale(decay, ds + r * d, ds + r * d, d);
  }
  wn_grad_in(v->m, op->in[DECAY], t)[v->head] += d_decay * decay;
  wn_grad_in(v->m, op->in[BETA], t)[v->head] += d_beta;
  size_t q = (size_t)v->key * d, k = (size_t)(v->n_k + v->key) * d;
  length_back(v, x + q, 1.0f / sqrtf((float)d), w->dq, dx + q);
  length_back(v, x + k, 1, w->dk, dx + k);
}

static size_t back_floats(const wn_op *op, uint32_t n_tokens) {
  size_t d = op->i[SIZE];
  return 7 * d + d * d + wn_recur_floats(n_tokens, d * d);
}

/* A unit is a key head with its value heads. Gradients that nobody asked for
 * are added up all the same: their places are free. */
static void back(wn_member *m, uint32_t i) {
  walk w = {.v = {.m = m, .op = &m->f->p->ops[i], .id = i}};
  delta *v = &w.v;
  v->n_k = v->op->i[N_KEY], v->n_v = v->op->i[N_VALUE], v->d = v->op->i[SIZE];
  size_t d = v->d;
  float *own = wn_back_own(m);
  v->q = own, v->k = own + d, v->u = own + 2 * d;
  w.m = own + 3 * d, w.dq = own + 4 * d, w.dk = own + 5 * d, w.du = own + 6 * d;
  wn_recur r = {&w, d * d, walk_forward, walk_back};
  for (;;) {
    uint64_t unit = (uint64_t)wn_team_next(m->team);
    if (unit >= v->n_k) return;
    v->key = (uint32_t)unit;
    for (v->head = 0; v->head < v->n_v; v->head++) {
      uint32_t key =
          v->op->kind == TILED ? v->head % v->n_k : v->head / (v->n_v / v->n_k);
      if (key == v->key) wn_recur_back(&r, m->n_rows, own + 7 * d + d * d);
    }
  }
}

static const char *const kinds[] = {"tiled", "grouped"};

const wn_op_desc wn_op_delta = {.name = "delta",
                                .kinds = kinds,
                                .n_kinds = N_KINDS,
                                .n_in = 3,
                                .n_i = 4,
                                .n_f = 1,
                                .all_rows = true,
                                .recurrent = true,
                                .verify = verify,
                                .place = wn_fuse_alone,
                                .plan = plan,
                                .plan_stage = wn_plan_alone,
                                .run = run,
                                .back_floats = back_floats,
                                .back = back};
