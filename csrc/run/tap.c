/* tap.c - see run/tap.h: finding the stages, holding the sums. */
#include "run/tap.h"

#include <string.h>

#include "base/arith.h"
#include "base/mem.h"

/* Does operation i, in stage st, multiply weight w by the stage's input? */
static bool op_uses(const wn_prog *p, const wn_stage *st, uint32_t i,
                    uint32_t w) {
  const wn_op *op = &p->ops[i];
  if (op->code == WN_OP_LINEAR) return op->w[0] == w;
  if (op->code != WN_OP_MOE) return false;
  if (st->kind == WN_STAGE_EXPERTS_DOWN) return op->w[WN_MOE_DOWN] == w;
  return op->w[WN_MOE_GATE] == w || op->w[WN_MOE_UP] == w;
}

static bool stage_uses(const wn_prog *p, const wn_stage *st, uint32_t w) {
  if (st->kind == WN_STAGE_EXPERTS_UP || st->kind == WN_STAGE_EXPERTS_DOWN)
    return op_uses(p, st, st->op, w);
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
  t->n_experts = 1;
  t->n = st->input != WN_NONE ? p->widths[st->input] : 0;
  if (st->kind != WN_STAGE_MATRIX) {
    const wn_op *op = &p->ops[st->op];
    t->n = st->kind == WN_STAGE_EXPERTS_DOWN ? op->i[3] : p->widths[op->in[0]];
    t->n_experts = p->widths[op->in[1]];
    cap *= op->i[0];
  }
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
