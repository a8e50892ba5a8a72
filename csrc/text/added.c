/* added.c - cutting a text at special tokens as Hugging Face does: from left
 * to right, at each place the longest one.
 *
 * Tokens that always count (user-defined) may stand anywhere, control tokens
 * only outside of plain spans and when they are asked for. Each of the two has
 * an automaton over the reversed texts: it reads the text from right to left
 * and knows at every place the longest token that begins there. Linear in the
 * text, whatever the tokens are.
 *
 * A SentencePiece file writes the spaces of user-defined tokens as spaces,
 * while the tokenizer compares U+2581 with the text: both forms count. */
#include "text/parts.h"

/* In an automaton's values: the form with U+2581. */
#define MARKED (UINT32_C(1) << 31)

/* Bytes of a token's text, in the form that `value` says. */
static size_t length_of(const wn_vocab *v, uint32_t value) {
  wn_str t = wn_text(v, value & ~MARKED);
  size_t n = t.n;
  for (size_t i = 0; (value & MARKED) != 0 && i < t.n; i++)
    if (t.p[i] == ' ') n += 2;
  return n;
}

/* ---- loading ---- */

/* Adds the reversed text of `id` to an automaton; buf has room for it. */
static int put(wn_vocab *v, wn_added *a, uint32_t id, bool marked, uint8_t *buf,
               wn_err *e) {
  wn_str t = wn_text(v, id);
  size_t n = 0;
  for (size_t i = t.n; i-- > 0;) {
    if (marked && t.p[i] == ' ') {
      memcpy(buf + n, "\x81\x96\xE2", 3);
      n += 3;
    } else {
      buf[n++] = (uint8_t)t.p[i];
    }
  }
  a->last[buf[0]] = true;
  return wn_trie_put(&a->trie, buf, n, marked ? id | MARKED : id, e);
}

static bool is_control(const wn_vocab *v, uint32_t id) {
  return (v->attr[id] & (WN_ATTR_CONTROL | WN_ATTR_UNKNOWN)) != 0;
}

int wn_added_init(wn_vocab *v, wn_err *e) {
  uint8_t *buf = wn_alloc(WN_MEM_TEXT, 3 * (size_t)WN_MAX_TOKEN_BYTES);
  int rc = buf != NULL ? WN_OK : wn_oom(e);
  for (int k = 0; rc == WN_OK && k < 2; k++)
    rc = wn_trie_init(&v->added[k].trie, e);
  for (uint32_t k = v->n_specials; rc == WN_OK && k-- > 0;) {
    uint32_t id = v->special_order[k]; /* of equal texts the first stays */
    wn_str t = wn_text(v, id);
    wn_added *a = &v->added[is_control(v, id)];
    if (a == &v->added[0] && v->kind == WN_KIND_SPM &&
        memchr(t.p, ' ', t.n) != NULL)
      rc = put(v, a, id, true, buf, e);
    if (rc == WN_OK) rc = put(v, a, id, false, buf, e);
  }
  for (int k = 0; rc == WN_OK && k < 2; k++)
    rc = wn_trie_link_longest(&v->added[k].trie, e);
  wn_free(buf);
  return rc;
}

/* ---- finding ---- */

/* A token that begins at a place; lists of them from right to left. */
typedef struct hit {
  uint32_t at, value;
} hit;

typedef struct hits {
  hit *p;
  size_t n, cap;
} hits;

static bool add_hit(hits *h, hit x) {
  if (h->n == h->cap) {
    size_t cap = h->cap + h->cap / 2 + 16;
    hit *p = wn_realloc(WN_MEM_TEXT, h->p, cap * sizeof *p);
    if (p == NULL) return false;
    h->p = p;
    h->cap = cap;
  }
  h->p[h->n++] = x;
  return true;
}

