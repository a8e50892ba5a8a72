/* learnt.c - see learnt.h.
 *
 * Where the next character may be any of a class for which there is a table
 * (plain.h), and it makes no difference which one it is, the tokens of such
 * characters are known: as many characters as the grammar takes. Those that
 * leave the class are walked from where they leave it. Elsewhere the trie is
 * walked from its root, with the place after each byte of the path; where a
 * class may be repeated there, or the place is closed under a set of characters
 * (closed.h), a subtree made of these is taken as a whole. */
#include "constrain/learnt.h"

#include <string.h>

#include "base/mem.h"
#include "constrain/closed.h"
#include "constrain/plain.h"

enum {
  FEW_SORTED = 64,
  MAX_CLASSES = 16,           /* of one grammar that tables are made for */
  KEEP_MASK_BYTES = 16 << 20, /* while one text is read */
  SPARE_MASK_BYTES = 2 << 20, /* after it */
  SPARE_PLACES = 4096
};

typedef struct level { /* edges of a node that are still to be tried */
  uint32_t edge, end, place;
} level;

typedef struct range {
  uint32_t first, last; /* one after the last */
} range;

struct wn_learnt {
  wn_places *places;
  wn_tokens *tokens;
  const wn_grammar *g;
  wn_mask **mask; /* each different one */
  uint32_t *index;
  uint32_t n_masks, cap_masks, n_index;
  size_t mask_bytes;
  struct {
    uint32_t class_;
    const wn_plain *plain;
  } table[MAX_CLASSES];
  uint32_t n_tables;
  wn_closed closed;
  level *path;
  uint32_t *chain; /* places after characters of one class */
  uint32_t cap_chain;
  range *range; /* of the mask in making: tokens in the trie's order */
  uint32_t n_ranges, cap_ranges, n_taken;
  uint64_t *bits; /* the same by ids */
  int32_t few[WN_MASK_FEW];
  bool broken; /* memory ran out on the way: not to be used again */
};

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "grammar: out of memory");
}

static size_t n_words(const wn_learnt *l) {
  return l->tokens->n_vocab / 64 + 1;
}

/* ---- life */

static void free_mask(wn_mask *m) {
  if (m == NULL) return;
  wn_free(m->ids);
  wn_free(m->bits);
  wn_free(m);
}

static void free_masks(wn_learnt *l) {
  for (uint32_t i = 0; i < l->n_masks; i++)
    free_mask(l->mask[i]);
  l->n_masks = 0;
  l->mask_bytes = 0;
  if (l->index != NULL) memset(l->index, 0xFF, l->n_index * sizeof *l->index);
}

void wn_learnt_free(wn_learnt *l) {
  if (l == NULL) return;
  free_masks(l);
  wn_places_free(l->places);
  wn_tokens_unref(l->tokens);
  wn_free(l->mask);
  wn_free(l->index);
  wn_free(l->path);
  wn_free(l->chain);
  wn_free(l->range);
  wn_free(l->bits);
  wn_free(l);
}

/* Tables for classes that are repeated: those with most characters, or the
 * others. */
static int find_tables(wn_learnt *l, bool most, wn_err *e) {
  const wn_grammar *g = l->g;
  int rc = WN_OK;
  for (uint32_t i = 0;
       rc == WN_OK && i < g->n_states && l->n_tables < MAX_CLASSES; i++) {
    const wn_gstate *s = &g->state[i];
    if (s->op != WN_OP_CLASS || g->tree.class_[s->a].most != most ||
        (g->state[s->next].op != WN_OP_LOOP &&
         g->state[s->next].op != WN_OP_AGAIN))
      continue;
    bool known = false;
    for (uint32_t k = 0; k < l->n_tables; k++)
      known |= l->table[k].class_ == s->a;
    const wn_plain *p = NULL;
    if (!known) rc = wn_plain_of(l->tokens, &g->tree.class_[s->a], &p, e);
    if (p == NULL) continue;
    l->table[l->n_tables].class_ = s->a;
    l->table[l->n_tables++].plain = p;
  }
  return rc;
}

