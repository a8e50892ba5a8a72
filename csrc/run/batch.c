/* batch.c - see batch.h: who joins a step, and who gets what of it. */
#include "run/batch.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "run/gen_in.h"

/* The least piece of a prompt under a time budget: so many rows cost about
 * what one does. */
#define LEAST_PIECE WN_PACE_FEW

/* ---- life */

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static int fill(wn_batch *b, wn_err *e) {
  size_t n = wn_ctx_n_batch(b->ctx), n_seq = wn_ctx_n_seq(b->ctx);
  b->tokens = wn_calloc(WN_MEM_RUN, n, sizeof *b->tokens);
  b->seqs = wn_calloc(WN_MEM_RUN, n, sizeof *b->seqs);
  b->want = wn_calloc(WN_MEM_RUN, n, sizeof *b->want);
  b->shares = wn_calloc(WN_MEM_RUN, n_seq, sizeof *b->shares);
  b->seats = wn_calloc(WN_MEM_RUN, n_seq, sizeof *b->seats);
  if (b->tokens && b->seqs && b->want && b->shares && b->seats) return WN_OK;
  return wn_fail(e, WN_ENOMEM, "generate: out of memory");
}

static int make(wn_ctx *c, wn_batch **out, wn_err *e) {
  wn_batch *b = wn_calloc(WN_MEM_RUN, 1, sizeof *b);
  if (b == NULL) return wn_fail(e, WN_ENOMEM, "generate: out of memory");
  b->ctx = c;
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->news, NULL);
  int rc = fill(b, e);
  if (rc == WN_OK)
    *out = b;
  else
    wn_batch_free(b);
  return rc;
}

int wn_batch_of(wn_ctx *c, wn_batch **out, wn_err *e) {
  int rc = WN_OK;
  pthread_mutex_lock(&making);
  *out = wn_ctx_batch(c);
  if (*out == NULL) {
    rc = make(c, out, e);
    if (rc == WN_OK) wn_ctx_set_batch(c, *out);
  }
  pthread_mutex_unlock(&making);
  return rc;
}

static void destroy_list(wn_gen *g) {
  while (g != NULL) {
    wn_gen *next = g->next;
    wn_gen_destroy(g);
    g = next;
  }
}

void wn_batch_free(wn_batch *b) {
  if (b == NULL) return;
  /* their owners are gone: an owner holds the context */
  destroy_list(b->gens);
  destroy_list(b->incoming);
  for (uint32_t i = 0; b->seats != NULL && i < wn_ctx_n_seq(b->ctx); i++)
    wn_free(b->seats[i].owed);
  wn_free(b->seats);
  wn_free(b->shares);
  wn_free(b->tokens);
  wn_free(b->seqs);
  wn_free(b->want);
  pthread_cond_destroy(&b->news);
  pthread_mutex_destroy(&b->lock);
  wn_free(b);
}

/* ---- who is there */

void wn_batch_join(wn_batch *b, wn_gen *g) {
  if (g->joined) return;
  wn_gen **at = &b->incoming;
  while (*at != NULL)
    at = &(*at)->next;
  g->next = NULL;
  *at = g;
  g->joined = true;
}

bool wn_batch_is_driven(const wn_batch *b) {
  return b->driven && b->driver == getpid();
}

bool wn_batch_is_taken(const wn_batch *b, const wn_gen *g) {
  if (g->o.seq == WN_GEN_ANY) return false;
  const wn_gen *other = b->seats[g->o.seq].g;
  return other != NULL && other != g && other->background &&
         other->end == WN_GEN_RUNNING && !atomic_load(&other->cancel);
}

static void take_in(wn_batch *b) {
  wn_gen **at = &b->gens;
  while (*at != NULL)
    at = &(*at)->next;
  pthread_mutex_lock(&b->lock);
  *at = b->incoming;
  b->incoming = NULL;
  pthread_mutex_unlock(&b->lock);
}

/* Over for this time limit? The prompt's, then the tokens'. */
static bool is_late(const wn_gen *g, double now) {
  double most =
      g->n_ids == 0 ? g->o.max_prompt_seconds : g->o.max_token_seconds;
  return g->phase != WN_PHASE_NEW && most > 0 && now - g->began >= most;
}

static void look_at(wn_gen *g, double now) {
  wn_err e;
  if (g->phase == WN_PHASE_ENDED) return;
  if (atomic_load(&g->cancel)) {
    wn_fail(&e, WN_ECANCEL, "generate: cancelled");
    wn_gen_finish(g, WN_GEN_CANCELLED, &e);
  } else if (is_late(g, now)) {
    wn_gen_finish(g, WN_GEN_TIME, NULL);
  }
}

