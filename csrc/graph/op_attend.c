/* op_attend.c - attention: what an operation may look like, its memory, and
 * storing keys and values in the cache, which is done before its stage. The
 * stage itself is attend.c. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "graph/attend.h"

/* -- verifying, placing, planning ----------------------------------------- */

/* Where keys and values are, as the inputs tell. */
static bool is_shared(const wn_op *op) {
  return op->in[1] == WN_NONE;
}

/* Attention over what an earlier one keeps. */
static int check_shared(wn_checker *c, uint32_t width) {
  const wn_op *op = c->op;
  if (op->in[2] != WN_NONE) return wn_bad(c, "values without keys");
  if (op->i[0] >= c->p->n_slots)
    return wn_bad(c, "cache slot %u of %u", op->i[0], c->p->n_slots);
  const wn_slot *s = &c->p->slots[op->i[0]];
  uint32_t window = s->keep == WN_KEEP_STATE ? UINT32_MAX : s->window;
  bool full = op->kind == WN_ATTEND_FULL;
  if (window != (full ? 0 : op->i[3]) || s->n_head_kv != op->i[2] ||
      s->width_k != width)
    return wn_bad(c,
                  "cache slot %u has %u heads of %u and window %u, want %u "
                  "heads of %u and window %u",
                  op->i[0], s->n_head_kv, s->width_k, s->window, op->i[2],
                  width, op->i[3]);
  if (op->i[4] != 0) return wn_bad(c, "a width of values without keys");
  return wn_make(c, op->i[1] * s->width_v);
}

static int check_numbers(wn_checker *c) {
  const wn_op *op = c->op;
  if (!(op->f[0] > 0) || op->f[1] < 0)
    return wn_bad(c, "scale %g, cap %g", (double)op->f[0], (double)op->f[1]);
  if (op->i[3] > (uint32_t)WN_MAX_CONTEXT ||
      (op->i[3] == 0 && op->kind == WN_ATTEND_CHUNKED))
    return wn_bad(c, "window %u", op->i[3]);
  if (op->f[2] < 0 || (op->f[2] != 0 && op->f[1] != 0))
    return wn_bad(c, "bias %g by distance with cap %g", (double)op->f[2],
                  (double)op->f[1]);
  return WN_OK;
}

static int verify(wn_checker *c) {
  const wn_op *op = c->op;
  uint32_t q = wn_in_width(c, 0), n = op->i[1], n_kv = op->i[2];
  if (n == 0 || n > (uint32_t)WN_MAX_HEADS || n_kv == 0 || n % n_kv != 0)
    return wn_bad(c, "%u query heads over %u key heads", n, n_kv);
  uint32_t k = is_shared(op) ? n_kv * (q / n) : wn_in_width(c, 1);
  bool own_v = op->in[2] != WN_NONE;
  uint32_t v = own_v ? wn_in_width(c, 2) : n_kv * op->i[4];
  if (q % n != 0 || k % n_kv != 0 || v % n_kv != 0 || q / n != k / n_kv)
    return wn_bad(c, "widths %u, %u, %u for %u and %u heads", q, k, v, n, n_kv);
  int rc = check_numbers(c);
  if (rc == WN_OK) rc = wn_check_vector(c, 0, n);
  if (rc != WN_OK) return rc;
  if (op->kind == WN_ATTEND_FULL) c->p->causal = false;
  if (is_shared(op)) return check_shared(c, q / n);
  if (own_v ? op->i[4] != 0 : op->i[4] == 0 || op->i[4] > k / n_kv)
    return wn_bad(c, "values are the first %u of %u", op->i[4], k / n_kv);
  bool ring = op->i[3] != 0 && op->kind != WN_ATTEND_FULL;
  wn_slot slot = {.keep = !own_v ? WN_KEEP_KEYS
                          : ring ? WN_KEEP_WINDOW
                                 : WN_KEEP_ALL,
                  .n_head_kv = n_kv,
                  .width_k = k / n_kv,
                  .width_v = own_v ? v / n_kv : op->i[4],
                  .window = ring ? op->i[3] : 0};
  rc = wn_check_slot(c, slot);
  return rc == WN_OK ? wn_make(c, n * slot.width_v) : rc;
}

static uint32_t granule_k(const wn_prog *p, const wn_op *op) {
  return p->slots[op->i[0]].width_k;
}

static uint32_t granule_v(const wn_prog *p, const wn_op *op) {
  return p->slots[op->i[0]].width_v;
}

enum { KEYS = 1, VALUES = 2 }; /* parts */

static int place(wn_fuser *f, uint32_t i, bool wanted) {
  const wn_op *op = &wn_fuse_prog(f)->ops[i];
  int rc = WN_OK;
  if (op->in[1] != WN_NONE) rc = wn_fuse_step(f, (wn_step){i, KEYS}, false);
  if (rc == WN_OK && op->in[2] != WN_NONE)
    rc = wn_fuse_step(f, (wn_step){i, VALUES}, false);
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
  size_t bytes = (size_t)wn_attend_units(op) * WN_NARROW_ROWS * sizeof(int32_t);
  if (bytes > plan->counter_bytes) plan->counter_bytes = bytes;
  wn_plan_arena(pl, bytes, &plan->counter_off);
  wn_plan_member(pl, wn_plan_floats(pl, 1, wn_attend_floats(p, op)),
                 &plan->attend_own);
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
  uint32_t t = wn_token_of(m, r), seq = f->seq[t], pos = f->pos[t] % s->ring;
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

static const char *const kinds[] = {"causal", "full", "chunked"};

const wn_op_desc wn_op_attend = {
    .name = "attend",
    .kinds = kinds,
    .n_kinds = WN_N_ATTEND,
    .n_in = 3,
    .least_in = 1,
    .n_main = 1,
    .may = 1,
    .n_i = 5,
    .n_f = 3,
    .all_rows = true,
    .verify = verify,
    .n_parts = 2,
    .parts = {{.in = 1, .granule = granule_k, .run = keep_keys},
              {.in = 2, .granule = granule_v, .run = keep_values}},
    .place = place,
    .plan = plan,
    .plan_stage = wn_plan_alone,
    .run = wn_attend_run,
    .back_of = 1,
    .back = wn_attend_back};
