/* forced.c - see match.h: text without a choice, as tokens. */
#include <string.h>

#include "base/mem.h"
#include "constrain/match.h"

enum { MAX_FORCED = 256 };

/* Do the texts of the tokens make up a beginning of the text? */
static bool spells(const wn_vocab *v, const int32_t *ids, size_t n,
                   const char *text, size_t n_text) {
  char piece[MAX_FORCED];
  size_t at = 0;
  for (size_t i = 0; i < n; i++) {
    size_t len = wn_vocab_piece(v, ids[i], false, piece, sizeof piece);
    if (len == 0 || len > n_text - at || memcmp(piece, text + at, len) != 0)
      return false;
    at += len;
  }
  return true;
}

/* All but the last of the tokens of the text, if they spell it. */
static int cut(const wn_vocab *v, const char *text, size_t n_text, int32_t *ids,
               uint32_t cap, uint32_t *n, wn_err *e) {
  int32_t *all;
  size_t n_all;
  int rc = wn_vocab_encode(v, text, n_text, false, false, &all, &n_all, e);
  if (rc != WN_OK) return rc;
  size_t keep = n_all > 0 ? n_all - 1 : 0;
  if (keep > cap) keep = cap;
  if (keep > 0 && spells(v, all, keep, text, n_text)) {
    memcpy(ids, all, keep * sizeof *ids);
    *n = (uint32_t)keep;
  }
  wn_free(all);
  return WN_OK;
}

int wn_match_forced_tokens(wn_match *m, int32_t *ids, uint32_t cap, uint32_t *n,
                           wn_err *e) {
  char text[MAX_FORCED];
  size_t n_text;
  const wn_mask *mask;
  *n = 0;
  if (wn_match_waits(m) || wn_match_complete(m) || cap == 0) return WN_OK;
  int rc = wn_match_forced(m, text, sizeof text, &n_text, e);
  if (rc != WN_OK) return rc;
  if (n_text > 1)
    return cut(wn_match_tokens(m)->vocab, text, n_text, ids, cap, n, e);
  if (n_text > 0 || !wn_match_asks_token(m)) return WN_OK;
  rc = wn_match_mask(m, &mask, e);
  if (rc == WN_OK && mask->n == 1 && !wn_match_may_end(m)) {
    ids[0] = mask->ids[0];
    *n = 1;
  }
  return rc;
}
