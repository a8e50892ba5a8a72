/* bpe.c - encoding with byte pairs.
 *
 * The text is cut into words (pretok.h) and each word is merged on its own
 * (merge.h). Three short cuts keep the same result: a word that is a token
 * and is known to merge back into that token is that token; words seen before
 * in this text are copied; one byte needs no merging.
 *
 * Under guard no word and no merge gives a control token, whatever a file's
 * merges spell: such a token comes of what asks for it only. */
#include "text/merge.h"
#include "text/words.h"

typedef struct run {
  const wn_vocab *v;
  wn_ids *out;
  wn_merge m;
  wn_words *words;
  bool guard;
} run;

/* A control token that plain text may not become? */
static bool is_kept_out(const run *r, uint32_t sym) {
  return sym < r->v->n && wn_kept_out(r->v, r->guard, sym);
}

static bool find_pair(const void *ctx, const wn_merge *m, uint32_t i,
                      uint32_t j, uint32_t *prio, uint32_t *result) {
  const run *r = ctx;
  const wn_bpe *b = &r->v->bpe;
  uint32_t x = m->sym[i], y = m->sym[j];
  if (x == WN_NONE || y == WN_NONE) return false;
  uint64_t h = ((uint64_t)x << 32 | y) * UINT64_C(0x9E3779B97F4A7C15);
  const wn_pair *p = &b->pair[(h ^ h >> 29) & b->pair_mask];
  while (p->rank != WN_NONE && (p->a != x || p->b != y))
    if (++p > b->pair + b->pair_mask) p = b->pair;
  if (p->rank == WN_NONE || is_kept_out(r, p->sym)) return false;
  *prio = p->rank;
  *result = p->sym;
  return true;
}

/* The symbols a word starts from: bytes, or characters of a raw vocabulary. */
static int spell(run *r, const uint8_t *w, size_t n, wn_err *e) {
  const wn_bpe *b = &r->v->bpe;
  bool raw = (r->v->pre->props & WN_P_RAW) != 0;
  int rc = wn_merge_reserve(&r->m, n, e);
  if (rc != WN_OK) return rc;
  r->m.n = 0;
  for (size_t i = 0; i < n;) {
    unsigned len = raw ? wn_utf8_len(w[i]) : 1;
    uint32_t k = r->m.n++;
    r->m.start[k] = (uint32_t)i;
    r->m.sym[k] =
        len == 1 ? b->byte_sym[w[i]] : wn_map_get(&b->syms, w + i, len);
    i += len;
  }
  r->m.start[r->m.n] = (uint32_t)n;
  return WN_OK;
}

static bool fall_back(run *r, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (int k = 0; k < 2; k++) {
      int32_t id = r->v->bpe.fallback[p[i]][k];
      if (id >= 0 && !wn_ids_push(r->out, id)) return false;
    }
  return true;
}

static int merge_word(run *r, const uint8_t *w, size_t n, wn_err *e) {
  wn_merge *m = &r->m;
  const wn_bpe *b = &r->v->bpe;
  int rc = spell(r, w, n, e);
  if (rc == WN_OK) rc = wn_merge_run(m, b->n_merges, find_pair, r, e);
  if (rc != WN_OK) return rc;
  for (uint32_t i = 0; i < m->n; i = m->next[i]) {
    uint32_t s = m->sym[i], from = m->start[i], to = m->start[m->next[i]];
    bool ok = s < r->v->n ? wn_ids_push(r->out, (int32_t)s)
                          : fall_back(r, w + from, to - from);
    if (!ok) return wn_oom(e);
  }
  return WN_OK;
}

static bool is_lines(const uint8_t *w, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (w[i] != '\n') return false;
  return true;
}

