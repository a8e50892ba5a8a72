/* kv.h - the cache of keys and values.
 *
 * For each sequence and slot (a slot is one attend operation, about a layer)
 * two regions, keys and values: [head][position][width]. A head's rows are
 * contiguous over positions, which is how attention reads them. Rows are
 * stored as float32, float16 or any block type whose block divides the
 * width. One allocation, made when the context is; pages that no token has
 * reached yet are not touched. */
#ifndef WN_RUN_KV_H
#define WN_RUN_KV_H

#include "graph/exec.h"

typedef struct wn_cache {
  uint32_t n_slots, n_seq, n_ctx;
  const wn_slot *shape; /* the program's */
  wn_cache_slot *slots;
  wn_cache_type type_k, type_v;
  uint8_t *mem;
  uint64_t bytes;
} wn_cache;

/* Sizes only: fills *c without memory. WN_EFORMAT when a width does not fit
 * the type, WN_EUNSUP for a type that cannot be written. */
int wn_cache_plan(const wn_prog *p, uint32_t n_seq, uint32_t n_ctx, int type_k,
                  int type_v, wn_cache *c, wn_err *e);
/* Allocates what was planned. */
int wn_cache_alloc(wn_cache *c, wn_err *e);
void wn_cache_free(wn_cache *c);

/* Shows all that is kept of the first n positions of a sequence, as ranges of
 * bytes in a fixed order, until visit says false. */
void wn_cache_visit(const wn_cache *c, uint32_t seq, uint32_t n,
                    bool (*visit)(void *arg, uint8_t *p, size_t bytes),
                    void *arg);

/* Copies the first n positions of one sequence to another. */
void wn_cache_copy(wn_cache *c, uint32_t from, uint32_t to, uint32_t n);

#endif
