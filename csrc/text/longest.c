/* longest.c - RWKV (greedy longest token) and PLaMo-2 (cheapest sequence).
 *
 * Both walk the trie of all tokens (wpm.c). RWKV writes its tokens with
 * backslash escapes, as they may be any bytes. */
#include <math.h>

#include "text/merge.h"

static unsigned hex_of(char c) {
  return (unsigned)(c >= 'a' ? c - 'a' + 10 : c - '0') & 255u;
}

size_t wn_rwkv_unescape(uint8_t *out, wn_str t) {
  size_t n = 0;
  for (size_t i = 0; i < t.n; i++) {
    char c = t.p[i];
    if (c != '\\') {
      out[n++] = (uint8_t)c;
      continue;
    }
    if (++i == t.n) break;
    c = t.p[i];
    if (c == 'x') {
      if (t.n - i <= 2) break;
      out[n++] = (uint8_t)(hex_of(t.p[i + 1]) << 4 | (hex_of(t.p[i + 2]) & 15));
      i += 2;
    } else {
      out[n++] = (uint8_t)(c == 't'   ? '\t'
                           : c == 'n' ? '\n'
                           : c == 'r' ? '\r'
                                      : c);
    }
  }
  return n;
}

int wn_rwkv_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                   wn_ids *out, wn_err *e) {
  for (size_t i = 0; i < n;) {
    int32_t id = v->special[WN_TOK_UNK];
    size_t len = 1;
    uint32_t node = 0;
    for (size_t k = i; k < n; k++) {
      node = wn_trie_step(&v->trie, node, p[k]);
      if (node == 0) break;
      uint32_t x = wn_trie_value(&v->trie, node);
      if (x == WN_TRIE_NONE || wn_kept_out(v, guard, x)) continue;
      id = (int32_t)x;
      len = k + 1 - i;
    }
    if (id >= 0 && !wn_ids_push(out, id)) return wn_oom(e);
    i += len;
  }
  return WN_OK;
}

/* ---- PLaMo-2 ---- */

enum { INVALID = -20000000, UNKNOWN = -10000000 };

/* The best segmentation of what follows a position: cost, and the first
 * token with its length in bytes (id -1: the character as bytes). */
typedef struct best {
  int64_t cost;
  int32_t id;
  uint32_t len;
} best;

static int32_t points(float score) {
  if (!isfinite(score)) return INVALID;
  double s = round((double)score * 1e4);
  return s < INVALID ? INVALID : s > 2e9 ? 2000000000 : (int32_t)s;
}

/* Best start at i. Of equal costs the longest token wins; the bytes of the
 * character come last. */
static void relax(const wn_vocab *v, const uint8_t *p, size_t n, size_t i,
                  bool guard, best *b) {
  unsigned char_len = wn_utf8_len(p[i]);
  uint32_t node = 0;
  best x = {b[i + char_len].cost - UNKNOWN, -1, char_len};
  for (size_t k = i; k < n; k++) {
    node = wn_trie_step(&v->trie, node, p[k]);
    if (node == 0) break;
    uint32_t id = wn_trie_value(&v->trie, node);
    if (id == WN_TRIE_NONE || wn_kept_out(v, guard, id) ||
        (k + 1 < n && (p[k + 1] & 0xC0) == 0x80))
      continue;
    int32_t s = points(v->score[id]);
    if (s <= INVALID) continue;
    int64_t cost = b[k + 1].cost - s;
    if (cost <= x.cost) x = (best){cost, (int32_t)id, (uint32_t)(k + 1 - i)};
  }
  b[i] = x;
}

static int collect(const wn_vocab *v, const uint8_t *p, size_t n, const best *b,
                   wn_ids *out, wn_err *e) {
  for (size_t i = 0; i < n; i += b[i].len) {
    for (uint32_t k = 0; k < b[i].len; k++) {
      int32_t id = b[i].id >= 0 ? b[i].id : v->byte_id[p[i + k]];
      if (id >= 0 && !wn_ids_push(out, id)) return wn_oom(e);
      if (b[i].id >= 0) break;
    }
  }
  return WN_OK;
}

int wn_plamo_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                    wn_ids *out, wn_err *e) {
  if (n > WN_MAX_MERGE)
    return wn_fail(e, WN_ELIMIT, "text: %zu bytes, want at most %d", n,
                   WN_MAX_MERGE);
  uint8_t *text = wn_alloc(WN_MEM_TEXT, 3 * n), *t = text;
  if (text == NULL) return wn_oom(e);
  n = wn_utf8_clean(text, p, n);
  if (n >= 3 && memcmp(t, "\xEF\xBB\xBF", 3) == 0) { /* byte order mark */
    t += 3;
    n -= 3;
  }
  int rc = WN_OK;
  best *b = wn_calloc(WN_MEM_TEXT, n + 1, sizeof *b);
  if (b == NULL) rc = wn_oom(e);
  for (size_t i = n; rc == WN_OK && i-- > 0;)
    if ((t[i] & 0xC0) != 0x80) relax(v, t, n, i, guard, b);
  if (rc == WN_OK) rc = collect(v, t, n, b, out, e);
  wn_free(b);
  wn_free(text);
  return rc;
}