static int make(wn_grammar *g, wn_tokens *t, wn_learnt **out, wn_err *e) {
  wn_learnt *l = wn_calloc(WN_MEM_RUN, 1, sizeof *l);
  if (l == NULL) return no_memory(e);
  l->tokens = wn_tokens_ref(t);
  l->g = g;
  l->closed.g = g;
  l->n_index = 64;
  l->index = wn_alloc(WN_MEM_RUN, l->n_index * sizeof *l->index);
  l->path = wn_calloc(WN_MEM_RUN, WN_TOKENS_DEPTH + 1, sizeof *l->path);
  l->bits = wn_alloc(WN_MEM_RUN, n_words(l) * sizeof *l->bits);
  int rc = l->index && l->path && l->bits ? wn_places_new(g, &l->places, e)
                                          : no_memory(e);
  if (rc == WN_OK) rc = find_tables(l, true, e);
  if (rc == WN_OK) rc = find_tables(l, false, e);
  if (rc != WN_OK) {
    wn_learnt_free(l);
    return rc;
  }
  memset(l->index, 0xFF, l->n_index * sizeof *l->index);
  *out = l;
  return WN_OK;
}

int wn_learnt_get(wn_grammar *g, wn_tokens *t, wn_learnt **out, wn_err *e) {
  *out = NULL;
  for (int i = 0; i < WN_GRAMMAR_SPARES; i++) {
    wn_learnt *l = atomic_exchange(&g->spare[i], NULL);
    if (l == NULL) continue;
    if (l->tokens == t) {
      *out = l;
      return WN_OK;
    }
    wn_learnt_put(g, l); /* of another vocabulary */
  }
  return make(g, t, out, e);
}

void wn_learnt_put(wn_grammar *g, wn_learnt *l) {
  if (l == NULL) return;
  bool keep = !l->broken && l->mask_bytes <= SPARE_MASK_BYTES &&
              wn_places_count(l->places) <= SPARE_PLACES;
  for (int i = 0; keep && i < WN_GRAMMAR_SPARES; i++) {
    wn_learnt *none = NULL;
    if (atomic_compare_exchange_strong(&g->spare[i], &none, l)) return;
  }
  wn_learnt_free(l);
}

wn_places *wn_learnt_places(wn_learnt *l) {
  return l->places;
}

const wn_tokens *wn_learnt_tokens(const wn_learnt *l) {
  return l->tokens;
}

int wn_learnt_rest(wn_learnt *l, uint32_t *place, wn_err *e) {
  bool forgot = l->mask_bytes > KEEP_MASK_BYTES;
  int rc = wn_places_rest(l->places, place, &forgot, e);
  if (rc != WN_OK) l->broken = true;
  if (forgot) free_masks(l);
  return rc;
}

/* ---- the walk */

/* The tokens first..last - 1 of the trie's order may come. */
static int take(wn_learnt *l, uint32_t first, uint32_t last, wn_err *e) {
  if (first == last) return WN_OK;
  l->n_taken += last - first;
  if (l->n_ranges > 0 && l->range[l->n_ranges - 1].last == first) {
    l->range[l->n_ranges - 1].last = last;
    return WN_OK;
  }
  if (!wn_groom(&l->range, l->n_ranges, &l->cap_ranges, 1, sizeof *l->range))
    return no_memory(e);
  l->range[l->n_ranges++] = (range){first, last};
  return WN_OK;
}

static int step(wn_learnt *l, uint32_t from, uint8_t b, uint32_t *to,
                wn_err *e) {
  *to = wn_places_known(l->places, from)[l->g->kind_of[b]];
  return *to != WN_PLACE_UNKNOWN ? WN_OK
                                 : wn_places_step(l->places, from, b, to, e);
}

