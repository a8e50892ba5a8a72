/* mem.h - the one allocator of wane.
 *
 * Every heap block of the library comes from here, so that the library can
 * say how much it holds and for whom, and tests can make any allocation
 * fail. Blocks are 64-byte aligned (a cache line, an AVX-512 register).
 * Thread safe. */
#ifndef WN_BASE_MEM_H
#define WN_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who a block belongs to; shown by wane.debug.memory(). */
typedef enum wn_owner {
  WN_MEM_GGUF,
  WN_MEM_QUANT,
  WN_MEM_TEXT,
  WN_MEM_GRAPH,
  WN_MEM_MODEL,
  WN_MEM_KV,
  WN_MEM_RUN,
  WN_MEM_POOL,
  WN_MEM_LUA,
  WN_MEM_N_OWNERS
} wn_owner;

/* n bytes, uninitialised; NULL when memory is out or a test says so. n = 0
 * gives a valid pointer. */
void *wn_alloc(wn_owner owner, size_t n);

/* count * size bytes, zeroed; NULL also when the product overflows. */
void *wn_calloc(wn_owner owner, size_t count, size_t size);

/* Resizes p (NULL: allocates) and keeps min(old, n) bytes; on failure returns
 * NULL and p stays valid. */
void *wn_realloc(wn_owner owner, void *p, size_t n);

/* Frees p; NULL is fine. */
void wn_free(void *p);

typedef struct wn_mem_stats {
  int64_t blocks, bytes; /* live now */
  int64_t peak_bytes;    /* highest `bytes` since the last reset */
  int64_t n_allocs;      /* calls of wn_alloc and friends so far */
  int64_t owner_bytes[WN_MEM_N_OWNERS]; /* live now, by owner */
} wn_mem_stats;

void wn_mem_get_stats(wn_mem_stats *s);
void wn_mem_reset_peak(void);
const char *wn_mem_owner_name(wn_owner owner);

/* Test hook: the n-th allocation from now (1 = the next) fails; with `later`
 * all after it fail too. n = 0 switches it off. */
void wn_mem_fail_at(int64_t n, bool later);

#endif
