/* tap.c - see run/tap.h: finding the stages, holding the sums. */
#include "run/tap.h"

#include <string.h>

#include "base/arith.h"
#include "base/mem.h"
#include "graph/op.h"

/* Does operation i, in stage st, multiply weight w by the stage's input? */
static bool op_uses(const wn_prog *p, const wn_stage *st, uint32_t i,
                    uint32_t w) {
  unsigned taps = wn_desc(p, i)->taps[st->phase];
  for (int k = 0; k < WN_OP_WEIGHTS; k++)
    if ((taps >> k & 1) != 0 && p->ops[i].w[k] == w) return true;
  return false;
}

static bool stage_uses(const wn_prog *p, const wn_stage *st, uint32_t w) {
  if (st->kind == WN_STAGE_MAIN) return op_uses(p, st, st->op, w);
  if (st->kind != WN_STAGE_MATRIX) return false;
  for (uint32_t b = 0; b < st->n_bundles; b++)
    for (uint32_t k = 0; k < st->bundles[b].n_parts; k++)
      if (op_uses(p, st, st->bundles[b].parts[k], w)) return true;
  return false;
}

bool wn_watch_has(const wn_watch *w, const wn_tap_item *t, uint32_t weight) {
  const wn_model *m = wn_ctx_model(w->ctx);
  const wn_stage *st = &wn_model_sched(m)->stages[t->stage];
  return stage_uses(wn_model_prog(m), st, weight);
}

static bool stage_wanted(const wn_prog *p, const wn_stage *st,
                         bool (*wants)(void *arg, const char *name),
                         void *arg) {
  for (uint32_t w = 0; w < p->n_weights; w++)
    if (stage_uses(p, st, w) && wants(arg, wn_prog_str(p, p->weights[w].name)))
      return true;
  return false;
}

/* Sizes and memory of one item. */
static int make_item(wn_watch *w, uint32_t stage, const wn_watch_opts *o,
                     wn_err *e) {
  const wn_prog *p = wn_model_prog(wn_ctx_model(w->ctx));
  const wn_stage *st = &wn_model_sched(wn_ctx_model(w->ctx))->stages[stage];
  wn_tap_item *t = &w->tap.items[w->tap.n_items++];
  uint64_t sums, cap = wn_ctx_n_batch(w->ctx), values;
  t->stage = stage;
  wn_tap_shape shape;
  wn_stage_desc(p, st)->tap_shape(p, st, &shape);
  t->n = shape.n;
  t->n_experts = shape.n_experts;
  cap *= shape.per_row;
  if (!wn_mul(t->n, t->n_experts, &sums) || !wn_mul(cap, t->n, &values) ||
      cap > UINT32_MAX || values > SIZE_MAX / sizeof(float))
    return wn_fail(e, WN_ELIMIT, "tap: inputs are too large");
  t->cap = (uint32_t)cap;
  t->counts = wn_calloc(WN_MEM_RUN, t->n_experts, sizeof *t->counts);
  t->starts = wn_calloc(WN_MEM_RUN, t->n_experts + 1u, sizeof *t->starts);
  bool fine = t->counts != NULL && t->starts != NULL;
  if (o->squares)
    t->squares = wn_calloc(WN_MEM_RUN, (size_t)sums, sizeof *t->squares);
  if (o->sizes)
    t->sizes = wn_calloc(WN_MEM_RUN, (size_t)sums, sizeof *t->sizes);
  if (o->rows) t->rows = wn_alloc(WN_MEM_RUN, (size_t)values * sizeof(float));
  fine = fine && (!o->squares || t->squares) && (!o->sizes || t->sizes) &&
         (!o->rows || t->rows);
  return fine ? WN_OK : wn_fail(e, WN_ENOMEM, "tap: out of memory");
}

/* -- edges ---------------------------------------------------------------- */

/* Does a step compute with a weight whose name starts with `prefix`? Looking
 * up tokens is not meant: a tied embedding is used at both ends. */
static bool step_uses(const wn_prog *p, uint32_t op, const char *prefix) {
  const wn_op *o = &p->ops[op];
  if (o->code == WN_OP_EMBED) return false;
  for (uint32_t k = 0; k < WN_OP_WEIGHTS; k++)
    if (o->w[k] != WN_NONE && strncmp(wn_prog_str(p, p->weights[o->w[k]].name),
                                      prefix, strlen(prefix)) == 0)
      return true;
  return false;
}

static bool stage_matches(const wn_prog *p, const wn_stage *st,
                          const char *prefix) {
  if (st->op != WN_NONE && step_uses(p, st->op, prefix)) return true;
  for (uint32_t k = 0; k < st->n_pros; k++)
    if (step_uses(p, st->pros[k].op, prefix)) return true;
  for (uint32_t b = 0; b < st->n_bundles; b++) {
    const wn_bundle *bn = &st->bundles[b];
    for (uint32_t k = 0; k < bn->n_parts; k++)
      if (step_uses(p, bn->parts[k], prefix)) return true;
    for (uint32_t k = 0; k < bn->n_epis; k++)
      if (step_uses(p, bn->epis[k].op, prefix)) return true;
  }
  return false;
}

static void note_read(void *arg, uint32_t v) {
  ((uint8_t *)arg)[v] = 1;
}

