/* tokens.h - the texts of a vocabulary as one trie, for walking.
 *
 * Nodes lie in preorder, so that a walk of all of them is a loop and leaving a
 * subtree is a jump. The edges of a node lie side by side, so that a walk which
 * follows few of them does not touch the others' nodes. Each node knows what
 * its subtree is made of - which ASCII bytes, any longer characters, how many
 * characters at most - so that a walk which knows that all of it fits takes the
 * whole subtree at once. Ids in `order` are those of the tokens in preorder: a
 * subtree is a range of them.
 *
 * Odd characters are those above 127 that patterns do not agree about - the
 * controls U+0080 to U+009F, the line ends U+2028 and U+2029 - and are not in
 * many a class that holds all others.
 *
 * In the trie are the tokens that have text when control tokens are not shown;
 * an empty text, a control token and one longer than 4096 bytes are not. */
#ifndef WN_CONSTRAIN_TOKENS_H
#define WN_CONSTRAIN_TOKENS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "text/vocab.h"

enum { WN_TOKENS_DEPTH = 4096 };

typedef struct wn_token_node {
  uint64_t ascii[2]; /* bytes below 128 that occur under this node */
  uint32_t skip;     /* the node after its subtree */
  uint32_t first;    /* its first token in `order`; its own come first */
  uint32_t edge;     /* its first edge */
  uint16_t n_edges;
  uint16_t depth;  /* bytes from the root */
  uint16_t height; /* most characters that begin under it */
  uint8_t byte;
  bool longer; /* characters above 127 under it */
  bool odd;    /* odd ones among them */
  bool broken; /* bytes that are not UTF-8 under it */
} wn_token_node;

/* What a walk needs of the node that an edge leads to. */
typedef struct wn_token_edge {
  uint32_t first, last; /* its own tokens in `order`: first to last - 1 */
  uint32_t edge, n_edges;
} wn_token_edge;

typedef struct wn_plain wn_plain;

typedef struct wn_tokens {
  atomic_uint refs;
  _Atomic(wn_plain *) plain; /* see plain.h */
  wn_token_edge *edge; /* of each node side by side, in order of their bytes */
  uint8_t *edge_byte;
  uint32_t *edge_node;
  wn_token_node *node; /* node 0 is the root; node[n_nodes] ends the list */
  uint32_t n_nodes;
  int32_t *order;
  uint16_t *chars; /* of the tokens in `order`: characters that begin in them */
  uint32_t n_tokens;
  uint32_t n_vocab;
  uint64_t *ends;  /* bit per id: the token ends a text */
  uint64_t *texts; /* bit per id: the token is in the trie */
  uint32_t n_ends;
  wn_vocab *vocab;
} wn_tokens;

/* From the vocabulary, of which it keeps a reference. Immutable, but for
 * `plain`. */
int wn_tokens_new(wn_vocab *v, wn_tokens **out, wn_err *e);
wn_tokens *wn_tokens_ref(wn_tokens *t);
void wn_tokens_unref(wn_tokens *t);

#endif
