/* order.c - two orders that llama.cpp leaves to its C++ library.
 *
 * Where several tokens could be "the" end-of-turn token, llama.cpp takes the
 * first that its hash table (libstdc++'s unordered_map, filled in id order)
 * lists. And special tokens of equal length are searched in the order in which
 * std::sort leaves them. Both are deterministic, so files depend on them;
 * here the table's list and the sort are played through. */
#include "text/parts.h"

/* ---- the listing of a hash table ----
 *
 * All nodes form one list. A bucket knows the node before its first. A new
 * node goes to the front of its bucket, or, into an empty bucket, to the front
 * of the whole list. When the table is full, it gets more buckets (the next
 * of these primes) and the nodes, taken in list order, are placed again. */
static const uint32_t BUCKETS[] = {1,      13,     29,      59,      127,
                                   257,    541,    1109,    2357,    5087,
                                   10273,  20753,  42043,   85229,   172933,
                                   351061, 712697, 1447153, 2938679, 5967347};

typedef struct table {
  uint64_t *hash; /* per token */
  uint32_t *next; /* per token; HEAD's is next[n] */
  uint32_t *before;
  uint32_t n_buckets, head;
} table;

static uint32_t bucket_of(const table *t, uint32_t id) {
  return (uint32_t)(t->hash[id] % t->n_buckets);
}

/* Into its bucket when that has nodes, else in front of all. */
static void place(table *t, uint32_t id) {
  uint32_t b = bucket_of(t, id), prev = t->before[b];
  if (prev != WN_NONE) {
    t->next[id] = t->next[prev];
    t->next[prev] = id;
    return;
  }
  t->next[id] = t->next[t->head];
  t->next[t->head] = id;
  t->before[b] = t->head;
  if (t->next[id] != WN_NONE) t->before[bucket_of(t, t->next[id])] = id;
}

static void rebuild(table *t, uint32_t n_buckets) {
  uint32_t id = t->next[t->head];
  t->n_buckets = n_buckets;
  memset(t->before, 0xFF, n_buckets * sizeof *t->before);
  t->next[t->head] = WN_NONE;
  while (id != WN_NONE) {
    uint32_t following = t->next[id];
    place(t, id);
    id = following;
  }
}

static void fill(const wn_vocab *v, table *t) {
  uint32_t used = 0, k = 0;
  t->next[t->head] = WN_NONE;
  rebuild(t, BUCKETS[0]);
  for (uint32_t id = 0; id < v->n; id++) {
    wn_str s = wn_text(v, id);
    if (wn_find(v, s.p, s.n) != (int32_t)id) continue; /* a later equal text */
    t->hash[id] = wn_hash(s.p, s.n);
    if (used == (k == 0 ? 0 : BUCKETS[k])) rebuild(t, BUCKETS[++k]);
    place(t, id);
    used++;
  }
}

int wn_listing_order(const wn_vocab *v, uint32_t *order, size_t *n, wn_err *e) {
  table t = {.head = v->n};
  uint32_t most = 0;
  while (BUCKETS[most] <= v->n)
    most++;
  t.hash = wn_alloc(WN_MEM_TEXT, v->n * sizeof *t.hash);
  t.next = wn_alloc(WN_MEM_TEXT, ((size_t)v->n + 1) * sizeof *t.next);
  t.before = wn_alloc(WN_MEM_TEXT, BUCKETS[most] * sizeof *t.before);
  bool ok = t.hash != NULL && t.next != NULL && t.before != NULL;
  *n = 0;
  if (ok) {
    fill(v, &t);
    for (uint32_t i = t.next[t.head]; i != WN_NONE; i = t.next[i])
      order[(*n)++] = i;
  }
  wn_free(t.hash);
  wn_free(t.next);
  wn_free(t.before);
  return ok ? WN_OK : wn_oom(e);
}

/* ---- the sort ----
 *
 * Quicksort with the median of three as pivot down to stretches of 16, then
 * one insertion sort over all. `a` before `b` when a's text is longer. */

enum { STRETCH = 16, MAX_DEPTH = 64 };

static bool longer(const wn_vocab *v, uint32_t a, uint32_t b) {
  return wn_text(v, a).n > wn_text(v, b).n;
}

static void swap(uint32_t *a, uint32_t *b) {
  uint32_t x = *a;
  *a = *b;
  *b = x;
}

static void median_to(const wn_vocab *v, uint32_t *to, uint32_t *a, uint32_t *b,
                      uint32_t *c) {
  if (longer(v, *a, *b))
    swap(to, longer(v, *b, *c) ? b : longer(v, *a, *c) ? c : a);
  else
    swap(to, longer(v, *a, *c) ? a : longer(v, *b, *c) ? c : b);
}

static uint32_t *partition(const wn_vocab *v, uint32_t *lo, uint32_t *hi,
                           uint32_t pivot) {
  for (;;) {
    while (longer(v, *lo, pivot))
      lo++;
    hi--;
    while (longer(v, pivot, *hi))
      hi--;
    if (lo >= hi) return lo;
    swap(lo++, hi);
  }
}

/* A plain heap sort where quicksort would go too deep. */
static void heap_sort(const wn_vocab *v, uint32_t *a, size_t n) {
  for (size_t end = n, start = n / 2; end > 1;) {
    if (start > 0)
      start--;
    else
      swap(&a[0], &a[--end]);
    for (size_t i = start, c; (c = 2 * i + 1) < end; i = c) {
      if (c + 1 < end && longer(v, a[c], a[c + 1])) c++;
      if (!longer(v, a[i], a[c])) break;
      swap(&a[i], &a[c]);
    }
  }
}

static void insert(const wn_vocab *v, uint32_t *a, size_t i, bool guarded) {
  uint32_t x = a[i];
  if (guarded && longer(v, x, a[0])) {
    memmove(a + 1, a, i * sizeof *a);
    a[0] = x;
    return;
  }
  for (; longer(v, x, a[i - 1]); i--)
    a[i] = a[i - 1];
  a[i] = x;
}

void wn_sort_by_length(const wn_vocab *v, uint32_t *ids, size_t n) {
  struct {
    uint32_t *lo, *hi;
    int depth;
  } todo[MAX_DEPTH + 2];
  int top = 0, depth = 0;
  for (size_t k = n; k > 1; k >>= 1)
    depth += 2;
  if (n == 0) return;
  todo[top].lo = ids;
  todo[top].hi = ids + n;
  todo[top++].depth = depth;
  while (top > 0) { /* stretches are independent: any order of them will do */
    uint32_t *lo = todo[--top].lo, *hi = todo[top].hi;
    int left = todo[top].depth;
    while (hi - lo > STRETCH) {
      if (left-- == 0) {
        heap_sort(v, lo, (size_t)(hi - lo));
        break;
      }
      median_to(v, lo, lo + 1, lo + (hi - lo) / 2, hi - 1);
      uint32_t *cut = partition(v, lo + 1, hi, *lo);
      todo[top].lo = cut;
      todo[top].hi = hi;
      todo[top++].depth = left;
      hi = cut;
    }
  }
  for (size_t i = 1; i < n; i++)
    insert(v, ids, i, n <= STRETCH || i < STRETCH);
}
