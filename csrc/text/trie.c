/* trie.c - see trie.h. */
#include "text/trie.h"

#include <string.h>

#include "base/mem.h"

static int oom(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "out of memory");
}

static uint64_t slot_of(const wn_trie *t, uint32_t from, uint8_t byte) {
  uint64_t h = ((uint64_t)from << 8 | byte) * UINT64_C(0x9E3779B97F4A7C15);
  return (h ^ h >> 32) & t->mask;
}

/* The slot of an edge: the one that holds it, or the empty one for it. */
static wn_edge *find(const wn_trie *t, uint32_t from, uint8_t byte) {
  uint64_t i = slot_of(t, from, byte);
  while (t->edge[i].to != 0 &&
         (t->edge[i].from != from || t->edge[i].byte != byte))
    i = (i + 1) & t->mask;
  return &t->edge[i];
}

/* Room for `more` further nodes, at most half of the slots full. */
static int grow(wn_trie *t, size_t more, wn_err *e) {
  uint64_t want = (uint64_t)t->n_nodes + more, cap = t->cap == 0 ? 64 : t->cap;
  if (want <= t->cap) return WN_OK;
  if (want > UINT32_MAX / 4)
    return wn_fail(e, WN_ELIMIT, "token texts make more than 2^30 trie nodes");
  while (cap < want)
    cap *= 2;
  uint32_t *value = wn_realloc(WN_MEM_TEXT, t->value, cap * sizeof *value);
  if (value == NULL) return oom(e);
  t->value = value;
  wn_edge *old = t->edge;
  uint64_t n_old = t->cap == 0 ? 0 : t->mask + 1;
  wn_edge *edge = wn_calloc(WN_MEM_TEXT, (size_t)cap * 2, sizeof *edge);
  if (edge == NULL) return oom(e);
  t->edge = edge;
  t->mask = cap * 2 - 1;
  t->cap = (uint32_t)cap;
  for (uint64_t i = 0; i < n_old; i++)
    if (old[i].to != 0) *find(t, old[i].from, old[i].byte) = old[i];
  wn_free(old);
  return WN_OK;
}

int wn_trie_init(wn_trie *t, wn_err *e) {
  memset(t, 0, sizeof *t);
  int rc = grow(t, 1, e);
  if (rc != WN_OK) return rc;
  t->n_nodes = 1;
  t->value[0] = WN_TRIE_NONE;
  return WN_OK;
}

void wn_trie_free(wn_trie *t) {
  wn_free(t->value);
  wn_free(t->fail);
  wn_free(t->edge);
  memset(t, 0, sizeof *t);
}

uint32_t wn_trie_step(const wn_trie *t, uint32_t node, uint8_t b) {
  return find(t, node, b)->to;
}

int wn_trie_put(wn_trie *t, const void *p, size_t n, uint32_t value,
                wn_err *e) {
  const uint8_t *s = p;
  uint32_t node = 0;
  int rc = grow(t, n, e);
  if (rc != WN_OK) return rc;
  for (size_t i = 0; i < n; i++) {
    wn_edge *ed = find(t, node, s[i]);
    if (ed->to == 0) {
      *ed = (wn_edge){node, t->n_nodes++, s[i]};
      t->value[ed->to] = WN_TRIE_NONE;
    }
    node = ed->to;
  }
  t->value[node] = value;
  return WN_OK;
}

/* Nodes were numbered parents first, but links need nearest to the root
 * first: edges are visited sorted by depth, by counting. */
typedef struct visit {
  uint32_t from, to;
  uint8_t byte;
} visit;

static visit *by_depth(const wn_trie *t) {
  uint32_t n = t->n_nodes;
  uint32_t *depth = wn_calloc(WN_MEM_TEXT, (size_t)n + 2, sizeof *depth);
  visit *in = wn_alloc(WN_MEM_TEXT, (size_t)n * sizeof *in);
  visit *out = wn_alloc(WN_MEM_TEXT, (size_t)n * sizeof *out);
  uint32_t *start = wn_calloc(WN_MEM_TEXT, (size_t)n + 2, sizeof *start);
  if (depth == NULL || in == NULL || out == NULL || start == NULL) {
    wn_free(out);
    out = NULL;
    goto done;
  }
  for (uint64_t i = 0; i <= t->mask; i++) {
    const wn_edge *ed = &t->edge[i];
    if (ed->to != 0) in[ed->to] = (visit){ed->from, ed->to, ed->byte};
  }
  for (uint32_t v = 1; v < n; v++) { /* a child's number exceeds its parent's */
    depth[v] = depth[in[v].from] + 1;
    start[depth[v] + 1]++;
  }
  for (uint32_t d = 1; d <= n; d++)
    start[d] += start[d - 1];
  for (uint32_t v = 1; v < n; v++)
    out[start[depth[v]]++] = in[v];
done:
  wn_free(depth);
  wn_free(in);
  wn_free(start);
  return out;
}

static int link(wn_trie *t, bool inherit, wn_err *e) {
  visit *order = by_depth(t);
  t->fail = wn_calloc(WN_MEM_TEXT, t->n_nodes, sizeof *t->fail);
  if (order == NULL || t->fail == NULL) {
    wn_free(order);
    return oom(e);
  }
  for (uint32_t i = 0; i + 1 < t->n_nodes; i++) {
    const visit *v = &order[i];
    t->fail[v->to] =
        v->from == 0 ? 0 : wn_trie_walk(t, t->fail[v->from], v->byte);
    if (inherit && t->value[v->to] == WN_TRIE_NONE)
      t->value[v->to] = t->value[t->fail[v->to]];
  }
  wn_free(order);
  return WN_OK;
}

uint32_t wn_trie_walk(const wn_trie *t, uint32_t node, uint8_t b) {
  for (;;) {
    uint32_t to = wn_trie_step(t, node, b);
    if (to != 0 || node == 0) return to;
    node = t->fail[node];
  }
}

int wn_trie_link(wn_trie *t, wn_err *e) {
  return link(t, false, e);
}

int wn_trie_link_longest(wn_trie *t, wn_err *e) {
  return link(t, true, e);
}
