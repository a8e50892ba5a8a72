/* model.c - see model.h. Each tensor is bound once, however many weights of
 * the program name it. Matrices stay in the map when there is one and their
 * data is aligned for the kernels; vectors, replaced tensors and the rest are
 * copied. */
#include "run/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/mem.h"
#include "kern/kern.h"

/* Kernels read words of this many bytes; GGUF files are aligned to 32. */
#define ALIGNMENT 32

struct wn_model {
  int refs;
  wn_gguf *g;
  wn_prog *p;
  wn_vocab *v;
  wn_sched *s;
  wn_bound *bound; /* of each weight */
  int *types;
  void **owned;     /* heap copies, by tensor of the file, then by weight */
  wn_tensor *added; /* by weight: those that only a replacement gives */
  uint32_t n_ctx;
  uint64_t weight_bytes, heap_bytes;
  bool mapped;
  wn_err map_error;
  const wn_model_opts *o; /* while loading only */
};

/* The replacement of this name, or NULL. */
static const wn_replacement *replacement_named(const wn_model *m, const char *p,
                                               size_t n) {
  for (size_t i = 0; i < m->o->n_replace; i++) {
    const char *name = m->o->replace[i].name;
    if (strlen(name) == n && memcmp(name, p, n) == 0) return &m->o->replace[i];
  }
  return NULL;
}

/* What takes the place of a tensor, or NULL. */
static const wn_replacement *replacement_of(const wn_model *m,
                                            const wn_tensor *t) {
  return replacement_named(m, t->name.p, t->name.n);
}

/* The type that a tensor has in this model. */
static int type_of(const wn_model *m, const wn_tensor *t) {
  const wn_replacement *r = replacement_of(m, t);
  return r != NULL ? r->type : (int)t->type;
}

/* "4096 x 32000" */
static const char *shape_text(char *buf, size_t cap, const uint64_t *ne,
                              uint32_t n) {
  size_t at = 0;
  buf[0] = 0;
  for (uint32_t i = 0; i < n && at < cap; i++)
    at += (size_t)snprintf(buf + at, cap - at, "%s%" PRIu64,
                           i != 0 ? " x " : "", ne[i]);
  return buf;
}

static int check_shape(const wn_prog *p, const wn_weight *w, const wn_tensor *t,
                       wn_err *e) {
  uint64_t want[3] = {w->ne[0], w->ne[1], w->ne[2]};
  uint32_t n = w->ne[2] != 1 ? 3 : w->ne[1] != 1 ? 2 : 1;
  char a[96], b[96];
  /* a fourth dimension is only more of the third */
  if (t->ne[0] == want[0] && t->ne[1] == want[1] &&
      t->ne[2] * t->ne[3] == want[2])
    return WN_OK;
  return wn_fail(e, WN_EFORMAT, "tensor %s is %s, want %s",
                 wn_prog_str(p, w->name),
                 shape_text(a, sizeof a, t->ne, t->n_dims),
                 shape_text(b, sizeof b, want, n));
}

static int check_type(const wn_prog *p, const wn_weight *w, int type,
                      wn_err *e) {
  bool plain =
      type == WN_TYPE_F32 || type == WN_TYPE_F16 || type == WN_TYPE_BF16;
  if (w->matrix ? wn_mm_supported(type) : plain) return WN_OK;
  return wn_fail(
      e, w->matrix ? WN_EUNSUP : WN_EFORMAT, "tensor %s is %s, want %s",
      wn_prog_str(p, w->name), wn_type(type)->name,
      w->matrix ? "a type that can be multiplied" : "f32, f16 or bf16");
}

