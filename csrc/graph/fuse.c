/* fuse.c - from operations to stages (sched.h).
 *
 * One pass in program order with two places to put a step: the stage that is
 * open, and a list of row steps that wait for the next stage to become its
 * prologue. A step joins the open stage as an epilogue when nothing waits and
 * all it needs is in the same range of output rows or older than the stage;
 * a linear operation joins when it multiplies the same input. Everything
 * else waits, or closes the stage. Program order is kept between stages, so
 * no dependency needs a proof. */
#include <string.h>

#include "base/mem.h"
#include "graph/op.h"

/* A range longer than this splits a product too coarsely over threads. */
#define MAX_GRANULE 512

struct wn_fuser {
  const wn_prog *p;
  wn_sched *s;
  bool fuse;
  bool open; /* the last stage may take more */
  uint32_t n_waiting;
  bool waiting_wanted;
  wn_step waiting[WN_STAGE_PROS];
  wn_err *e;
};

const wn_prog *wn_fuse_prog(const wn_fuser *f) {
  return f->p;
}

void wn_step_reads(const wn_prog *p, wn_step s,
                   void (*visit)(void *arg, uint32_t value), void *arg) {
  const wn_op *op = &p->ops[s.op];
  const wn_op_desc *d = wn_desc(p, s.op);
  if (s.part != WN_WHOLE) {
    visit(arg, op->in[d->parts[s.part - 1].in]);
    return;
  }
  int n = d->n_main != 0 ? d->n_main : WN_OP_INS;
  for (int k = 0; k < n; k++)
    if (op->in[k] != WN_NONE) visit(arg, op->in[k]);
}

void wn_stage_reads(const wn_prog *p, const wn_stage *st,
                    void (*visit)(void *arg, uint32_t value), void *arg) {
  wn_step main = {st->op, WN_WHOLE};
  if (st->op != WN_NONE) wn_step_reads(p, main, visit, arg);
  if (st->input != WN_NONE) visit(arg, st->input);
  for (uint32_t k = 0; k < st->n_pros; k++)
    wn_step_reads(p, st->pros[k], visit, arg);
  for (uint32_t b = 0; b < st->n_bundles; b++)
    for (uint32_t k = 0; k < st->bundles[b].n_epis; k++)
      wn_step_reads(p, st->bundles[b].epis[k], visit, arg);
}

/* Adds an empty stage and returns it; NULL when memory is out. */
static wn_stage *new_stage(wn_fuser *f, wn_stage_kind kind, bool wanted) {
  wn_sched *s = f->s;
  if (s->n_stages == s->cap_stages) {
    uint32_t cap = s->cap_stages == 0 ? 64 : 2 * s->cap_stages;
    wn_stage *q = wn_realloc(WN_MEM_GRAPH, s->stages, cap * sizeof *q);
    if (q == NULL) {
      wn_fail(f->e, WN_ENOMEM, "program: out of memory");
      return NULL;
    }
    s->stages = q;
    s->cap_stages = cap;
  }
  wn_stage *st = &s->stages[s->n_stages++];
  memset(st, 0, sizeof *st);
  st->kind = kind;
  st->wanted = wanted;
  st->op = st->input = WN_NONE;
  return st;
}

void wn_fuse_made(wn_fuser *f, uint32_t value) {
  f->s->stage_of[value] = f->s->n_stages - 1;
}

/* The waiting steps become the prologue of the last stage. */
static void take_waiting(wn_fuser *f) {
  wn_stage *st = &f->s->stages[f->s->n_stages - 1];
  for (uint32_t k = 0; k < f->n_waiting; k++) {
    st->pros[k] = f->waiting[k];
    if (f->waiting[k].part == WN_WHOLE) wn_fuse_made(f, f->waiting[k].op);
  }
  st->n_pros = f->n_waiting;
  f->n_waiting = 0;
}

int wn_fuse_flush(wn_fuser *f) {
  if (f->n_waiting == 0) return WN_OK;
  if (new_stage(f, WN_STAGE_ROWS, f->waiting_wanted) == NULL) return WN_ENOMEM;
  take_waiting(f);
  f->open = false;
  return WN_OK;
}

