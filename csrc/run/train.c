/* train.c - see train.h: memory, the step forwards and backwards. Losses are in
 * loss.c, AdamW in adam.c. */
#include "run/train.h"

#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "run/train_in.h"

/* -- life ----------------------------------------------------------------- */

static int no_memory(wn_err *e, uint64_t bytes) {
  return wn_fail(e, WN_ENOMEM, "train: no memory for %llu bytes",
                 (unsigned long long)bytes);
}

/* A weight's copy, or the one of the same tensor. */
static wn_trained *trained_named(wn_train *t, const char *name) {
  for (uint32_t i = 0; i < t->n_trained; i++)
    if (strcmp(t->trained[i].name, name) == 0) return &t->trained[i];
  return NULL;
}

/* Memory of a weight's values and gradient, and its values. */
static int copy_weight(wn_train *t, const wn_weight *w, const wn_bound *b,
                       wn_trained *r, wn_err *e) {
  uint64_t n = wn_weight_values(w);
  size_t cols = w->ne[0], rows = (size_t)w->ne[1] * w->ne[2];
  r->name = wn_prog_str(t->p, w->name);
  r->rows = (uint32_t)rows;
  r->cols = w->ne[0];
  for (int k = WN_TRAIN_WEIGHT; k <= WN_TRAIN_GRAD; k++) {
    r->part[k] = wn_calloc(WN_MEM_RUN, (size_t)n, sizeof(float));
    if (r->part[k] == NULL) return no_memory(e, n * sizeof(float));
    t->bytes += n * sizeof(float);
  }
  float *to = r->part[WN_TRAIN_WEIGHT];
  if (b->vec != NULL)
    memcpy(to, b->vec, (size_t)n * sizeof *to);
  else
    for (size_t i = 0; i < rows; i++)
      b->decode(b->data + i * b->row_bytes, to + i * cols, cols);
  return WN_OK;
}

/* The copy takes the place of the model's weight. */
static void bind_copy(wn_bound *b, const wn_weight *w, float *values) {
  if (b->vec != NULL) {
    b->vec = values;
    return;
  }
  *b = (wn_bound){.type = WN_TYPE_F32,
                  .data = (const uint8_t *)values,
                  .row_bytes = w->ne[0] * sizeof(float),
                  .matrix_bytes = (size_t)w->ne[0] * w->ne[1] * sizeof(float),
                  .decode = wn_decode_best(WN_TYPE_F32, wn_cpu_get()->isa)};
}

static int take_weights(wn_train *t, const wn_train_opts *o, wn_err *e) {
  const wn_bound *bound = wn_model_bound(t->model);
  uint32_t n = t->p->n_weights;
  t->bound = wn_alloc(WN_MEM_RUN, n * sizeof *t->bound);
  t->trained = wn_calloc(WN_MEM_RUN, n, sizeof *t->trained);
  t->grad_of = wn_calloc(WN_MEM_RUN, n, sizeof *t->grad_of);
  t->asked = wn_calloc(WN_MEM_RUN, n, 1);
  if (!t->bound || !t->trained || !t->grad_of || !t->asked)
    return no_memory(e, n);
  memcpy(t->bound, bound, n * sizeof *bound);
  for (uint32_t i = 0; i < n; i++) {
    const wn_weight *w = &t->p->weights[i];
    const char *name = wn_prog_str(t->p, w->name);
    if (o->asked == NULL || !o->asked(o->arg, name)) continue;
    wn_trained *r = trained_named(t, name);
    t->asked[i] = 1;
    if (r == NULL) {
      r = &t->trained[t->n_trained++];
      int rc = copy_weight(t, w, &bound[i], r, e);
      if (rc != WN_OK) return rc;
    }
    bind_copy(&t->bound[i], w, r->part[WN_TRAIN_WEIGHT]);
    t->grad_of[i] = r->part[WN_TRAIN_GRAD];
  }
  if (t->n_trained == 0 && !o->outputs)
    return wn_fail(e, WN_EARG, "train: no weight of the model is asked for");
  return WN_OK;
}

