/* fuzz/state.c - libFuzzer target: saved states (run/saved.h).
 *
 * A tiny model keeps one slot of every kind: all positions, a window that is a
 * ring, keys alone, a fixed state; and it has an adapter's factor. The input is
 * read as a state in two ways: as it is, and as changes to a good one, which is
 * then sealed with a right digest so that what is behind the digest is reached
 * (WILD bytes at places that the input tells, then cut or made longer).
 *
 * Whatever the bytes: they are taken, or refused with a message, and then the
 * context is to the last byte what it was. What was taken goes on for a step,
 * is cut back and copied; then the state from before is put back, exactly. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"
#include "gguf/write.h"
#include "run/ctx.h"
#include "run/saved.h"

enum { WIDTH = 32, VOCAB = 16, CTX = 144, SEQS = 3, WINDOW = 3, WILD = 24 };
enum { MAX_STATE = 1 << 17, DIGEST = 16 };

typedef struct bytes {
  uint8_t p[MAX_STATE];
  size_t n;
} bytes;

static wn_ctx *ctx;
static bytes good[4], before, now, changed;
static uint64_t blocks;

static void must(int ok) {
  if (!ok) __builtin_trap();
}

static uint64_t live_blocks(void) {
  wn_mem_stats s;
  wn_mem_get_stats(&s);
  return (uint64_t)s.blocks;
}

/* ---- the model */

static uint32_t add(wn_prog *p, wn_op op) {
  uint32_t id;
  wn_err e;
  must(wn_prog_add(p, &op, "o", 1, &id, &e) == WN_OK);
  return id;
}

static uint32_t attend(wn_prog *p, uint32_t x, uint32_t slot, uint32_t window,
                       bool values) {
  wn_op op = wn_op_blank(WN_OP_ATTEND, WN_ATTEND_CAUSAL);
  op.in[0] = op.in[1] = x;
  if (values) op.in[2] = x;
  op.i[0] = slot;
  op.i[1] = op.i[2] = 1;
  op.i[3] = window;
  op.i[4] = values ? 0 : WIDTH;
  op.f[0] = 0.5f;
  op.f[1] = op.f[2] = 0;
  return add(p, op);
}

static wn_prog *make_program(void) {
  wn_prog *p;
  wn_err e;
  uint32_t ne[3] = {WIDTH, VOCAB, 1}, w;
  must(wn_prog_new(&p, &e) == WN_OK);
  must(wn_prog_weight(p, "w", 1, ne, true, &w, &e) == WN_OK);
  wn_op embed = wn_op_blank(WN_OP_EMBED, WN_EMBED_TOKEN);
  embed.w[0] = w;
  uint32_t x = add(p, embed);
  x = attend(p, x, 0, 0, true);
  x = attend(p, x, 1, WINDOW, true);
  x = attend(p, x, 2, 0, false);
  wn_op shift = wn_op_blank(WN_OP_CONV, 1), gain = wn_op_blank(WN_OP_GAIN, 0);
  shift.in[0] = x;
  shift.i[0] = 3;
  shift.i[1] = 2;
  gain.in[0] = add(p, shift);
  gain.i[0] = 0;
  gain.f[0] = 1;
  wn_op linear = wn_op_blank(WN_OP_LINEAR, 0);
  linear.in[0] = add(p, gain);
  linear.w[0] = w;
  linear.i[0] = 0;
  linear.i[1] = VOCAB;
  x = add(p, linear);
  must(wn_prog_finish(p, x, WN_RESULT_LOGITS, &e) == WN_OK);
  return p;
}

