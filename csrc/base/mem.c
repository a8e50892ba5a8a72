/* mem.c - see mem.h. A header of one cache line before each block holds its
 * size and owner, so that freeing needs no argument and stays exact. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WN_MEM_HEAD 64

typedef struct head {
  size_t n;
  wn_owner owner;
} head;

_Static_assert(sizeof(head) <= WN_MEM_HEAD, "the head fits its cache line");

static atomic_llong live_blocks, live_bytes, peak_bytes, n_allocs;
static atomic_llong owner_bytes[WN_MEM_N_OWNERS];
static atomic_llong fail_in; /* 0: never; n: the n-th from now fails */
static atomic_bool fail_later;

static bool told_to_fail(void) {
  long long n = atomic_load(&fail_in);
  atomic_fetch_add(&n_allocs, 1);
  if (n == 0) return false;
  if (n < 0) return true; /* sticky */
  if (atomic_fetch_sub(&fail_in, 1) != 1) return false;
  if (atomic_load(&fail_later)) atomic_store(&fail_in, -1);
  return true;
}

static void account(wn_owner owner, long long blocks, long long bytes) {
  atomic_fetch_add(&live_blocks, blocks);
  atomic_fetch_add(&owner_bytes[owner], bytes);
  long long now = atomic_fetch_add(&live_bytes, bytes) + bytes;
  long long peak = atomic_load(&peak_bytes);
  while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now)) {
  }
}

void *wn_alloc(wn_owner owner, size_t n) {
  if (told_to_fail() || n > SIZE_MAX - 2 * WN_MEM_HEAD) return NULL;
  size_t total = (n + WN_MEM_HEAD + 63) & ~(size_t)63;
  char *base = aligned_alloc(64, total);
  if (base == NULL) return NULL;
  head *h = (head *)(void *)base;
  h->n = n;
  h->owner = owner;
  account(owner, 1, (long long)n);
  return base + WN_MEM_HEAD;
}

void *wn_calloc(wn_owner owner, size_t count, size_t size) {
  if (size != 0 && count > SIZE_MAX / size) return NULL;
  void *p = wn_alloc(owner, count * size);
  if (p != NULL) memset(p, 0, count * size);
  return p;
}

static head *head_of(void *p) {
  return (head *)(void *)((char *)p - WN_MEM_HEAD);
}

void *wn_realloc(wn_owner owner, void *p, size_t n) {
  void *q = wn_alloc(owner, n);
  if (q == NULL || p == NULL) return q;
  size_t old = head_of(p)->n;
  memcpy(q, p, old < n ? old : n);
  wn_free(p);
  return q;
}

void wn_free(void *p) {
  if (p == NULL) return;
  head *h = head_of(p);
  account(h->owner, -1, -(long long)h->n);
  free(h);
}

void wn_mem_get_stats(wn_mem_stats *s) {
  s->blocks = atomic_load(&live_blocks);
  s->bytes = atomic_load(&live_bytes);
  s->peak_bytes = atomic_load(&peak_bytes);
  s->n_allocs = atomic_load(&n_allocs);
  for (int i = 0; i < WN_MEM_N_OWNERS; i++)
    s->owner_bytes[i] = atomic_load(&owner_bytes[i]);
}

void wn_mem_reset_peak(void) {
  atomic_store(&peak_bytes, atomic_load(&live_bytes));
}

const char *wn_mem_owner_name(wn_owner owner) {
  static const char *const names[WN_MEM_N_OWNERS] = {
      "gguf", "quant", "text", "graph", "model", "kv", "run", "pool", "lua"};
  return (unsigned)owner < WN_MEM_N_OWNERS ? names[owner] : "?";
}

void wn_mem_fail_at(int64_t n, bool later) {
  atomic_store(&fail_later, later);
  atomic_store(&fail_in, n);
}
