/* op_scan.c - selective state spaces, token by token.
 *
 * Kind heads (Mamba2): in = x|B|C (I, G * N and G * N values) and dt, one for
 * each of H heads, before its bias. For each head, of P = I / H values, S is P
 * x N, zero at the start; its group is h / (H / G):
 *   dt = softplus(dt + w[1]);  S = S exp(dt w[0]) + dt x B^T;
 *   y = S C + w[2] x
 * Kind channels (Mamba1): in = x (I), B|C (2 N) and dt, one for each of the I
 * channels, before its bias; A = w[0] has N values for each channel:
 *   S_n = S_n exp(dt A_n) + dt x B_n;  y = sum of S_n C_n + w[2] x
 *
 * Members divide the channels. Tokens follow each other one by one whatever
 * the batch. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "graph/back.h"
#include "graph/recur.h"

enum { HEADS, CHANNELS, N_KINDS };
enum { SLOT, N_HEADS, N_STATE, N_GROUPS, N_INNER }; /* integers */
enum { DECAY, DT_BIAS, SKIP };                      /* weights */

static int check_widths(wn_checker *c, uint32_t inner, uint32_t bc) {
  const uint32_t *i = c->op->i;
  bool heads = c->op->kind == HEADS;
  uint32_t dt = heads ? 1 : 2;
  if (heads != (c->op->in[2] == WN_NONE))
    return wn_bad(c, "input 3 belongs to channels alone, and must be there");
  uint64_t want = heads ? inner + (uint64_t)bc : inner;
  if (wn_in_width(c, 0) != want || wn_in_width(c, (int)dt) != i[N_HEADS] ||
      (!heads && wn_in_width(c, 1) != bc))
    return wn_bad(c, "inputs of %u and %u values for %u channels in %u heads",
                  wn_in_width(c, 0), wn_in_width(c, 1), inner, i[N_HEADS]);
  return WN_OK;
}

static int verify(wn_checker *c) {
  const uint32_t *i = c->op->i;
  uint32_t h = i[N_HEADS], n = i[N_STATE], g = i[N_GROUPS], inner = i[N_INNER];
  uint64_t state = (uint64_t)inner * n;
  bool heads = c->op->kind == HEADS;
  if (h == 0 || g == 0 || inner == 0 || inner % h != 0 || h % g != 0 ||
      (!heads && (h != inner || g != 1)))
    return wn_bad(c, "%u channels in %u heads and %u groups", inner, h, g);
  if (n == 0 || n > 1024 || inner > (uint32_t)WN_MAX_WIDTH ||
      state > UINT32_MAX / 8 || (uint64_t)g * n * 2 > (uint64_t)WN_MAX_WIDTH)
    return wn_bad(c, "%u values of state", n);
  int rc = check_widths(c, inner, 2 * g * n);
  if (rc == WN_OK)
    rc = wn_check_vector(c, DECAY, heads ? h : (uint64_t)inner * n);
  if (rc == WN_OK) rc = wn_check_vector(c, DT_BIAS, h);
  if (rc == WN_OK) rc = wn_check_vector(c, SKIP, h);
  wn_slot slot = {.keep = WN_KEEP_STATE, .n_state = (uint32_t)state};
  if (rc == WN_OK) rc = wn_check_slot(c, slot);
  return rc == WN_OK ? wn_make(c, inner) : rc;
}

/* A member's scratch: decays of one channel, or a factor for each channel of a
 * head. */
static void plan(wn_planner *pl, uint32_t i) {
  const wn_op *op = &wn_planner_prog(pl)->ops[i];
  uint32_t n =
      op->kind == HEADS ? op->i[N_INNER] / op->i[N_HEADS] : op->i[N_STATE];
  wn_plan_member(pl, wn_plan_floats(pl, 1, n), &wn_planner_plan(pl)->scan_own);
}

typedef struct scan {
  wn_member *m;
  const wn_op *op;
  uint32_t id, per_head, n, groups, heads, inner;
  const float *decay, *bias, *skip;
  float *scratch;
} scan;

static float softplus(float x) {
  return x > 20 ? x : log1pf(wn_expf(x));
}

/* The state of channels c.. before the first token of a run: where the last
 * step left it, or zero. */
static float *begin(const scan *v, uint32_t first, uint32_t c, uint32_t n) {
  const wn_frame *f = v->m->f;
  size_t at = (size_t)c * v->n, bytes = (size_t)n * v->n * sizeof(float);
  const float *old = wn_state_old(f, v->op->i[SLOT], first);
  float *s = wn_state_new(f, v->op->i[SLOT], first) + at;
  if (old != NULL)
    memcpy(s, old + at, bytes);
  else
    memset(s, 0, bytes);
  return s;
}

