/* merge.c - see merge.h. */
#include "text/merge.h"

/* ---- memory ---- */

int wn_merge_reserve(wn_merge *m, size_t n, wn_err *e) {
  if (n <= m->cap) return WN_OK;
  if (n > WN_MAX_MERGE)
    return wn_fail(e, WN_ELIMIT,
                   "text: %zu characters without a place to split, want at "
                   "most %d",
                   n, WN_MAX_MERGE);
  size_t cap = n < 1 << 16 ? n + n / 4 + 64 : n;
  wn_free(m->sym);
  m->sym = NULL;
  m->cap = 0;
  uint32_t *block = wn_alloc(WN_MEM_TEXT, 6 * (cap + 1) * sizeof *block);
  if (block == NULL) return wn_oom(e);
  m->cap = cap;
  m->sym = block;
  m->start = block + (cap + 1);
  m->next = block + 2 * (cap + 1);
  m->prev = block + 3 * (cap + 1);
  m->prio = block + 4 * (cap + 1);
  m->result = block + 5 * (cap + 1);
  return WN_OK;
}

/* Buckets and their bit sets, all empty; every merge leaves them so. */
static int reserve_buckets(wn_merge *m, uint32_t n_prio, wn_err *e) {
  if (m->first != NULL) return WN_OK;
  size_t words = n_prio, total = 0, count[WN_PRIO_LEVELS];
  for (int k = 0; k < WN_PRIO_LEVELS; k++) {
    words = words / 64 + 1;
    count[k] = words;
    total += words;
  }
  uint64_t *bits = wn_calloc(WN_MEM_TEXT, total, sizeof *bits);
  uint32_t *first = wn_alloc(WN_MEM_TEXT, (size_t)n_prio * sizeof *first);
  if (bits == NULL || first == NULL) {
    wn_free(bits);
    wn_free(first);
    return wn_oom(e);
  }
  memset(first, 0xFF, (size_t)n_prio * sizeof *first);
  m->first = first;
  m->n_prio = n_prio;
  for (int k = 0; k < WN_PRIO_LEVELS; bits += count[k++])
    m->busy[k] = bits;
  return WN_OK;
}

static int reserve_long(wn_merge *m, wn_err *e) {
  if (m->n <= m->long_cap) return WN_OK;
  size_t cap = m->cap;
  wn_free(m->after);
  m->long_cap = 0;
  m->after = wn_alloc(WN_MEM_TEXT, 2 * cap * sizeof *m->after);
  if (m->after == NULL) return wn_oom(e);
  m->long_cap = cap;
  m->before = m->after + cap;
  return WN_OK;
}

void wn_merge_free(wn_merge *m) {
  wn_free(m->sym);
  wn_free(m->after);
  wn_free(m->first);
  wn_free(m->busy[0]);
  wn_free(m->heap);
  *m = (wn_merge){0};
}

/* ---- short rows ---- */

/* Looks up the pair that begins at i. */
static void look(wn_merge *m, wn_pair_fn pair, const void *ctx, uint32_t i) {
  uint32_t j = m->next[i];
  if (j == m->n || !pair(ctx, m, i, j, &m->prio[i], &m->result[i]))
    m->prio[i] = WN_NONE;
}

/* Joins i and its right neighbour; pairs are not looked up yet. */
static void join(wn_merge *m, uint32_t i) {
  uint32_t j = m->next[i], k = m->next[j];
  m->sym[i] = m->result[i];
  m->next[i] = k;
  if (k < m->n) m->prev[k] = i;
}

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
    join(m, at);
    look(m, pair, ctx, at);
    if (at > 0) look(m, pair, ctx, m->prev[at]);
  }
}

/* ---- buckets ---- */

static void set_busy(wn_merge *m, uint32_t prio) {
  for (int k = 0; k < WN_PRIO_LEVELS; k++, prio /= 64) {
    uint64_t *w = &m->busy[k][prio / 64], old = *w;
    *w |= UINT64_C(1) << (prio % 64);
    if (old != 0) return;
  }
}

static void set_idle(wn_merge *m, uint32_t prio) {
  for (int k = 0; k < WN_PRIO_LEVELS; k++, prio /= 64) {
    uint64_t *w = &m->busy[k][prio / 64];
    *w &= ~(UINT64_C(1) << (prio % 64));
    if (*w != 0) return;
  }
}