/* The step in hand goes on without g; without anybody it is dropped. */
static void leave_step(wn_batch *b, const wn_gen *g) {
  for (uint32_t i = 0; i < b->n_shares; i++)
    if (b->shares[i].g == g) b->shares[i].g = NULL;
}

static void drop_dead_step(wn_batch *b) {
  bool alive = false;
  for (uint32_t i = 0; i < b->n_shares; i++)
    alive |= b->shares[i].g != NULL && b->shares[i].g->phase != WN_PHASE_ENDED;
  if (alive) return;
  wn_ctx_drop(b->ctx);
  b->n_shares = 0;
}

/* Takes in who came, ends who must end, lets go who left. */
static void tidy(wn_batch *b) {
  double now = wn_now();
  take_in(b);
  for (wn_gen **at = &b->gens; *at != NULL;) {
    wn_gen *g = *at;
    /* asked first: who is closed was cancelled before, so look_at ends it and
     * frees its seat; closed a moment later, it goes the next time */
    pthread_mutex_lock(&b->lock);
    bool gone = g->closed;
    pthread_mutex_unlock(&b->lock);
    look_at(g, now);
    wn_gen_absorb(g);
    if (!gone) {
      at = &g->next;
      continue;
    }
    leave_step(b, g);
    *at = g->next;
    wn_gen_destroy(g);
  }
  drop_dead_step(b);
}

void wn_batch_sweep(wn_batch *b) {
  if (!wn_ctx_begin(b->ctx)) return; /* who is inside does it */
  tidy(b);
  wn_ctx_end(b->ctx);
}

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