/* Is everything under the node made of these characters? */
static bool made_of(const wn_token_node *n, const uint64_t ascii[2],
                    bool longer, bool odd) {
  return !n->broken && (n->ascii[0] & ~ascii[0]) == 0 &&
         (n->ascii[1] & ~ascii[1]) == 0 && (!n->longer || longer) &&
         (!n->odd || odd);
}

/* May everything under the node follow from the place? (Sufficient.) */
static bool takes_all(const wn_learnt *l, const wn_gplace *x,
                      const wn_token_node *n) {
  const wn_charset *s = wn_closed_set(&l->closed, x);
  if (s != NULL && n->height <= x->closed_room &&
      made_of(n, s->ascii, s->longer, s->odd))
    return true;
  for (uint32_t i = 0; i < x->n_loops; i++) {
    const wn_gclass *c = &l->g->tree.class_[x->loop[i].class_];
    if (n->height <= x->loop[i].room && made_of(n, c->ascii, c->most, c->all))
      return true;
  }
  return false;
}

/* Takes what may come under a node that led to the place. */
static int walk(wn_learnt *l, uint32_t node, uint32_t place, wn_err *e) {
  const wn_tokens *t = l->tokens;
  const wn_token_node *n = &t->node[node];
  level *at = l->path;
  *at = (level){n->edge, n->edge + n->n_edges, place};
  for (;;) {
    if (at->edge == at->end) {
      if (at == l->path) return WN_OK;
      at--;
      continue;
    }
    uint32_t to, k = at->edge++;
    int rc = step(l, at->place, t->edge_byte[k], &to, e);
    if (rc == WN_OK && to != WN_PLACE_NONE) {
      const wn_token_edge *x = &t->edge[k];
      const wn_gplace *p = wn_places_at(l->places, to);
      n = &t->node[t->edge_node[k]];
      bool all = x->n_edges > 0 && takes_all(l, p, n);
      rc = take(l, x->first, all ? t->node[n->skip].first : x->last, e);
      if (x->n_edges > 0 && !all)
        *++at = (level){x->edge, x->edge + x->n_edges, to};
    }
    if (rc != WN_OK) return rc;
  }
}

/* ---- runs of a class */

/* Has every plain character the same effect here? So it is when each state
 * that reads takes all of them, or none. */
static bool is_even(const wn_learnt *l, uint32_t place, const wn_plain *p) {
  const wn_gplace *x = wn_places_at(l->places, place);
  const wn_config *c = wn_places_configs(l->places, place);
  for (uint32_t i = 0; i < x->n; i++) {
    const wn_gstate *s = &l->g->state[c[i].state];
    if (s->op == WN_OP_TOKEN || s->op == WN_OP_OTHER) continue;
    if (c[i].part != 0) return false;
    if (s->op == WN_OP_BYTE) {
      bool in = s->a < 128 ? (p->ascii[s->a / 64] >> (s->a % 64) & 1) != 0
                           : p->longer;
      if (in) return false;
      continue;
    }
    const wn_gclass *k = &l->g->tree.class_[s->a];
    bool none = (k->ascii[0] & p->ascii[0]) == 0 &&
                (k->ascii[1] & p->ascii[1]) == 0 && (!p->longer || k->n == 0);
    bool all = (p->ascii[0] & ~k->ascii[0]) == 0 &&
               (p->ascii[1] & ~k->ascii[1]) == 0 &&
               (!p->longer || (p->odd ? k->all : k->most));
    if (!none && !all) return false;
  }
  return true;
}

/* The chain of places after 0, 1, 2 ... plain characters: *last is the last
 * one, and *n how many characters it takes, WN_G_MANY where the last one goes
 * on to itself. *n is 0 where it cannot be told, as at some place it does
 * matter which character comes. */
