/* closed.h - places that no text of some characters leads out of.
 *
 * A pattern such as "a letter somewhere" is a few states, each of which reads
 * its own part of the alphabet; together they go on whatever comes. A place is
 * closed under a set of characters when each text of them, or each of up to so
 * many, leads on from it. All tokens of such characters may follow there, and
 * the walk need not look. */
#ifndef WN_CONSTRAIN_CLOSED_H
#define WN_CONSTRAIN_CLOSED_H

#include "constrain/places.h"

typedef struct wn_charset {
  uint64_t ascii[2];
  bool longer, odd; /* characters above 127 (tokens.h), odd ones too */
} wn_charset;

enum { WN_CLOSED_SETS = 64, WN_CLOSED_PLACES = 128 };

typedef struct wn_closed {
  const wn_grammar *g;
  wn_charset set[WN_CLOSED_SETS]; /* place->closed - 1 */
  uint32_t n_sets;
  uint32_t list[WN_CLOSED_PLACES]; /* places that were reached */
  uint32_t away[WN_CLOSED_PLACES]; /* by so many characters */
  uint32_t n_list;
} wn_closed;

/* Finds a set for the place, which is noted there and at all places that are
 * reached through it, with the number of characters. Places that are reached
 * are made. */
int wn_closed_find(wn_closed *c, wn_places *p, uint32_t place, wn_err *e);

/* The set that a place is closed under, or NULL. */
static inline const wn_charset *wn_closed_set(const wn_closed *c,
                                              const wn_gplace *x) {
  return x->closed != 0 && x->closed <= WN_CLOSED_SETS ? &c->set[x->closed - 1]
                                                       : NULL;
}

#endif
