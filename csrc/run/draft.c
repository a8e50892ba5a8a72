/* draft.c - guesses of what comes next (speculation).
 *
 * Prompt lookup: where the last few tokens stood before, longest run first,
 * what followed there is likely to follow here: names, quotations, code.
 *
 * A draft model: a smaller one of the same vocabulary reads along in a context
 * of its own, one sequence for each of ours, and says what it would choose
 * itself. It is only ever asked for the likeliest token: the text does not
 * depend on what it says, only how much of it is made in one step. */
#include <string.h>

#include "base/mem.h"
#include "run/gen_in.h"

enum { LONGEST = 4, SHORTEST = 2, REST = 12 };

/* Where the last k of n tokens stood before: the latest place, behind it; 0:
 * nowhere. */
static size_t find_before(const int32_t *all, size_t n, size_t k) {
  for (size_t i = n - k; i-- > 0;)
    if (memcmp(all + i, all + n - k, k * sizeof *all) == 0) return i + k;
  return 0;
}

static uint32_t look_up(const wn_gen *g, int32_t *out, uint32_t cap) {
  for (size_t k = LONGEST; k >= SHORTEST; k--) {
    size_t at = g->n_all > k ? find_before(g->all, g->n_all, k) : 0;
    if (at == 0) continue;
    size_t n = g->n_all - at < cap ? g->n_all - at : cap;
    memcpy(out, g->all + at, n * sizeof *out);
    return (uint32_t)n;
  }
  return 0;
}

/* ---- a draft model */

/* What the draft's sequence holds of this text stays; the rest is fed. The
 * last token is always fed: its logits are wanted. Feeds pieces of at most
 * n_batch tokens. */
static int read_along(wn_ctx *d, uint32_t seq, const int32_t *all, size_t n,
                      wn_err *e) {
  const int32_t *held = wn_ctx_held(d, seq);
  uint32_t same = 0, most = wn_ctx_n_past(d, seq);
  while (same < most && same < n - 1 && held[same] == all[same])
    same++;
  int rc = wn_ctx_truncate(d, seq, same, e);
  size_t at = wn_ctx_n_past(d, seq), n_batch = wn_ctx_n_batch(d);
  uint32_t *seqs = wn_alloc(WN_MEM_RUN, n_batch * sizeof *seqs);
  if (seqs == NULL) return wn_fail(e, WN_ENOMEM, "draft: out of memory");
  for (size_t i = 0; i < n_batch; i++)
    seqs[i] = seq;
  while (at < n && rc == WN_OK) {
    size_t k = n - at < n_batch ? n - at : n_batch;
    rc = wn_ctx_step(d, all + at, seqs, NULL, k, e);
    at += k;
  }
  wn_free(seqs);
  return rc;
}

/* The likeliest token of the draft's last row; the first of equals. */
static int32_t likeliest(wn_ctx *d) {
  const float *x = wn_ctx_logits(d, 0, NULL);
  uint32_t n = wn_model_n_vocab(wn_ctx_model(d)), best = 0;
  for (uint32_t i = 1; x != NULL && i < n; i++)
    if (x[i] > x[best]) best = i;
  return (int32_t)best;
}

/* A draft that is full, busy or failing guesses nothing. */
static uint32_t ask(wn_gen *g, wn_ctx *d, int32_t *out, uint32_t cap) {
  wn_err e;
  uint32_t seq = g->seq % wn_ctx_n_seq(d), n = 0;
  uint32_t n_vocab = wn_model_prog(wn_ctx_model(g->ctx))->n_vocab;
  if (g->n_all + cap > wn_ctx_n_ctx(d) || !wn_ctx_begin(d)) return 0;
  int rc = read_along(d, seq, g->all, g->n_all, &e);
  while (rc == WN_OK && n < cap) {
    out[n] = likeliest(d);
    if ((uint32_t)out[n] >= n_vocab) break;
    if (++n < cap) rc = wn_ctx_step(d, out + n - 1, &seq, NULL, 1, &e);
  }
  wn_ctx_end(d);
  return n;
}

/* Wrong guesses cost what they would have saved: fewer after a bad step, none
 * for a while after several, more again while they are right. */
void wn_draft_note(wn_gen *g, uint32_t n, uint32_t right) {
  if (n == 0) return;
  if (right == n)
    g->n_guess = g->n_guess + 2 < g->o.n_draft ? g->n_guess + 2 : g->o.n_draft;
  else if (2 * right < n)
    g->n_guess /= 2;
  if (g->n_guess != 0) return;
  g->n_guess = 1;
  g->n_rest = REST;
}

uint32_t wn_draft(wn_gen *g, int32_t *out, uint32_t cap) {
  if (g->n_rest > 0) {
    g->n_rest--;
    return 0;
  }
  if (cap > g->n_guess) cap = g->n_guess;
  if (cap == 0) return 0;
  return g->o.draft != NULL ? ask(g, g->o.draft, out, cap)
                            : look_up(g, out, cap);
}