static int find_chain(wn_learnt *l, uint32_t place, const wn_plain *p,
                      uint32_t *n, uint32_t *last, wn_err *e) {
  uint8_t b = (uint8_t)(p->ascii[0] != 0 ? __builtin_ctzll(p->ascii[0])
                                         : 64 + __builtin_ctzll(p->ascii[1]));
  *n = *last = 0;
  if (!wn_groom(&l->chain, 0, &l->cap_chain, p->max_chars + 1,
                sizeof *l->chain))
    return no_memory(e);
  l->chain[0] = place;
  for (uint32_t k = 0; k < p->max_chars; k++) {
    uint32_t to;
    if (!is_even(l, l->chain[k], p)) return WN_OK;
    int rc = step(l, l->chain[k], b, &to, e);
    if (rc != WN_OK) return rc;
    *last = k;
    if (to == WN_PLACE_NONE || to == l->chain[k]) {
      *n = to == WN_PLACE_NONE ? k : WN_G_MANY;
      return WN_OK;
    }
    l->chain[k + 1] = to;
  }
  *n = *last = p->max_chars;
  return WN_OK;
}

/* Bits of the plain tokens of up to n characters. */
static void plain_bits(wn_learnt *l, const wn_plain *p, uint32_t n) {
  size_t bytes = n_words(l) * sizeof *l->bits;
  uint32_t all = p->upto[p->max_chars],
           in = n < p->max_chars ? p->upto[n] : all;
  bool fewer = in <= all / 2;
  if (fewer)
    memset(l->bits, 0, bytes);
  else
    memcpy(l->bits, p->bits, bytes);
  for (uint32_t i = fewer ? 0 : in, end = fewer ? in : all; i < end; i++)
    l->bits[p->ids[i] / 64] ^= (uint64_t)1 << (p->ids[i] % 64);
}

/* The bits of a place where characters of a class run; *done: it is one. */
static int run(wn_learnt *l, uint32_t place, const wn_plain *p, bool *done,
               wn_err *e) {
  uint32_t n, last;
  int rc = find_chain(l, place, p, &n, &last, e);
  if (rc != WN_OK || n == 0) return rc;
  *done = true;
  plain_bits(l, p, n);
  for (uint32_t i = 0; rc == WN_OK && i < p->n_exits; i++) {
    const wn_exit *x = &p->exit[i];
    uint32_t to;
    if (x->chars > n) continue;
    rc = step(l, l->chain[x->chars < last ? x->chars : last], x->byte, &to, e);
    if (rc != WN_OK || to == WN_PLACE_NONE) continue;
    const wn_token_node *node = &l->tokens->node[x->node];
    rc = take(l, node->first, node[1].first, e);
    if (rc == WN_OK && node->n_edges > 0) rc = walk(l, x->node, to, e);
  }
  return rc;
}

static int try_runs(wn_learnt *l, uint32_t place, bool *done, wn_err *e) {
  int rc = WN_OK;
  for (uint32_t k = 0; rc == WN_OK && !*done && k < l->n_tables; k++) {
    const wn_gplace *x = wn_places_at(l->places, place);
    const wn_config *c = wn_places_configs(l->places, place);
    bool here = false;
    for (uint32_t i = 0; i < x->n; i++) {
      const wn_gstate *s = &l->g->state[c[i].state];
      here |= s->op == WN_OP_CLASS && s->a == l->table[k].class_;
    }
    if (here) rc = run(l, place, l->table[k].plain, done, e);
  }
  return rc;
}

/* ---- masks */

static void set_bit(uint64_t *bits, int32_t id) {
  bits[id / 64] |= (uint64_t)1 << (id % 64);
}

static void flip(wn_learnt *l, uint32_t first, uint32_t last) {
  for (uint32_t i = first; i < last; i++)
    l->bits[l->tokens->order[i] / 64] ^= (uint64_t)1
                                         << (l->tokens->order[i] % 64);
}

