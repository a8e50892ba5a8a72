/* merge.h - merging neighbours, best pair first, in O(n log n).
 *
 * The engine of BPE and SPM: a row of symbols, a table that says which
 * neighbours may merge, into what and how urgently. The pair with the lowest
 * priority number merges first, of equals the leftmost; this repeats until no
 * pair is left. Short rows are searched directly, long ones use a heap. */
#ifndef WN_TEXT_MERGE_H
#define WN_TEXT_MERGE_H

#include "text/parts.h"

/* Arrays of one merge, kept from word to word. All have `cap` elements. */
typedef struct wn_merge {
  size_t cap;
  uint32_t n;
  uint32_t *sym;   /* symbol number, WN_NONE: matches nothing */
  uint32_t *start; /* offset of its first byte; start[n] = length */
  uint32_t *next;  /* index of the next live symbol; n at the end */
  uint32_t *prev;
  uint32_t *prio;   /* of the pair (i, next[i]); WN_NONE: no pair */
  uint32_t *result; /* what that pair becomes */
  uint64_t *heap;   /* prio << 32 | i */
  size_t n_heap, heap_cap;
} wn_merge;

/* Finds the pair of live symbols i and j = next[i] in the tables of `ctx`;
 * stores priority and result, or returns false. */
typedef bool (*wn_pair_fn)(const void *ctx, const wn_merge *m, uint32_t i,
                           uint32_t j, uint32_t *prio, uint32_t *result);

/* Longest row; beyond it a text without a place to split is refused. */
enum { WN_MAX_MERGE = 1 << 26 };

/* Room for n symbols: WN_ENOMEM, WN_ELIMIT. */
int wn_merge_reserve(wn_merge *m, size_t n, wn_err *e);
void wn_merge_free(wn_merge *m);
/* Merges sym[0..n), start[0..n] set. Afterwards the live symbols are 0,
 * next[0], ... up to n. */
int wn_merge_run(wn_merge *m, wn_pair_fn pair, const void *ctx, wn_err *e);

#endif
