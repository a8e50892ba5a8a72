/* spm.c - SentencePiece-style BPE: neighbours whose joint text is a token
 * merge, highest score first.
 *
 * llama.cpp merges over the whole text. Here it is cut first where no token
 * can reach across: before U+2581 (the escaped space) unless some token has
 * U+2581 after the very byte that stands before it (`no_cut`). Merges on both
 * sides of such a place never meet, so the result is the same. */
#include "text/merge.h"
#include "text/words.h"

#define SPACE "\xE2\x96\x81"

static bool is_space(const char *p, size_t n) {
  return n >= 3 && memcmp(p, SPACE, 3) == 0;
}

/* The token of each byte: "<0xAB>", else the one-byte text, else unknown. */
static void set_byte_ids(wn_vocab *v) {
  static const char HEX[] = "0123456789ABCDEF";
  for (unsigned i = 0; i < 256; i++) {
    char name[6] = {'<', '0', 'x', HEX[i >> 4], HEX[i & 15], '>'};
    uint8_t byte = (uint8_t)i;
    v->byte_id[i] = wn_find(v, name, 6);
    if (v->byte_id[i] < 0) v->byte_id[i] = wn_find(v, &byte, 1);
  }
}

/* A lower number for a higher score; equal for the two zeros. */
static uint32_t order_of(float score) {
  uint32_t u;
  if (score == 0) score = 0; /* -0 becomes 0 */
  memcpy(&u, &score, 4);
  return u & 0x80000000u ? u : 0x7FFFFFFFu - u;
}

/* Where x stands in n sorted different numbers that contain it. Looks at
 * place `guess` first: most vocabularies are sorted by score. */
static uint32_t rank_of(const uint32_t *a, uint32_t n, uint32_t x,
                        uint32_t guess) {
  uint32_t lo = 0, hi = n;
  if (guess < n && a[guess] == x) return guess;
  while (hi - lo > 1) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (a[mid] <= x)
      lo = mid;
    else
      hi = mid;
  }
  return lo;
}

/* Scores as dense ranks, the highest score first. */
static int rank_scores(wn_vocab *v, wn_err *e) {
  uint32_t *a = wn_alloc(WN_MEM_TEXT, 2 * (size_t)v->n * sizeof *a), n = 0;
  v->urgency = wn_alloc(WN_MEM_TEXT, v->n * sizeof *v->urgency);
  if (a == NULL || v->urgency == NULL) {
    wn_free(a);
    return wn_oom(e);
  }
  for (uint32_t i = 0; i < v->n; i++)
    a[i] = order_of(v->score[i]);
  wn_sort_u32(a, a + v->n, v->n);
  for (uint32_t i = 0; i < v->n; i++)
    if (n == 0 || a[n - 1] != a[i]) a[n++] = a[i];
  for (uint32_t i = 0; i < v->n; i++) {
    uint32_t guess = i == 0 ? 0 : v->urgency[i - 1] + 1;
    v->urgency[i] = rank_of(a, n, order_of(v->score[i]), guess);
  }
  v->n_urgency = n;
  wn_free(a);
  return WN_OK;
}

int wn_spm_init(wn_vocab *v, wn_err *e) {
  int rc = rank_scores(v, e);
  if (rc != WN_OK) return rc;
  set_byte_ids(v);
  for (uint32_t i = 0; i < v->n; i++) {
    wn_str t = wn_text(v, i);
    if (t.n > v->bpe.max_len) v->bpe.max_len = t.n;
    for (size_t k = 1; k + 3 <= t.n; k++)
      if (is_space(t.p + k, t.n - k) && !(k >= 3 && is_space(t.p + k - 3, 3)))
        v->no_cut[(uint8_t)t.p[k - 1]] = 1;
  }
  return WN_OK;
}

/* Bytes of the character that byte b announces; what follows is not looked
 * at, any bytes will do. */
static size_t symbol_len(uint8_t b, size_t left) {
  size_t n = b < 0xC0 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
  return n < left ? n : left;
}

typedef struct run {
  const wn_vocab *v;
  const uint8_t *w; /* the word being merged */
  wn_merge m;
  wn_words *words;
  wn_ids *out;
  bool guard; /* control tokens are no result */
} run;

