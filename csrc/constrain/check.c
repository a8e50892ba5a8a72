/* check.c - see gbnf.h: classes of characters, and what a tree must be to run.
 *
 * Which rules can be nothing is a fixed point. Left recursion and depth are
 * found by walking from each rule to those that it can begin with; general
 * recursion by walking to those it can hold. All walks keep their own stack. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "constrain/gbnf.h"

enum { REPEAT_COST = 1000 }; /* most that repeating one class counts for */

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "grammar: out of memory");
}

/* ---- classes */

/* Shell's sort. */
static void sort_ranges(wn_grange *r, uint32_t n) {
  for (uint32_t gap = n / 2; gap > 0; gap /= 2)
    for (uint32_t i = gap; i < n; i++) {
      wn_grange x = r[i];
      uint32_t j = i;
      for (; j >= gap && r[j - gap].low > x.low; j -= gap)
        r[j] = r[j - gap];
      r[j] = x;
    }
}

/* Joins what overlaps or touches; returns how many are left. */
static uint32_t join_ranges(wn_grange *r, uint32_t n) {
  uint32_t m = 0;
  sort_ranges(r, n);
  for (uint32_t i = 0; i < n; i++) {
    if (m > 0 && r[i].low <= r[m - 1].high + 1) {
      if (r[i].high > r[m - 1].high) r[m - 1].high = r[i].high;
    } else {
      r[m++] = r[i];
    }
  }
  return m;
}

/* Adds the characters low..high that are no surrogates. */
static void add_range(wn_gtree *t, wn_gclass *c, uint32_t low, uint32_t high) {
  for (; low <= high && low < 128; low++)
    c->ascii[low / 64] |= (uint64_t)1 << (low % 64);
  uint32_t parts[2][2] = {{low, high < 0xD7FF ? high : 0xD7FF},
                          {low > 0xE000 ? low : 0xE000, high}};
  for (int i = 0; i < 2; i++)
    if (parts[i][0] <= parts[i][1] && parts[i][1] >= 128) {
      t->range[t->n_ranges++] = (wn_grange){parts[i][0], parts[i][1]};
      c->n++;
    }
}

/* Does the class hold all of low..high? */
static bool covers(const wn_gtree *t, const wn_gclass *c, uint32_t low,
                   uint32_t high) {
  for (uint32_t i = c->first; i < c->first + c->n; i++)
    if (t->range[i].low <= low && high <= t->range[i].high) return true;
  return false;
}

int wn_gclass_make(wn_gtree *t, wn_grange *r, uint32_t n, bool negate,
                   uint32_t *class_, wn_err *e) {
  wn_gclass c = {.first = t->n_ranges};
  n = join_ranges(r, n);
  if (!wn_groom(&t->class_, t->n_classes, &t->cap_classes, 1,
                sizeof *t->class_) ||
      !wn_groom(&t->range, t->n_ranges, &t->cap_ranges, 2 * n + 2,
                sizeof *t->range))
    return no_memory(e);
  uint32_t from = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!negate) add_range(t, &c, r[i].low, r[i].high);
    if (negate && r[i].low > from) add_range(t, &c, from, r[i].low - 1);
    from = r[i].high + 1;
  }
  if (negate && from <= 0x10FFFF) add_range(t, &c, from, 0x10FFFF);
  c.all = covers(t, &c, 128, 0xD7FF) && covers(t, &c, 0xE000, 0x10FFFF);
  c.most = covers(t, &c, 0xA0, 0x2027) && covers(t, &c, 0x202A, 0xD7FF) &&
           covers(t, &c, 0xE000, 0x10FFFF);
  *class_ = t->n_classes;
  t->class_[t->n_classes++] = c;
  return WN_OK;
}

/* ---- what nodes can be: children come before their parents in the list */

/* empty[i]: node i can be nothing, as far as the rules are known to be. */
static bool node_empty(const wn_gtree *t, const bool *empty, uint32_t i) {
  const wn_gnode *x = &t->node[i];
  switch (x->kind) {
    case WN_G_TEXT:
      return x->b == 0;
    case WN_G_RULE:
      return t->rule[x->a].empty;
    case WN_G_REPEAT:
      return x->b == 0 || x->c == 0 || empty[x->a];
    case WN_G_SEQ:
      for (uint32_t k = 0; k < x->b; k++)
        if (!empty[t->list[x->a + k]]) return false;
      return true;
    case WN_G_ALT:
      for (uint32_t k = 0; k < x->b; k++)
        if (empty[t->list[x->a + k]]) return true;
      return false;
    default:
      return false;
  }
}

/* A rule that is found in pass n begins with n others: more passes than the
 * depth allows are not needed. */
static int find_empty(wn_gtree *t, bool *empty, wn_err *e) {
  int64_t passes = 0;
  for (bool changed = true; changed;) {
    changed = false;
    if (passes++ > WN_MAX_GRAMMAR_DEPTH + 1)
      return wn_fail(e, WN_ELIMIT,
                     "grammar: over %d rules that begin with one another",
                     (int)WN_MAX_GRAMMAR_DEPTH);
    for (uint32_t i = 0; i < t->n_nodes; i++)
      empty[i] = node_empty(t, empty, i);
    for (uint32_t r = 0; r < t->n_rules; r++)
      if (!t->rule[r].empty && empty[t->rule[r].node])
        changed = t->rule[r].empty = true;
  }
  return WN_OK;
}

