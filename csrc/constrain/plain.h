/* plain.h - the tokens of a vocabulary that are made of characters of a class,
 * and where the others leave it.
 *
 * Inside a string nearly every token may come, and which do is the same for
 * every string: made once for a class and a vocabulary, kept with the
 * vocabulary (up to 16 MiB of them; 16 more for classes with most characters
 * above 127, those of strings), shared by threads. */
#ifndef WN_CONSTRAIN_PLAIN_H
#define WN_CONSTRAIN_PLAIN_H

#include "constrain/gbnf.h"
#include "constrain/tokens.h"

/* A node of the trie whose parent is reached through characters of the class
 * only, and which does not go on so: its byte is not of the class, or what is
 * under it is not UTF-8. */
typedef struct wn_exit {
  uint32_t node;
  uint16_t chars; /* of the class, before it */
  uint8_t byte;
} wn_exit;

/* Immutable. Plain characters are the ASCII ones of the class and, where it
 * holds most of them, those above 127, odd ones only where it holds all. */
struct wn_plain {
  uint64_t ascii[2];
  bool longer, odd;
  bool usable;    /* false: a note only, that it has too many exits */
  size_t bytes;   /* of memory */
  uint64_t *bits; /* by id: only plain characters, the last one perhaps cut */
  int32_t *ids;   /* the same, fewest characters first */
  uint32_t *upto; /* [c]: how many of them have at most c characters */
  uint32_t max_chars; /* upto has one more element */
  wn_exit *exit;
  uint32_t n_exits;
  wn_plain *next;
};

/* The table of a class, made where it is missing. *out is NULL for a class
 * with fewer than 8 plain characters or none of ASCII, for one that tokens
 * leave in over 8192 places, or when there is no room for more. */
int wn_plain_of(wn_tokens *t, const wn_gclass *c, const wn_plain **out,
                wn_err *e);
void wn_plain_free(wn_plain *p); /* and those after it */

#endif
