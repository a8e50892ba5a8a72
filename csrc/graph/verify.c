/* verify.c - which programs may run.
 *
 * One pass over the operations, one function per opcode. Each checks that its
 * inputs are values made earlier, that widths fit together and to the
 * declared shapes of weights, that immediates are finite and in range, and
 * computes the width of the value it makes. Unused fields must be blank, so
 * that two programs that look alike are alike. Nothing behind this file
 * checks again: the executor has only asserts. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "graph/prog.h"
#include "kern/vec.h"

typedef struct checker {
  wn_prog *p;
  uint32_t at; /* index of the operation in hand */
  const wn_op *op;
  wn_err *e;
} checker;

/* "op 12 (linear blk.0.attn_q): reason" */
__attribute__((format(printf, 2, 3))) static int bad(checker *c,
                                                     const char *fmt, ...) {
  char why[256];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  return wn_fail(c->e, WN_EFORMAT, "program: op %u (%s %s): %s", c->at,
                 wn_op_name(c->op->code), wn_prog_str(c->p, c->op->name), why);
}

/* The first n inputs are values made earlier, the others are blank. */
static int check_ins(checker *c, int n) {
  for (int k = 0; k < WN_OP_INS; k++) {
    uint32_t in = c->op->in[k];
    if (k >= n && in != WN_NONE)
      return bad(c, "takes %d inputs, input %d is set", n, k + 1);
    if (k < n && in >= c->at)
      return bad(c, "input %d is value %u, want one made before", k + 1, in);
  }
  return WN_OK;
}

/* Weights: bit k of `must` and `may` says which may or must be there. */
static int check_weights(checker *c, unsigned must, unsigned may) {
  for (int k = 0; k < WN_OP_WEIGHTS; k++) {
    uint32_t w = c->op->w[k];
    if (w == WN_NONE) {
      if ((must >> k & 1) != 0) return bad(c, "weight %d is missing", k + 1);
    } else if (((must | may) >> k & 1) == 0) {
      return bad(c, "weight %d is set, but not used", k + 1);
    } else if (w >= c->p->n_weights) {
      return bad(c, "weight %d is number %u of %u", k + 1, w, c->p->n_weights);
    }
  }
  return WN_OK;
}

/* The first n_i integers and n_f floats are in use, the others zero; floats
 * are finite. */
static int check_imms(checker *c, int n_i, int n_f) {
  for (int k = 0; k < WN_OP_INTS; k++)
    if (k >= n_i && c->op->i[k] != 0)
      return bad(c, "integer %d is set, but not used", k + 1);
  for (int k = 0; k < WN_OP_FLOATS; k++) {
    if (!isfinite(c->op->f[k])) return bad(c, "number %d is not finite", k + 1);
    if (k >= n_f && c->op->f[k] != 0)
      return bad(c, "number %d is set, but not used", k + 1);
  }
  return WN_OK;
}

static int check_kind(checker *c, int n) {
  if (c->op->kind >= n) return bad(c, "kind %u of %d", c->op->kind, n);
  return WN_OK;
}

/* All four checks; the first that fails. */
static int check_form(checker *c, int n_kinds, int n_in, unsigned must,
                      unsigned may, int n_i, int n_f) {
  int rc = check_kind(c, n_kinds);
  if (rc == WN_OK) rc = check_ins(c, n_in);
  if (rc == WN_OK) rc = check_weights(c, must, may);
  if (rc == WN_OK) rc = check_imms(c, n_i, n_f);
  return rc;
}

static uint32_t in_width(const checker *c, int k) {
  return c->p->widths[c->op->in[k]];
}

/* Weight k, when present, is a matrix of ne0 x ne1 x ne2. */
static int check_matrix(checker *c, int k, uint32_t ne0, uint32_t ne1,
                        uint32_t ne2) {
  if (c->op->w[k] == WN_NONE) return WN_OK;
  const wn_weight *w = &c->p->weights[c->op->w[k]];
  const char *name = wn_prog_str(c->p, w->name);
  if (!w->matrix) return bad(c, "%s is declared as a vector", name);
  if (w->ne[0] == ne0 && w->ne[1] == ne1 && w->ne[2] == ne2) return WN_OK;
  return bad(c, "%s is declared %u x %u x %u, want %u x %u x %u", name,
             w->ne[0], w->ne[1], w->ne[2], ne0, ne1, ne2);
}

