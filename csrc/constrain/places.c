/* places.c - see places.h.
 *
 * Reaching a place: what each configuration becomes by a byte is followed
 * through the silent states, each pair of state and stack once. `fresh` counts
 * the stack entries that were pushed since the last byte: a counted repetition
 * that ends while its own entry is fresh read nothing, and is dropped. */
#include "constrain/places.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

enum { MAX_PLACES = 65536, KEEP_PLACES = 16384, KEEP_CONFIGS = 1 << 20 };
#define UNKNOWN WN_PLACE_UNKNOWN

/* part of a configuration: bytes of a character that are missing, and the
 * number read so far; ANY: whatever follows is in the class */
#define PART_ANY 0x80000000u
#define PART_LEFT(part) ((part) >> 28 & 3u)
#define PART_VALUE(part) ((part)&0x1FFFFFu)
#define PART(left, value) ((uint32_t)(left) << 28 | (value))

typedef struct frame { /* a stack: this on top of `under` */
  uint32_t back, count, under, depth;
} frame;

typedef struct item { /* a silent state to follow */
  uint32_t state, stack, fresh;
} item;

typedef struct seen {
  item it;
  uint32_t stamp;
} seen;

struct wn_places {
  wn_grammar *g;
  frame *frame;
  wn_gplace *place;
  uint32_t *next; /* n_kinds for each place */
  wn_config *config;
  uint32_t *frame_index, *place_index; /* hash tables of numbers */
  item *todo;
  seen *seen;
  wn_config *found; /* of the place in making */
  uint32_t n_frames, n_places, n_configs, n_todo, n_found, n_seen;
  uint32_t cap_frames, cap_places, cap_next, cap_configs, cap_todo, cap_found;
  uint32_t n_frame_index, n_place_index, cap_seen;
  uint32_t stamp, start;
  bool accepts;
  int64_t work;
  uint16_t kind_size[256];
};

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "grammar: out of memory");
}

static uint32_t mix(uint32_t h, uint32_t v) {
  h = (h ^ v) * 0x9E3779B1u;
  return h ^ (h >> 15);
}

/* ---- stacks */

static uint32_t hash_frame(const frame *f) {
  return mix(mix(mix(17, f->back), f->count), f->under);
}

/* Doubles an index of `n` numbers; hash gives that of number i. */
static bool grow_index(uint32_t **index, uint32_t *size) {
  uint32_t n = *size == 0 ? 256 : *size * 2;
  uint32_t *p = wn_alloc(WN_MEM_RUN, n * sizeof *p);
  if (p == NULL) return false;
  memset(p, 0xFF, n * sizeof *p);
  wn_free(*index);
  *index = p;
  *size = n;
  return true;
}

static void put_index(uint32_t *index, uint32_t size, uint32_t hash,
                      uint32_t value) {
  while (index[hash & (size - 1)] != UNKNOWN)
    hash++;
  index[hash & (size - 1)] = value;
}

/* The number of a stack; 0 is the empty one. */
static int push(wn_places *p, uint32_t back, uint32_t count, uint32_t under,
                uint32_t *stack, wn_err *e) {
  frame f = {back, count, under, p->frame[under].depth + 1};
  if (p->n_frames * 2 >= p->n_frame_index) {
    if (!grow_index(&p->frame_index, &p->n_frame_index)) return no_memory(e);
    for (uint32_t i = 1; i < p->n_frames; i++)
      put_index(p->frame_index, p->n_frame_index, hash_frame(&p->frame[i]), i);
  }
  uint32_t h = hash_frame(&f), i;
  for (; (i = p->frame_index[h & (p->n_frame_index - 1)]) != UNKNOWN; h++) {
    const frame *x = &p->frame[i];
    if (x->back == back && x->count == count && x->under == under) {
      *stack = i;
      return WN_OK;
    }
  }
  if (!wn_groom(&p->frame, p->n_frames, &p->cap_frames, 1, sizeof *p->frame))
    return no_memory(e);
  *stack = p->n_frames++;
  p->frame[*stack] = f;
  p->frame_index[h & (p->n_frame_index - 1)] = *stack;
  return WN_OK;
}