/* Elements of every node when repetitions are written out. */
static int find_sizes(wn_gtree *t, uint64_t *size, wn_err *e) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < t->n_nodes; i++) {
    const wn_gnode *x = &t->node[i];
    size[i] = 1;
    if (x->kind == WN_G_SEQ || x->kind == WN_G_ALT)
      for (uint32_t k = 0; k < x->b; k++)
        size[i] += size[t->list[x->a + k]];
    if (x->kind == WN_G_REPEAT) {
      uint64_t n = x->c == WN_G_MANY ? x->b : x->c;
      bool one = t->node[x->a].kind == WN_G_CLASS;
      if (one && n > REPEAT_COST) n = REPEAT_COST;
      size[i] += size[x->a] * (n > 0 ? n : 1);
    }
    if (size[i] > (uint64_t)WN_MAX_GRAMMAR_NODES)
      return wn_gfail(t, x->at, WN_ELIMIT, e,
                      "over %d elements when repetitions are written out",
                      (int)WN_MAX_GRAMMAR_NODES);
  }
  for (uint32_t r = 0; r < t->n_rules; r++) {
    total += size[t->rule[r].node];
    if (total > (uint64_t)WN_MAX_GRAMMAR_NODES)
      return wn_gfail(t, t->rule[r].at, WN_ELIMIT, e,
                      "over %d elements when repetitions are written out",
                      (int)WN_MAX_GRAMMAR_NODES);
  }
  return WN_OK;
}

/* ---- walks over the graph of rules */

typedef struct walk {
  wn_gtree *t;
  const bool *empty;
  uint32_t *edge;  /* rules that a rule leads to, rule after rule */
  uint32_t *first; /* n_rules + 1: where each one's begin */
  uint32_t n_edges, cap_edges;
  uint32_t *todo; /* nodes to look at */
  uint32_t *path, *next, *depth;
  uint8_t *state; /* 0 new, 1 on the path, 2 done */
} walk;

/* Lists the rules that rule r holds: all, or those it can begin with. Counts
 * its nodes, which is right where all are looked at. */
static bool list_edges(walk *w, uint32_t r, bool begin_only) {
  wn_gtree *t = w->t;
  uint32_t n = 1;
  w->todo[0] = t->rule[r].node;
  t->rule[r].size = 0;
  while (n > 0) {
    const wn_gnode *x = &t->node[w->todo[--n]];
    t->rule[r].size += x->kind == WN_G_TEXT ? x->b : 1;
    if (x->kind == WN_G_REPEAT && x->c > 0) w->todo[n++] = x->a;
    if (x->kind == WN_G_RULE) {
      if (!wn_groom(&w->edge, w->n_edges, &w->cap_edges, 1, sizeof *w->edge))
        return false;
      w->edge[w->n_edges++] = x->a;
    }
    if (x->kind != WN_G_SEQ && x->kind != WN_G_ALT) continue;
    for (uint32_t k = 0; k < x->b; k++) {
      uint32_t child = t->list[x->a + k];
      w->todo[n++] = child;
      if (begin_only && x->kind == WN_G_SEQ && !w->empty[child]) break;
    }
  }
  return true;
}

static int make_edges(walk *w, bool begin_only, wn_err *e) {
  w->n_edges = 0;
  for (uint32_t r = 0; r < w->t->n_rules; r++) {
    w->first[r] = w->n_edges;
    if (!list_edges(w, r, begin_only)) return no_memory(e);
  }
  w->first[w->t->n_rules] = w->n_edges;
  return WN_OK;
}

static int left_recursion(const walk *w, uint32_t r, wn_err *e) {
  char name[64];
  const wn_grule *x = &w->t->rule[r];
  wn_printable(name, sizeof name, w->t->source + x->name, x->n_name);
  return wn_gfail(w->t, x->at, WN_EFORMAT, e,
                  "rule '%s' can begin with itself (left recursion): write "
                  "it as a repetition",
                  name);
}

/* Visits what can begin rule `from`, depth first. */
static int check_left(walk *w, uint32_t from, wn_err *e) {
  uint32_t n = 0;
  w->path[n++] = from;
  w->state[from] = 1;
  w->next[from] = w->first[from];
  while (n > 0) {
    uint32_t r = w->path[n - 1];
    if (w->next[r] < w->first[r + 1]) {
      uint32_t to = w->edge[w->next[r]++];
      if (w->state[to] == 1) return left_recursion(w, to, e);
      if (w->state[to] == 2) {
        if (w->depth[to] + 1 > w->depth[r]) w->depth[r] = w->depth[to] + 1;
        continue;
      }
      w->state[to] = 1;
      w->next[to] = w->first[to];
      w->path[n++] = to;
      continue;
    }
    w->state[r] = 2;
    if (w->depth[r] > (uint32_t)WN_MAX_GRAMMAR_DEPTH)
      return wn_gfail(w->t, w->t->rule[r].at, WN_ELIMIT, e,
                      "over %d rules that begin with one another",
                      (int)WN_MAX_GRAMMAR_DEPTH);
    if (--n > 0 && w->depth[r] + 1 > w->depth[w->path[n - 1]])
      w->depth[w->path[n - 1]] = w->depth[r] + 1;
  }
  return WN_OK;
}

