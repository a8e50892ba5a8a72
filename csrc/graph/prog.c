/* prog.c - see prog.h. Growing arrays; no checks of meaning (verify.c). */
#include "graph/prog.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

int wn_prog_new(wn_prog **out, wn_err *e) {
  wn_prog *p = wn_calloc(WN_MEM_GRAPH, 1, sizeof *p);
  if (p == NULL) return wn_fail(e, WN_ENOMEM, "program: out of memory");
  p->refs = 1;
  *out = p;
  return WN_OK;
}

wn_prog *wn_prog_ref(wn_prog *p) {
  __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
  return p;
}

void wn_prog_unref(wn_prog *p) {
  if (p == NULL || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) != 0)
    return;
  wn_free(p->ops);
  wn_free(p->weights);
  wn_free(p->strings);
  wn_free(p->widths);
  wn_free(p->slots);
  wn_free(p);
}

/* Makes room for `more` elements behind the n that *array holds. */
static int reserve(void **array, uint32_t n, uint32_t *cap, uint32_t more,
                   size_t elem, wn_err *e) {
  if (more <= *cap - n) return WN_OK;
  uint64_t want = (uint64_t)n + more;
  if (want < 2 * (uint64_t)*cap) want = 2 * (uint64_t)*cap;
  if (want < 64) want = 64;
  if (want > UINT32_MAX)
    return wn_fail(e, WN_ELIMIT, "program: more than 4 GiB of one kind");
  void *q = wn_realloc(WN_MEM_GRAPH, *array, (size_t)want * elem);
  if (q == NULL) return wn_fail(e, WN_ENOMEM, "program: out of memory");
  *array = q;
  *cap = (uint32_t)want;
  return WN_OK;
}

/* Stores a terminated copy of n bytes; *off is its place. */
static int add_string(wn_prog *p, const char *s, size_t n, uint32_t *off,
                      wn_err *e) {
  if (n > (size_t)WN_MAX_NAME_BYTES || memchr(s, 0, n) != NULL)
    return wn_fail(e, WN_ELIMIT,
                   "program: a name has %zu bytes or a NUL, want at most "
                   "%lld bytes of text",
                   n, (long long)WN_MAX_NAME_BYTES);
  int rc = reserve((void **)&p->strings, p->n_strings, &p->cap_strings,
                   (uint32_t)n + 1, 1, e);
  if (rc != WN_OK) return rc;
  memcpy(p->strings + p->n_strings, s, n);
  p->strings[p->n_strings + n] = 0;
  *off = p->n_strings;
  p->n_strings += (uint32_t)n + 1;
  return WN_OK;
}

static int refuse_finished(const wn_prog *p, wn_err *e) {
  if (!p->finished) return WN_OK;
  return wn_fail(e, WN_EARG, "program is finished: nothing can be added");
}

int wn_prog_weight(wn_prog *p, const char *name, size_t n, const uint32_t ne[3],
                   bool matrix, uint32_t *id, wn_err *e) {
  int rc = refuse_finished(p, e);
  if (rc != WN_OK) return rc;
  if (p->n_weights >= (uint32_t)WN_MAX_TENSORS)
    return wn_fail(e, WN_ELIMIT, "program: more than %lld weights",
                   (long long)WN_MAX_TENSORS);
  rc = reserve((void **)&p->weights, p->n_weights, &p->cap_weights, 1,
               sizeof *p->weights, e);
  if (rc != WN_OK) return rc;
  wn_weight w = {.matrix = matrix};
  memcpy(w.ne, ne, sizeof w.ne);
  rc = add_string(p, name, n, &w.name, e);
  if (rc != WN_OK) return rc;
  *id = p->n_weights;
  p->weights[p->n_weights++] = w;
  return WN_OK;
}

int wn_prog_add(wn_prog *p, const wn_op *op, const char *name, size_t n,
                uint32_t *id, wn_err *e) {
  int rc = refuse_finished(p, e);
  if (rc != WN_OK) return rc;
  if (p->n_ops >= (uint32_t)WN_MAX_OPS)
    return wn_fail(e, WN_ELIMIT, "program: more than %lld operations",
                   (long long)WN_MAX_OPS);
  rc = reserve((void **)&p->ops, p->n_ops, &p->cap_ops, 1, sizeof *p->ops, e);
  if (rc != WN_OK) return rc;
  wn_op copy = *op;
  rc = add_string(p, name, n, &copy.name, e);
  if (rc != WN_OK) return rc;
  *id = p->n_ops;
  p->ops[p->n_ops++] = copy;
  return WN_OK;
}

wn_op wn_op_blank(wn_opcode code, uint16_t kind) {
  wn_op op = {.code = (uint16_t)code, .kind = kind};
  for (int k = 0; k < WN_OP_INS; k++)
    op.in[k] = WN_NONE;
  for (int k = 0; k < WN_OP_WEIGHTS; k++)
    op.w[k] = WN_NONE;
  return op;
}