int wn_fuse_wait(wn_fuser *f, wn_step s, bool wanted) {
  if (f->n_waiting == WN_STAGE_PROS ||
      (f->n_waiting != 0 && f->waiting_wanted != wanted)) {
    int rc = wn_fuse_flush(f);
    if (rc != WN_OK) return rc;
  }
  f->waiting_wanted = wanted;
  f->waiting[f->n_waiting++] = s;
  return f->fuse ? WN_OK : wn_fuse_flush(f);
}

/* Opens a stage with what waits as its prologue. */
wn_stage *wn_fuse_open(wn_fuser *f, wn_stage_kind kind, bool wanted) {
  if (f->n_waiting != 0 && f->waiting_wanted != wanted &&
      wn_fuse_flush(f) != WN_OK)
    return NULL;
  wn_stage *st = new_stage(f, kind, wanted);
  if (st == NULL) return NULL;
  take_waiting(f);
  f->open = f->fuse;
  return st;
}

/* The open stage, when a step on such rows could join it; else NULL. */
wn_stage *wn_fuse_joinable(wn_fuser *f, bool wanted) {
  if (!f->open || f->n_waiting != 0) return NULL;
  wn_stage *st = &f->s->stages[f->s->n_stages - 1];
  return st->wanted == wanted ? st : NULL;
}

/* Is value v made by bundle b (products or epilogues)? */
static bool bundle_makes(const wn_stage *st, const wn_bundle *b, uint32_t v) {
  for (uint32_t k = 0; k < b->n_parts; k++)
    if (b->parts[k] == v) return true;
  for (uint32_t k = 0; k < b->n_epis; k++)
    if (b->epis[k].part == WN_WHOLE && b->epis[k].op == v) return true;
  return st->kind == WN_STAGE_MAIN && st->n_bundles != 0 && st->op == v;
}

/* Index of the bundle of st that makes v, or -1. */
static int maker(const wn_stage *st, uint32_t v) {
  for (uint32_t b = 0; b < st->n_bundles; b++)
    if (bundle_makes(st, &st->bundles[b], v)) return (int)b;
  return -1;
}

/* The bundles whose values a step reads, as a set of bits. */
typedef struct reads {
  const wn_stage *st;
  unsigned bundles;
} reads;

static void note_read(void *arg, uint32_t v) {
  reads *r = arg;
  int b = maker(r->st, v);
  if (b >= 0) r->bundles |= 1u << b;
}

/* Ranges of which length can this step be done on? 1: any; 0: only whole
 * rows. */
static uint32_t granule_of(const wn_prog *p, wn_step s) {
  const wn_op_desc *d = wn_desc(p, s.op);
  uint32_t (*granule)(const wn_prog *, const wn_op *) =
      s.part != WN_WHOLE ? d->parts[s.part - 1].granule : d->granule;
  return granule != NULL ? granule(p, &p->ops[s.op]) : 0;
}

static uint32_t lcm(uint32_t a, uint32_t b) {
  uint32_t x = a, y = b;
  while (y != 0) {
    uint32_t r = x % y;
    x = y;
    y = r;
  }
  return a / x * b; /* divides the width: no overflow */
}

/* Moves bundle `from` into bundle `to`; false when there is no room. */
static bool merge(wn_stage *st, int to, int from) {
  wn_bundle *a = &st->bundles[to], *b = &st->bundles[from];
  if (a->rows != b->rows || a->n_parts + b->n_parts > WN_BUNDLE_PARTS ||
      a->n_epis + b->n_epis > WN_BUNDLE_EPIS)
    return false;
  memcpy(a->parts + a->n_parts, b->parts, b->n_parts * sizeof *b->parts);
  memcpy(a->epis + a->n_epis, b->epis, b->n_epis * sizeof *b->epis);
  a->n_parts += b->n_parts;
  a->n_epis += b->n_epis;
  a->granule = lcm(a->granule, b->granule);
  *b = st->bundles[--st->n_bundles];
  return true;
}

/* Makes one bundle of those in the set; its index, or -1. */
static int merge_all(wn_stage *st, unsigned set) {
  int first = -1;
  for (int b = 0; b < (int)st->n_bundles; b++) {
    if ((set >> b & 1) == 0) continue;
    if (first < 0) {
      first = b;
    } else {
      unsigned last = st->n_bundles - 1;
      if (!merge(st, first, b)) return -1;
      /* the last bundle moved to place b */
      set = (set & ~(1u << b)) | (set >> last & 1u) << b;
      set &= ~(1u << last);
      b--;
    }
  }
  return first;
}

