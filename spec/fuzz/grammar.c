/* fuzz/grammar.c - libFuzzer target: grammar text, then text under it.
 *
 * Whatever the bytes: a grammar or an error with a message. An accepted one
 * reads the rest of the input byte by byte; what it takes it takes again from
 * the start, and nothing is left allocated. The two are parted by a zero. */
#include <string.h>

#include "base/mem.h"
#include "constrain/places.h"

static void must(int ok) {
  if (!ok) __builtin_trap();
}

/* How many bytes are taken, and whether the text may end there. */
static size_t read_text(wn_grammar *g, const uint8_t *s, size_t n, bool *ends) {
  wn_places *p;
  wn_err e = {0};
  *ends = false;
  if (wn_places_new(g, &p, &e) != WN_OK) {
    must(e.code == WN_ELIMIT && e.msg[0] != 0);
    return 0;
  }
  uint32_t at = wn_places_start(p), next;
  size_t i = 0;
  for (; i < n; i++) {
    bool forget = i % 7 == 6;
    if (wn_places_rest(p, &at, &forget, &e) != WN_OK ||
        wn_places_step(p, at, s[i], &next, &e) != WN_OK)
      break;
    if (next == WN_PLACE_NONE) break;
    at = next;
  }
  *ends = wn_places_at(p, at)->accepts;
  wn_places_free(p);
  return i;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  const uint8_t *cut = memchr(data, 0, n);
  size_t n_text = cut != NULL ? (size_t)(cut - data) : n;
  wn_grammar *g;
  wn_err e = {0};
  wn_mem_stats s;
  int rc = wn_grammar_new((const char *)data, n_text, "root", NULL, &g, &e);
  if (rc == WN_OK) {
    bool a, b;
    size_t rest = cut != NULL ? n - n_text - 1 : 0;
    size_t taken = read_text(g, cut + (cut != NULL), rest, &a);
    must(read_text(g, cut + (cut != NULL), taken, &b) == taken && a == b);
    wn_grammar_unref(g);
  } else {
    must(rc == e.code && e.msg[0] != 0 && rc != WN_ENOMEM);
  }
  wn_mem_get_stats(&s);
  must(s.blocks == 0);
  return 0;
}
