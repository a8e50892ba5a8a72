/* sample.c - see sample.h: the chain and its life.
 *
 * Candidates are a field at first - all logits, by id, with their peaks - and
 * become a list by the first stage that needs one. A grammar that allows few
 * tokens begins with a list. Penalties that come first are made in a copy of
 * the logits. */
#include "run/sample.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "constrain/ban.h"
#include "kern/vec.h"
#include "run/best.h"
#include "run/dry.h"

typedef struct bias {
  int32_t id;
  float add;
} bias;

typedef struct stage {
  wn_pick_kind kind;
  int place; /* in the list that was asked for */
} stage;

typedef enum phase { IDLE, FIELD, LIST, WITH_HOST } phase;

struct wn_sampler {
  atomic_int refs;
  atomic_flag inside; /* somebody works with it */
  wn_sample_opts o;
  wn_vocab *vocab;
  uint32_t n_vocab;
  stage stages[WN_MAX_PICKS]; /* those that do something; the chooser apart */
  size_t n_stages;
  wn_pick_kind chooser; /* adaptive-p, mirostat, or WN_PICK_HOST: a draw */
  bool has_host;
  wn_rng draw_rng, xtc_rng;
  wn_adaptive adaptive;
  wn_mirostat mirostat;
  /* the choice in hand */
  phase phase;
  size_t at; /* the next stage */
  wn_field field;
  float top;
  wn_cands c;
  float *changed, *peaks; /* n_vocab: changed logits; peaks (best.h) */
  wn_cand *best;          /* n_vocab: scratch */
  /* what came before */
  uint32_t *counts; /* n_vocab: occurrences among the recent tokens */
  int32_t *recent;  /* ring of repeat_last_n */
  uint32_t n_recent, recent_at;
  bias *biases;
  uint32_t n_biases, cap_biases;
  wn_dry *dry;
  wn_match *match;
  wn_ban *ban;
};

/* ---- life */

static int check_opts(const wn_sample_opts *o, wn_err *e) {
  const char *bad = NULL;
  if (!isfinite(o->temperature)) bad = "temperature";
  if (!(o->dynatemp_range >= 0)) bad = "dynatemp_range (want 0 or more)";
  if (!isfinite(o->dynatemp_exponent)) bad = "dynatemp_exponent";
  if (!(o->top_p >= 0 && o->top_p <= 1)) bad = "top_p (want 0 to 1)";
  if (!(o->min_p >= 0 && o->min_p <= 1)) bad = "min_p (want 0 to 1)";
  if (!(o->typical_p >= 0 && o->typical_p <= 1))
    bad = "typical_p (want 0 to 1)";
  if (!isfinite(o->top_n_sigma)) bad = "top_n_sigma";
  if (!isfinite(o->xtc_probability)) bad = "xtc_probability";
  if (!isfinite(o->xtc_threshold)) bad = "xtc_threshold";
  if (!isfinite(o->adaptive_target)) bad = "adaptive_target";
  if (!isfinite(o->adaptive_decay)) bad = "adaptive_decay";
  if (!isfinite(o->mirostat_tau)) bad = "mirostat_tau";
  if (!isfinite(o->mirostat_eta)) bad = "mirostat_eta";
  if (!(o->repeat_penalty > 0) || !isfinite(o->repeat_penalty))
    bad = "repeat_penalty (want above 0)";
  if (!isfinite(o->frequency_penalty)) bad = "frequency_penalty";
  if (!isfinite(o->presence_penalty)) bad = "presence_penalty";
  if (!isfinite(o->dry_multiplier)) bad = "dry_multiplier";
  if (!isfinite(o->dry_base)) bad = "dry_base";
  if (o->repeat_last_n > 1u << 20) bad = "repeat_last_n (at most 2^20)";
  if (o->dry_last_n > 1u << 20) bad = "dry_last_n (at most 2^20)";
  if (o->n_stages > WN_MAX_PICKS) bad = "sampler (at most 32 stages)";
  return bad == NULL ? WN_OK : wn_fail(e, WN_EARG, "sampler: bad %s", bad);
}

static bool has_penalties(const wn_sample_opts *o) {
  return o->repeat_last_n > 0 &&
         (o->repeat_penalty != 1 || o->frequency_penalty != 0 ||
          o->presence_penalty != 0);
}

