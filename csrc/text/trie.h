/* trie.h - byte tries: longest prefixes, and many patterns at once.
 *
 * Edges live in one hash table keyed by (node, byte), so that memory is in
 * proportion to the nodes. Node 0 is the root. With wn_trie_link a trie
 * becomes an automaton that finds which strings occur in a text in linear
 * time (Aho and Corasick, 1975). */
#ifndef WN_TEXT_TRIE_H
#define WN_TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define WN_TRIE_NONE UINT32_MAX

typedef struct wn_edge {
  uint32_t from, to; /* to 0: empty slot */
  uint8_t byte;
} wn_edge;

typedef struct wn_trie {
  uint32_t n_nodes;
  uint32_t cap;    /* nodes that there is room for */
  uint32_t *value; /* per node: what ends here, or WN_TRIE_NONE */
  uint32_t *fail;  /* automaton: node of the longest proper suffix */
  wn_edge *edge;
  uint64_t mask;
} wn_trie;

/* An empty trie. Failures leave *t for wn_trie_free. */
int wn_trie_init(wn_trie *t, wn_err *e);
void wn_trie_free(wn_trie *t);

/* Adds a string; an equal earlier one gets the new value. */
int wn_trie_put(wn_trie *t, const void *p, size_t n, uint32_t value, wn_err *e);

/* The child of `node` for byte b, or 0. */
uint32_t wn_trie_step(const wn_trie *t, uint32_t node, uint8_t b);

/* Computes the suffix links. */
int wn_trie_link(wn_trie *t, wn_err *e);
/* The same; a node without a value gets that of the longest string which ends
 * there: longest prefixes are gone, wn_trie_walk finds the longest suffix. */
int wn_trie_link_longest(wn_trie *t, wn_err *e);
/* The node after reading b in `node`, following suffix links. */
uint32_t wn_trie_walk(const wn_trie *t, uint32_t node, uint8_t b);

#endif