/* Segments, and where everything lies. */
static int plan_all(wn_train *t, const wn_train_opts *o, wn_err *e) {
  uint32_t n = t->p->n_ops;
  int rc = wn_sched_new(t->p, false, &t->sched, e);
  if (rc != WN_OK) return rc;
  t->segments = wn_calloc(WN_MEM_RUN, n, sizeof *t->segments);
  t->until = wn_calloc(WN_MEM_RUN, n, sizeof *t->until);
  t->clear = wn_calloc(WN_MEM_RUN, n, sizeof *t->clear);
  t->needs = wn_calloc(WN_MEM_RUN, n, 1);
  if (!t->segments || !t->until || !t->clear || !t->needs)
    return no_memory(e, n);
  rc = wn_back_needs(t->p, t->asked, o->outputs, t->needs, e);
  if (rc != WN_OK) return rc;
  t->n_segments = wn_back_segments(t->p, t->sched, o->split, t->segments,
                                   t->until, t->clear);
  wn_plan_opts po = {.n_batch = t->cap,
                     .n_out = t->cap,
                     .n_ctx = t->cap,
                     .n_threads = t->n_threads,
                     .types = wn_model_types(t->model),
                     .exact = true,
                     .until = t->until};
  wn_state_opts so = {.n_seq = 1,
                      .n_ctx = t->cap,
                      .n_batch = t->cap,
                      .type_k = WN_TYPE_F32,
                      .type_v = WN_TYPE_F32};
  rc = wn_plan_new(t->p, t->sched, &po, &t->plan, e);
  return rc == WN_OK ? wn_state_plan(t->p, &so, &t->state, e) : rc;
}

/* Everything of a step; counted first. */
static int alloc_all(wn_train *t, uint64_t max_bytes, wn_err *e) {
  size_t n = t->cap, threads = (size_t)t->n_threads;
  t->back.own_floats = wn_back_floats(t->p, t->cap);
  size_t own = threads * t->back.own_floats * sizeof(float);
  size_t members = threads * t->plan->member_bytes;
  t->back.tile_floats = WN_BACK_TILE * wn_back_widest(t->p);
  size_t tile = threads * t->back.tile_floats * sizeof(float);
  size_t shared = wn_back_shared(t->p, t->cap) * sizeof(float);
  t->bytes += shared;
  t->bytes += 2 * t->plan->arena_bytes + own + members + tile + t->state.bytes;
  if (max_bytes != 0 && t->bytes > max_bytes)
    return wn_fail(e, WN_ENOMEM, "train: %llu bytes, max_bytes is %llu",
                   (unsigned long long)t->bytes, (unsigned long long)max_bytes);
  t->arena = wn_alloc(WN_MEM_RUN, t->plan->arena_bytes);
  t->grads = wn_alloc(WN_MEM_RUN, t->plan->arena_bytes);
  t->members = wn_alloc(WN_MEM_RUN, members);
  t->tile = wn_alloc(WN_MEM_RUN, tile);
  t->own = wn_alloc(WN_MEM_RUN, own);
  t->shared = wn_alloc(WN_MEM_RUN, shared);
  t->ones = wn_calloc(WN_MEM_RUN, n + WN_BACK_ROWS, sizeof *t->ones);
  t->tokens = wn_calloc(WN_MEM_RUN, n, sizeof *t->tokens);
  t->pos = wn_calloc(WN_MEM_RUN, n, sizeof *t->pos);
  t->seq = wn_calloc(WN_MEM_RUN, n, sizeof *t->seq);
  t->end = wn_calloc(WN_MEM_RUN, n, sizeof *t->end);
  t->follow = wn_calloc(WN_MEM_RUN, n, sizeof *t->follow);
  t->out_rows = wn_calloc(WN_MEM_RUN, n, sizeof *t->out_rows);
  t->losses = wn_calloc(WN_MEM_RUN, n, sizeof *t->losses);
  t->gains = wn_calloc(WN_MEM_RUN, t->p->n_gains, sizeof *t->gains);
  if (!t->arena || !t->grads || !t->members || !t->tile || !t->own ||
      !t->shared || !t->ones || !t->tokens || !t->pos || !t->seq || !t->end ||
      !t->follow || !t->out_rows || !t->losses || !t->gains)
    return no_memory(e, t->bytes);
  memset(t->arena + t->plan->counter_off, 0, t->plan->counter_bytes);
  for (size_t i = 0; i < n + WN_BACK_ROWS; i++)
    t->ones[i] = 1;
  for (uint32_t i = 0; i < t->p->n_gains; i++)
    t->gains[i] = 1;
  return wn_state_alloc(&t->state, e);
}

static int check(wn_train *t, const wn_train_opts *o, wn_err *e) {
  if (t->p->result_kind != WN_RESULT_LOGITS)
    return wn_fail(e, WN_EUNSUP, "train: the model gives no logits");
  if (o->n_tokens < 2 || o->n_tokens > t->p->n_positions ||
      o->n_tokens > (uint32_t)WN_MAX_CONTEXT)
    return wn_fail(e, WN_EARG, "train: steps of %u tokens", o->n_tokens);
  return WN_OK;
}

