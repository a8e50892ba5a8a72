/* saved.c - see saved.h. */
#include "run/saved.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/arith.h"
#include "base/digest.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/save.h"
#include "run/batch.h"
#include "run/state.h"

enum {
  MAGIC_BYTES = 8,
  HEAD_BYTES = MAGIC_BYTES + 16 + 4 * 4,
  SEQ_BYTES = 4 + 4 + 8,
  TAIL_BYTES = 16,
  SAMPLE_BYTES = 1024 /* of a weight, at its beginning, middle and end */
};

#define MOST_GAIN 1e6F /* of an adapter */

/* ---- the model */

static void add_text(wn_digest *d, const char *s) {
  wn_digest_add(d, s, strlen(s) + 1);
}

static void add_program(wn_digest *d, const wn_prog *p) {
  char line[1024];
  for (uint32_t i = 0; i < p->n_ops; i++) {
    wn_prog_line(p, i, line, sizeof line);
    add_text(d, line);
  }
}

static void add_sample(wn_digest *d, const uint8_t *p, size_t n) {
  size_t part = n < SAMPLE_BYTES ? n : SAMPLE_BYTES;
  wn_digest_add(d, p, part);
  wn_digest_add(d, p + (n - part) / 2, part);
  wn_digest_add(d, p + (n - part), part);
}

static void add_weight(wn_digest *d, const wn_prog *p, const wn_bound *b,
                       uint32_t i) {
  const wn_weight *w = &p->weights[i];
  uint32_t type = (uint32_t)b->type;
  add_text(d, wn_prog_str(p, w->name));
  wn_digest_add(d, &type, sizeof type);
  wn_digest_add(d, w->ne, sizeof w->ne);
  if (b->vec != NULL)
    add_sample(d, (const uint8_t *)b->vec,
               (size_t)wn_weight_values(w) * sizeof *b->vec);
  else
    add_sample(d, b->data, b->row_bytes * w->ne[1] * w->ne[2]);
}

static wn_digest_value model_digest(const wn_model *m) {
  const wn_prog *p = wn_model_prog(m);
  wn_digest d;
  wn_digest_init(&d);
  add_program(&d, p);
  for (uint32_t i = 0; i < p->n_weights; i++)
    add_weight(&d, p, &wn_model_bound(m)[i], i);
  return wn_digest_end(&d);
}

/* ---- saving */

typedef struct out {
  wn_put_fn put;
  void *arg;
  wn_digest d;
  int rc;
  wn_err *e;
} out;

static void put(out *o, const void *p, size_t n) {
  if (o->rc != WN_OK) return;
  wn_digest_add(&o->d, p, n);
  o->rc = o->put(o->arg, p, n, o->e);
}

static void put_u32(out *o, uint32_t v) {
  uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16),
                  (uint8_t)(v >> 24)};
  put(o, b, sizeof b);
}

static void put_u64(out *o, uint64_t v) {
  put_u32(o, (uint32_t)v);
  put_u32(o, (uint32_t)(v >> 32));
}

static bool put_region(void *arg, uint8_t *p, size_t n) {
  put(arg, p, n);
  return true;
}

static bool add_region(void *arg, uint8_t *p, size_t n) {
  (void)p;
  *(uint64_t *)arg += n;
  return true;
}

static uint64_t data_bytes(wn_ctx *c, uint32_t seq, uint32_t n) {
  uint64_t sum = 0;
  wn_state_visit(wn_ctx_state(c), seq, n, add_region, &sum);
  return sum;
}

/* Is this sequence among those asked for? */
static bool is_meant(wn_ctx *c, uint32_t which, uint32_t seq) {
  return which == seq || (which == WN_SAVED_ALL && wn_ctx_n_past(c, seq) != 0);
}

/* Bytes of a sequence's factors. */
static uint64_t gain_bytes(const wn_ctx *c) {
  return 4 * (uint64_t)wn_model_prog(wn_ctx_model(c))->n_gains;
}

uint64_t wn_saved_bytes(wn_ctx *c, uint32_t which) {
  uint64_t sum = HEAD_BYTES + TAIL_BYTES;
  for (uint32_t s = 0; s < wn_ctx_n_seq(c); s++) {
    if (!is_meant(c, which, s)) continue;
    uint32_t n = wn_ctx_n_past(c, s);
    sum += SEQ_BYTES + 4 * (uint64_t)n + gain_bytes(c) + data_bytes(c, s, n);
  }
  return sum;
}

