/* trie.c - see trie.h. */
#include "text/trie.h"

#include <string.h>

#include "base/mem.h"

static int oom(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "out of memory");
}

/* ---- putting strings in ---- */

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

static void free_edges(wn_trie *t) {
  wn_free(t->value);
  wn_free(t->edge);
  t->value = NULL;
  t->edge = NULL;
}

void wn_trie_free(wn_trie *t) {
  free_edges(t);
  wn_free(t->node);
  wn_free(t->wide);
  wn_free(t->fail);
  memset(t, 0, sizeof *t);
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

/* ---- packing ---- */

enum { FEW = 7, WIDE = 255 };

/* Children of the nodes as they were put: those of node i are
 * child[start[i]] to child[start[i + 1]], by their bytes. */
typedef struct kids {
  uint32_t *start;
  uint64_t *child; /* byte << 32 | node */
  uint64_t *todo;  /* packed number << 32 | number before */
} kids;

static void sort_few(uint64_t *a, size_t n) {
  for (size_t i = 1; i < n; i++) {
    uint64_t x = a[i];
    size_t k = i;
    for (; k > 0 && a[k - 1] > x; k--)
      a[k] = a[k - 1];
    a[k] = x;
  }
}

static bool list_kids(const wn_trie *t, kids *k) {
  size_t n = t->n_nodes;
  k->start = wn_calloc(WN_MEM_TEXT, n + 1, sizeof *k->start);
  k->child = wn_alloc(WN_MEM_TEXT, n * sizeof *k->child);
  k->todo = wn_alloc(WN_MEM_TEXT, n * sizeof *k->todo);
  if (k->start == NULL || k->child == NULL || k->todo == NULL) return false;
  for (uint64_t i = 0; i <= t->mask; i++)
    if (t->edge[i].to != 0) k->start[t->edge[i].from]++;
  for (size_t i = 0; i < n; i++) /* to where the children of i end */
    k->start[i + 1] += k->start[i];
  for (uint64_t i = 0; i <= t->mask; i++) {
    const wn_edge *ed = &t->edge[i];
    if (ed->to != 0)
      k->child[--k->start[ed->from]] = (uint64_t)ed->byte << 32 | ed->to;
  }
  for (size_t i = 0; i < n; i++)
    sort_few(k->child + k->start[i], k->start[i + 1] - k->start[i]);
  return true;
}

/* The bytes of a node's n children. */
static uint64_t pack_keys(wn_trie *t, const uint64_t *child, size_t n,
                          uint32_t *n_wide) {
  uint64_t keys = (uint64_t)n << 56;
  for (size_t i = 0; n <= FEW && n > 0 && i < FEW; i++)
    keys |= (child[i < n ? i : 0] >> 32) << 8 * i;
  if (n <= FEW) return keys;
  wn_trie_wide *w = &t->wide[*n_wide];
  for (size_t i = 0; i < n; i++) {
    uint32_t byte = (uint32_t)(child[i] >> 32);
    w->bits[byte / 64] |= UINT64_C(1) << byte % 64;
    for (uint32_t q = byte / 64 + 1; q < 4; q++)
      w->before[q]++;
  }
  return (uint64_t)WIDE << 56 | (*n_wide)++;
}

/* Numbers the nodes along the paths: a child is near its parent. */
static void number(wn_trie *t, kids *k) {
  uint32_t next = 1, wide = 0;
  size_t n = 1;
  k->todo[0] = 0;
  while (n > 0) {
    uint64_t x = k->todo[--n];
    uint32_t was = (uint32_t)x, from = k->start[was];
    uint32_t m = k->start[was + 1] - from;
    const uint64_t *child = k->child + from;
    t->node[x >> 32] = (wn_trie_node){pack_keys(t, child, m, &wide),
                                      m > 0 ? next : 0, t->value[was]};
    for (uint32_t c = m; c-- > 0;)
      k->todo[n++] = (uint64_t)(next + c) << 32 | (uint32_t)child[c];
    next += m;
  }
}

int wn_trie_pack(wn_trie *t, wn_err *e) {
  kids k = {NULL, NULL, NULL};
  size_t n = t->n_nodes, wide = 0;
  bool ok = list_kids(t, &k);
  for (size_t i = 0; ok && i < n; i++)
    wide += k.start[i + 1] - k.start[i] > FEW;
  t->node = wn_alloc(WN_MEM_TEXT, n * sizeof *t->node);
  t->wide = wn_calloc(WN_MEM_TEXT, wide + 1, sizeof *t->wide);
  ok = ok && t->node != NULL && t->wide != NULL;
  if (ok) number(t, &k);
  wn_free(k.start);
  wn_free(k.child);
  wn_free(k.todo);
  free_edges(t);
  return ok ? WN_OK : oom(e);
}

/* ---- reading ---- */

/* Bits set in x, without an instruction for it. */
static uint32_t count_bits(uint64_t x) {
  x -= x >> 1 & UINT64_C(0x5555555555555555);
  x = (x & UINT64_C(0x3333333333333333)) +
      (x >> 2 & UINT64_C(0x3333333333333333));
  x = (x + (x >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
  return (uint32_t)(x * UINT64_C(0x0101010101010101) >> 56);
}

uint32_t wn_trie_step_wide(const wn_trie *t, const wn_trie_node *x, uint8_t b) {
  const wn_trie_wide *w = &t->wide[(uint32_t)x->keys];
  uint64_t bits = w->bits[b / 64], bit = UINT64_C(1) << b % 64;
  if ((bits & bit) == 0) return 0;
  return x->first + w->before[b / 64] + count_bits(bits & (bit - 1));
}

uint32_t wn_trie_walk(const wn_trie *t, uint32_t node, uint8_t b) {
  for (;;) {
    uint32_t to = wn_trie_step(t, node, b);
    if (to != 0 || node == 0) return to;
    node = t->fail[node];
  }
}

/* Nearest to the root first: the links of shorter strings are known. */
static int link(wn_trie *t, bool inherit, wn_err *e) {
  int rc = wn_trie_pack(t, e);
  if (rc != WN_OK) return rc;
  uint32_t *queue = wn_alloc(WN_MEM_TEXT, t->n_nodes * sizeof *queue);
  t->fail = wn_calloc(WN_MEM_TEXT, t->n_nodes, sizeof *t->fail);
  if (t->fail == NULL || queue == NULL) {
    wn_free(queue);
    return oom(e);
  }
  queue[0] = 0;
  for (uint32_t i = 0, n = 1; i < n; i++) {
    uint32_t from = queue[i], to;
    for (unsigned b = 0; t->node[from].first != 0 && b < 256; b++) {
      if ((to = wn_trie_step(t, from, (uint8_t)b)) == 0) continue;
      if (from != 0) t->fail[to] = wn_trie_walk(t, t->fail[from], (uint8_t)b);
      if (inherit && t->node[to].value == WN_TRIE_NONE)
        t->node[to].value = t->node[t->fail[to]].value;
      queue[n++] = to;
    }
  }
  wn_free(queue);
  return WN_OK;
}

int wn_trie_link(wn_trie *t, wn_err *e) {
  return link(t, false, e);
}

int wn_trie_link_longest(wn_trie *t, wn_err *e) {
  return link(t, true, e);
}