/* ---- silent states */

static uint32_t hash_item(item it) {
  return mix(mix(mix(3, it.state), it.stack), it.fresh);
}

static bool same_item(item a, item b) {
  return a.state == b.state && a.stack == b.stack && a.fresh == b.fresh;
}

static bool grow_seen(wn_places *p) {
  uint32_t old_cap = p->cap_seen, cap = old_cap == 0 ? 256 : old_cap * 2;
  seen *s = wn_calloc(WN_MEM_RUN, cap, sizeof *s), *old = p->seen;
  if (s == NULL) return false;
  for (uint32_t i = 0; i < old_cap; i++) {
    if (old[i].stamp != p->stamp) continue;
    uint32_t h = hash_item(old[i].it);
    while (s[h & (cap - 1)].stamp == p->stamp)
      h++;
    s[h & (cap - 1)] = old[i];
  }
  wn_free(old);
  p->seen = s;
  p->cap_seen = cap;
  return true;
}

/* Puts an item on the list, unless it was there since the last clear_seen. */
static int follow(wn_places *p, item it, wn_err *e) {
  if (p->n_seen * 2 >= p->cap_seen && !grow_seen(p)) return no_memory(e);
  uint32_t h = hash_item(it);
  for (; p->seen[h & (p->cap_seen - 1)].stamp == p->stamp; h++)
    if (same_item(p->seen[h & (p->cap_seen - 1)].it, it)) return WN_OK;
  p->seen[h & (p->cap_seen - 1)] = (seen){it, p->stamp};
  p->n_seen++;
  if (!wn_groom(&p->todo, p->n_todo, &p->cap_todo, 1, sizeof *p->todo))
    return no_memory(e);
  p->todo[p->n_todo++] = it;
  return WN_OK;
}

static void clear_seen(wn_places *p) {
  p->n_seen = 0;
  if (++p->stamp != 0) return;
  p->stamp = 1; /* the stamps began anew: none of the old ones may count */
  for (uint32_t i = 0; i < p->cap_seen; i++)
    p->seen[i].stamp = 0;
}

static int add_config(wn_places *p, wn_config c, wn_err *e) {
  if (p->n_found >= (uint32_t)WN_MAX_GRAMMAR_STACKS)
    return wn_fail(e, WN_ELIMIT,
                   "grammar: ambiguous: over %d ways to read the text",
                   (int)WN_MAX_GRAMMAR_STACKS);
  if (!wn_groom(&p->found, p->n_found, &p->cap_found, 1, sizeof *p->found))
    return no_memory(e);
  p->found[p->n_found++] = c;
  return WN_OK;
}

/* Pushes, and goes on in `state`. A stack that is too deep is not entered. */
static int enter(wn_places *p, item it, uint32_t back, uint32_t count,
                 uint32_t state, wn_err *e) {
  uint32_t stack;
  if (p->frame[it.stack].depth >= (uint32_t)WN_MAX_GRAMMAR_STACKS) return WN_OK;
  int rc = push(p, back, count, it.stack, &stack, e);
  if (rc != WN_OK) return rc;
  return follow(p, (item){state, stack, it.fresh + 1}, e);
}

static int leave_rule(wn_places *p, item it, wn_err *e) {
  if (it.stack == 0) {
    p->accepts = true;
    return WN_OK;
  }
  frame f = p->frame[it.stack];
  return follow(p, (item){f.back, f.under, it.fresh > 0 ? it.fresh - 1 : 0}, e);
}

/* The end of one round of a counted repetition. */
static int again(wn_places *p, item it, const wn_gstate *s, wn_err *e) {
  frame f = p->frame[it.stack];
  const wn_gstate *count = &p->g->state[s->a];
  if (it.fresh > 0) return WN_OK;
  item up = {s->next, f.under, 0};
  int rc = WN_OK;
  if (f.count + 1 >= count->b) rc = follow(p, up, e);
  if (rc == WN_OK && f.count + 1 < count->c)
    rc = enter(p, up, s->a, f.count + 1, count->a, e);
  return rc;
}