static void place_waiting(wn_batch *b) {
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

/* The step's tokens, by budget: what runs, then prompts. */
static void compose(wn_batch *b, const wn_shift *how) {
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

static void settle(wn_batch *b) {
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

static void fail_step(wn_batch *b, const wn_err *e) {
  for (uint32_t i = 0; i < b->n_shares; i++)
    if (b->shares[i].g != NULL && b->shares[i].g->phase != WN_PHASE_ENDED)
      fail(b->shares[i].g, e);
  b->n_shares = 0;
}

/* ---- work */

/* The earliest time limit of those in the step. */
static double limit(const wn_batch *b, double until) {
  for (uint32_t i = 0; i < b->n_shares; i++) {
    const wn_gen *g = b->shares[i].g;
    if (g == NULL) continue;
    double most =
        g->n_ids == 0 ? g->o.max_prompt_seconds : g->o.max_token_seconds;
    if (most > 0 && (until == 0 || g->began + most < until))
      until = g->began + most;
  }
  return until;
}

/* Something to go on with? Makes a step up when none is in hand. */
static bool have_step(wn_batch *b, const wn_shift *how) {
  wn_err e;
  if (b->n_shares != 0 && wn_ctx_pending(b->ctx)) return true;
  place_waiting(b);
  compose(b, how);
  if (b->n_shares == 0) return false;
  if (wn_ctx_start(b->ctx, b->tokens, b->seqs, b->want, b->n_step, &e) == WN_OK)
    return true;
  fail_step(b, &e);
  return false;
}

bool wn_batch_work(wn_batch *b, wn_shift *how) {
  wn_err e;
  bool done;
  tidy(b);
  if (!have_step(b, how)) return false;
  double until = limit(b, how->until), t0 = wn_now();
  if (!how->at_once && !wn_ctx_fits(b->ctx, until)) return false;
  how->at_once = false;
  int rc = wn_ctx_go(b->ctx, until, how->hurry, &done, &e);
  b->step_seconds += wn_now() - t0;
  if (rc != WN_OK)
    fail_step(b, &e);
  else if (done)
    settle(b);
  return true;
}

/* ---- pulled from outside */

/* The budget as a worker's shift that begins now. */
static wn_shift shift_of(const wn_budget *o) {
  wn_shift how = {.tokens = o->tokens, .at_once = true};
  if (o->seconds > 0) {
    how.until = wn_now() + o->seconds;
    how.seconds = o->seconds / 4; /* a stage that ends late is little late */
  }
  return how;
}

static bool wait_news(wn_batch *b, double until) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  double s = until == 0 ? 1 : until - wn_now();
  if (s <= 0) return false;
  int64_t ns = t.tv_nsec + (int64_t)(s * 1e9);
  t.tv_sec += (time_t)(ns / 1000000000);
  t.tv_nsec = (long)(ns % 1000000000);
  pthread_cond_timedwait(&b->news, &b->lock, &t);
  return true;
}

bool wn_batch_idle(wn_batch *b, double seconds) {
  double until = wn_now() + seconds;
  pthread_mutex_lock(&b->lock);
  while (wn_batch_is_driven(b) && wait_news(b, until)) {
  }
  bool idle = !wn_batch_is_driven(b);
  pthread_mutex_unlock(&b->lock);
  return idle;
}

/* Waits for the thread of the batch. False: it is not there (any more). */
static bool wait_driven(wn_gen *g, double until) {
  wn_batch *b = g->b;
  wn_batch_lock(g);
  bool driven = wn_batch_is_driven(b);
  while (wn_batch_is_driven(b) && g->end == WN_GEN_RUNNING &&
         (g->lead == 0 || until != 0) && wait_news(b, until)) {
  }
  bool satisfied = g->end != WN_GEN_RUNNING || g->lead > 0 || until != 0;
  driven = driven && (satisfied || wn_batch_is_driven(b));
  wn_batch_unlock(g);
  return driven;
}

/* Has the pull what it wanted? */
static bool is_served(wn_gen *g, double until) {
  wn_batch_lock(g);
  bool ended = g->end != WN_GEN_RUNNING;
  bool some = g->lead > 0 && g->phase != WN_PHASE_CLOSING;
  wn_batch_unlock(g);
  return ended || (until == 0 ? some : wn_now() >= until);
}

/* Works inside the context until g is served. */
static int work_for(wn_gen *g, const wn_budget *o, wn_err *e) {
  wn_shift how = shift_of(o);
  int rc = WN_OK;
  while (!is_served(g, how.until)) {
    if (wn_batch_work(g->b, &how)) continue;
    if (is_served(g, how.until) || !how.at_once) break;
    rc = wn_fail(e, WN_EBUSY, "generate: all %u sequences are busy",
                 wn_ctx_n_seq(g->ctx));
    break;
  }
  return rc;
}

/* Notes that the owner came. *there: what it came for is made already. */
static int come(wn_gen *g, const wn_budget *o, bool *there, wn_err *e) {
  wn_batch_lock(g);
  if (g->end == WN_GEN_RUNNING && wn_batch_is_taken(g->b, g)) {
    wn_batch_unlock(g);
    return wn_fail(e, WN_EBUSY, "generate: sequence %u is busy", g->o.seq + 1);
  }
  wn_batch_join(g->b, g);
  *there = g->end != WN_GEN_RUNNING || (g->lead > 0 && o->seconds <= 0);
  g->wanted = true;
  g->lead = 0;
  wn_batch_unlock(g);
  return WN_OK;
}

int wn_gen_pull(wn_gen *g, const wn_budget *o, wn_err *e) {
  double until = o->seconds > 0 ? wn_now() + o->seconds : 0;
  bool there = false;
  int rc = come(g, o, &there, e);
  if (rc != WN_OK) return rc;
  if (there || wait_driven(g, until)) return wn_gen_error(g, e);
  if (!wn_ctx_begin(g->ctx))
    return wn_fail(e, WN_EBUSY, "generate: the context is busy");
  rc = work_for(g, o, e);
  wn_ctx_end(g->ctx);
  if (rc == WN_OK) rc = wn_gen_error(g, e);
  wn_batch_lock(g);
  g->lead = 0; /* it takes what there is */
  wn_batch_unlock(g);
  return rc;
}

int wn_batch_add(wn_batch *b, wn_gen *g, wn_err *e) {
  (void)e;
  pthread_mutex_lock(&b->lock);
  wn_batch_join(b, g);
  pthread_mutex_unlock(&b->lock);
  return WN_OK;
}

static uint32_t count_live(const wn_batch *b) {
  uint32_t n = 0;
  for (const wn_gen *g = b->gens; g != NULL; g = g->next)
    n += g->phase != WN_PHASE_ENDED;
  return n;
}

int wn_batch_step(wn_batch *b, const wn_budget *o, uint32_t *n_live,
                  wn_err *e) {
  if (!wn_ctx_begin(b->ctx))
    return wn_fail(e, WN_EBUSY, "batch: the context is busy");
  wn_shift how = shift_of(o);
  b->everybody = true;
  while (wn_batch_work(b, &how) && how.until != 0 && wn_now() < how.until) {
  }
  b->everybody = false;
  *n_live = count_live(b);
  wn_ctx_end(b->ctx);
  return WN_OK;
}
