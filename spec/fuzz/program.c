/* fuzz/program.c - libFuzzer target: random programs into the verifier.
 *
 * The bytes choose operations: most are built so that they fit (with weights
 * of the right shape), every 16th or so has arbitrary fields. A refused program
 * must say which operation and why. An accepted one runs on small random
 * weights, grouped into stages and literally, on one and on three threads, with
 * a batch and then single tokens: every run must be free of errors (the
 * sanitizers watch) and give the same bits. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "graph/exec.h"
#include "quant/quant.h"
#include "run/kv.h"

enum { MAX_WEIGHTS = 40, MAX_OPS = 24, CTX = 12, BATCH = 4, VALUES = 1 << 16 };

static void must(int ok) {
  if (!ok) __builtin_trap();
}

typedef struct input {
  const uint8_t *p;
  size_t n;
} input;

static uint8_t next(input *in) {
  if (in->n == 0) return 0;
  in->n--;
  return *in->p++;
}

static uint32_t size_of(uint8_t b) {
  static const uint32_t sizes[16] = {8,  4, 16, 2, 1, 3,  6,  12,
                                     24, 5, 32, 0, 7, 10, 48, 64};
  return sizes[b % 16];
}

static uint32_t int_of(uint8_t b) {
  if (b < 200) return b % 40;
  static const uint32_t odd[8] = {64,      255,        4096,       65536,
                                  1 << 24, 0x7fffffff, 0xfffffffe, 0xffffffff};
  return odd[b % 8];
}

static float float_of(uint8_t b) {
  static const float floats[16] = {0,     1,      1e-5f,    10000,  0.25f, -1,
                                   32,    2,      7,        1.702f, 0.5f,  NAN,
                                   1e30f, 1e-30f, INFINITY, 50};
  return floats[b % 16];
}

static void add_weights(wn_prog *p, input *in) {
  uint32_t n = next(in) % 5, id;
  wn_err e;
  for (uint32_t i = 0; i < n; i++) {
    uint8_t b = next(in);
    uint32_t ne[3] = {size_of(b), size_of((uint8_t)(b >> 4)), 1};
    uint8_t c = next(in);
    if (c & 2) ne[1] = 1;
    if (c & 4) ne[2] = 1 + (c >> 3) % 6;
    must(wn_prog_weight(p, "w", 1, ne, c & 1, &id, &e) == WN_OK);
  }
}

/* A reference to a value or weight: mostly a recent one. */
static uint32_t ref_of(uint8_t b, uint32_t n) {
  if (b >= 250 || n == 0) return b == 255 ? WN_NONE : b;
  return n - 1 - b % (n < 8 ? n : 8);
}

/* Any fields at all: what the verifier must be able to refuse. */
static wn_op wild_op(const wn_prog *p, input *in) {
  wn_op op = wn_op_blank((wn_opcode)(next(in) % (WN_N_OPS + 1)), 0);
  uint8_t a = next(in), b = next(in);
  op.kind = a >> 5;
  for (int k = 0; k < (a & 3); k++)
    op.in[k] = ref_of(next(in), p->n_ops);
  for (int k = 0; k < (b & 7) && k < WN_OP_WEIGHTS; k++)
    op.w[k] = ref_of(next(in), p->n_weights);
  for (int k = 0; k < (b >> 4 & 7) && k < WN_OP_INTS; k++)
    op.i[k] = int_of(next(in));
  for (int k = 0; k < (a >> 2 & 7) && k < WN_OP_FLOATS; k++)
    op.f[k] = float_of(next(in));
  return op;
}

/* A new weight of a shape that fits. */
static uint32_t fit(wn_prog *p, uint32_t a, uint32_t b, uint32_t c,
                    bool matrix) {
  uint32_t ne[3] = {a, b, c}, id = WN_NONE;
  wn_err e;
  if (p->n_weights == MAX_WEIGHTS || (uint64_t)a * b * c > VALUES) return id;
  must(wn_prog_weight(p, "fit", 3, ne, matrix, &id, &e) == WN_OK);
  return id;
}

