/* exec.c - see exec.h: the walk over the stages. */
#include "graph/exec.h"

#include <string.h>

#include "graph/op.h"

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

void wn_do_step(wn_member *m, wn_step s, uint32_t r, uint32_t c0, uint32_t c1) {
  const wn_op_desc *d = wn_desc(m->f->p, s.op);
  if (s.part != WN_WHOLE)
    d->parts[s.part - 1].run(m, s.op, r, c0, c1);
  else
    d->row(m, s.op, r, c0, c1);
}

uint32_t wn_step_width(const wn_prog *p, wn_step s) {
  if (s.part == WN_WHOLE) return p->widths[s.op];
  return p->widths[p->ops[s.op].in[wn_desc(p, s.op)->parts[s.part - 1].in]];
}

void wn_do_prologue(wn_member *m, uint32_t r) {
  for (uint32_t k = 0; k < m->st->n_pros; k++) {
    wn_step s = m->st->pros[k];
    wn_do_step(m, s, r, 0, wn_step_width(m->f->p, s));
  }
}

void wn_do_prologues(wn_member *m) {
  uint32_t r = m->narrow ? 0 : wn_share(m, m->n_rows, m->id);
  uint32_t end = m->narrow ? m->n_rows : wn_share(m, m->n_rows, m->id + 1);
  for (; r < end; r++)
    wn_do_prologue(m, r);
  if (!m->narrow) wn_meet(m);
}

void wn_do_epilogues(wn_member *m, const wn_bundle *b, uint32_t c0,
                     uint32_t c1) {
  for (uint32_t r = 0; r < m->n_rows; r++)
    for (uint32_t k = 0; k < b->n_epis; k++)
      wn_do_step(m, b->epis[k], r, c0, c1);
}

uint8_t *wn_pack_place(const wn_member *m, const wn_pack_mem *pm) {
  return m->narrow ? m->mem + pm->own : m->f->arena + pm->off;
}

const wn_op_desc *wn_stage_desc(const wn_prog *p, const wn_stage *st) {
  if (st->kind == WN_STAGE_MATRIX) return &wn_op_linear;
  return st->kind == WN_STAGE_MAIN ? wn_desc(p, st->op) : NULL;
}

static void run_stage(wn_member *m) {
  const wn_op_desc *d = wn_stage_desc(m->f->p, m->st);
  if (d != NULL)
    d->run(m);
  else
    stage_rows(m);
}

static void watch(wn_member *m) {
  wn_tap_item *t = wn_tap_find(m->f->tap, m->stage);
  if (t == NULL) return;
  wn_meet(m);
  wn_stage_desc(m->f->p, m->st)->watch(m, t);
}

/* This member's share of the tokens, between the arena and an edge. */
static void cross_edge(wn_member *m, const wn_tap_edge *edge, bool inwards) {
  uint32_t end = wn_share(m, m->f->n_tokens, m->id + 1);
  for (uint32_t r = wn_share(m, m->f->n_tokens, m->id); r < end; r++) {
    float *row = edge->rows + (size_t)r * edge->width;
    for (uint32_t k = 0; k < edge->n_values; k++) {
      uint32_t v = edge->values[k], width = m->f->p->widths[v];
      float *x =
          wn_floats(m->f->arena, m->f->plan->values[v].off) + (size_t)r * width;
      memcpy(inwards ? x : row, inwards ? row : x, width * sizeof *x);
      row += width;
    }
  }
}

/* Keeps what lives between this stage and those before it. It lives beyond
 * this stage, so the stage's own barrier is enough. */
static void leave_stage(wn_member *m) {
  wn_tap_edge *edge = m->f->tap != NULL ? m->f->tap->leave : NULL;
  if (edge == NULL || edge->stage != m->stage) return;
  cross_edge(m, edge, false);
  if (m->id == 0) edge->n_rows = m->f->n_tokens;
}

/* The first stage of this step, with the values it needs in place. */
static uint32_t enter_stage(wn_member *m) {
  const wn_tap *t = m->f->tap;
  if (t == NULL || t->enter == NULL) return 0;
  cross_edge(m, t->enter, true);
  wn_meet(m);
  return t->enter->stage;
}

/* Member 0 asks, before the barrier that ends the stage. All read the answer
 * behind it; the next but one stage, whose answer takes the same place, ends
 * only when all have come to it. */
static void ask_to_leave(wn_member *m, int turn) {
  wn_frame *f = m->f;
  if (m->id != 0 || f->leave == NULL) return;
  f->leaves[turn] =
      f->leave(f->pace, m->stage) && m->stage + 1 < f->s->n_stages;
}

/* The tables of many tokens are still there when a step goes on. */
static void make_tables(wn_member *m) {
  wn_rope_tables(m, true);
  if (m->f->n_tokens <= WN_NARROW_ROWS || m->f->first != 0) return;
  wn_rope_tables(m, false);
  wn_meet(m);
}

void wn_exec_task(void *frame, wn_team *team, int member, int n_members) {
  wn_frame *f = frame;
  wn_member m = {.f = f, .team = team, .id = member, .n = n_members};
  m.mem = f->members + (size_t)member * f->plan->member_bytes;
  bool left = false;
  int turn = 0;
  make_tables(&m);
  m.stage = f->first != 0 ? f->first : enter_stage(&m);
  for (; m.stage < f->s->n_stages && !left; m.stage++) {
    leave_stage(&m);
    m.st = &f->s->stages[m.stage];
    m.sm = &f->plan->stages[m.stage];
    m.n_rows = rows_of(f, m.st);
    m.narrow = is_narrow(&m);
    if (m.n_rows == 0) continue;
    run_stage(&m);
    if (f->tap != NULL) watch(&m);
    ask_to_leave(&m, turn);
    wn_meet(&m);
    left = f->leave != NULL && f->leaves[turn];
    turn ^= 1;
    if (wn_tap_ends(f->tap, m.stage)) {
      left = false;
      m.stage++;
      leave_stage(&m); /* an edge right behind the last item */
      break;
    }
  }
  if (member != 0) return;
  f->next = left ? m.stage : f->s->n_stages;
  f->n_regions += m.n_regions;
}