static bool has_dry(const wn_sample_opts *o) {
  return o->dry_multiplier != 0 && o->dry_base >= 1 && o->dry_last_n > 0;
}

/* Does the stage do anything with these options? */
static bool is_active(const wn_sample_opts *o, wn_pick_kind k) {
  switch (k) {
    case WN_PICK_PENALTIES:
      return has_penalties(o);
    case WN_PICK_DRY:
      return has_dry(o);
    case WN_PICK_TOP_N_SIGMA:
      return o->top_n_sigma > 0;
    case WN_PICK_TOP_K:
      return o->top_k > 0;
    case WN_PICK_TYPICAL:
      return o->typical_p < 1;
    case WN_PICK_TOP_P:
      return o->top_p < 1;
    case WN_PICK_MIN_P:
      return o->min_p > 0;
    case WN_PICK_XTC:
      return o->xtc_probability > 0 && o->xtc_threshold <= 0.5f;
    case WN_PICK_TEMPERATURE:
      return o->temperature != 1 || o->dynatemp_range > 0;
    default:
      return true;
  }
}

/* The chain of the options: active stages in order, the chooser apart. */
static void set_stages(wn_sampler *s) {
  static const wn_pick_kind usual[] = {
      WN_PICK_PENALTIES, WN_PICK_DRY,     WN_PICK_TOP_N_SIGMA,
      WN_PICK_TOP_K,     WN_PICK_TYPICAL, WN_PICK_TOP_P,
      WN_PICK_MIN_P,     WN_PICK_XTC,     WN_PICK_TEMPERATURE};
  const wn_pick_kind *list = s->o.stages != NULL ? s->o.stages : usual;
  size_t n = s->o.stages != NULL ? s->o.n_stages : sizeof usual / sizeof *usual;
  s->chooser = WN_PICK_HOST;
  for (size_t i = 0; i < n; i++) {
    wn_pick_kind k = list[i];
    if (k == WN_PICK_ADAPTIVE_P || k == WN_PICK_MIROSTAT ||
        k == WN_PICK_MIROSTAT_V2)
      s->chooser = k;
    else if (is_active(&s->o, k))
      s->stages[s->n_stages++] = (stage){k, (int)i};
    s->has_host |= k == WN_PICK_HOST;
  }
}

static size_t n_peaks(const wn_sampler *s) {
  size_t groups = ((size_t)s->n_vocab + WN_PEAK_GROUP - 1) / WN_PEAK_GROUP;
  return groups * WN_PEAK_LANES;
}

static bool allocate(wn_sampler *s) {
  uint32_t n = s->n_vocab;
  s->changed = wn_calloc(WN_MEM_RUN, n, sizeof *s->changed);
  s->peaks = wn_calloc(WN_MEM_RUN, n_peaks(s), sizeof *s->peaks);
  s->best = wn_calloc(WN_MEM_RUN, n, sizeof *s->best);
  s->c.d = wn_calloc(WN_MEM_RUN, n, sizeof *s->c.d);
  s->c.spare = wn_calloc(WN_MEM_RUN, n, sizeof *s->c.spare);
  s->c.more = wn_calloc(WN_MEM_RUN, n, sizeof *s->c.more);
  s->counts = wn_calloc(WN_MEM_RUN, n, sizeof *s->counts);
  s->recent = wn_calloc(WN_MEM_RUN, s->o.repeat_last_n, sizeof *s->recent);
  return s->changed && s->peaks && s->best && s->c.d && s->c.spare &&
         s->c.more && s->counts && s->recent;
}

static int make_dry(wn_sampler *s, wn_err *e) {
  wn_dry_opts d = {.multiplier = s->o.dry_multiplier,
                   .base = s->o.dry_base,
                   .allowed = (int32_t)s->o.dry_allowed_length,
                   .last_n = s->o.dry_last_n,
                   .breakers = s->o.dry_breakers,
                   .n_breakers = s->o.n_dry_breakers};
  if (!has_dry(&s->o)) return WN_OK;
  return wn_dry_new(&d, s->vocab, s->n_vocab, &s->dry, e);
}

static int ban_ends(wn_sampler *s, wn_err *e) {
  int rc = WN_OK;
  if (!s->o.ignore_eos || s->vocab == NULL) return WN_OK;
  for (uint32_t id = 0; rc == WN_OK && id < wn_vocab_size(s->vocab); id++)
    if (id < s->n_vocab && wn_vocab_is_eog(s->vocab, (int32_t)id))
      rc = wn_sampler_bias(s, (int32_t)id, -INFINITY, e);
  return rc;
}