int wn_train_new(wn_model *m, const wn_train_opts *o, wn_train **out,
                 wn_err *e) {
  wn_train *t = wn_calloc(WN_MEM_RUN, 1, sizeof *t);
  if (t == NULL) return wn_fail(e, WN_ENOMEM, "train: out of memory");
  wn_pool_enter();
  t->model = wn_model_ref(m);
  t->p = wn_model_prog(m);
  t->cap = o->n_tokens;
  t->isa = wn_cpu_get()->isa;
  t->n_threads = o->n_threads > 0 ? o->n_threads : wn_pool_default_threads();
  if (t->n_threads > WN_MAX_THREADS) t->n_threads = WN_MAX_THREADS;
  int rc = check(t, o, e);
  if (rc == WN_OK) rc = take_weights(t, o, e);
  if (rc == WN_OK) rc = plan_all(t, o, e);
  if (rc == WN_OK) rc = alloc_all(t, o->max_bytes, e);
  if (rc != WN_OK) {
    wn_train_unref(t);
    return rc;
  }
  *out = t;
  return WN_OK;
}

void wn_train_unref(wn_train *t) {
  if (t == NULL) return;
  for (uint32_t i = 0; i < t->n_trained; i++)
    for (int k = 0; k < WN_TRAIN_PARTS; k++)
      wn_free(t->trained[i].part[k]);
  void *all[] = {t->bound,  t->trained, t->grad_of, t->asked,  t->segments,
                 t->until,  t->clear,   t->needs,   t->arena,  t->grads,
                 t->tile,   t->own,     t->ones,    t->tokens, t->members,
                 t->pos,    t->seq,     t->end,     t->follow, t->out_rows,
                 t->losses, t->gains,   t->shared};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    wn_free(all[i]);
  wn_state_free(&t->state);
  wn_plan_free(t->plan);
  wn_sched_free(t->sched);
  wn_model_unref(t->model);
  wn_free(t);
  wn_pool_leave();
}

uint64_t wn_train_bytes(const wn_train *t) {
  return t->bytes;
}
wn_model *wn_train_model(const wn_train *t) {
  return t->model;
}
uint32_t wn_train_n_trained(const wn_train *t) {
  return t->n_trained;
}
const wn_trained *wn_train_trained(const wn_train *t, uint32_t i) {
  return &t->trained[i];
}

/* -- a step --------------------------------------------------------------- */

static bool is_long(const wn_train *t) {
  uint32_t n_ctx = (t->cap + 255) / 256 * 256;
  for (uint32_t k = 0; k < t->plan->n_ropes; k++) {
    const wn_op *op = &t->p->ops[t->plan->ropes[k]];
    if (op->w[1] != WN_NONE) return n_ctx > op->i[2];
  }
  return false;
}

static int take_tokens(wn_train *t, const int32_t *tokens, const uint8_t *want,
                       size_t n, wn_err *e) {
  if (n < 2 || n > t->cap)
    return wn_fail(e, WN_EARG, "train: a step of %zu tokens, want 2 to %u", n,
                   t->cap);
  t->n_out = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (tokens[i] < 0 || (uint32_t)tokens[i] >= t->p->n_vocab)
      return wn_fail(e, WN_EARG, "train: token %u is %d, want 0 to %u", i + 1,
                     tokens[i], t->p->n_vocab - 1);
    t->tokens[i] = tokens[i];
    t->pos[i] = i;
    t->end[i] = (uint32_t)n;
    t->follow[i] = i + 1 < n ? i + 1 : WN_NONE;
    if (want == NULL || want[i] != 0) t->out_rows[t->n_out++] = i;
  }
  if (t->n_out == 0) return wn_fail(e, WN_EARG, "train: no row is wanted");
  return WN_OK;
}

static wn_frame frame_of(wn_train *t, uint32_t n) {
  static const uint32_t runs[1] = {0};
  t->back.grads = t->grads;
  t->back.weights = t->grad_of;
  t->back.needs = t->needs;
  t->back.tile = t->tile;
  t->back.ones = t->ones;
  t->back.own = t->own;
  t->back.shared = t->shared;
  return (wn_frame){.p = t->p,
                    .s = t->sched,
                    .plan = t->plan,
                    .bound = t->bound,
                    .vec = wn_vec_get(),
                    .arena = t->arena,
                    .members = t->members,
                    .slots = t->state.slots,
                    .type_k = t->state.type_k,
                    .type_v = t->state.type_v,
                    .turn = t->state.turn,
                    .n_runs = 1,
                    .runs = runs,
                    .follow = t->follow,
                    .long_rope = is_long(t),
                    .n_tokens = n,
                    .n_out = t->n_out,
                    .tokens = t->tokens,
                    .pos = t->pos,
                    .seq = t->seq,
                    .end = t->end,
                    .out_rows = t->out_rows,
                    .gains = t->gains,
                    .exact = true,
                    .back = &t->back};
}

/* Stops behind the segment's last stage. */
static bool at_end(void *pace, uint32_t stage) {
  const wn_segment *segment = pace;
  return stage + 1 >= segment->stage1;
}

static void run_segment(wn_train *t, uint32_t k) {
  t->frame.first = t->segments[k].stage0;
  t->frame.leave = at_end;
  t->frame.pace = &t->segments[k];
  wn_pool_run(t->n_threads, wn_exec_task, &t->frame);
}