static void fit_attend(wn_prog *p, input *in, wn_op *op, uint32_t slot,
                       uint32_t width) {
  uint8_t b = next(in);
  uint32_t heads = 1u << (b & 3);
  if (width % heads != 0) heads = 1;
  *op = wn_op_blank(WN_OP_ATTEND, b >> 7);
  op->in[0] = op->in[1] = op->in[2] = ref_of(next(in) % 8, p->n_ops);
  op->i[0] = slot;
  op->i[1] = op->i[2] = heads;
  op->i[3] = (b & 0x80) == 0 && (b & 16) ? 1 + (b >> 5 & 3) : 0;
  op->f[0] = 0.5f;
  op->f[1] = b & 8 ? 2 : 0;
  if (b & 4) op->w[0] = fit(p, heads, 1, 1, false);
}

static void fit_moe(wn_prog *p, input *in, wn_op *op, uint32_t x,
                    uint32_t width) {
  uint8_t b = next(in);
  uint32_t n = 2 + (b & 3), ff = 4 + (b >> 6);
  wn_op router = wn_op_blank(WN_OP_LINEAR, 0);
  wn_err e;
  router.in[0] = x;
  router.w[0] = fit(p, width, n, 1, true);
  router.i[1] = n;
  *op = wn_op_blank(WN_OP_MOE, WN_ACT_SILU);
  op->in[0] = x;
  must(wn_prog_add(p, &router, "r", 1, &op->in[1], &e) == WN_OK);
  op->w[WN_MOE_GATE] = fit(p, width, ff, n, true);
  op->w[WN_MOE_UP] = op->w[WN_MOE_GATE];
  op->w[WN_MOE_DOWN] = fit(p, ff, width, n, true);
  if (b & 4) op->w[WN_MOE_DOWN_B] = fit(p, width, n, 1, false);
  if (b & 8) op->w[WN_MOE_CHOICE_B] = fit(p, n, 1, 1, false);
  op->i[0] = 1 + (b >> 4 & 1);
  op->i[1] = (b >> 4) % WN_N_GATE;
  op->i[2] = b >> 7;
  op->i[3] = ff;
  op->f[0] = 1;
}

/* An operation that would be accepted. widths: of the values so far, as far
 * as this generator can tell; the width of the new one goes to *width. */
static wn_op tame_op(wn_prog *p, input *in, const uint32_t *widths,
                     uint32_t *slots, uint32_t *width) {
  uint32_t code = next(in) % WN_N_OPS, x = ref_of(next(in) % 8, p->n_ops);
  uint32_t w = widths[x];
  uint8_t b = next(in);
  wn_op op = wn_op_blank((wn_opcode)code, 0);
  op.in[0] = x;
  *width = w;
  switch (code) {
    case WN_OP_NORM:
      op.kind = b & 1;
      op.f[0] = 1e-5f;
      if ((b & 2) && w % 2 == 0) op.i[0] = w / 2;
      if (b & 4) op.w[0] = fit(p, b & 8 || op.i[0] == 0 ? w : w / 2, 1, 1, 0);
      break;
    case WN_OP_LINEAR:
      *width = size_of(b);
      op.w[0] = fit(p, w, *width + 2, 1, true);
      if (b & 128) op.w[1] = fit(p, *width + 2, 1, 1, false);
      op.i[0] = b >> 5 & 1;
      op.i[1] = *width;
      break;
    case WN_OP_ROPE:
      op.kind = b & 1;
      op.i[0] = (b & 2) && w % 4 == 0 ? w / 2 : w;
      op.i[1] = (b & 4) && op.i[0] > 3 ? 2 : op.i[0] / 2 * 2;
      op.i[2] = 8;
      op.f[0] = 100, op.f[1] = 0.5f, op.f[2] = b & 8 ? 1 : 0, op.f[3] = 1;
      op.f[4] = 32, op.f[5] = 1;
      if (b & 16) op.w[0] = fit(p, op.i[1] / 2, 1, 1, false);
      break;
    case WN_OP_ATTEND: {
      fit_attend(p, in, &op, (*slots)++, w);
      *width = widths[op.in[0]];
      break;
    }
    case WN_OP_ACT:
      op.kind = b % WN_ACT_N_UNARY;
      break;
    case WN_OP_GLU:
      op.kind = b % WN_ACT_N;
      op.in[1] = x;
      if (op.kind == WN_ACT_SWIGLU_OAI) op.f[0] = 1.7f, op.f[1] = 7;
      break;
    case WN_OP_ADD:
    case WN_OP_MUL:
      op.in[1] = ref_of(b % 8, p->n_ops);
      if (widths[op.in[1]] != w) op.in[1] = x;
      break;
    case WN_OP_SCALE:
    case WN_OP_SOFTCAP:
      op.f[0] = 0.75f;
      break;
    case WN_OP_MOE:
      fit_moe(p, in, &op, x, w);
      break;
    default: /* embed */
      op.in[0] = WN_NONE;
      op.kind = b % WN_N_EMBED;
      *width = size_of(b >> 4);
      op.w[0] = fit(p, *width, CTX + 2, 1, true);
      break;
  }
  return op;
}

