/* exec.c - see exec.h: the walk over the stages. */
#include "graph/exec.h"

#include <string.h>

/* Rows of the stage in hand. */
static uint32_t rows_of(const wn_frame *f, const wn_stage *st) {
  return st->wanted ? f->n_out : f->n_tokens;
}

/* Narrow pays when there are fewer rows than members: dividing them would
 * leave some idle, and everyone would wait at one more barrier. */
static bool is_narrow(const wn_member *m) {
  return m->st->kind != WN_STAGE_ROWS && m->n_rows <= WN_NARROW_ROWS &&
         m->n_rows < (uint32_t)m->n;
}

static void stage_rows(wn_member *m) {
  uint32_t end = wn_share(m, m->n_rows, m->id + 1);
  for (uint32_t r = wn_share(m, m->n_rows, m->id); r < end; r++)
    wn_do_prologue(m, r);
}

static void run_stage(wn_member *m) {
  switch (m->st->kind) {
    case WN_STAGE_ROWS:
      stage_rows(m);
      break;
    case WN_STAGE_MATRIX:
      wn_stage_matrix(m);
      break;
    case WN_STAGE_ATTEND:
      wn_stage_attend(m);
      break;
    case WN_STAGE_EXPERTS_UP:
      wn_stage_experts_up(m);
      break;
    case WN_STAGE_EXPERTS_DOWN:
      wn_stage_experts_down(m);
      break;
  }
}

/* Shows a tap the rows that this stage multiplied: this member's share of
 * the channels. The rows live until the stage ends (plan.c). */
static void tap_rows(wn_member *m, wn_tap_item *t) {
  uint32_t c0 = wn_share(m, t->n, m->id), c1 = wn_share(m, t->n, m->id + 1);
  const wn_value_mem *vm = &m->f->plan->values[m->st->input];
  const float *base = wn_floats(m->f->arena, vm->off);
  for (uint32_t r = 0; r < m->n_rows; r++) {
    uint32_t at =
        m->st->wanted && !m->f->s->wanted[m->st->input] ? m->f->out_rows[r] : r;
    const float *x = base + (size_t)at * t->n;
    wn_tap_add(t, 0, x, c0, c1);
    if (t->rows != NULL && r < t->cap)
      memcpy(t->rows + (size_t)r * t->n + c0, x + c0, (c1 - c0) * sizeof *x);
  }
  if (m->id != 0) return;
  t->counts[0] += m->n_rows;
  t->n_rows = m->n_rows < t->cap ? m->n_rows : t->cap;
  t->starts[1] = t->n_rows;
}

static void watch(wn_member *m) {
  wn_tap_item *t = wn_tap_find(m->f->tap, m->stage);
  if (t == NULL) return;
  wn_meet(m);
  if (m->st->kind == WN_STAGE_MATRIX)
    tap_rows(m, t);
  else
    wn_tap_experts(m, t);
}

void wn_exec_task(void *frame, wn_team *team, int member, int n_members) {
  wn_frame *f = frame;
  wn_member m = {.f = f, .team = team, .id = member, .n = n_members};
  m.mem = f->members + (size_t)member * f->plan->member_bytes;
  wn_rope_tables(&m, true);
  if (f->n_tokens > WN_NARROW_ROWS) {
    wn_rope_tables(&m, false);
    wn_meet(&m);
  }
  for (m.stage = 0; m.stage < f->s->n_stages; m.stage++) {
    m.st = &f->s->stages[m.stage];
    m.sm = &f->plan->stages[m.stage];
    m.n_rows = rows_of(f, m.st);
    m.narrow = is_narrow(&m);
    if (m.n_rows == 0) continue;
    run_stage(&m);
    if (f->tap != NULL) watch(&m);
    wn_meet(&m);
    if (wn_tap_ends(f->tap, m.stage)) break;
  }
  if (member == 0) f->n_regions = m.n_regions;
}
