/* run/tap.h - taps on a context: which matrices' inputs are watched, and what
 * has been seen so far (graph/tap.h).
 *
 * A wn_watch belongs to a context, which it holds. Weights that multiply the
 * same input share an item. One watch at a time per context. */
#ifndef WN_RUN_TAP_H
#define WN_RUN_TAP_H

#include "graph/tap.h"
#include "run/ctx.h"

typedef struct wn_watch {
  int refs;
  wn_ctx *ctx;
  wn_tap tap;
  wn_tap_edge enter, leave; /* those of the tap, when it has them */
} wn_watch;

typedef struct wn_watch_opts {
  bool squares, sizes; /* sums of x^2, of |x| */
  bool rows;           /* keep the rows of the latest step */
  bool stop;           /* end steps after the last item */
  /* edges (graph/tap.h) at the first stage that uses a weight whose name
   * starts so; NULL: none. A context that enters has no cache of the layers
   * before, and wants all rows of every step. */
  const char *enter, *leave;
} wn_watch_opts;

/* Watches the inputs of the matrices chosen by wants(arg, name of the weight);
 * token embeddings have no input. WN_EARG when nothing is chosen or the
 * context is watched already. */
int wn_watch_new(wn_ctx *c, const wn_watch_opts *o,
                 bool (*wants)(void *arg, const char *name), void *arg,
                 wn_watch **out, wn_err *e);
void wn_watch_unref(wn_watch *w);

/* Does weight `w` of the program meet the input of this item? */
bool wn_watch_has(const wn_watch *w, const wn_tap_item *t, uint32_t weight);

/* Forgets all sums and counts. */
void wn_watch_reset(wn_watch *w);

#endif
