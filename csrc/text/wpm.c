/* wpm.c - WordPiece (BERT), and the index of the three kinds that look for
 * the longest token: WordPiece, RWKV, PLaMo.
 *
 * Text is normalised as the BERT tokenizer does (accents stripped, lower
 * case, control characters dropped) and cut at white space, punctuation and
 * Chinese characters. A word, with U+2581 in front, is the longest token that
 * begins it, then the longest that begins the rest, and so on; when nothing
 * fits, the whole word is the unknown token. Stretches between white space and
 * punctuation of ASCII that were seen before in a text are copied. */
#include "text/spans.h"
#include "text/words.h"

int wn_trie_init_all(wn_vocab *v, wn_err *e) {
  int rc = wn_trie_init(&v->trie, e);
  uint8_t *buf = wn_alloc(WN_MEM_TEXT, (size_t)WN_MAX_TOKEN_BYTES);
  if (buf == NULL) rc = wn_oom(e);
  for (uint32_t i = 0; rc == WN_OK && i < v->n; i++) {
    wn_str t = wn_text(v, i);
    if (v->kind == WN_KIND_PLAMO2 && (v->attr[i] & WN_ATTR_BYTE)) {
      v->byte_id[wn_byte_token(t)] = (int32_t)i;
    } else if (v->kind == WN_KIND_RWKV) {
      size_t n = wn_rwkv_unescape(buf, t);
      if (n > 0) rc = wn_trie_put(&v->trie, buf, n, i, e);
    } else {
      rc = wn_trie_put(&v->trie, t.p, t.n, i, e);
    }
  }
  wn_free(buf);
  return rc == WN_OK ? wn_trie_pack(&v->trie, e) : rc;
}

typedef struct run {
  const wn_vocab *v;
  wn_ids *out;
  uint8_t *word;  /* U+2581 and the word so far */
  size_t n, cap;  /* its length, and room for it */
  size_t n_chars; /* exact: characters of the word */
  bool guard;
  wn_words *words;
  uint8_t kind[256]; /* of bytes: A_... */
} run;

/* Exact: a longer word is unknown. */
enum { MAX_CHARS = 100 };

/* U+2581, which begins the tokens that begin words. In a text it is a letter
 * that no token of the middle of a word begins with. */
static bool is_mark(const uint8_t *p, size_t n) {
  return n >= 3 && memcmp(p, "\xE2\x96\x81", 3) == 0;
}

/* Splits word[0..n) into longest tokens; false when memory is out. */
static bool emit_word(run *r) {
  size_t n_before = r->out->n, n = r->n;
  bool too_long = r->n_chars > MAX_CHARS;
  bool exact = r->v->exact == WN_EXACT_TRAINED;
  r->n = 3;
  r->n_chars = 0;
  if (n == 3) return true;
  for (size_t i = 0; i < n;) {
    uint32_t node = 0, id = WN_NONE;
    size_t len = 0;
    bool fits = !too_long && !(exact && i > 0 && is_mark(r->word + i, n - i));
    for (size_t k = i; k < n && fits; k++) {
      node = wn_trie_step(&r->v->trie, node, r->word[k]);
      if (node == 0) break;
      uint32_t x = wn_trie_value(&r->v->trie, node);
      if (x == WN_TRIE_NONE || wn_kept_out(r->v, r->guard, x)) continue;
      id = x;
      len = k + 1 - i;
    }
    if (id == WN_NONE) {
      int32_t unk = r->v->special[WN_TOK_UNK];
      r->out->n = n_before;
      return unk < 0 || wn_ids_push(r->out, unk);
    }
    if (!wn_ids_push(r->out, (int32_t)id)) return false;
    i += len;
  }
  return true;
}

