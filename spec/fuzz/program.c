/* fuzz/program.c - libFuzzer target: random programs into the verifier.
 *
 * The bytes choose shapes of weights and then operations, from tables of
 * likely and unlikely numbers. A refused program must say which operation and
 * why. An accepted one runs on small random weights, grouped into stages and
 * literally, on one and on three threads, with a batch and then single
 * tokens: every run must be free of errors (the sanitizers watch) and give
 * the same bits. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "graph/exec.h"
#include "quant/quant.h"
#include "run/kv.h"

enum { MAX_WEIGHTS = 12, MAX_OPS = 24, CTX = 12, BATCH = 4, VALUES = 1 << 16 };

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
  uint32_t n = 1 + next(in) % MAX_WEIGHTS, id;
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

static uint32_t ref_of(uint8_t b) {
  return b == 255 ? WN_NONE : b % 32;
}

/* Fields that an operation does not use are mostly left blank, or nothing
 * would ever be accepted. */
static void add_ops(wn_prog *p, input *in) {
  wn_err e;
  uint32_t id;
  for (int i = 0; i < MAX_OPS && in->n != 0; i++) {
    wn_op op = wn_op_blank((wn_opcode)(next(in) % (WN_N_OPS + 1)), 0);
    uint8_t fields = next(in);
    op.kind = fields >> 5;
    int n_in = fields & 3, n_w = next(in), n_i = n_w >> 4 & 7;
    for (int k = 0; k < n_in; k++)
      op.in[k] = ref_of(next(in));
    for (int k = 0; k < (n_w & 7) && k < WN_OP_WEIGHTS; k++)
      op.w[k] = ref_of(next(in));
    for (int k = 0; k < n_i && k < WN_OP_INTS; k++)
      op.i[k] = int_of(next(in));
    for (int k = 0; k < (fields >> 2 & 7) && k < WN_OP_FLOATS; k++)
      op.f[k] = float_of(next(in));
    must(wn_prog_add(p, &op, "o", 1, &id, &e) == WN_OK);
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
static void compare(const wn_prog *p, const wn_bound *bound, const int *types) {
  machine a, b;
  uint32_t most = p->n_positions < CTX ? p->n_positions : CTX;
  bool ok = start(&a, p, types, true, 3);
  ok = start(&b, p, types, false, 1) && ok;
  while (ok && a.past < most && (p->causal || a.past == 0)) {
    uint32_t n = a.past == 0 ? BATCH : 1;
    if (n > most) n = most;
    const float *x, *y;
    uint32_t rows = step(&a, p, bound, n, 3, &x);
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
  wn_result kind = next(&in) & 1 ? WN_RESULT_EMBEDDINGS : WN_RESULT_LOGITS;
  must(wn_prog_new(&p, &e) == WN_OK);
  add_weights(p, &in);
  add_ops(p, &in);
  for (uint32_t i = 0; i < p->n_ops; i++)
    must(wn_prog_line(p, i, line, sizeof line) > 0);
  if (wn_prog_finish(p, p->n_ops - 1, kind, &e) == WN_OK) {
    wn_bound bound[MAX_WEIGHTS];
    int types[MAX_WEIGHTS];
    bind(p, bound, types);
    compare(p, bound, types);
  } else {
    must(strncmp(e.msg, "program: ", 9) == 0);
  }
  wn_prog_unref(p);
  return 0;
}
