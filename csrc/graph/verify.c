/* verify.c - which programs may run.
 *
 * One pass over the operations. How many inputs, weights and immediates an
 * operation has is in its descriptor (op.h) and checked here; what must hold
 * besides is the descriptor's function: that widths fit together and to the
 * declared shapes of weights, that immediates are in range; it also gives the
 * width of the value made. Unused fields must be blank, so that two programs
 * that look alike are alike. Nothing behind this file checks again: the
 * executor has only asserts. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "graph/op.h"

int wn_bad(wn_checker *c, const char *fmt, ...) {
  char why[256];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  return wn_fail(c->e, WN_EFORMAT, "program: op %u (%s %s): %s", c->at,
                 wn_op_name(c->op->code), wn_prog_str(c->p, c->op->name), why);
}

/* The first inputs are values made earlier, the others are blank. */
static int check_ins(wn_checker *c, const wn_op_desc *d) {
  for (int k = 0; k < WN_OP_INS; k++) {
    uint32_t in = c->op->in[k];
    if (k >= d->n_in && in != WN_NONE)
      return wn_bad(c, "takes %d inputs, input %d is set", d->n_in, k + 1);
    bool may_lack = d->least_in != 0 && k >= d->least_in;
    if (k < d->n_in && in >= c->at && !(may_lack && in == WN_NONE))
      return wn_bad(c, "input %d is value %u, want one made before", k + 1, in);
  }
  return WN_OK;
}

static int check_weights(wn_checker *c, const wn_op_desc *d) {
  for (int k = 0; k < WN_OP_WEIGHTS; k++) {
    uint32_t w = c->op->w[k];
    if (w == WN_NONE) {
      if ((d->must >> k & 1) != 0)
        return wn_bad(c, "weight %d is missing", k + 1);
    } else if (((d->must | d->may) >> k & 1) == 0) {
      return wn_bad(c, "weight %d is set, but not used", k + 1);
    } else if (w >= c->p->n_weights) {
      return wn_bad(c, "weight %d is number %u of %u", k + 1, w,
                    c->p->n_weights);
    }
  }
  return WN_OK;
}

/* Immediates that are not in use are zero; numbers are finite. */
static int check_imms(wn_checker *c, const wn_op_desc *d) {
  for (int k = 0; k < WN_OP_INTS; k++)
    if (k >= d->n_i && c->op->i[k] != 0)
      return wn_bad(c, "integer %d is set, but not used", k + 1);
  for (int k = 0; k < WN_OP_FLOATS; k++) {
    if (!isfinite(c->op->f[k]))
      return wn_bad(c, "number %d is not finite", k + 1);
    if (k >= d->n_f && c->op->f[k] != 0)
      return wn_bad(c, "number %d is set, but not used", k + 1);
  }
  return WN_OK;
}

static int check_form(wn_checker *c, const wn_op_desc *d) {
  int n_kinds = d->kinds != NULL ? d->n_kinds : 1;
  if (c->op->kind >= n_kinds)
    return wn_bad(c, "kind %u of %d", c->op->kind, n_kinds);
  int rc = check_ins(c, d);
  if (rc == WN_OK) rc = check_weights(c, d);
  if (rc == WN_OK) rc = check_imms(c, d);
  return rc;
}

/* -- for the operations' own checks --------------------------------------- */

uint32_t wn_in_width(const wn_checker *c, int k) {
  return c->p->widths[c->op->in[k]];
}

const wn_weight *wn_weight_of(const wn_checker *c, int k) {
  return &c->p->weights[c->op->w[k]];
}

int wn_check_matrix(wn_checker *c, int k, uint32_t ne0, uint32_t ne1,
                    uint32_t ne2) {
  if (c->op->w[k] == WN_NONE) return WN_OK;
  const wn_weight *w = wn_weight_of(c, k);
  const char *name = wn_prog_str(c->p, w->name);
  if (!w->matrix) return wn_bad(c, "%s is declared as a vector", name);
  if (w->ne[0] == ne0 && w->ne[1] == ne1 && w->ne[2] == ne2) return WN_OK;
  return wn_bad(c, "%s is declared %u x %u x %u, want %u x %u x %u", name,
                w->ne[0], w->ne[1], w->ne[2], ne0, ne1, ne2);
}

int wn_check_vector(wn_checker *c, int k, uint64_t n) {
  if (c->op->w[k] == WN_NONE) return WN_OK;
  const wn_weight *w = wn_weight_of(c, k);
  const char *name = wn_prog_str(c->p, w->name);
  if (w->matrix) return wn_bad(c, "%s is declared as a matrix", name);
  if (wn_weight_values(w) == n) return WN_OK;
  return wn_bad(c, "%s has %llu values, want %llu", name,
                (unsigned long long)wn_weight_values(w), (unsigned long long)n);
}

