/* ugm.c - unigram model (T5): the segmentation with the highest sum of token
 * scores, after SentencePiece's normalisation.
 *
 * The normaliser is a "precompiled charsmap": a double array (a trie packed
 * into one array of 32-bit units, see Kanda 2018, XCDA) over input prefixes,
 * and the zero-terminated strings that replace them.
 *
 *   bit 31   30 ............ 10   9      8     7 ...... 0
 *   value?   base                 <<8    leaf  label
 *
 * The child of a unit at i for byte c is at i ^ base(i) ^ c when its label is
 * c. A leaf's replacement offset is stored at i ^ base(i). All units that can
 * be reached are checked when the vocabulary is loaded.
 *
 * No token reaches across the place before a U+2581 unless some token has
 * U+2581 after the very byte that stands there (`no_cut`), so the text is
 * segmented in stretches: memory is bounded by the longest one. Exact: a
 * stretch is a word, remembered, its scores summed from 0 as in Hugging Face;
 * else it is long and the sum goes on, to round as llama.cpp does. */
#include <float.h>

#include "text/merge.h"
#include "text/words.h"

#define SPACE "\xE2\x96\x81"

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

static int get_map(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  uint64_t n;
  const uint8_t *d;
  int rc = wn_gguf_get_array(g, K_MAP, WN_KV_U8, &n, &d, e);
  if (rc == WN_EFORMAT &&
      wn_gguf_get_array(g, K_MAP, WN_KV_I8, &n, &d, NULL) == WN_OK)
    rc = WN_OK;
  if (rc == WN_ENOENT) return WN_OK;
  return rc == WN_OK ? load_map(&v->ugm, d, n, e) : rc;
}

int wn_ugm_init(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  wn_ugm *m = &v->ugm;
  float min = FLT_MAX;
  int rc = get_map(v, g, e);
  if (rc == WN_OK) rc = wn_trie_init(&m->tokens, e);
  if (rc == WN_OK) rc = wn_trie_init(&m->user, e);
  for (uint32_t i = 0; rc == WN_OK && i < v->n; i++) {
    wn_str t = wn_text(v, i);
    unsigned a = v->attr[i];
    if ((a & WN_ATTR_NORMAL) && v->score[i] < min) min = v->score[i];
    if (a & (WN_ATTR_NORMAL | WN_ATTR_USER | WN_ATTR_UNUSED))
      rc = wn_trie_put(&m->tokens, t.p, t.n, i, e);
    for (size_t k = 1; k + 3 <= t.n; k++)
      if (memcmp(t.p + k, SPACE, 3) == 0) v->no_cut[(uint8_t)t.p[k - 1]] = 1;
    if (rc == WN_OK && (a & WN_ATTR_USER))
      rc = wn_trie_put(&m->user, t.p, t.n, i, e);
  }
  m->unk_score = min - 10.0f;
  return rc;
}

/* ---- normalisation ---- */

typedef struct text {
  uint8_t *p;
  size_t n, cap;
} text;