static void put_seq(out *o, wn_ctx *c, uint32_t s) {
  uint32_t n = wn_ctx_n_past(c, s);
  const int32_t *ids = wn_ctx_held(c, s);
  put_u32(o, s);
  put_u32(o, n);
  put_u64(o, data_bytes(c, s, n));
  for (uint32_t i = 0; i < n; i++)
    put_u32(o, (uint32_t)ids[i]);
  put(o, wn_ctx_gains(c, s), (size_t)gain_bytes(c));
  wn_state_visit(wn_ctx_state(c), s, n, put_region, o);
}

static void put_head(out *o, wn_ctx *c, uint32_t n_seqs) {
  const wn_state *k = wn_ctx_state(c);
  wn_digest_value m = model_digest(wn_ctx_model(c));
  put(o, WN_SAVED_MAGIC, MAGIC_BYTES);
  put_u64(o, m.lo);
  put_u64(o, m.hi);
  put_u32(o, (uint32_t)k->type_k.type);
  put_u32(o, (uint32_t)k->type_v.type);
  put_u32(o, wn_ctx_is_long(c));
  put_u32(o, n_seqs);
}

static int check_which(wn_ctx *c, uint32_t which, wn_err *e) {
  if (which == WN_SAVED_ALL || which < wn_ctx_n_seq(c)) return WN_OK;
  return wn_fail(e, WN_EARG, "sequence %u of %u", which + 1, wn_ctx_n_seq(c));
}

int wn_saved_put(wn_ctx *c, uint32_t which, wn_put_fn fn, void *arg,
                 wn_err *e) {
  out o = {.put = fn, .arg = arg, .e = e};
  uint32_t n = 0;
  if (check_which(c, which, e) != WN_OK) return e->code;
  wn_digest_init(&o.d);
  for (uint32_t s = 0; s < wn_ctx_n_seq(c); s++)
    n += is_meant(c, which, s);
  put_head(&o, c, n);
  for (uint32_t s = 0; s < wn_ctx_n_seq(c); s++)
    if (is_meant(c, which, s)) put_seq(&o, c, s);
  wn_digest_value sum = wn_digest_end(&o.d);
  put_u64(&o, sum.lo);
  put_u64(&o, sum.hi);
  return o.rc;
}

/* ---- loading */

typedef struct in {
  const uint8_t *p;
  size_t n, at;
} in;

/* n bytes, or NULL when there are not so many. */
static const uint8_t *get(in *i, uint64_t n) {
  if (n > i->n - i->at) return NULL;
  const uint8_t *p = i->p + i->at;
  i->at += (size_t)n;
  return p;
}

static uint32_t u32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
         (uint32_t)p[3] << 24;
}
static uint64_t u64(const uint8_t *p) {
  return u32(p) | (uint64_t)u32(p + 4) << 32;
}

static int damaged(wn_err *e, const char *what) {
  return wn_fail(e, WN_EFORMAT, "saved state: %s", what);
}

static int check_whole(const uint8_t *p, size_t n, wn_err *e) {
  wn_digest d;
  if (n < MAGIC_BYTES || memcmp(p, WN_SAVED_MAGIC, MAGIC_BYTES - 1) != 0)
    return damaged(e, "this is none");
  if (p[MAGIC_BYTES - 1] != WN_SAVED_MAGIC[MAGIC_BYTES - 1])
    return damaged(e, "of another version");
  if (n < HEAD_BYTES + TAIL_BYTES) return damaged(e, "it ends too early");
  wn_digest_init(&d);
  wn_digest_add(&d, p, n - TAIL_BYTES);
  wn_digest_value sum = wn_digest_end(&d);
  if (u64(p + n - 16) != sum.lo || u64(p + n - 8) != sum.hi)
    return damaged(e, "it is damaged or ends too early");
  return WN_OK;
}

/* The head behind the magic. *n_seqs: sequences that follow. */
static int check_head(wn_ctx *c, in *i, uint32_t *n_seqs, wn_err *e) {
  const wn_state *k = wn_ctx_state(c);
  const uint8_t *p = get(i, HEAD_BYTES);
  wn_digest_value m = model_digest(wn_ctx_model(c));
  p += MAGIC_BYTES;
  if (u64(p) != m.lo || u64(p + 8) != m.hi)
    return wn_fail(e, WN_EUNSUP, "saved state: of another model");
  if (u32(p + 16) != (uint32_t)k->type_k.type ||
      u32(p + 20) != (uint32_t)k->type_v.type)
    return wn_fail(e, WN_EUNSUP,
                   "saved state: its cache has other types than this "
                   "context's (option kv)");
  if (u32(p + 24) != (uint32_t)wn_ctx_is_long(c))
    return wn_fail(e, WN_EUNSUP,
                   "saved state: made for contexts of another length (the "
                   "rotation of positions differs)");
  *n_seqs = u32(p + 28);
  return WN_OK;
}