int wn_sampler_new(const wn_sample_opts *o, uint32_t n_vocab, wn_sampler **out,
                   wn_err *e) {
  *out = NULL;
  int rc = check_opts(o, e);
  if (rc != WN_OK) return rc;
  if (n_vocab == 0) return wn_fail(e, WN_EARG, "sampler: no vocabulary");
  wn_sampler *s = wn_calloc(WN_MEM_RUN, 1, sizeof *s);
  if (s == NULL) return wn_fail(e, WN_ENOMEM, "sampler: out of memory");
  atomic_init(&s->refs, 1);
  s->o = *o;
  s->n_vocab = n_vocab;
  if (o->vocab != NULL)
    s->vocab = wn_vocab_ref((wn_vocab *)(uintptr_t)o->vocab);
  wn_rng_seed(&s->draw_rng, o->seed);
  wn_rng_seed(&s->xtc_rng, o->seed);
  wn_adaptive_init(&s->adaptive, o->adaptive_target, o->adaptive_decay);
  s->mirostat =
      (wn_mirostat){o->mirostat_tau, o->mirostat_eta, 2 * o->mirostat_tau};
  set_stages(s);
  rc = allocate(s) ? make_dry(s, e)
                   : wn_fail(e, WN_ENOMEM, "sampler: out of memory");
  if (rc == WN_OK) rc = ban_ends(s, e);
  s->o.stages = NULL; /* not ours */
  s->o.dry_breakers = NULL;
  if (rc != WN_OK)
    wn_sampler_unref(s);
  else
    *out = s;
  return rc;
}

wn_sampler *wn_sampler_ref(wn_sampler *s) {
  atomic_fetch_add(&s->refs, 1);
  return s;
}

void wn_sampler_unref(wn_sampler *s) {
  if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1) return;
  wn_free(s->changed);
  wn_free(s->peaks);
  wn_free(s->best);
  wn_free(s->c.d);
  wn_free(s->c.spare);
  wn_free(s->c.more);
  wn_free(s->counts);
  wn_free(s->recent);
  wn_free(s->biases);
  wn_dry_free(s->dry);
  wn_match_free(s->match);
  wn_ban_free(s->ban);
  if (s->vocab != NULL) wn_vocab_unref(s->vocab);
  wn_free(s);
}

uint32_t wn_sampler_n_vocab(const wn_sampler *s) {
  return s->n_vocab;
}

bool wn_sampler_has_host(const wn_sampler *s) {
  return s->has_host;
}

bool wn_sampler_begin(wn_sampler *s) {
  return !atomic_flag_test_and_set(&s->inside);
}

void wn_sampler_end(wn_sampler *s) {
  atomic_flag_clear(&s->inside);
}

int wn_sampler_bias(wn_sampler *s, int32_t id, float add, wn_err *e) {
  if (id < 0 || (uint32_t)id >= s->n_vocab)
    return wn_fail(e, WN_EARG, "logit bias: token %d is not in 0..%u", id,
                   s->n_vocab - 1);
  if (isnan(add) || add > 3e38f)
    return wn_fail(e, WN_EARG, "logit bias: want a number or -inf");
  if (s->n_biases == s->cap_biases) {
    uint32_t cap = s->cap_biases * 2 + 16;
    bias *b = wn_realloc(WN_MEM_RUN, s->biases, cap * sizeof *b);
    if (b == NULL) return wn_fail(e, WN_ENOMEM, "sampler: out of memory");
    s->biases = b;
    s->cap_biases = cap;
  }
  s->biases[s->n_biases++] = (bias){id, add};
  return WN_OK;
}

void wn_sampler_constrain(wn_sampler *s, wn_match *m) {
  wn_match_free(s->match);
  s->match = m;
}

int wn_sampler_ban(wn_sampler *s, wn_tokens *t, const wn_str *list, size_t n,
                   wn_err *e) {
  wn_ban *b = NULL;
  int rc = n > 0 ? wn_ban_new(t, list, n, &b, e) : WN_OK;
  if (rc != WN_OK) return rc;
  wn_ban_free(s->ban);
  s->ban = b;
  return WN_OK;
}

/* ---- what came before */

