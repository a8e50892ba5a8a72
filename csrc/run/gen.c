/* gen.c - see gen.h. */
#include "run/gen.h"

#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/mem.h"

typedef struct bytes { /* a growing byte string */
  char *p;
  size_t n, cap;
} bytes;

struct wn_gen {
  wn_ctx *ctx;
  wn_sampler *sampler;
  const wn_vocab *vocab;
  uint32_t seq, max_tokens;
  bool special;
  int32_t *prompt;
  uint32_t *seqs; /* n_batch each: arguments of wn_ctx_step */
  uint8_t *want;
  int32_t *ids;
  size_t n_ids, cap_ids;
  bytes *stops;
  size_t n_stops;
  bytes held;  /* generated, not yet released */
  bytes ready; /* released, not yet taken */
  bytes taken; /* what the caller holds now */
  wn_gen_end end;
  wn_gen_stats stats;
};

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "generate: out of memory");
}

static bool grow(bytes *b, size_t more) {
  if (more <= b->cap - b->n) return true;
  if (more > (size_t)WN_MAX_PROMPT_BYTES) return false;
  size_t cap = (b->n + more) * 2 + 64;
  char *p = wn_realloc(WN_MEM_RUN, b->p, cap);
  if (p == NULL) return false;
  b->p = p;
  b->cap = cap;
  return true;
}

static bool append(bytes *b, const char *p, size_t n) {
  if (!grow(b, n)) return false;
  if (n > 0) memcpy(b->p + b->n, p, n);
  b->n += n;
  return true;
}

static double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int copy_stops(wn_gen *g, const wn_gen_opts *o) {
  if (o->n_stop == 0) return WN_OK;
  g->stops = wn_calloc(WN_MEM_RUN, o->n_stop, sizeof *g->stops);
  if (g->stops == NULL) return WN_ENOMEM;
  g->n_stops = o->n_stop;
  for (size_t i = 0; i < o->n_stop; i++)
    if (!append(&g->stops[i], o->stop[i].p, o->stop[i].n)) return WN_ENOMEM;
  return WN_OK;
}

static int check_prompt(wn_ctx *ctx, const wn_gen_opts *o, const int32_t *ids,
                        size_t n, wn_err *e) {
  if (o->seq >= wn_ctx_n_seq(ctx))
    return wn_fail(e, WN_EARG, "generate: sequence %u of %u", o->seq,
                   wn_ctx_n_seq(ctx));
  uint32_t n_vocab = wn_model_n_vocab(wn_ctx_model(ctx));
  uint32_t room = wn_ctx_n_ctx(ctx) - wn_ctx_n_past(ctx, o->seq);
  if (n == 0) return wn_fail(e, WN_EARG, "generate: the prompt has no tokens");
  if (n > room)
    return wn_fail(e, WN_EARG,
                   "generate: the prompt has %zu tokens, the context has room "
                   "for %u",
                   n, room);
  for (size_t i = 0; i < n; i++)
    if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab)
      return wn_fail(e, WN_EARG, "generate: token %zu is %d, want 0..%u", i,
                     ids[i], n_vocab - 1);
  return WN_OK;
}

int wn_gen_new(wn_ctx *ctx, wn_sampler *sampler, const int32_t *prompt,
               size_t n, const wn_gen_opts *o, wn_gen **out, wn_err *e) {
  *out = NULL;
  int rc = check_prompt(ctx, o, prompt, n, e);
  if (rc != WN_OK) return rc;
  wn_gen *g = wn_calloc(WN_MEM_RUN, 1, sizeof *g);
  if (g == NULL) return no_memory(e);
  g->ctx = wn_ctx_ref(ctx);
  g->sampler = wn_sampler_ref(sampler);
  g->vocab = wn_model_vocab(wn_ctx_model(ctx));
  g->seq = o->seq;
  g->max_tokens = o->max_tokens;
  g->special = o->special;
  g->stats.n_prompt = (uint32_t)n;
  g->prompt = wn_alloc(WN_MEM_RUN, n * sizeof *prompt);
  uint32_t n_batch = wn_ctx_n_batch(ctx);
  g->seqs = wn_calloc(WN_MEM_RUN, n_batch, sizeof *g->seqs);
  g->want = wn_calloc(WN_MEM_RUN, n_batch, sizeof *g->want);
  if (!g->prompt || !g->seqs || !g->want || copy_stops(g, o) != WN_OK) {
    wn_gen_free(g);
    return no_memory(e);
  }
  memcpy(g->prompt, prompt, n * sizeof *prompt);
  for (size_t i = 0; i < n; i++)
    wn_sampler_accept(sampler, prompt[i]);
  *out = g;
  return WN_OK;
}