int wn_check_same(wn_checker *c) {
  if (wn_in_width(c, 0) == wn_in_width(c, 1)) return WN_OK;
  return wn_bad(c, "widths %u and %u, want the same", wn_in_width(c, 0),
                wn_in_width(c, 1));
}

int wn_check_gate(wn_checker *c, int at) {
  float alpha = c->op->f[at], limit = c->op->f[at + 1];
  bool uses = c->op->kind == WN_ACT_SWIGLU_OAI;
  if (uses ? !(limit > 0) : alpha != 0 || limit != 0)
    return wn_bad(c, "alpha %g, limit %g", (double)alpha, (double)limit);
  return WN_OK;
}

int wn_check_slot(wn_checker *c, wn_slot slot) {
  wn_prog *p = c->p;
  if (c->op->i[0] != p->n_slots)
    return wn_bad(c, "cache slot %u, want %u", c->op->i[0], p->n_slots);
  if (p->n_slots >= (uint32_t)WN_MAX_LAYERS)
    return wn_bad(c, "more than %lld cache slots", (long long)WN_MAX_LAYERS);
  p->slots[p->n_slots++] = slot;
  return WN_OK;
}

int wn_make(wn_checker *c, uint32_t width) {
  if (width == 0 || width > (uint32_t)WN_MAX_WIDTH)
    return wn_bad(c, "width %u, want 1 to %lld", width,
                  (long long)WN_MAX_WIDTH);
  c->p->widths[c->at] = width;
  return WN_OK;
}

/* -- the program ---------------------------------------------------------- */

/* Shapes of weights: each dimension at least 1, a row within the limit. */
static int check_declared(const wn_prog *p, wn_err *e) {
  for (uint32_t i = 0; i < p->n_weights; i++) {
    const wn_weight *w = &p->weights[i];
    uint64_t n = w->ne[0];
    bool fits = n != 0 && n <= (uint64_t)WN_MAX_WIDTH && w->ne[1] != 0 &&
                w->ne[1] <= (uint32_t)WN_MAX_WIDTH && w->ne[2] != 0 &&
                wn_mul(n, w->ne[1], &n) && wn_mul(n, w->ne[2], &n) &&
                n < (uint64_t)WN_MAX_ELEMENTS;
    if (!fits)
      return wn_fail(e, WN_EFORMAT, "program: weight %s is %u x %u x %u",
                     wn_prog_str(p, w->name), w->ne[0], w->ne[1], w->ne[2]);
  }
  return WN_OK;
}

static int check_ops(wn_prog *p, wn_err *e) {
  wn_checker c = {.p = p, .e = e};
  for (c.at = 0; c.at < p->n_ops; c.at++) {
    c.op = &p->ops[c.at];
    if (c.op->code >= WN_N_OPS)
      return wn_fail(e, WN_EFORMAT, "program: op %u has code %u, want 0 to %d",
                     c.at, c.op->code, WN_N_OPS - 1);
    const wn_op_desc *d = wn_desc(p, c.at);
    int rc = check_form(&c, d);
    if (rc == WN_OK) rc = d->verify(&c);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}

/* The result exists, and a token is read somewhere. */
static int check_result(wn_prog *p, uint32_t result, wn_result kind,
                        wn_err *e) {
  if (result >= p->n_ops)
    return wn_fail(e, WN_EFORMAT, "program: the result is value %u of %u",
                   result, p->n_ops);
  if (kind != WN_RESULT_LOGITS && kind != WN_RESULT_EMBEDDINGS)
    return wn_fail(e, WN_EFORMAT, "program: result kind %d", (int)kind);
  if (p->n_vocab == UINT32_MAX || p->n_vocab > (uint32_t)WN_MAX_VOCAB)
    return wn_fail(e, WN_EFORMAT,
                   "program: no token embedding, or one of more than %lld rows",
                   (long long)WN_MAX_VOCAB);
  return WN_OK;
}

int wn_prog_finish(wn_prog *p, uint32_t result, wn_result kind, wn_err *e) {
  if (p->finished) return wn_fail(e, WN_EARG, "program is finished already");
  wn_free(p->widths);
  wn_free(p->slots);
  p->n_slots = 0;
  p->n_gains = 0;
  p->n_vocab = p->n_positions = UINT32_MAX;
  p->causal = true;
  p->widths = wn_calloc(WN_MEM_GRAPH, p->n_ops, sizeof *p->widths);
  p->slots = wn_calloc(WN_MEM_GRAPH, (size_t)WN_MAX_LAYERS, sizeof *p->slots);
  if (p->widths == NULL || p->slots == NULL)
    return wn_fail(e, WN_ENOMEM, "program: out of memory");
  int rc = check_declared(p, e);
  if (rc == WN_OK) rc = check_ops(p, e);
  if (rc == WN_OK) rc = check_result(p, result, kind, e);
  if (rc != WN_OK) return rc;
  p->result = result;
  p->result_kind = kind;
  p->finished = true;
  return WN_OK;
}
