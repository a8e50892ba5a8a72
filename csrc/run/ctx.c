/* ctx.c - see ctx.h. A context owns everything a step needs: the plan, the
 * arena, the members' memory, the cache and the arrays of a batch. A step
 * fills the frame and runs it on the pool. */
#include "run/ctx.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "run/batch.h"
#include "run/low.h"
#include "run/move.h"
#include "run/state.h"

#define DEFAULT_BATCH 512
/* Ends of pieces of a prompt of so many tokens are worth returning to. */
#define MARK_TOKENS 16
#define DEFAULT_OUT_BYTES (64u << 20)

struct wn_ctx {
  int refs;
  atomic_flag inside;
  bool poisoned; /* the mapped file changed under us */
  wn_model *model;
  wn_ctx_opts o; /* with defaults filled in */
  wn_isa isa;    /* packings were planned for this tier */
  wn_plan *plan;
  wn_state state;
  uint8_t *arena, *members;
  /* the batch, n_batch of each */
  int32_t *tokens;
  uint32_t *pos, *seq, *end, *out_rows, *follow;
  /* n_seq of each */
  uint32_t *past; /* tokens held */
  uint32_t *next; /* ... when the step is done */
  uint32_t *runs; /* first tokens of the sequences in the batch: n_runs */
  uint32_t *last; /* last tokens of the sequences in the batch */
  uint32_t n_runs;
  uint32_t n_regions;
  size_t n_rows;     /* of the last step's result */
  const wn_tap *tap; /* not ours */
  float *gains;      /* factors: n_seq rows, then those of new sequences */
  int32_t *held;     /* the tokens of each sequence: n_seq rows of n_ctx */
  /* a step that was started */
  wn_frame frame;
  bool pending;
  uint32_t n_step, n_step_out;
  wn_pace pace;
  bool low;
  wn_batch *batch;
};

/* -- options -------------------------------------------------------------- */

/* What a context is planned from: the parts of a model, which need not be
 * loaded. */
typedef struct basis {
  const wn_prog *p;
  const wn_sched *s;
  const int *types;
  uint32_t n_ctx;
} basis;

static basis basis_of(const wn_model *m) {
  return (basis){wn_model_prog(m), wn_model_sched(m), wn_model_types(m),
                 wn_model_n_ctx(m)};
}

static uint32_t default_out(const wn_prog *p, const wn_ctx_opts *o) {
  uint64_t rows = DEFAULT_OUT_BYTES / (4 * (uint64_t)p->widths[p->result]);
  if (rows < o->n_seq) rows = o->n_seq;
  return rows < o->n_batch ? (uint32_t)rows : o->n_batch;
}

/* Fills in defaults and checks. */
static int check_opts(const basis *b, wn_ctx_opts *o, wn_err *e) {
  const wn_prog *p = b->p;
  if (o->n_ctx == 0) o->n_ctx = b->n_ctx;
  if (o->n_seq == 0) o->n_seq = 1;
  if (o->n_batch == 0) o->n_batch = p->causal ? DEFAULT_BATCH : o->n_ctx;
  if (o->n_batch > o->n_ctx * (uint64_t)o->n_seq)
    o->n_batch = o->n_ctx * o->n_seq;
  if (o->n_out == 0 || o->n_out > o->n_batch)
    o->n_out = o->n_out == 0 ? default_out(p, o) : o->n_batch;
  if (o->n_threads <= 0) o->n_threads = wn_pool_default_threads();
  if (o->n_threads > WN_MAX_THREADS) o->n_threads = WN_MAX_THREADS;
  if (o->n_ctx == 0 || o->n_ctx > (uint32_t)WN_MAX_CONTEXT)
    return wn_fail(e, WN_EARG, "a context of %u tokens, want 1 to %lld",
                   o->n_ctx, (long long)WN_MAX_CONTEXT);
  if (o->n_ctx > p->n_positions)
    return wn_fail(e, WN_EARG,
                   "a context of %u tokens, but the model has %u positions",
                   o->n_ctx, p->n_positions);
  if (o->n_seq > (uint32_t)WN_MAX_CONTEXT)
    return wn_fail(e, WN_EARG, "%u sequences", o->n_seq);
  return WN_OK;
}