static int follow_one(wn_places *p, item it, wn_err *e) {
  const wn_gstate *s = &p->g->state[it.state];
  int rc = WN_OK;
  switch (s->op) {
    case WN_OP_RETURN:
      return leave_rule(p, it, e);
    case WN_OP_SPLIT:
    case WN_OP_LOOP:
      for (uint32_t i = 0; rc == WN_OK && i < s->b; i++)
        rc = follow(p, (item){p->g->branch[s->a + i], it.stack, it.fresh}, e);
      return rc;
    case WN_OP_CALL: /* what ends with the rule it is in needs no entry */
      if (s->next == 0) return follow(p, (item){s->a, it.stack, it.fresh}, e);
      return enter(p, it, s->next, 0, s->a, e);
    case WN_OP_COUNT:
      if (s->b == 0) rc = follow(p, (item){s->next, it.stack, it.fresh}, e);
      return rc == WN_OK ? enter(p, it, it.state, 0, s->a, e) : rc;
    case WN_OP_AGAIN:
      return again(p, it, s, e);
    default:
      return add_config(p, (wn_config){it.state, 0, it.stack}, e);
  }
}

static int follow_all(wn_places *p, wn_err *e) {
  int rc = WN_OK;
  while (rc == WN_OK && p->n_todo > 0) {
    if (--p->work < 0)
      rc = wn_fail(e, WN_ELIMIT,
                   "grammar: ambiguous: over %d steps for one token",
                   (int)WN_MAX_GRAMMAR_WORK);
    else
      rc = follow_one(p, p->todo[--p->n_todo], e);
  }
  p->n_todo = 0;
  return rc;
}

/* ---- characters of a class */

/* How many of the characters low..high are in the class: 0 none, 1 some, 2
 * all. */
static int overlap(const wn_places *p, const wn_gclass *c, uint32_t low,
                   uint32_t high) {
  const wn_grange *r = p->g->tree.range + c->first;
  int some = 0;
  for (uint32_t i = 0; i < c->n; i++) {
    if (r[i].low <= low && high <= r[i].high) return 2;
    some |= r[i].low <= high && low <= r[i].high;
  }
  return some;
}

/* What a started character is for the class: 0 when none of those it may
 * become are in it; else its part, shortened where that tells all. */
static uint32_t part_of(const wn_places *p, const wn_gclass *c, uint32_t left,
                        uint32_t value, bool clipped) {
  uint32_t low = value << 6 * left, high = low | ((1u << 6 * left) - 1);
  if (c->all && !clipped) return PART_ANY | PART(left, 0);
  if (high > 0x10FFFF) high = 0x10FFFF;
  if (left == 2 && low < 0x800) low = 0x800;
  if (left == 3 && low < 0x10000) low = 0x10000;
  int all = overlap(p, c, low, high);
  if (all == 0) return 0;
  return all == 2 && !clipped ? PART_ANY | PART(left, 0) : PART(left, value);
}

/* The first byte of a longer character. */
static uint32_t lead(const wn_places *p, const wn_gclass *c, uint8_t b) {
  if (c->n == 0 || b < 0xC2 || b > 0xF4) return 0;
  uint32_t left = b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
  bool clipped = b == 0xE0 || b == 0xED || b == 0xF0 || b == 0xF4;
  return part_of(p, c, left, b & (0x3Fu >> left), clipped);
}

/* May the byte come second after the lead that `part` was made of? */
static bool second_ok(uint32_t part, uint8_t b) {
  uint32_t left = PART_LEFT(part), value = PART_VALUE(part);
  if ((part & PART_ANY) != 0) return true;
  if (left == 2 && value == 0) return b >= 0xA0;
  if (left == 2 && value == 0xD) return b < 0xA0;
  if (left == 3 && value == 0) return b >= 0x90;
  if (left == 3 && value == 4) return b < 0x90;
  return true;
}