static void add_ops(wn_prog *p, input *in) {
  uint32_t widths[2 * MAX_OPS + 1] = {8}, slots = 0, id, width;
  wn_err e;
  wn_op op = wn_op_blank(WN_OP_EMBED, WN_EMBED_TOKEN);
  op.w[0] = fit(p, 8, 16, 1, true);
  must(wn_prog_add(p, &op, "x", 1, &id, &e) == WN_OK);
  for (int i = 0; i < MAX_OPS && in->n != 0; i++) {
    bool wild = next(in) % 16 == 15;
    width = 8;
    op = wild ? wild_op(p, in) : tame_op(p, in, widths, &slots, &width);
    must(wn_prog_add(p, &op, "o", 1, &id, &e) == WN_OK);
    if (op.code == WN_OP_MOE && id > 0) widths[id - 1] = 1;
    widths[id] = width;
  }
}

/* Small values; the same for every weight, which is as good as any. */
static float values[VALUES];

static void fill_values(void) {
  uint32_t x = 1;
  for (int i = 0; i < VALUES; i++) {
    x = x * 1664525u + 1013904223u;
    values[i] = (float)(x >> 8) / 16777216.0f - 0.5f;
  }
}

static void bind(const wn_prog *p, wn_bound *b, int *types) {
  for (uint32_t i = 0; i < p->n_weights; i++) {
    const wn_weight *w = &p->weights[i];
    must(wn_weight_values(w) <= VALUES);
    types[i] = WN_TYPE_F32;
    b[i] = (wn_bound){.type = WN_TYPE_F32, .vec = values};
    b[i].data = (const uint8_t *)values;
    b[i].row_bytes = 4 * (size_t)w->ne[0];
    b[i].matrix_bytes = b[i].row_bytes * w->ne[1];
    b[i].decode = wn_decode_best(WN_TYPE_F32, WN_ISA_REF);
  }
}

/* One machine: a grouping, a plan, memory. */
typedef struct machine {
  wn_sched *s;
  wn_plan *plan;
  wn_cache cache;
  uint8_t *arena, *members;
  uint32_t past;
} machine;

static bool start(machine *m, const wn_prog *p, const int *types, bool fuse,
                  int threads) {
  wn_err e;
  wn_plan_opts o = {BATCH, BATCH, CTX, threads, types};
  memset(m, 0, sizeof *m);
  must(wn_sched_new(p, fuse, &m->s, &e) == WN_OK);
  must(wn_plan_new(p, m->s, &o, &m->plan, &e) == WN_OK);
  must(wn_cache_plan(p, 1, CTX, WN_TYPE_F16, WN_TYPE_F32, &m->cache, &e) ==
       WN_OK);
  must(wn_cache_alloc(&m->cache, &e) == WN_OK);
  m->arena = wn_calloc(WN_MEM_RUN, 1, m->plan->arena_bytes);
  m->members = wn_calloc(WN_MEM_RUN, (size_t)threads, m->plan->member_bytes);
  return m->arena != NULL && m->members != NULL;
}