/* Plan and cache sizes for checked options. */
static int plan_all(const basis *b, const wn_ctx_opts *o, wn_plan **plan,
                    wn_state *state, uint64_t *buffers, wn_err *e) {
  wn_plan_opts po = {.n_batch = o->n_batch,
                     .n_out = o->n_out,
                     .n_ctx = o->n_ctx,
                     .n_threads = o->n_threads,
                     .types = b->types,
                     .exact = o->exact};
  wn_state_opts so = {o->n_seq,   o->n_ctx,  o->n_batch,
                      o->n_marks, o->type_k, o->type_v};
  int rc = wn_state_plan(b->p, &so, state, e);
  if (rc == WN_OK) rc = wn_plan_new(b->p, b->s, &po, plan, e);
  if (rc != WN_OK) return rc;
  uint64_t batch = 4 * (6 * (uint64_t)o->n_batch + 4 * (uint64_t)o->n_seq +
                        (uint64_t)o->n_seq * o->n_ctx);
  *buffers = (*plan)->arena_bytes + batch +
             (*plan)->member_bytes * (uint64_t)o->n_threads;
  return WN_OK;
}

static int estimate(const basis *b, const wn_ctx_opts *opts,
                    uint64_t *cache_bytes, uint64_t *buffer_bytes, wn_err *e) {
  wn_ctx_opts o = *opts;
  wn_plan *plan = NULL;
  wn_state state;
  int rc = check_opts(b, &o, e);
  if (rc == WN_OK) rc = plan_all(b, &o, &plan, &state, buffer_bytes, e);
  if (rc == WN_OK) *cache_bytes = state.bytes;
  wn_plan_free(plan);
  return rc;
}

int wn_ctx_estimate(const wn_model *m, const wn_ctx_opts *o,
                    uint64_t *cache_bytes, uint64_t *buffer_bytes, wn_err *e) {
  basis b = basis_of(m);
  return estimate(&b, o, cache_bytes, buffer_bytes, e);
}

int wn_ctx_foresee(const wn_prog *p, const int *types, uint32_t n_ctx,
                   const wn_ctx_opts *o, uint64_t *cache_bytes,
                   uint64_t *buffer_bytes, wn_err *e) {
  wn_sched *s = NULL;
  if (!p->finished) return wn_fail(e, WN_EARG, "program is not finished");
  int rc = wn_sched_new(p, true, &s, e);
  if (rc != WN_OK) return rc;
  basis b = {p, s, types, n_ctx};
  rc = estimate(&b, o, cache_bytes, buffer_bytes, e);
  wn_sched_free(s);
  return rc;
}

/* -- life ----------------------------------------------------------------- */