void wn_gen_free(wn_gen *g) {
  if (g == NULL) return;
  for (size_t i = 0; i < g->n_stops; i++)
    wn_free(g->stops[i].p);
  wn_free(g->stops);
  wn_free(g->held.p);
  wn_free(g->ready.p);
  wn_free(g->taken.p);
  wn_free(g->prompt);
  wn_free(g->seqs);
  wn_free(g->want);
  wn_free(g->ids);
  wn_sampler_unref(g->sampler);
  wn_ctx_unref(g->ctx);
  wn_free(g);
}

/* ---- text */

/* Position of `s` in held text, or -1. */
static ptrdiff_t find(const bytes *text, const bytes *s) {
  if (s->n == 0 || s->n > text->n) return -1;
  for (size_t i = 0; i + s->n <= text->n; i++)
    if (memcmp(text->p + i, s->p, s->n) == 0) return (ptrdiff_t)i;
  return -1;
}

/* Length of the longest end of the text that begins a stop string. */
static size_t partial_stop(const wn_gen *g) {
  size_t longest = 0;
  for (size_t i = 0; i < g->n_stops; i++) {
    const bytes *s = &g->stops[i];
    size_t n = s->n < g->held.n + 1 ? s->n : g->held.n + 1;
    for (size_t k = n; k-- > longest + 1;)
      if (memcmp(g->held.p + g->held.n - k, s->p, k) == 0) {
        longest = k;
        break;
      }
  }
  return longest;
}

static int release(wn_gen *g, size_t n, wn_err *e) {
  if (!append(&g->ready, g->held.p, n)) return no_memory(e);
  if (n > 0) memmove(g->held.p, g->held.p + n, g->held.n - n);
  g->held.n -= n;
  return WN_OK;
}

/* The first stop string in the held text ends it there; otherwise all but
 * what may still become one, or is half a character, is released. */
static int settle(wn_gen *g, wn_err *e) {
  ptrdiff_t at = -1;
  for (size_t i = 0; i < g->n_stops; i++) {
    ptrdiff_t p = find(&g->held, &g->stops[i]);
    if (p >= 0 && (at < 0 || p < at)) at = p;
  }
  if (at >= 0) {
    g->end = WN_GEN_STOP;
    return release(g, (size_t)at, e);
  }
  return release(g, wn_utf8_complete(g->held.p, g->held.n - partial_stop(g)),
                 e);
}

static int add_piece(wn_gen *g, int32_t id, wn_err *e) {
  if (g->vocab == NULL) return WN_OK;
  size_t n = wn_vocab_piece(g->vocab, id, g->special, NULL, 0);
  if (!grow(&g->held, n)) return no_memory(e);
  wn_vocab_piece(g->vocab, id, g->special, g->held.p + g->held.n, n);
  g->held.n += n;
  return settle(g, e);
}

static int end_with(wn_gen *g, wn_gen_end end, wn_err *e) {
  g->end = end;
  return release(g, g->held.n, e);
}

/* ---- steps */

static int add_id(wn_gen *g, int32_t id, wn_err *e) {
  if (g->n_ids == g->cap_ids) {
    size_t cap = g->cap_ids * 2 + 64;
    int32_t *p = wn_realloc(WN_MEM_RUN, g->ids, cap * sizeof *p);
    if (p == NULL) return no_memory(e);
    g->ids = p;
    g->cap_ids = cap;
  }
  g->ids[g->n_ids++] = id;
  g->stats.n_tokens++;
  return WN_OK;
}