/* Its only matrix, in a file. */
static void write_file(const char *path) {
  float w[WIDTH * VOCAB];
  wn_meta *m;
  wn_layout *l;
  wn_writer *out;
  wn_err e;
  wn_tensor t = {.name = {"w", 1},
                 .type = WN_TYPE_F32,
                 .n_dims = 2,
                 .ne = {WIDTH, VOCAB, 1, 1}};
  wn_save_opts o = {.overwrite = true};
  for (int i = 0; i < WIDTH * VOCAB; i++)
    w[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
  must(wn_meta_new(&m, &e) == WN_OK);
  must(wn_meta_set_str(m, "general.name", "tiny", 4, &e) == WN_OK);
  must(wn_layout_new(m, &t, 1, NULL, &l, &e) == WN_OK);
  must(wn_writer_open(path, l, 0, &o, &out, &e) == WN_OK);
  must(wn_writer_put(out, w, sizeof w, &e) == WN_OK);
  must(wn_writer_commit(out, &e) == WN_OK);
  wn_layout_unref(l);
  wn_meta_free(m);
}

static wn_model *make_model(void) {
  char path[] = "/tmp/wane-fuzz-XXXXXX";
  int fd = mkstemp(path);
  wn_gguf *g;
  wn_model *m;
  wn_err e;
  wn_model_opts o = {.fuse = true, .n_ctx = CTX};
  wn_prog *p = make_program();
  must(fd >= 0);
  close(fd);
  write_file(path);
  must(wn_gguf_open(path, &g, &e) == WN_OK);
  must(wn_model_load(g, p, NULL, &o, &m, &e) == WN_OK);
  unlink(path);
  wn_gguf_unref(g);
  wn_prog_unref(p);
  return m;
}

/* ---- states */

static int put(void *arg, const void *p, size_t n, wn_err *e) {
  bytes *b = arg;
  (void)e;
  must(n <= MAX_STATE - b->n);
  memcpy(b->p + b->n, p, n);
  b->n += n;
  return WN_OK;
}

static void save(bytes *b) {
  wn_err e;
  b->n = 0;
  must(wn_saved_put(ctx, WN_SAVED_ALL, put, b, &e) == WN_OK);
  must(b->n == wn_saved_bytes(ctx, WN_SAVED_ALL));
}

static bool same(const bytes *a, const bytes *b) {
  return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

/* n tokens to the end of a sequence. */
static void feed(uint32_t seq, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    int32_t id = (int32_t)((seq + i) % VOCAB);
    wn_err e;
    must(wn_ctx_step(ctx, &id, &seq, NULL, 1, &e) == WN_OK);
  }
}

/* Ends the state anew with the digest of what it is now. */
static void seal(bytes *b) {
  wn_digest d;
  if (b->n < DIGEST) return;
  wn_digest_init(&d);
  wn_digest_add(&d, b->p, b->n - DIGEST);
  wn_digest_value v = wn_digest_end(&d);
  for (int i = 0; i < 8; i++) {
    b->p[b->n - 16 + (size_t)i] = (uint8_t)(v.lo >> 8 * i);
    b->p[b->n - 8 + (size_t)i] = (uint8_t)(v.hi >> 8 * i);
  }
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  wn_model *m = make_model();
  wn_err e;
  wn_ctx_opts o = {.n_ctx = CTX,
                   .n_seq = SEQS,
                   .n_batch = 4,
                   .n_threads = 1,
                   .type_k = WN_TYPE_Q8_0,
                   .type_v = WN_TYPE_F16,
                   .n_marks = 2};
  (void)argc, (void)argv;
  must(wn_ctx_new(m, &o, &ctx, &e) == WN_OK);
  wn_model_unref(m);
  save(&good[0]);
  feed(1, 5);
  save(&good[1]);
  feed(0, 2);
  feed(2, 1);
  save(&good[2]);
  feed(1, CTX - 5); /* full, and round its ring twice */
  save(&good[3]);
  must(wn_ctx_truncate(ctx, 1, 0, &e) == WN_OK);
  save(&before);
  blocks = live_blocks();
  return 0;
}

/* ---- one state */

/* Goes on with what was taken, whatever it is. */
static void use(void) {
  wn_err e;
  for (uint32_t s = 0; s < SEQS; s++) {
    int32_t id = 3;
    uint32_t n = wn_ctx_n_past(ctx, s);
    int rc = wn_ctx_step(ctx, &id, &s, NULL, 1, &e);
    must(rc == (n < CTX ? WN_OK : WN_EARG));
    must(wn_ctx_mark(ctx, s, &e) == WN_OK);
    must(wn_ctx_truncate(ctx, s, n / 2, &e) == WN_OK);
    must((n = wn_ctx_n_past(ctx, s)) <= CTX / 2);
    must(wn_ctx_copy(ctx, s, (s + 1) % SEQS, n, &e) == WN_OK);
  }
}

static void try_state(const uint8_t *p, size_t n, uint32_t which) {
  uint8_t *exact = malloc(n > 0 ? n : 1); /* so that its end is watched */
  wn_err e = {0};
  must(exact != NULL);
  if (n > 0) memcpy(exact, p, n);
  int rc = wn_saved_take(ctx, which, exact, n, &e);
  free(exact);
  if (rc != WN_OK) {
    must(rc == e.code && e.msg[0] != 0);
    must(rc == WN_EFORMAT || rc == WN_EUNSUP);
    save(&now);
    must(same(&now, &before));
    return;
  }
  use();
  must(wn_saved_take(ctx, WN_SAVED_ALL, before.p, before.n, &e) == WN_OK);
  save(&now);
  must(same(&now, &before));
}

/* A good state with the changes that the input asks for: of each three bytes
 * the first two are a place, counted from the end where the top bit is set. */
static void change(const uint8_t *p, size_t n) {
  changed = good[n > 0 ? p[0] % 4 : 0];
  size_t end = changed.n - DIGEST;
  for (size_t i = 1, k = 0; i + 3 <= n && k < WILD; i += 3, k++) {
    size_t at = (size_t)(p[i] & 0x7F) << 8 | p[i + 1];
    at = (p[i] & 0x80) != 0 ? end - 1 - at % end : at % end;
    changed.p[at] = p[i + 2];
  }
  if (n > 1 && p[0] >= 0xF0) changed.n -= p[1] % changed.n;
  if (n > 1 && p[0] >= 0xE0 && p[0] < 0xF0) changed.n += p[1];
  seal(&changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  uint32_t which =
      n > 0 && (data[0] & 4) != 0 ? data[0] >> 3 & 1 : WN_SAVED_ALL;
  try_state(data, n, WN_SAVED_ALL);
  change(data, n);
  try_state(changed.p, changed.n, which);
  must(live_blocks() == blocks);
  return 0;
}