static int alloc_all(wn_ctx *c, wn_err *e) {
  size_t n = c->o.n_batch, n_seq = c->o.n_seq;
  /* not cleared as a whole: pages that no step needs are never touched */
  c->arena = wn_alloc(WN_MEM_RUN, c->plan->arena_bytes);
  if (c->arena != NULL)
    memset(c->arena + c->plan->counter_off, 0, c->plan->counter_bytes);
  c->members =
      wn_alloc(WN_MEM_RUN, c->plan->member_bytes * (size_t)c->o.n_threads);
  c->tokens = wn_calloc(WN_MEM_RUN, n, sizeof *c->tokens);
  c->pos = wn_calloc(WN_MEM_RUN, n, sizeof *c->pos);
  c->seq = wn_calloc(WN_MEM_RUN, n, sizeof *c->seq);
  c->end = wn_calloc(WN_MEM_RUN, n, sizeof *c->end);
  c->out_rows = wn_calloc(WN_MEM_RUN, n, sizeof *c->out_rows);
  c->past = wn_calloc(WN_MEM_RUN, n_seq, sizeof *c->past);
  c->next = wn_calloc(WN_MEM_RUN, n_seq, sizeof *c->next);
  uint32_t n_gains = wn_model_prog(c->model)->n_gains;
  c->gains = wn_calloc(WN_MEM_RUN, (n_seq + 1) * n_gains, sizeof *c->gains);
  for (size_t i = 0; c->gains != NULL && i < (n_seq + 1) * n_gains; i++)
    c->gains[i] = 1;
  c->held = wn_calloc(WN_MEM_RUN, n_seq, c->o.n_ctx * sizeof *c->held);
  if (wn_pace_init(&c->pace, wn_model_sched(c->model), e) != WN_OK)
    return e->code;
  c->follow = wn_calloc(WN_MEM_RUN, n, sizeof *c->follow);
  c->runs = wn_calloc(WN_MEM_RUN, n_seq, sizeof *c->runs);
  c->last = wn_calloc(WN_MEM_RUN, n_seq, sizeof *c->last);
  if (c->arena && c->members && c->tokens && c->pos && c->seq && c->end &&
      c->out_rows && c->past && c->next && c->held && c->gains && c->follow &&
      c->runs && c->last)
    return wn_state_alloc(&c->state, e);
  return wn_fail(e, WN_ENOMEM, "context: no memory for buffers of %zu bytes",
                 c->plan->arena_bytes);
}

static int check_max(const wn_ctx *c, uint64_t buffers, wn_err *e) {
  if (c->o.max_bytes == 0 ||
      (buffers <= c->o.max_bytes && c->state.bytes <= c->o.max_bytes - buffers))
    return WN_OK;
  return wn_fail(e, WN_ENOMEM,
                 "context: cache of %" PRIu64 " bytes and buffers of %" PRIu64
                 ", max_bytes is %" PRIu64,
                 c->state.bytes, buffers, c->o.max_bytes);
}

int wn_ctx_new(wn_model *m, const wn_ctx_opts *o, wn_ctx **out, wn_err *e) {
  wn_ctx *c = wn_calloc(WN_MEM_RUN, 1, sizeof *c);
  uint64_t buffers = 0;
  if (c == NULL) return wn_fail(e, WN_ENOMEM, "context: out of memory");
  c->refs = 1;
  atomic_flag_clear(&c->inside);
  c->model = wn_model_ref(m);
  c->o = *o;
  c->isa = wn_cpu_get()->isa;
  wn_pool_enter();
  basis b = basis_of(m);
  int rc = check_opts(&b, &c->o, e);
  if (rc == WN_OK) rc = plan_all(&b, &c->o, &c->plan, &c->state, &buffers, e);
  if (rc == WN_OK) rc = check_max(c, buffers, e);
  if (rc == WN_OK) rc = alloc_all(c, e);
  if (rc != WN_OK) {
    wn_ctx_unref(c);
    return rc;
  }
  *out = c;
  return WN_OK;
}

wn_ctx *wn_ctx_ref(wn_ctx *c) {
  __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
  return c;
}

void wn_ctx_unref(wn_ctx *c) {
  if (c == NULL || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) != 0)
    return;
  wn_batch_free(c->batch);
  wn_pace_free(&c->pace);
  wn_free(c->held);
  wn_free(c->gains);
  wn_state_free(&c->state);
  wn_plan_free(c->plan);
  wn_free(c->arena);
  wn_free(c->members);
  wn_free(c->tokens);
  wn_free(c->pos);
  wn_free(c->seq);
  wn_free(c->end);
  wn_free(c->out_rows);
  wn_free(c->past);
  wn_free(c->next);
  wn_free(c->follow);
  wn_free(c->runs);
  wn_free(c->last);
  wn_model_unref(c->model);
  wn_free(c);
  wn_pool_leave();
}