/* Byte b of a character: 0 it may not come, 1 the character is complete, 2 it
 * goes on with *part. */
static int read_class(const wn_places *p, const wn_gclass *c, uint8_t b,
                      uint32_t *part) {
  if (*part == 0) {
    if (b < 128) return (int)(c->ascii[b / 64] >> (b % 64) & 1);
    *part = lead(p, c, b);
    return *part != 0 ? 2 : 0;
  }
  if ((b & 0xC0) != 0x80 || !second_ok(*part, b)) return 0;
  uint32_t left = PART_LEFT(*part) - 1;
  if ((*part & PART_ANY) != 0) {
    *part = PART_ANY | PART(left, 0);
    return left == 0 ? 1 : 2;
  }
  uint32_t value = PART_VALUE(*part) << 6 | (b & 0x3F);
  if (left == 0) return overlap(p, c, value, value) == 2;
  *part = part_of(p, c, left, value, false);
  return *part != 0 ? 2 : 0;
}

/* ---- places */

static bool before(wn_config a, wn_config b) {
  return a.state != b.state ? a.state < b.state
         : a.part != b.part ? a.part < b.part
                            : a.stack < b.stack;
}

/* Sorts what was found and drops what is there twice. */
static void tidy(wn_places *p) {
  wn_config *c = p->found;
  for (uint32_t gap = p->n_found / 2; gap > 0; gap /= 2)
    for (uint32_t i = gap; i < p->n_found; i++) {
      wn_config x = c[i];
      uint32_t j = i;
      for (; j >= gap && before(x, c[j - gap]); j -= gap)
        c[j] = c[j - gap];
      c[j] = x;
    }
  uint32_t n = 0;
  for (uint32_t i = 0; i < p->n_found; i++)
    if (n == 0 || before(c[n - 1], c[i])) c[n++] = c[i];
  p->n_found = n;
}

/* A class that is read again and again from a configuration. */
static void add_loop(const wn_places *p, wn_gplace *x, wn_config c) {
  const wn_gstate *s = &p->g->state[c.state], *next = &p->g->state[s->next];
  uint32_t room = 0;
  if (s->op != WN_OP_CLASS || c.part != 0) return;
  if (next->op == WN_OP_LOOP) {
    /* does it come back to this state? the body is the loop's first branch */
    const wn_gstate *body = &p->g->state[p->g->branch[next->a]];
    bool back = p->g->branch[next->a] == c.state;
    for (uint32_t i = 0; body->op == WN_OP_SPLIT && i < body->b; i++)
      back |= p->g->branch[body->a + i] == c.state;
    room = back ? UINT32_MAX : 0;
  } else if (next->op == WN_OP_AGAIN) {
    const wn_gstate *count = &p->g->state[next->a];
    const wn_gstate *body = &p->g->state[count->a];
    bool back = count->a == c.state;
    for (uint32_t i = 0; body->op == WN_OP_SPLIT && i < body->b; i++)
      back |= p->g->branch[body->a + i] == c.state;
    room = back ? count->c - p->frame[c.stack].count : 0;
  }
  if (room > 1 && x->n_loops < 2)
    x->loop[x->n_loops++] = (wn_gloop){s->a, room};
}

static uint32_t hash_found(const wn_places *p) {
  uint32_t h = p->accepts;
  for (uint32_t i = 0; i < p->n_found; i++)
    h = mix(mix(mix(h, p->found[i].state), p->found[i].part),
            p->found[i].stack);
  return h;
}

static bool is_place(const wn_places *p, uint32_t i, uint32_t h) {
  const wn_gplace *x = &p->place[i];
  return x->hash == h && x->n == p->n_found && x->accepts == p->accepts &&
         (x->n == 0 ||
          memcmp(p->config + x->first, p->found, x->n * sizeof *p->found) == 0);
}

