/* closed.c - see closed.h.
 *
 * The set begins as all that the classes at the place hold. Places are reached
 * by it, from the first on, by one byte of each kind, in order of how many
 * characters lead there. Where few of it lead nowhere these leave the set, and
 * all begins anew; where most do - a length that is reached, a text that must
 * end - or where there is no room to go on, texts of so many characters, but
 * not more, are sure to lead on.
 *
 * Of characters above 127 one is tried that no class holds which does not hold
 * (almost) all of them: where it leads, any other leads, and perhaps to more
 * ways besides. */
#include "constrain/closed.h"

#include <string.h>

enum {
  NONE = UINT8_MAX,
  ROUNDS = 4,
  MIN_CHARS = 8,
  LONGER = 64, /* what those above 127 count beside those of ASCII */
  MAX_CONFIGS = 4096
};

static bool has(const uint64_t set[2], uint32_t c) {
  return (set[c / 64] >> (c % 64) & 1) != 0;
}

/* What the classes at a place hold; false where a character was begun. */
static bool gather(const wn_closed *c, wn_places *p, uint32_t place,
                   wn_charset *s) {
  const wn_gplace *x = wn_places_at(p, place);
  const wn_config *q = wn_places_configs(p, place);
  *s = (wn_charset){0};
  for (uint32_t i = 0; i < x->n; i++) {
    const wn_gstate *state = &c->g->state[q[i].state];
    if (q[i].part != 0) return false;
    if (state->op != WN_OP_CLASS) continue;
    const wn_gclass *k = &c->g->tree.class_[state->a];
    s->ascii[0] |= k->ascii[0];
    s->ascii[1] |= k->ascii[1];
    s->longer |= k->most;
    s->odd |= k->all;
  }
  return true;
}

static bool holds(const wn_grammar *g, const wn_gclass *k, uint32_t c) {
  for (uint32_t i = k->first; i < k->first + k->n; i++)
    if (g->tree.range[i].low <= c && c <= g->tree.range[i].high) return true;
  return false;
}

/* Where a character above 127 leads, at least: nowhere where that cannot be
 * told. With `odd` also the odd ones lead there. */
static int step_longer(wn_closed *c, wn_places *p, uint32_t from, bool odd,
                       uint32_t *to, wn_err *e) {
  static const uint32_t tries[] = {0x4E2D, 0x10FFFD, 0xE9};
  const wn_gplace *x = wn_places_at(p, from);
  const wn_config *q = wn_places_configs(p, from);
  for (size_t t = 0; t < sizeof tries / sizeof *tries; t++) {
    bool even = true;
    uint32_t ch = tries[t];
    for (uint32_t i = 0; i < x->n && even; i++) {
      const wn_gstate *state = &c->g->state[q[i].state];
      if (state->op == WN_OP_BYTE) even = state->a < 128;
      if (state->op != WN_OP_CLASS) continue;
      const wn_gclass *k = &c->g->tree.class_[state->a];
      even = (odd ? k->all : k->most) || !holds(c->g, k, ch);
    }
    if (!even) continue;
    uint8_t b[4];
    int n = ch < 0x800 ? 2 : ch < 0x10000 ? 3 : 4, rc = WN_OK;
    for (int i = n - 1; i > 0; i--, ch >>= 6)
      b[i] = (uint8_t)(0x80 | (ch & 0x3F));
    b[0] = (uint8_t)((0xF00u >> n & 0xF0u) | ch);
    *to = from;
    for (int i = 0; i < n && rc == WN_OK && *to != WN_PLACE_NONE; i++)
      rc = wn_places_step(p, *to, b[i], to, e);
    return rc;
  }
  *to = WN_PLACE_NONE;
  return WN_OK;
}

/* Puts a place on the list, n characters away; false where it is full. */
static bool reach(wn_closed *c, uint32_t place, uint32_t n) {
  for (uint32_t i = 0; i < c->n_list; i++)
    if (c->list[i] == place) return true;
  if (c->n_list == WN_CLOSED_PLACES) return false;
  c->away[c->n_list] = n;
  c->list[c->n_list++] = place;
  return true;
}

/* Follows the set from place i of the list: those that lead on are left in *s.
 * Clears *all where the list is full. */