wn_model *wn_ctx_model(const wn_ctx *c) {
  return c->model;
}
uint32_t wn_ctx_n_ctx(const wn_ctx *c) {
  return c->o.n_ctx;
}
uint32_t wn_ctx_n_batch(const wn_ctx *c) {
  return c->o.n_batch;
}
uint32_t wn_ctx_n_seq(const wn_ctx *c) {
  return c->o.n_seq;
}
uint32_t wn_ctx_n_out(const wn_ctx *c) {
  return c->o.n_out;
}
uint32_t wn_ctx_regions(const wn_ctx *c) {
  return c->n_regions;
}
uint64_t wn_ctx_cache_bytes(const wn_ctx *c) {
  return c->state.bytes;
}

uint64_t wn_ctx_bytes(const wn_ctx *c) {
  return c->state.bytes + c->plan->arena_bytes +
         c->plan->member_bytes * (uint64_t)c->o.n_threads;
}

/* -- a step --------------------------------------------------------------- */

static int check_state(const wn_ctx *c, wn_err *e) {
  if (c->poisoned)
    return wn_fail(e, WN_ECHANGED, "%s changed while it was in use",
                   wn_gguf_path(wn_model_gguf(c->model)));
  if (wn_cpu_get()->isa != c->isa)
    return wn_fail(e, WN_EARG, "the context was made for the %s tier",
                   wn_isa_name(c->isa));
  return WN_OK;
}

/* Takes one token into the batch; nothing that lasts is changed. */
static int take_token(wn_ctx *c, size_t i, int32_t token, uint32_t seq,
                      wn_err *e) {
  const wn_prog *p = wn_model_prog(c->model);
  if (token < 0 || (uint32_t)token >= p->n_vocab)
    return wn_fail(e, WN_EARG, "token %zu is %d, want 0 to %u", i + 1, token,
                   p->n_vocab - 1);
  if (seq >= c->o.n_seq)
    return wn_fail(e, WN_EARG, "token %zu is for sequence %u of %u", i + 1,
                   seq + 1, c->o.n_seq);
  if (c->next[seq] >= c->o.n_ctx)
    return wn_fail(e, WN_EARG,
                   "sequence %u is full: it holds %u tokens, the "
                   "context %u",
                   seq + 1, c->past[seq], c->o.n_ctx);
  if (!p->causal && c->past[seq] != 0)
    return wn_fail(e, WN_EARG,
                   "sequence %u is not empty: this model reads a "
                   "sequence whole, in one step",
                   seq + 1);
  c->tokens[i] = token;
  c->seq[i] = seq;
  c->pos[i] = c->next[seq]++;
  return WN_OK;
}

/* Each sequence's tokens in the batch, one behind the other. */
static void chain(wn_ctx *c, uint32_t n) {
  c->n_runs = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t seq = c->seq[i];
    c->end[i] = c->next[seq];
    c->follow[i] = WN_NONE;
    if (c->pos[i] == c->past[seq])
      c->runs[c->n_runs++] = i;
    else
      c->follow[c->last[seq]] = i;
    c->last[seq] = i;
  }
}

/* Fills the batch arrays; *n_out is the number of wanted rows. */
static int take_batch(wn_ctx *c, const int32_t *tokens, const uint32_t *seq,
                      const uint8_t *want, size_t n, uint32_t *n_out,
                      wn_err *e) {
  if (n == 0 || n > c->o.n_batch)
    return wn_fail(e, WN_EARG, "a step of %zu tokens, want 1 to %u", n,
                   c->o.n_batch);
  memcpy(c->next, c->past, c->o.n_seq * sizeof *c->next);
  bool logits = wn_model_prog(c->model)->result_kind == WN_RESULT_LOGITS;
  *n_out = 0;
  for (size_t i = 0; i < n; i++) {
    int rc = take_token(c, i, tokens[i], seq != NULL ? seq[i] : 0, e);
    if (rc != WN_OK) return rc;
    if (logits && (want != NULL ? want[i] != 0 : i == n - 1))
      c->out_rows[(*n_out)++] = (uint32_t)i;
  }
  chain(c, (uint32_t)n);
  if (*n_out > c->o.n_out)
    return wn_fail(e, WN_EARG, "%u rows wanted, the context was made for %u",
                   *n_out, c->o.n_out);
  return WN_OK;
}