/* Kinds of bytes that a configuration may take are not known; all others lead
 * nowhere. */
static void mark_kinds(const wn_places *p, wn_config c, uint32_t *row) {
  const wn_grammar *g = p->g;
  const wn_gstate *s = &g->state[c.state];
  if (s->op == WN_OP_BYTE) row[g->kind_of[s->a]] = UNKNOWN;
  if (s->op != WN_OP_CLASS) return;
  const uint64_t *set =
      c.part != 0 ? g->tail_kinds : g->class_kinds + (size_t)s->a * 4;
  for (uint32_t k = 0; k < g->n_kinds; k++)
    if ((set[k / 64] >> (k % 64) & 1) != 0) row[k] = UNKNOWN;
}

static int new_place(wn_places *p, uint32_t h, uint32_t *to, wn_err *e) {
  uint32_t kinds = p->g->n_kinds, n = p->n_found;
  if (p->n_places >= MAX_PLACES)
    return wn_fail(e, WN_ELIMIT, "grammar: over %d places for one token",
                   MAX_PLACES);
  if (!wn_groom(&p->place, p->n_places, &p->cap_places, 1, sizeof *p->place) ||
      !wn_groom(&p->next, p->n_places * kinds, &p->cap_next, kinds,
                sizeof *p->next) ||
      !wn_groom(&p->config, p->n_configs, &p->cap_configs, n,
                sizeof *p->config))
    return no_memory(e);
  wn_gplace x = {.first = p->n_configs,
                 .n = n,
                 .hash = h,
                 .accepts = p->accepts,
                 .only = -2};
  for (uint32_t i = 0; i < n; i++) {
    wn_gop op = p->g->state[p->found[i].state].op;
    x.tokens |= op == WN_OP_TOKEN || op == WN_OP_OTHER;
    add_loop(p, &x, p->found[i]);
  }
  if (n > 0) memcpy(p->config + p->n_configs, p->found, n * sizeof *p->found);
  p->n_configs += n;
  uint32_t *row = p->next + (size_t)p->n_places * kinds;
  memset(row, 0, kinds * sizeof *row);
  for (uint32_t i = 0; i < n; i++)
    mark_kinds(p, p->found[i], row);
  p->place[p->n_places] = x;
  *to = p->n_places++;
  return WN_OK;
}

/* The place of what was found: an old one or a new one. */
static int intern(wn_places *p, uint32_t *to, wn_err *e) {
  *to = WN_PLACE_NONE;
  if (p->n_found == 0 && !p->accepts) return WN_OK;
  tidy(p);
  if (p->n_places * 2 >= p->n_place_index) {
    if (!grow_index(&p->place_index, &p->n_place_index)) return no_memory(e);
    for (uint32_t i = 1; i < p->n_places; i++)
      put_index(p->place_index, p->n_place_index, p->place[i].hash, i);
  }
  uint32_t h = hash_found(p), at = h, i;
  for (; (i = p->place_index[at & (p->n_place_index - 1)]) != UNKNOWN; at++)
    if (is_place(p, i, h)) {
      *to = i;
      return WN_OK;
    }
  int rc = new_place(p, h, to, e);
  if (rc == WN_OK) p->place_index[at & (p->n_place_index - 1)] = *to;
  return rc;
}

static void begin(wn_places *p) {
  clear_seen(p);
  p->n_found = p->n_todo = 0;
  p->accepts = false;
}

/* What one configuration becomes by a byte. */
static int read_byte(wn_places *p, wn_config c, uint8_t b, wn_err *e) {
  const wn_gstate *s = &p->g->state[c.state];
  int got = 0;
  if (s->op == WN_OP_BYTE) got = s->a == b;
  if (s->op == WN_OP_CLASS)
    got = read_class(p, &p->g->tree.class_[s->a], b, &c.part);
  if (got == 2) return add_config(p, c, e);
  return got == 1 ? follow(p, (item){s->next, c.stack, 0}, e) : WN_OK;
}

