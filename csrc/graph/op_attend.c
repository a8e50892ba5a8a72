/* op_attend.c - attention: what an operation may look like, its memory, and
 * storing keys and values in the cache, which is done before its stage. The
 * stage itself is attend.c. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "graph/attend.h"

/* -- verifying, placing, planning ----------------------------------------- */

static int verify(wn_checker *c) {
  int rc = WN_OK;
  uint32_t q = wn_in_width(c, 0), k = wn_in_width(c, 1), v = wn_in_width(c, 2);
  uint32_t n = c->op->i[1], n_kv = c->op->i[2];
  if (n == 0 || n > (uint32_t)WN_MAX_HEADS || n_kv == 0 || n % n_kv != 0)
    return wn_bad(c, "%u query heads over %u key heads", n, n_kv);
  if (q % n != 0 || k % n_kv != 0 || v % n_kv != 0 || q / n != k / n_kv)
    return wn_bad(c, "widths %u, %u, %u for %u and %u heads", q, k, v, n, n_kv);
  if (!(c->op->f[0] > 0) || c->op->f[1] < 0)
    return wn_bad(c, "scale %g, cap %g", (double)c->op->f[0],
                  (double)c->op->f[1]);
  if (c->op->i[3] > (uint32_t)WN_MAX_CONTEXT)
    return wn_bad(c, "window %u", c->op->i[3]);
  if (c->op->f[2] < 0 || (c->op->f[2] != 0 && c->op->f[1] != 0))
    return wn_bad(c, "bias %g by distance with cap %g", (double)c->op->f[2],
                  (double)c->op->f[1]);
  rc = wn_check_vector(c, 0, n);
  if (rc != WN_OK) return rc;
  bool full = c->op->kind == WN_ATTEND_FULL; /* keeps all: it is read whole */
  wn_slot slot = {n_kv, k / n_kv, v / n_kv, full ? 0 : c->op->i[3]};
  rc = wn_check_slot(c, slot);
  if (rc != WN_OK) return rc;
  if (full) c->p->causal = false;
  return wn_make(c, n * slot.width_v);
}

static uint32_t granule_k(const wn_prog *p, const wn_op *op) {
  return p->slots[op->i[0]].width_k;
}

static uint32_t granule_v(const wn_prog *p, const wn_op *op) {
  return p->slots[op->i[0]].width_v;
}

enum { KEYS = 1, VALUES = 2 }; /* parts */

static int place(wn_fuser *f, uint32_t i, bool wanted) {
  int rc = wn_fuse_step(f, (wn_step){i, KEYS}, false);
  if (rc == WN_OK) rc = wn_fuse_step(f, (wn_step){i, VALUES}, false);
  return rc == WN_OK ? wn_fuse_alone(f, i, wanted) : rc;
}

/* Scratch, and the partial results of narrow stages: for each row, head and
 * part a running softmax. */
static void plan(wn_planner *pl, uint32_t i) {
  const wn_prog *p = wn_planner_prog(pl);
  const wn_op *op = &p->ops[i];
  wn_plan *plan = wn_planner_plan(pl);
  plan->n_parts =
      (wn_planner_opts(pl)->n_ctx + WN_ATTEND_PART - 1) / WN_ATTEND_PART;
  uint64_t parts = wn_plan_floats(pl, plan->n_parts, wn_attend_partial(p, op));
  wn_plan_arena(pl, wn_plan_product(pl, parts, WN_NARROW_ROWS),
                &plan->partial_off);
  size_t bytes = (size_t)op->i[2] * WN_NARROW_ROWS * sizeof(int32_t);
  if (bytes > plan->counter_bytes) plan->counter_bytes = bytes;
  wn_plan_arena(pl, bytes, &plan->counter_off);
  wn_plan_member(pl, wn_plan_floats(pl, 1, wn_attend_floats(p, op)),
                 &plan->attend_own);
}

static void plan_stage(wn_planner *pl, const wn_stage *st, uint32_t stage) {
  wn_plan_value(pl, st->op, stage, false);
}

/* -- keeping -------------------------------------------------------------- */

/* n values of one head into the cache. */
static void keep_head(const wn_frame *f, const wn_cache_type *t, const float *x,
                      uint8_t *to, size_t n) {
  switch (t->type) {
    case WN_TYPE_F32:
      memcpy(to, x, n * sizeof *x);
      break;
    case WN_TYPE_F16:
      f->vec->f16_of_f32(x, (uint16_t *)(void *)to, n);
      break;
    default:
      t->encode(x, to, n, NULL);
      break;
  }
}

static void keep(wn_member *m, uint32_t i, bool keys, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  const wn_cache_slot *s = &f->slots[op->i[0]];
  const wn_slot *slot = &f->p->slots[op->i[0]];
  uint32_t t = wn_token_of(m, r), seq = f->seq[t], pos = f->pos[t];
  uint32_t width = keys ? slot->width_k : slot->width_v;
  const float *x = wn_row_in(m, op->in[keys ? 1 : 2], r);
  for (uint32_t c = c0; c < c1; c += width) {
    size_t head = c / width;
    uint8_t *to =
        keys ? s->k + seq * s->k_seq + head * s->k_head + pos * s->k_pos
             : s->v + seq * s->v_seq + head * s->v_head + pos * s->v_pos;
    keep_head(f, keys ? &f->type_k : &f->type_v, x + c, to, width);
  }
}

static void keep_keys(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                      uint32_t c1) {
  keep(m, i, true, r, c0, c1);
}

static void keep_values(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                        uint32_t c1) {
  keep(m, i, false, r, c0, c1);
}

static const char *const kinds[] = {"causal", "full"};

const wn_op_desc wn_op_attend = {
    .name = "attend",
    .kinds = kinds,
    .n_kinds = WN_N_ATTEND,
    .n_in = 3,
    .n_main = 1,
    .may = 1,
    .n_i = 4,
    .n_f = 3,
    .all_rows = true,
    .verify = verify,
    .n_parts = 2,
    .parts = {{.in = 1, .granule = granule_k, .run = keep_keys},
              {.in = 2, .granule = granule_v, .run = keep_values}},
    .place = place,
    .plan = plan,
    .plan_stage = plan_stage,
    .run = wn_attend_run};
