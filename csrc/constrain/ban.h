/* ban.h - strings that must not appear in a text.
 *
 * Follows the text byte by byte (Aho and Corasick) and tells the tokens that
 * would complete one of the strings, wherever tokens begin and end. What may
 * become one is allowed until its last token. */
#ifndef WN_CONSTRAIN_BAN_H
#define WN_CONSTRAIN_BAN_H

#include "constrain/tokens.h"
#include "gguf/gguf.h"

typedef struct wn_ban wn_ban;

/* Strings are copied; empty ones are WN_EARG. */
int wn_ban_new(wn_tokens *t, const wn_str *s, size_t n, wn_ban **out,
               wn_err *e);
void wn_ban_free(wn_ban *b);
void wn_ban_reset(wn_ban *b);
void wn_ban_accept(wn_ban *b, int32_t id);

/* The tokens that may not come next: *ids until the next call. */
int wn_ban_now(wn_ban *b, const int32_t **ids, uint32_t *n, wn_err *e);

#endif