/* The tokens that stand wholly in text[from, to). */
static bool scan(const wn_added *a, const char *text, size_t from, size_t to,
                 hits *h) {
  uint32_t node = 0;
  for (size_t i = to; i-- > from;) {
    uint8_t b = (uint8_t)text[i];
    if (node == 0 && !a->last[b]) continue;
    node = wn_trie_walk(&a->trie, node, b);
    uint32_t value = wn_trie_value(&a->trie, node);
    if (value != WN_TRIE_NONE && !add_hit(h, (hit){(uint32_t)i, value}))
      return false;
  }
  return true;
}

/* Control tokens: in what lies between the plain spans. */
static bool scan_control(const wn_added *a, const char *text, size_t n,
                         const wn_spans *plain, hits *h) {
  for (size_t k = plain->n, to = n;; k--) {
    size_t from = k > 0 ? plain->p[k - 1].to : 0;
    if (!scan(a, text, from, to, h)) return false;
    if (k == 0) return true;
    to = plain->p[k - 1].from;
  }
}

/* ---- cutting ---- */

/* White space at the end of text[from, to): where it begins. */
static size_t white_before(const wn_vocab *v, const char *text, size_t from,
                           size_t to) {
  while (to > from) {
    uint32_t cp = 0;
    size_t i = to - 1;
    while (i > from && to - i < 4 && ((uint8_t)text[i] & 0xC0) == 0x80)
      i--;
    unsigned len = wn_utf8_decode((const uint8_t *)text + i, to - i, &cp);
    if (len != to - i || (wn_cp_class(&v->uni, cp) & WN_C_W) == 0) break;
    to = i;
  }
  return to;
}

/* White space at the start of text[from, to): where it ends. */
static size_t white_behind(const wn_vocab *v, const char *text, size_t from,
                           size_t to) {
  while (from < to) {
    uint32_t cp = 0;
    unsigned len = wn_utf8_decode((const uint8_t *)text + from, to - from, &cp);
    if (len == 0 || (wn_cp_class(&v->uni, cp) & WN_C_W) == 0) break;
    from += len;
  }
  return from;
}

/* Takes the leftmost token at or behind `pos`, of two the longer; false when
 * there is none. */
static bool next_hit(const wn_vocab *v, hits h[2], size_t pos, hit *x,
                     size_t *len) {
  *len = 0;
  for (int k = 0; k < 2; k++) {
    while (h[k].n > 0 && h[k].p[h[k].n - 1].at < pos)
      h[k].n--;
    if (h[k].n == 0) continue;
    hit y = h[k].p[h[k].n - 1];
    size_t n = length_of(v, y.value);
    if (*len != 0 && (y.at > x->at || (y.at == x->at && n <= *len))) continue;
    *x = y;
    *len = n;
  }
  return *len != 0;
}

static bool cut(const wn_vocab *v, const char *text, size_t n, hits h[2],
                wn_frags *out) {
  size_t pos = 0, len;
  hit x;
  while (next_hit(v, h, pos, &x, &len)) {
    uint32_t id = x.value & ~MARKED;
    size_t from = x.at;
    if (v->attr[id] & WN_ATTR_LSTRIP) from = white_before(v, text, pos, from);
    if (from > pos && !wn_frags_add(out, (wn_frag){-1, pos, from - pos}))
      return false;
    if (!wn_frags_add(out, (wn_frag){(int32_t)id, 0, 0})) return false;
    pos = x.at + len;
    if (v->attr[id] & WN_ATTR_RSTRIP) pos = white_behind(v, text, pos, n);
  }
  return pos == n || wn_frags_add(out, (wn_frag){-1, pos, n - pos});
}

bool wn_added_cut(const wn_vocab *v, const char *text, size_t n,
                  bool parse_special, const wn_spans *plain, wn_frags *out) {
  hits h[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
  bool ok = scan(&v->added[0], text, 0, n, &h[0]);
  if (ok && parse_special)
    ok = scan_control(&v->added[1], text, n, plain, &h[1]);
  if (ok) ok = cut(v, text, n, h, out);
  wn_free(h[0].p);
  wn_free(h[1].p);
  return ok;
}
