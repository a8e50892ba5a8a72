/* decode.c - ids to text: pieces, whole texts, and where a stream may stop. */
#include "text/parts.h"

/* Where pieces go: at most cap bytes are stored, all are counted. */
typedef struct sink {
  char *p;
  size_t cap, n;
} sink;

static void put(sink *s, const void *p, size_t n) {
  if (s->n < s->cap) {
    size_t room = s->cap - s->n;
    memcpy(s->p + s->n, p, n < room ? n : room);
  }
  s->n += n;
}

/* U+2581 back to spaces. */
static void put_unescaped(sink *s, wn_str t) {
  while (t.n > 0) {
    const char *hit = memmem(t.p, t.n, "\xE2\x96\x81", 3);
    size_t n = hit != NULL ? (size_t)(hit - t.p) : t.n;
    put(s, t.p, n);
    if (hit == NULL) return;
    put(s, " ", 1);
    t.p += n + 3;
    t.n -= n + 3;
  }
}

/* A text in the byte alphabet. A character outside it is shown as
 * "[UNK_BYTE_0x<its bytes><the whole text>]", as llama.cpp does. */
static void put_bytes(sink *s, wn_str t) {
  static const char HEX[] = "0123456789abcdef";
  for (size_t i = 0; i < t.n;) {
    uint32_t cp = 0xFFFD;
    uint8_t form[4];
    unsigned len = wn_utf8_decode((const uint8_t *)t.p + i, t.n - i, &cp);
    int b = wn_cp_to_byte(cp);
    i += len != 0 ? len : 1;
    if (b >= 0) {
      char c = (char)b;
      put(s, &c, 1);
      continue;
    }
    put(s, "[UNK_BYTE_0x", 12);
    unsigned n = wn_utf8_put(form, cp);
    for (unsigned k = 0; k < n; k++) {
      put(s, &HEX[form[k] >> 4], 1);
      put(s, &HEX[form[k] & 15], 1);
    }
    put(s, t.p, t.n);
    put(s, "]", 1);
  }
}

/* A token's text; six-letter tokens of "hybriddna" end in U+E000, which only
 * tells them from equal words. */
static wn_str shown_text(const wn_vocab *v, uint32_t id) {
  wn_str t = wn_text(v, id);
  if (v->dna && v->bpe.dna[2] >= 0 && (int32_t)id > v->bpe.dna[2] && t.n > 3 &&
      memcmp(t.p + t.n - 3, "\xEE\x80\x80", 3) == 0)
    t.n -= 3;
  return t;
}

static void put_rwkv(sink *s, wn_str t) {
  uint8_t few[256];
  uint8_t *p = t.n <= sizeof few ? few : wn_alloc(WN_MEM_TEXT, t.n);
  if (p == NULL) return; /* only for a token of more than 256 bytes */
  put(s, p, wn_rwkv_unescape(p, t));
  if (p != few) wn_free(p);
}

static void put_piece(sink *s, const wn_vocab *v, uint32_t id, bool special) {
  unsigned a = v->attr[id];
  const unsigned hidden = WN_ATTR_UNKNOWN | WN_ATTR_CONTROL;
  if (!special && (a & hidden) != 0) return;
  wn_str t = shown_text(v, id);
  int b = a & WN_ATTR_BYTE ? wn_byte_token(t) : -1;
  char byte = (char)b;
  if (v->kind == WN_KIND_RWKV) {
    put_rwkv(s, t);
  } else if (v->kind == WN_KIND_PLAMO2) {
    put(s, b >= 0 ? &byte : t.p, b >= 0 ? 1 : t.n);
  } else if ((a & (hidden | WN_ATTR_USER)) != 0) {
    put(s, t.p, t.n);
  } else if ((a & WN_ATTR_NORMAL) != 0) {
    if (v->kind != WN_KIND_BPE || v->escape_ws)
      put_unescaped(s, t);
    else
      put_bytes(s, t);
  } else if (b >= 0) {
    put(s, &byte, 1);
  }
}

size_t wn_vocab_piece(const wn_vocab *v, int32_t id, bool special, char *buf,
                      size_t cap) {
  sink s = {buf, cap, 0};
  if (v->kind != WN_KIND_NONE && id >= 0 && (uint32_t)id < v->n)
    put_piece(&s, v, (uint32_t)id, special);
  return s.n;
}

/* ---- whole texts ---- */

/* llama.cpp's clean-up of tokenization spaces, in its three passes: no space
 * before ? ! . , - none around a lone apostrophe - none before 's 'm 're 've.
 * Each pass reads what it has written: p[i - 1] may be a byte that was moved
 * there. Returns the new length. */
