/* merge.h - merging neighbours, best pair first, in about linear time.
 *
 * The engine of BPE and SPM: a row of symbols, a table that says which
 * neighbours may merge, into what and how urgently. The pair with the lowest
 * priority number merges first, of equals the leftmost; this repeats until no
 * pair is left. Priorities are dense: 0 to n_prio - 1.
 *
 * Short rows are searched directly. For long rows each priority has a bucket,
 * a list of the positions where its pair stands; in all, 32 bytes a symbol. The
 * first bucket that is not empty is swept from left to right; pairs that come
 * into being meanwhile go to their buckets, or, in the rare case that they are
 * at least as urgent as the bucket being swept, to a small heap that is looked
 * at first. */
#ifndef WN_TEXT_MERGE_H
#define WN_TEXT_MERGE_H

#include "text/parts.h"

/* Longest row; beyond it a text without a place to split is refused. */
enum { WN_MAX_MERGE = 1 << 25, WN_PRIO_LEVELS = 5 };

/* Arrays of one merge, kept from word to word. */
typedef struct wn_merge {
  size_t cap;
  uint32_t n;
  uint32_t *sym;   /* symbol number, WN_NONE: matches nothing */
  uint32_t *start; /* offset of its first byte; start[n] = length */
  uint32_t *next;  /* index of the next live symbol; n at the end */
  uint32_t *prev;
  uint32_t *prio;   /* of the pair (i, next[i]); WN_NONE: no pair */
  uint32_t *result; /* what that pair becomes */
  /* the rest is for long rows */
  size_t long_cap;
  uint32_t *after,
      *before; /* neighbours in the bucket; before: WN_NONE first */
  uint32_t n_prio;
  uint32_t *first;                /* per priority: its bucket */
  uint64_t *busy[WN_PRIO_LEVELS]; /* bit sets: level k + 1 sums up level k */
  uint32_t now;                   /* the priority being swept */
  uint64_t *heap;                 /* prio << 32 | position */
  size_t n_heap, heap_cap;
} wn_merge;

/* Finds the pair of live symbols i and j = next[i] in the tables of `ctx`;
 * stores priority and result, or returns false. */
typedef bool (*wn_pair_fn)(const void *ctx, const wn_merge *m, uint32_t i,
                           uint32_t j, uint32_t *prio, uint32_t *result);

/* Room for n symbols: WN_ENOMEM, WN_ELIMIT. */
int wn_merge_reserve(wn_merge *m, size_t n, wn_err *e);
void wn_merge_free(wn_merge *m);
/* Merges sym[0..n), start[0..n] set. Afterwards the live symbols are 0,
 * next[0], ... up to n. */
int wn_merge_run(wn_merge *m, uint32_t n_prio, wn_pair_fn pair, const void *ctx,
                 wn_err *e);

/* Sorts n numbers; `spare` has room for n. */
void wn_sort_u32(uint32_t *a, uint32_t *spare, size_t n);

#endif