/* Appends n <= n_batch tokens to the sequence; logits only after the last,
 * and only when `last` says so. The two arrays that a step takes hold one
 * value for every token here. */
static int feed(wn_gen *g, const int32_t *ids, uint32_t n, bool last,
                wn_err *e) {
  for (uint32_t i = 0; i < n; i++) {
    g->seqs[i] = g->seq;
    g->want[i] = last && i + 1 == n;
  }
  return wn_ctx_step(g->ctx, ids, g->seqs, g->want, n, e);
}

static int step_prompt(wn_gen *g, wn_err *e) {
  uint32_t done = g->stats.n_prompt_done, left = g->stats.n_prompt - done;
  uint32_t n = left < wn_ctx_n_batch(g->ctx) ? left : wn_ctx_n_batch(g->ctx);
  double t0 = now_seconds();
  int rc = feed(g, g->prompt + done, n, n == left, e);
  g->stats.prompt_seconds += now_seconds() - t0;
  if (rc == WN_OK) g->stats.n_prompt_done += n;
  return rc;
}

/* Chooses from the logits at hand; then, unless that ended the text,
 * evaluates the choice so that the next step has logits. */
static int step_token(wn_gen *g, wn_err *e) {
  int32_t id;
  size_t n_rows;
  double t0 = now_seconds();
  int rc =
      wn_sampler_pick(g->sampler, wn_ctx_logits(g->ctx, 0, &n_rows), &id, e);
  if (rc != WN_OK) return rc;
  rc = wn_sampler_take(g->sampler, id, e);
  if (rc != WN_OK) return rc;
  if (g->vocab != NULL && wn_vocab_is_eog(g->vocab, id))
    return end_with(g, WN_GEN_EOG, e);
  rc = add_id(g, id, e);
  if (rc == WN_OK) rc = add_piece(g, id, e);
  if (rc != WN_OK || g->end != WN_GEN_RUNNING) return rc;
  if (g->max_tokens != 0 && g->stats.n_tokens >= g->max_tokens)
    return end_with(g, WN_GEN_LENGTH, e);
  if (wn_ctx_n_past(g->ctx, g->seq) >= wn_ctx_n_ctx(g->ctx))
    return end_with(g, WN_GEN_CONTEXT, e);
  rc = feed(g, &id, 1, true, e);
  g->stats.token_seconds += now_seconds() - t0;
  return rc;
}

bool wn_gen_enter(wn_gen *g) {
  if (!wn_ctx_begin(g->ctx)) return false;
  if (wn_sampler_begin(g->sampler)) return true;
  wn_ctx_end(g->ctx);
  return false;
}

void wn_gen_leave(wn_gen *g) {
  wn_sampler_end(g->sampler);
  wn_ctx_end(g->ctx);
}

int wn_gen_step(wn_gen *g, wn_err *e) {
  if (g->end != WN_GEN_RUNNING) return WN_OK;
  int rc = g->stats.n_prompt_done < g->stats.n_prompt ? step_prompt(g, e)
                                                      : step_token(g, e);
  if (rc != WN_OK) g->end = WN_GEN_STOP;
  return rc;
}

wn_gen_end wn_gen_ended(const wn_gen *g) {
  return g->end;
}

const char *wn_gen_end_name(wn_gen_end end) {
  static const char *const names[] = {"running", "eog", "stop", "length",
                                      "context"};
  return (unsigned)end <= WN_GEN_CONTEXT ? names[end] : "?";
}

size_t wn_gen_take(wn_gen *g, const char **text) {
  bytes t = g->taken;
  g->taken = g->ready;
  g->ready = t;
  g->ready.n = 0;
  *text = g->taken.p;
  return g->taken.n;
}

void wn_gen_get_stats(const wn_gen *g, wn_gen_stats *s) {
  *s = g->stats;
}

const int32_t *wn_gen_ids(const wn_gen *g, size_t *n) {
  *n = g->n_ids;
  return g->ids;
}
