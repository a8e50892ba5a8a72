/* places.h - where a grammar can be after some text.
 *
 * A place is a set of configurations - a reading state, the part of a
 * character read so far, a stack - made when it is first reached and found
 * again by its contents; steps from place to place are remembered. So text is
 * read as by a finite automaton that grows while it is used. Stacks share
 * their lower parts, and equal ones are one number.
 *
 * Bounds: WN_MAX_GRAMMAR_STACKS configurations of a place, 65,536 places,
 * WN_MAX_GRAMMAR_WORK steps between two calls of wn_places_rest: then
 * WN_ELIMIT. A stack deeper than WN_MAX_GRAMMAR_STACKS is not entered. */
#ifndef WN_CONSTRAIN_PLACES_H
#define WN_CONSTRAIN_PLACES_H

#include "constrain/grammar.h"

#define WN_PLACE_NONE 0u /* the place that nothing leads to */
#define WN_PLACE_UNKNOWN UINT32_MAX

typedef struct wn_config {
  uint32_t state, part, stack;
} wn_config;

/* Characters of a class that may be repeated from here, at least `room` of
 * them, without leaving the grammar. */
typedef struct wn_gloop {
  uint32_t class_, room;
} wn_gloop;

typedef struct wn_mask wn_mask; /* see learnt.h */

typedef struct wn_gplace {
  uint32_t first, n; /* configurations */
  uint32_t hash;
  bool accepts; /* the text may end here */
  bool tokens;  /* some configurations read tokens */
  uint8_t n_loops;
  wn_gloop loop[2];
  uint8_t closed;       /* see closed.h; 0: not known */
  uint32_t closed_room; /* characters; WN_G_MANY: any number */
  int16_t only; /* the one byte that may follow; -1: not one; -2: not known */
  const wn_mask *mask; /* NULL: not known; not owned */
} wn_gplace;

typedef struct wn_places wn_places;

/* The grammar must live as long. */
int wn_places_new(wn_grammar *g, wn_places **out, wn_err *e);
void wn_places_free(wn_places *p);

/* Where a text begins. */
uint32_t wn_places_start(const wn_places *p);
/* Valid until the next step. */
wn_gplace *wn_places_at(wn_places *p, uint32_t place);
const wn_config *wn_places_configs(const wn_places *p, uint32_t place);

/* Where each kind of byte leads from a place, WN_PLACE_UNKNOWN where nobody
 * went. Valid until the next step. */
const uint32_t *wn_places_known(const wn_places *p, uint32_t place);
uint32_t wn_places_count(const wn_places *p);

/* After byte b; *to is WN_PLACE_NONE when it may not come. */
int wn_places_step(wn_places *p, uint32_t from, uint8_t b, uint32_t *to,
                   wn_err *e);
/* After a token: by its n bytes, and as a token. */
int wn_places_token(wn_places *p, uint32_t from, int32_t id, const char *text,
                    size_t n, uint32_t *to, wn_err *e);
/* The byte that must follow, or -1. */
int wn_places_only(wn_places *p, uint32_t place, int *only, wn_err *e);

/* Between two tokens: allows new work, and forgets all but *place (which gets
 * a new number) when much is remembered or *forget asks for it; tells in
 * *forget whether it did. */
int wn_places_rest(wn_places *p, uint32_t *place, bool *forget, wn_err *e);

#endif
