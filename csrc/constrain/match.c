/* match.c - see match.h.
 *
 * The walk keeps the place after each byte of the path. Under a place from
 * which a class of characters may be repeated, a subtree that is made of such
 * characters only, and is not higher than the repetition has room, is taken as
 * a whole: a string's mask costs little more than setting its bits. */
#include "constrain/match.h"

#include <string.h>

#include "base/mem.h"

enum { MAX_TEXT = 65536, MAX_TRIGGERS = 1024 };

typedef struct bytes {
  char *p;
  size_t n, cap;
} bytes;

struct wn_match {
  wn_places *places;
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
  uint64_t *bits; /* of the mask in making */
  uint32_t *path; /* the place after each byte */
  char *piece;    /* a token's text */
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
  m->bits = wn_calloc(WN_MEM_RUN, t->n_vocab / 64 + 1, sizeof *m->bits);
  m->path = wn_calloc(WN_MEM_RUN, WN_TOKENS_DEPTH + 1, sizeof *m->path);
  m->piece = wn_alloc(WN_MEM_RUN, WN_TOKENS_DEPTH);
  if (!m->bits || !m->path || !m->piece) rc = no_memory(e);
  if (rc == WN_OK && o != NULL) rc = copy_triggers(m, o, e);
  if (rc == WN_OK) rc = wn_places_new(g, &m->places, e);
  if (rc != WN_OK) {
    wn_match_free(m);
    return rc;
  }
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
  wn_free(m->bits);
  wn_free(m->path);
  wn_free(m->piece);
  wn_places_free(m->places);
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

/* ---- masks */

static void set_bit(uint64_t *bits, int32_t id) {
  bits[id / 64] |= (uint64_t)1 << (id % 64);
}

static void take(wn_match *m, uint32_t first, uint32_t last) {
  for (uint32_t i = first; i < last; i++)
    set_bit(m->bits, m->tokens->order[i]);
}

/* May everything under the node follow from the place? (Sufficient.) */
static bool takes_all(const wn_match *m, const wn_gplace *x,
                      const wn_token_node *n) {
  if (n->broken) return false;
  for (uint32_t i = 0; i < x->n_loops; i++) {
    const wn_gclass *c = &m->grammar->tree.class_[x->loop[i].class_];
    if ((n->ascii[0] & ~c->ascii[0]) == 0 &&
        (n->ascii[1] & ~c->ascii[1]) == 0 && (!n->longer || c->all) &&
        n->height <= x->loop[i].room)
      return true;
  }
  return false;
}

static int walk(wn_match *m, wn_err *e) {
  const wn_tokens *t = m->tokens;
  m->path[0] = m->place;
  for (uint32_t i = 1; i < t->n_nodes;) {
    const wn_token_node *n = &t->node[i];
    __builtin_prefetch(&t->node[n->skip]); /* where the walk jumps */
    uint32_t to;
    int rc = wn_places_step(m->places, m->path[n->depth - 1], n->byte, &to, e);
    if (rc != WN_OK) return rc;
    if (to == WN_PLACE_NONE) {
      i = n->skip;
      continue;
    }
    bool all = n->skip == i + 1 || takes_all(m, wn_places_at(m->places, to), n);
    take(m, n->first, all ? t->node[n->skip].first : n[1].first);
    m->path[n->depth] = to;
    i = all ? n->skip : i + 1;
  }
  return WN_OK;
}

/* Tokens that the place reads as tokens. !<x> stands for any token with text
 * and any control token that does not end the text. */
static void take_tokens(wn_match *m) {
  const wn_gplace *x = wn_places_at(m->places, m->place);
  const wn_config *c = wn_places_configs(m->places, m->place);
  uint32_t n_vocab = m->tokens->n_vocab;
  for (uint32_t i = 0; i < x->n; i++) {
    const wn_gstate *s = &m->grammar->state[c[i].state];
    if (s->op == WN_OP_TOKEN && s->a < n_vocab) set_bit(m->bits, (int32_t)s->a);
    if (s->op != WN_OP_OTHER) continue;
    for (uint32_t id = 0; id < n_vocab; id++)
      if (id != s->a && (m->tokens->ends[id / 64] >> (id % 64) & 1) == 0)
        set_bit(m->bits, (int32_t)id);
  }
}

static uint32_t count_bits(const uint64_t *bits, size_t n) {
  uint32_t sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += (uint32_t)__builtin_popcountll(bits[i]);
  return sum;
}

/* Keeps the bits at hand as the place's mask: a list when they are few. */
static int keep_mask(wn_match *m, wn_mask **out, wn_err *e) {
  size_t words = m->tokens->n_vocab / 64 + 1;
  wn_mask *k = wn_calloc(WN_MEM_RUN, 1, sizeof *k);
  if (k == NULL) return no_memory(e);
  k->n = count_bits(m->bits, words);
  if (k->n <= WN_MASK_FEW)
    k->ids = wn_alloc(WN_MEM_RUN, k->n * sizeof *k->ids);
  else
    k->bits = wn_alloc(WN_MEM_RUN, words * sizeof *k->bits);
  if (k->ids == NULL && k->bits == NULL) {
    wn_free(k);
    return no_memory(e);
  }
  if (k->bits != NULL) memcpy(k->bits, m->bits, words * sizeof *k->bits);
  uint32_t n = 0;
  for (size_t i = 0; k->ids != NULL && i < words; i++)
    for (uint64_t w = m->bits[i]; w != 0; w &= w - 1)
      k->ids[n++] = (int32_t)(i * 64 + (size_t)__builtin_ctzll(w));
  *out = k;
  return WN_OK;
}

int wn_match_mask(wn_match *m, const wn_mask **mask, wn_err *e) {
  *mask = NULL;
  if (m->waits) return WN_OK;
  int rc = wn_places_rest(m->places, &m->place, e);
  if (rc != WN_OK) return rc;
  wn_gplace *x = wn_places_at(m->places, m->place);
  if (x->mask == NULL) {
    wn_mask *made = NULL;
    memset(m->bits, 0, (m->tokens->n_vocab / 64 + 1) * sizeof *m->bits);
    if ((rc = walk(m, e)) != WN_OK) return rc;
    x = wn_places_at(m->places, m->place);
    if (x->tokens) take_tokens(m);
    for (uint32_t i = 0; x->accepts && i < m->tokens->n_vocab / 64 + 1; i++)
      m->bits[i] |= m->tokens->ends[i];
    if ((rc = keep_mask(m, &made, e)) != WN_OK) return rc;
    x->mask = made;
  }
  *mask = x->mask;
  return WN_OK;
}

bool wn_mask_has(const wn_mask *mask, int32_t id) {
  if (mask->bits != NULL) return (mask->bits[id / 64] >> (id % 64) & 1) != 0;
  uint32_t low = 0, high = mask->n;
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    if (mask->ids[mid] < id)
      low = mid + 1;
    else
      high = mid;
  }
  return low < mask->n && mask->ids[low] == id;
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
  int rc = wn_places_rest(m->places, &m->place, e);
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
