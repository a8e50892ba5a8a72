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
#include "graph/op.h"

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

const wn_op_desc wn_op_wkv = {.name = "wkv",
                              .n_in = 1,
                              .n_i = 3,
                              .all_rows = true,
                              .recurrent = true,
                              .verify = verify,
                              .place = wn_fuse_alone,
                              .plan_stage = wn_plan_alone,
                              .run = run};
