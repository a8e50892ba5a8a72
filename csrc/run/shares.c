/* shares.c - the tokens of a step: whose they are, and who gets what of the
 * result. */
#include <string.h>

#include "run/gen_in.h"

/* The least piece of a prompt under a time budget: so many rows cost about
 * what one does. */
#define LEAST_PIECE WN_PACE_FEW

static void fail(wn_gen *g, const wn_err *e) {
  wn_gen_finish(g, WN_GEN_FAILED, e);
}

/* ---- a step is made up */

/* Does g want to be in this step? Under the lock. */
static bool joins(const wn_batch *b, const wn_gen *g) {
  if (g->phase == WN_PHASE_ENDED || g->ask != WN_ASK_NOTHING) return false;
  if (b->everybody || g->background || g->phase == WN_PHASE_CLOSING)
    return true;
  return g->wanted && g->lead == 0;
}

void wn_shares_place(wn_batch *b) {
  for (wn_gen *g = b->gens; g != NULL; g = g->next) {
    wn_err e;
    bool wait;
    pthread_mutex_lock(&b->lock);
    bool now = g->phase == WN_PHASE_NEW && joins(b, g);
    pthread_mutex_unlock(&b->lock);
    if (now && wn_place(b, g, &wait, &e) != WN_OK) fail(g, &e);
  }
}

/* A full sequence forgets what lies between the first `keep` tokens and the
 * later half of the rest; what is kept behind is evaluated again. */
static int make_room(wn_batch *b, wn_gen *g, wn_err *e) {
  uint32_t n_ctx = wn_ctx_n_ctx(b->ctx);
  size_t keep = g->o.keep < n_ctx / 2 ? g->o.keep : n_ctx / 2;
  size_t tail = (n_ctx - keep) / 2, gone = g->n_all - keep - tail;
  memmove(g->all + keep, g->all + keep + gone, tail * sizeof *g->all);
  g->n_all = keep + tail;
  if (g->n_given > keep) g->n_given = keep;
  wn_batch_lock(g);
  g->stats.n_shifted += (uint32_t)gone;
  wn_batch_unlock(g);
  return wn_ctx_truncate(b->ctx, g->seq, (uint32_t)keep, e);
}

/* Tokens that g still has to feed; 0 when it cannot run. */
static uint32_t n_left(wn_batch *b, wn_gen *g) {
  wn_err e;
  if (g->phase == WN_PHASE_RUNNING && g->n_all > wn_ctx_n_ctx(b->ctx) &&
      make_room(b, g, &e) != WN_OK) {
    fail(g, &e);
    return 0;
  }
  uint32_t past = wn_ctx_n_past(b->ctx, g->seq);
  if (past < g->n_all) return (uint32_t)(g->n_all - past);
  wn_fail(&e, WN_EBUSY, "generate: sequence %u was changed meanwhile",
          g->seq + 1);
  fail(g, &e);
  return 0;
}

static void put(wn_batch *b, const wn_portion *s, int32_t token, bool want) {
  b->tokens[b->n_step] = token;
  b->seqs[b->n_step] = s->seq;
  b->want[b->n_step++] = want;
}

/* Is the log probability of token `at` wanted, which the prompt has there? */
static bool echoes(const wn_gen *g, size_t at) {
  return g->o.echo && at >= g->n_before && at < g->n_given;
}

/* The most of the next n tokens of g that `rows` rows are enough for: one for
 * each that is echoed, and one for the choice behind the last one. */
static uint32_t n_fitting(wn_batch *b, const wn_gen *g, uint32_t n,
                          uint32_t rows) {
  uint32_t past = wn_ctx_n_past(b->ctx, g->seq), used = 0;
  for (uint32_t i = 0; i < n; i++) {
    bool last = past + i + 1 == g->n_all && g->phase == WN_PHASE_RUNNING;
    used += echoes(g, past + i + 1) || last;
    if (used > rows) return i;
  }
  return n;
}