/* Tries to add the step to the open stage as an epilogue. */
static bool join(wn_fuser *f, wn_step s, bool wanted) {
  wn_stage *st = wn_fuse_joinable(f, wanted);
  uint32_t granule = granule_of(f->p, s);
  if (st == NULL || granule == 0) return false;
  reads r = {st, 0};
  wn_step_reads(f->p, s, note_read, &r);
  int b = merge_all(st, r.bundles);
  if (b < 0) return false;
  wn_bundle *to = &st->bundles[b];
  granule = lcm(to->granule, granule);
  if (to->n_epis == WN_BUNDLE_EPIS || granule > MAX_GRANULE) return false;
  to->granule = granule;
  to->epis[to->n_epis++] = s;
  if (s.part == WN_WHOLE) wn_fuse_made(f, s.op);
  return true;
}

int wn_fuse_step(wn_fuser *f, wn_step s, bool wanted) {
  return join(f, s, wanted) ? WN_OK : wn_fuse_wait(f, s, wanted);
}

wn_bundle *wn_fuse_bundle(wn_stage *st, uint32_t rows) {
  wn_bundle *b = &st->bundles[st->n_bundles++];
  *b = (wn_bundle){.rows = rows, .granule = 1};
  return b;
}

int wn_fuse_close(wn_fuser *f) {
  f->open = false;
  return WN_OK;
}

int wn_fuse_alone(wn_fuser *f, uint32_t i, bool wanted) {
  int rc = wn_fuse_flush(f);
  if (rc != WN_OK) return rc;
  wn_stage *st = new_stage(f, WN_STAGE_MAIN, wanted);
  if (st == NULL) return WN_ENOMEM;
  st->op = i;
  wn_fuse_made(f, i);
  f->open = false;
  return WN_OK;
}

/* Which values are needed for all rows? Backwards: operations that look at
 * other tokens read all rows of their inputs; any other the rows it makes. */
static void find_wanted(const wn_prog *p, uint8_t *wanted) {
  memset(wanted, 1, p->n_ops);
  if (p->result_kind == WN_RESULT_EMBEDDINGS) wanted[p->result] = 0;
  for (uint32_t i = p->n_ops; i-- > 0;) {
    const wn_op *op = &p->ops[i];
    const wn_op_desc *d = wn_desc(p, i);
    if (d->recurrent) wanted[i] = 0;
    if (wanted[i] && !d->all_rows) continue;
    for (int k = 0; k < WN_OP_INS; k++)
      if (op->in[k] != WN_NONE) wanted[op->in[k]] = 0;
  }
}

static int place_all(wn_fuser *f) {
  for (uint32_t i = 0; i < f->p->n_ops; i++) {
    const wn_op_desc *d = wn_desc(f->p, i);
    wn_step s = {i, WN_WHOLE};
    bool wanted = f->s->wanted[i];
    int rc =
        d->place != NULL ? d->place(f, i, wanted) : wn_fuse_step(f, s, wanted);
    if (rc != WN_OK) return rc;
  }
  return wn_fuse_flush(f);
}

int wn_sched_new(const wn_prog *p, bool fuse, wn_sched **out, wn_err *e) {
  wn_sched *s = wn_calloc(WN_MEM_GRAPH, 1, sizeof *s);
  if (s == NULL) return wn_fail(e, WN_ENOMEM, "program: out of memory");
  s->wanted = wn_calloc(WN_MEM_GRAPH, p->n_ops, sizeof *s->wanted);
  s->stage_of = wn_calloc(WN_MEM_GRAPH, p->n_ops, sizeof *s->stage_of);
  int rc = WN_ENOMEM;
  if (s->wanted != NULL && s->stage_of != NULL) {
    find_wanted(p, s->wanted);
    wn_fuser f = {.p = p, .s = s, .fuse = fuse, .e = e};
    rc = place_all(&f);
  }
  if (rc != WN_OK) {
    wn_sched_free(s);
    return wn_fail(e, WN_ENOMEM, "program: out of memory");
  }
  *out = s;
  return WN_OK;
}

void wn_sched_free(wn_sched *s) {
  if (s == NULL) return;
  wn_free(s->stages);
  wn_free(s->wanted);
  wn_free(s->stage_of);
  wn_free(s);
}
