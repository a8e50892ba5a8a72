/* match.c - see match.h: what a match waits for, and what came. */
#include "constrain/match.h"

#include <string.h>

#include "base/mem.h"

enum { MAX_TEXT = 65536, MAX_TRIGGERS = 1024 };

typedef struct bytes {
  char *p;
  size_t n, cap;
} bytes;

struct wn_match {
  wn_learnt *learnt;
  wn_places *places; /* of `learnt` */
  wn_tokens *tokens;
  wn_grammar *grammar;
  uint32_t place;
  bool waits, lazy, ended;
  bytes *words;
  size_t n_words;
  int32_t *triggers;
  size_t n_triggers;
  bytes after;
  bytes seen; /* text while it waits: the end that a trigger may begin in */
  size_t longest;
  char *piece; /* a token's text */
};

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "grammar: out of memory");
}

/* ---- life */

static int copy_bytes(bytes *b, wn_str s, wn_err *e) {
  if (s.n > MAX_TEXT)
    return wn_fail(e, WN_ELIMIT, "grammar: a trigger of over %d bytes",
                   MAX_TEXT);
  b->p = wn_alloc(WN_MEM_RUN, s.n);
  if (b->p == NULL) return no_memory(e);
  if (s.n > 0) memcpy(b->p, s.p, s.n);
  b->n = s.n;
  return WN_OK;
}

static int copy_triggers(wn_match *m, const wn_match_opts *o, wn_err *e) {
  if (o->n_words > MAX_TRIGGERS || o->n_tokens > MAX_TRIGGERS)
    return wn_fail(e, WN_ELIMIT, "grammar: over %d triggers", MAX_TRIGGERS);
  m->words = wn_calloc(WN_MEM_RUN, o->n_words, sizeof *m->words);
  m->triggers = wn_calloc(WN_MEM_RUN, o->n_tokens, sizeof *m->triggers);
  if (!m->words || !m->triggers) return no_memory(e);
  int rc = copy_bytes(&m->after, o->after, e);
  m->longest = m->after.n;
  for (; rc == WN_OK && m->n_words < o->n_words; m->n_words++) {
    rc = copy_bytes(&m->words[m->n_words], o->words[m->n_words], e);
    if (o->words[m->n_words].n > m->longest)
      m->longest = o->words[m->n_words].n;
  }
  if (o->n_tokens > 0)
    memcpy(m->triggers, o->tokens, o->n_tokens * sizeof *m->triggers);
  m->n_triggers = o->n_tokens;
  m->lazy = o->n_words > 0 || o->n_tokens > 0 || o->after.n > 0;
  return rc;
}

int wn_match_new(wn_grammar *g, wn_tokens *t, const wn_match_opts *o,
                 wn_match **out, wn_err *e) {
  *out = NULL;
  wn_match *m = wn_calloc(WN_MEM_RUN, 1, sizeof *m);
  if (m == NULL) return no_memory(e);
  int rc = WN_OK;
  m->tokens = wn_tokens_ref(t);
  m->grammar = wn_grammar_ref(g);
  m->piece = wn_alloc(WN_MEM_RUN, WN_TOKENS_DEPTH);
  if (m->piece == NULL) rc = no_memory(e);
  if (rc == WN_OK && o != NULL) rc = copy_triggers(m, o, e);
  if (rc == WN_OK) rc = wn_learnt_get(g, t, &m->learnt, e);
  if (rc != WN_OK) {
    wn_match_free(m);
    return rc;
  }
  m->places = wn_learnt_places(m->learnt);
  wn_match_reset(m);
  *out = m;
  return WN_OK;
}

void wn_match_free(wn_match *m) {
  if (m == NULL) return;
  for (size_t i = 0; i < m->n_words; i++)
    wn_free(m->words[i].p);
  wn_free(m->words);
  wn_free(m->triggers);
  wn_free(m->after.p);
  wn_free(m->seen.p);
  wn_free(m->piece);
  wn_learnt_put(m->grammar, m->learnt);
  wn_grammar_unref(m->grammar);
  wn_tokens_unref(m->tokens);
  wn_free(m);
}

void wn_match_reset(wn_match *m) {
  m->place = wn_places_start(m->places);
  m->waits = m->lazy;
  m->ended = false;
  m->seen.n = 0;
}

bool wn_match_waits(const wn_match *m) {
  return m->waits;
}

bool wn_match_may_end(wn_match *m) {
  return m->waits || wn_places_at(m->places, m->place)->accepts;
}

bool wn_match_complete(wn_match *m) {
  if (m->waits) return false;
  const wn_gplace *x = wn_places_at(m->places, m->place);
  return m->ended || (x->accepts && x->n == 0);
}

bool wn_match_asks_token(wn_match *m) {
  return !m->waits && wn_places_at(m->places, m->place)->tokens;
}

const wn_tokens *wn_match_tokens(const wn_match *m) {
  return m->tokens;
}

int wn_match_mask(wn_match *m, const wn_mask **mask, wn_err *e) {
  *mask = NULL;
  if (m->waits) return WN_OK;
  int rc = wn_learnt_rest(m->learnt, &m->place, e);
  return rc == WN_OK ? wn_learnt_mask(m->learnt, m->place, mask, e) : rc;
}

