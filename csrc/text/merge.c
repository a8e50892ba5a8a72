/* merge.c - see merge.h. */
#include "text/merge.h"

int wn_merge_reserve(wn_merge *m, size_t n, wn_err *e) {
  if (n <= m->cap) return WN_OK;
  if (n > WN_MAX_MERGE)
    return wn_fail(e, WN_ELIMIT,
                   "text: %zu characters without a place to split, want at "
                   "most %d",
                   n, WN_MAX_MERGE);
  size_t cap = n + n / 4 + 64, heap_cap = m->heap_cap;
  uint64_t *heap = m->heap;
  uint32_t *block = wn_alloc(WN_MEM_TEXT, 6 * (cap + 1) * sizeof *block);
  if (block == NULL) return wn_oom(e);
  wn_free(m->sym);
  *m = (wn_merge){.cap = cap, .heap = heap, .heap_cap = heap_cap};
  m->sym = block;
  m->start = block + (cap + 1);
  m->next = block + 2 * (cap + 1);
  m->prev = block + 3 * (cap + 1);
  m->prio = block + 4 * (cap + 1);
  m->result = block + 5 * (cap + 1);
  return WN_OK;
}

void wn_merge_free(wn_merge *m) {
  wn_free(m->sym);
  wn_free(m->heap);
  *m = (wn_merge){0};
}

/* Looks up the pair that begins at i. */
static void look(wn_merge *m, wn_pair_fn pair, const void *ctx, uint32_t i) {
  uint32_t j = m->next[i];
  if (j == m->n || !pair(ctx, m, i, j, &m->prio[i], &m->result[i]))
    m->prio[i] = WN_NONE;
}

/* Merges i with its right neighbour and looks at the two new pairs. */
static void merge_at(wn_merge *m, wn_pair_fn pair, const void *ctx,
                     uint32_t i) {
  uint32_t j = m->next[i], k = m->next[j];
  m->sym[i] = m->result[i];
  m->prio[j] = WN_NONE;
  m->next[i] = k;
  if (k < m->n) m->prev[k] = i;
  look(m, pair, ctx, i);
  if (i > 0) look(m, pair, ctx, m->prev[i]);
}

/* At most this many symbols are searched without a heap. */
enum { SHORT = 32 };

static void run_short(wn_merge *m, wn_pair_fn pair, const void *ctx) {
  for (;;) {
    uint32_t best = WN_NONE, at = 0;
    for (uint32_t i = 0; i < m->n; i = m->next[i]) {
      if (m->prio[i] < best) {
        best = m->prio[i];
        at = i;
      }
    }
    if (best == WN_NONE) return;
    merge_at(m, pair, ctx, at);
  }
}

/* ---- the heap: smallest entry at 0 ---- */

static void sift_down(uint64_t *h, size_t n, size_t i) {
  uint64_t x = h[i];
  for (size_t c = 2 * i + 1; c < n; i = c, c = 2 * i + 1) {
    if (c + 1 < n && h[c + 1] < h[c]) c++;
    if (h[c] >= x) break;
    h[i] = h[c];
  }
  h[i] = x;
}

static void sift_up(uint64_t *h, size_t i) {
  uint64_t x = h[i];
  for (; i > 0 && h[(i - 1) / 2] > x; i = (i - 1) / 2)
    h[i] = h[(i - 1) / 2];
  h[i] = x;
}

static uint64_t entry(const wn_merge *m, uint32_t i) {
  return (uint64_t)m->prio[i] << 32 | i;
}

/* Each merge takes one entry out and puts at most two in: room for 2n. */
static int reserve_heap(wn_merge *m, wn_err *e) {
  size_t want = 2 * (size_t)m->n + 2;
  if (want <= m->heap_cap) return WN_OK;
  uint64_t *heap = wn_alloc(WN_MEM_TEXT, want * sizeof *heap);
  if (heap == NULL) return wn_oom(e);
  wn_free(m->heap);
  m->heap = heap;
  m->heap_cap = want;
  return WN_OK;
}

static void push(wn_merge *m, uint32_t i) {
  if (m->prio[i] == WN_NONE) return;
  m->heap[m->n_heap++] = entry(m, i);
  sift_up(m->heap, m->n_heap - 1);
}

/* An entry counts only while it tells the pair that is there now; each change
 * of a pair leaves its old entry behind to be skipped. */
static int run_long(wn_merge *m, wn_pair_fn pair, const void *ctx, wn_err *e) {
  int rc = reserve_heap(m, e);
  if (rc != WN_OK) return rc;
  m->n_heap = 0;
  for (uint32_t i = 0; i < m->n; i++)
    if (m->prio[i] != WN_NONE) m->heap[m->n_heap++] = entry(m, i);
  for (size_t i = m->n_heap / 2; i-- > 0;)
    sift_down(m->heap, m->n_heap, i);
  while (m->n_heap > 0) {
    uint64_t top = m->heap[0];
    uint32_t i = (uint32_t)top;
    m->heap[0] = m->heap[--m->n_heap];
    if (m->n_heap > 0) sift_down(m->heap, m->n_heap, 0);
    if (m->prio[i] != top >> 32) continue;
    merge_at(m, pair, ctx, i);
    push(m, i);
    if (i > 0) push(m, m->prev[i]);
  }
  return WN_OK;
}

int wn_merge_run(wn_merge *m, wn_pair_fn pair, const void *ctx, wn_err *e) {
  for (uint32_t i = 0; i < m->n; i++) {
    m->next[i] = i + 1;
    m->prev[i] = i == 0 ? 0 : i - 1;
  }
  for (uint32_t i = 0; i < m->n; i++)
    look(m, pair, ctx, i);
  if (m->n > SHORT) return run_long(m, pair, ctx, e);
  run_short(m, pair, ctx);
  return WN_OK;
}
