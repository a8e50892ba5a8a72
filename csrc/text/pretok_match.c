/* pretok_match.c - matches of the search stages of pretok.h: is there one
 * exactly here, and where does it end. Each looks at a bounded number of
 * characters beyond the match it returns. */
#include <string.h>

#include "text/pretok.h"

typedef struct span {
  uint32_t first, last;
} span;

#define S(a, b) \
  { 0x##a, 0x##b }

/* Letters with case of the scripts that DeepSeek's first models split. */
static const span DSLETTERS[] = {
    S(41, 5A),       S(61, 7A),       S(B5, B5),       S(C0, D6),
    S(D8, F6),       S(F8, 1BA),      S(1BC, 1BF),     S(1C4, 293),
    S(295, 2AF),     S(370, 373),     S(376, 377),     S(37B, 37D),
    S(37F, 37F),     S(386, 386),     S(388, 38A),     S(38C, 38C),
    S(38E, 3A1),     S(3A3, 3F5),     S(3F7, 481),     S(48A, 52F),
    S(531, 556),     S(10A0, 10C5),   S(13A0, 13F5),   S(13F8, 13FD),
    S(1C90, 1CBA),   S(1CBD, 1CBF),   S(1D00, 1D2B),   S(1D6B, 1D77),
    S(1D79, 1D9A),   S(1E00, 1F15),   S(1F18, 1F1D),   S(1F20, 1F45),
    S(1F48, 1F4D),   S(1F50, 1F57),   S(1F59, 1F59),   S(1F5B, 1F5B),
    S(1F5D, 1F5D),   S(1F5F, 1F7D),   S(1F80, 1FB4),   S(1FB6, 1FBC),
    S(1FBE, 1FBE),   S(1FC2, 1FC4),   S(1FC6, 1FCC),   S(1FD0, 1FD3),
    S(1FD6, 1FDB),   S(1FE0, 1FEC),   S(1FF2, 1FF4),   S(1FF6, 1FFC),
    S(2102, 2102),   S(2107, 2107),   S(210A, 2113),   S(2115, 2115),
    S(2119, 211D),   S(2124, 2124),   S(2126, 2126),   S(2128, 2128),
    S(212A, 212D),   S(212F, 2134),   S(2139, 2139),   S(213C, 213F),
    S(2145, 2149),   S(214E, 214E),   S(2183, 2184),   S(2C00, 2C7B),
    S(2C7E, 2CE4),   S(2CEB, 2CEE),   S(2CF2, 2CF3),   S(A640, A66D),
    S(A680, A69B),   S(A722, A76F),   S(A771, A787),   S(A78B, A78E),
    S(AB70, ABBF),   S(FB00, FB06),   S(FB13, FB17),   S(FF21, FF3A),
    S(FF41, FF5A),   S(10400, 1044F), S(104B0, 104D3), S(104D8, 104FB),
    S(10C80, 10CB2), S(10CC0, 10CF2), S(118A0, 118DF), S(1E900, 1E943)};
/* As upstream writes it: 3A..7E takes the ASCII letters too. */
static const span DSPUNCT[] = {S(21, 2F),     S(3A, 7E),     S(2018, 201F),
                               S(3000, 3002), S(FF01, FF0F), S(FF1A, FF5E)};
static const span DSCJK[] = {S(800, 9FA5), S(AC00, D7FF)};
static const span CJK[] = {S(3040, 30FF), S(4E00, 9FA5)};
static const span HANGUL[] = {S(3131, 318E), S(AC00, D7A3)};
static const span CJKPUNCT[] = {S(2014, 2014), S(2018, 2019), S(201C, 201D),
                                S(2026, 2026), S(3001, 303F), S(FE30, FE4F),
                                S(FF01, FF01), S(FF0C, FF0C), S(FF1A, FF1B)};
static const span BOPOMOFO[] = {S(3105, 312F)};
static const span AFMOE[] = {S(E40, EFF),   S(1000, 109F), S(1100, 11FF),
                             S(1780, 17FF), S(2F00, 2FDF), S(3040, 30FF),
                             S(3400, 4DBF), S(4E00, FAFF), S(FF65, FF9F)};
static const span BLOOM_NOT[] = {S(21, 21),     S(28, 29),     S(2C, 2C),
                                 S(2E, 2E),     S(3F, 3F),     S(7C, 7C),
                                 S(60C, 60C),   S(6D4, 6D4),   S(964, 964),
                                 S(2026, 2026), S(3001, 3002), S(FF0C, FF0C)};

static bool in(uint32_t cp, const span *s, size_t n) {
  size_t lo = 0, hi = n;
  while (lo < hi) { /* the first span that ends at or after cp */
    size_t mid = (lo + hi) / 2;
    if (s[mid].last < cp)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < n && s[lo].first <= cp;
}
#define IN(cp, set) in(cp, set, sizeof set / sizeof set[0])

/* The code point at p, with its length; white space beyond ASCII reads as a
 * vertical tab, so that it is in none of the sets above. */
static uint32_t at(const wn_uni *u, const uint8_t *p, const uint8_t *end,
                   unsigned *len) {
  *len = 0;
  if (p >= end) return UINT32_MAX;
  uint32_t cp = wn_utf8_get(p, len);
  return cp >= 0x80 && (wn_cp_class(u, cp) & WN_C_W) != 0 ? 0x0B : cp;
}

static const uint8_t *run(const wn_uni *u, const uint8_t *p, const uint8_t *end,
                          const span *set, size_t n) {
  const uint8_t *q = p;
  unsigned len;
  while (in(at(u, q, end, &len), set, n))
    q += len;
  return q > p ? q : NULL;
}
#define RUN(p, set) run(u, p, end, set, sizeof set / sizeof set[0])

/* p, or after one white-space character. */
static const uint8_t *past_ws(const wn_uni *u, const uint8_t *p,
                              const uint8_t *end) {
  return (wn_cls(u, p, end) & WN_C_W) != 0 ? wn_next(p) : p;
}

/* A run of the classes of mask, of at most max characters (0: any). */
static const uint8_t *class_run(const wn_uni *u, const uint8_t *p,
                                const uint8_t *end, unsigned mask,
                                unsigned max) {
  const uint8_t *q = p;
  if (max == 0) {
    q = wn_skip(u, p, end, mask);
  } else {
    while (max-- > 0 && (wn_cls(u, q, end) & mask) != 0)
      q = wn_next(q);
  }
  return q > p ? q : NULL;
}

static bool is_ascii_punct(const uint8_t *p, const uint8_t *end) {
  return p<end && * p> ' ' && *p < 0x7F &&
         !((*p >= '0' && *p <= '9') || ((*p | 32) >= 'a' && (*p | 32) <= 'z'));
}

static const uint8_t *punct_run(const wn_uni *u, const uint8_t *p,
                                const uint8_t *end, const char *more) {
  const uint8_t *q = p;
  while (q < end && ((wn_cls(u, q, end) & WN_C_P) != 0 ||
                     (*q != 0 && *q < 0x80 && strchr(more, *q) != NULL)))
    q = wn_next(q);
  return q > p ? q : NULL;
}

static const uint8_t *bloom(const wn_uni *u, const uint8_t *p,
                            const uint8_t *end) {
  const uint8_t *s = p + (*p == ' '), *q = s;
  unsigned len;
  for (uint32_t cp; q < end; q += len) {
    cp = at(u, q, end, &len);
    if ((wn_cls(u, q, end) & WN_C_W) != 0 || IN(cp, BLOOM_NOT)) break;
  }
  return q > s ? q : NULL;
}

static bool is_digit(const uint8_t *p, const uint8_t *end) {
  return p < end && *p >= '0' && *p <= '9';
}

static const uint8_t *literal(const uint8_t *p, const uint8_t *end,
                              const char *text) {
  size_t n = strlen(text);
  return (size_t)(end - p) >= n && memcmp(p, text, n) == 0 ? p + n : NULL;
}

static const uint8_t *sentinel(const uint8_t *p, const uint8_t *end) {
  const uint8_t *q = literal(p, end, "<sentinel:");
  if (q == NULL || !is_digit(q, end)) return NULL;
  while (is_digit(q, end))
    q++;
  return q < end && *q == '>' ? q + 1 : NULL;
}

static const uint8_t *image(const uint8_t *p, const uint8_t *end) {
  const uint8_t *q = literal(p, end, "IMGIMG");
  if (q == NULL) return NULL;
  unsigned n = 0;
  for (; n < 4 && q < end && *q >= 'A' && *q <= 'I'; n++)
    q++;
  return n > 0 && q < end && *q == 'Z' ? q + 1 : NULL;
}

static const uint8_t *cham_ws(const uint8_t *p, const uint8_t *end) {
  if (*p == '\t' || *p == '\n') return p + 1;
  const uint8_t *q = literal(p, end, "    ");
  return q != NULL ? q : literal(p, end, "  ");
}

/* White space of WN_ST_DEEPSEEK: to the last line end of the run, or all but
 * one. WN_ST_SPARK: one line end; else all but one. */
static const uint8_t *ds_white(const wn_uni *u, const uint8_t *p,
                               const uint8_t *end, bool spark) {
  const uint8_t *q = p, *line = NULL, *last = p;
  if (spark && wn_is_crlf(p, end)) return p + 1;
  for (; (wn_cls(u, q, end) & WN_C_W) != 0; q = wn_next(q)) {
    last = q;
    if (*q == '\r' || *q == '\n') line = q + 1;
  }
  if (q == p) return NULL;
  if (line != NULL && !spark) return line;
  return q == end || last == p ? q : last;
}

/* [ASCII punctuation][A-Za-z]+ | [^\r\n L P S]?[L M]+ | ?[P S]+[\r\n]* |
 * white space. Numbers and control characters match nothing. */
static const uint8_t *deepseek(const wn_uni *u, const uint8_t *p,
                               const uint8_t *end, bool spark) {
  const uint8_t *q = p + 1;
  if (is_ascii_punct(p, end)) {
    while (q < end && (*q | 32) >= 'a' && (*q | 32) <= 'z')
      q++;
    if (q > p + 1) return q;
  }
  uint16_t c = wn_cls(u, p, end);
  bool prefix = (c & (WN_C_L | WN_C_P | WN_C_S)) == 0 && !wn_is_crlf(p, end);
  const uint8_t *s = prefix ? wn_next(p) : p;
  q = wn_skip(u, s, end, WN_C_L | WN_C_M);
  if (q > s) return q;
  if (c & WN_C_M) return s;
  s = p + (*p == ' ');
  q = wn_skip(u, s, end, WN_C_P | WN_C_S);
  if (q > s) {
    while (!spark && wn_is_crlf(q, end))
      q++;
    return q;
  }
  return ds_white(u, p, end, spark);
}

static const uint8_t *youtu(const wn_uni *u, const uint8_t *p,
                            const uint8_t *end) {
  const uint8_t *q = RUN(p, HANGUL);
  if (q == NULL) q = RUN(p, CJKPUNCT);
  if (q == NULL) q = RUN(p, BOPOMOFO);
  return q != NULL ? q : RUN(p, CJK);
}

const uint8_t *wn_match_search(const wn_uni *u, wn_pre_stage st,
                               const uint8_t *p, const uint8_t *end) {
  switch (st) {
    case WN_ST_N1:
      return class_run(u, p, end, WN_C_N, 1);
    case WN_ST_N3:
      return class_run(u, p, end, WN_C_N, 3);
    case WN_ST_NS:
      return class_run(u, p, end, WN_C_N, 0);
    case WN_ST_DIGITS3:
      return is_digit(p, end) && is_digit(p + 1, end) && is_digit(p + 2, end)
                 ? p + 3
                 : NULL;
    case WN_ST_CRLF:
      return wn_is_crlf(p, end) ? p + 1 : NULL;
    case WN_ST_PUNCT:
      return punct_run(u, p, end, "$+<=>^~|");
    case WN_ST_PUNCT_TICK:
      return punct_run(u, p, end, "$+<=>^~|`");
    case WN_ST_ANY_PUNCT:
      return is_ascii_punct(p, end) || (wn_cls(u, p, end) & WN_C_P) != 0
                 ? wn_next(p)
                 : NULL;
    case WN_ST_BLOOM:
      return bloom(u, p, end);
    case WN_ST_WORDS:
      return class_run(u, p, end, 0xFF & ~(unsigned)WN_C_W, 0);
    case WN_ST_WS_LETTERS:
      return class_run(u, past_ws(u, p, end), end, WN_C_L, 0);
    case WN_ST_WS_PUNCT:
      return class_run(u, past_ws(u, p, end), end, WN_C_P, 0);
    case WN_ST_WS_DSLETTERS:
      return RUN(past_ws(u, p, end), DSLETTERS);
    case WN_ST_WS_DSPUNCT:
      return RUN(past_ws(u, p, end), DSPUNCT);
    case WN_ST_DSCJK:
      return RUN(p, DSCJK);
    case WN_ST_CJK:
      return RUN(p, CJK);
    case WN_ST_YOUTU:
      return youtu(u, p, end);
    case WN_ST_AFMOE:
      return RUN(p, AFMOE);
    case WN_ST_SENTINEL:
      return sentinel(p, end);
    case WN_ST_IMAGE:
      return image(p, end);
    case WN_ST_CHAM_WS:
      return cham_ws(p, end);
    case WN_ST_DEEPSEEK:
      return deepseek(u, p, end, false);
    case WN_ST_SPARK:
      return deepseek(u, p, end, true);
    default:
      return NULL;
  }
}
