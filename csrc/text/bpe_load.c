/* bpe_load.c - the tables of byte-pair encoding.
 *
 * Symbols are numbered: tokens keep their ids, texts that only occur in
 * merges follow. A byte-level vocabulary writes bytes in GPT-2's alphabet;
 * symbols here are the bytes themselves, so that words need no translation.
 * A merge becomes one entry (left, right) -> (rank, result). */
#include "text/parts.h"

#define K_MERGES "tokenizer.ggml.merges"

static bool is_raw(const wn_vocab *v) {
  return (v->pre->props & WN_P_RAW) != 0;
}

/* Bytes that a text in the byte alphabet stands for; false when some
 * character is not in it. out has room for n. */
static bool unmap(wn_str t, uint8_t *out, size_t *n) {
  *n = 0;
  for (size_t i = 0; i < t.n;) {
    uint32_t cp = 0;
    unsigned len = wn_utf8_decode((const uint8_t *)t.p + i, t.n - i, &cp);
    int b = len != 0 ? wn_cp_to_byte(cp) : -1;
    if (b < 0) return false;
    out[(*n)++] = (uint8_t)b;
    i += len;
  }
  return true;
}

/* v->raw: the bytes of each token; empty for a token outside the alphabet. */
static int make_raw(wn_vocab *v, wn_err *e) {
  v->raw.p = wn_alloc(WN_MEM_TEXT, v->text.off[v->n] + 1);
  v->raw.off = wn_alloc(WN_MEM_TEXT, ((size_t)v->n + 1) * sizeof(size_t));
  if (v->raw.p == NULL || v->raw.off == NULL) return wn_oom(e);
  size_t at = 0, n;
  for (uint32_t i = 0; i < v->n; i++) {
    v->raw.off[i] = at;
    if (unmap(wn_text(v, i), (uint8_t *)v->raw.p + at, &n)) at += n;
  }
  v->raw.off[v->n] = at;
  return WN_OK;
}

static int map_tokens(wn_vocab *v, wn_err *e) {
  wn_bpe *b = &v->bpe;
  int rc = wn_map_init(&b->syms, v->n, e);
  b->syms.low = is_raw(v) ? &v->text : &v->raw;
  b->syms.high = &b->extra;
  b->syms.n_low = v->n;
  for (uint32_t i = 0; rc == WN_OK && i < v->n; i++) {
    wn_str t = wn_str_at(b->syms.low, i);
    if (t.n > b->max_len) b->max_len = t.n;
    if (t.n > 0) rc = wn_map_put(&b->syms, i, true, NULL, e);
  }
  return rc;
}

/* ---- symbols that are no tokens ---- */

typedef struct extra {
  size_t cap, bytes_cap;
} extra;

/* The symbol with these bytes, made when there is none. */
static int symbol(wn_vocab *v, extra *x, const uint8_t *p, size_t n,
                  uint32_t *sym, wn_err *e) {
  wn_bpe *b = &v->bpe;
  *sym = wn_map_get(&b->syms, p, n);
  if (*sym != WN_NONE) return WN_OK;
  size_t used = b->n_extra == 0 ? 0 : b->extra.off[b->n_extra];
  if (b->n_extra + 1 >= x->cap) {
    size_t cap = x->cap * 2 + 64;
    size_t *off = wn_realloc(WN_MEM_TEXT, b->extra.off, cap * sizeof *off);
    if (off == NULL) return wn_oom(e);
    b->extra.off = off;
    x->cap = cap;
    if (b->n_extra == 0) off[0] = 0;
  }
  if (x->bytes_cap - used < n) {
    size_t cap = x->bytes_cap * 2 + n + 256;
    char *bytes = wn_realloc(WN_MEM_TEXT, b->extra.p, cap);
    if (bytes == NULL) return wn_oom(e);
    b->extra.p = bytes;
    x->bytes_cap = cap;
  }
  memcpy(b->extra.p + used, p, n);
  b->extra.off[++b->n_extra] = used + n;
  *sym = v->n + b->n_extra - 1;
  return wn_map_put(&b->syms, *sym, false, NULL, e);
}

/* ---- merges ---- */

static wn_pair *pair_slot(const wn_bpe *b, uint32_t x, uint32_t y,
                          uint32_t *steps) {
  uint64_t h = ((uint64_t)x << 32 | y) * UINT64_C(0x9E3779B97F4A7C15);
  uint64_t i = (h ^ h >> 29) & b->pair_mask;
  *steps = 0;
  while (b->pair[i].rank != WN_NONE &&
         (b->pair[i].a != x || b->pair[i].b != y)) {
    i = (i + 1) & b->pair_mask;
    ++*steps;
  }
  return &b->pair[i];
}

