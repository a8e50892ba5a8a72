/* match.h - one text under a grammar: what may come next, and what came.
 *
 * Belongs to one caller. A match may wait: for words or tokens that trigger it
 * (the grammar then reads from the trigger on), or for a text after which it
 * begins (the end of a reasoning part). While it waits everything is allowed.
 * What it learns of the grammar goes to the grammar's next match (learnt.h). */
#ifndef WN_CONSTRAIN_MATCH_H
#define WN_CONSTRAIN_MATCH_H

#include "constrain/grammar.h"
#include "constrain/learnt.h"
#include "gguf/gguf.h"

typedef struct wn_match wn_match;

typedef struct wn_match_opts {
  const wn_str *words; /* triggers; the grammar reads them too */
  size_t n_words;
  const int32_t *tokens; /* triggers that are tokens */
  size_t n_tokens;
  wn_str after; /* the grammar begins after this text; n 0: no such text */
} wn_match_opts;

/* Keeps references; copies the texts. o may be NULL. */
int wn_match_new(wn_grammar *g, wn_tokens *t, const wn_match_opts *o,
                 wn_match **out, wn_err *e);
void wn_match_free(wn_match *m);
/* Begins a new text; what was learnt about the grammar stays. */
void wn_match_reset(wn_match *m);

bool wn_match_waits(const wn_match *m);
/* The text may end here; nothing but the end may follow. */
bool wn_match_may_end(wn_match *m);
bool wn_match_complete(wn_match *m);
/* Some way to go on is a token that was named. */
bool wn_match_asks_token(wn_match *m);
const wn_tokens *wn_match_tokens(const wn_match *m);

/* Tokens that may come next; *mask is NULL while the match waits. Ids of the
 * vocabulary that the mask does not hold are not allowed. Valid until the next
 * call. An empty mask: no token of the vocabulary goes on with the text. */
int wn_match_mask(wn_match *m, const wn_mask **mask, wn_err *e);

/* The token was appended. WN_EDATA when it is not allowed (nothing changes).
 * The end of the text is allowed where the text may end. */
int wn_match_accept(wn_match *m, int32_t id, wn_err *e);

/* Bytes that must come next, at most cap of them: as long as there is one way
 * to go on. Returns how many. */
int wn_match_forced(wn_match *m, char *text, size_t cap, size_t *n, wn_err *e);

/* Tokens that there is no choice about, at most cap (64 are looked for): the
 * forced text as the tokenizer cuts it, without its last token, which what
 * follows may join; or the one token that a token state asks for. */
int wn_match_forced_tokens(wn_match *m, int32_t *ids, uint32_t cap, uint32_t *n,
                           wn_err *e);

#endif
