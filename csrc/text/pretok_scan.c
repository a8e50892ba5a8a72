/* pretok_scan.c - the two large scanners of pretok.h: GPT-2's and the family
 * that began with GPT-4's. Both give a piece wherever they stand. */
#include "text/pretok.h"

enum {
  LN = WN_C_L | WN_C_N,
  WLN = WN_C_W | WN_C_L | WN_C_N,
  OTHER = 0xFF & ~WLN /* letters, numbers and white space aside */
};

/* Bytes of the contraction at p ('s 't 'm 'd 're 've 'll), or 0. `fold` is
 * 0x20 to accept either case, 0 for lower case only. */
static size_t contraction(const uint8_t *p, const uint8_t *end, unsigned fold) {
  if (p == end || *p != '\'') return 0;
  unsigned a = wn_byte(p + 1, end) | fold;
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  unsigned b = end - p > 2 ? p[2] | fold : 0;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') ||
      (a == 'l' && b == 'l'))
    return 3;
  return 0;
}

/* The last character of a run of white space [p, q) belongs to the word that
 * follows, if one follows: \s+(?!\S)|\s+. */
static const uint8_t *leave_one(const uint8_t *p, const uint8_t *q,
                                const uint8_t *end) {
  if (q == end) return q;
  const uint8_t *last = q - 1;
  while ((*last & 0xC0) == 0x80)
    last--;
  return last > p ? last : q;
}

const uint8_t *wn_scan_gpt2(const wn_uni *u, const uint8_t *p,
                            const uint8_t *end) {
  size_t n = contraction(p, end, 0);
  if (n != 0) return p + n;
  const uint8_t *q = p + (*p == ' ');
  uint16_t c = wn_cls(u, q, end);
  if (c & WN_C_L) return wn_skip(u, q, end, WN_C_L);
  if (c & WN_C_N) return wn_skip(u, q, end, WN_C_N);
  if (c & OTHER) return wn_skip(u, q, end, OTHER);
  return leave_one(p, wn_skip(u, p, end, WN_C_W), end);
}

/* ---- words of the modern family ---- */

