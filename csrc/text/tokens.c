/* tokens.c - token texts, scores and attributes from the metadata. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "text/parts.h"

#define K_TOKENS "tokenizer.ggml.tokens"
#define K_SCORES "tokenizer.ggml.scores"
#define K_TYPES "tokenizer.ggml.token_type"

int wn_key_fail(wn_err *e, int code, const char *key, const char *fmt, ...) {
  char text[WN_ERR_MSG];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return wn_fail(e, code, "key '%s': %s", key, text);
}

/* Sum of the lengths of n packed strings; each at most WN_MAX_TOKEN_BYTES. */
static int measure(const uint8_t *d, uint64_t n, uint64_t *sum, wn_err *e) {
  *sum = 0;
  for (uint64_t i = 0; i < n; i++) {
    uint64_t len;
    memcpy(&len, d, 8);
    if (len > (uint64_t)WN_MAX_TOKEN_BYTES)
      return wn_key_fail(e, WN_ELIMIT, K_TOKENS,
                         "token %llu has %llu bytes, want at most %lld",
                         (unsigned long long)i, (unsigned long long)len,
                         (long long)WN_MAX_TOKEN_BYTES);
    *sum += len != 0 ? len : 24; /* room for "[EMPTY_i]" */
    d += 8 + len;
  }
  return WN_OK;
}

/* Copies the texts; an empty one gets a name, as in llama.cpp. */
static int copy_texts(wn_vocab *v, const uint8_t *d, wn_err *e) {
  uint64_t sum;
  int rc = measure(d, v->n, &sum, e);
  if (rc != WN_OK) return rc;
  v->text.p = wn_alloc(WN_MEM_TEXT, (size_t)sum + 1);
  v->text.off = wn_alloc(WN_MEM_TEXT, ((size_t)v->n + 1) * sizeof(size_t));
  if (v->text.p == NULL || v->text.off == NULL) return wn_oom(e);
  size_t at = 0;
  for (uint32_t i = 0; i < v->n; i++) {
    uint64_t len;
    memcpy(&len, d, 8);
    v->text.off[i] = at;
    if (len == 0)
      at += (size_t)snprintf(v->text.p + at, 24, "[EMPTY_%u]", i);
    else
      memcpy(v->text.p + at, d + 8, (size_t)len);
    at += (size_t)len;
    d += 8 + len;
  }
  v->text.off[v->n] = at;
  return WN_OK;
}

static int want_count(wn_err *e, const char *key, uint64_t n, uint32_t want) {
  if (n == want) return WN_OK;
  return wn_key_fail(e, WN_EFORMAT, key, "%llu elements, want %u (one a token)",
                     (unsigned long long)n, want);
}

static int load_scores(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  uint64_t n;
  const uint8_t *d;
  bool ints = false;
  int rc = wn_gguf_get_array(g, K_SCORES, WN_KV_F32, &n, &d, e);
  if (rc == WN_EFORMAT) {
    ints = true;
    if (wn_gguf_get_array(g, K_SCORES, WN_KV_I32, &n, &d, NULL) == WN_OK)
      rc = WN_OK;
  }
  if (rc == WN_ENOENT) return WN_OK; /* all zero */
  if (rc == WN_OK) rc = want_count(e, K_SCORES, n, v->n);
  for (uint32_t i = 0; rc == WN_OK && i < v->n; i++) {
    int32_t as_int;
    memcpy(&v->score[i], d + (size_t)i * 4, 4);
    memcpy(&as_int, d + (size_t)i * 4, 4);
    if (ints) v->score[i] = (float)as_int;
    if (isnan(v->score[i]))
      rc = wn_key_fail(e, WN_EFORMAT, K_SCORES, "score of token %u is NaN", i);
  }
  return rc;
}

/* Types 1..6 of the file; others stand for no attribute at all. */
static uint16_t attr_of_type(int32_t type) {
  static const uint16_t ATTR[] = {0,
                                  WN_ATTR_NORMAL,
                                  WN_ATTR_UNKNOWN,
                                  WN_ATTR_CONTROL,
                                  WN_ATTR_USER,
                                  WN_ATTR_UNUSED,
                                  WN_ATTR_BYTE};
  return type >= 1 && type <= 6 ? ATTR[type] : 0;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int wn_byte_token(wn_str t) {
  if (t.n != 6 || memcmp(t.p, "<0x", 3) != 0 || t.p[5] != '>') return -1;
  int hi = hex_digit(t.p[3]), lo = hex_digit(t.p[4]);
  return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

static int load_types(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  uint64_t n;
  const uint8_t *d;
  for (uint32_t i = 0; i < v->n; i++)
    v->attr[i] = WN_ATTR_NORMAL;
  int rc = wn_gguf_get_array(g, K_TYPES, WN_KV_I32, &n, &d, e);
  if (rc == WN_ENOENT) return WN_OK;
  if (rc == WN_OK) rc = want_count(e, K_TYPES, n, v->n);
  v->typed = true;
  for (uint32_t i = 0; rc == WN_OK && i < v->n; i++) {
    int32_t type;
    memcpy(&type, d + (size_t)i * 4, 4);
    v->attr[i] = attr_of_type(type);
    if (type >= 2 && type <= 4) v->attr[i] |= WN_ATTR_CUT;
    if (v->attr[i] == WN_ATTR_BYTE && v->kind != WN_KIND_RWKV &&
        wn_byte_token(wn_text(v, i)) < 0) {
      char name[64];
      wn_str t = wn_text(v, i);
      rc = wn_key_fail(e, WN_EFORMAT, K_TOKENS,
                       "byte token %u is '%s', want <0x00> to <0xFF>", i,
                       wn_printable(name, sizeof name, t.p, t.n));
    }
  }
  return rc;
}

int wn_load_tokens(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  uint64_t n;
  const uint8_t *d;
  int rc = wn_gguf_get_array(g, K_TOKENS, WN_KV_STRING, &n, &d, e);
  if (rc == WN_ENOENT) return wn_key_fail(e, WN_EFORMAT, K_TOKENS, "missing");
  if (rc != WN_OK) return rc;
  if (n == 0) return wn_key_fail(e, WN_EFORMAT, K_TOKENS, "no tokens");
  if (n > (uint64_t)WN_MAX_VOCAB)
    return wn_key_fail(e, WN_ELIMIT, K_TOKENS, "%llu tokens, want at most %lld",
                       (unsigned long long)n, (long long)WN_MAX_VOCAB);
  v->n = (uint32_t)n;
  rc = copy_texts(v, d, e);
  if (rc != WN_OK) return rc;
  v->score = wn_calloc(WN_MEM_TEXT, v->n, sizeof *v->score);
  v->attr = wn_calloc(WN_MEM_TEXT, v->n, sizeof *v->attr);
  if (v->score == NULL || v->attr == NULL) return wn_oom(e);
  rc = load_scores(v, g, e);
  if (rc == WN_OK) rc = load_types(v, g, e);
  if (rc == WN_OK) rc = wn_map_init(&v->map, v->n, e);
  v->map.low = &v->text;
  v->map.n_low = v->n;
  for (uint32_t i = 0; rc == WN_OK && i < v->n; i++)
    rc = wn_map_put(&v->map, i, true, NULL, e); /* of equal texts the last */
  return rc;
}
