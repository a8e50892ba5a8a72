/* tensor.c - tensor records, and where their data lies.
 *
 *   name: u64 length, bytes | n_dims u32 | ne[n_dims] u64 | type u32 |
 *   offset u64, from the start of the data section
 *
 * Data lies in the order of the records, each at the next multiple of the
 * alignment: neither overlaps nor gaps. That is what every writer produces
 * and what llama.cpp insists on. */
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"

static unsigned long long llu(uint64_t v) {
  return (unsigned long long)v;
}

static int check_shape(const wn_tensor *t, uint64_t *n_rows, wn_err *e) {
  uint64_t n = 1;
  if (t->n_dims == 0 || t->n_dims > (uint32_t)WN_MAX_DIMS)
    return wn_fail(e, WN_EFORMAT, "has %u dimensions, want 1 to %d", t->n_dims,
                   (int)WN_MAX_DIMS);
  for (uint32_t i = 0; i < t->n_dims; i++) {
    if (t->ne[i] == 0 || t->ne[i] > INT64_MAX)
      return wn_fail(e, WN_EFORMAT, "dimension %u is %lld, want at least 1",
                     i + 1, (long long)t->ne[i]);
  }
  for (uint32_t i = 0; i < t->n_dims; i++)
    if (!wn_mul(n, t->ne[i], &n) || n >= (uint64_t)WN_MAX_ELEMENTS)
      return wn_fail(e, WN_ELIMIT, "has too many elements, want less than %lld",
                     (long long)WN_MAX_ELEMENTS);
  *n_rows = n / t->ne[0];
  return WN_OK;
}

int wn_tensor_check(wn_tensor *t, wn_err *e) {
  int rc = check_shape(t, &t->n_rows, e);
  if (rc != WN_OK) return rc;
  if ((rc = wn_row_bytes(t->type, t->ne[0], &t->row_bytes, e)) != WN_OK)
    return rc;
  if (!wn_mul(t->n_rows, t->row_bytes, &t->bytes))
    return wn_fail(e, WN_ELIMIT, "has too many bytes");
  return WN_OK;
}

/* The dimensions; those that are not there are 1. */
static int take_shape(wn_parse *p, wn_tensor *t) {
  int rc = wn_take_u32(p, &t->n_dims);
  for (int i = 0; i < 4; i++)
    t->ne[i] = 1;
  if (rc != WN_OK) return rc;
  if (t->n_dims == 0 || t->n_dims > (uint32_t)WN_MAX_DIMS)
    return wn_parse_fail(p, WN_EFORMAT, "has %u dimensions, want 1 to %d",
                         t->n_dims, (int)WN_MAX_DIMS);
  for (uint32_t i = 0; i < t->n_dims && rc == WN_OK; i++)
    rc = wn_take_u64(p, &t->ne[i]);
  return rc;
}

static int parse_tensor(wn_parse *p, wn_tensor *t) {
  uint32_t type = 0;
  wn_err e = {0};
  int rc = wn_take_name(p, WN_MAX_NAME_BYTES, "tensor name");
  if (rc != WN_OK) return rc;
  if ((rc = take_shape(p, t)) != WN_OK) return rc;
  if ((rc = wn_take_u32(p, &type)) != WN_OK) return rc;
  if ((rc = wn_take_u64(p, &t->off)) != WN_OK) return rc;
  if (type > INT32_MAX)
    return wn_parse_fail(p, WN_EUNSUP, "type %u is unknown", type);
  t->type = (int)type;
  t->shard = (uint32_t)(p->s - p->g->shards);
  if (p->g->look && wn_type(t->type) == NULL) {
    p->g->strangers = true; /* its bytes: when the next one has a place */
    rc = check_shape(t, &t->n_rows, &e);
  } else {
    rc = wn_tensor_check(t, &e);
  }
  if (rc != WN_OK) return wn_parse_fail(p, rc, "%s", e.msg);
  t->name.p = (const char *)p->s->img + p->where.name_off;
  t->name.n = p->where.name_n;
  return WN_OK;
}

/* Room for n more tensors in the list of all files. */
static int reserve(wn_parse *p, size_t n) {
  wn_gguf *g = p->g;
  if (n > (size_t)WN_MAX_TENSORS - g->n_tensors)
    return wn_parse_fail(p, WN_ELIMIT, "the files have more than %lld tensors",
                         (long long)WN_MAX_TENSORS);
  if (g->n_tensors + n <= g->cap_tensors) return WN_OK;
  size_t cap = g->n_tensors + n;
  if (cap < 2 * g->cap_tensors) cap = 2 * g->cap_tensors;
  wn_tensor *t = wn_realloc(WN_MEM_GGUF, g->tensors, cap * sizeof *t);
  if (t == NULL) return wn_parse_fail(p, WN_ENOMEM, "out of memory");
  g->tensors = t;
  g->cap_tensors = cap;
  return WN_OK;
}