/* Puts n tokens of g into the step, and guesses behind the last one. */
static void add_share(wn_batch *b, wn_gen *g, uint32_t n, uint32_t room,
                      uint32_t *rows) {
  uint32_t past = wn_ctx_n_past(b->ctx, g->seq);
  bool last = past + n == g->n_all && g->phase == WN_PHASE_RUNNING;
  wn_portion *s = &b->shares[b->n_shares++];
  *s = (wn_portion){.g = g, .seq = g->seq, .pos = past, .n = n};
  s->is_prompt = past < g->n_given;
  for (uint32_t i = 0; i < n; i++) {
    bool echo = echoes(g, past + i + 1);
    if (echo && s->n_echo++ == 0) s->echo_at = past + i + 1;
    put(b, s, g->all[past + i], echo || (last && i + 1 == n));
  }
  s->n_rows = s->n_echo + last;
  *rows -= s->n_rows;
  if (!last || g->o.n_draft == 0 || s->is_prompt) return;
  uint32_t most = wn_ctx_n_ctx(b->ctx) - past - n;
  if (most > room - n) most = room - n;
  if (most > *rows) most = *rows;
  if (most > g->o.n_draft) most = g->o.n_draft;
  int32_t guess[WN_MAX_DRAFT];
  s->draft_off = b->n_step;
  s->n_draft = wn_draft(g, guess, most < WN_MAX_DRAFT ? most : WN_MAX_DRAFT);
  for (uint32_t i = 0; i < s->n_draft; i++)
    put(b, s, guess[i], true);
  s->n_rows += s->n_draft;
  *rows -= s->n_draft;
}

/* One round over those that join: single tokens first, then prompts. */
static void add_round(wn_batch *b, bool single, uint32_t most, uint32_t *rows) {
  uint32_t n_seq = wn_ctx_n_seq(b->ctx);
  for (uint32_t k = 0; k < n_seq && b->n_step < most; k++) {
    wn_gen *g = b->seats[(b->turn + k) % n_seq].g;
    if (g == NULL || g->phase == WN_PHASE_NEW) continue;
    wn_batch_lock(g);
    bool now = joins(b, g);
    wn_batch_unlock(g);
    uint32_t left = now ? n_left(b, g) : 0;
    if (left == 0 || (left == 1) != single) continue;
    uint32_t n = left < most - b->n_step ? left : most - b->n_step;
    n = n_fitting(b, g, n, *rows);
    if (n > 0) add_share(b, g, n, most - b->n_step, rows);
  }
}

void wn_shares_compose(wn_batch *b, const wn_shift *how) {
  uint32_t most = wn_ctx_n_batch(b->ctx), rows = wn_ctx_n_out(b->ctx);
  if (how->tokens != 0 && how->tokens < most) most = how->tokens;
  b->n_step = b->n_shares = 0;
  b->step_seconds = 0;
  add_round(b, true, most, &rows);
  if (how->seconds > 0) {
    uint32_t piece =
        wn_pace_piece(wn_ctx_pace(b->ctx), how->seconds, LEAST_PIECE, most);
    most = piece > b->n_step ? piece : b->n_step;
  }
  add_round(b, false, most, &rows);
  b->turn++;
}

/* ---- a step is handed out */

/* How many of the guesses fed are what the text has there. */
static uint32_t n_right(const wn_batch *b, const wn_portion *s) {
  const wn_gen *g = s->g;
  size_t at = (size_t)s->pos + s->n;
  uint32_t n = 0;
  while (n < s->n_draft && at + n < g->n_all &&
         g->all[at + n] == b->tokens[s->draft_off + n])
    n++;
  return n;
}

/* Rows `row`, ... of the result belong to this share. Guesses are right as
 * long as they are what is chosen; the first wrong one ends the share's use,
 * and the sequence forgets it. */