static int emit_word(run *r, const uint8_t *w, size_t n, wn_err *e) {
  const wn_bpe *b = &r->v->bpe;
  unsigned props = r->v->pre->props;
  uint32_t tok = WN_NONE;
  bool hit, usual = r->guard == (r->v->exact == WN_EXACT_TRAINED);
  wn_seen *s = wn_words_at(r->words, w, n, &hit);
  if (hit) return wn_words_repeat(s, r->out) ? WN_OK : wn_oom(e);
  size_t at = r->out->n;
  if (n <= b->max_len) {
    tok = wn_map_get(&b->syms, w, n);
    if (tok >= r->v->n || is_kept_out(r, tok)) tok = WN_NONE;
  }
  if (tok != WN_NONE) {
    /* what is known holds for how this vocabulary encodes most texts */
    uint8_t known =
        !usual ? 0 : atomic_load_explicit(&b->whole[tok], memory_order_relaxed);
    if (known == 1 || (props & WN_P_IGNORE_MERGES) != 0 ||
        ((props & WN_P_LINE_TOKENS) != 0 && is_lines(w, n))) {
      if (!wn_ids_push(r->out, (int32_t)tok)) return wn_oom(e);
      if (s != NULL) wn_words_keep(s, r->out, at);
      return WN_OK;
    }
  }
  int rc = merge_word(r, w, n, e);
  if (rc != WN_OK) return rc;
  if (s != NULL) wn_words_keep(s, r->out, at);
  if (tok != WN_NONE && usual) {
    bool same = r->out->n == at + 1 && (uint32_t)r->out->p[at] == tok;
    atomic_store_explicit(&b->whole[tok], same ? 1 : 2, memory_order_relaxed);
  }
  return WN_OK;
}

static int encode_clean(const wn_vocab *v, const uint8_t *p, size_t n,
                        bool guard, wn_ids *out, wn_err *e) {
  run r = {.v = v, .out = out, .guard = guard};
  wn_cutter cut;
  const uint8_t *w;
  size_t len;
  int rc = WN_OK;
  r.words = wn_words_new(n);
  wn_cut_start(&cut, &v->uni, v->pre, p, n);
  while (rc == WN_OK && wn_cut_next(&cut, &w, &len))
    rc = emit_word(&r, w, len, e);
  wn_free(r.words);
  wn_merge_free(&r.m);
  return rc;
}

/* ---- what happens to the text before ---- */

/* Spaces become U+2581: three bytes for one. */
static size_t escape(uint8_t *out, const uint8_t *p, size_t n) {
  size_t o = 0;
  for (size_t i = 0; i < n; i++) {
    if (p[i] == ' ') {
      memcpy(out + o, "\xE2\x96\x81", 3);
      o += 3;
    } else {
      out[o++] = p[i];
    }
  }
  return o;
}

/* A step of preparing: writes n bytes of p to out, returns how many. */
typedef size_t (*step_fn)(uint8_t *out, const uint8_t *p, size_t n);

static size_t compose(uint8_t *out, const uint8_t *p, size_t n) {
  return wn_nfc(out, p, n, &n) ? n : SIZE_MAX;
}

/* Replaces *text (freed when `own`) by what a step makes of it, of at most
 * `most` bytes. */
static bool prepare(step_fn step, size_t most, const uint8_t **text, size_t *n,
                    uint8_t **own) {
  uint8_t *out = wn_alloc(WN_MEM_TEXT, most + 1);
  size_t k = out != NULL ? step(out, *text, *n) : SIZE_MAX;
  wn_free(*own);
  *own = out;
  *text = out;
  *n = k;
  return k != SIZE_MAX;
}