/* A tensor that the file lacks and a replacement gives (adapters), or NULL. */
static const wn_tensor *add_tensor(const wn_model *m, const wn_weight *w) {
  const char *name = wn_prog_str(m->p, w->name);
  const wn_replacement *r = replacement_named(m, name, strlen(name));
  wn_err nothing;
  if (r == NULL) return NULL;
  wn_tensor *t = &m->added[w - m->p->weights];
  t->name = (wn_str){name, strlen(name)};
  t->type = r->type;
  t->n_dims = 3;
  for (int i = 0; i < 3; i++)
    t->ne[i] = w->ne[i];
  t->ne[3] = 1;
  t->n_rows = (uint64_t)w->ne[1] * w->ne[2];
  if (wn_row_bytes(r->type, w->ne[0], &t->row_bytes, &nothing) != WN_OK)
    return NULL;
  return t;
}

/* The tensor of a weight, checked. */
static int find_tensor(const wn_model *m, const wn_weight *w,
                       const wn_tensor **t, wn_err *e) {
  const char *name = wn_prog_str(m->p, w->name);
  *t = wn_gguf_find_tensor(m->g, name, strlen(name));
  if (*t == NULL) *t = add_tensor(m, w);
  if (*t == NULL) {
    uint64_t want[3] = {w->ne[0], w->ne[1], w->ne[2]};
    char b[96];
    return wn_fail(e, WN_EFORMAT, "tensor %s is missing, want %s", name,
                   shape_text(b, sizeof b, want, 3));
  }
  int rc = check_shape(m->p, w, *t, e);
  return rc == WN_OK ? check_type(m->p, w, type_of(m, *t), e) : rc;
}

/* Index of a tensor's copy: tensors of the file lie in one array, added ones
 * in another. */
static size_t index_of(const wn_model *m, const wn_tensor *t) {
  if (t >= m->added && t < m->added + m->p->n_weights)
    return wn_gguf_n_tensors(m->g) + (size_t)(t - m->added);
  return (size_t)(t - wn_gguf_tensor(m->g, 0));
}

static void *keep(wn_model *m, const wn_tensor *t, size_t n, wn_err *e) {
  void *p = wn_alloc(WN_MEM_MODEL, n);
  if (p == NULL) {
    wn_fail(e, WN_ENOMEM, "tensor %.*s: no memory for %zu bytes",
            (int)t->name.n, t->name.p, n);
    return NULL;
  }
  m->owned[index_of(m, t)] = p;
  m->heap_bytes += n;
  return p;
}

/* Bytes of one row and of the whole of a tensor in this model. */
static int sizes_of(const wn_model *m, const wn_tensor *t, uint64_t *row,
                    uint64_t *all, wn_err *e) {
  *row = t->row_bytes, *all = t->bytes;
  if (replacement_of(m, t) == NULL) return WN_OK;
  int rc = wn_row_bytes(type_of(m, t), t->ne[0], row, e);
  if (rc == WN_OK && !wn_mul(*row, t->n_rows, all))
    rc = wn_fail(e, WN_ELIMIT, "too many bytes");
  return rc;
}

/* Copies all of a tensor's bytes, from the file or from its replacement. */
static int fetch(const wn_model *m, const wn_tensor *t, void *to, size_t n,
                 wn_err *e) {
  const wn_replacement *r = replacement_of(m, t);
  if (r == NULL) return wn_gguf_read(m->g, t, 0, to, n, e);
  memcpy(to, r->data, n);
  return WN_OK;
}

static int bind_matrix(wn_model *m, const wn_tensor *t, wn_bound *b,
                       wn_err *e) {
  uint64_t row, all;
  size_t n;
  int rc = sizes_of(m, t, &row, &all, e);
  if (rc != WN_OK) return rc;
  b->type = type_of(m, t);
  b->row_bytes = (size_t)row;
  b->matrix_bytes = (size_t)(row * t->ne[1]);
  b->decode = wn_decode_best(b->type, wn_cpu_get()->isa);
  b->data = m->owned[index_of(m, t)];
  if (b->data == NULL && m->mapped && replacement_of(m, t) == NULL)
    b->data = wn_gguf_data(m->g, t);
  if (b->data != NULL && (uintptr_t)b->data % ALIGNMENT == 0) return WN_OK;
  if (!wn_size(all, &n))
    return wn_fail(e, WN_ELIMIT, "tensor %.*s: %" PRIu64 " bytes",
                   (int)t->name.n, t->name.p, all);
  void *copy = keep(m, t, n, e);
  b->data = copy;
  return copy == NULL ? WN_ENOMEM : fetch(m, t, copy, n, e);
}

