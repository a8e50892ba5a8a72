/* grammar.c - see grammar.h: the machine of a tree.
 *
 * Each node is compiled with the state that follows it, from the end of a
 * sequence to its start. A rule that is called gets its state before its body
 * is compiled, so that it can be called from within. */
#include "constrain/grammar.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "constrain/learnt.h"

/* A rule is written out in place when it is small with all that it holds, and
 * the machine is not large yet. */
enum { INLINE_SIZE = 64, INLINE_STATES = 50000 };

typedef struct maker {
  wn_grammar *g;
  uint32_t *start; /* per rule: its first state, or WN_G_MANY */
  uint32_t *queue; /* rules that are called, to be compiled */
  uint32_t n_queue;
  wn_err *e;
} maker;

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "grammar: out of memory");
}

static int add_state(maker *m, wn_gstate s, uint32_t *id) {
  wn_grammar *g = m->g;
  if (g->n_states >= 4 * (uint32_t)WN_MAX_GRAMMAR_NODES + 1048576)
    return wn_fail(m->e, WN_ELIMIT, "grammar: too large");
  if (!wn_groom(&g->state, g->n_states, &g->cap_states, 1, sizeof *g->state))
    return no_memory(m->e);
  *id = g->n_states++;
  g->state[*id] = s;
  return WN_OK;
}

/* Room for n branches; *first is the first of them. */
static int add_branches(maker *m, uint32_t n, uint32_t *first) {
  wn_grammar *g = m->g;
  if (!wn_groom(&g->branch, g->n_branches, &g->cap_branches, n,
                sizeof *g->branch))
    return no_memory(m->e);
  *first = g->n_branches;
  g->n_branches += n;
  return WN_OK;
}

static int make(maker *m, uint32_t node, uint32_t next, uint32_t *id);

static int make_text(maker *m, const wn_gnode *x, uint32_t next, uint32_t *id) {
  int rc = WN_OK;
  *id = next;
  for (uint32_t i = x->b; rc == WN_OK && i-- > 0;)
    rc = add_state(m,
                   (wn_gstate){.op = WN_OP_BYTE,
                               .a = (uint8_t)m->g->tree.pool[x->a + i],
                               .next = *id},
                   id);
  return rc;
}

static int make_rule(maker *m, uint32_t rule, uint32_t next, uint32_t *id) {
  const wn_grule *r = &m->g->tree.rule[rule];
  if (!r->recursive && r->size <= INLINE_SIZE && m->g->n_states < INLINE_STATES)
    return make(m, r->node, next, id);
  if (m->start[rule] == WN_G_MANY) { /* the body comes later */
    int rc = add_state(m, (wn_gstate){.op = WN_OP_SPLIT}, &m->start[rule]);
    if (rc != WN_OK) return rc;
    m->queue[m->n_queue++] = rule;
  }
  return add_state(
      m, (wn_gstate){.op = WN_OP_CALL, .a = m->start[rule], .next = next}, id);
}

static int make_alternatives(maker *m, const wn_gnode *x, uint32_t next,
                             uint32_t *id) {
  uint32_t first, list = x->a, n = x->b;
  int rc = add_branches(m, n, &first);
  for (uint32_t i = 0; rc == WN_OK && i < n; i++) {
    uint32_t s = 0;
    rc = make(m, m->g->tree.list[list + i], next, &s);
    m->g->branch[first + i] = s;
  }
  if (rc != WN_OK) return rc;
  return add_state(m, (wn_gstate){.op = WN_OP_SPLIT, .a = first, .b = n}, id);
}

/* body* : a state that goes into the body, which comes back, or on. */
static int make_loop(maker *m, uint32_t body, uint32_t next, uint32_t *id) {
  uint32_t first, s = 0;
  int rc = add_branches(m, 2, &first);
  if (rc == WN_OK)
    rc = add_state(m, (wn_gstate){.op = WN_OP_LOOP, .a = first, .b = 2}, id);
  if (rc == WN_OK) rc = make(m, body, *id, &s);
  if (rc != WN_OK) return rc;
  m->g->branch[first] = s;
  m->g->branch[first + 1] = next;
  return WN_OK;
}

static int make_optional(maker *m, uint32_t body, uint32_t next, uint32_t *id) {
  uint32_t first, s = 0;
  int rc = add_branches(m, 2, &first);
  if (rc == WN_OK) rc = make(m, body, next, &s);
  if (rc != WN_OK) return rc;
  m->g->branch[first] = s;
  m->g->branch[first + 1] = next;
  return add_state(m, (wn_gstate){.op = WN_OP_SPLIT, .a = first, .b = 2}, id);
}