/* The context the rotation is chosen for: rounded up to 256 tokens, as
 * llama.cpp does. */
bool wn_ctx_is_long(const wn_ctx *c) {
  const wn_prog *p = wn_model_prog(c->model);
  uint32_t n_ctx = (c->o.n_ctx + 255) / 256 * 256;
  for (uint32_t t = 0; t < c->plan->n_ropes; t++) {
    const wn_op *op = &p->ops[c->plan->ropes[t]];
    if (op->w[1] != WN_NONE) return n_ctx > op->i[2];
  }
  return false;
}

static wn_frame frame_of(wn_ctx *c, uint32_t n, uint32_t n_out) {
  wn_frame f = {.p = wn_model_prog(c->model),
                .s = wn_model_sched(c->model),
                .plan = c->plan,
                .bound = wn_model_bound(c->model),
                .vec = wn_vec_get(),
                .arena = c->arena,
                .members = c->members,
                .slots = c->state.slots,
                .type_k = c->state.type_k,
                .type_v = c->state.type_v,
                .turn = c->state.turn,
                .n_runs = c->n_runs,
                .runs = c->runs,
                .follow = c->follow,
                .long_rope = wn_ctx_is_long(c),
                .n_tokens = n,
                .n_out = n_out,
                .tokens = c->tokens,
                .pos = c->pos,
                .seq = c->seq,
                .end = c->end,
                .out_rows = c->out_rows,
                .gains = c->gains,
                .tap = c->tap,
                .exact = c->o.exact,
                .rounding = c->o.rounding};
  return f;
}

/* Edges of a tap have one row for each token. */
static int check_tap(const wn_ctx *c, size_t n, uint32_t n_out, wn_err *e) {
  const wn_tap *t = c->tap;
  if (t == NULL || (t->enter == NULL && t->leave == NULL)) return WN_OK;
  if (n != n_out)
    return wn_fail(e, WN_EARG, "a tap with edges wants all rows of a step");
  if (t->enter != NULL && t->enter->n_rows != n)
    return wn_fail(e, WN_EARG, "%zu tokens, %u rows to enter with", n,
                   t->enter->n_rows);
  return WN_OK;
}

int wn_ctx_start(wn_ctx *c, const int32_t *tokens, const uint32_t *seq,
                 const uint8_t *want, size_t n, wn_err *e) {
  uint32_t n_out = 0;
  c->pending = false;
  int rc = check_state(c, e);
  if (rc == WN_OK) rc = take_batch(c, tokens, seq, want, n, &n_out, e);
  if (rc == WN_OK) rc = check_tap(c, n, n_out, e);
  if (rc != WN_OK) return rc;
  c->frame = frame_of(c, (uint32_t)n, n_out);
  c->n_step = (uint32_t)n;
  c->n_step_out = n_out;
  c->n_rows = 0;
  c->pending = true;
  for (uint32_t k = 0; k < c->n_runs; k++) {
    uint32_t s = c->seq[c->runs[k]];
    wn_state_begin(&c->state, s, c->next[s]);
  }
  return WN_OK;
}

/* The step is complete: now its tokens are held. */
static void commit(wn_ctx *c) {
  c->n_regions = c->frame.n_regions;
  c->n_rows =
      c->frame.p->result_kind == WN_RESULT_LOGITS ? c->n_step_out : c->n_step;
  if (c->tap != NULL && c->tap->stop) c->n_rows = 0;
  for (uint32_t k = 0; k < c->n_runs; k++) {
    uint32_t first = c->runs[k], s = c->seq[first];
    wn_state_commit(&c->state, s);
    /* ends of pieces of prompts are worth returning to */
    if (c->follow[first] != WN_NONE) wn_state_mark(&c->state, s, c->next[s]);
  }
  memcpy(c->past, c->next, c->o.n_seq * sizeof *c->past);
  for (uint32_t i = 0; i < c->n_step; i++)
    c->held[(size_t)c->seq[i] * c->o.n_ctx + c->pos[i]] = c->tokens[i];
  c->pending = false;
}