/* Adds the ranges to the bits, which hold none of them. */
static void add_ranges(wn_learnt *l) {
  for (uint32_t i = 0; i < l->n_ranges; i++)
    flip(l, l->range[i].first, l->range[i].last);
}

/* Writes the ranges, which ascend, as bits: those taken are set, or those not
 * taken are cleared, whichever are fewer. */
static void write_ranges(wn_learnt *l) {
  const wn_tokens *t = l->tokens;
  size_t bytes = n_words(l) * sizeof *l->bits;
  if (l->n_taken <= t->n_tokens / 2) {
    memset(l->bits, 0, bytes);
    add_ranges(l);
    return;
  }
  memcpy(l->bits, t->texts, bytes);
  uint32_t from = 0;
  for (uint32_t i = 0; i < l->n_ranges; i++) {
    flip(l, from, l->range[i].first);
    from = l->range[i].last;
  }
  flip(l, from, t->n_tokens);
}

/* Tokens that the place reads as tokens. !<x> stands for any token with text
 * and any control token that does not end the text. */
static void add_tokens(wn_learnt *l, uint32_t place) {
  const wn_gplace *x = wn_places_at(l->places, place);
  const wn_config *c = wn_places_configs(l->places, place);
  uint32_t n_vocab = l->tokens->n_vocab;
  for (uint32_t i = 0; i < x->n; i++) {
    const wn_gstate *s = &l->g->state[c[i].state];
    if (s->op == WN_OP_TOKEN && s->a < n_vocab) set_bit(l->bits, (int32_t)s->a);
    if (s->op != WN_OP_OTHER) continue;
    for (uint32_t id = 0; id < n_vocab; id++)
      if (id != s->a && (l->tokens->ends[id / 64] >> (id % 64) & 1) == 0)
        set_bit(l->bits, (int32_t)id);
  }
}

static uint32_t mix(uint32_t h, uint64_t v) {
  uint64_t x = (h ^ v) * 0x9E3779B97F4A7C15u;
  return (uint32_t)(x ^ x >> 32);
}

static bool same_mask(const wn_mask *a, const wn_mask *b, size_t words) {
  if (a->hash != b->hash || a->n != b->n) return false;
  if (a->ids != NULL) return memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0;
  return memcmp(a->bits, b->bits, words * sizeof *a->bits) == 0;
}

static bool grow_index(wn_learnt *l) {
  uint32_t n = l->n_index * 2;
  uint32_t *p = wn_alloc(WN_MEM_RUN, n * sizeof *p);
  if (p == NULL) return false;
  memset(p, 0xFF, n * sizeof *p);
  for (uint32_t i = 0; i < l->n_masks; i++) {
    uint32_t h = l->mask[i]->hash;
    while (p[h & (n - 1)] != UINT32_MAX)
      h++;
    p[h & (n - 1)] = i;
  }
  wn_free(l->index);
  l->index = p;
  l->n_index = n;
  return true;
}

/* A mask that is equal to the one at hand: an old one, or a copy. */
static int keep(wn_learnt *l, wn_mask m, const wn_mask **out, wn_err *e) {
  size_t words = n_words(l);
  size_t bytes = m.ids ? m.n * sizeof *m.ids : words * sizeof *m.bits;
  m.hash = mix(17, m.n);
  for (uint32_t i = 0; m.ids != NULL && i < m.n; i++)
    m.hash = mix(m.hash, (uint64_t)m.ids[i]);
  for (size_t i = 0; m.ids == NULL && i < words; i++)
    m.hash = mix(m.hash, m.bits[i]);
  if (l->n_masks * 2 >= l->n_index && !grow_index(l)) return no_memory(e);
  uint32_t at = m.hash, i;
  for (; (i = l->index[at & (l->n_index - 1)]) != UINT32_MAX; at++)
    if (same_mask(l->mask[i], &m, words)) {
      *out = l->mask[i];
      return WN_OK;
    }
  wn_mask *k = wn_calloc(WN_MEM_RUN, 1, sizeof *k);
  void *copy = wn_alloc(WN_MEM_RUN, bytes);
  if (k == NULL || copy == NULL ||
      !wn_groom(&l->mask, l->n_masks, &l->cap_masks, 1, sizeof *l->mask)) {
    wn_free(k);
    wn_free(copy);
    return no_memory(e);
  }
  if (bytes > 0) memcpy(copy, m.ids ? (void *)m.ids : (void *)m.bits, bytes);
  *k = (wn_mask){m.n, m.hash, m.ids ? copy : NULL, m.ids ? NULL : copy};
  l->index[at & (l->n_index - 1)] = l->n_masks;
  l->mask[l->n_masks++] = k;
  l->mask_bytes += bytes + sizeof *k;
  *out = k;
  return WN_OK;
}