/* Adds the sizes of the rules that rule r holds, which are known. */
static void add_sizes(walk *w, uint32_t r) {
  wn_grule *rule = w->t->rule;
  for (uint32_t i = w->first[r]; i < w->first[r + 1]; i++) {
    const wn_grule *x = &rule[w->edge[i]];
    if (x->recursive) continue;
    rule[r].size =
        x->size < WN_G_MANY - rule[r].size ? rule[r].size + x->size : WN_G_MANY;
  }
}

/* Marks the rules on a cycle (Tarjan's components, with his numbers in
 * `depth` and `next` reused as the place in the edge list). A component is
 * complete after those it leads to. */
static void mark_recursive(walk *w, uint32_t from, uint32_t *low,
                           uint32_t *open, uint32_t *n_open, uint32_t *count) {
  uint32_t n = 0;
  w->path[n++] = from;
  w->next[from] = w->first[from];
  w->depth[from] = low[from] = ++*count;
  open[(*n_open)++] = from;
  w->state[from] = 1;
  while (n > 0) {
    uint32_t r = w->path[n - 1];
    if (w->next[r] < w->first[r + 1]) {
      uint32_t to = w->edge[w->next[r]++];
      if (to == r) w->t->rule[r].recursive = true;
      if (w->state[to] == 1 && w->depth[to] < low[r]) low[r] = w->depth[to];
      if (w->state[to] != 0) continue;
      w->path[n++] = to;
      w->next[to] = w->first[to];
      w->depth[to] = low[to] = ++*count;
      open[(*n_open)++] = to;
      w->state[to] = 1;
      continue;
    }
    n--;
    if (n > 0 && low[r] < low[w->path[n - 1]]) low[w->path[n - 1]] = low[r];
    if (low[r] != w->depth[r]) continue;
    bool cycle = open[*n_open - 1] != r;
    for (uint32_t x = WN_G_MANY; x != r;) { /* a component is complete */
      x = open[--*n_open];
      w->state[x] = 2;
      w->t->rule[x].recursive |= cycle;
    }
    if (!w->t->rule[r].recursive) add_sizes(w, r);
  }
}

static void find_recursion(walk *w, uint32_t *low, uint32_t *open) {
  uint32_t n_open = 0, count = 0;
  memset(w->state, 0, w->t->n_rules);
  for (uint32_t r = 0; r < w->t->n_rules; r++)
    if (w->state[r] == 0) mark_recursive(w, r, low, open, &n_open, &count);
}

static int check_names(const wn_gtree *t, wn_err *e) {
  char name[64];
  for (uint32_t r = 0; r < t->n_rules; r++) {
    const wn_grule *x = &t->rule[r];
    if (x->node != WN_G_MANY) continue;
    wn_printable(name, sizeof name, t->source + x->name, x->n_name);
    return wn_gfail(t, x->at, WN_EFORMAT, e, "rule '%s' is not defined", name);
  }
  return WN_OK;
}

int wn_gbnf_check(wn_gtree *t, wn_err *e) {
  int rc = check_names(t, e);
  if (rc != WN_OK) return rc;
  uint32_t n = t->n_rules;
  bool *empty = wn_calloc(WN_MEM_RUN, t->n_nodes, sizeof *empty);
  uint64_t *size = wn_calloc(WN_MEM_RUN, t->n_nodes, sizeof *size);
  uint32_t *block = wn_calloc(WN_MEM_RUN, (size_t)n * 6 + 1, sizeof *block);
  walk w = {.t = t, .empty = empty};
  /* every node is on the list of one parent at most */
  w.todo = wn_calloc(WN_MEM_RUN, (size_t)t->n_nodes + 1, sizeof *w.todo);
  w.state = wn_calloc(WN_MEM_RUN, n, 1);
  if (!empty || !size || !block || !w.todo || !w.state) {
    rc = no_memory(e);
    goto done;
  }
  w.first = block;
  w.path = block + n + 1;
  w.next = w.path + n;
  w.depth = w.next + n;
  if ((rc = find_empty(t, empty, e)) != WN_OK) goto done;
  if ((rc = find_sizes(t, size, e)) != WN_OK) goto done;
  if ((rc = make_edges(&w, true, e)) != WN_OK) goto done;
  for (uint32_t r = 0; rc == WN_OK && r < n; r++)
    if (w.state[r] == 0) rc = check_left(&w, r, e);
  if (rc == WN_OK) rc = make_edges(&w, false, e);
  if (rc == WN_OK) find_recursion(&w, w.depth + n, w.depth + 2 * n);
done:
  wn_free(empty);
  wn_free(size);
  wn_free(block);
  wn_free(w.todo);
  wn_free(w.state);
  wn_free(w.edge);
  return rc;
}