static int hand_out(wn_batch *b, const wn_portion *s, size_t row, wn_err *e) {
  wn_gen *g = s->g;
  int rc = WN_OK;
  for (uint32_t k = 0; k < s->n_echo && rc == WN_OK; k++)
    rc =
        wn_gen_echo(g, wn_ctx_logits(b->ctx, row + k, NULL), s->echo_at + k, e);
  row += s->n_echo;
  uint32_t n_rows = s->n_rows - s->n_echo;
  if (g->o.echo && n_rows > 0 && rc == WN_OK)
    rc = wn_gen_echo(g, NULL, g->n_given, e); /* a prompt of one token */
  if (g->o.max_tokens == 0 && n_rows > 0) {
    g->will_end = WN_GEN_LENGTH;
    n_rows = 0;
  }
  for (uint32_t k = 0; k < n_rows && rc == WN_OK; k++) {
    int32_t id = -1;
    size_t before = g->n_all;
    rc = wn_gen_choose(g, wn_ctx_logits(b->ctx, row + k, NULL), &id, e);
    /* the next row is of use when exactly its guess was taken in */
    if (rc != WN_OK || g->will_end != WN_GEN_RUNNING || k == s->n_draft ||
        g->n_all != before + 1 || id != b->tokens[s->draft_off + k])
      break;
  }
  uint32_t right = n_right(b, s);
  wn_batch_lock(g);
  g->stats.n_drafted += s->n_draft;
  g->stats.n_accepted += right;
  wn_batch_unlock(g);
  wn_draft_note(g, s->n_draft, right);
  if (rc == WN_OK && right < s->n_draft)
    rc = wn_ctx_truncate(b->ctx, s->seq, s->pos + s->n + right, e);
  return rc;
}

static void note(wn_batch *b, const wn_portion *s, double now) {
  wn_gen *g = s->g;
  bool first = s->n_rows > s->n_echo && s->is_prompt;
  wn_batch_lock(g);
  if (s->is_prompt) {
    g->stats.n_prompt_done += s->n;
    if (g->stats.n_prompt_done > g->stats.n_prompt)
      g->stats.n_prompt_done = g->stats.n_prompt; /* some were owed */
    g->stats.prompt_seconds += b->step_seconds;
  } else {
    g->stats.token_seconds += b->step_seconds;
  }
  g->lead++;
  wn_batch_unlock(g);
  if (first) g->began = now;
}

static void settle_share(wn_batch *b, const wn_portion *s, size_t row) {
  wn_err e;
  wn_gen *g = s->g;
  if (g == NULL || g->phase == WN_PHASE_ENDED) return;
  bool closing = g->phase == WN_PHASE_CLOSING;
  note(b, s, wn_now());
  int rc = hand_out(b, s, row, &e);
  if (rc != WN_OK)
    fail(g, &e);
  else if (g->will_end != WN_GEN_RUNNING && !closing)
    wn_gen_close_down(g);
  else if (closing && wn_ctx_n_past(b->ctx, g->seq) == g->n_all)
    wn_gen_finish(g, g->will_end, NULL);
}

void wn_shares_settle(wn_batch *b) {
  size_t row = 0;
  /* guesses that were wrong are cut from their sequences on the way: rows
   * stay where they are */
  for (uint32_t i = 0; i < b->n_shares; i++) {
    settle_share(b, &b->shares[i], row);
    row += b->shares[i].n_rows;
  }
  b->n_shares = 0;
  pthread_mutex_lock(&b->lock);
  pthread_cond_broadcast(&b->news);
  pthread_mutex_unlock(&b->lock);
}

void wn_shares_fail(wn_batch *b, const wn_err *e) {
  for (uint32_t i = 0; i < b->n_shares; i++)
    if (b->shares[i].g != NULL && b->shares[i].g->phase != WN_PHASE_ENDED)
      fail(b->shares[i].g, e);
  b->n_shares = 0;
}
