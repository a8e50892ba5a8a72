/* fuzz/tokenizer.c - libFuzzer target: a vocabulary file and a text.
 *
 * The input is a GGUF image with its length in front (four bytes), then the
 * text. A file that loads must encode any text into ids of its own, decode
 * them, and give the same ids again; a failing allocation must leave nothing
 * behind. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "text/vocab.h"

/* A broken promise: stop where the fuzzer sees it. */
static void must(int ok) {
  if (!ok) __builtin_trap();
}

/* Every token has a piece; two sizes of buffer tell the same length. */
static void walk_tokens(const wn_vocab *v) {
  char buf[64];
  for (int32_t id = 0; (uint32_t)id < wn_vocab_size(v) && id < 512; id++) {
    size_t n = wn_vocab_piece(v, id, true, buf, sizeof buf);
    must(n == wn_vocab_piece(v, id, true, NULL, 0));
    (void)wn_vocab_attr(v, id);
  }
}

static void encode(const wn_vocab *v, const char *text, size_t n, bool flag) {
  int32_t *a = NULL, *b = NULL;
  size_t na = 0, nb = 0, n_text = 0;
  char *back = NULL;
  wn_err e = {0};
  wn_span middle = {n / 3, n / 2};
  wn_spans plain = {&middle, flag && n % 3 == 0 ? 1 : 0};
  int rc = wn_vocab_encode_plain(v, text, n, &plain, flag, flag, &a, &na, &e);
  must(rc == WN_OK || (rc == e.code && e.msg[0] != 0));
  if (rc != WN_OK) return;
  for (size_t i = 0; i < na; i++)
    must(a[i] >= 0 && (uint32_t)a[i] < wn_vocab_size(v));
  rc = wn_vocab_encode_plain(v, text, n, &plain, flag, flag, &b, &nb, &e);
  must(rc == WN_OK || rc == WN_ENOMEM);
  if (rc != WN_OK) {
    wn_free(a);
    return;
  }
  must(na == nb && (na == 0 || memcmp(a, b, na * sizeof *a) == 0));
  rc = wn_vocab_decode(v, a, na, flag, !flag, &back, &n_text, &e);
  must(rc == WN_OK || rc == WN_ELIMIT || rc == WN_ENOMEM);
  if (rc == WN_OK) {
    size_t whole = wn_utf8_complete(back, n_text);
    must(whole <= n_text && n_text - whole <= 3);
    wn_free(back);
  }
  wn_free(a);
  wn_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  wn_gguf *g = NULL;
  wn_vocab *v = NULL;
  wn_err e = {0};
  wn_mem_stats s;
  uint32_t cut;
  if (n < 4) return 0;
  memcpy(&cut, data, 4);
  data += 4;
  n -= 4;
  if (cut > n) cut = (uint32_t)n;
  const char *text = (const char *)data + cut;
  if (wn_gguf_open_memory(data, cut, &g, &e) != WN_OK) return 0;
  int rc = wn_vocab_new(g, &v, &e);
  if (rc == WN_OK) {
    walk_tokens(v);
    encode(v, text, n - cut, false);
    encode(v, text, n - cut, true);
    wn_mem_fail_at(1 + (int64_t)(n % 8), false);
    encode(v, text, n - cut, true);
    wn_mem_fail_at(0, false);
    wn_vocab_unref(v);
  } else {
    must(rc == e.code && e.msg[0] != 0);
  }
  wn_mem_fail_at(1 + (int64_t)(n % 32), true);
  rc = wn_vocab_new(g, &v, &e);
  wn_mem_fail_at(0, false);
  if (rc == WN_OK) wn_vocab_unref(v);
  wn_gguf_unref(g);
  wn_mem_get_stats(&s);
  must(s.blocks == 0);
  return 0;
}