/* The token of a text, or WN_NONE. */
static uint32_t token_of(const run *r, const uint8_t *p, size_t n) {
  uint32_t id = wn_map_get(&r->v->map, p, n);
  return id != WN_NONE && wn_kept_out(r->v, r->guard, id) ? WN_NONE : id;
}

static bool find_pair(const void *ctx, const wn_merge *m, uint32_t i,
                      uint32_t j, uint32_t *prio, uint32_t *result) {
  const run *r = ctx;
  uint32_t from = m->start[i], to = m->start[m->next[j]];
  if (to - from > r->v->bpe.max_len) return false;
  *result = token_of(r, r->w + from, to - from);
  if (*result == WN_NONE) return false;
  *prio = r->v->urgency[*result];
  return true;
}

static bool put_bytes(run *r, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int32_t id = r->v->byte_id[p[i]];
    if (id < 0) id = r->v->special[WN_TOK_UNK];
    if (id >= 0 && !wn_ids_push(r->out, id)) return false;
  }
  return true;
}

static int merge_word(run *r, const uint8_t *w, size_t n, wn_err *e) {
  wn_merge *m = &r->m;
  size_t count = n <= WN_WORD_LEN ? n : 0; /* symbols, at most */
  for (size_t i = 0; n > WN_WORD_LEN && i < n; count++)
    i += symbol_len(w[i], n - i);
  int rc = wn_merge_reserve(m, count, e);
  if (rc != WN_OK) return rc;
  r->w = w;
  m->n = 0;
  for (size_t i = 0; i < n; m->n++) {
    m->start[m->n] = (uint32_t)i;
    m->sym[m->n] = WN_NONE;
    i += symbol_len(w[i], n - i);
  }
  m->start[m->n] = (uint32_t)n;
  rc = wn_merge_run(m, r->v->n_urgency, find_pair, r, e);
  for (uint32_t i = 0; rc == WN_OK && i < m->n; i = m->next[i]) {
    uint32_t from = m->start[i], len = m->start[m->next[i]] - from;
    uint32_t id = m->sym[i];
    if (id == WN_NONE) id = token_of(r, w + from, len);
    bool ok = id != WN_NONE ? wn_ids_push(r->out, (int32_t)id)
                            : put_bytes(r, w + from, len);
    if (!ok) rc = wn_oom(e);
  }
  return rc;
}

static int emit_word(run *r, const uint8_t *w, size_t n, wn_err *e) {
  bool hit;
  wn_seen *s = wn_words_at(r->words, w, n, &hit);
  if (hit) return wn_words_repeat(s, r->out) ? WN_OK : wn_oom(e);
  size_t at = r->out->n;
  int rc = merge_word(r, w, n, e);
  if (rc == WN_OK && s != NULL) wn_words_keep(s, r->out, at);
  return rc;
}

/* Length of the first word of w: up to a place where the text may be cut. */
static size_t word_len(const wn_vocab *v, const uint8_t *w, size_t n) {
  size_t i = symbol_len(w[0], n);
  bool space = i == 3 && is_space((const char *)w, n);
  while (i < n) {
    size_t len = symbol_len(w[i], n - i);
    bool next = len == 3 && is_space((const char *)w + i, n - i);
    if (next && !space && !v->no_cut[w[i - 1]]) return i;
    space = next;
    i += len;
  }
  return n;
}

int wn_spm_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool prefix,
                  bool guard, wn_ids *out, wn_err *e) {
  run r = {.v = v, .out = out, .guard = guard};
  int rc = WN_OK;
  size_t len = 0, spaces = 1;
  for (size_t i = 0; i < n; i++)
    spaces += p[i] == ' ';
  uint8_t *text = wn_alloc(WN_MEM_TEXT, n + 2 * spaces + 1);
  if (text == NULL) return wn_oom(e);
  if (prefix) {
    memcpy(text, SPACE, 3);
    len = 3;
  }
  for (size_t i = 0; i < n; i++) {
    if (p[i] == ' ') {
      memcpy(text + len, SPACE, 3);
      len += 3;
    } else {
      text[len++] = p[i];
    }
  }
  r.words = wn_words_new(len);
  for (size_t i = 0; rc == WN_OK && i < len;) {
    size_t k = word_len(v, text + i, len - i);
    rc = emit_word(&r, text + i, k, e);
    i += k;
  }
  wn_free(text);
  wn_free(r.words);
  wn_merge_free(&r.m);
  return rc;
}