static int bind_vector(wn_model *m, const wn_tensor *t, wn_bound *b,
                       wn_err *e) {
  uint64_t row, all;
  int rc = sizes_of(m, t, &row, &all, e);
  if (rc != WN_OK) return rc;
  size_t n = (size_t)(t->ne[0] * t->n_rows), raw = (size_t)all;
  float *v = m->owned[index_of(m, t)];
  b->type = WN_TYPE_F32;
  b->vec = v;
  if (v != NULL) return WN_OK;
  b->vec = v = keep(m, t, n * sizeof *v, e);
  if (v == NULL) return WN_ENOMEM;
  uint8_t *buf = wn_alloc(WN_MEM_MODEL, raw);
  if (buf == NULL) return wn_fail(e, WN_ENOMEM, "model: out of memory");
  rc = fetch(m, t, buf, raw, e);
  if (rc == WN_OK) rc = wn_decode_rows(type_of(m, t), buf, v, 1, n, e);
  wn_free(buf);
  return rc;
}

/* Is there a weight of the program for every replacement, of its shape? */
static int check_replacements(const wn_model *m, wn_err *e) {
  for (size_t i = 0; i < m->o->n_replace; i++) {
    const wn_replacement *r = &m->o->replace[i];
    const wn_weight *w = NULL;
    for (uint32_t k = 0; k < m->p->n_weights && w == NULL; k++)
      if (strcmp(wn_prog_str(m->p, m->p->weights[k].name), r->name) == 0)
        w = &m->p->weights[k];
    if (w == NULL)
      return wn_fail(e, WN_EARG, "replace: the model uses no tensor %.200s",
                     r->name);
    uint64_t rows = (uint64_t)w->ne[1] * w->ne[2];
    if (r->cols != w->ne[0] || r->rows != rows)
      return wn_fail(e, WN_EARG,
                     "replace: tensor %.120s is given as %zu rows of %zu, want "
                     "%" PRIu64 " of %u",
                     r->name, r->rows, r->cols, rows, w->ne[0]);
  }
  return WN_OK;
}

/* Sums up the bytes of all weights, checking each against its tensor, before
 * anything is mapped or allocated. */
static int check_all(wn_model *m, uint64_t max_bytes, wn_err *e) {
  for (uint32_t i = 0; i < m->p->n_weights; i++) {
    const wn_weight *w = &m->p->weights[i];
    const wn_tensor *t = NULL;
    int rc = find_tensor(m, w, &t, e);
    if (rc != WN_OK) return rc;
    uint64_t row, all;
    rc = sizes_of(m, t, &row, &all, e);
    if (rc != WN_OK) return rc;
    m->types[i] = w->matrix ? type_of(m, t) : WN_TYPE_F32;
    if (!wn_add(m->weight_bytes, all, &m->weight_bytes))
      return wn_fail(e, WN_ELIMIT, "model: weights exceed 2^64 bytes");
  }
  if (max_bytes != 0 && m->weight_bytes > max_bytes)
    return wn_fail(e, WN_ENOMEM,
                   "model: weights of %" PRIu64 " bytes, max_bytes is %" PRIu64,
                   m->weight_bytes, max_bytes);
  return WN_OK;
}