static void stop(machine *m) {
  wn_sched_free(m->s);
  wn_plan_free(m->plan);
  wn_cache_free(&m->cache);
  wn_free(m->arena);
  wn_free(m->members);
}

/* Runs n tokens; returns the rows of the result. */
static uint32_t step(machine *m, const wn_prog *p, const wn_bound *bound,
                     uint32_t n, int threads, const float **rows) {
  static const int32_t ids[BATCH] = {0, 1, 0, 2};
  int32_t tokens[BATCH];
  uint32_t pos[BATCH], seq[BATCH] = {0}, end[BATCH], out[BATCH];
  wn_frame f = {.p = p, .s = m->s, .plan = m->plan, .bound = bound};
  for (uint32_t i = 0; i < n; i++) {
    tokens[i] = ids[i] < (int32_t)p->n_vocab ? ids[i] : 0;
    pos[i] = m->past + i;
    end[i] = m->past + n;
    out[i] = i;
  }
  f.vec = wn_vec_get();
  f.arena = m->arena, f.members = m->members, f.slots = m->cache.slots;
  f.type_k = m->cache.type_k, f.type_v = m->cache.type_v;
  f.n_tokens = n, f.tokens = tokens, f.pos = pos, f.seq = seq, f.end = end;
  f.n_out = p->result_kind == WN_RESULT_LOGITS ? n : 0, f.out_rows = out;
  wn_pool_run(threads, wn_exec_task, &f);
  m->past += n;
  *rows = wn_exec_result(&f, 0);
  return n;
}

static bool same(float a, float b) {
  return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

/* Runs the program in two ways side by side. */
static void compare(const wn_prog *p, const wn_bound *bound, const int *types,
                    int threads) {
  machine a, b;
  uint32_t most = p->n_positions < CTX ? p->n_positions : CTX;
  bool ok = start(&a, p, types, true, threads);
  ok = start(&b, p, types, false, 1) && ok;
  while (ok && a.past < most && (p->causal || a.past == 0)) {
    uint32_t n = a.past == 0 ? BATCH : 1;
    if (n > most) n = most;
    const float *x, *y;
    uint32_t rows = step(&a, p, bound, n, threads, &x);
    step(&b, p, bound, n, 1, &y);
    for (size_t i = 0; i < (size_t)rows * p->widths[p->result]; i++)
      must(same(x[i], y[i]));
  }
  stop(&a);
  stop(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static bool ready;
  input in = {data, n};
  wn_err e = {0};
  wn_prog *p = NULL;
  char line[512];
  if (!ready) {
    fill_values();
    wn_pool_enter();
    ready = true;
  }
  uint8_t how = next(&in);
  wn_result kind = how & 1 ? WN_RESULT_EMBEDDINGS : WN_RESULT_LOGITS;
  must(wn_prog_new(&p, &e) == WN_OK);
  add_weights(p, &in);
  add_ops(p, &in);
  for (uint32_t i = 0; i < p->n_ops; i++)
    must(wn_prog_line(p, i, line, sizeof line) > 0);
  if (wn_prog_finish(p, p->n_ops - 1, kind, &e) == WN_OK) {
    wn_bound bound[MAX_WEIGHTS];
    int types[MAX_WEIGHTS];
    bind(p, bound, types);
    compare(p, bound, types, how % 16 == 2 ? 3 : 1);
  } else {
    must(strncmp(e.msg, "program: ", 9) == 0);
  }
  wn_prog_unref(p);
  return 0;
}
