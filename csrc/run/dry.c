/* dry.c - see dry.h.
 *
 * Repetitions are found with the Z algorithm on the text read backwards, in
 * linear time. A breaker is a token that begins the breaker's text (or holds
 * it) and the tokens that must follow: both were found once, by looking at
 * every token of the vocabulary. */
#include "run/dry.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { MAX_BREAKER_BYTES = 40, MAX_TAIL = 20, MAX_HEADS = 1 << 20 };

typedef struct head { /* a token that may begin a breaker */
  int32_t id;
  uint32_t n;             /* tokens that must follow */
  int32_t tail[MAX_TAIL]; /* they */
} head;

struct wn_dry {
  wn_dry_opts o;
  uint32_t n_vocab;
  int32_t *ring; /* the last tokens */
  uint32_t n, at;
  uint32_t *z;       /* repetition that ends at each of them */
  uint32_t *longest; /* per token of the vocabulary: repetition it goes on */
  int32_t *found;    /* tokens that have one */
  uint32_t n_found;
  head *heads; /* ascending ids */
  size_t n_heads, cap_heads;
};

/* ---- breakers */

static int add_head(wn_dry *d, int32_t id, const int32_t *tail, size_t n,
                    wn_err *e) {
  if (n > MAX_TAIL) n = MAX_TAIL;
  for (size_t i = d->n_heads; i-- > 0 && d->heads[i].id == id;)
    if (d->heads[i].n == n &&
        memcmp(d->heads[i].tail, tail, n * sizeof *tail) == 0)
      return WN_OK;
  if (d->n_heads == d->cap_heads) {
    size_t cap = d->cap_heads * 2 + 64;
    head *p = cap > MAX_HEADS
                  ? NULL
                  : wn_realloc(WN_MEM_RUN, d->heads, cap * sizeof *p);
    if (p == NULL) return wn_fail(e, WN_ENOMEM, "dry: out of memory");
    d->heads = p;
    d->cap_heads = cap;
  }
  head *h = &d->heads[d->n_heads++];
  h->id = id;
  h->n = (uint32_t)n;
  if (n > 0) memcpy(h->tail, tail, n * sizeof *tail);
  return WN_OK;
}

static bool holds(const char *word, size_t n, const wn_str *b) {
  for (size_t i = 0; i + b->n <= n; i++)
    if (memcmp(word + i, b->p, b->n) == 0) return true;
  return false;
}

/* A token whose end begins the breaker: the rest is tokenized. */
static int add_overlaps(wn_dry *d, const wn_vocab *v, int32_t id,
                        const char *word, size_t n, const wn_str *b,
                        wn_err *e) {
  for (size_t at = 0; at < n; at++) {
    size_t len = n - at; /* < b->n, or the token would hold it */
    if (len >= b->n || memcmp(word + at, b->p, len) != 0) continue;
    int32_t *ids;
    size_t n_ids;
    int rc = wn_vocab_encode(v, b->p + len, b->n - len, false, false, &ids,
                             &n_ids, e);
    if (rc != WN_OK) return rc;
    rc = add_head(d, id, ids, n_ids, e);
    wn_free(ids);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}

/* All breakers against one token. */
static int add_token(wn_dry *d, const wn_vocab *v, int32_t id, wn_err *e) {
  char *word;
  size_t n;
  int rc = wn_vocab_decode(v, &id, 1, false, true, &word, &n, e);
  for (size_t i = 0; rc == WN_OK && i < d->o.n_breakers; i++) {
    wn_str b = d->o.breakers[i];
    if (b.n > MAX_BREAKER_BYTES) b.n = MAX_BREAKER_BYTES;
    if (b.n == 0) continue;
    rc = holds(word, n, &b) ? add_head(d, id, NULL, 0, e)
                            : add_overlaps(d, v, id, word, n, &b, e);
  }
  wn_free(word);
  return rc;
}

/* ---- life */

int wn_dry_new(const wn_dry_opts *o, const wn_vocab *v, uint32_t n_vocab,
               wn_dry **out, wn_err *e) {
  *out = NULL;
  wn_dry *d = wn_calloc(WN_MEM_RUN, 1, sizeof *d);
  if (d == NULL) return wn_fail(e, WN_ENOMEM, "dry: out of memory");
  int rc = WN_OK;
  d->o = *o;
  d->n_vocab = n_vocab;
  d->ring = wn_calloc(WN_MEM_RUN, o->last_n, sizeof *d->ring);
  d->z = wn_calloc(WN_MEM_RUN, o->last_n, sizeof *d->z);
  d->longest = wn_calloc(WN_MEM_RUN, n_vocab, sizeof *d->longest);
  d->found = wn_calloc(WN_MEM_RUN, o->last_n, sizeof *d->found);
  if (!d->ring || !d->z || !d->longest || !d->found)
    rc = wn_fail(e, WN_ENOMEM, "dry: out of memory");
  for (uint32_t id = 0; rc == WN_OK && v && o->n_breakers && id < n_vocab; id++)
    if (id < wn_vocab_size(v)) rc = add_token(d, v, (int32_t)id, e);
  d->o.breakers = NULL; /* not ours */
  if (rc != WN_OK)
    wn_dry_free(d);
  else
    *out = d;
  return rc;
}

void wn_dry_free(wn_dry *d) {
  if (d == NULL) return;
  wn_free(d->ring);
  wn_free(d->z);
  wn_free(d->longest);
  wn_free(d->found);
  wn_free(d->heads);
  wn_free(d);
}

void wn_dry_accept(wn_dry *d, int32_t id) {
  if (d->o.last_n == 0) return;
  d->ring[d->at] = id;
  d->at = (d->at + 1) % d->o.last_n;
  if (d->n < d->o.last_n) d->n++;
}

/* ---- repetitions */

/* The i-th token from the end. */
static int32_t back(const wn_dry *d, uint32_t i) {
  return d->ring[(d->at + d->o.last_n - 1 - i) % d->o.last_n];
}

/* The first head of a token, or NULL. */
static const head *find_head(const wn_dry *d, int32_t id) {
  size_t low = 0, high = d->n_heads;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (d->heads[mid].id < id)
      low = mid + 1;
    else
      high = mid;
  }
  return low < d->n_heads && d->heads[low].id == id ? &d->heads[low] : NULL;
}

