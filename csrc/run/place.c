/* place.c - which sequence a generation gets, and what it takes over there.
 * See batch.h. */
#include <string.h>

#include "base/mem.h"
#include "run/gen_in.h"

/* The factors that g wants. */
static const float *gains_of(const wn_ctx *c, const wn_gen *g) {
  return g->gains != NULL ? g->gains : wn_ctx_gains(c, WN_NONE);
}

/* Tokens that a sequence and the prompt begin with alike. The last one of the
 * prompt does not count: its logits are wanted. */
static uint32_t alike(const wn_ctx *c, uint32_t seq, const wn_gen *g) {
  uint32_t n_gains = wn_model_prog(wn_ctx_model(c))->n_gains;
  const int32_t *held = wn_ctx_held(c, seq);
  uint32_t n = wn_ctx_n_past(c, seq), same = 0;
  if (g->o.echo) return 0; /* all of it is evaluated */
  if (n_gains > 0 && memcmp(wn_ctx_gains(c, seq), gains_of(c, g),
                            n_gains * sizeof(float)) != 0)
    return 0; /* made with other adapters */
  if (n > g->n_all - 1) n = (uint32_t)g->n_all - 1;
  while (same < n && held[same] == g->all[same])
    same++;
  return same;
}

/* Is sequence x better to be given away than y? Empty before used, then the
 * longest unused; those that nobody ran in were made by hand: last. */
static bool goes_first(const wn_batch *b, uint32_t x, uint32_t y) {
  bool ex = wn_ctx_n_past(b->ctx, x) == 0, ey = wn_ctx_n_past(b->ctx, y) == 0;
  uint64_t ux = b->seats[x].used, uy = b->seats[y].used;
  if (ex != ey) return ex;
  if ((ux == 0) != (uy == 0)) return uy == 0;
  return ux < uy;
}

typedef struct choice {
  uint32_t seq;    /* where it goes, or WN_NONE */
  uint32_t from;   /* what it begins with is there */
  uint32_t n_held; /* so many tokens of it */
} choice;

/* Cut back what is free and holds the beginning, unless most of it would be
 * lost and an empty sequence could take a copy. */
static choice choose(const wn_batch *b, const wn_gen *g) {
  choice c = {WN_NONE, 0, 0};
  uint32_t own = WN_NONE, n_own = 0, n_seq = wn_ctx_n_seq(b->ctx);
  for (uint32_t s = 0; s < n_seq; s++) {
    bool is_free = b->seats[s].g == NULL;
    uint32_t n = alike(b->ctx, s, g);
    if (n > c.n_held) c.from = s, c.n_held = n;
    if (is_free && n > n_own) own = s, n_own = n;
    if (is_free && (c.seq == WN_NONE || goes_first(b, s, c.seq))) c.seq = s;
  }
  if (own == WN_NONE || n_own < c.n_held) return c; /* a copy, or nothing */
  bool empty = c.seq != own && wn_ctx_n_past(b->ctx, c.seq) == 0;
  c.from = own;
  if (!empty || g->o.n_shift != 0 || n_own >= wn_ctx_n_past(b->ctx, own) / 2)
    c.seq = own;
  return c;
}

/* Brings what is held to the sequence; what cannot be brought is evaluated
 * again, so failing is not failing. */
static int take_over(wn_batch *b, const choice *c, wn_err *e) {
  wn_err nothing = {0};
  if (c->from != c->seq) {
    if (c->n_held != 0 &&
        wn_ctx_copy(b->ctx, c->from, c->seq, c->n_held, &nothing) == WN_OK)
      return WN_OK;
    return wn_ctx_truncate(b->ctx, c->seq, 0, e);
  }
  return wn_ctx_truncate(b->ctx, c->seq, c->n_held, e);
}

/* Of what follows the common beginning in sequence `seq`, stretches of at least
 * o.n_shift tokens that the prompt has too, further in front: they are moved
 * there. Returns how many tokens of the prompt are held then. */
static uint32_t pull_up(wn_batch *b, const wn_gen *g, uint32_t seq,
                        uint32_t n_held) {
  const int32_t *held = wn_ctx_held(b->ctx, seq);
  uint32_t past = wn_ctx_n_past(b->ctx, seq), at = n_held;
  uint32_t end = (uint32_t)g->n_all - 1, least = g->o.n_shift;
  wn_err e;
  while (at < past && n_held < end) {
    uint32_t n = 0;
    while (at + n < past && n_held + n < end &&
           held[at + n] == g->all[n_held + n])
      n++;
    if (n < least) {
      at++;
      continue;
    }
    if (at != n_held && wn_ctx_move(b->ctx, seq, at, n_held, n, &e) != WN_OK)
      return n_held;
    at += n;
    n_held += n;
  }
  return n_held;
}

static int place_any(wn_batch *b, wn_gen *g, bool *wait, wn_err *e) {
  choice c = choose(b, g);
  *wait = c.seq == WN_NONE;
  if (*wait) return WN_OK;
  if (c.n_held == 0) c.from = c.seq;
  if (g->o.n_shift != 0 && c.from == c.seq && c.n_held != 0 &&
      wn_ctx_can_move(b->ctx))
    c.n_held = pull_up(b, g, c.seq, c.n_held);
  int rc = take_over(b, &c, e);
  g->seq = c.seq;
  return rc;
}