/* ---- what came */

static size_t piece_of(wn_match *m, int32_t id) {
  size_t n =
      wn_vocab_piece(m->tokens->vocab, id, false, m->piece, WN_TOKENS_DEPTH);
  return n <= WN_TOKENS_DEPTH ? n : 0;
}

/* Where a trigger's text begins in what was seen, or -1; *skip: bytes of it
 * that the grammar does not read. The first to begin counts, of several the
 * first given. */
static ptrdiff_t find_trigger(const wn_match *m, size_t *skip) {
  for (size_t i = 0; i < m->seen.n; i++) {
    const char *p = m->seen.p + i;
    size_t left = m->seen.n - i;
    *skip = m->after.n;
    if (m->after.n > 0 && m->after.n <= left &&
        memcmp(p, m->after.p, m->after.n) == 0)
      return (ptrdiff_t)i;
    *skip = 0;
    for (size_t k = 0; k < m->n_words; k++)
      if (m->words[k].n > 0 && m->words[k].n <= left &&
          memcmp(p, m->words[k].p, m->words[k].n) == 0)
        return (ptrdiff_t)i;
  }
  return -1;
}

/* Reads the bytes from the start of the grammar. If they do not fit, the match
 * goes on waiting. */
static int begin_with(wn_match *m, const char *text, size_t n, wn_err *e) {
  uint32_t at = wn_places_start(m->places);
  int rc = WN_OK;
  for (size_t i = 0; rc == WN_OK && i < n && at != WN_PLACE_NONE; i++)
    rc = wn_places_step(m->places, at, (uint8_t)text[i], &at, e);
  if (rc != WN_OK || at == WN_PLACE_NONE) return rc;
  m->place = at;
  m->waits = false;
  return WN_OK;
}

static int accept_waiting(wn_match *m, int32_t id, wn_err *e) {
  size_t n = piece_of(m, id), skip;
  for (size_t i = 0; i < m->n_triggers; i++)
    if (m->triggers[i] == id) {
      uint32_t to;
      int rc = wn_places_token(m->places, wn_places_start(m->places), id,
                               m->piece, n, &to, e);
      if (rc == WN_OK && to != WN_PLACE_NONE) {
        m->place = to;
        m->waits = false;
      } else if (rc == WN_OK && n == 0) { /* a control token, not read */
        m->place = wn_places_start(m->places);
        m->waits = false;
      }
      return rc;
    }
  if (m->longest == 0) return WN_OK;
  if (m->seen.cap - m->seen.n < n) {
    size_t cap = (m->seen.n + n) * 2 + 64;
    char *p = wn_realloc(WN_MEM_RUN, m->seen.p, cap);
    if (p == NULL) return no_memory(e);
    m->seen.p = p;
    m->seen.cap = cap;
  }
  if (n > 0) memcpy(m->seen.p + m->seen.n, m->piece, n);
  m->seen.n += n;
  ptrdiff_t at = find_trigger(m, &skip);
  if (at >= 0) {
    size_t from = (size_t)at + skip;
    int rc = begin_with(m, m->seen.p + from, m->seen.n - from, e);
    m->seen.n = 0;
    return rc;
  }
  size_t keep = m->longest - 1 < m->seen.n ? m->longest - 1 : m->seen.n;
  if (keep > 0) memmove(m->seen.p, m->seen.p + m->seen.n - keep, keep);
  m->seen.n = keep;
  return WN_OK;
}

int wn_match_accept(wn_match *m, int32_t id, wn_err *e) {
  const wn_tokens *t = m->tokens;
  if (id < 0 || (uint32_t)id >= t->n_vocab)
    return wn_fail(e, WN_EDATA, "grammar: no token %d", id);
  int rc = wn_learnt_rest(m->learnt, &m->place, e);
  if (rc != WN_OK) return rc;
  bool ends = (t->ends[id / 64] >> (id % 64) & 1) != 0;
  if (m->waits) return ends ? WN_OK : accept_waiting(m, id, e);
  if (ends && wn_places_at(m->places, m->place)->accepts) {
    m->ended = true;
    return WN_OK;
  }
  uint32_t to;
  size_t n = ends ? 0 : piece_of(m, id);
  rc = wn_places_token(m->places, m->place, id, m->piece, n, &to, e);
  if (rc != WN_OK) return rc;
  if (to == WN_PLACE_NONE)
    return wn_fail(e, WN_EDATA, "grammar: token %d does not fit", id);
  m->place = to;
  return WN_OK;
}

int wn_match_forced(wn_match *m, char *text, size_t cap, size_t *n, wn_err *e) {
  uint32_t at = m->place;
  *n = 0;
  if (m->waits || m->ended) return WN_OK;
  while (*n < cap) {
    int only;
    int rc = wn_places_only(m->places, at, &only, e);
    if (rc != WN_OK || only < 0) return rc;
    text[(*n)++] = (char)only;
    rc = wn_places_step(m->places, at, (uint8_t)only, &at, e);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}
