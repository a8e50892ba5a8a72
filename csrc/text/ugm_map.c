/* ugm_map.c - what SentencePiece does to a text before the unigram model sees
 * it: characters are replaced by a "precompiled charsmap", spaces are marked.
 *
 * The charsmap is a double array (a trie packed into one array of 32-bit
 * units, see Kanda 2018, XCDA) over input prefixes, and the zero-terminated
 * strings that replace them.
 *
 *   bit 31   30 ............ 10   9      8     7 ...... 0
 *   value?   base                 <<8    leaf  label
 *
 * The child of a unit at i for byte c is at i ^ base(i) ^ c when its label is
 * c. A leaf's replacement offset is stored at i ^ base(i). All units that can
 * be reached are checked when the vocabulary is loaded.
 *
 * llama.cpp replaces the longest prefix, and leaves what begins a user-defined
 * token alone. Exact, as Hugging Face: a grapheme cluster of at most 5 bytes
 * becomes the replacement of its shortest prefix that has one, whatever marks
 * follow; without one, and for longer clusters, each character is replaced on
 * its own. */
#include "text/spans.h"
#include "text/ugm.h"

#define K_MAP "tokenizer.ggml.precompiled_charsmap"

enum { MAX_MAP = 1 << 23 };

static uint32_t base_of(uint32_t u) {
  return (u >> 10) << ((u & 512) >> 6);
}

/* What the check of the units knows: per unit the length of the longest path
 * from it (UNSEEN, or ON_PATH while it is being looked at), and the path. */
enum { MAX_DEPTH = 256, UNSEEN = 0xFFFF, ON_PATH = 0xFFFE };

typedef struct check {
  const wn_ugm *m;
  uint16_t *longest;
  uint32_t path[MAX_DEPTH + 1], next[MAX_DEPTH + 1]; /* unit, next label */
  unsigned n;
} check;

/* Enters unit i: what is wrong with it, or NULL. */
static const char *enter(check *k, uint32_t i) {
  const wn_ugm *m = k->m;
  uint32_t u = m->xcda[i], b = i ^ base_of(u);
  if (k->n > MAX_DEPTH) return "a prefix is longer than 256 bytes";
  if ((b | 255) >= m->n_xcda) return "a unit leads outside";
  if ((u >> 8 & 1) != 0 && (m->xcda[b] & 0x7FFFFFFF) >= m->n_repl)
    return "a replacement lies outside";
  k->longest[i] = ON_PATH;
  k->path[k->n] = i;
  k->next[k->n++] = 1;
  return NULL;
}

/* Goes to the next child of the unit at the end of the path, or leaves it.
 * Several units may share a child, but none may lead back to itself. */
static const char *advance(check *k, uint16_t *best) {
  uint32_t i = k->path[k->n - 1], b = i ^ base_of(k->m->xcda[i]);
  uint32_t c = k->next[k->n - 1]++, child = b ^ c;
  if (c == 256) {
    k->longest[i] = best[k->n - 1];
    k->n--;
    if (k->n > 0 && best[k->n - 1] < k->longest[i] + 1)
      best[k->n - 1] = (uint16_t)(k->longest[i] + 1);
    return best[k->n > 0 ? k->n - 1 : 0] > MAX_DEPTH
               ? "a prefix is longer than 256 bytes"
               : NULL;
  }
  if ((k->m->xcda[child] & 0x800000FF) != c) return NULL;
  if (k->longest[child] == ON_PATH) return "the units form a cycle";
  if (k->longest[child] == UNSEEN) {
    best[k->n] = 0;
    return enter(k, child);
  }
  if (best[k->n - 1] < k->longest[child] + 1)
    best[k->n - 1] = (uint16_t)(k->longest[child] + 1);
  return NULL;
}

/* Walks over all units that can be reached from the root. */
static int check_units(const wn_ugm *m, wn_err *e) {
  uint16_t best[MAX_DEPTH + 2] = {0};
  check k = {.m = m};
  k.longest = wn_alloc(WN_MEM_TEXT, m->n_xcda * sizeof *k.longest);
  if (k.longest == NULL) return wn_oom(e);
  memset(k.longest, 0xFF, m->n_xcda * sizeof *k.longest);
  const char *bad = enter(&k, 0);
  while (bad == NULL && k.n > 0)
    bad = advance(&k, best);
  wn_free(k.longest);
  return bad == NULL ? WN_OK : wn_key_fail(e, WN_EFORMAT, K_MAP, "%s", bad);
}