int wn_ctx_go(wn_ctx *c, double until, const atomic_bool *hurry, bool *done,
              wn_err *e) {
  wn_frame *f = &c->frame;
  *done = false;
  if (!c->pending) return wn_fail(e, WN_EARG, "no step was started");
  wn_pace_start(&c->pace, c->n_step, c->n_step_out, until, hurry);
  f->leave = wn_pace_leave;
  f->pace = &c->pace;
  wn_low_task task = {wn_exec_task, f, c->low};
  wn_pool_run(c->o.n_threads, wn_low_run, &task);
  int rc = wn_gguf_check(wn_model_gguf(c->model), false, e);
  if (rc != WN_OK) {
    c->poisoned = true;
    c->pending = false;
    return rc;
  }
  f->first = f->next;
  *done = f->next >= f->s->n_stages;
  if (*done) commit(c);
  return WN_OK;
}

int wn_ctx_step(wn_ctx *c, const int32_t *tokens, const uint32_t *seq,
                const uint8_t *want, size_t n, wn_err *e) {
  bool done = false;
  int rc = wn_ctx_start(c, tokens, seq, want, n, e);
  return rc == WN_OK ? wn_ctx_go(c, 0, NULL, &done, e) : rc;
}

void wn_ctx_drop(wn_ctx *c) {
  c->pending = false;
}
bool wn_ctx_fits(wn_ctx *c, double until) {
  wn_pace_start(&c->pace, c->n_step, c->n_step_out, until, NULL);
  return !c->pending || wn_pace_fits(&c->pace, c->frame.first, c->pace.last);
}
bool wn_ctx_pending(const wn_ctx *c) {
  return c->pending;
}
const wn_pace *wn_ctx_pace(const wn_ctx *c) {
  return &c->pace;
}
void wn_ctx_set_low(wn_ctx *c, bool low) {
  c->low = low;
}
wn_batch *wn_ctx_batch(const wn_ctx *c) {
  return c->batch;
}
void wn_ctx_set_batch(wn_ctx *c, wn_batch *b) {
  c->batch = b;
}

const float *wn_ctx_logits(const wn_ctx *c, size_t i, size_t *n_rows) {
  const wn_prog *p = wn_model_prog(c->model);
  if (n_rows != NULL) *n_rows = c->n_rows;
  if (i >= c->n_rows) return NULL;
  return wn_floats(c->arena, c->plan->values[p->result].off) +
         i * p->widths[p->result];
}

void wn_ctx_set_tap(wn_ctx *c, const wn_tap *tap) {
  c->tap = tap;
}

const wn_tap *wn_ctx_tap(const wn_ctx *c) {
  return c->tap;
}

/* -- sequences ------------------------------------------------------------ */

static int check_seq(const wn_ctx *c, uint32_t seq, wn_err *e) {
  if (seq < c->o.n_seq) return WN_OK;
  return wn_fail(e, WN_EARG, "sequence %u of %u", seq + 1, c->o.n_seq);
}

uint32_t wn_ctx_n_past(const wn_ctx *c, uint32_t seq) {
  return seq < c->o.n_seq ? c->past[seq] : 0;
}

const int32_t *wn_ctx_held(const wn_ctx *c, uint32_t seq) {
  return c->held + (size_t)seq * c->o.n_ctx;
}

const float *wn_ctx_gains(const wn_ctx *c, uint32_t seq) {
  uint32_t n = wn_model_prog(c->model)->n_gains;
  return c->gains + (size_t)(seq < c->o.n_seq ? seq : c->o.n_seq) * n;
}

