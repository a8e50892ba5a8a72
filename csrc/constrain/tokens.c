/* tokens.c - see tokens.h: sorts the texts, then lays out the nodes by what
 * each has in common with the one before. */
#include "constrain/tokens.h"

#include <string.h>

#include "base/mem.h"
#include "constrain/plain.h"

typedef struct text { /* of one token, in the pool */
  uint32_t off, n;
  int32_t id;
} text;

typedef struct build {
  wn_tokens *t;
  char *pool;
  size_t n_pool;
  text *list, *spare;
  uint32_t n;
  uint32_t *parent; /* of each node */
  wn_err *e;
} build;

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "vocabulary trie: out of memory");
}

/* ---- texts */

/* Every token's text into the pool; marks those that end a text. */
static int collect(build *b) {
  const wn_vocab *v = b->t->vocab;
  uint32_t n = b->t->n_vocab;
  size_t bytes = 0;
  for (uint32_t i = 0; i < n; i++)
    bytes += wn_vocab_piece(v, (int32_t)i, false, NULL, 0);
  if (bytes > UINT32_MAX)
    return wn_fail(b->e, WN_ELIMIT, "vocabulary trie: over 4 GiB of text");
  b->pool = wn_alloc(WN_MEM_TEXT, bytes);
  b->list = wn_calloc(WN_MEM_TEXT, n, sizeof *b->list);
  b->spare = wn_calloc(WN_MEM_TEXT, n, sizeof *b->spare);
  if (!b->pool || !b->list || !b->spare) return no_memory(b->e);
  for (uint32_t i = 0; i < n; i++) {
    if (wn_vocab_is_eog(v, (int32_t)i)) {
      b->t->ends[i / 64] |= (uint64_t)1 << (i % 64);
      b->t->n_ends++;
      continue; /* the text of an end never shows */
    }
    size_t len = wn_vocab_piece(v, (int32_t)i, false, b->pool + b->n_pool,
                                bytes - b->n_pool);
    if (len == 0 || len > WN_TOKENS_DEPTH) continue;
    b->list[b->n++] = (text){(uint32_t)b->n_pool, (uint32_t)len, (int32_t)i};
    b->n_pool += len;
  }
  return WN_OK;
}

static bool comes_before(const build *b, const text *x, const text *y) {
  uint32_t n = x->n < y->n ? x->n : y->n;
  int c = memcmp(b->pool + x->off, b->pool + y->off, n);
  return c != 0 ? c < 0 : x->n != y->n ? x->n < y->n : x->id < y->id;
}

/* Merges the sorted runs [lo, mid) and [mid, hi) into the spare list. */
static void merge(build *b, uint32_t lo, uint32_t mid, uint32_t hi) {
  uint32_t i = lo, j = mid;
  for (uint32_t k = lo; k < hi; k++) {
    bool left =
        i < mid && (j >= hi || !comes_before(b, &b->list[j], &b->list[i]));
    b->spare[k] = b->list[left ? i++ : j++];
  }
}

static void sort_texts(build *b) {
  for (uint32_t width = 1; width < b->n; width *= 2) {
    for (uint32_t lo = 0; lo < b->n; lo += 2 * width) {
      uint32_t mid = b->n - lo > width ? lo + width : b->n;
      uint32_t hi = b->n - mid > width ? mid + width : b->n;
      merge(b, lo, mid, hi);
    }
    text *t = b->list;
    b->list = b->spare;
    b->spare = t;
  }
}

static uint32_t in_common(const build *b, const text *x, const text *y) {
  uint32_t i = 0;
  while (i < x->n && i < y->n && b->pool[x->off + i] == b->pool[y->off + i])
    i++;
  return i;
}

/* ---- nodes */