/* The first busy priority, or WN_NONE. */
static uint32_t first_busy(const wn_merge *m) {
  uint32_t at = 0;
  if (m->busy[WN_PRIO_LEVELS - 1][0] == 0) return WN_NONE;
  for (int k = WN_PRIO_LEVELS; k-- > 0;)
    at = at * 64 + (uint32_t)__builtin_ctzll(m->busy[k][at]);
  return at;
}

static void put_in(wn_merge *m, uint32_t i) {
  uint32_t p = m->prio[i], head = m->first[p];
  m->after[i] = head;
  m->before[i] = WN_NONE;
  if (head != WN_NONE)
    m->before[head] = i;
  else
    set_busy(m, p);
  m->first[p] = i;
}

static void take_out(wn_merge *m, uint32_t i) {
  uint32_t p = m->prio[i], a = m->after[i], b = m->before[i];
  if (a != WN_NONE) m->before[a] = b;
  if (b != WN_NONE) {
    m->after[b] = a;
    return;
  }
  m->first[p] = a;
  if (a == WN_NONE) set_idle(m, p);
}

/* Radix sort, 11 bits a pass; a row that is sorted already costs one look. */
void wn_sort_u32(uint32_t *a, uint32_t *spare, size_t n) {
  size_t i = 1;
  while (i < n && a[i - 1] <= a[i])
    i++;
  if (i >= n) return;
  if (n < 64) {
    for (i = 1; i < n; i++) {
      uint32_t x = a[i];
      size_t k = i;
      for (; k > 0 && a[k - 1] > x; k--)
        a[k] = a[k - 1];
      a[k] = x;
    }
    return;
  }
  uint32_t *from = a, *to = spare;
  for (unsigned shift = 0; shift < 33; shift += 11) {
    uint32_t count[2048] = {0}, sum = 0;
    for (i = 0; i < n; i++)
      count[from[i] >> shift & 2047]++;
    for (i = 0; i < 2048; i++) {
      uint32_t c = count[i];
      count[i] = sum;
      sum += c;
    }
    for (i = 0; i < n; i++)
      to[count[from[i] >> shift & 2047]++] = from[i];
    uint32_t *x = from;
    from = to;
    to = x;
  }
  memcpy(a, from, n * sizeof *a); /* three passes: the result is in spare */
}

/* Two lists of ascending positions, as one. */
static uint32_t merge_lists(uint32_t *after, uint32_t a, uint32_t b) {
  uint32_t first = WN_NONE, *end = &first;
  while (a != WN_NONE && b != WN_NONE) {
    uint32_t *less = a < b ? &a : &b;
    *end = *less;
    end = &after[*less];
    *less = *end;
  }
  *end = a != WN_NONE ? a : b;
  return first;
}

/* Sorts a list: part k holds 2^k of its elements, or none. */
static uint32_t sort_list(uint32_t *after, uint32_t list) {
  uint32_t part[32], sorted = WN_NONE;
  int n = 0;
  while (list != WN_NONE) {
    uint32_t one = list;
    int k = 0;
    list = after[list];
    after[one] = WN_NONE;
    for (; k < n && part[k] != WN_NONE; k++) {
      one = merge_lists(after, part[k], one);
      part[k] = WN_NONE;
    }
    if (k == n) n++;
    part[k] = one;
  }
  for (int k = 0; k < n; k++)
    sorted = merge_lists(after, part[k], sorted);
  return sorted;
}

/* Empties the bucket of priority m->now: its positions as a list, left to
 * right. Mostly the latest came first and reversing is all. */
static uint32_t drain(wn_merge *m) {
  uint32_t list = WN_NONE, i = m->first[m->now];
  bool sorted = true;
  m->first[m->now] = WN_NONE;
  set_idle(m, m->now);
  while (i != WN_NONE) {
    uint32_t following = m->after[i];
    if (list != WN_NONE && list < i) sorted = false;
    m->after[i] = list;
    list = i;
    i = following;
  }
  return sorted ? list : sort_list(m->after, list);
}

/* ---- the heap of urgent pairs: smallest entry at 0 ---- */

static int push(wn_merge *m, uint64_t x, wn_err *e) {
  if (m->n_heap == m->heap_cap) {
    size_t cap = m->heap_cap * 2 + 64;
    uint64_t *h = wn_realloc(WN_MEM_TEXT, m->heap, cap * sizeof *h);
    if (h == NULL) return wn_oom(e);
    m->heap = h;
    m->heap_cap = cap;
  }
  size_t i = m->n_heap++;
  for (; i > 0 && m->heap[(i - 1) / 2] > x; i = (i - 1) / 2)
    m->heap[i] = m->heap[(i - 1) / 2];
  m->heap[i] = x;
  return WN_OK;
}