void wn_sampler_accept(wn_sampler *s, int32_t id) {
  uint32_t cap = s->o.repeat_last_n;
  if (id < 0 || (uint32_t)id >= s->n_vocab) return;
  if (s->dry != NULL) wn_dry_accept(s->dry, id);
  if (cap == 0) return;
  if (s->n_recent == cap)
    s->counts[s->recent[s->recent_at]]--; /* the oldest leaves the window */
  else
    s->n_recent++;
  s->recent[s->recent_at] = id;
  s->counts[id]++;
  s->recent_at = (s->recent_at + 1) % cap;
}

int wn_sampler_take(wn_sampler *s, int32_t id, wn_err *e) {
  int rc = s->match != NULL ? wn_match_accept(s->match, id, e) : WN_OK;
  if (rc != WN_OK) return rc;
  wn_sampler_accept(s, id);
  wn_adaptive_accept(&s->adaptive, id);
  if (s->ban != NULL) wn_ban_accept(s->ban, id);
  return WN_OK;
}

bool wn_sampler_complete(wn_sampler *s) {
  return s->match != NULL && wn_match_complete(s->match);
}

int wn_sampler_forced(wn_sampler *s, int32_t *ids, uint32_t cap, uint32_t *n,
                      wn_err *e) {
  *n = 0;
  if (s->match == NULL || s->ban != NULL) return WN_OK;
  return wn_match_forced_tokens(s->match, ids, cap, n, e);
}

/* ---- penalties, on a logit; the same for fields and lists */

/* As llama.cpp defines them: a positive logit is divided by the repeat
 * penalty, another multiplied; then count * frequency + presence is taken
 * off. */
static float penalised(const wn_sampler *s, float logit, uint32_t count) {
  const wn_sample_opts *o = &s->o;
  logit = logit <= 0 ? logit * o->repeat_penalty : logit / o->repeat_penalty;
  return logit - ((float)count * o->frequency_penalty + o->presence_penalty);
}

/* Each token of the window once: its count is marked meanwhile. */
static void penalise_field(wn_sampler *s) {
  const uint32_t done = 1u << 31;
  for (uint32_t i = 0; i < s->n_recent; i++) {
    int32_t id = s->recent[i];
    if ((s->counts[id] & done) != 0) continue;
    s->changed[id] = penalised(s, s->changed[id], s->counts[id]);
    s->counts[id] |= done;
  }
  for (uint32_t i = 0; i < s->n_recent; i++)
    s->counts[s->recent[i]] &= ~done;
}

static void dry_field(wn_sampler *s) {
  const int32_t *ids;
  uint32_t n = wn_dry_find(s->dry, &ids);
  for (uint32_t i = 0; i < n; i++)
    s->changed[ids[i]] -= wn_dry_penalty(s->dry, ids[i]);
}

static void penalise_list(wn_sampler *s) {
  for (uint32_t i = 0; i < s->c.n; i++) {
    wn_tok *t = &s->c.d[i];
    if (s->counts[t->id] > 0)
      t->logit = penalised(s, t->logit, s->counts[t->id]);
  }
  s->c.sorted = false;
}

static void dry_list(wn_sampler *s) {
  const int32_t *ids;
  if (wn_dry_find(s->dry, &ids) > 0)
    for (uint32_t i = 0; i < s->c.n; i++)
      s->c.d[i].logit -= wn_dry_penalty(s->dry, s->c.d[i].id);
  s->c.sorted = false;
}

/* ---- the start of a choice */

static int no_tokens(wn_err *e) {
  return wn_fail(e, WN_EDATA,
                 "no token is allowed: the grammar, the banned strings and "
                 "the biases leave none");
}

/* No choice is defined among logits with a NaN or +inf, or with nothing above
 * -inf. */
static int no_choice(const wn_sampler *s, const float *l, wn_err *e) {
  for (uint32_t i = 0; i < s->n_vocab; i++)
    if (!(l[i] <= FLT_MAX))
      return wn_fail(e, WN_EDATA, "non-finite logits: token %u has %s", i,
                     isnan(l[i]) ? "nan" : "inf");
  if (s->match != NULL || s->ban != NULL || s->n_biases > 0)
    return no_tokens(e);
  return wn_fail(e, WN_EDATA, "non-finite logits: every token has -inf");
}

