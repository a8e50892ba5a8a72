/* pieces.c - see pieces.h. */
#include "run/pieces.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "text/unicode.h"
#include "text/vocab.h"

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "generate: out of memory");
}

bool wn_bytes_grow(wn_bytes *b, size_t more) {
  if (more <= b->cap - b->n) return true;
  if (more > (size_t)WN_MAX_PROMPT_BYTES) return false;
  size_t cap = (b->n + more) * 2 + 64;
  char *p = wn_realloc(WN_MEM_RUN, b->p, cap);
  if (p == NULL) return false;
  b->p = p;
  b->cap = cap;
  return true;
}

bool wn_bytes_add(wn_bytes *b, const char *p, size_t n) {
  if (!wn_bytes_grow(b, n)) return false;
  if (n > 0) memcpy(b->p + b->n, p, n);
  b->n += n;
  return true;
}

int wn_pieces_init(wn_pieces *t, const wn_str *stop, size_t n_stop, bool raw,
                   wn_err *e) {
  t->raw = raw;
  if (n_stop == 0) return WN_OK;
  t->stops = wn_calloc(WN_MEM_RUN, n_stop, sizeof *t->stops);
  if (t->stops == NULL) return no_memory(e);
  t->n_stops = n_stop;
  for (size_t i = 0; i < n_stop; i++)
    if (!wn_bytes_add(&t->stops[i], stop[i].p, stop[i].n)) return no_memory(e);
  return WN_OK;
}

void wn_pieces_free(wn_pieces *t) {
  for (size_t i = 0; i < t->n_stops; i++)
    wn_free(t->stops[i].p);
  wn_free(t->stops);
  wn_free(t->held.p);
  wn_free(t->ready.p);
}

/* Position of `s` in the text, or -1. */
static ptrdiff_t find(const wn_bytes *text, const wn_bytes *s) {
  if (s->n == 0 || s->n > text->n) return -1;
  for (size_t i = 0; i + s->n <= text->n; i++)
    if (memcmp(text->p + i, s->p, s->n) == 0) return (ptrdiff_t)i;
  return -1;
}

/* Length of the longest end of the held text that begins a stop string. */
static size_t partial_stop(const wn_pieces *t) {
  size_t longest = 0;
  for (size_t i = 0; i < t->n_stops; i++) {
    const wn_bytes *s = &t->stops[i];
    size_t n = s->n < t->held.n + 1 ? s->n : t->held.n + 1;
    for (size_t k = n; k-- > longest + 1;)
      if (memcmp(t->held.p + t->held.n - k, s->p, k) == 0) {
        longest = k;
        break;
      }
  }
  return longest;
}

/* Halves of surrogate pairs are three bytes, as U+FFFD is, but no characters:
 * tokenizers let them pass, hosts do not. */
static void replace_surrogates(uint8_t *p, size_t n) {
  for (size_t i = 0; i + 2 < n; i += wn_utf8_len(p[i]))
    if (p[i] == 0xED && p[i + 1] >= 0xA0) memcpy(p + i, "\xEF\xBF\xBD", 3);
}

/* The first n bytes held become ready. */
static int release(wn_pieces *t, size_t n, wn_err *e) {
  if (n == 0) return WN_OK;
  const uint8_t *from = (const uint8_t *)t->held.p;
  if (t->raw || wn_utf8_is_clean(from, n)) {
    if (!wn_bytes_add(&t->ready, t->held.p, n)) return no_memory(e);
    if (!t->raw) replace_surrogates((uint8_t *)t->ready.p + t->ready.n - n, n);
  } else {
    if (!wn_bytes_grow(&t->ready, 3 * n)) return no_memory(e);
    uint8_t *to = (uint8_t *)t->ready.p + t->ready.n;
    size_t made = wn_utf8_clean(to, from, n);
    replace_surrogates(to, made);
    t->ready.n += made;
  }
  memmove(t->held.p, t->held.p + n, t->held.n - n);
  t->held.n -= n;
  return WN_OK;
}

int wn_pieces_add(wn_pieces *t, const char *p, size_t n, bool *stopped,
                  wn_err *e) {
  ptrdiff_t at = -1;
  *stopped = false;
  if (!wn_bytes_add(&t->held, p, n)) return no_memory(e);
  for (size_t i = 0; i < t->n_stops; i++) {
    ptrdiff_t k = find(&t->held, &t->stops[i]);
    if (k >= 0 && (at < 0 || k < at)) at = k;
  }
  if (at < 0)
    return release(t, wn_utf8_complete(t->held.p, t->held.n - partial_stop(t)),
                   e);
  *stopped = true;
  int rc = release(t, (size_t)at, e);
  t->held.n = 0;
  return rc;
}

int wn_pieces_flush(wn_pieces *t, wn_err *e) {
  return release(t, t->held.n, e);
}