static size_t clean_punctuation(char *p, size_t n) {
  size_t o = n > 0 ? 1 : 0;
  for (size_t i = 1; i < n; i++) {
    char x = p[i];
    if (p[i - 1] == ' ' && (x == '?' || x == '!' || x == '.' || x == ',')) o--;
    p[o++] = x;
  }
  return o;
}

static size_t clean_apostrophes(char *p, size_t n) {
  size_t o = n > 0 ? 1 : 0;
  for (size_t i = 1; i < n; i++) {
    char x = p[i];
    if (x == '\'' && i + 1 < n && p[i - 1] == ' ' && p[i + 1] == ' ') {
      o--;
      p[++i] = 0;
    }
    p[o++] = x;
  }
  return o;
}

static size_t clean_contractions(char *p, size_t n) {
  size_t o = n > 0 ? 1 : 0;
  for (size_t i = 1; i < n; i++) {
    char x = p[i];
    if (p[i - 1] == ' ' && x == '\'' && i + 1 < n) {
      char a = p[i + 1], b = i + 2 < n ? p[i + 2] : 0;
      if (a == 's' || a == 'm' || (b == 'e' && (a == 'r' || a == 'v'))) o--;
    }
    p[o++] = x;
  }
  return o;
}

/* A token that does not fit means "twice as large". */
static int grow(sink *s, size_t want, wn_err *e) {
  if (want > INT32_MAX)
    return wn_fail(e, WN_ELIMIT, "text of the tokens: more than 2^31 bytes");
  size_t cap = want + want / 2 + 64;
  char *p = wn_realloc(WN_MEM_TEXT, s->p, cap);
  if (p == NULL) return wn_oom(e);
  s->p = p;
  s->cap = cap;
  return WN_OK;
}

static int put_token(sink *s, const wn_vocab *v, int32_t id, bool special,
                     bool drop_space, wn_err *e) {
  if (id < 0 || (uint32_t)id >= v->n)
    return wn_fail(e, WN_EARG, "token id %d, want 0 to %u", id, v->n - 1);
  size_t at = s->n;
  put_piece(s, v, (uint32_t)id, special);
  if (s->n > s->cap) {
    int rc = grow(s, s->n, e);
    if (rc != WN_OK) return rc;
    s->n = at;
    put_piece(s, v, (uint32_t)id, special);
  }
  if (drop_space && s->n > at && s->p[at] == ' ') {
    memmove(s->p + at, s->p + at + 1, s->n - at - 1);
    s->n--;
  }
  return WN_OK;
}

int wn_vocab_decode(const wn_vocab *v, const int32_t *ids, size_t n_ids,
                    bool remove_special, bool unparse_special, char **text,
                    size_t *n, wn_err *e) {
  sink s = {NULL, 0, 0};
  bool drop_space = v->add_space_prefix;
  if (v->kind == WN_KIND_NONE)
    return wn_fail(e, WN_EUNSUP, "the model has no vocabulary");
  if (remove_special && v->add_bos && n_ids > 0 &&
      ids[0] == v->special[WN_TOK_BOS]) {
    drop_space = false;
    ids++;
    n_ids--;
  }
  if (remove_special && v->add_eos && n_ids > 0 &&
      ids[n_ids - 1] == v->special[WN_TOK_EOS])
    n_ids--;
  int rc = grow(&s, n_ids < INT32_MAX / 8 ? 4 * n_ids : n_ids, e);
  for (size_t i = 0; rc == WN_OK && i < n_ids; i++)
    rc = put_token(&s, v, ids[i], unparse_special, drop_space && i == 0, e);
  if (rc != WN_OK) {
    wn_free(s.p);
    return rc;
  }
  if (v->clean_spaces) {
    s.n = clean_punctuation(s.p, s.n);
    s.n = clean_apostrophes(s.p, s.n);
    s.n = clean_contractions(s.p, s.n);
  }
  *text = s.p;
  *n = s.n;
  return WN_OK;
}

size_t wn_utf8_complete(const char *buf, size_t n) {
  const uint8_t *p = (const uint8_t *)buf;
  size_t back = 0;
  while (back < 3 && back < n && (p[n - 1 - back] & 0xC0) == 0x80)
    back++;
  if (back == n) return n; /* only tails: no character begins here */
  uint8_t b = p[n - 1 - back];
  size_t len = b < 0xC2 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : b < 0xF5 ? 4 : 1;
  return len > back + 1 ? n - back - 1 : n;
}