int wn_train_forward(wn_train *t, const int32_t *tokens, const uint8_t *want,
                     size_t n, wn_err *e) {
  t->stage = WN_TRAIN_EMPTY;
  if (wn_cpu_get()->isa != t->isa)
    return wn_fail(e, WN_EARG, "train: made for the %s tier",
                   wn_isa_name(t->isa));
  int rc = take_tokens(t, tokens, want, n, e);
  if (rc != WN_OK) return rc;
  t->frame = frame_of(t, (uint32_t)n);
  wn_state_begin(&t->state, 0, (uint32_t)n);
  for (uint32_t k = 0; k < t->n_segments; k++)
    run_segment(t, k);
  t->stage = WN_TRAIN_RAN;
  return WN_OK;
}

const float *wn_train_result(const wn_train *t, size_t i, size_t *n_rows) {
  *n_rows = t->stage == WN_TRAIN_EMPTY ? 0 : t->n_out;
  return i < *n_rows ? wn_exec_result(&t->frame, (uint32_t)i) : NULL;
}

static void back_task(void *arg, wn_team *team, int member, int n_members) {
  wn_train *t = arg;
  wn_member m = {.f = &t->frame, .team = team, .id = member, .n = n_members};
  m.mem = t->members + (size_t)member * t->plan->member_bytes;
  wn_back_clear(&m, t->left, t->clear);
  wn_back_walk(&m, &t->segments[t->left]);
}

/* Nothing below the first segment that needs a gradient is walked. */
static bool is_needed(const wn_train *t, uint32_t k) {
  for (uint32_t i = 0; i < t->segments[k].op1; i++)
    if (t->needs[i]) return true;
  return false;
}

int wn_train_back(wn_train *t, bool *done, wn_err *e) {
  if (t->stage != WN_TRAIN_LOST && t->stage != WN_TRAIN_BACK)
    return wn_fail(e, WN_EARG, "train: there is no loss yet");
  *done = t->left == 0 || !is_needed(t, t->left - 1);
  if (*done) {
    t->stage = WN_TRAIN_EMPTY;
    return WN_OK;
  }
  t->left--;
  /* what later segments made lies where this one's values were */
  if (t->left + 1 < t->n_segments) run_segment(t, t->left);
  wn_pool_run(t->n_threads, back_task, t);
  t->stage = WN_TRAIN_BACK;
  return WN_OK;
}

/* -- what was made -------------------------------------------------------- */

bool wn_train_product(const wn_train *t, uint32_t k, wn_product *out) {
  if (t->stage != WN_TRAIN_BACK) return false;
  const wn_segment *s = &t->segments[t->left];
  for (uint32_t i = s->op0; i < s->op1; i++) {
    const wn_op *op = &t->p->ops[i];
    if (op->code != WN_OP_LINEAR || op->i[2] != 0 || !t->needs[i]) continue;
    if (k-- != 0) continue;
    *out = (wn_product){
        .op = i,
        .weight = op->w[0],
        .row0 = op->i[0],
        .n_rows = op->i[1],
        .n_in = t->p->widths[op->in[0]],
        .n_tokens = t->sched->wanted[i] ? t->n_out : t->frame.n_tokens};
    return true;
  }
  return false;
}

void wn_train_copy(const wn_train *t, const wn_product *p, float *x, float *g) {
  wn_frame f = t->frame;
  wn_member m = {
      .f = &f, .n = 1, .st = &t->sched->stages[t->sched->stage_of[p->op]]};
  uint32_t in = t->p->ops[p->op].in[0];
  for (uint32_t r = 0; r < p->n_tokens; r++) {
    memcpy(x + (size_t)r * p->n_in, wn_row_in(&m, in, r), p->n_in * sizeof *x);
    memcpy(g + (size_t)r * p->n_rows, wn_grad(&m, p->op, r),
           p->n_rows * sizeof *g);
  }
}

void wn_train_effect(const wn_product *p, const float *x, const float *g,
                     const float *w, const float *q, double *of, float *row,
                     double *sum, double *squares) {
  const wn_vec *vec = wn_vec_get();
  size_t n = p->n_in;
  memset(of, 0, p->n_tokens * sizeof *of);
  *sum = *squares = 0;
  for (size_t i = 0; i < p->n_rows; i++) {
    for (size_t c = 0; c < n; c++)
      row[c] = w[i * n + c] - q[i * n + c];
    for (size_t t = 0; t < p->n_tokens; t++)
      of[t] += (double)(g[t * p->n_rows + i] * vec->dot(row, x + t * n, n));
  }
  for (size_t t = 0; t < p->n_tokens; t++) {
    *sum += of[t];
    *squares += of[t] * of[t];
  }
}