/* Finds the peaks of the field and their greatest. Fails as no_choice says. */
static int find_top(wn_sampler *s, wn_err *e) {
  const float *l = s->field.logits;
  wn_vec_get()->peaks(l, s->n_vocab, s->peaks);
  s->top = -INFINITY;
  for (size_t i = 0, n = n_peaks(s); i < n; i++) {
    if (!(s->peaks[i] <= FLT_MAX)) return no_choice(s, l, e);
    if (s->peaks[i] > s->top) s->top = s->peaks[i];
  }
  return s->top == -INFINITY ? no_choice(s, l, e) : WN_OK;
}

/* -inf for what the mask does not hold. */
static void mask_field(wn_sampler *s, const wn_mask *m, uint32_t n_mask) {
  for (uint32_t first = 0; first < s->n_vocab; first += 64) {
    uint32_t n = s->n_vocab - first < 64 ? s->n_vocab - first : 64;
    uint64_t word = first < n_mask ? m->bits[first / 64] : 0;
    if (word == UINT64_MAX) continue;
    for (uint32_t i = 0; i < n; i++)
      if ((word >> i & 1) == 0) s->changed[first + i] = -INFINITY;
  }
}

/* The few tokens of a mask, as a list. */
static int list_mask(wn_sampler *s, const float *logits, const wn_mask *m,
                     wn_err *e) {
  s->phase = LIST;
  s->c.n = 0;
  s->c.sorted = false;
  for (uint32_t i = 0; i < m->n; i++) {
    int32_t id = m->ids[i];
    if ((uint32_t)id >= s->n_vocab) continue;
    if (!(logits[id] <= FLT_MAX)) return no_choice(s, logits, e);
    s->changed[id] = logits[id];
    s->c.d[s->c.n++] = (wn_tok){.id = id};
  }
  return WN_OK;
}

/* Biases and bans, in `changed`. */
static int change(wn_sampler *s, wn_err *e) {
  const int32_t *ids;
  uint32_t n = 0;
  for (uint32_t i = 0; i < s->n_biases; i++)
    s->changed[s->biases[i].id] += s->biases[i].add;
  int rc = s->ban != NULL ? wn_ban_now(s->ban, &ids, &n, e) : WN_OK;
  for (uint32_t i = 0; i < n; i++)
    if ((uint32_t)ids[i] < s->n_vocab) s->changed[ids[i]] = -INFINITY;
  return rc;
}

/* A list's logits after biases and bans; drops what cannot be chosen. */
static int finish_list(wn_sampler *s, wn_err *e) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < s->c.n; i++) {
    wn_tok t = s->c.d[i];
    t.logit = s->changed[t.id];
    if (t.logit > -INFINITY) s->c.d[n++] = t;
  }
  s->c.n = n;
  return n > 0 ? WN_OK : no_tokens(e);
}

/* The penalties that come first change the field. */
static void first_penalties(wn_sampler *s) {
  for (; s->at < s->n_stages; s->at++) {
    if (s->stages[s->at].kind == WN_PICK_PENALTIES)
      penalise_field(s);
    else if (s->stages[s->at].kind == WN_PICK_DRY)
      dry_field(s);
    else
      return;
  }
}

static bool begins_with_penalty(const wn_sampler *s) {
  return s->n_stages > 0 && (s->stages[0].kind == WN_PICK_PENALTIES ||
                             s->stages[0].kind == WN_PICK_DRY);
}

int wn_sampler_start(wn_sampler *s, const float *logits, wn_err *e) {
  const wn_mask *mask = NULL;
  s->at = 0;
  s->phase = IDLE;
  int rc = s->match != NULL ? wn_match_mask(s->match, &mask, e) : WN_OK;
  if (rc != WN_OK) return rc;
  if (mask != NULL && mask->ids != NULL) {
    rc = list_mask(s, logits, mask, e);
    if (rc == WN_OK) rc = change(s, e);
    return rc == WN_OK ? finish_list(s, e) : rc;
  }
  s->phase = FIELD;
  s->field = (wn_field){logits, s->peaks, s->n_vocab};
  if (mask != NULL || s->n_biases > 0 || s->ban != NULL || s->has_host ||
      begins_with_penalty(s)) {
    memcpy(s->changed, logits, s->n_vocab * sizeof *logits);
    s->field.logits = s->changed;
    rc = change(s, e);
    if (rc == WN_OK && mask != NULL)
      mask_field(s, mask, wn_match_tokens(s->match)->n_vocab);
    first_penalties(s);
  }
  return rc == WN_OK ? find_top(s, e) : rc;
}