static int index_tensor(wn_parse *p, size_t i) {
  wn_gguf *g = p->g;
  size_t dup;
  int rc = wn_index_add(&g->tensor_index, g->tensors, sizeof *g->tensors, i,
                        &dup, p->e);
  if (rc != WN_OK || dup == SIZE_MAX) return rc;
  return wn_parse_fail(p, WN_EFORMAT, "tensor %zu has the same name as %zu",
                       i + 1, dup + 1);
}

int wn_parse_tensors(wn_parse *p) {
  wn_gguf *g = p->g;
  p->where = (wn_where){.what = "tensor"};
  int rc = reserve(p, (size_t)p->n_tensors);
  if (rc != WN_OK) return rc;
  for (uint64_t i = 0; i < p->n_tensors; i++) {
    wn_tensor *t = &g->tensors[g->n_tensors];
    memset(t, 0, sizeof *t);
    p->where.number = i + 1;
    p->where.named = false;
    if ((rc = parse_tensor(p, t)) != WN_OK) return rc;
    g->n_tensors++; /* from now on its name moves with the image */
    p->s->n_tensors++;
    if ((rc = index_tensor(p, g->n_tensors - 1)) != WN_OK) return rc;
  }
  return WN_OK;
}

/* A tensor of unknown type reaches up to the next one, or to the end. */
static void stretch(wn_parse *p, wn_tensor *t, const wn_tensor *next) {
  uint64_t end = p->s->bytes - p->s->data_off; /* padding ends in the file */
  if (p->s->data_off > p->s->bytes) end = 0;
  if (next != NULL) end = next->off;
  t->bytes = end > t->off ? end - t->off : 0;
}

/* Tensor t, whose data should begin at *expect of the data section, gets its
 * place in the file; *expect moves on to the next multiple. */
static int place_tensor(wn_parse *p, wn_tensor *t, uint64_t *expect) {
  uint64_t start, end, data = p->s->data_off;
  if (!wn_add(data, t->off, &start) || !wn_add(start, t->bytes, &end) ||
      !wn_pad(end, p->s->alignment, &(uint64_t){0}))
    return wn_parse_fail(p, WN_ELIMIT, "data ends beyond 2^64: offset %llu",
                         llu(t->off));
  if (t->off % p->s->alignment != 0)
    return wn_parse_fail(p, WN_EFORMAT,
                         "offset is %llu, want a multiple of %llu", llu(t->off),
                         llu(p->s->alignment));
  if (end > p->s->bytes)
    return wn_parse_fail(p, WN_ETRUNC,
                         "data ends at byte %llu, the file at %llu", llu(end),
                         llu(p->s->bytes));
  if (t->off != *expect)
    return wn_parse_fail(p, WN_EFORMAT, "offset is %llu, want %llu: data %s",
                         llu(t->off), llu(*expect),
                         t->off < *expect ? "overlaps" : "leaves a gap");
  /* neither can fail: end <= bytes of a file, and its pad was checked */
  if (!wn_pad(t->off + t->bytes, p->s->alignment, expect))
    return wn_parse_fail(p, WN_ELIMIT, "data is too long");
  t->off = start;
  return WN_OK;
}

int wn_place_tensors(wn_parse *p) {
  wn_gguf *g = p->g;
  wn_shard *s = p->s;
  uint64_t expect = 0;
  s->data_off = s->header_bytes;
  if (s->n_tensors == 0) return WN_OK;
  p->where = (wn_where){.what = "header"};
  if (!wn_pad(s->header_bytes, s->alignment, &s->data_off))
    return wn_parse_fail(p, WN_ELIMIT, "header is too long");
  p->where.what = "tensor";
  for (size_t i = s->first; i < g->n_tensors; i++) {
    wn_tensor *t = &g->tensors[i];
    p->where.number = i - s->first + 1;
    p->where.name_off = (size_t)(t->name.p - (const char *)s->img);
    p->where.name_n = t->name.n;
    p->where.named = true;
    if (wn_type(t->type) == NULL)
      stretch(p, t, i + 1 < g->n_tensors ? t + 1 : NULL);
    int rc = place_tensor(p, t, &expect);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}