/* Mamba1: one token of channel c, whose state is s. */
static void one_channel(const scan *v, uint32_t t, uint32_t c, float *s) {
  const wn_vec *vec = v->m->f->vec;
  const float *x = wn_row_in(v->m, v->op->in[0], t);
  const float *b = wn_row_in(v->m, v->op->in[1], t);
  float dt = softplus(wn_row_in(v->m, v->op->in[2], t)[c] + v->bias[c]);
  vec->exp_of(dt, v->decay + (size_t)c * v->n, v->scratch, v->n);
  vec->mul(s, v->scratch, s, v->n);
  vec->madd(dt * x[c], b, s, v->n);
  wn_row(v->m, v->id, t)[c] = vec->dot(s, b + v->n, v->n) + v->skip[c] * x[c];
}

/* Mamba2: one token of channels c .. c + n - 1 of one head. Their states are
 * small enough for the first cache while a whole prompt goes by. */
static void one_head(const scan *v, uint32_t t, uint32_t c, uint32_t n,
                     float *s) {
  uint32_t head = c / v->per_head, group = head / (v->heads / v->groups);
  const float *x = wn_row_in(v->m, v->op->in[0], t);
  const float *b = x + v->inner + (size_t)group * v->n;
  const float *to = b + (size_t)v->groups * v->n;
  float dt = softplus(wn_row_in(v->m, v->op->in[1], t)[head] + v->bias[head]);
  float *k = v->scratch, *y = wn_row(v->m, v->id, t) + c;
  for (uint32_t i = 0; i < n; i++)
    k[i] = dt * x[c + i];
  v->m->f->vec->scan(wn_expf(dt * v->decay[head]), k, b, to, s, n, v->n, y);
  for (uint32_t i = 0; i < n; i++)
    y[i] += v->skip[head] * x[c + i];
}

/* All tokens of a sequence, channels c .. c + n - 1, which are of one head. */
static void one_run(const scan *v, uint32_t first, uint32_t c, uint32_t n) {
  const wn_frame *f = v->m->f;
  float *s = begin(v, first, c, n);
  for (uint32_t t = first; t != WN_NONE; t = f->follow[t]) {
    if (v->op->kind == HEADS)
      one_head(v, t, c, n, s);
    else
      one_channel(v, t, c, s);
  }
}

static void run(wn_member *m) {
  const wn_frame *f = m->f;
  scan v = {.m = m, .op = &f->p->ops[m->st->op], .id = m->st->op};
  v.n = v.op->i[N_STATE], v.groups = v.op->i[N_GROUPS];
  v.heads = v.op->i[N_HEADS], v.inner = v.op->i[N_INNER];
  v.per_head = v.inner / v.heads;
  v.decay = f->bound[v.op->w[DECAY]].vec;
  v.bias = f->bound[v.op->w[DT_BIAS]].vec;
  v.skip = f->bound[v.op->w[SKIP]].vec;
  v.scratch = wn_floats(m->mem, f->plan->scan_own);
  uint32_t c0 = wn_share(m, v.inner, m->id), n;
  uint32_t c1 = wn_share(m, v.inner, m->id + 1);
  for (uint32_t k = 0; k < f->n_runs; k++)
    for (uint32_t c = c0; c < c1; c += n) {
      n = v.per_head - c % v.per_head; /* what is left of its head */
      if (n > c1 - c) n = c1 - c;
      one_run(&v, f->runs[k], c, n);
    }
}

/* -- gradients ------------------------------------------------------------ */

/* One channel. */
typedef struct walk {
  scan v;
  uint32_t c, head, group;
  float *d_decay, *d_bias, *d_skip; /* of the weights, or NULL */
  float *kept;                      /* e^(dt A), n of them */
} walk;

/* The step of a token, before and after the softplus; e^(dt A). */
static float step_of(const walk *w, uint32_t t, float *raw) {
  const scan *v = &w->v;
  bool by_head = v->op->kind == HEADS;
  *raw = wn_row_in(v->m, v->op->in[by_head ? 1 : 2], t)[w->head] +
         v->bias[w->head];
  float dt = softplus(*raw);
  for (uint32_t k = 0; k < v->n; k++)
    w->kept[k] =
        wn_expf(dt * v->decay[by_head ? w->head : (size_t)w->c * v->n + k]);
  return dt;
}

/* Where B begins in the row of its value; C is `groups` n further. */
static size_t b_at(const walk *w) {
  return (w->v.op->kind == HEADS ? w->v.inner : 0) + (size_t)w->group * w->v.n;
}