static int append(text *t, const void *p, size_t n, wn_err *e) {
  if (t->cap - t->n < n) {
    size_t cap = t->cap * 2 + n + 64;
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

/* The longest prefix of p that the charsmap replaces: its length, and the
 * replacement in *r. 0: none. */
static size_t mapped_prefix(const wn_ugm *m, const uint8_t *p, size_t n,
                            wn_str *r) {
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

/* What stands at p in normal form (*r), and how much input that was. */
static size_t normal_at(const wn_ugm *m, const uint8_t *p, size_t n,
                        wn_str *r) {
  size_t len = user_prefix(m, p, n);
  if (len == 0) {
    len = mapped_prefix(m, p, n, r);
    if (len > 0) return len;
    len = char_len(p, n);
  }
  *r = (wn_str){(const char *)p, len};
  if (len > 0) return len;
  *r = (wn_str){"\xEF\xBF\xBD", 3};
  return 1;
}

/* Spaces become U+2581; one goes in front (add_space_prefix); runs shrink to
 * one and outer ones vanish (remove_extra_whitespaces). */
static int normalise(const wn_vocab *v, const uint8_t *p, size_t n, text *t,
                     wn_err *e) {
  bool in_word = false, prefixed = false, merge = v->remove_extra_ws;
  int rc = WN_OK;
  for (size_t i = 0; rc == WN_OK && i < n;) {
    wn_str r;
    i += normal_at(&v->ugm, p + i, n - i, &r);
    for (size_t k = 0; rc == WN_OK && k < r.n; k++) {
      bool space = r.p[k] == ' ', put = space && !merge;
      if (!space && !in_word) {
        put = (v->add_space_prefix && !prefixed) || merge;
        prefixed = prefixed || put;
      }
      in_word = !space;
      if (put) rc = append(t, "\xE2\x96\x81", 3, e);
      if (rc == WN_OK && !space) rc = append(t, &r.p[k], 1, e);
    }
  }
  return rc;
}

/* ---- the best segmentation ---- */

/* The best way to reach a position: the last token, where it began, and the
 * sum of scores (double, like the reference). */
typedef struct best {
  int32_t id;
  uint32_t from;
  double sum;
} best;

static void offer(best *b, int32_t id, size_t from, double sum) {
  if (sum > b->sum) *b = (best){id, (uint32_t)from, sum};
}

static void search(const wn_vocab *v, const uint8_t *p, size_t n, best *b) {
  const wn_ugm *m = &v->ugm;
  for (size_t i = 0; i < n;) {
    uint8_t c = p[i];
    size_t len = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (len > n - i) len = n - i;
    bool single = false; /* a token is exactly this character */
    uint32_t node = 0;
    for (size_t k = i; k < n; k++) {
      node = wn_trie_step(&m->tokens, node, p[k]);
      if (node == 0) break;
      uint32_t id = m->tokens.value[node];
      if (id == WN_TRIE_NONE) continue;
      if (k + 1 - i == len) single = true;
      double score = v->attr[id] & WN_ATTR_USER ? 0.0 : (double)v->score[id];
      offer(&b[k + 1], (int32_t)id, i, b[i].sum + score);
    }
    if (!single)
      offer(&b[i + len], v->special[WN_TOK_UNK], i,
            b[i].sum + (double)m->unk_score);
    i += len;
  }
}

/* Reads the path back from the end; neighbouring unknowns become one. */
static bool collect(const wn_vocab *v, const best *b, size_t n, wn_ids *out) {
  int32_t unk = v->special[WN_TOK_UNK];
  size_t first = out->n;
  bool was_unknown = false;
  for (size_t i = n;; i = b[i].from) {
    bool unknown = b[i].id == unk;
    if (!(unknown && (was_unknown || unk < 0)) && !wn_ids_push(out, b[i].id))
      return false;
    if (b[i].from == 0) break;
    was_unknown = unknown;
  }
  for (size_t i = first, k = out->n; i + 1 < k; i++) {
    int32_t x = out->p[i];
    out->p[i] = out->p[--k];
    out->p[k] = x;
  }
  return true;
}

typedef struct run {
  const wn_vocab *v;
  wn_ids *out;
  best *b;           /* room for cap positions */
  size_t cap, first; /* first: where this text's ids begin */
  double sum;        /* not exact: of all stretches before */
  wn_seen *words;
} run;

static int reserve(run *r, size_t n, wn_err *e) {
  if (n < r->cap) return WN_OK;
  wn_free(r->b);
  r->cap = n + n / 2 + 256;
  r->b = wn_alloc(WN_MEM_TEXT, r->cap * sizeof *r->b);
  if (r->b == NULL) r->cap = 0;
  return r->b != NULL ? WN_OK : wn_oom(e);
}

/* Segments one stretch. */
static int stretch(run *r, const uint8_t *p, size_t n, wn_err *e) {
  int32_t unk = r->v->special[WN_TOK_UNK];
  int rc = reserve(r, n, e);
  if (rc != WN_OK) return rc;
  for (size_t i = 0; i <= n; i++)
    r->b[i] = (best){unk, 0, i == 0 ? r->sum : -DBL_MAX};
  search(r->v, p, n, r->b);
  if (!collect(r->v, r->b, n, r->out)) return wn_oom(e);
  if (r->v->exact != WN_EXACT_TRAINED) r->sum = r->b[n].sum;
  return WN_OK;
}

/* The same from memory, where the word was seen before. */
static int word(run *r, const uint8_t *p, size_t n, wn_err *e) {
  bool hit = false;
  wn_seen *s = NULL;
  size_t at = r->out->n;
  if (r->words != NULL && n <= WN_WORD_LEN)
    s = wn_words_at(r->words, p, n, wn_hash(p, n), &hit);
  if (hit) return wn_words_repeat(s, r->out) ? WN_OK : wn_oom(e);
  int rc = stretch(r, p, n, e);
  if (rc == WN_OK && s != NULL)
    *s = (wn_seen){p, (uint32_t)n, (uint32_t)(r->out->n - at), at};
  return rc;
}

/* Length of the first stretch of at least `least` bytes. */
static size_t stretch_len(const wn_vocab *v, const uint8_t *p, size_t n,
                          size_t least) {
  while (least < n) {
    const uint8_t *hit = memmem(p + least, n - least, SPACE, 3);
    if (hit == NULL) return n;
    if (!v->no_cut[hit[-1]]) return (size_t)(hit - p);
    least = (size_t)(hit - p) + 1;
  }
  return n;
}

/* Unknown tokens that two stretches left side by side become one. */
static void join_unknown(run *r) {
  int32_t unk = r->v->special[WN_TOK_UNK], *p = r->out->p;
  size_t o = r->first;
  for (size_t i = r->first; i < r->out->n; i++)
    if (p[i] != unk || o == r->first || p[o - 1] != unk) p[o++] = p[i];
  r->out->n = o;
}

enum { LONG_STRETCH = 1 << 16 };

int wn_ugm_encode(const wn_vocab *v, const uint8_t *p, size_t n, wn_ids *out,
                  wn_err *e) {
  text t = {NULL, 0, 0};
  bool exact = v->exact == WN_EXACT_TRAINED;
  run r = {.v = v, .out = out, .first = out->n};
  int rc = normalise(v, p, n, &t, e);
  if (rc == WN_OK && exact) r.words = wn_words_new(t.n);
  for (size_t i = 0, len; rc == WN_OK && i < t.n; i += len) {
    len = stretch_len(v, t.p + i, t.n - i, exact ? 1 : LONG_STRETCH);
    rc = word(&r, t.p + i, len, e);
  }
  if (rc == WN_OK) join_unknown(&r);
  wn_free(t.p);
  wn_free(r.b);
  wn_free(r.words);
  return rc;
}