static int add_merge(wn_vocab *v, extra *x, uint8_t *buf, wn_str left,
                     wn_str right, uint32_t rank, wn_err *e) {
  size_t nl = left.n, nr = right.n;
  uint32_t a, b, c, steps;
  if (is_raw(v)) {
    memcpy(buf, left.p, nl);
    memcpy(buf + nl, right.p, nr);
  } else if (!unmap(left, buf, &nl) || !unmap(right, buf + nl, &nr)) {
    return WN_OK; /* no word contains it */
  }
  if (nl == 0 || nr == 0) return WN_OK;
  int rc = symbol(v, x, buf, nl, &a, e);
  if (rc == WN_OK) rc = symbol(v, x, buf + nl, nr, &b, e);
  if (rc == WN_OK) rc = symbol(v, x, buf, nl + nr, &c, e);
  if (rc != WN_OK) return rc;
  wn_pair *p = pair_slot(&v->bpe, a, b, &steps);
  if (steps > 4096)
    return wn_key_fail(e, WN_EFORMAT, K_MERGES,
                       "merges were chosen to collide in a hash table");
  if (p->rank == WN_NONE) *p = (wn_pair){a, b, rank, c}; /* the first counts */
  return WN_OK;
}

/* A merge is "left right"; the space is the first one after byte 0. */
static int load_merges(wn_vocab *v, const uint8_t *d, uint64_t n, extra *x,
                       wn_err *e) {
  const uint64_t most = 2 * (uint64_t)WN_MAX_TOKEN_BYTES + 1;
  int rc = WN_OK;
  uint8_t *buf = wn_alloc(WN_MEM_TEXT, (size_t)most);
  if (buf == NULL) return wn_oom(e);
  for (uint64_t i = 0; rc == WN_OK && i < n; i++) {
    uint64_t len;
    memcpy(&len, d, 8);
    const char *s = (const char *)d + 8;
    d += 8 + len;
    if (len > most) {
      rc = wn_key_fail(e, WN_ELIMIT, K_MERGES,
                       "merge %llu has %llu bytes, want at most %llu",
                       (unsigned long long)i, (unsigned long long)len,
                       (unsigned long long)most);
      break;
    }
    const char *sp = len > 1 ? memchr(s + 1, ' ', (size_t)len - 1) : NULL;
    if (sp == NULL) continue;
    wn_str left = {s, (size_t)(sp - s)};
    wn_str right = {sp + 1, (size_t)len - left.n - 1};
    rc = add_merge(v, x, buf, left, right, (uint32_t)i, e);
  }
  wn_free(buf);
  return rc;
}

/* kimi-k2 may come without merges: its tokens are single bytes then. */
static int get_merges(const wn_vocab *v, const wn_gguf *g, uint64_t *n,
                      const uint8_t **d, wn_err *e) {
  int rc = wn_gguf_get_array(g, K_MERGES, WN_KV_STRING, n, d, e);
  if (rc != WN_ENOENT) return rc;
  *n = 0;
  if (strcmp(v->pre->name, "kimi-k2") == 0) return WN_OK;
  return wn_key_fail(e, WN_EFORMAT, K_MERGES, "missing");
}

/* ---- bytes ---- */

/* Tokens for byte i when no symbol covers it. Byte-level: the tokens whose
 * texts are the single bytes of its character; else the token "<0xAB>". */
static void set_fallback(wn_vocab *v, unsigned i) {
  static const char HEX[] = "0123456789ABCDEF";
  int32_t *f = v->bpe.fallback[i];
  f[0] = f[1] = -1;
  if (is_raw(v)) {
    char name[6] = {'<', '0', 'x', HEX[i >> 4], HEX[i & 15], '>'};
    f[0] = wn_find(v, name, 6);
    return;
  }
  uint8_t form[4];
  unsigned n = wn_utf8_put(form, wn_byte_to_cp((uint8_t)i));
  for (unsigned k = 0; k < n; k++)
    f[k] = wn_find(v, form + k, 1);
}

static int init_tables(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  wn_bpe *b = &v->bpe;
  uint64_t n, slots = 64;
  const uint8_t *d;
  extra x = {0, 0};
  int rc = get_merges(v, g, &n, &d, e);
  if (rc != WN_OK) return rc;
  while (slots < 2 * n)
    slots *= 2;
  b->pair_mask = slots - 1;
  b->n_merges = (uint32_t)n;
  b->pair = wn_alloc(WN_MEM_TEXT, (size_t)slots * sizeof *b->pair);
  b->whole = wn_calloc(WN_MEM_TEXT, v->n, sizeof *b->whole);
  if (b->pair == NULL || b->whole == NULL) return wn_oom(e);
  memset(b->pair, 0xFF, (size_t)slots * sizeof *b->pair);
  rc = map_tokens(v, e);
  if (rc == WN_OK) rc = load_merges(v, d, n, &x, e);
  for (unsigned i = 0; i < 256; i++) {
    uint8_t byte = (uint8_t)i;
    if (rc == WN_OK) b->byte_sym[i] = wn_map_get(&b->syms, &byte, 1);
    set_fallback(v, i);
  }
  return rc;
}

int wn_bpe_init(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  int rc = is_raw(v) ? WN_OK : make_raw(v, e);
  if (rc == WN_OK) rc = init_tables(v, g, e);
  if (rc == WN_OK && v->dna) {
    v->bpe.dna[0] = wn_find(v, "<dna>", 5);
    v->bpe.dna[1] = wn_find(v, "</dna>", 6);
    v->bpe.dna[2] = wn_find(v, "<oov>", 5);
  }
  return rc;
}

void wn_bpe_free(wn_bpe *b) {
  wn_free(b->extra.p);
  wn_free(b->extra.off);
  wn_free(b->syms.slot);
  wn_free(b->pair);
  wn_free((void *)b->whole);
}