/* ---- stages on a field */

static void list_best(wn_sampler *s, uint32_t n, bool sorted) {
  for (uint32_t i = 0; i < n; i++)
    s->c.d[i] = (wn_tok){s->best[i].id, s->best[i].logit, 0};
  s->c.n = n;
  s->c.sorted = sorted;
  s->phase = LIST;
}

static void list_all(wn_sampler *s) {
  uint32_t n = 0; /* -inf cannot be chosen, and is nobody's candidate */
  for (uint32_t i = 0; i < s->n_vocab; i++) {
    s->c.d[n] = (wn_tok){(int32_t)i, s->field.logits[i], 0};
    n += s->field.logits[i] > -INFINITY;
  }
  s->c.n = n;
  s->c.sorted = false;
  s->phase = LIST;
}

/* The best, in growing numbers, until they have the mass. */
static void field_top_p(wn_sampler *s) {
  float sum = 0;
  for (uint32_t i = 0; i < s->n_vocab; i++)
    sum += expf(s->field.logits[i] - s->top);
  for (uint32_t k = 256; k < s->n_vocab; k *= 16) {
    float mass = 0;
    wn_best_k(&s->field, k, s->best);
    for (uint32_t i = 0; i < k; i++) {
      mass += expf(s->best[i].logit - s->top) / sum;
      if (mass < s->o.top_p || i + 1 < s->o.min_keep) continue;
      list_best(s, i + 1, true);
      return;
    }
  }
  list_all(s);
  wn_stage_top_p(&s->c, s->o.top_p, s->o.min_keep);
}

static void field_min_p(wn_sampler *s) {
  uint32_t n = wn_gather(&s->field, s->top + logf(s->o.min_p), s->best);
  if (n > 0 && n >= s->o.min_keep) {
    list_best(s, n, false);
    return;
  }
  list_all(s);
  wn_stage_min_p(&s->c, s->o.min_p, s->o.min_keep);
}

/* Stages that can only drop others than the best. */
static bool keeps_best(wn_pick_kind k) {
  return k == WN_PICK_TOP_K || k == WN_PICK_TOP_P || k == WN_PICK_MIN_P;
}

/* Is what comes a choice of the best, whatever else? */
static bool is_greedy(const wn_sampler *s) {
  size_t i = s->at;
  while (i < s->n_stages && keeps_best(s->stages[i].kind))
    i++;
  return i + 1 == s->n_stages && s->stages[i].kind == WN_PICK_TEMPERATURE &&
         s->o.temperature <= 0 && s->o.dynatemp_range <= 0;
}

/* A stage on the field; false: it needs a list. */
static bool run_field(wn_sampler *s) {
  if (is_greedy(s)) {
    s->best[0] = (wn_cand){s->top, wn_first_best(&s->field, s->top)};
    list_best(s, 1, true);
    s->at = s->n_stages - 1;
    return true;
  }
  switch (s->stages[s->at].kind) {
    case WN_PICK_TOP_K:
      if (s->o.top_k >= s->n_vocab) return false;
      wn_best_k(&s->field, s->o.top_k, s->best);
      list_best(s, s->o.top_k, true);
      while (s->c.n > 1 && s->c.d[s->c.n - 1].logit == -INFINITY)
        s->c.n--;
      return true;
    case WN_PICK_TOP_P:
      field_top_p(s);
      return true;
    case WN_PICK_MIN_P:
      field_min_p(s);
      return true;
    default:
      return false;
  }
}

/* ---- stages on a list */

static int run_list(wn_sampler *s, wn_err *e) {
  const wn_sample_opts *o = &s->o;
  wn_cands *c = &s->c;
  switch (s->stages[s->at].kind) {
    case WN_PICK_PENALTIES:
      penalise_list(s);
      break;
    case WN_PICK_DRY:
      dry_list(s);
      break;
    case WN_PICK_TOP_N_SIGMA:
      wn_stage_top_n_sigma(c, o->top_n_sigma);
      break;
    case WN_PICK_TOP_K:
      wn_stage_top_k(c, o->top_k);
      break;
    case WN_PICK_TYPICAL:
      wn_stage_typical(c, o->typical_p, o->min_keep);
      break;
    case WN_PICK_TOP_P:
      wn_stage_top_p(c, o->top_p, o->min_keep);
      break;
    case WN_PICK_MIN_P:
      wn_stage_min_p(c, o->min_p, o->min_keep);
      break;
    case WN_PICK_XTC:
      wn_stage_xtc(c, o->xtc_probability, o->xtc_threshold, o->min_keep,
                   &s->xtc_rng);
      break;
    case WN_PICK_TEMPERATURE:
      wn_stage_temperature(c, o->temperature, o->dynatemp_range,
                           o->dynatemp_exponent);
      break;
    case WN_PICK_INFILL:
      if (s->vocab == NULL)
        return wn_fail(e, WN_EARG, "infill: the model has no vocabulary");
      return wn_stage_infill(c, s->vocab, e);
    default:
      break;
  }
  return WN_OK;
}