static int load_map(wn_ugm *m, const uint8_t *d, uint64_t n, wn_err *e) {
  uint32_t units;
  if (n > MAX_MAP)
    return wn_key_fail(e, WN_ELIMIT, K_MAP, "%llu bytes, want at most %d",
                       (unsigned long long)n, MAX_MAP);
  if (n < 4) return wn_key_fail(e, WN_EFORMAT, K_MAP, "shorter than its size");
  memcpy(&units, d, 4);
  if (units == 0 || units % 4 != 0 || units >= n - 4)
    return wn_key_fail(e, WN_EFORMAT, K_MAP,
                       "%u bytes of units in %llu bytes, want a multiple of 4 "
                       "that leaves room for replacements",
                       units, (unsigned long long)n);
  m->n_xcda = units / 4;
  m->n_repl = (size_t)n - 4 - units;
  m->xcda = wn_alloc(WN_MEM_TEXT, units);
  m->repl = wn_alloc(WN_MEM_TEXT, m->n_repl);
  if (m->xcda == NULL || m->repl == NULL) return wn_oom(e);
  memcpy(m->xcda, d + 4, units);
  memcpy(m->repl, d + 4 + units, m->n_repl);
  if (m->repl[m->n_repl - 1] != 0)
    return wn_key_fail(e, WN_EFORMAT, K_MAP, "last replacement has no end");
  return check_units(m, e);
}

int wn_ugm_load_map(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  uint64_t n;
  const uint8_t *d;
  int rc = wn_gguf_get_array(g, K_MAP, WN_KV_U8, &n, &d, e);
  if (rc == WN_EFORMAT &&
      wn_gguf_get_array(g, K_MAP, WN_KV_I8, &n, &d, NULL) == WN_OK)
    rc = WN_OK;
  if (rc == WN_ENOENT) return WN_OK;
  return rc == WN_OK ? load_map(&v->ugm, d, n, e) : rc;
}

/* ---- small steps ---- */

static int append(wn_text_buf *t, const void *p, size_t n, wn_err *e) {
  if (t->cap - t->n < n) {
    size_t cap = t->cap + t->cap / 2 + n + 64;
    if (t->n + n > WN_MAX_MERGE)
      return wn_fail(e, WN_ELIMIT, "text: more than %d bytes when normalised",
                     WN_MAX_MERGE);
    uint8_t *q = wn_realloc(WN_MEM_TEXT, t->p, cap);
    if (q == NULL) return wn_oom(e);
    t->p = q;
    t->cap = cap;
  }
  memcpy(t->p + t->n, p, n);
  t->n += n;
  return WN_OK;
}

/* Length of the longest path of user-defined tokens at p; as in llama.cpp it
 * need not end with a token. */
static size_t user_prefix(const wn_ugm *m, const uint8_t *p, size_t n) {
  size_t i = 0;
  for (uint32_t node = 0; i < n; i++)
    if ((node = wn_trie_step(&m->user, node, p[i])) == 0) break;
  return i;
}

/* The longest, or the shortest, prefix of p that the charsmap replaces: its
 * length, and the replacement in *r. 0: none. */
static size_t mapped_prefix(const wn_ugm *m, const uint8_t *p, size_t n,
                            bool shortest, wn_str *r) {
  if (m->n_xcda == 0) return 0;
  uint32_t node = base_of(m->xcda[0]);
  size_t len = 0;
  for (size_t i = 0; i < n && p[i] != 0; i++) {
    node ^= p[i];
    uint32_t u = m->xcda[node];
    if ((u & 0x800000FF) != p[i]) break;
    node ^= base_of(u);
    if ((u >> 8 & 1) == 0) continue;
    len = i + 1;
    r->p = m->repl + (m->xcda[node] & 0x7FFFFFFF);
    if (shortest) break;
  }
  if (len > 0) r->n = strlen(r->p);
  return len;
}

/* Bytes of the character at p, over-long and too large ones included; 0 when
 * it is none. */
static size_t char_len(const uint8_t *p, size_t n) {
  uint8_t b = p[0];
  size_t len = b < 0x80   ? 1
               : b < 0xC0 ? 0
               : b < 0xE0 ? 2
               : b < 0xF0 ? 3
               : b < 0xF8 ? 4
                          : 0;
  if (len > n) return 0;
  for (size_t i = 1; i < len; i++)
    if ((p[i] & 0xC0) != 0x80) return 0;
  return len;
}

/* The unit of byte c below a unit whose children are at `base`, or 0. */
static uint32_t child_at(const wn_ugm *m, uint32_t base, uint8_t c) {
  uint32_t i = base ^ c;
  return (m->xcda[i] & 0x800000FF) == c ? i : 0;
}

/* Bytes that stand for themselves when no byte beyond ASCII follows: no user
 * token begins with them, nor anything that is replaced with such two. */
void wn_ugm_find_plain(wn_vocab *v) {
  wn_ugm *m = &v->ugm;
  for (unsigned b = 0x20; b < 0x7F; b++) {
    uint32_t i =
        m->n_xcda == 0 ? 0 : child_at(m, base_of(m->xcda[0]), (uint8_t)b);
    bool plain = wn_trie_step(&m->user, 0, (uint8_t)b) == 0;
    if (i != 0 && (m->xcda[i] >> 8 & 1) != 0) plain = false;
    for (unsigned c = 1; i != 0 && plain && c < 0x80; c++)
      plain = child_at(m, i ^ base_of(m->xcda[i]), (uint8_t)c) == 0;
    m->plain[b] = plain;
  }
}

/* ---- grapheme clusters ---- */