static void pop(wn_merge *m) {
  uint64_t *h = m->heap, x = h[--m->n_heap];
  size_t i = 0, n = m->n_heap;
  for (size_t c = 1; c < n; i = c, c = 2 * i + 1) {
    if (c + 1 < n && h[c + 1] < h[c]) c++;
    if (h[c] >= x) break;
    h[i] = h[c];
  }
  h[i] = x;
}

/* ---- long rows ---- */

/* Pairs less urgent than the one being swept are in buckets. */
static bool is_in_bucket(const wn_merge *m, uint32_t i) {
  return m->prio[i] != WN_NONE && m->prio[i] > m->now;
}

/* Looks up the pair at i anew and files it. */
static int refile(wn_merge *m, wn_pair_fn pair, const void *ctx, uint32_t i,
                  wn_err *e) {
  if (is_in_bucket(m, i)) take_out(m, i);
  look(m, pair, ctx, i);
  if (m->prio[i] == WN_NONE) return WN_OK;
  if (m->prio[i] <= m->now) return push(m, (uint64_t)m->prio[i] << 32 | i, e);
  put_in(m, i);
  return WN_OK;
}

static int merge_at(wn_merge *m, wn_pair_fn pair, const void *ctx, uint32_t i,
                    wn_err *e) {
  uint32_t j = m->next[i];
  if (is_in_bucket(m, j)) take_out(m, j);
  m->prio[j] = WN_NONE;
  join(m, i);
  int rc = refile(m, pair, ctx, i, e);
  if (rc == WN_OK && i > 0) rc = refile(m, pair, ctx, m->prev[i], e);
  return rc;
}

/* Sweeps one bucket, urgent pairs first; entries whose pair is gone are
 * passed over. Merging changes the bucket of no pair to the right of what was
 * swept: the rest of the list stays as it is. */
static int sweep(wn_merge *m, wn_pair_fn pair, const void *ctx, wn_err *e) {
  uint32_t list = drain(m);
  int rc = WN_OK;
  while (rc == WN_OK && (list != WN_NONE || m->n_heap > 0)) {
    uint64_t x = list != WN_NONE ? (uint64_t)m->now << 32 | list : UINT64_MAX;
    if (m->n_heap > 0 && m->heap[0] < x) {
      x = m->heap[0];
      pop(m);
    } else {
      list = m->after[list];
    }
    uint32_t i = (uint32_t)x;
    if (m->prio[i] == x >> 32) rc = merge_at(m, pair, ctx, i, e);
  }
  return rc;
}

/* Leaves the buckets empty for the next row, whatever happened. */
static void clear(wn_merge *m) {
  while ((m->now = first_busy(m)) != WN_NONE) {
    m->first[m->now] = WN_NONE;
    set_idle(m, m->now);
  }
  m->n_heap = 0;
}

static int run_long(wn_merge *m, uint32_t n_prio, wn_pair_fn pair,
                    const void *ctx, wn_err *e) {
  int rc = reserve_buckets(m, n_prio, e);
  if (rc == WN_OK) rc = reserve_long(m, e);
  if (rc != WN_OK) return rc;
  for (uint32_t i = 0; i < m->n; i++)
    if (m->prio[i] != WN_NONE) put_in(m, i);
  while (rc == WN_OK && (m->now = first_busy(m)) != WN_NONE)
    rc = sweep(m, pair, ctx, e);
  if (rc != WN_OK) clear(m);
  return rc;
}

/* At most this many symbols are searched directly. */
enum { SHORT = 128 };

int wn_merge_run(wn_merge *m, uint32_t n_prio, wn_pair_fn pair, const void *ctx,
                 wn_err *e) {
  for (uint32_t i = 0; i < m->n; i++) {
    m->next[i] = i + 1;
    m->prev[i] = i == 0 ? 0 : i - 1;
  }
  for (uint32_t i = 0; i < m->n; i++)
    look(m, pair, ctx, i);
  if (m->n > SHORT) return run_long(m, n_prio, pair, ctx, e);
  run_short(m, pair, ctx);
  return WN_OK;
}