/* Lays out the nodes of the sorted texts, in preorder. */
static int lay_out(build *b) {
  wn_tokens *t = b->t;
  uint32_t n_nodes = 1, path[WN_TOKENS_DEPTH + 1] = {0};
  for (uint32_t i = 0; i < b->n; i++)
    n_nodes +=
        b->list[i].n - (i > 0 ? in_common(b, &b->list[i - 1], &b->list[i]) : 0);
  t->node = wn_calloc(WN_MEM_TEXT, (size_t)n_nodes + 1, sizeof *t->node);
  t->order = wn_calloc(WN_MEM_TEXT, b->n, sizeof *t->order);
  t->chars = wn_calloc(WN_MEM_TEXT, b->n, sizeof *t->chars);
  b->parent = wn_calloc(WN_MEM_TEXT, n_nodes, sizeof *b->parent);
  if (!t->node || !t->order || !t->chars || !b->parent) return no_memory(b->e);
  t->n_nodes = 1;
  for (uint32_t i = 0; i < b->n; i++) {
    const text *x = &b->list[i];
    uint32_t d = i > 0 ? in_common(b, &b->list[i - 1], x) : 0;
    for (; d < x->n; d++) {
      uint32_t at = t->n_nodes++;
      t->node[at].byte = (uint8_t)b->pool[x->off + d];
      t->node[at].depth = (uint16_t)(d + 1);
      t->node[at].first = i;
      b->parent[at] = path[d];
      path[d + 1] = at;
    }
    t->order[i] = x->id;
    for (d = 0; d < x->n; d++)
      if (((uint8_t)b->pool[x->off + d] & 0xC0) != 0x80) t->chars[i]++;
    t->texts[x->id / 64] |= (uint64_t)1 << (x->id % 64);
  }
  t->n_tokens = b->n;
  t->node[n_nodes].first = b->n;
  t->node[n_nodes].skip = n_nodes;
  return WN_OK;
}

/* Bytes that a lead byte asks for after it; -1: not a lead byte. */
static int n_more(uint8_t c) {
  return c >= 0xC2 && c < 0xE0   ? 1
         : c >= 0xE0 && c < 0xF0 ? 2
         : c >= 0xF0 && c < 0xF5 ? 3
                                 : -1;
}

/* May the second byte of a character follow the first? (no overlong forms, no
 * surrogates, nothing above U+10FFFF) */
static bool may_follow(uint8_t first, uint8_t c) {
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return c >= low && c <= high;
}

/* Is this UTF-8, but for up to 3 bytes at the start that end a character and
 * a character cut off at the end? */
static bool is_utf8(const uint8_t *s, uint32_t n) {
  uint32_t i = 0;
  while (i < n && i < 3 && (s[i] & 0xC0) == 0x80)
    i++;
  while (i < n) {
    if (s[i] < 0x80) {
      i++;
      continue;
    }
    uint8_t first = s[i++];
    int more = n_more(first);
    if (more < 0 || (i < n && !may_follow(first, s[i]))) return false;
    for (; more > 0 && i < n; more--, i++)
      if ((s[i] & 0xC0) != 0x80) return false;
  }
  return true;
}

/* Do all bytes up to the node end a character that began before the token?
 * More of them may follow, or not: it is not known where characters begin. */
static bool is_tail(const build *b, uint32_t i) {
  for (; i != 0; i = b->parent[i])
    if ((b->t->node[i].byte & 0xC0) != 0x80) return false;
  return true;
}

/* Does an odd character end at the node? */
static bool is_odd(const build *b, uint32_t i) {
  const wn_token_node *node = b->t->node;
  uint32_t p = b->parent[i], q = b->parent[p];
  uint8_t c = node[i].byte;
  if (p == 0) return false;
  if (node[p].byte == 0xC2) return c >= 0x80 && c < 0xA0;
  return q != 0 && node[q].byte == 0xE2 && node[p].byte == 0x80 &&
         (c == 0xA8 || c == 0xA9);
}

/* Adds what node i and its subtree are to what its parent's subtree is. */
static void add_up(build *b, uint32_t i, uint32_t parent) {
  wn_token_node *c = &b->t->node[i], *p = &b->t->node[parent];
  bool begins = (c->byte & 0xC0) != 0x80;
  uint32_t height = (uint32_t)c->height + begins;
  if (c->byte < 128)
    p->ascii[c->byte / 64] |= (uint64_t)1 << (c->byte % 64);
  else
    p->longer = true;
  p->ascii[0] |= c->ascii[0];
  p->ascii[1] |= c->ascii[1];
  p->longer |= c->longer;
  p->odd |= c->odd | is_odd(b, i);
  p->broken |= c->broken | (!begins && is_tail(b, parent));
  if (height > p->height) p->height = (uint16_t)height;
}

