/* ugm.c - unigram model (T5): the segmentation with the highest sum of token
 * scores, after SentencePiece's normalisation (ugm_map.c).
 *
 * No token reaches across the place before a U+2581 unless some token has
 * U+2581 after the very byte that stands there (`no_cut`), so the text is
 * segmented in stretches: memory is bounded by the longest one. Exact: a
 * stretch is a word, remembered, its scores summed from 0 as in Hugging Face;
 * else it is long and the sum goes on, to round as llama.cpp does. */
#include <float.h>
#include <math.h>

#include "text/ugm.h"
#include "text/words.h"

static const uint8_t SPACE[3] = {0xE2, 0x96, 0x81};

int wn_ugm_init(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  wn_ugm *m = &v->ugm;
  float min = FLT_MAX;
  m->ring = 7; /* a character at least */
  int rc = wn_ugm_load_map(v, g, e);
  if (rc == WN_OK) rc = wn_trie_init(&m->tokens, e);
  if (rc == WN_OK) rc = wn_trie_init(&m->user, e);
  for (uint32_t i = 0; rc == WN_OK && i < v->n; i++) {
    wn_str t = wn_text(v, i);
    unsigned a = v->attr[i];
    if ((a & WN_ATTR_NORMAL) && v->score[i] < min) min = v->score[i];
    if (a & (WN_ATTR_NORMAL | WN_ATTR_USER | WN_ATTR_UNUSED)) {
      rc = wn_trie_put(&m->tokens, t.p, t.n, i, e);
      while (m->ring < t.n)
        m->ring = 2 * m->ring + 1;
    }
    for (size_t k = 1; k + 3 <= t.n; k++)
      if (memcmp(t.p + k, SPACE, 3) == 0) v->no_cut[(uint8_t)t.p[k - 1]] = 1;
    if (rc == WN_OK && (a & WN_ATTR_USER))
      rc = wn_trie_put(&m->user, t.p, t.n, i, e);
  }
  if (rc == WN_OK) rc = wn_trie_pack(&m->tokens, e);
  if (rc == WN_OK) rc = wn_trie_pack(&m->user, e);
  m->unk_score = min - 10.0f;
  for (unsigned b = 0; rc == WN_OK && b < 256; b++)
    m->first[b] = wn_trie_step(&m->tokens, 0, (uint8_t)b);
  if (rc == WN_OK) wn_ugm_find_plain(v);
  m->points = wn_alloc(WN_MEM_TEXT, v->n * sizeof *m->points);
  if (rc == WN_OK && m->points == NULL) rc = wn_oom(e);
  if (rc == WN_OK) wn_ugm_weigh(v);
  return rc;
}

/* What token `id` adds to the sum. */
static float points_of(const wn_vocab *v, uint32_t id) {
  return v->attr[id] & WN_ATTR_USER ? 0.0f : v->score[id];
}

void wn_ugm_weigh(wn_vocab *v) {
  for (uint32_t i = 0; i < v->n; i++)
    v->ugm.points[i] = wn_kept_out(v, true, i) ? NAN : points_of(v, i);
}

/* ---- the best segmentation ---- */

/* The best way to reach a position: the last token, and where it began. */
typedef struct best {
  int32_t id;
  uint32_t from;
} best;

typedef struct run {
  const wn_vocab *v;
  wn_ids *out;
  best *b;           /* room for cap positions */
  double *sum;       /* of scores, like the reference: see slot */
  size_t cap, first; /* first: where this text's ids begin */
  double before;     /* not exact: the sum of all stretches before */
  wn_words *words;
  bool guard;
} run;

/* Sums are only needed as far as a token reaches: they live in a ring. */
static double *slot(const run *r, size_t i) {
  return &r->sum[i & r->v->ugm.ring];
}

static void offer(run *r, size_t i, int32_t id, size_t from, double sum) {
  if (sum <= *slot(r, i)) return;
  *slot(r, i) = sum;
  r->b[i] = (best){id, (uint32_t)from};
}

