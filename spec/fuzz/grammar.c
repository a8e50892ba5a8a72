/* fuzz/grammar.c - libFuzzer target: grammar text, then text and tokens under
 * it.
 *
 * Whatever the bytes: a grammar or an error with a message, as they are and
 * behind "root ::= ". An accepted one reads the rest of the input byte by byte;
 * what it takes it takes again from the start. Then the bytes choose tokens of
 * the demo vocabulary (WANE_VOCAB names another file): a token is accepted
 * exactly where the mask holds it, by a match that learns and by one that gets
 * what the first has learnt. The two parts are parted by a zero.
 *
 * Nothing is left allocated. The vocabulary's trie keeps tables of classes and
 * takes a while to make, so it and the count begin anew every ROUNDS inputs: to
 * see a leak of one input alone, run it so often (-runs=64). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "constrain/match.h"

enum { ROUNDS = 64 };

static wn_vocab *vocab;
static wn_tokens *tokens;
static uint64_t blocks; /* that the vocabulary holds */

static void must(int ok) {
  if (!ok) __builtin_trap();
}

static uint64_t live_blocks(void) {
  wn_mem_stats s;
  wn_mem_get_stats(&s);
  return (uint64_t)s.blocks;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  const char *path = getenv("WANE_VOCAB");
  wn_gguf *g;
  wn_err e = {0};
  (void)argc, (void)argv;
  if (path == NULL) path = "examples/models/demo-f16.gguf";
  must(wn_gguf_open(path, &g, &e) == WN_OK);
  must(wn_vocab_new(g, &vocab, &e) == WN_OK);
  wn_gguf_unref(g);
  blocks = live_blocks();
  return 0;
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

/* Tokens that the bytes choose; returns a hash of what the masks were. */
static uint64_t read_tokens(wn_grammar *g, const uint8_t *s, size_t n) {
  wn_match *m;
  wn_err e = {0};
  uint64_t h = 0;
  if (wn_match_new(g, tokens, NULL, &m, &e) != WN_OK) {
    must(e.code == WN_ELIMIT && e.msg[0] != 0);
    return 0;
  }
  for (size_t i = 0; i < n && i < 16 && !wn_match_complete(m); i++) {
    const wn_mask *mask;
    if (wn_match_mask(m, &mask, &e) != WN_OK) break;
    h = h * 31 + mask->n;
    if (mask->n == 0) break;
    int32_t id = (int32_t)((s[i] * 40503u + i * 97u) % tokens->n_vocab);
    bool has = wn_mask_has(mask, id);
    if (!has) { /* it is refused and changes nothing; then one that is not */
      int rc = wn_match_accept(m, id, &e);
      must(rc == WN_EDATA || rc == WN_ELIMIT);
      if (rc == WN_ELIMIT || wn_match_mask(m, &mask, &e) != WN_OK) break;
      while (!wn_mask_has(mask, id))
        id = (int32_t)(((uint32_t)id + 1) % tokens->n_vocab);
    }
    int rc = wn_match_accept(m, id, &e);
    must(rc == WN_OK || rc == WN_ELIMIT);
    if (rc != WN_OK) break;
    h = h * 31 + (uint64_t)id;
  }
  wn_match_free(m);
  return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void try_grammar(const char *source, size_t n_source,
                        const uint8_t *text, size_t n) {
  wn_grammar *g;
  wn_err e = {0};
  int rc = wn_grammar_new(source, n_source, "root", vocab, &g, &e);
  if (rc != WN_OK) {
    must(rc == e.code && e.msg[0] != 0 && rc != WN_ENOMEM);
    return;
  }
  bool a, b;
  size_t taken = read_text(g, text, n, &a);
  must(read_text(g, text, taken, &b) == taken && a == b);
  must(read_tokens(g, text, n) == read_tokens(g, text, n));
  wn_grammar_unref(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  static const char root[] = "root ::= ";
  static unsigned rounds;
  const uint8_t *cut = memchr(data, 0, n);
  size_t n_source = cut != NULL ? (size_t)(cut - data) : n;
  size_t n_text = cut != NULL ? n - n_source - 1 : 0;
  const uint8_t *text = data + n - n_text;
  char *behind = malloc(sizeof root - 1 + n_source);
  wn_err e = {0};
  must(behind != NULL);
  memcpy(behind, root, sizeof root - 1);
  if (n_source > 0) memcpy(behind + sizeof root - 1, data, n_source);
  if (tokens == NULL) must(wn_tokens_new(vocab, &tokens, &e) == WN_OK);
  try_grammar((const char *)data, n_source, text, n_text);
  try_grammar(behind, sizeof root - 1 + n_source, text, n_text);
  free(behind);
  if (++rounds % ROUNDS != 0) return 0;
  wn_tokens_unref(tokens);
  tokens = NULL;
  must(live_blocks() == blocks);
  return 0;
}