int wn_places_step(wn_places *p, uint32_t from, uint8_t b, uint32_t *to,
                   wn_err *e) {
  uint32_t kind = p->g->kind_of[b];
  *to = p->next[(size_t)from * p->g->n_kinds + kind];
  if (*to != UNKNOWN) return WN_OK;
  begin(p);
  uint32_t first = p->place[from].first, n = p->place[from].n;
  int rc = WN_OK;
  p->work -= n;
  for (uint32_t i = 0; rc == WN_OK && i < n; i++)
    rc = read_byte(p, p->config[first + i], b, e);
  if (rc == WN_OK) rc = follow_all(p, e);
  if (rc == WN_OK) rc = intern(p, to, e);
  if (rc == WN_OK) p->next[(size_t)from * p->g->n_kinds + kind] = *to;
  return rc;
}

int wn_places_token(wn_places *p, uint32_t from, int32_t id, const char *text,
                    size_t n, uint32_t *to, wn_err *e) {
  uint32_t at = n > 0 ? from : WN_PLACE_NONE;
  int rc = WN_OK;
  for (size_t i = 0; rc == WN_OK && i < n && at != WN_PLACE_NONE; i++)
    rc = wn_places_step(p, at, (uint8_t)text[i], &at, e);
  *to = at;
  if (rc != WN_OK || !p->place[from].tokens) return rc;
  begin(p);
  for (uint32_t i = 0; rc == WN_OK && i < p->place[from].n; i++) {
    wn_config c = p->config[p->place[from].first + i];
    const wn_gstate *s = &p->g->state[c.state];
    bool same = s->a == (uint32_t)id;
    if ((s->op == WN_OP_TOKEN && same) || (s->op == WN_OP_OTHER && !same))
      rc = follow(p, (item){s->next, c.stack, 0}, e);
  }
  if (rc == WN_OK) rc = follow_all(p, e);
  for (uint32_t i = 0; rc == WN_OK && i < p->place[at].n; i++)
    rc = add_config(p, p->config[p->place[at].first + i], e);
  p->accepts |= p->place[at].accepts;
  return rc == WN_OK ? intern(p, to, e) : rc;
}

int wn_places_only(wn_places *p, uint32_t place, int *only, wn_err *e) {
  *only = p->place[place].only;
  if (*only != -2) return WN_OK;
  int n = 0;
  *only = -1;
  bool open = p->place[place].accepts || p->place[place].tokens;
  for (uint32_t k = 0; k < p->g->n_kinds && n < 2 && !open; k++) {
    uint32_t to;
    int rc = wn_places_step(p, place, p->g->byte_of[k], &to, e);
    if (rc != WN_OK) return rc;
    if (to == WN_PLACE_NONE) continue;
    n += p->kind_size[k];
    *only = p->g->byte_of[k];
  }
  if (n != 1) *only = -1;
  p->place[place].only = (int16_t)*only;
  return WN_OK;
}

/* ---- life */

/* Empties the memory; place 0 has no configurations. */
static int forget(wn_places *p, wn_err *e) {
  p->n_places = p->n_configs = 0;
  p->n_frames = 1;
  memset(p->frame_index, 0xFF, p->n_frame_index * sizeof *p->frame_index);
  memset(p->place_index, 0xFF, p->n_place_index * sizeof *p->place_index);
  begin(p);
  uint32_t none;
  return new_place(p, 0, &none, e); /* leads nowhere */
}

static int make_start(wn_places *p, wn_err *e) {
  begin(p);
  int rc = follow(p, (item){p->g->start, 0, 0}, e);
  if (rc == WN_OK) rc = follow_all(p, e);
  return rc == WN_OK ? intern(p, &p->start, e) : rc;
}