/* Marks the path to each token that is not UTF-8; then sums up, children
 * before parents. */
static void summarise(build *b) {
  wn_tokens *t = b->t;
  uint32_t end = t->n_nodes;
  for (uint32_t i = end; i-- > 0;) /* the last node of each token */
    for (uint32_t k = t->node[i].first; k < t->node[i + 1].first; k++) {
      const text *x = &b->list[k];
      if (is_utf8((const uint8_t *)b->pool + x->off, x->n)) continue;
      for (uint32_t p = i; p != 0; p = b->parent[p])
        t->node[p].broken = true;
    }
  t->node[0].skip = end;
  for (uint32_t i = end; i-- > 1;) {
    uint32_t next = i + 1;
    while (next < end && t->node[next].depth > t->node[i].depth)
      next = t->node[next].skip;
    t->node[i].skip = next;
    add_up(b, i, b->parent[i]);
  }
}

/* The edges of each node, in the order of their bytes. */
static int add_edges(build *b) {
  wn_tokens *t = b->t;
  uint32_t at = 0;
  t->edge = wn_calloc(WN_MEM_TEXT, t->n_nodes, sizeof *t->edge);
  t->edge_byte = wn_calloc(WN_MEM_TEXT, t->n_nodes, 1);
  t->edge_node = wn_calloc(WN_MEM_TEXT, t->n_nodes, sizeof *t->edge_node);
  if (!t->edge || !t->edge_byte || !t->edge_node) return no_memory(b->e);
  for (uint32_t i = 0; i < t->n_nodes; i++) {
    wn_token_node *n = &t->node[i];
    n->edge = at;
    for (uint32_t c = i + 1; c < n->skip; c = t->node[c].skip) {
      t->edge_byte[at] = t->node[c].byte;
      t->edge_node[at++] = c;
    }
    n->n_edges = (uint16_t)(at - n->edge);
  }
  for (uint32_t k = 0; k < at; k++) {
    const wn_token_node *n = &t->node[t->edge_node[k]];
    t->edge[k] = (wn_token_edge){n->first, n[1].first, n->edge, n->n_edges};
  }
  return WN_OK;
}

int wn_tokens_new(wn_vocab *v, wn_tokens **out, wn_err *e) {
  *out = NULL;
  build b = {.e = e};
  b.t = wn_calloc(WN_MEM_TEXT, 1, sizeof *b.t);
  if (b.t == NULL) return no_memory(e);
  atomic_init(&b.t->refs, 1);
  atomic_init(&b.t->plain, NULL);
  b.t->vocab = wn_vocab_ref(v);
  b.t->n_vocab = wn_vocab_size(v);
  b.t->ends = wn_calloc(WN_MEM_TEXT, b.t->n_vocab / 64 + 1, sizeof *b.t->ends);
  b.t->texts = wn_calloc(WN_MEM_TEXT, b.t->n_vocab / 64 + 1, sizeof(uint64_t));
  int rc = b.t->ends && b.t->texts ? collect(&b) : no_memory(e);
  if (rc == WN_OK) {
    sort_texts(&b);
    rc = lay_out(&b);
  }
  if (rc == WN_OK) {
    summarise(&b);
    rc = add_edges(&b);
  }
  wn_free(b.pool);
  wn_free(b.list);
  wn_free(b.spare);
  wn_free(b.parent);
  if (rc != WN_OK)
    wn_tokens_unref(b.t);
  else
    *out = b.t;
  return rc;
}

wn_tokens *wn_tokens_ref(wn_tokens *t) {
  atomic_fetch_add(&t->refs, 1);
  return t;
}

void wn_tokens_unref(wn_tokens *t) {
  if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1) return;
  wn_free(t->node);
  wn_free(t->edge);
  wn_free(t->edge_byte);
  wn_free(t->edge_node);
  wn_free(t->order);
  wn_free(t->chars);
  wn_plain_free(atomic_load(&t->plain));
  wn_free(t->ends);
  wn_free(t->texts);
  wn_vocab_unref(t->vocab);
  wn_free(t);
}