/* Puts n tokens before those of the prompt. */
static int put_before(wn_gen *g, const int32_t *ids, size_t n, wn_err *e) {
  size_t n_own = g->n_all;
  if (n == 0) return WN_OK;
  for (size_t i = 0; i < n; i++)
    if (wn_gen_append(g, 0, e) != WN_OK) return e->code;
  memmove(g->all + n, g->all, n_own * sizeof *g->all);
  memcpy(g->all, ids, n * sizeof *g->all);
  g->n_before += n;
  return WN_OK;
}

/* What the last one there showed and did not evaluate, then the prompt. */
static int put_owed(wn_batch *b, wn_gen *g, uint32_t past, wn_err *e) {
  wn_seat *s = &b->seats[g->seq];
  uint32_t n = s->owed_at == past ? s->n_owed : 0;
  s->n_owed = 0;
  return put_before(g, s->owed, n, e);
}

static int check_room(const wn_batch *b, const wn_gen *g, uint32_t past,
                      wn_err *e) {
  uint32_t n_ctx = wn_ctx_n_ctx(b->ctx);
  if (g->n_all > n_ctx)
    return wn_fail(e, WN_EARG,
                   "generate: the prompt has %zu tokens, the context has room "
                   "for %u",
                   g->n_all - past, n_ctx - past);
  if (g->n_all == 0)
    return wn_fail(e, WN_EARG, "generate: the prompt has no tokens");
  return WN_OK;
}

/* Continues a sequence: nobody else's from now on. */
static int place_at(wn_batch *b, wn_gen *g, wn_err *e) {
  uint32_t s = g->o.seq, past = wn_ctx_n_past(b->ctx, s);
  wn_gen *other = b->seats[s].g;
  wn_err taken = {0};
  if (other != NULL && other->background)
    return wn_fail(e, WN_EBUSY, "generate: sequence %u is busy", s + 1);
  wn_fail(&taken, WN_EBUSY, "generate: sequence %u was taken by another one",
          s + 1);
  if (other != NULL) wn_gen_finish(other, WN_GEN_FAILED, &taken);
  g->seq = s;
  int rc = put_owed(b, g, past, e);
  if (rc == WN_OK) rc = put_before(g, wn_ctx_held(b->ctx, s), past, e);
  if (rc == WN_OK) rc = check_room(b, g, past, e);
  /* going on from what is held needs the logits of its last token */
  if (rc == WN_OK && past == g->n_all)
    rc = wn_ctx_truncate(b->ctx, s, past - 1, e);
  return rc;
}

/* The sampler hears of all that comes before. */
static int prime(wn_gen *g, wn_err *e) {
  if (!g->has_sampler && !wn_sampler_begin(g->sampler))
    return wn_fail(e, WN_EBUSY, "generate: the sampler is busy");
  for (size_t i = 0; i < g->n_all; i++)
    wn_sampler_accept(g->sampler, g->all[i]);
  if (!g->has_sampler) wn_sampler_end(g->sampler);
  return WN_OK;
}

int wn_place(wn_batch *b, wn_gen *g, bool *wait, wn_err *e) {
  *wait = false;
  int rc =
      g->o.seq == WN_GEN_ANY ? place_any(b, g, wait, e) : place_at(b, g, e);
  if (rc != WN_OK || *wait) {
    g->seq = WN_GEN_ANY;
    return rc;
  }
  wn_seat *s = &b->seats[g->seq];
  s->used = ++b->clock;
  g->phase = WN_PHASE_RUNNING;
  wn_ctx_set_gains(b->ctx, g->seq, gains_of(b->ctx, g));
  g->n_given = g->n_all;
  g->began = wn_now();
  rc = prime(g, e);
  uint32_t past = wn_ctx_n_past(b->ctx, g->seq);
  wn_batch_lock(g);
  s->g = g;
  g->stats.seq = g->seq;
  g->stats.n_reused = past > g->n_before ? past - (uint32_t)g->n_before : 0;
  g->stats.n_prompt_done = g->stats.n_reused;
  wn_batch_unlock(g);
  return rc;
}

void wn_batch_forget(wn_batch *b, uint32_t seq) {
  if (b != NULL) b->seats[seq].n_owed = 0;
}

bool wn_batch_runs_at(const wn_batch *b, uint32_t seq) {
  return b != NULL && b->seats[seq].g != NULL;
}

void wn_unplace(wn_batch *b, wn_gen *g) {
  if (g->seq == WN_GEN_ANY || b->seats[g->seq].g != g) return;
  wn_seat *s = &b->seats[g->seq];
  uint32_t past = wn_ctx_n_past(b->ctx, g->seq);
  wn_batch_lock(g);
  s->g = NULL;
  wn_batch_unlock(g);
  s->used = ++b->clock;
  s->n_owed = 0;
  /* a sequence of the batch's own is found by what it holds */
  if (g->o.seq == WN_GEN_ANY || past < g->n_given || past >= g->n_all) return;
  size_t n = g->n_all - past;
  int32_t *owed = wn_realloc(WN_MEM_RUN, s->owed, n * sizeof *owed);
  if (owed == NULL) return; /* then they are not evaluated */
  memcpy(owed, g->all + past, n * sizeof *owed);
  s->owed = owed;
  s->n_owed = (uint32_t)n;
  s->owed_at = past;
}
