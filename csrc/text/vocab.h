/* vocab.h - tokenizers: bytes to token ids and back.
 *
 * A wn_vocab is built once from the tokenizer.ggml.* metadata, immutable and
 * reference counted. Kinds: BPE (gpt2), SPM (llama), WPM (bert), UGM (t5),
 * RWKV, PLaMo-2, and "none": ids without texts, which cannot encode or decode.
 * Every byte string can be encoded. */
#ifndef WN_TEXT_VOCAB_H
#define WN_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"

typedef struct wn_vocab wn_vocab;

/* Whose ids: Hugging Face's, which the model was trained on, or llama.cpp's
 * v0.5.0, which differ in Unicode classes, normalisation and words. */
typedef enum wn_exact { WN_EXACT_TRAINED, WN_EXACT_LLAMA_CPP } wn_exact;

int wn_vocab_new_as(const wn_gguf *g, wn_exact exact, wn_vocab **out,
                    wn_err *e);
/* The same with WN_EXACT_TRAINED. */
int wn_vocab_new(const wn_gguf *g, wn_vocab **out, wn_err *e);
wn_exact wn_vocab_exact(const wn_vocab *v);
wn_vocab *wn_vocab_ref(wn_vocab *v);
void wn_vocab_unref(wn_vocab *v);

uint32_t wn_vocab_size(const wn_vocab *v);
const char *wn_vocab_kind(const wn_vocab *v); /* "bpe", "spm", ... */

/* Special tokens, -1 when there is none. */
typedef enum wn_special {
  WN_TOK_BOS,
  WN_TOK_EOS,
  WN_TOK_EOT,
  WN_TOK_UNK,
  WN_TOK_SEP,
  WN_TOK_PAD,
  WN_TOK_MASK,
  WN_TOK_NL,
  WN_TOK_FIM_PRE,
  WN_TOK_FIM_SUF,
  WN_TOK_FIM_MID,
  WN_TOK_FIM_PAD,
  WN_TOK_FIM_REP,
  WN_TOK_FIM_SEP,
  WN_TOK_N
} wn_special;
int32_t wn_vocab_special(const wn_vocab *v, wn_special which);
bool wn_vocab_is_eog(const wn_vocab *v, int32_t id); /* ends generation */
bool wn_vocab_add_bos(const wn_vocab *v);
bool wn_vocab_add_eos(const wn_vocab *v);
bool wn_vocab_add_sep(const wn_vocab *v);
/* The pre-tokenizer's name of a BPE vocabulary, "" for other kinds. */
const char *wn_vocab_pre(const wn_vocab *v);
/* The i-th pre-tokenizer name that is known, NULL past the last. */
const char *wn_vocab_pre_name(size_t i);
/* The token whose text (as in the file) is exactly this, or -1; and back. The
 * text is not terminated and lives as long as v. */
int32_t wn_vocab_find(const wn_vocab *v, const char *text, size_t n);
const char *wn_vocab_text(const wn_vocab *v, int32_t id, size_t *n);

/* Attribute bits of a token: llama.cpp's numbers (1 unknown, 2 unused,
 * 4 normal, 8 control, 16 user defined, 32 byte, 64 normalized, 128 lstrip,
 * 256 rstrip, 512 single word). */
uint32_t wn_vocab_attr(const wn_vocab *v, int32_t id);

/* Token ids of n bytes. add_special: BOS, EOS, ... as the vocabulary asks;
 * parse_special: texts of control tokens become those tokens. On success
 * *ids is an array of *n_ids (free with wn_free). */
int wn_vocab_encode(const wn_vocab *v, const char *text, size_t n,
                    bool add_special, bool parse_special, int32_t **ids,
                    size_t *n_ids, wn_err *e);

/* The same for a text that is partly from outside: in the spans [from, to) of
 * `plain`, ascending and apart, control tokens stay text although
 * parse_special is set; all else is as if the text were one. */
typedef struct wn_span {
  size_t from, to;
} wn_span;
typedef struct wn_spans {
  const wn_span *p;
  size_t n;
} wn_spans;
int wn_vocab_encode_plain(const wn_vocab *v, const char *text, size_t n,
                          const wn_spans *plain, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids,
                          wn_err *e);

/* The bytes of one token, as llama_token_to_piece(lstrip = 0) gives them;
 * `special` renders control tokens too. Appends at most cap bytes to buf and
 * returns the full length. */
size_t wn_vocab_piece(const wn_vocab *v, int32_t id, bool special, char *buf,
                      size_t cap);

/* The text of many tokens (llama_detokenize). *text: free with wn_free. */
int wn_vocab_decode(const wn_vocab *v, const int32_t *ids, size_t n_ids,
                    bool remove_special, bool unparse_special, char **text,
                    size_t *n, wn_err *e);

/* Length of the longest prefix of buf that ends on a UTF-8 character
 * boundary (invalid bytes count as characters): what a stream may show now.
 * At most 3 bytes are held back. */
size_t wn_utf8_complete(const char *buf, size_t n);

#endif