/* The bits at hand, as ids where they are few. */
static wn_mask tell(wn_learnt *l) {
  wn_mask m = {.bits = l->bits};
  size_t words = n_words(l);
  for (size_t i = 0; i < words; i++)
    m.n += (uint32_t)__builtin_popcountll(l->bits[i]);
  if (m.n > WN_MASK_FEW) return m;
  m.n = 0;
  m.ids = l->few;
  for (size_t i = 0; i < words; i++)
    for (uint64_t w = l->bits[i]; w != 0; w &= w - 1)
      m.ids[m.n++] = (int32_t)(i * 64 + (size_t)__builtin_ctzll(w));
  return m;
}

/* The ranges as ids: they are few. */
static wn_mask tell_few(wn_learnt *l) {
  wn_mask m = {.ids = l->few};
  for (uint32_t i = 0; i < l->n_ranges; i++)
    for (uint32_t k = l->range[i].first; k < l->range[i].last; k++) {
      int32_t id = l->tokens->order[k];
      uint32_t at = m.n++;
      for (; at > 0 && l->few[at - 1] > id; at--)
        l->few[at] = l->few[at - 1];
      l->few[at] = id;
    }
  return m;
}

static int make_mask(wn_learnt *l, uint32_t place, wn_mask *m, wn_err *e) {
  bool done = false;
  l->n_taken = l->n_ranges = 0;
  int rc = try_runs(l, place, &done, e);
  if (rc == WN_OK && !done)
    rc = wn_closed_find(&l->closed, l->places, place, e);
  if (rc == WN_OK && !done) rc = walk(l, 0, place, e);
  if (rc != WN_OK) return rc;
  const wn_gplace *x = wn_places_at(l->places, place);
  if (!done && !x->tokens && !x->accepts && l->n_taken <= FEW_SORTED) {
    *m = tell_few(l);
    return WN_OK;
  }
  if (done)
    add_ranges(l);
  else
    write_ranges(l);
  if (x->tokens) add_tokens(l, place);
  for (uint32_t i = 0; x->accepts && i < n_words(l); i++)
    l->bits[i] |= l->tokens->ends[i];
  *m = tell(l);
  return WN_OK;
}

int wn_learnt_mask(wn_learnt *l, uint32_t place, const wn_mask **mask,
                   wn_err *e) {
  wn_mask m;
  *mask = wn_places_at(l->places, place)->mask;
  if (*mask != NULL) return WN_OK;
  int rc = make_mask(l, place, &m, e);
  if (rc == WN_OK) rc = keep(l, m, mask, e);
  if (rc == WN_OK) wn_places_at(l->places, place)->mask = *mask;
  return rc;
}

bool wn_mask_has(const wn_mask *mask, int32_t id) {
  if (mask->bits != NULL) return (mask->bits[id / 64] >> (id % 64) & 1) != 0;
  uint32_t low = 0, high = mask->n;
  while (low < high) {
    uint32_t mid = low + (high - low) / 2;
    if (mask->ids[mid] < id)
      low = mid + 1;
    else
      high = mid;
  }
  return low < mask->n && mask->ids[low] == id;
}