/* The values that live between stage t->stage and those before it. */
static int find_values(const wn_prog *p, const wn_sched *s, wn_tap_edge *t,
                       wn_err *e) {
  uint8_t *is_read = wn_calloc(WN_MEM_RUN, p->n_ops, 1);
  t->values = wn_calloc(WN_MEM_RUN, p->n_ops, sizeof *t->values);
  if (is_read == NULL || t->values == NULL) {
    wn_free(is_read);
    return wn_fail(e, WN_ENOMEM, "tap: out of memory");
  }
  for (uint32_t i = t->stage; i < s->n_stages; i++)
    wn_stage_reads(p, &s->stages[i], note_read, is_read);
  for (uint32_t v = 0; v < p->n_ops; v++)
    if (is_read[v] && s->stage_of[v] < t->stage) {
      t->values[t->n_values++] = v;
      t->width += p->widths[v];
    }
  wn_free(is_read);
  return WN_OK;
}

/* The edge before the first stage that uses weights of this prefix. */
static int make_edge(wn_watch *w, const char *prefix, wn_tap_edge *t,
                     wn_err *e) {
  const wn_prog *p = wn_model_prog(wn_ctx_model(w->ctx));
  const wn_sched *s = wn_model_sched(wn_ctx_model(w->ctx));
  uint64_t values;
  uint32_t i = 0;
  while (i < s->n_stages && !stage_matches(p, &s->stages[i], prefix))
    i++;
  if (i == s->n_stages)
    return wn_fail(e, WN_EARG, "tap: no stage uses weights of %s", prefix);
  t->stage = i;
  int rc = find_values(p, s, t, e);
  if (rc != WN_OK) return rc;
  t->cap = wn_ctx_n_batch(w->ctx);
  if (!wn_mul(t->cap, t->width, &values) || values > SIZE_MAX / sizeof(float))
    return wn_fail(e, WN_ELIMIT, "tap: the edge is too wide");
  t->rows = wn_alloc(WN_MEM_RUN, (size_t)values * sizeof(float) + 1);
  if (t->rows == NULL) return wn_fail(e, WN_ENOMEM, "tap: out of memory");
  return WN_OK;
}

static int make_items(wn_watch *w, const wn_watch_opts *o,
                      bool (*wants)(void *arg, const char *name), void *arg,
                      wn_err *e) {
  const wn_prog *p = wn_model_prog(wn_ctx_model(w->ctx));
  const wn_sched *s = wn_model_sched(wn_ctx_model(w->ctx));
  w->tap.items = wn_calloc(WN_MEM_RUN, s->n_stages, sizeof *w->tap.items);
  if (w->tap.items == NULL) return wn_fail(e, WN_ENOMEM, "tap: out of memory");
  w->tap.stop = o->stop;
  for (uint32_t i = 0; i < s->n_stages; i++) {
    if (!stage_wanted(p, &s->stages[i], wants, arg)) continue;
    int rc = make_item(w, i, o, e);
    if (rc != WN_OK) return rc;
  }
  if (w->tap.n_items != 0) return WN_OK;
  return wn_fail(e, WN_EARG, "tap: no matrix of these names has an input");
}

int wn_watch_new(wn_ctx *c, const wn_watch_opts *o,
                 bool (*wants)(void *arg, const char *name), void *arg,
                 wn_watch **out, wn_err *e) {
  if (wn_ctx_tap(c) != NULL)
    return wn_fail(e, WN_EARG, "the context is watched already");
  wn_watch *w = wn_calloc(WN_MEM_RUN, 1, sizeof *w);
  if (w == NULL) return wn_fail(e, WN_ENOMEM, "tap: out of memory");
  w->refs = 1;
  w->ctx = wn_ctx_ref(c);
  int rc = make_items(w, o, wants, arg, e);
  if (rc == WN_OK && o->enter != NULL) {
    w->tap.enter = &w->enter;
    rc = make_edge(w, o->enter, &w->enter, e);
  }
  if (rc == WN_OK && o->leave != NULL) {
    w->tap.leave = &w->leave;
    rc = make_edge(w, o->leave, &w->leave, e);
  }
  if (rc != WN_OK) {
    wn_watch_unref(w);
    return rc;
  }
  wn_ctx_set_tap(c, &w->tap);
  *out = w;
  return WN_OK;
}

void wn_watch_unref(wn_watch *w) {
  if (w == NULL || __atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL) != 0)
    return;
  if (wn_ctx_tap(w->ctx) == &w->tap) wn_ctx_set_tap(w->ctx, NULL);
  for (uint32_t i = 0; i < w->tap.n_items; i++) {
    wn_tap_item *t = &w->tap.items[i];
    wn_free(t->squares);
    wn_free(t->sizes);
    wn_free(t->counts);
    wn_free(t->rows);
    wn_free(t->starts);
  }
  wn_free(w->tap.items);
  wn_free(w->enter.values);
  wn_free(w->enter.rows);
  wn_free(w->leave.values);
  wn_free(w->leave.rows);
  wn_ctx_unref(w->ctx);
  wn_free(w);
}

void wn_watch_reset(wn_watch *w) {
  for (uint32_t i = 0; i < w->tap.n_items; i++) {
    wn_tap_item *t = &w->tap.items[i];
    size_t n = (size_t)t->n * t->n_experts;
    if (t->squares != NULL) memset(t->squares, 0, n * sizeof *t->squares);
    if (t->sizes != NULL) memset(t->sizes, 0, n * sizeof *t->sizes);
    memset(t->counts, 0, t->n_experts * sizeof *t->counts);
    t->n_rows = 0;
  }
}