/* body{min,max} with max > 1: COUNT body AGAIN. */
static int make_count(maker *m, uint32_t body, uint32_t min, uint32_t max,
                      uint32_t next, uint32_t *id) {
  uint32_t again, s = 0;
  int rc = add_state(
      m, (wn_gstate){.op = WN_OP_COUNT, .b = min, .c = max, .next = next}, id);
  if (rc == WN_OK)
    rc = add_state(m, (wn_gstate){.op = WN_OP_AGAIN, .a = *id, .next = next},
                   &again);
  if (rc == WN_OK) rc = make(m, body, again, &s);
  if (rc == WN_OK) m->g->state[*id].a = s;
  return rc;
}

static bool can_be_empty(const wn_gtree *t, uint32_t node);

static bool all_empty(const wn_gtree *t, const wn_gnode *x, bool any) {
  for (uint32_t k = 0; k < x->b; k++)
    if (can_be_empty(t, t->list[x->a + k]) == any) return any;
  return !any;
}

static bool can_be_empty(const wn_gtree *t, uint32_t node) {
  const wn_gnode *x = &t->node[node];
  switch (x->kind) {
    case WN_G_TEXT:
      return x->b == 0;
    case WN_G_RULE:
      return t->rule[x->a].empty;
    case WN_G_REPEAT:
      return x->b == 0 || x->c == 0 || can_be_empty(t, x->a);
    case WN_G_SEQ:
      return all_empty(t, x, false);
    case WN_G_ALT:
      return all_empty(t, x, true);
    default:
      return false;
  }
}

static int make_repeat(maker *m, wn_gnode x, uint32_t next, uint32_t *id) {
  uint32_t min = x.b, max = x.c, loop = next;
  int rc = WN_OK;
  *id = next;
  if (can_be_empty(&m->g->tree, x.a)) min = 0; /* nothing, min times */
  if (max == WN_G_MANY) {
    rc = make_loop(m, x.a, next, &loop);
    if (rc != WN_OK || min == 0) {
      *id = loop;
      return rc;
    }
    max = min; /* then exactly that often before the loop */
  }
  if (max == 0) return WN_OK;
  if (max > 1) return make_count(m, x.a, min, max, loop, id);
  return min == 1 ? make(m, x.a, loop, id) : make_optional(m, x.a, loop, id);
}

/* The states of a node that is followed by `next`; *id is the first. Depth is
 * bounded: groups by the parser, rules in place by their size. */
static int make(maker *m, uint32_t node, uint32_t next, uint32_t *id) {
  wn_gnode x = m->g->tree.node[node];
  int rc = WN_OK;
  switch (x.kind) {
    case WN_G_TEXT:
      return make_text(m, &x, next, id);
    case WN_G_CLASS:
      return add_state(
          m, (wn_gstate){.op = WN_OP_CLASS, .a = x.a, .next = next}, id);
    case WN_G_TOKEN:
    case WN_G_OTHER:
      m->g->has_tokens = true;
      return add_state(
          m,
          (wn_gstate){.op = x.kind == WN_G_TOKEN ? WN_OP_TOKEN : WN_OP_OTHER,
                      .a = x.a,
                      .next = next},
          id);
    case WN_G_RULE:
      return make_rule(m, x.a, next, id);
    case WN_G_ALT:
      return make_alternatives(m, &x, next, id);
    case WN_G_REPEAT:
      return make_repeat(m, x, next, id);
    case WN_G_SEQ:
      *id = next;
      for (uint32_t i = x.b; rc == WN_OK && i-- > 0;)
        rc = make(m, m->g->tree.list[x.a + i], *id, id);
      return rc;
  }
  return rc;
}

/* The bodies of rules that are called, until none is new. */
static int make_called(maker *m) {
  for (uint32_t i = 0; i < m->n_queue; i++) {
    uint32_t first, s, rule = m->queue[i];
    int rc = make(m, m->g->tree.rule[rule].node, 0, &s);
    if (rc == WN_OK) rc = add_branches(m, 1, &first);
    if (rc != WN_OK) return rc;
    m->g->branch[first] = s;
    wn_gstate *begin = &m->g->state[m->start[rule]];
    begin->a = first;
    begin->b = 1;
  }
  return WN_OK;
}

/* ---- kinds of bytes */

/* Splits the kinds by whether `set` holds a byte. */
static void split_kinds(wn_grammar *g, const uint64_t set[4]) {
  uint16_t moved[256];
  uint32_t n = g->n_kinds;
  bool in[256] = {false}, out[256] = {false};
  for (int b = 0; b < 256; b++)
    *((set[b / 64] >> (b % 64) & 1) != 0 ? &in[g->kind_of[b]]
                                         : &out[g->kind_of[b]]) = true;
  for (uint32_t k = 0; k < g->n_kinds; k++)
    moved[k] = (uint16_t)(in[k] && out[k] ? n++ : k);
  for (int b = 0; b < 256; b++)
    if ((set[b / 64] >> (b % 64) & 1) != 0)
      g->kind_of[b] = (uint8_t)moved[g->kind_of[b]];
  g->n_kinds = n;
}

static void split_range(wn_grammar *g, int low, int high) {
  uint64_t set[4] = {0};
  for (int b = low; b <= high; b++)
    set[b / 64] |= (uint64_t)1 << (b % 64);
  split_kinds(g, set);
}

