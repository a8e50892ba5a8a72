/* zz_pending.c - until the tokenizers land. */
#include "text/vocab.h"
#define W __attribute__((weak))
W int wn_vocab_new(const wn_gguf *g, wn_vocab **o, wn_err *e) { (void)g; *o = NULL; return wn_fail(e, WN_EUNSUP, "no tokenizer yet"); }
W wn_vocab *wn_vocab_ref(wn_vocab *v) { return v; }
W void wn_vocab_unref(wn_vocab *v) { (void)v; }
W bool wn_vocab_is_eog(const wn_vocab *v, int32_t i) { (void)v; (void)i; return false; }
W size_t wn_vocab_piece(const wn_vocab *v, int32_t i, bool s, char *b, size_t n) { (void)v; (void)i; (void)s; (void)b; (void)n; return 0; }
W size_t wn_utf8_complete(const char *b, size_t n) { (void)b; return n; }
W uint32_t wn_vocab_size(const wn_vocab *v) { (void)v; return 0; }