int wn_places_new(wn_grammar *g, wn_places **out, wn_err *e) {
  *out = NULL;
  wn_places *p = wn_calloc(WN_MEM_RUN, 1, sizeof *p);
  if (p == NULL) return no_memory(e);
  p->g = g;
  p->work = WN_MAX_GRAMMAR_WORK;
  for (int b = 0; b < 256; b++)
    p->kind_size[g->kind_of[b]]++;
  int rc = grow_index(&p->frame_index, &p->n_frame_index) &&
                   grow_index(&p->place_index, &p->n_place_index) &&
                   wn_groom(&p->frame, 0, &p->cap_frames, 1, sizeof *p->frame)
               ? WN_OK
               : no_memory(e);
  if (rc == WN_OK) {
    p->frame[0] = (frame){0};
    rc = forget(p, e);
  }
  if (rc == WN_OK) rc = make_start(p, e);
  if (rc != WN_OK)
    wn_places_free(p);
  else
    *out = p;
  return rc;
}

void wn_places_free(wn_places *p) {
  if (p == NULL) return;
  wn_free(p->frame);
  wn_free(p->place);
  wn_free(p->next);
  wn_free(p->config);
  wn_free(p->frame_index);
  wn_free(p->place_index);
  wn_free(p->todo);
  wn_free(p->seen);
  wn_free(p->found);
  wn_free(p);
}

uint32_t wn_places_start(const wn_places *p) {
  return p->start;
}

wn_gplace *wn_places_at(wn_places *p, uint32_t place) {
  return &p->place[place];
}

const uint32_t *wn_places_known(const wn_places *p, uint32_t place) {
  return p->next + (size_t)place * p->g->n_kinds;
}

uint32_t wn_places_count(const wn_places *p) {
  return p->n_places;
}

const wn_config *wn_places_configs(const wn_places *p, uint32_t place) {
  return p->config + p->place[place].first;
}

/* A stack of the old memory in the new one: its entries from the bottom. */
static int copy_stack(wn_places *p, const frame *old, uint32_t stack,
                      uint32_t *path, uint32_t *copy, wn_err *e) {
  uint32_t n = 0;
  int rc = WN_OK;
  for (; stack != 0; stack = old[stack].under)
    path[n++] = stack;
  *copy = 0;
  while (rc == WN_OK && n-- > 0)
    rc = push(p, old[path[n]].back, old[path[n]].count, *copy, copy, e);
  return rc;
}

/* Forgets all but one place. */
static int renew(wn_places *p, uint32_t *place, wn_err *e) {
  wn_gplace x = p->place[*place];
  size_t bytes = x.n * sizeof(wn_config);
  wn_config *kept = wn_alloc(WN_MEM_RUN, bytes);
  frame *old = wn_alloc(WN_MEM_RUN, p->n_frames * sizeof *old);
  uint32_t *path =
      wn_alloc(WN_MEM_RUN, ((size_t)WN_MAX_GRAMMAR_STACKS + 1) * sizeof *path);
  int rc = kept && old && path ? WN_OK : no_memory(e);
  if (rc == WN_OK) {
    if (bytes > 0) memcpy(kept, p->config + x.first, bytes);
    memcpy(old, p->frame, p->n_frames * sizeof *old);
    rc = forget(p, e);
  }
  if (rc == WN_OK) rc = make_start(p, e);
  if (rc == WN_OK) begin(p);
  for (uint32_t i = 0; rc == WN_OK && i < x.n; i++) {
    rc = copy_stack(p, old, kept[i].stack, path, &kept[i].stack, e);
    if (rc == WN_OK) rc = add_config(p, kept[i], e);
  }
  p->accepts = x.accepts;
  if (rc == WN_OK) rc = intern(p, place, e);
  wn_free(kept);
  wn_free(old);
  wn_free(path);
  return rc;
}

int wn_places_rest(wn_places *p, uint32_t *place, bool *forget, wn_err *e) {
  p->work = WN_MAX_GRAMMAR_WORK;
  if (!*forget && p->n_places < KEEP_PLACES && p->n_configs < KEEP_CONFIGS &&
      p->n_frames < KEEP_CONFIGS)
    return WN_OK;
  *forget = true;
  return renew(p, place, e);
}