void wn_ctx_set_gains(wn_ctx *c, uint32_t seq, const void *gains) {
  uint32_t n = wn_model_prog(c->model)->n_gains;
  float *to = c->gains + (size_t)(seq < c->o.n_seq ? seq : c->o.n_seq) * n;
  c->pending = false;
  if (n > 0) memmove(to, gains, n * sizeof *to);
}

const wn_state *wn_ctx_state(const wn_ctx *c) {
  return &c->state;
}

void wn_ctx_hold(wn_ctx *c, uint32_t seq, uint32_t pos, int32_t id) {
  c->held[(size_t)seq * c->o.n_ctx + pos] = id;
}

void wn_ctx_held_n(wn_ctx *c, uint32_t seq, uint32_t n) {
  c->pending = false;
  wn_batch_forget(c->batch, seq);
  wn_state_set(&c->state, seq, n);
  c->past[seq] = n;
}

int wn_ctx_truncate(wn_ctx *c, uint32_t seq, uint32_t n, wn_err *e) {
  int rc = check_seq(c, seq, e);
  if (rc != WN_OK) return rc;
  c->pending = false;
  wn_batch_forget(c->batch, seq);
  if (n < c->past[seq])
    c->past[seq] = wn_state_rewind(&c->state, seq, c->past[seq], n);
  return WN_OK;
}

uint32_t wn_ctx_reach(const wn_ctx *c, uint32_t seq, uint32_t n) {
  if (seq >= c->o.n_seq) return 0;
  return wn_state_reach(&c->state, seq, c->past[seq], n);
}

int wn_ctx_mark(wn_ctx *c, uint32_t seq, wn_err *e) {
  int rc = check_seq(c, seq, e);
  if (rc == WN_OK) wn_state_mark(&c->state, seq, c->past[seq]);
  return rc;
}

int wn_ctx_copy(wn_ctx *c, uint32_t from, uint32_t to, uint32_t n, wn_err *e) {
  int rc = check_seq(c, from, e);
  if (rc == WN_OK) rc = check_seq(c, to, e);
  if (rc != WN_OK) return rc;
  if (n > c->past[from])
    return wn_fail(e, WN_EARG, "%u tokens of a sequence of %u", n,
                   c->past[from]);
  c->pending = false;
  wn_batch_forget(c->batch, to);
  n = wn_state_copy(&c->state, from, to, c->past[from], n);
  if (from != to)
    memcpy(c->held + (size_t)to * c->o.n_ctx, wn_ctx_held(c, from),
           n * sizeof *c->held);
  c->past[to] = n;
  return WN_OK;
}

bool wn_ctx_can_move(const wn_ctx *c) {
  return wn_can_move(wn_model_prog(c->model));
}

int wn_ctx_move(wn_ctx *c, uint32_t seq, uint32_t from, uint32_t to, uint32_t n,
                wn_err *e) {
  const wn_prog *p = wn_model_prog(c->model);
  if (seq >= c->o.n_seq || to > from || from > c->past[seq] ||
      n > c->past[seq] - from || !wn_can_move(p))
    return wn_fail(e, WN_EARG, "sequence %u: %u tokens from %u to %u", seq + 1,
                   n, from, to);
  float *scratch = wn_alloc(WN_MEM_RUN, wn_move_floats(p) * sizeof *scratch);
  if (scratch == NULL) return wn_fail(e, WN_ENOMEM, "context: out of memory");
  wn_frame f = frame_of(c, 0, 0);
  int32_t *held = c->held + (size_t)seq * c->o.n_ctx;
  c->pending = false;
  wn_batch_forget(c->batch, seq);
  wn_move(&f, seq, from, to, n, scratch);
  memmove(held + to, held + from, n * sizeof *held);
  wn_free(scratch);
  return WN_OK;
}

bool wn_ctx_begin(wn_ctx *c) {
  return !atomic_flag_test_and_set(&c->inside);
}
void wn_ctx_end(wn_ctx *c) {
  atomic_flag_clear(&c->inside);
}
