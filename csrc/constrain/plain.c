/* plain.c - see plain.h: one walk through the trie, then a counting sort. */
#include "constrain/plain.h"

#include <string.h>

#include "base/mem.h"

enum { MIN_CHARS = 8, MAX_EXITS = 8192, MAX_BYTES = 16 << 20 };

typedef struct level { /* edges of a node that are still to be tried */
  uint32_t edge, end, chars;
} level;

typedef struct maker {
  const wn_tokens *t;
  wn_plain *p;
  level *path;
  uint32_t *list; /* places in `order` of what is plain */
  uint32_t n, cap_exits;
} maker;

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "vocabulary trie: out of memory");
}

/* Is everything under the node plain? */
static bool all_plain(const wn_plain *p, const wn_token_node *n) {
  return !n->broken && (n->ascii[0] & ~p->ascii[0]) == 0 &&
         (n->ascii[1] & ~p->ascii[1]) == 0 && (!n->longer || p->longer) &&
         (!n->odd || p->odd);
}

/* Does the node go on with, or begin, a plain character? A character above 127
 * is plain as a whole: what follows its first byte ends it. (Where odd ones are
 * not plain and there are some behind that byte, none of them is.) */
static bool is_plain(const wn_plain *p, const wn_token_node *n, bool inside) {
  uint8_t b = n->byte;
  if (b < 128) return (p->ascii[b / 64] >> (b % 64) & 1) != 0;
  return inside || (p->longer && b >= 0xC2 && b <= 0xF4 && !n->broken &&
                    (p->odd || !n->odd));
}

static void take(maker *m, uint32_t first, uint32_t last) {
  for (; first < last; first++)
    m->list[m->n++] = first;
}

static bool add_exit(maker *m, uint32_t node, uint32_t chars) {
  wn_plain *p = m->p;
  if (!wn_groom(&p->exit, p->n_exits, &m->cap_exits, 1, sizeof *p->exit))
    return false;
  p->exit[p->n_exits++] =
      (wn_exit){node, (uint16_t)chars, m->t->node[node].byte};
  return true;
}

static bool walk(maker *m) {
  const wn_tokens *t = m->t;
  level *at = m->path;
  *at = (level){t->node[0].edge, t->node[0].edge + t->node[0].n_edges, 0};
  for (;;) {
    if (at->edge == at->end) {
      if (at == m->path) return true;
      at--;
      continue;
    }
    uint32_t i = t->edge_node[at->edge++];
    const wn_token_node *n = &t->node[i];
    bool tail = (n->byte & 0xC0) == 0x80;
    if (!is_plain(m->p, n, tail && at != m->path && !n->broken)) {
      if (!add_exit(m, i, at->chars)) return false;
      continue;
    }
    uint32_t chars = at->chars + !tail;
    if (all_plain(m->p, n)) {
      take(m, n->first, t->node[n->skip].first);
    } else {
      take(m, n->first, n[1].first);
      *++at = (level){n->edge, n->edge + n->n_edges, chars};
    }
  }
}

/* From the list: bits, and ids in order of their characters. */
static bool sort_out(maker *m) {
  wn_plain *p = m->p;
  const wn_tokens *t = m->t;
  for (uint32_t i = 0; i < m->n; i++)
    if (t->chars[m->list[i]] > p->max_chars)
      p->max_chars = t->chars[m->list[i]];
  p->bits = wn_calloc(WN_MEM_TEXT, t->n_vocab / 64 + 1, sizeof *p->bits);
  p->ids = wn_alloc(WN_MEM_TEXT, m->n * sizeof *p->ids);
  p->upto = wn_calloc(WN_MEM_TEXT, p->max_chars + 2, sizeof *p->upto);
  if (!p->bits || !p->ids || !p->upto) return false;
  uint32_t *next = p->upto + 1; /* [c]: where the next one of c goes */
  for (uint32_t i = 0; i < m->n; i++)
    next[t->chars[m->list[i]]]++;
  for (uint32_t c = 1; c <= p->max_chars; c++)
    next[c] += next[c - 1];
  for (uint32_t c = p->max_chars; c > 0; c--)
    next[c] = next[c - 1];
  next[0] = 0;
  for (uint32_t i = 0; i < m->n; i++) {
    int32_t id = t->order[m->list[i]];
    p->bits[id / 64] |= (uint64_t)1 << (id % 64);
    p->ids[next[t->chars[m->list[i]]]++] = id;
  }
  memmove(p->upto, next, (p->max_chars + 1) * sizeof *next);
  p->bytes = sizeof *p + (t->n_vocab / 64 + 1) * sizeof *p->bits +
             m->n * sizeof *p->ids + p->n_exits * sizeof *p->exit;
  return true;
}