/* Tokens after the last breaker, which are all that may repeat. */
static uint32_t limit_of(const wn_dry *d) {
  const head *end = d->heads + d->n_heads;
  for (uint32_t i = 0; i < d->n; i++) {
    int64_t longest = -1;
    const head *h = find_head(d, back(d, i));
    for (; h != NULL && h < end && h->id == back(d, i); h++) {
      if ((int64_t)h->n <= longest || h->n > i) continue;
      uint32_t k = 0;
      while (k < h->n && h->tail[k] == back(d, i - k - 1))
        k++;
      if (k == h->n) longest = h->n;
    }
    if (longest >= 0) return i - (uint32_t)longest;
  }
  return d->n;
}

/* z[k]: tokens before place k (from the end, exclusive) that equal the end of
 * the text, at most `limit`. */
static void find_repeats(wn_dry *d, uint32_t limit) {
  uint32_t n = d->n, left = 0, right = 0;
  for (uint32_t k = 1; k < n; k++) {
    uint32_t len, pair = k <= right ? d->z[k - left] : 0;
    if (k <= right && pair < right - k + 1) {
      d->z[k] = pair < limit ? pair : limit;
      continue;
    }
    uint32_t i = k <= right ? right + 1 : k;
    while (i < n && back(d, i) == back(d, i - k))
      i++;
    len = i - k;
    d->z[k] = len < limit ? len : limit;
    if (len > 0) {
      left = k;
      right = i - 1;
    }
  }
}

/* A token that is a breaker by itself is never penalised. */
static bool is_breaker(const wn_dry *d, int32_t id) {
  const head *h = find_head(d, id), *end = d->heads + d->n_heads;
  for (; h != NULL && h < end && h->id == id; h++)
    if (h->n == 0) return true;
  return false;
}

uint32_t wn_dry_find(wn_dry *d, const int32_t **ids) {
  uint32_t allowed = d->o.allowed > 0 ? (uint32_t)d->o.allowed : 0;
  *ids = d->found;
  for (uint32_t i = 0; i < d->n_found; i++)
    d->longest[d->found[i]] = 0;
  d->n_found = 0;
  if (d->n <= allowed) return 0;
  uint32_t limit = limit_of(d);
  if (limit < allowed) return 0;
  find_repeats(d, limit);
  for (uint32_t k = d->n - 1; k >= 1; k--) { /* the oldest first */
    if (d->z[k] < allowed) continue;
    int32_t next = back(d, k - 1);
    if ((uint32_t)next >= d->n_vocab || is_breaker(d, next)) continue;
    /* lengths are kept plus one: 0 is "none" */
    if (d->longest[next] == 0) d->found[d->n_found++] = next;
    if (d->longest[next] < d->z[k] + 1) d->longest[next] = d->z[k] + 1;
  }
  return d->n_found;
}

float wn_dry_penalty(const wn_dry *d, int32_t id) {
  if ((uint32_t)id >= d->n_vocab || d->longest[id] == 0) return 0;
  int most = 0, over = (int)d->longest[id] - 1 - d->o.allowed;
  /* base^most is about the greatest float */
  if (d->o.base > 1.000001f) most = (int)(88.7228391f / logf(d->o.base));
  if (most > 0 && over > most) over = most;
  return (float)((double)d->o.multiplier * pow((double)d->o.base, over));
}
