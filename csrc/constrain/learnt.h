/* learnt.h - what texts under a grammar have taught about it: places, steps
 * between them, and which tokens may come next where.
 *
 * Belongs to one match at a time. A match that ends gives it back to its
 * grammar, which keeps a few for the next matches over the same vocabulary: a
 * request under a grammar that was used before finds its masks made. */
#ifndef WN_CONSTRAIN_LEARNT_H
#define WN_CONSTRAIN_LEARNT_H

#include "constrain/places.h"
#include "constrain/tokens.h"

/* Tokens that may come next. */
struct wn_mask {
  uint32_t n;
  uint32_t hash;
  int32_t *ids;   /* of n <= WN_MASK_FEW tokens, ascending; else NULL */
  uint64_t *bits; /* one per id; NULL when there are ids */
};
enum { WN_MASK_FEW = 512 };

/* One that the grammar keeps, or a new one. The caller holds a reference to
 * the grammar for as long. */
int wn_learnt_get(wn_grammar *g, wn_tokens *t, wn_learnt **out, wn_err *e);
/* Gives it back; l may be NULL. */
void wn_learnt_put(wn_grammar *g, wn_learnt *l);
void wn_learnt_free(wn_learnt *l);

wn_places *wn_learnt_places(wn_learnt *l);
const wn_tokens *wn_learnt_tokens(const wn_learnt *l);

/* Between two tokens: allows new work, and forgets all but *place (which gets
 * a new number) when much is remembered: 16,384 places, 16 MiB of masks. */
int wn_learnt_rest(wn_learnt *l, uint32_t *place, wn_err *e);

/* The mask of a place; valid until the next wn_learnt_rest. Made by walking
 * the vocabulary's trie the first time, and kept. */
int wn_learnt_mask(wn_learnt *l, uint32_t place, const wn_mask **mask,
                   wn_err *e);
bool wn_mask_has(const wn_mask *mask, int32_t id);

#endif