static int follow(wn_closed *c, wn_places *p, uint32_t i, wn_charset *s,
                  bool *all, wn_err *e) {
  uint32_t to, from = c->list[i], n = c->away[i] + 1;
  bool seen[256] = {false};
  for (uint32_t b = 0; b < 128; b++) {
    uint8_t k = c->g->kind_of[b];
    if (!has(s->ascii, b)) continue;
    int rc = wn_places_step(p, from, (uint8_t)b, &to, e);
    if (rc != WN_OK) return rc;
    if (to == WN_PLACE_NONE)
      s->ascii[b / 64] &= ~((uint64_t)1 << (b % 64));
    else if (!seen[k])
      *all &= reach(c, to, n);
    seen[k] = true;
  }
  if (!s->longer) return WN_OK;
  int rc = step_longer(c, p, from, s->odd, &to, e);
  if (rc == WN_OK && to == WN_PLACE_NONE && s->odd) {
    s->odd = false;
    rc = step_longer(c, p, from, false, &to, e);
  }
  if (rc != WN_OK) return rc;
  if (to == WN_PLACE_NONE)
    s->longer = s->odd = false;
  else
    *all &= reach(c, to, n);
  return WN_OK;
}

static int weight(const wn_charset *s) {
  return __builtin_popcountll(s->ascii[0]) + __builtin_popcountll(s->ascii[1]) +
         (s->longer ? LONGER : 0);
}

static bool same(const wn_charset *a, const wn_charset *b) {
  return memcmp(a->ascii, b->ascii, sizeof a->ascii) == 0 &&
         a->longer == b->longer && a->odd == b->odd;
}

/* Reaches places from the first of the list on. *room: texts of so many
 * characters of *s lead on, if it is as it was. */
static int explore(wn_closed *c, wn_places *p, wn_charset *s, uint32_t *room,
                   wn_err *e) {
  uint64_t configs = 0;
  *room = WN_G_MANY;
  for (uint32_t i = 0; i < c->n_list && c->away[i] < *room; i++) {
    wn_charset left = *s;
    bool all = true;
    configs += wn_places_at(p, c->list[i])->n;
    if (configs > MAX_CONFIGS) {
      *room = c->away[i];
      return WN_OK;
    }
    int rc = follow(c, p, i, &left, &all, e);
    if (rc != WN_OK) return rc;
    if (!all && c->away[i] + 1 < *room) *room = c->away[i] + 1;
    if (i > 0 && 2 * weight(&left) < weight(s))
      *room = c->away[i];
    else
      *s = left;
  }
  return WN_OK;
}

/* The number of a set; NONE where there are too many. */
static uint8_t number_of(wn_closed *c, const wn_charset *s) {
  uint32_t i = 0;
  while (i < c->n_sets && !same(&c->set[i], s))
    i++;
  if (i == WN_CLOSED_SETS) return NONE;
  if (i == c->n_sets) c->set[c->n_sets++] = *s;
  return (uint8_t)(i + 1);
}

static void note(wn_closed *c, wn_places *p, uint8_t number, uint32_t room) {
  for (uint32_t i = 0; i < c->n_list; i++) {
    wn_gplace *x = wn_places_at(p, c->list[i]);
    if (c->away[i] >= room) continue;
    x->closed = number;
    x->closed_room = room == WN_G_MANY ? room : room - c->away[i];
  }
}

int wn_closed_find(wn_closed *c, wn_places *p, uint32_t place, wn_err *e) {
  wn_charset s;
  const wn_gplace *x = wn_places_at(p, place);
  if (x->closed != 0 && x->closed_room == WN_G_MANY) return WN_OK;
  if (!gather(c, p, place, &s)) return WN_OK;
  for (int round = 0; round < ROUNDS && weight(&s) >= MIN_CHARS; round++) {
    wn_charset before = s;
    uint32_t room;
    c->list[0] = place;
    c->away[0] = 0;
    c->n_list = 1;
    int rc = explore(c, p, &s, &room, e);
    if (rc != WN_OK) return rc;
    if (same(&s, &before)) {
      note(c, p, number_of(c, &s), room);
      return WN_OK;
    }
  }
  return WN_OK;
}