static void walk_forward(void *arg, uint32_t t, float *s) {
  const walk *w = arg;
  const scan *v = &w->v;
  bool by_head = v->op->kind == HEADS;
  float raw, dt = step_of(w, t, &raw),
             x = wn_row_in(v->m, v->op->in[0], t)[w->c];
  const float *b = wn_row_in(v->m, v->op->in[by_head ? 0 : 1], t) + b_at(w);
  for (uint32_t k = 0; k < v->n; k++)
    s[k] = s[k] * w->kept[k] + dt * x * b[k];
}

static void walk_back(void *arg, uint32_t t, const float *before,
                      const float *after, float *ds) {
  const walk *w = arg;
  const scan *v = &w->v;
  bool by_head = v->op->kind == HEADS;
  uint32_t bc = v->op->in[by_head ? 0 : 1], dt_in = v->op->in[by_head ? 1 : 2];
  float raw, dt = step_of(w, t, &raw),
             x = wn_row_in(v->m, v->op->in[0], t)[w->c];
  float g = wn_grad(v->m, v->id, t)[w->c], d_dt = 0, to_b = 0;
  size_t at = b_at(w), c = at + (size_t)v->groups * v->n;
  const float *row = wn_row_in(v->m, bc, t);
  float *d_row = wn_grad_in(v->m, bc, t);
  for (uint32_t k = 0; k < v->n; k++) {
    size_t a = by_head ? w->head : (size_t)w->c * v->n + k;
    ds[k] += g * row[c + k];
    d_row[c + k] += g * after[k];
    d_row[at + k] += dt * x * ds[k];
    to_b += ds[k] * row[at + k];
    float d_kept = ds[k] * before[k] * w->kept[k];
    d_dt += d_kept * v->decay[a];
    if (w->d_decay != NULL) w->d_decay[a] += d_kept * dt;
    ds[k] *= w->kept[k];
  }
  wn_grad_in(v->m, v->op->in[0], t)[w->c] += dt * to_b + v->skip[w->head] * g;
  d_dt = (d_dt + x * to_b) / (1 + wn_expf(-raw)); /* before the softplus */
  wn_grad_in(v->m, dt_in, t)[w->head] += d_dt;
  if (w->d_bias != NULL) w->d_bias[w->head] += d_dt;
  if (w->d_skip != NULL) w->d_skip[w->head] += g * x;
}

static size_t back_floats(const wn_op *op, uint32_t n_tokens) {
  return op->i[N_STATE] + wn_recur_floats(n_tokens, op->i[N_STATE]);
}

/* A unit is a group with its channels, which share B and C. Gradients that
 * nobody asked for are added up all the same: their places are free. */
static void back(wn_member *m, uint32_t i) {
  const wn_frame *f = m->f;
  walk w = {.v = {.m = m, .op = &f->p->ops[i], .id = i}};
  scan *v = &w.v;
  v->n = v->op->i[N_STATE], v->groups = v->op->i[N_GROUPS];
  v->heads = v->op->i[N_HEADS], v->inner = v->op->i[N_INNER];
  v->per_head = v->inner / v->heads;
  v->decay = f->bound[v->op->w[DECAY]].vec;
  v->bias = f->bound[v->op->w[DT_BIAS]].vec;
  v->skip = f->bound[v->op->w[SKIP]].vec;
  w.d_decay = wn_grad_weight(m, v->op, DECAY);
  w.d_bias = wn_grad_weight(m, v->op, DT_BIAS);
  w.d_skip = wn_grad_weight(m, v->op, SKIP);
  w.kept = wn_back_own(m);
  wn_recur r = {&w, v->n, walk_forward, walk_back};
  uint32_t each = v->inner / v->groups;
  for (;;) {
    uint64_t unit = (uint64_t)wn_team_next(m->team);
    if (unit >= v->groups) return;
    w.group = (uint32_t)unit;
    for (w.c = w.group * each; w.c < (w.group + 1) * each; w.c++) {
      w.head = w.c / v->per_head;
      wn_recur_back(&r, m->n_rows, w.kept + v->n);
    }
  }
}

static const char *const kinds[] = {"heads", "channels"};

const wn_op_desc wn_op_scan = {.name = "scan",
                               .kinds = kinds,
                               .n_kinds = N_KINDS,
                               .n_in = 3,
                               .least_in = 2,
                               .must = 7,
                               .n_i = 5,
                               .all_rows = true,
                               .recurrent = true,
                               .verify = verify,
                               .place = wn_fuse_alone,
                               .plan = plan,
                               .plan_stage = wn_plan_alone,
                               .run = run,
                               .back_of = 7,
                               .back_floats = back_floats,
                               .back = back};
