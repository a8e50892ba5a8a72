/* print.c - the table of operations; names of operations and kinds, and a
 * program as text. */
#include <stdio.h>
#include <string.h>

#include "graph/op.h"

static const wn_op_desc *const table[WN_N_OPS] = {
#define X(id, desc) &desc,
    WN_OPS(X)
#undef X
};

const wn_op_desc *wn_op_desc_of(uint32_t code) {
  return code < WN_N_OPS ? table[code] : NULL;
}

const char *wn_op_name(uint32_t code) {
  return code < WN_N_OPS ? table[code]->name : "?";
}

const char *wn_kind_name(uint32_t code, uint32_t kind) {
  const wn_op_desc *d = wn_op_desc_of(code);
  if (d == NULL || d->kinds == NULL || kind >= (uint32_t)d->n_kinds)
    return NULL;
  return d->kinds[kind];
}

int wn_kind_of_name(uint32_t code, const char *name) {
  const wn_op_desc *d = wn_op_desc_of(code);
  for (int k = 0; d != NULL && d->kinds != NULL && k < d->n_kinds; k++)
    if (strcmp(d->kinds[k], name) == 0) return k;
  return -1;
}

/* A cursor over a buffer that may be too short: counts what did not fit. */
typedef struct out {
  char *buf;
  size_t cap, n;
} out;

__attribute__((format(printf, 2, 3))) static void put(out *o, const char *fmt,
                                                      ...) {
  va_list ap;
  va_start(ap, fmt);
  size_t room = o->n < o->cap ? o->cap - o->n : 0;
  int n = vsnprintf(room != 0 ? o->buf + o->n : NULL, room, fmt, ap);
  va_end(ap);
  if (n > 0) o->n += (size_t)n;
}

size_t wn_prog_line(const wn_prog *p, uint32_t i, char *buf, size_t cap) {
  const wn_op *op = &p->ops[i];
  const char *kind = wn_kind_name(op->code, op->kind);
  out o = {buf, cap, 0};
  if (cap != 0) buf[0] = 0;
  put(&o, "%%%u", i);
  if (p->finished) put(&o, "[%u]", p->widths[i]);
  put(&o, " = %s", wn_op_name(op->code));
  if (kind != NULL) put(&o, ".%s", kind);
  for (int k = 0; k < WN_OP_INS; k++)
    if (op->in[k] != WN_NONE) put(&o, " %%%u", op->in[k]);
  for (int k = 0; k < WN_OP_WEIGHTS; k++)
    if (op->w[k] < p->n_weights)
      put(&o, " %s", wn_prog_str(p, p->weights[op->w[k]].name));
  put(&o, " (");
  int n = WN_OP_INTS;
  while (n > 0 && op->i[n - 1] == 0)
    n--;
  for (int k = 0; k < n; k++)
    put(&o, "%s%u", k != 0 ? " " : "", op->i[k]);
  for (int k = 0; k < WN_OP_FLOATS; k++)
    if (op->f[k] != 0) put(&o, " f%d=%g", k, (double)op->f[k]);
  put(&o, ") ; %s", wn_prog_str(p, op->name));
  return o.n;
}
