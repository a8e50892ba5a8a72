/* ban.c - see ban.h.
 *
 * What a token completes depends on the node that the text has led to. The
 * list of the root - tokens that hold a string - is made at once; that of
 * another node when the text first gets there, and only as far as the paths
 * from there and from the root differ. */
#include "constrain/ban.h"

#include <string.h>

#include "base/mem.h"
#include "constrain/gbnf.h"
#include "text/trie.h"

enum { MAX_BANNED = 65536 };

typedef struct list {
  int32_t *ids;
  uint32_t n, cap;
  bool known;
} list;

struct wn_ban {
  wn_tokens *tokens;
  wn_trie trie;
  list *of;       /* per node: what may not come */
  uint32_t *path; /* per byte of a token: the node from here, from the root */
  uint32_t at;
  char *piece;
};

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "banned strings: out of memory");
}

/* Does a string end at the node? */
static bool hits(const wn_trie *t, uint32_t node) {
  for (; node != 0; node = t->fail[node])
    if (wn_trie_value(t, node) != WN_TRIE_NONE) return true;
  return false;
}

static int add(list *l, const int32_t *ids, uint32_t n, wn_err *e) {
  if (!wn_groom(&l->ids, l->n, &l->cap, n, sizeof *ids)) return no_memory(e);
  if (n > 0) memcpy(l->ids + l->n, ids, n * sizeof *ids);
  l->n += n;
  return WN_OK;
}

/* Lists the tokens that complete a string from the node; for a node that is
 * not the root, those that do so from the root come first. */
static int fill(wn_ban *b, uint32_t from, wn_err *e) {
  const wn_tokens *t = b->tokens;
  list *l = &b->of[from];
  uint32_t *here = b->path, *root = b->path + WN_TOKENS_DEPTH + 1;
  int rc = from == 0 ? WN_OK : add(l, b->of[0].ids, b->of[0].n, e);
  here[0] = from;
  root[0] = from == 0 ? WN_TRIE_NONE : 0;
  for (uint32_t i = 1; rc == WN_OK && i < t->n_nodes;) {
    const wn_token_node *n = &t->node[i];
    uint32_t x = wn_trie_walk(&b->trie, here[n->depth - 1], n->byte);
    uint32_t r = from == 0
                     ? WN_TRIE_NONE
                     : wn_trie_walk(&b->trie, root[n->depth - 1], n->byte);
    bool same = x == r, hit = !same && hits(&b->trie, x);
    here[n->depth] = x;
    root[n->depth] = r;
    if (hit) /* the whole subtree holds it */
      rc = add(l, t->order + n->first, t->node[n->skip].first - n->first, e);
    i = same || hit ? n->skip : i + 1;
  }
  l->known = rc == WN_OK;
  return rc;
}

int wn_ban_new(wn_tokens *t, const wn_str *s, size_t n, wn_ban **out,
               wn_err *e) {
  *out = NULL;
  size_t bytes = 0;
  for (size_t i = 0; i < n; i++) {
    if (s[i].n == 0) return wn_fail(e, WN_EARG, "banned: an empty string");
    bytes += s[i].n;
    if (s[i].n > MAX_BANNED || bytes > MAX_BANNED)
      return wn_fail(e, WN_ELIMIT, "banned: over %d bytes", MAX_BANNED);
  }
  wn_ban *b = wn_calloc(WN_MEM_RUN, 1, sizeof *b);
  if (b == NULL) return no_memory(e);
  int rc = wn_trie_init(&b->trie, e);
  b->tokens = wn_tokens_ref(t);
  for (size_t i = 0; rc == WN_OK && i < n; i++)
    rc = wn_trie_put(&b->trie, s[i].p, s[i].n, 1, e);
  if (rc == WN_OK) rc = wn_trie_link(&b->trie, e);
  if (rc == WN_OK) {
    b->of = wn_calloc(WN_MEM_RUN, b->trie.n_nodes, sizeof *b->of);
    b->path = wn_calloc(WN_MEM_RUN, 2 * (WN_TOKENS_DEPTH + 1), sizeof *b->path);
    b->piece = wn_alloc(WN_MEM_RUN, WN_TOKENS_DEPTH);
    if (!b->of || !b->path || !b->piece) rc = no_memory(e);
  }
  if (rc == WN_OK) rc = fill(b, 0, e);
  if (rc != WN_OK)
    wn_ban_free(b);
  else
    *out = b;
  return rc;
}

void wn_ban_free(wn_ban *b) {
  if (b == NULL) return;
  for (uint32_t i = 0; b->of != NULL && i < b->trie.n_nodes; i++)
    wn_free(b->of[i].ids);
  wn_free(b->of);
  wn_free(b->path);
  wn_free(b->piece);
  wn_trie_free(&b->trie);
  wn_tokens_unref(b->tokens);
  wn_free(b);
}

void wn_ban_reset(wn_ban *b) {
  b->at = 0;
}

void wn_ban_accept(wn_ban *b, int32_t id) {
  size_t n =
      wn_vocab_piece(b->tokens->vocab, id, false, b->piece, WN_TOKENS_DEPTH);
  for (size_t i = 0; i < n && n <= WN_TOKENS_DEPTH; i++)
    b->at = wn_trie_walk(&b->trie, b->at, (uint8_t)b->piece[i]);
}

int wn_ban_now(wn_ban *b, const int32_t **ids, uint32_t *n, wn_err *e) {
  list *l = &b->of[b->at];
  if (!l->known) {
    l->n = 0;
    int rc = fill(b, b->at, e);
    if (rc != WN_OK) return rc;
  }
  *ids = l->ids;
  *n = l->n;
  return WN_OK;
}