/* Bytes above 127 differ by their part in UTF-8 only, unless some class or
 * text holds some of the characters above 127: then each is its own kind. */
static void find_kinds(wn_grammar *g) {
  static const uint8_t parts[][2] = {
      {0x80, 0x8F}, {0x90, 0x9F}, {0xA0, 0xBF}, {0xC2, 0xDF}, {0xE0, 0xE0},
      {0xE0, 0xEF}, {0xED, 0xED}, {0xF0, 0xF0}, {0xF0, 0xF3}, {0xF4, 0xF4}};
  bool some = false, seen[256] = {false};
  g->n_kinds = 1;
  for (uint32_t i = 0; i < g->n_states; i++) {
    const wn_gstate *s = &g->state[i];
    if (s->op != WN_OP_BYTE || seen[s->a]) continue;
    seen[s->a] = true;
    split_range(g, (int)s->a, (int)s->a);
    some |= s->a >= 128;
  }
  for (uint32_t i = 0; i < g->tree.n_classes; i++) {
    const wn_gclass *c = &g->tree.class_[i];
    uint64_t set[4] = {c->ascii[0], c->ascii[1], 0, 0};
    split_kinds(g, set);
    some |= c->n > 0 && !c->all;
  }
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    split_range(g, parts[i][0], parts[i][1]);
  for (int b = 128; some && b < 256; b++)
    split_range(g, b, b);
  for (int b = 255; b >= 0; b--)
    g->byte_of[g->kind_of[b]] = (uint8_t)b;
}

/* Which kinds begin a character of each class. */
static int find_class_kinds(wn_grammar *g, wn_err *e) {
  g->class_kinds = wn_calloc(WN_MEM_RUN, (size_t)g->tree.n_classes * 4 + 1,
                             sizeof(uint64_t));
  if (g->class_kinds == NULL) return no_memory(e);
  for (int b = 0; b < 256; b++) {
    uint32_t k = g->kind_of[b];
    uint64_t bit = (uint64_t)1 << (k % 64);
    if (b >= 0x80 && b < 0xC0) g->tail_kinds[k / 64] |= bit;
    for (uint32_t i = 0; i < g->tree.n_classes; i++) {
      const wn_gclass *c = &g->tree.class_[i];
      bool begins = b < 128 ? (c->ascii[b / 64] >> (b % 64) & 1) != 0
                            : c->n > 0 && b >= 0xC2 && b <= 0xF4;
      if (begins) g->class_kinds[(size_t)i * 4 + k / 64] |= bit;
    }
  }
  return WN_OK;
}

/* ---- life */

static int build(wn_grammar *g, wn_err *e) {
  uint32_t n = g->tree.n_rules;
  maker m = {.g = g, .e = e};
  m.start = wn_alloc(WN_MEM_RUN, n * sizeof *m.start);
  m.queue = wn_calloc(WN_MEM_RUN, n, sizeof *m.queue);
  int rc = m.start && m.queue ? WN_OK : no_memory(e);
  if (rc == WN_OK) {
    memset(m.start, 0xFF, n * sizeof *m.start);
    rc = add_state(&m, (wn_gstate){.op = WN_OP_RETURN}, &g->start);
  }
  if (rc == WN_OK) rc = make(&m, g->tree.rule[g->tree.root].node, 0, &g->start);
  if (rc == WN_OK) rc = make_called(&m);
  if (rc == WN_OK) {
    find_kinds(g);
    rc = find_class_kinds(g, e);
  }
  wn_free(m.start);
  wn_free(m.queue);
  return rc;
}

int wn_grammar_new(const char *text, size_t n, const char *root,
                   const wn_vocab *v, wn_grammar **out, wn_err *e) {
  *out = NULL;
  wn_grammar *g = wn_calloc(WN_MEM_RUN, 1, sizeof *g);
  if (g == NULL) return no_memory(e);
  atomic_init(&g->refs, 1);
  for (int i = 0; i < WN_GRAMMAR_SPARES; i++)
    atomic_init(&g->spare[i], NULL);
  int rc = wn_gbnf_parse(text, n, root, v, &g->tree, e);
  if (rc == WN_OK) rc = build(g, e);
  if (rc != WN_OK)
    wn_grammar_unref(g);
  else
    *out = g;
  return rc;
}

wn_grammar *wn_grammar_ref(wn_grammar *g) {
  atomic_fetch_add(&g->refs, 1);
  return g;
}

void wn_grammar_unref(wn_grammar *g) {
  if (g == NULL || atomic_fetch_sub(&g->refs, 1) != 1) return;
  for (int i = 0; i < WN_GRAMMAR_SPARES; i++)
    wn_learnt_free(atomic_load(&g->spare[i]));
  wn_gtree_free(&g->tree);
  wn_free(g->state);
  wn_free(g->branch);
  wn_free(g->class_kinds);
  wn_free(g);
}
