/* op_wkv.c - the WKV7 recurrence of RWKV, token by token.
 *
 * in = r|w|k|v|a|b, each of H heads of d values, one behind the other in a
 * row; w is the decay itself, a and b the vectors of the update. For each
 * head, S is d x d (value index i, key index j), zero at the start:
 *   S_ij = S_ij w_j + v_i k_j + (sum over l of S_il a_l) b_j;  o_i = sum S_ij
 * r_j
 *
 * A unit of work is some rows of the state of one head: they do not meet. */
#include <string.h>

#include "base/limits.h"
#include "graph/back.h"
#include "graph/recur.h"

enum { SLOT, N_HEADS, SIZE };
enum { R, W, K, V, A, B, N_PARTS };
enum { ROWS = 16 }; /* of a unit */

static int verify(wn_checker *c) {
  uint32_t n = c->op->i[N_HEADS], d = c->op->i[SIZE];
  uint64_t want = (uint64_t)N_PARTS * n * d, state = (uint64_t)n * d * d;
  if (n == 0 || n > (uint32_t)WN_MAX_HEADS || d == 0 || d > 1024 ||
      state > UINT32_MAX / 8)
    return wn_bad(c, "%u heads of %u values", n, d);
  if (wn_in_width(c, 0) != want)
    return wn_bad(c, "width %u, want %llu", wn_in_width(c, 0),
                  (unsigned long long)want);
  wn_slot slot = {.keep = WN_KEEP_STATE, .n_state = (uint32_t)state};
  int rc = wn_check_slot(c, slot);
  return rc == WN_OK ? wn_make(c, n * d) : rc;
}

typedef struct wkv {
  wn_member *m;
  const wn_op *op;
  uint32_t id, heads, d, head, r0, n;
} wkv;

static void one_token(const wkv *v, uint32_t t, float *s) {
  const wn_vec *vec = v->m->f->vec;
  size_t d = v->d, all = v->heads * d, at = v->head * d;
  const float *x = wn_row_in(v->m, v->op->in[0], t) + at;
  float *y = wn_row(v->m, v->id, t) + at + v->r0;
  for (uint32_t i = 0; i < v->n; i++, s += d) {
    float sa = vec->dot(s, x + A * all, d);
    vec->mul(s, x + W * all, s, d);
    vec->madd(x[V * all + v->r0 + i], x + K * all, s, d);
    vec->madd(sa, x + B * all, s, d);
    y[i] = vec->dot(s, x + R * all, d);
  }
}

static void one_run(const wkv *v, uint32_t first) {
  const wn_frame *f = v->m->f;
  size_t d = v->d, at = (v->head * d + v->r0) * d;
  const float *old = wn_state_old(f, v->op->i[SLOT], first);
  float *s = wn_state_new(f, v->op->i[SLOT], first) + at;
  if (old != NULL)
    memcpy(s, old + at, v->n * d * sizeof *s);
  else
    memset(s, 0, v->n * d * sizeof *s);
  for (uint32_t t = first; t != WN_NONE; t = f->follow[t])
    one_token(v, t, s);
}

static void run(wn_member *m) {
  const wn_frame *f = m->f;
  wkv v = {.m = m, .op = &f->p->ops[m->st->op], .id = m->st->op};
  v.heads = v.op->i[N_HEADS], v.d = v.op->i[SIZE];
  uint32_t each = (v.d + ROWS - 1) / ROWS;
  uint64_t units = (uint64_t)v.heads * each;
  for (;;) {
    uint64_t unit = (uint64_t)wn_team_next(m->team);
    if (unit >= units * f->n_runs) return;
    uint32_t in_run = (uint32_t)(unit % units);
    v.head = in_run / each;
    v.r0 = in_run % each * ROWS;
    v.n = v.d - v.r0 < ROWS ? v.d - v.r0 : ROWS;
    one_run(&v, f->runs[unit / units]);
  }
}

/* -- gradients ------------------------------------------------------------ */

/* A head's part of a row, and of its gradient. */
static const float *part_of(const wkv *v, uint32_t t, int part) {
  size_t at = ((size_t)part * v->heads + v->head) * v->d;
  return wn_row_in(v->m, v->op->in[0], t) + at;
}
static float *part_grad(const wkv *v, uint32_t t, int part) {
  size_t at = ((size_t)part * v->heads + v->head) * v->d;
  return wn_grad_in(v->m, v->op->in[0], t) + at;
}

static void walk_forward(void *arg, uint32_t t, float *s) {
  const wkv *v = arg;
  const wn_vec *vec = v->m->f->vec;
  size_t d = v->d;
  for (uint32_t i = 0; i < d; i++, s += d) {
    float sa = vec->dot(s, part_of(v, t, A), d);
    vec->mul(s, part_of(v, t, W), s, d);
    vec->madd(part_of(v, t, V)[i], part_of(v, t, K), s, d);
    vec->madd(sa, part_of(v, t, B), s, d);
  }
}

/* Row i of the state: s' = s w + v_i k + (s a) b, o_i = s' r. */
static void walk_back(void *arg, uint32_t t, const float *before,
                      const float *after, float *ds) {
  const wkv *v = arg;
  const wn_vec *vec = v->m->f->vec;
  size_t d = v->d;
  const float *g = wn_grad(v->m, v->id, t) + v->head * d;
  for (uint32_t i = 0; i < d; i++, ds += d, before += d, after += d) {
    vec->madd(g[i], part_of(v, t, R), ds, d);
    vec->madd(g[i], after, part_grad(v, t, R), d);
    vec->mul_add(ds, before, part_grad(v, t, W), d);
    part_grad(v, t, V)[i] += vec->dot(ds, part_of(v, t, K), d);
    vec->madd(part_of(v, t, V)[i], ds, part_grad(v, t, K), d);
    float sa = vec->dot(before, part_of(v, t, A), d);
    float dsa = vec->dot(ds, part_of(v, t, B), d);
    vec->madd(sa, ds, part_grad(v, t, B), d);
    vec->madd(dsa, before, part_grad(v, t, A), d);
    vec->mul(ds, part_of(v, t, W), ds, d);
    vec->madd(dsa, part_of(v, t, A), ds, d);
  }
}

static size_t back_floats(const wn_op *op, uint32_t n_tokens) {
  return wn_recur_floats(n_tokens, (size_t)op->i[SIZE] * op->i[SIZE]);
}

/* A unit is a head. */
static void back(wn_member *m, uint32_t i) {
  wkv v = {.m = m, .op = &m->f->p->ops[i], .id = i};
  v.heads = v.op->i[N_HEADS], v.d = v.op->i[SIZE];
  wn_recur r = {&v, (size_t)v.d * v.d, walk_forward, walk_back};
  for (;;) {
    uint64_t unit = (uint64_t)wn_team_next(m->team);
    if (unit >= v.heads) return;
    v.head = (uint32_t)unit;
    wn_recur_back(&r, m->n_rows, wn_back_own(m));
  }
}

const wn_op_desc wn_op_wkv = {.name = "wkv",
                              .n_in = 1,
                              .n_i = 3,
                              .all_rows = true,
                              .recurrent = true,
                              .verify = verify,
                              .place = wn_fuse_alone,
                              .plan_stage = wn_plan_alone,
                              .run = run,
                              .back_floats = back_floats,
                              .back = back};