/* The ranges of the BERT tokenizer, with its slip 2B920 for 2B820. */
static bool is_chinese(uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Appends to the word; exact, what is unknown anyway is not kept. */
static bool put(run *r, uint32_t cp) {
  if (r->cap - r->n < 4) {
    uint8_t *w = wn_realloc(WN_MEM_TEXT, r->word, 2 * r->cap);
    if (w == NULL) return false;
    r->word = w;
    r->cap *= 2;
  }
  if (r->v->exact != WN_EXACT_TRAINED || ++r->n_chars <= MAX_CHARS)
    r->n += wn_utf8_put(r->word + r->n, cp);
  return true;
}

/* ---- exact: BertNormalizer and BertPreTokenizer ---- */

static const wn_char_span DROPPED[] = {
#define X WN_SPAN
#include "text/unicode_bert.def"
#undef X
};
static const wn_char_span MARKS[] = {
#define M WN_SPAN
#include "text/unicode_bert.def"
#undef M
};
static const wn_char_span PUNCT[] = {
#define P WN_SPAN
#include "text/unicode_bert.def"
#undef P
};

/* A character after normalisation. */
static bool put_exact(run *r, uint32_t cp, bool chinese) {
  const wn_vocab *v = r->v;
  if (wn_cp_class(&v->uni, cp) & WN_C_W) return emit_word(r);
  bool alone = chinese || WN_IN(cp, PUNCT);
  if (alone && !emit_word(r)) return false;
  return put(r, cp) && (!alone || emit_word(r));
}

/* Dropped, decomposed, lower case: in the order of the Python original. */
static bool take_exact(run *r, uint32_t cp) {
  const wn_vocab *v = r->v;
  uint32_t part[WN_NFD_MAX] = {cp};
  size_t n = 1;
  bool chinese = is_chinese(cp), ok = true;
  if (cp == 0 || cp == 0xFFFD || WN_IN(cp, DROPPED)) return true;
  if (v->strip_accents) n = wn_nfd(cp, part);
  for (size_t i = 0; ok && i < n; i++) {
    if (v->strip_accents && WN_IN(part[i], MARKS)) continue;
    ok = put_exact(r, v->lowercase ? wn_lower(part[i]) : part[i], chinese);
    /* the one capital whose lower case is two characters */
    if (ok && v->lowercase && part[i] == 0x130) ok = put_exact(r, 0x307, false);
  }
  return ok;
}

static bool take(run *r, uint32_t cp) {
  const wn_vocab *v = r->v;
  if (v->strip_accents) cp = wn_nfd_base(cp);
  uint16_t cls = wn_cp_class(&v->uni, cp);
  if (cls == WN_C_W) return emit_word(r);
  if (cp == 0 || cp == 0xFFFD || cls == WN_C_C) return true;
  if (v->strip_accents && cls == WN_C_M) return true;
  bool alone = cls == WN_C_P || (cp < 0x7F && cls == WN_C_S) || is_chinese(cp);
  if (alone && !emit_word(r)) return false;
  return put(r, v->lowercase ? wn_lower(cp) : cp) && (!alone || emit_word(r));
}

/* ---- stretches ---- */

enum { A_REST, A_SPACE, A_PUNCT };

/* White space and punctuation of ASCII end a word whatever stands around. */
static int ascii_kind(uint8_t b) {
  if (b == ' ' || (b >= 9 && b <= 13 && b != 11 && b != 12)) return A_SPACE;
  bool letter = (b >= '0' && b <= '9') || ((b | 32) >= 'a' && (b | 32) <= 'z');
  return b > ' ' && b < 0x7F && !letter ? A_PUNCT : A_REST;
}

/* A character of U+5000 to U+9FFF at p, which is a word of its own? */
static bool is_ideograph(const uint8_t *p, size_t n) {
  return p[0] >= 0xE5 && p[0] <= 0xE9 && n >= 3 && (p[1] & 0xC0) == 0x80 &&
         (p[2] & 0xC0) == 0x80;
}

/* Length of the text at p that is cut into words on its own: up to white
 * space, punctuation or an ideograph, or one of the latter two. 0: p is white
 * space. */
static size_t stretch_len(const run *r, const uint8_t *p, size_t n) {
  size_t i = 0;
  if (r->kind[p[0]] == A_PUNCT) return 1;
  if (is_ideograph(p, n)) return 3;
  while (i < n && r->kind[p[i]] == A_REST && !is_ideograph(p + i, n - i))
    i++;
  return i;
}

/* Splits a stretch into words and those into tokens. */
static bool split(run *r, const uint8_t *p, size_t n) {
  bool ok = true, exact = r->v->exact == WN_EXACT_TRAINED;
  for (size_t i = 0; ok && i < n;) {
    uint32_t cp = 0xFFFD;
    unsigned len = wn_utf8_decode(p + i, n - i, &cp);
    i += len != 0 ? len : 1;
    ok = exact ? take_exact(r, cp) : take(r, cp);
  }
  return ok && emit_word(r);
}

/* The same from memory, where the stretch was seen before. */
static bool take_stretch(run *r, const uint8_t *p, size_t n) {
  bool hit;
  wn_seen *s = wn_words_at(r->words, p, n, &hit);
  size_t at = r->out->n;
  if (hit) return wn_words_repeat(s, r->out);
  bool ok = split(r, p, n);
  if (ok && s != NULL) wn_words_keep(s, r->out, at);
  return ok;
}

int wn_wpm_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                  wn_ids *out, wn_err *e) {
  run r = {.v = v, .out = out, .n = 3, .cap = 512, .guard = guard};
  bool ok = true;
  r.word = wn_alloc(WN_MEM_TEXT, r.cap);
  if (r.word == NULL) return wn_oom(e);
  memcpy(r.word, "\xE2\x96\x81", 3);
  r.words = wn_words_new(n);
  for (unsigned b = 0; b < 256; b++)
    r.kind[b] = (uint8_t)ascii_kind((uint8_t)b);
  for (size_t i = 0, len; ok && i<n; i += len> 0 ? len : 1) {
    len = stretch_len(&r, p + i, n - i);
    if (len > 0) ok = take_stretch(&r, p + i, len);
  }
  wn_free(r.word);
  wn_free(r.words);
  return ok ? WN_OK : wn_oom(e);
}