/* Makes the text canonical, and escapes it where the vocabulary asks. */
static int encode_text(const wn_vocab *v, const uint8_t *p, size_t n,
                       bool guard, wn_ids *out, wn_err *e) {
  bool nfc = v->exact == WN_EXACT_TRAINED && (v->pre->props & WN_P_NFC) != 0;
  bool ok = true;
  uint8_t *own = NULL;
  if (!wn_utf8_is_clean(p, n)) ok = prepare(wn_utf8_clean, 3 * n, &p, &n, &own);
  if (ok && nfc && !wn_is_nfc(p, n)) ok = prepare(compose, 3 * n, &p, &n, &own);
  if (ok && v->escape_ws) {
    size_t spaces = 0;
    for (size_t i = 0; i < n; i++)
      spaces += p[i] == ' ';
    ok = prepare(escape, n + 2 * spaces, &p, &n, &own);
  }
  int rc = ok ? encode_clean(v, p, n, guard, out, e) : wn_oom(e);
  wn_free(own);
  return rc;
}

/* Model "whitespace": words between white space, in lower case unless the
 * file says otherwise. A lower-case form has at most 3/2 the bytes. */
static int encode_words(const wn_vocab *v, const uint8_t *p, size_t n,
                        bool guard, wn_ids *out, wn_err *e) {
  int rc = WN_OK;
  uint8_t *a = wn_alloc(WN_MEM_TEXT, 5 * n);
  if (a == NULL) return wn_oom(e);
  n = wn_utf8_clean(a, p, n);
  uint8_t *w = wn_alloc(WN_MEM_TEXT, 2 * n + 4);
  if (w == NULL) rc = wn_oom(e);
  size_t used = 0;
  for (size_t i = 0; rc == WN_OK && i < n;) {
    unsigned len;
    uint32_t cp = wn_utf8_get(a + i, &len);
    i += len;
    bool white = (wn_cp_class(&v->uni, cp) & WN_C_W) != 0;
    if (!white) used += wn_utf8_put(w + used, v->lowercase ? wn_lower(cp) : cp);
    if (used > 0 && (white || i == n)) {
      rc = encode_text(v, w, used, guard, out, e);
      used = 0;
    }
  }
  wn_free(a);
  wn_free(w);
  return rc;
}

/* ---- model "hybriddna": six-letter tokens between <dna> and </dna> ---- */

static bool kmer(const wn_vocab *v, const uint8_t *p, size_t n, wn_ids *out) {
  char name[9] = "AAAAAA\xEE\x80\x80";
  for (size_t i = 0; i < n; i++)
    name[i] = (char)(p[i] >= 'a' && p[i] <= 'z' ? p[i] - 32 : p[i]);
  int32_t id = wn_find(v, name, 9);
  return wn_ids_push(out, id >= 0 ? id : v->bpe.dna[2]);
}

static int encode_dna(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                      wn_ids *out, wn_err *e) {
  const uint8_t *end = p + n;
  while (p < end) {
    const uint8_t *open = memmem(p, (size_t)(end - p), "<dna>", 5);
    const uint8_t *stop = open != NULL ? open : end;
    if (stop > p) {
      int rc = encode_text(v, p, (size_t)(stop - p), guard, out, e);
      if (rc != WN_OK) return rc;
    }
    if (open == NULL) break;
    if (!wn_ids_push(out, v->bpe.dna[0])) return wn_oom(e);
    p = open + 5;
    const uint8_t *close = memmem(p, (size_t)(end - p), "</dna>", 6);
    for (stop = close != NULL ? close : end; p < stop;) {
      size_t k = (size_t)(stop - p) < 6 ? (size_t)(stop - p) : 6;
      if (!kmer(v, p, k, out)) return wn_oom(e);
      p += k;
    }
    if (close == NULL) break;
    if (!wn_ids_push(out, v->bpe.dna[1])) return wn_oom(e);
    p = close + 6;
  }
  return WN_OK;
}

int wn_bpe_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                  wn_ids *out, wn_err *e) {
  const int32_t *d = v->bpe.dna;
  if (v->whitespace) return encode_words(v, p, n, guard, out, e);
  if (v->dna && d[0] >= 0 && d[1] >= 0 && d[2] >= 0)
    return encode_dna(v, p, n, guard, out, e);
  return encode_text(v, p, n, guard, out, e);
}