/* Weight k, when present, is a vector of n values, in any shape. */
static int check_vector(checker *c, int k, uint64_t n) {
  if (c->op->w[k] == WN_NONE) return WN_OK;
  const wn_weight *w = &c->p->weights[c->op->w[k]];
  const char *name = wn_prog_str(c->p, w->name);
  if (w->matrix) return bad(c, "%s is declared as a matrix", name);
  if (wn_weight_values(w) == n) return WN_OK;
  return bad(c, "%s has %llu values, want %llu", name,
             (unsigned long long)wn_weight_values(w), (unsigned long long)n);
}

/* Width of the value made here. */
static int make(checker *c, uint32_t width) {
  if (width == 0 || width > (uint32_t)WN_MAX_WIDTH)
    return bad(c, "width %u, want 1 to %lld", width, (long long)WN_MAX_WIDTH);
  c->p->widths[c->at] = width;
  return WN_OK;
}

static const wn_weight *weight(const checker *c, int k) {
  return &c->p->weights[c->op->w[k]];
}

static int v_embed(checker *c) {
  int rc = check_form(c, WN_N_EMBED, 0, 1, 0, 1, 0);
  if (rc != WN_OK) return rc;
  const wn_weight *w = weight(c, 0);
  rc = check_matrix(c, 0, w->ne[0], w->ne[1], 1);
  if (rc != WN_OK) return rc;
  if (c->op->kind != WN_EMBED_ROW && c->op->i[0] != 0)
    return bad(c, "a row is given, but not used");
  if (c->op->kind == WN_EMBED_ROW && c->op->i[0] >= w->ne[1])
    return bad(c, "row %u of %u", c->op->i[0], w->ne[1]);
  uint32_t *rows = c->op->kind == WN_EMBED_TOKEN      ? &c->p->n_vocab
                   : c->op->kind == WN_EMBED_POSITION ? &c->p->n_positions
                                                      : NULL;
  if (rows != NULL && w->ne[1] < *rows) *rows = w->ne[1];
  return make(c, w->ne[0]);
}

static int v_norm(checker *c) {
  int rc = check_form(c, WN_N_NORM, 1, 0, 3, 1, 1);
  if (rc != WN_OK) return rc;
  uint32_t width = in_width(c, 0), group = c->op->i[0];
  if (group == 0) group = width;
  if (width % group != 0)
    return bad(c, "width %u is not a multiple of the group, %u", width, group);
  if (!(c->op->f[0] > 0) || c->op->f[0] > 1)
    return bad(c, "eps %g, want more than 0 and at most 1",
               (double)c->op->f[0]);
  for (int k = 0; k < 2; k++) {
    if (c->op->w[k] == WN_NONE) continue;
    bool whole = wn_weight_values(weight(c, k)) == width;
    rc = check_vector(c, k, whole ? width : group);
    if (rc != WN_OK) return rc;
  }
  return make(c, width);
}

static int v_linear(checker *c) {
  int rc = check_form(c, 1, 1, 1, 2, 2, 0);
  if (rc != WN_OK) return rc;
  const wn_weight *w = weight(c, 0);
  uint32_t all = w->ne[1], row0 = c->op->i[0], rows = c->op->i[1];
  rc = check_matrix(c, 0, in_width(c, 0), all, 1);
  if (rc == WN_OK) rc = check_vector(c, 1, all);
  if (rc != WN_OK) return rc;
  if (rows == 0 || !wn_inside(row0, rows, all))
    return bad(c, "rows %u to %u of %u", row0, row0 + rows, all);
  return make(c, rows);
}