/* What the host left: a choice must be defined. */
static int check_host(wn_sampler *s, wn_err *e) {
  float top = -INFINITY;
  s->c.sorted = false;
  for (uint32_t i = 0; i < s->c.n; i++) {
    float l = s->c.d[i].logit;
    if (!(l <= FLT_MAX))
      return wn_fail(e, WN_EDATA, "sampler: a stage gave token %d the logit %s",
                     s->c.d[i].id, isnan(l) ? "nan" : "inf");
    if (l > top) top = l;
  }
  if (top > -INFINITY) return WN_OK;
  return wn_fail(e, WN_EDATA, "sampler: a stage left no candidate");
}

/* Runs stages until the end or the host's; *host as for resume. */
static int run_stages(wn_sampler *s, int *host, wn_err *e) {
  int rc = WN_OK;
  *host = -1;
  if (s->phase == WITH_HOST) {
    s->phase = LIST;
    s->at++;
    if ((rc = check_host(s, e)) != WN_OK) return rc;
  }
  for (; rc == WN_OK && s->at < s->n_stages; s->at++) {
    if (s->phase == FIELD && run_field(s)) continue;
    if (s->phase == FIELD) list_all(s);
    if (s->stages[s->at].kind == WN_PICK_HOST) {
      s->phase = WITH_HOST;
      *host = s->stages[s->at].place;
      return WN_OK;
    }
    rc = run_list(s, e);
  }
  if (rc == WN_OK && s->phase == FIELD) list_all(s);
  return rc;
}

static uint32_t choose(wn_sampler *s) {
  switch (s->chooser) {
    case WN_PICK_ADAPTIVE_P:
      return wn_choose_adaptive(&s->c, &s->adaptive, &s->draw_rng);
    case WN_PICK_MIROSTAT:
    case WN_PICK_MIROSTAT_V2:
      return wn_choose_mirostat(&s->c, &s->mirostat,
                                s->chooser == WN_PICK_MIROSTAT ? 1 : 2,
                                s->n_vocab, &s->draw_rng);
    default:
      return wn_choose(&s->c, &s->draw_rng);
  }
}

int wn_sampler_resume(wn_sampler *s, int *host, int32_t *id, wn_err *e) {
  *host = -1;
  if (s->phase == IDLE) return wn_fail(e, WN_EARG, "sampler: not started");
  int rc = run_stages(s, host, e);
  if (rc != WN_OK) s->phase = IDLE;
  if (rc != WN_OK || *host >= 0) return rc;
  s->phase = IDLE;
  *id = s->c.d[choose(s)].id;
  return WN_OK;
}

int wn_sampler_apply(wn_sampler *s, const float *logits, wn_err *e) {
  int host, rc = wn_sampler_start(s, logits, e);
  if (rc == WN_OK) rc = run_stages(s, &host, e);
  if (rc == WN_OK && host >= 0)
    rc = wn_fail(e, WN_EARG, "sampler: a stage belongs to the host");
  s->phase = IDLE;
  return rc;
}

int wn_sampler_pick(wn_sampler *s, const float *logits, int32_t *id,
                    wn_err *e) {
  int host, rc;
  if (s->has_host)
    return wn_fail(e, WN_EARG,
                   "sampler: a stage is a Lua function, which "
                   "only a pulled generation can run");
  rc = wn_sampler_start(s, logits, e);
  return rc == WN_OK ? wn_sampler_resume(s, &host, id, e) : rc;
}

bool wn_sampler_waits(const wn_sampler *s) {
  return s->phase == WITH_HOST;
}

wn_cands *wn_sampler_cands(wn_sampler *s) {
  return s->phase == WITH_HOST || s->phase == IDLE ? &s->c : NULL;
}
