/* pieces.h - text that grows token by token, and what of it may be shown.
 *
 * Bytes come in as tokens have them; what goes out never ends inside of a
 * character and never holds the beginning of a stop string that may still be
 * completed. The first stop string to appear ends the text before it. What
 * goes out is valid UTF-8: bytes that can become no character are U+FFFD each,
 * unless the bytes themselves are wanted (raw). */
#ifndef WN_RUN_PIECES_H
#define WN_RUN_PIECES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "gguf/gguf.h"

typedef struct wn_bytes { /* a growing byte string */
  char *p;
  size_t n, cap;
} wn_bytes;

bool wn_bytes_grow(wn_bytes *b, size_t more); /* room for `more`; false: none */
bool wn_bytes_add(wn_bytes *b, const char *p, size_t n);

typedef struct wn_pieces {
  wn_bytes *stops;
  size_t n_stops;
  bool raw;
  wn_bytes held;  /* came in, not decided */
  wn_bytes ready; /* may be shown; whoever takes it sets n = 0 */
} wn_pieces;

/* Copies the stop strings. An empty one never appears. */
int wn_pieces_init(wn_pieces *t, const wn_str *stop, size_t n_stop, bool raw,
                   wn_err *e);
void wn_pieces_free(wn_pieces *t);

/* More bytes; *stopped when a stop string has appeared: the rest is gone. */
int wn_pieces_add(wn_pieces *t, const char *p, size_t n, bool *stopped,
                  wn_err *e);
/* The text has ended: all that is held back becomes ready. */
int wn_pieces_flush(wn_pieces *t, wn_err *e);

#endif