void wn_plain_free(wn_plain *p) {
  while (p != NULL) {
    wn_plain *next = p->next;
    wn_free(p->bits);
    wn_free(p->ids);
    wn_free(p->upto);
    wn_free(p->exit);
    wn_free(p);
    p = next;
  }
}

static int make(const wn_tokens *t, const wn_gclass *c, wn_plain **out,
                wn_err *e) {
  maker m = {.t = t};
  m.p = wn_calloc(WN_MEM_TEXT, 1, sizeof *m.p);
  m.path = wn_calloc(WN_MEM_TEXT, WN_TOKENS_DEPTH + 1, sizeof *m.path);
  m.list = wn_alloc(WN_MEM_TEXT, t->n_tokens * sizeof *m.list);
  bool ok = m.p && m.path && m.list;
  if (ok) {
    memcpy(m.p->ascii, c->ascii, sizeof c->ascii);
    m.p->longer = c->most;
    m.p->odd = c->all;
    ok = walk(&m);
    if (ok && m.p->n_exits <= MAX_EXITS) {
      ok = sort_out(&m);
      m.p->usable = true;
    } else if (ok) {
      wn_free(m.p->exit);
      m.p->exit = NULL;
      m.p->bytes = sizeof *m.p;
    }
  }
  wn_free(m.path);
  wn_free(m.list);
  if (!ok) wn_plain_free(m.p);
  *out = ok ? m.p : NULL;
  return ok ? WN_OK : no_memory(e);
}

/* The table among those known; *bytes: what they take. */
static const wn_plain *find(const wn_plain *p, const wn_gclass *c,
                            size_t *bytes) {
  for (*bytes = 0; p != NULL; p = p->next) {
    if (memcmp(p->ascii, c->ascii, sizeof c->ascii) == 0 &&
        p->longer == c->most && p->odd == c->all)
      return p;
    *bytes += p->bytes;
  }
  return NULL;
}

/* The known table, or a new one. */
static int get(wn_tokens *t, const wn_gclass *c, const wn_plain **out,
               wn_err *e) {
  size_t bytes, room = c->most ? 2 * MAX_BYTES : MAX_BYTES;
  wn_plain *first = atomic_load(&t->plain), *made;
  *out = find(first, c, &bytes);
  if (*out != NULL || bytes >= room) return WN_OK;
  int rc = make(t, c, &made, e);
  if (rc != WN_OK) return rc;
  for (;;) {
    made->next = first;
    if (atomic_compare_exchange_weak(&t->plain, &first, made)) break;
    if ((*out = find(first, c, &bytes)) != NULL) { /* another was faster */
      made->next = NULL;
      wn_plain_free(made);
      return WN_OK;
    }
  }
  *out = made;
  return WN_OK;
}

int wn_plain_of(wn_tokens *t, const wn_gclass *c, const wn_plain **out,
                wn_err *e) {
  int chars =
      __builtin_popcountll(c->ascii[0]) + __builtin_popcountll(c->ascii[1]);
  *out = NULL;
  if (chars == 0 || chars + (c->most ? MIN_CHARS : 0) < MIN_CHARS) return WN_OK;
  int rc = get(t, c, out, e);
  if (rc == WN_OK && *out != NULL && !(*out)->usable) *out = NULL;
  return rc;
}