static int v_rope(checker *c) {
  int rc = check_form(c, WN_N_ROPE, 1, 0, 3, 3, 6);
  if (rc != WN_OK) return rc;
  uint32_t width = in_width(c, 0), head = c->op->i[0], rot = c->op->i[1];
  const float *f = c->op->f;
  if (head == 0 || width % head != 0)
    return bad(c, "heads of %u values in a row of %u", head, width);
  if (rot == 0 || rot % 2 != 0 || rot > head)
    return bad(c, "rotates %u values, want an even number up to %u", rot, head);
  if (!(f[0] > 0) || !(f[1] > 0) || !(f[3] > 0))
    return bad(c, "base %g, scale %g, magnitude %g: want more than 0",
               (double)f[0], (double)f[1], (double)f[3]);
  if (f[2] != 0 && (!(f[0] > 1) || !(f[4] > 0) || !(f[5] > 0) ||
                    c->op->i[2] == 0 || f[2] < 0 || f[2] > 1))
    return bad(c,
               "YaRN with base %g, bounds %g and %g, strength %g, "
               "original context %u",
               (double)f[0], (double)f[4], (double)f[5], (double)f[2],
               c->op->i[2]);
  if (c->op->w[1] != WN_NONE && c->op->w[0] == WN_NONE)
    return bad(c, "long factors without short ones");
  for (int k = 0; k < 2 && rc == WN_OK; k++)
    rc = check_vector(c, k, rot / 2);
  return rc == WN_OK ? make(c, width) : rc;
}

/* The slot of an attend: new, or refused. Slots are numbered in order. */
static int add_slot(checker *c, wn_slot slot) {
  wn_prog *p = c->p;
  if (c->op->i[0] != p->n_slots)
    return bad(c, "cache slot %u, want %u", c->op->i[0], p->n_slots);
  if (p->n_slots >= (uint32_t)WN_MAX_LAYERS)
    return bad(c, "more than %lld cache slots", (long long)WN_MAX_LAYERS);
  p->slots[p->n_slots++] = slot;
  return WN_OK;
}

static int v_attend(checker *c) {
  int rc = check_form(c, WN_N_ATTEND, 3, 0, 1, 4, 2);
  if (rc != WN_OK) return rc;
  uint32_t q = in_width(c, 0), k = in_width(c, 1), v = in_width(c, 2);
  uint32_t n = c->op->i[1], n_kv = c->op->i[2];
  if (n == 0 || n > (uint32_t)WN_MAX_HEADS || n_kv == 0 || n % n_kv != 0)
    return bad(c, "%u query heads over %u key heads", n, n_kv);
  if (q % n != 0 || k % n_kv != 0 || v % n_kv != 0 || q / n != k / n_kv)
    return bad(c, "widths %u, %u, %u for %u and %u heads", q, k, v, n, n_kv);
  if (!(c->op->f[0] > 0) || c->op->f[1] < 0)
    return bad(c, "scale %g, cap %g", (double)c->op->f[0], (double)c->op->f[1]);
  if (c->op->i[3] > (uint32_t)WN_MAX_CONTEXT ||
      (c->op->i[3] != 0 && c->op->kind == WN_ATTEND_FULL))
    return bad(c, "window %u", c->op->i[3]);
  rc = check_vector(c, 0, n);
  if (rc != WN_OK) return rc;
  wn_slot slot = {n_kv, k / n_kv, v / n_kv, c->op->i[3]};
  rc = add_slot(c, slot);
  if (rc != WN_OK) return rc;
  if (c->op->kind == WN_ATTEND_FULL) c->p->causal = false;
  return make(c, n * slot.width_v);
}

static int v_act(checker *c) {
  int rc = check_form(c, WN_ACT_N_UNARY, 1, 0, 0, 0, 0);
  return rc == WN_OK ? make(c, in_width(c, 0)) : rc;
}

/* Two inputs of one width. */
static int check_same(checker *c) {
  if (in_width(c, 0) == in_width(c, 1)) return WN_OK;
  return bad(c, "widths %u and %u, want the same", in_width(c, 0),
             in_width(c, 1));
}