typedef struct saved_seq {
  uint32_t seq, n;
  const uint8_t *ids, *gains, *data;
} saved_seq;

static int check_ids(wn_ctx *c, const saved_seq *s, wn_err *e) {
  uint32_t n_vocab = wn_model_prog(wn_ctx_model(c))->n_vocab;
  for (uint32_t i = 0; i < s->n; i++)
    if (u32(s->ids + 4 * (size_t)i) >= n_vocab)
      return damaged(e, "a token is not of the vocabulary");
  return WN_OK;
}

/* The bytes may lie anywhere: one at a time. */
static float gain_at(const saved_seq *s, uint32_t i) {
  float f;
  memcpy(&f, s->gains + 4 * (size_t)i, sizeof f);
  return f;
}

static int check_gains(wn_ctx *c, const saved_seq *s, wn_err *e) {
  for (uint32_t i = 0; i < gain_bytes(c) / 4; i++)
    if (!(gain_at(s, i) >= -MOST_GAIN && gain_at(s, i) <= MOST_GAIN))
      return damaged(e, "a factor of an adapter is out of range");
  return WN_OK;
}

/* One sequence, checked; nothing is changed. */
static int read_seq(wn_ctx *c, uint32_t which, in *i, saved_seq *s, wn_err *e) {
  const uint8_t *p = get(i, SEQ_BYTES);
  if (p == NULL) return damaged(e, "a sequence is missing");
  *s = (saved_seq){u32(p), u32(p + 4), NULL, NULL, NULL};
  uint64_t n_data = u64(p + 8);
  if (which != WN_SAVED_ALL) s->seq = which;
  if (s->seq >= wn_ctx_n_seq(c))
    return wn_fail(e, WN_EUNSUP,
                   "saved state: it has sequence %u, this context %u",
                   s->seq + 1, wn_ctx_n_seq(c));
  if (s->n > wn_ctx_n_ctx(c))
    return wn_fail(e, WN_EUNSUP,
                   "saved state: a sequence of %u tokens, this context has "
                   "room for %u",
                   s->n, wn_ctx_n_ctx(c));
  if (n_data != data_bytes(c, s->seq, s->n))
    return damaged(e, "a sequence has another size than its tokens");
  s->ids = get(i, 4 * (uint64_t)s->n);
  s->gains = s->ids != NULL ? get(i, gain_bytes(c)) : NULL;
  s->data = s->gains != NULL ? get(i, n_data) : NULL;
  if (s->data == NULL) return damaged(e, "it ends too early");
  if (wn_batch_runs_at(wn_ctx_batch(c), s->seq))
    return wn_fail(e, WN_EBUSY, "sequence %u is busy", s->seq + 1);
  int rc = check_ids(c, s, e);
  return rc == WN_OK ? check_gains(c, s, e) : rc;
}

static bool get_region(void *arg, uint8_t *p, size_t n) {
  const uint8_t **from = arg;
  memcpy(p, *from, n);
  *from += n;
  return true;
}

static void take_seq(wn_ctx *c, const saved_seq *s) {
  const uint8_t *data = s->data;
  wn_state_visit(wn_ctx_state(c), s->seq, s->n, get_region, &data);
  for (uint32_t i = 0; i < s->n; i++)
    wn_ctx_hold(c, s->seq, i, (int32_t)u32(s->ids + 4 * (size_t)i));
  wn_ctx_held_n(c, s->seq, s->n);
  wn_ctx_set_gains(c, s->seq, s->gains);
}

/* Goes over the sequences, which were checked if `take` is set. */
static int each(wn_ctx *c, uint32_t which, in i, uint32_t n_seqs, bool take,
                wn_err *e) {
  uint32_t before = 0;
  for (uint32_t k = 0; k < n_seqs; k++) {
    saved_seq s = {0};
    int rc = read_seq(c, which, &i, &s, e);
    if (rc != WN_OK) return rc;
    if (k > 0 && s.seq <= before) return damaged(e, "sequences out of order");
    before = s.seq;
    if (take) take_seq(c, &s);
  }
  return i.at == i.n ? WN_OK : damaged(e, "it is too long");
}