static int bind_all(wn_model *m, wn_err *e) {
  for (uint32_t i = 0; i < m->p->n_weights; i++) {
    const wn_weight *w = &m->p->weights[i];
    const wn_tensor *t = NULL;
    int rc = find_tensor(m, w, &t, e);
    if (rc == WN_OK)
      rc = w->matrix ? bind_matrix(m, t, &m->bound[i], e)
                     : bind_vector(m, t, &m->bound[i], e);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}

static bool alloc_tables(wn_model *m) {
  uint32_t n = m->p->n_weights;
  m->bound = wn_calloc(WN_MEM_MODEL, n, sizeof *m->bound);
  m->types = wn_calloc(WN_MEM_MODEL, n, sizeof *m->types);
  m->owned =
      wn_calloc(WN_MEM_MODEL, wn_gguf_n_tensors(m->g) + n, sizeof *m->owned);
  m->added = wn_calloc(WN_MEM_MODEL, n, sizeof *m->added);
  return m->bound && m->types && m->owned && m->added;
}

int wn_model_load(wn_gguf *g, wn_prog *p, wn_vocab *v, const wn_model_opts *o,
                  wn_model **out, wn_err *e) {
  if (!p->finished) return wn_fail(e, WN_EARG, "program is not finished");
  wn_model *m = wn_calloc(WN_MEM_MODEL, 1, sizeof *m);
  if (m == NULL) return wn_fail(e, WN_ENOMEM, "model: out of memory");
  m->refs = 1;
  m->g = wn_gguf_ref(g);
  m->p = wn_prog_ref(p);
  m->v = v != NULL ? wn_vocab_ref(v) : NULL;
  m->n_ctx = o->n_ctx;
  m->o = o;
  int rc = alloc_tables(m) ? check_replacements(m, e)
                           : wn_fail(e, WN_ENOMEM, "model: out of memory");
  if (rc == WN_OK) rc = check_all(m, o->max_bytes, e);
  if (rc != WN_OK) goto fail;
  m->mapped = o->map && wn_gguf_map(g, &m->map_error) == WN_OK;
  rc = bind_all(m, e);
  if (rc == WN_OK) rc = wn_sched_new(p, o->fuse, &m->s, e);
  m->o = NULL;
  if (rc != WN_OK) goto fail;
  *out = m;
  return WN_OK;
fail:
  wn_model_unref(m);
  return wn_fail_in(e, wn_gguf_path(g));
}

wn_model *wn_model_ref(wn_model *m) {
  __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
  return m;
}

void wn_model_unref(wn_model *m) {
  if (m == NULL || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) != 0)
    return;
  size_t n = wn_gguf_n_tensors(m->g) + m->p->n_weights;
  for (size_t i = 0; m->owned != NULL && i < n; i++)
    wn_free(m->owned[i]);
  wn_free(m->added);
  wn_free(m->owned);
  wn_free(m->bound);
  wn_free(m->types);
  wn_sched_free(m->s);
  wn_prog_unref(m->p);
  if (m->v != NULL) wn_vocab_unref(m->v);
  wn_gguf_unref(m->g);
  wn_free(m);
}

const wn_vocab *wn_model_vocab(const wn_model *m) {
  return m->v;
}
const wn_gguf *wn_model_gguf(const wn_model *m) {
  return m->g;
}
const wn_prog *wn_model_prog(const wn_model *m) {
  return m->p;
}
const wn_sched *wn_model_sched(const wn_model *m) {
  return m->s;
}
const wn_bound *wn_model_bound(const wn_model *m) {
  return m->bound;
}
const int *wn_model_types(const wn_model *m) {
  return m->types;
}
uint32_t wn_model_n_ctx(const wn_model *m) {
  return m->n_ctx;
}

uint32_t wn_model_n_vocab(const wn_model *m) {
  return m->p->widths[m->p->result];
}

uint64_t wn_model_weight_bytes(const wn_model *m) {
  return m->weight_bytes;
}
uint64_t wn_model_heap_bytes(const wn_model *m) {
  return m->heap_bytes;
}

bool wn_model_is_mapped(const wn_model *m, const char **why) {
  if (why != NULL) *why = m->map_error.msg;
  return m->mapped;
}