static bool is_han(uint32_t cp) {
  return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) ||
         (cp >= 0x20000 && cp <= 0x2A6DF) || (cp >= 0x2A700 && cp <= 0x2EBEF) ||
         (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

static bool han_at(const uint8_t *p, const uint8_t *end) {
  unsigned len;
  return p < end && *p >= 0xE3 && is_han(wn_utf8_get(p, &len));
}

/* Letters that are not Han. */
static const uint8_t *skip_not_han(const wn_uni *u, const uint8_t *p,
                                   const uint8_t *end) {
  while ((wn_cls(u, p, end) & WN_C_L) != 0 && !han_at(p, end))
    p = wn_next(p);
  return p;
}

/* Upper* lower+ | upper+ lower* over letters of `mask`; letters and marks
 * without case are both (to llama.cpp, all beyond ASCII). First choice: all
 * that can be upper, then the lower run (with "both") behind it; without lower
 * there, the match backs off to the last "both". Second choice: all upper. */
static const uint8_t *skip_cased(const wn_uni *u, const uint8_t *s,
                                 const uint8_t *end, unsigned mask,
                                 bool second) {
  const uint8_t *q = s, *both = NULL;
  for (; (wn_cls(u, q, end) & mask) != 0; q = wn_next(q)) {
    uint16_t c = wn_cls(u, q, end);
    if (c & WN_C_LOW) break;
    if ((c & WN_C_UP) == 0) both = wn_next(q);
  }
  if (second) return q;
  if ((wn_cls(u, q, end) & WN_C_LOW) == 0) return both != NULL ? both : s;
  for (uint16_t c; (c = wn_cls(u, q, end)) & mask; q = wn_next(q))
    if (c & WN_C_UP) break;
  return q;
}

/* L M* (space L M*)* ... */
static const uint8_t *skip_spaced(const wn_uni *u, const uint8_t *p,
                                  const uint8_t *end) {
  while ((wn_cls(u, p, end) & WN_C_L) != 0) {
    p = wn_skip(u, p, end, WN_C_L);
    p = wn_skip(u, p, end, WN_C_M);
    if (p < end && *p == ' ' && (wn_cls(u, p + 1, end) & WN_C_L) != 0) p++;
  }
  return p;
}

/* The word at p, its end; p itself when there is none. A word may begin with
 * one character that is no letter, number or line end. */
static const uint8_t *word(const wn_uni *u, unsigned flags, const uint8_t *p,
                           const uint8_t *end) {
  uint16_t c = wn_cls(u, p, end);
  bool prefix = (c & LN) == 0 && !wn_is_crlf(p, end);
  const uint8_t *s = prefix ? wn_next(p) : p, *e;
  unsigned lm = WN_C_L | WN_C_M;
  switch (flags & WN_M_WORD) {
    case WN_M_LM: /* a mark in front may count as prefix or as word */
      e = wn_skip(u, s, end, lm);
      if (e == s && (c & WN_C_M) != 0) return s;
      break;
    case WN_M_CASED:
      e = skip_cased(u, s, end, WN_C_L, false);
      if (e == s) e = skip_cased(u, s, end, WN_C_L, true);
      break;
    case WN_M_CASEDM:
      e = skip_cased(u, s, end, lm, false);
      if (e == s && s > p) {
        const uint8_t *whole = skip_cased(u, p, end, lm, false);
        if (whole > p) return whole;
      }
      if (e == s) e = skip_cased(u, s, end, lm, true);
      break;
    case WN_M_SPACED:
      e = skip_spaced(u, s, end);
      break;
    case WN_M_HAN:
      if (han_at(p, end)) return p; /* taken before, see below */
      e = skip_not_han(u, s, end);
      break;
    default:
      e = wn_skip(u, s, end, WN_C_L);
      break;
  }
  return e > s ? e : p;
}

/* ---- white space of the modern family ---- */

/* Pieces of 512, 256, ..., 4 characters while more white space or the end
 * follows, then of 2 or 1. */
static const uint8_t *halves(const wn_uni *u, const uint8_t *p,
                             const uint8_t *run_end, const uint8_t *end) {
  const uint8_t *at[10]; /* at[k]: after 2^k characters */
  unsigned n = 0, k = 0;
  (void)u;
  for (const uint8_t *q = p; q < run_end && k < 10;) {
    q = wn_next(q);
    if (++n == 1u << k) at[k++] = q;
  }
  while (k-- > 0)
    if (at[k] < run_end || at[k] == end) return at[k];
  return wn_next(p);
}

/* White space at lv->p: up to its last line end if it has one, else as
 * \s+(?!\S)|\s+. memo: end of a run known to have no line end. */
static const uint8_t *white(const wn_uni *u, unsigned flags, wn_level *lv) {
  const uint8_t *p = lv->p, *end = lv->end, *line = NULL, *q = p;
  if (q < lv->memo) {
    q = lv->memo;
  } else {
    for (; (wn_cls(u, q, end) & WN_C_W) != 0; q = wn_next(q))
      if (*q == '\r' || *q == '\n') line = q + 1;
    lv->memo = q;
    if (line != NULL) return line;
  }
  return flags & WN_M_HALVES ? halves(u, p, q, end) : leave_one(p, q, end);
}

/* ---- the whole ---- */

static const uint8_t *digits(const wn_uni *u, unsigned flags, const uint8_t *p,
                             const uint8_t *end) {
  unsigned max = (flags & WN_M_NUM) == WN_M_N1   ? 1
                 : (flags & WN_M_NUM) == WN_M_N3 ? 3
                                                 : 0;
  if (max == 0) return wn_skip(u, p, end, WN_C_N);
  while (max-- > 0 && (wn_cls(u, p, end) & WN_C_N) != 0)
    p = wn_next(p);
  return p;
}

/* Line ends (and slashes) that punctuation takes along. */
static const uint8_t *trail(unsigned flags, const uint8_t *p,
                            const uint8_t *end) {
  unsigned kind = flags & WN_M_TRAIL;
  while (kind != 0 &&
         (wn_is_crlf(p, end) || (kind != WN_M_CRLF && p < end && *p == '/'))) {
    p++;
    if (kind == WN_M_SLASH1) break;
  }
  return p;
}

const uint8_t *wn_scan_modern(const wn_uni *u, unsigned flags, wn_level *lv) {
  const uint8_t *p = lv->p, *end = lv->end;
  if (flags & WN_M_LEAD) {
    size_t n = contraction(p, end, 0x20);
    if (n != 0) return p + n;
  }
  const uint8_t *e = p;
  if ((flags & WN_M_WORD) == WN_M_HAN) {
    while (han_at(e, end))
      e = wn_next(e);
    if (e > p) return e;
  }
  e = word(u, flags, p, end);
  if (e > p) return flags & WN_M_TAIL ? e + contraction(e, end, 0x20) : e;
  e = digits(u, flags, p, end);
  if (e > p) return e;
  unsigned punct = flags & WN_M_PUNCT_NO_M ? OTHER & ~WN_C_M : OTHER;
  const uint8_t *s = p + (*p == ' ');
  e = wn_skip(u, s, end, punct);
  if (e > s) return trail(flags, e, end);
  return white(u, flags, lv);
}
