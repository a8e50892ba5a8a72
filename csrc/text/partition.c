/* partition.c - cutting a text at special tokens: exact, as added.c says; else
 * as llama.cpp.
 *
 * llama.cpp goes through its special tokens, longest text first, and cuts
 * every occurrence out of what is still text. Here one pass of the automaton
 * over the text first tells which of them occur at all (none, mostly); only
 * those are then looked for, in the same order. */
#include "text/parts.h"

bool wn_frags_add(wn_frags *f, wn_frag x) {
  if (f->n == f->cap) {
    size_t cap = f->cap + f->cap / 2 + 8;
    wn_frag *p = wn_realloc(WN_MEM_TEXT, f->p, cap * sizeof *p);
    if (p == NULL) return false;
    f->p = p;
    f->cap = cap;
  }
  f->p[f->n++] = x;
  return true;
}

/* White space of the C locale. */
static bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Where token text t stands in text[from, to) without touching a plain span,
 * or NULL. `plain` may be empty. */
static const char *find(const wn_spans *plain, const char *text, size_t from,
                        size_t to, wn_str t) {
  while (from < to) {
    const char *hit = memmem(text + from, to - from, t.p, t.n);
    if (hit == NULL || plain->n == 0) return hit;
    size_t at = (size_t)(hit - text), lo = 0, hi = plain->n;
    while (lo < hi) { /* the first span that ends behind the hit's start */
      size_t mid = (lo + hi) / 2;
      if (plain->p[mid].to <= at)
        lo = mid + 1;
      else
        hi = mid;
    }
    if (lo == plain->n || plain->p[lo].from >= at + t.n) return hit;
    from = plain->p[lo].from <= at ? plain->p[lo].to : at + 1;
  }
  return NULL;
}

/* Cuts token `id` out of one stretch of text. An lstrip token takes the white
 * space before it along, an rstrip token that behind it. */
static bool cut(const wn_vocab *v, const wn_spans *plain, const char *text,
                wn_frag f, uint32_t id, wn_frags *out) {
  wn_str t = wn_text(v, id);
  const char *hit;
  while (f.n > 0 && (hit = find(plain, text, f.off, f.off + f.n, t)) != NULL) {
    size_t at = (size_t)(hit - text), left = at - f.off;
    if (v->attr[id] & WN_ATTR_LSTRIP)
      while (left > 0 && is_space(text[f.off + left - 1]))
        left--;
    if (left > 0 && !wn_frags_add(out, (wn_frag){-1, f.off, left}))
      return false;
    if (!wn_frags_add(out, (wn_frag){(int32_t)id, 0, 0})) return false;
    f.n -= at + t.n - f.off;
    f.off = at + t.n;
    if (v->attr[id] & WN_ATTR_RSTRIP)
      for (; f.n > 0 && is_space(text[f.off]); f.n--)
        f.off++;
  }
  return f.n == 0 || wn_frags_add(out, f);
}

/* found[rank] = 1 for each special token that occurs in the text. The nodes
 * that the automaton visits stand for their suffixes too. */
static bool mark(const wn_vocab *v, const char *text, size_t n,
                 uint8_t *found) {
  const wn_trie *t = &v->specials;
  uint8_t *seen = wn_calloc(WN_MEM_TEXT, t->n_nodes, 1);
  if (seen == NULL) return false;
  uint32_t node = 0;
  for (size_t i = 0; i < n; i++) {
    uint8_t b = (uint8_t)text[i];
    if (node == 0 && !v->special_first[b]) continue;
    node = wn_trie_walk(t, node, b);
    for (uint32_t x = node; x != 0 && !seen[x]; x = t->fail[x]) {
      seen[x] = 1;
      uint32_t value = wn_trie_value(t, x);
      if (value != WN_TRIE_NONE) found[value] = 1;
    }
  }
  wn_free(seen);
  return true;
}

static bool counts(const wn_vocab *v, uint32_t id, bool parse_special) {
  return parse_special ||
         (v->attr[id] & (WN_ATTR_CONTROL | WN_ATTR_UNKNOWN)) == 0;
}

/* llama.cpp's way. */
static bool partition(const wn_vocab *v, const char *text, size_t n,
                      bool parse_special, const wn_spans *plain,
                      wn_frags *now) {
  wn_frags then = {NULL, 0, 0};
  uint8_t *found = NULL;
  bool ok = n == 0 || wn_frags_add(now, (wn_frag){-1, 0, n});
  if (ok && n > 0 && v->n_specials > 0 && (parse_special || v->any_user)) {
    found = wn_calloc(WN_MEM_TEXT, v->n_specials, 1);
    ok = found != NULL && mark(v, text, n, found);
  }
  for (uint32_t k = 0; ok && found != NULL && k < v->n_specials; k++) {
    uint32_t id = v->special_order[k];
    if (!found[k] || !counts(v, id, parse_special)) continue;
    /* tokens that always count may stand in plain text too */
    const wn_spans none = {NULL, 0};
    const wn_spans *where = counts(v, id, false) ? &none : plain;
    then.n = 0;
    for (size_t i = 0; ok && i < now->n; i++)
      ok = now->p[i].id >= 0 ? wn_frags_add(&then, now->p[i])
                             : cut(v, where, text, now->p[i], id, &then);
    wn_frags x = *now;
    *now = then;
    then = x;
  }
  wn_free(found);
  wn_free(then.p);
  return ok;
}

int wn_partition(const wn_vocab *v, const char *text, size_t n,
                 bool parse_special, const wn_spans *plain, wn_frag **result,
                 size_t *n_result, wn_err *e) {
  wn_frags f = {NULL, 0, 0};
  bool ok = v->exact == WN_EXACT_TRAINED
                ? wn_added_cut(v, text, n, parse_special, plain, &f)
                : partition(v, text, n, parse_special, plain, &f);
  *result = f.p;
  *n_result = f.n;
  if (ok) return WN_OK;
  wn_free(f.p);
  return wn_oom(e);
}