int wn_saved_take(wn_ctx *c, uint32_t which, const uint8_t *p, size_t n,
                  wn_err *e) {
  in i = {p, n, 0};
  uint32_t n_seqs = 0;
  int rc = check_which(c, which, e);
  if (rc == WN_OK) rc = check_whole(p, n, e);
  if (rc == WN_OK) i.n -= TAIL_BYTES;
  if (rc == WN_OK) rc = check_head(c, &i, &n_seqs, e);
  if (rc == WN_OK && which != WN_SAVED_ALL && n_seqs != 1)
    rc = wn_fail(e, WN_EUNSUP, "saved state: it has %u sequences, wanted one",
                 n_seqs);
  if (rc == WN_OK) rc = each(c, which, i, n_seqs, false, e);
  for (uint32_t s = 0; s < wn_ctx_n_seq(c) && rc == WN_OK; s++)
    if (which == WN_SAVED_ALL && wn_batch_runs_at(wn_ctx_batch(c), s))
      rc = wn_fail(e, WN_EBUSY, "sequence %u is busy", s + 1);
  if (rc != WN_OK) return rc;
  for (uint32_t s = 0; s < wn_ctx_n_seq(c); s++)
    if (which == WN_SAVED_ALL) wn_ctx_held_n(c, s, 0);
  return each(c, which, i, n_seqs, true, e);
}

/* ---- files */

static int put_file(void *arg, const void *p, size_t n, wn_err *e) {
  return wn_save_write(arg, p, n, e);
}

int wn_saved_write(wn_ctx *c, uint32_t which, const char *path, bool overwrite,
                   wn_err *e) {
  wn_save *f = NULL;
  int rc = check_which(c, which, e);
  if (rc != WN_OK) return rc;
  wn_save_opts o = {.overwrite = overwrite, .bytes = wn_saved_bytes(c, which)};
  rc = wn_save_open(path, &o, &f, e);
  if (rc != WN_OK) return rc;
  rc = wn_saved_put(c, which, put_file, f, e);
  if (rc == WN_OK) return wn_save_commit(f, e);
  wn_save_abort(f, false);
  return rc;
}

/* More than a state of this context can have is none: so large a file is not
 * read. */
static int check_size(wn_ctx *c, uint64_t n, wn_err *e) {
  uint64_t most = wn_ctx_cache_bytes(c), ids = 0;
  if (!wn_mul(wn_ctx_n_seq(c),
              4 * (uint64_t)wn_ctx_n_ctx(c) + SEQ_BYTES + gain_bytes(c),
              &ids) ||
      !wn_add(most, ids, &most) ||
      !wn_add(most, HEAD_BYTES + TAIL_BYTES, &most) || n > most)
    return wn_fail(e, WN_EUNSUP,
                   "saved state: %llu bytes, more than this context can hold",
                   (unsigned long long)n);
  return WN_OK;
}

static int read_all(wn_ctx *c, int fd, uint8_t **p, size_t *n, wn_err *e) {
  struct stat st;
  if (wn_os_fstat(fd, &st) != 0) return wn_fail_sys(e, errno, "stat");
  if (!S_ISREG(st.st_mode)) return wn_fail(e, WN_EFORMAT, "not a regular file");
  int rc = check_size(c, (uint64_t)st.st_size, e);
  if (rc != WN_OK) return rc;
  *n = (size_t)st.st_size;
  *p = wn_alloc(WN_MEM_RUN, *n);
  if (*p == NULL) return wn_fail(e, WN_ENOMEM, "no memory for %zu bytes", *n);
  int64_t got = wn_os_pread(fd, *p, *n, 0);
  if (got < 0) return wn_fail_sys(e, errno, "read");
  *n = (size_t)got;
  return WN_OK;
}

int wn_saved_read(wn_ctx *c, uint32_t which, const char *path, wn_err *e) {
  uint8_t *p = NULL;
  size_t n = 0;
  /* a pipe must not make the host wait for a writer */
  int fd = wn_os_open(path, O_RDONLY | O_NONBLOCK, 0);
  if (fd < 0) {
    wn_fail_sys(e, errno, "open");
    return wn_fail_in(e, path);
  }
  int rc = read_all(c, fd, &p, &n, e);
  wn_os_close(fd);
  if (rc == WN_OK) rc = wn_saved_take(c, which, p, n, e);
  wn_free(p);
  return rc == WN_OK || rc == WN_EARG ? rc : wn_fail_in(e, path);
}
