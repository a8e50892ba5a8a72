/* trie.h - byte tries: longest prefixes, and many patterns at once.
 *
 * Strings are put in, then wn_trie_pack makes the form that is read. Children
 * of a node stand side by side in the order of their bytes: it holds the number
 * of the first one and up to seven bytes that lead to them, which one
 * comparison of eight bytes searches; the few nodes with more children have a
 * set of 256 bits. In all 16 bytes a node and at most 5 more for a child of
 * such a node, whatever the strings are. A step mostly reads one node, which
 * is near the one before.
 *
 * With wn_trie_link a trie becomes an automaton that finds which strings occur
 * in a text in linear time (Aho and Corasick, 1975). Node 0 is the root. */
#ifndef WN_TEXT_TRIE_H
#define WN_TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define WN_TRIE_NONE UINT32_MAX

/* Bits of `keys`, from the lowest: seven bytes, those behind the last child
 * repeat the first; then the number of children, or 255: the lowest 32 bits
 * are an index of `wide`. */
typedef struct wn_trie_node {
  uint64_t keys;
  uint32_t first; /* child; 0: there is none */
  uint32_t value; /* what ends here, or WN_TRIE_NONE */
} wn_trie_node;

typedef struct wn_trie_wide {
  uint64_t bits[4];
  uint16_t before[4]; /* children before each of the four */
} wn_trie_wide;

typedef struct wn_edge {
  uint32_t from, to; /* to 0: empty slot */
  uint8_t byte;
} wn_edge;

typedef struct wn_trie {
  uint32_t n_nodes;
  wn_trie_node *node;
  wn_trie_wide *wide;
  uint32_t *fail; /* automaton: node of the longest proper suffix */
  /* until it is packed: values, and edges in a hash table by (from, byte) */
  uint32_t cap; /* nodes that there is room for */
  uint32_t *value;
  wn_edge *edge;
  uint64_t mask;
} wn_trie;

/* An empty trie. Failures leave *t for wn_trie_free. */
int wn_trie_init(wn_trie *t, wn_err *e);
void wn_trie_free(wn_trie *t);

/* Adds a string; an equal earlier one gets the new value. */
int wn_trie_put(wn_trie *t, const void *p, size_t n, uint32_t value, wn_err *e);
/* All strings are in: what follows can be asked, nothing more can be put. */
int wn_trie_pack(wn_trie *t, wn_err *e);

/* Packs, and computes the suffix links. */
int wn_trie_link(wn_trie *t, wn_err *e);
/* The same; a node without a value gets that of the longest string which ends
 * there: longest prefixes are gone, wn_trie_walk finds the longest suffix. */
int wn_trie_link_longest(wn_trie *t, wn_err *e);

/* The child of a node with more than seven, or 0. */
uint32_t wn_trie_step_wide(const wn_trie *t, const wn_trie_node *x, uint8_t b);

/* The child of `node` for byte b, or 0. */
static inline uint32_t wn_trie_step(const wn_trie *t, uint32_t node,
                                    uint8_t b) {
  const uint64_t ones = UINT64_C(0x0001010101010101);
  const wn_trie_node *x = &t->node[node];
  if (x->keys >> 56 == 255) return wn_trie_step_wide(t, x, b);
  /* the lowest byte that is 0, if one is, has the lowest high bit */
  uint64_t differs = (x->keys ^ ones * b) & UINT64_C(0x00FFFFFFFFFFFFFF);
  uint64_t hit = (differs - ones) & ~differs & ones << 7;
  if (hit == 0 || x->first == 0) return 0;
  return x->first + (uint32_t)__builtin_ctzll(hit) / 8;
}

static inline uint32_t wn_trie_value(const wn_trie *t, uint32_t node) {
  return t->node[node].value;
}

/* The node after reading b in `node`, following suffix links. */
uint32_t wn_trie_walk(const wn_trie *t, uint32_t node, uint8_t b);

#endif