static const wn_char_span AFTER[] = {
/* joins what stands before it */
#define G WN_SPAN
#include "text/unicode_grapheme.def"
#undef G
};
static const wn_char_span BEFORE[] = {
/* joins what stands behind it */
#define H WN_SPAN
#include "text/unicode_grapheme.def"
#undef H
};
static const wn_char_span ALONE[] = {
#define B WN_SPAN
#include "text/unicode_grapheme.def"
#undef B
};

/* The character at p as it counts here; *len its bytes, never 0. */
static uint32_t char_at(const uint8_t *p, size_t n, size_t *len) {
  uint32_t cp = p[0];
  *len = 1;
  if (cp < 0x80) return cp;
  unsigned k = wn_utf8_decode(p, n, &cp);
  if (k == 0) return 0xFFFD;
  *len = k;
  return cp;
}

/* Bytes of the cluster at p. */
static size_t cluster_len(const uint8_t *p, size_t n) {
  size_t len, i;
  uint32_t cp = char_at(p, n, &i);
  if (i < n && cp < 0x80 && p[i] < 0x80)
    return cp == '\r' && p[i] == '\n' ? 2 : 1;
  if (WN_IN(cp, ALONE)) return i;
  while (i < n && WN_IN(cp, BEFORE)) { /* takes the next one along */
    uint32_t next = char_at(p + i, n - i, &len);
    if (WN_IN(next, ALONE)) return i;
    cp = next;
    i += len;
  }
  for (; i < n; i += len)
    if (!WN_IN(char_at(p + i, n - i, &len), AFTER)) break;
  return i;
}

/* ---- the text in normal form ---- */

/* Where the normaliser stands. Exact: text before `inner` is a cluster whose
 * characters are taken one by one, and where white space separates words all
 * of it does. */
typedef struct reader {
  const wn_ugm *m;
  const wn_uni *uni;
  const uint8_t *p;
  size_t n, i, inner;
  bool exact, split;
} reader;

/* What the next piece of input becomes; r->i moves behind it. */
static wn_str next_piece(reader *r) {
  const uint8_t *p = r->p + r->i;
  size_t left = r->n - r->i, len = 0;
  wn_str s;
  if (r->exact) {
    if (r->i >= r->inner) {
      len = cluster_len(p, left);
      r->inner = r->i + len;
      if (len < 6 && mapped_prefix(r->m, p, len, true, &s) > 0) {
        r->i += len;
        return s;
      }
    }
    uint32_t cp = char_at(p, left, &len);
    bool mapped = mapped_prefix(r->m, p, len, true, &s) > 0;
    if (!mapped && r->split && (wn_cp_class(r->uni, cp) & WN_C_W) != 0) {
      s = (wn_str){" ", 1};
      mapped = true;
    }
    if (mapped) {
      r->i += len;
      return s;
    }
  } else if ((len = user_prefix(r->m, p, left)) == 0 &&
             (len = mapped_prefix(r->m, p, left, false, &s)) > 0) {
    r->i += len;
    return s;
  }
  if (len == 0 || r->exact) len = char_len(p, left);
  r->i += len > 0 ? len : 1;
  return len > 0 ? (wn_str){(const char *)p, len} : (wn_str){"\xEF\xBF\xBD", 3};
}

/* Bytes from r->i on that stay as they are. */
static size_t plain_run(const reader *r) {
  size_t i = r->i;
  while (i < r->n && r->m->plain[r->p[i]] &&
         (i + 1 == r->n || r->p[i + 1] < 0x80))
    i++;
  return i - r->i;
}

/* Spaces become U+2581; one goes in front (add_space_prefix); runs shrink to
 * one and outer ones vanish (remove_extra_whitespaces). */
typedef struct marks {
  bool merge, prefix, in_word, prefixed;
} marks;

static int put(marks *k, const char *s, size_t n, wn_text_buf *t, wn_err *e) {
  int rc = WN_OK;
  for (size_t i = 0; rc == WN_OK && i < n;) {
    bool space = s[i] == ' ', mark = space && !k->merge;
    if (!space && !k->in_word) {
      mark = (k->prefix && !k->prefixed) || k->merge;
      k->prefixed = k->prefixed || mark;
    }
    k->in_word = !space;
    if (mark) rc = append(t, "\xE2\x96\x81", 3, e);
    size_t from = i;
    while (i < n && s[i] != ' ')
      i++;
    if (rc == WN_OK && i > from) rc = append(t, s + from, i - from, e);
    if (space) i++;
  }
  return rc;
}

int wn_ugm_normalise(const wn_vocab *v, const uint8_t *p, size_t n,
                     wn_text_buf *t, wn_err *e) {
  reader r = {.m = &v->ugm, .uni = &v->uni, .p = p, .n = n};
  r.exact = v->exact == WN_EXACT_TRAINED;
  r.split = v->remove_extra_ws;
  marks k = {v->remove_extra_ws, v->add_space_prefix, false, false};
  int rc = WN_OK;
  while (rc == WN_OK && r.i < n) {
    wn_str s = {(const char *)p + r.i, plain_run(&r)};
    r.i += s.n;
    if (s.n == 0) s = next_piece(&r);
    rc = put(&k, s.p, s.n, t, e);
  }
  return rc;
}