/* Alpha and limit of a gate, f[at] and f[at + 1]. */
static int check_gate(checker *c, int at) {
  float alpha = c->op->f[at], limit = c->op->f[at + 1];
  bool uses = c->op->kind == WN_ACT_SWIGLU_OAI;
  if (uses ? !(limit > 0) : alpha != 0 || limit != 0)
    return bad(c, "alpha %g, limit %g", (double)alpha, (double)limit);
  return WN_OK;
}

static int v_glu(checker *c) {
  int rc = check_form(c, WN_ACT_N, 2, 0, 0, 0, 2);
  if (rc == WN_OK) rc = check_same(c);
  if (rc == WN_OK) rc = check_gate(c, 0);
  return rc == WN_OK ? make(c, in_width(c, 0)) : rc;
}

static int v_add(checker *c) {
  int rc = check_form(c, 1, 2, 0, 0, 0, 0);
  if (rc == WN_OK) rc = check_same(c);
  return rc == WN_OK ? make(c, in_width(c, 0)) : rc;
}

static int v_scale(checker *c) {
  int rc = check_form(c, 1, 1, 0, 0, 0, 1);
  return rc == WN_OK ? make(c, in_width(c, 0)) : rc;
}

static int v_softcap(checker *c) {
  int rc = check_form(c, 1, 1, 0, 0, 0, 1);
  if (rc != WN_OK) return rc;
  if (!(c->op->f[0] > 0)) return bad(c, "cap %g", (double)c->op->f[0]);
  return make(c, in_width(c, 0));
}

static int v_moe(checker *c) {
  int rc = check_form(c, WN_ACT_N, 2, 7, 0x78, 4, 3);
  if (rc == WN_OK) rc = check_gate(c, 1);
  if (rc != WN_OK) return rc;
  uint32_t width = in_width(c, 0), n = in_width(c, 1);
  uint32_t used = c->op->i[0], ff = c->op->i[3];
  if (n > (uint32_t)WN_MAX_EXPERTS || used == 0 || used > n)
    return bad(c, "uses %u of %u experts", used, n);
  if (c->op->i[1] >= WN_N_GATE || c->op->i[2] > 1)
    return bad(c, "gating %u, normalising %u", c->op->i[1], c->op->i[2]);
  if (ff == 0 || ff > (uint32_t)WN_MAX_WIDTH)
    return bad(c, "experts of width %u", ff);
  rc = check_matrix(c, WN_MOE_GATE, width, ff, n);
  if (rc == WN_OK) rc = check_matrix(c, WN_MOE_UP, width, ff, n);
  if (rc == WN_OK) rc = check_matrix(c, WN_MOE_DOWN, ff, width, n);
  uint64_t all_ff = (uint64_t)ff * n, all = (uint64_t)width * n;
  if (rc == WN_OK) rc = check_vector(c, WN_MOE_GATE_B, all_ff);
  if (rc == WN_OK) rc = check_vector(c, WN_MOE_UP_B, all_ff);
  if (rc == WN_OK) rc = check_vector(c, WN_MOE_DOWN_B, all);
  if (rc == WN_OK) rc = check_vector(c, WN_MOE_CHOICE_B, n);
  return rc == WN_OK ? make(c, width) : rc;
}

static int (*const checks[WN_N_OPS])(checker *c) = {
    [WN_OP_EMBED] = v_embed,     [WN_OP_NORM] = v_norm,
    [WN_OP_LINEAR] = v_linear,   [WN_OP_ROPE] = v_rope,
    [WN_OP_ATTEND] = v_attend,   [WN_OP_ACT] = v_act,
    [WN_OP_GLU] = v_glu,         [WN_OP_ADD] = v_add,
    [WN_OP_MUL] = v_add,         [WN_OP_SCALE] = v_scale,
    [WN_OP_SOFTCAP] = v_softcap, [WN_OP_MOE] = v_moe};

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
  checker c = {.p = p, .e = e};
  for (c.at = 0; c.at < p->n_ops; c.at++) {
    c.op = &p->ops[c.at];
    if (c.op->code >= WN_N_OPS)
      return wn_fail(e, WN_EFORMAT, "program: op %u has code %u, want 0 to %d",
                     c.at, c.op->code, WN_N_OPS - 1);
    int rc = checks[c.op->code](&c);
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