static void search(run *r, const uint8_t *p, size_t n) {
  const wn_vocab *v = r->v;
  const wn_ugm *m = &v->ugm;
  size_t open = 0; /* positions before it have a slot */
  for (size_t i = 0; i < n;) {
    uint8_t c = p[i];
    size_t len = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (len > n - i) len = n - i;
    for (; open <= i + m->ring && open <= n; open++)
      *slot(r, open) = open == 0 ? r->before : -DBL_MAX;
    double here = *slot(r, i);
    bool single = false; /* a token is exactly this character */
    uint32_t node = 0;
    for (size_t k = i; k < n; k++) {
      node = k == i ? m->first[p[k]] : wn_trie_step(&m->tokens, node, p[k]);
      if (node == 0) break;
      uint32_t id = wn_trie_value(&m->tokens, node);
      if (id == WN_TRIE_NONE) continue;
      float points = m->points[id];
      if (isnan(points)) {
        if (r->guard) continue;
        points = points_of(v, id);
      }
      if (k + 1 - i == len) single = true;
      offer(r, k + 1, (int32_t)id, i, here + (double)points);
    }
    if (!single)
      offer(r, i + len, v->special[WN_TOK_UNK], i, here + (double)m->unk_score);
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

static int reserve(run *r, size_t n, wn_err *e) {
  if (r->sum == NULL)
    r->sum = wn_alloc(WN_MEM_TEXT, (r->v->ugm.ring + 1) * sizeof *r->sum);
  if (r->sum == NULL) return wn_oom(e);
  if (n < r->cap) return WN_OK;
  wn_free(r->b);
  r->cap = n < 1 << 16 ? n + n / 2 + 256 : n + 1;
  r->b = wn_alloc(WN_MEM_TEXT, r->cap * sizeof *r->b);
  if (r->b == NULL) r->cap = 0;
  return r->b != NULL ? WN_OK : wn_oom(e);
}

/* Segments one stretch. */
static int stretch(run *r, const uint8_t *p, size_t n, wn_err *e) {
  int rc = reserve(r, n, e);
  if (rc != WN_OK) return rc;
  search(r, p, n);
  if (!collect(r->v, r->b, n, r->out)) return wn_oom(e);
  if (r->v->exact != WN_EXACT_TRAINED) r->before = *slot(r, n);
  return WN_OK;
}

/* The same from memory, where the word was seen before. */
static int word(run *r, const uint8_t *p, size_t n, wn_err *e) {
  bool hit;
  wn_seen *s = wn_words_at(r->words, p, n, &hit);
  size_t at = r->out->n;
  if (hit) return wn_words_repeat(s, r->out) ? WN_OK : wn_oom(e);
  int rc = stretch(r, p, n, e);
  if (rc == WN_OK && s != NULL) wn_words_keep(s, r->out, at);
  return rc;
}

/* Length of the first stretch of at least `least` bytes. */
static size_t stretch_len(const wn_vocab *v, const uint8_t *p, size_t n,
                          size_t least) {
  while (least < n) {
    const uint8_t *hit = memchr(p + least, SPACE[0], n - least);
    if (hit == NULL) return n;
    least = (size_t)(hit - p) + 1;
    if (n - least >= 2 && memcmp(hit, SPACE, 3) == 0 && !v->no_cut[hit[-1]])
      return least - 1;
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

int wn_ugm_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                  wn_ids *out, wn_err *e) {
  wn_text_buf t = {NULL, 0, 0};
  bool exact = v->exact == WN_EXACT_TRAINED;
  run r = {.v = v, .out = out, .first = out->n, .guard = guard};
  int rc = wn_ugm_normalise(v, p, n, &t, e);
  if (rc == WN_OK && exact) r.words = wn_words_new(t.n);
  for (size_t i = 0, len; rc == WN_OK && i < t.n; i += len) {
    len = stretch_len(v, t.p + i, t.n - i, exact ? 1 : LONG_STRETCH);
    rc = word(&r, t.p + i, len, e);
  }
  if (rc == WN_OK) join_unknown(&r);
  wn_free(t.p);
  wn_free(r.b);
  wn_free(r.sum);
  wn_free(r.words);
  return rc;
}
