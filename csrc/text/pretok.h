/* pretok.h - pre-tokenizers: where byte-pair merging may not cross.
 *
 * Each `tokenizer.ggml.pre` name stands for a list of stages. The first stage
 * cuts the text into pieces, the next cuts each piece again, and so on; the
 * pieces of the last stage are the words that BPE sees. Upstream describes
 * stages by regular expressions. Here each is a hand-written scanner with
 * bounded look-ahead: a whole text costs linear time, no recursion and no
 * memory. Text is canonical UTF-8 (unicode.h). */
#ifndef WN_TEXT_PRETOK_H
#define WN_TEXT_PRETOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/unicode.h"

/* What a stage does. Full scanners give a piece wherever they stand; search
 * scanners (from WN_ST_SEARCH on) find matches, and what lies between two
 * matches is a piece too. */
typedef enum wn_pre_stage {
  WN_ST_END,
  WN_ST_GPT2,     /* 's|'t|..| ?L+| ?N+| ?[^ws L N]+|\s+(?!\S) */
  WN_ST_MODERN,   /* contractions, words, digits, punctuation: see flags */
  WN_ST_LINES,    /* [^\n]+|\n+ */
  WN_ST_DIGITS3R, /* digits in threes from the right, text before attached */
  WN_ST_THREES,   /* ASCII digits in threes from the right */
  WN_ST_SEARCH,
  WN_ST_N1 = WN_ST_SEARCH, /* \p{N} */
  WN_ST_N3,                /* \p{N}{1,3} */
  WN_ST_NS,                /* \p{N}+ */
  WN_ST_DIGITS3,           /* [0-9][0-9][0-9] */
  WN_ST_CRLF,              /* [\r\n] */
  WN_ST_PUNCT,             /* [\p{P}$+<=>^~|]+ */
  WN_ST_PUNCT_TICK,        /* the same with ` */
  WN_ST_ANY_PUNCT,         /* one \p{P} or ASCII symbol */
  WN_ST_BLOOM,             /* ?[^(\s|.,!?...)]+ */
  WN_ST_WORDS,             /* \S+ */
  WN_ST_WS_LETTERS,        /* \s?\p{L}+ */
  WN_ST_WS_PUNCT,          /* \s?\p{P}+ */
  WN_ST_WS_DSLETTERS,      /* \s?[alphabets]+ */
  WN_ST_WS_DSPUNCT,        /* \s?[!-/:-~...]+ */
  WN_ST_TAIL_WS,           /* \s+$ */
  WN_ST_DSCJK,             /* [CJK, Hangul]+ */
  WN_ST_CJK,               /* [CJK, kana]+ */
  WN_ST_YOUTU,             /* Hangul+ | CJK punctuation+ | bopomofo+ | CJK+ */
  WN_ST_AFMOE,             /* [Asian scripts]+ */
  WN_ST_SENTINEL,          /* <sentinel:[0-9]+> */
  WN_ST_IMAGE,             /* IMGIMG[A-I]{1,4}Z */
  WN_ST_CHAM_WS,           /* [\t\n]|four spaces|two spaces */
  WN_ST_DEEPSEEK,          /* punctuation+latin, words, punctuation, ws */
  WN_ST_SPARK,             /* the same, line ends one by one */
} wn_pre_stage;

/* Parts of WN_ST_MODERN, which tries in this order: leading contraction,
 * word, digits, punctuation, white space. */
enum {
  /* 's 't 're 've 'm 'll 'd, either case */
  WN_M_LEAD = 1, /* as a piece of their own */
  WN_M_TAIL = 2, /* attached to the word before */
  /* the word, after at most one character that is no letter, number or line
   * end; exactly one of these */
  WN_M_L = 1 << 2,      /* \p{L}+ */
  WN_M_LM = 2 << 2,     /* [\p{L}\p{M}]+ */
  WN_M_CASED = 3 << 2,  /* upper* lower+ | upper+ lower* */
  WN_M_CASEDM = 4 << 2, /* the same with marks */
  WN_M_SPACED = 5 << 2, /* L M* words joined by single spaces */
  WN_M_HAN = 6 << 2,    /* Han+ | other letters+ */
  WN_M_WORD = 7 << 2,   /* mask */
  /* digits of a piece: unlimited, or at most */
  WN_M_N1 = 1 << 5,
  WN_M_N3 = 2 << 5,
  WN_M_NUM = 3 << 5, /* mask */
  WN_M_PUNCT_NO_M = 1 << 7,
  /* what punctuation takes along: nothing, or */
  WN_M_CRLF = 1 << 8,   /* [\r\n]* */
  WN_M_SLASH = 2 << 8,  /* [\r\n/]* */
  WN_M_SLASH1 = 3 << 8, /* [\r\n/]? */
  WN_M_TRAIL = 3 << 8,  /* mask */
  WN_M_HALVES = 1 << 10 /* white space in pieces of 512, 256, ... 4, 2, 1 */
};

enum { WN_MAX_STAGES = 6 };

/* What a `pre` name means; flags of the vocabulary that depend on it too. */
typedef struct wn_pre {
  const char *name;
  uint8_t stages[WN_MAX_STAGES + 1];
  uint16_t modern; /* WN_M_*, for WN_ST_MODERN */
  uint16_t props;  /* WN_P_* */
} wn_pre;

enum {
  WN_P_KEEP_SPACES = 1,   /* no clean-up of spaces when decoding */
  WN_P_IGNORE_MERGES = 2, /* a word that is a token is that token */
  WN_P_ADD_BOS = 4,       /* unless the file says otherwise */
  WN_P_ADD_SEP = 8,       /* the same */
  WN_P_RAW = 16,          /* tokens are UTF-8, not the byte alphabet */
  WN_P_ESCAPE = 32,       /* spaces become U+2581 */
  WN_P_NO_BOS = 64,       /* no default beginning-of-sequence id */
  WN_P_LINE_TOKENS = 128, /* a run of \n that is a token is that token */
  WN_P_FORCE_BOS = 256,   /* even when the file says otherwise */
  WN_P_KEEP_CASE = 512,   /* `whitespace` model: no lower-casing by default */
  WN_P_NFC = 1024,        /* exact: text is normalised first */
};

/* The row of a name, or NULL. The empty name means "default". */
const wn_pre *wn_pre_find(const char *name, size_t n);
/* Row i, or NULL past the last: for listing. */
const wn_pre *wn_pre_at(size_t i);

/* One level of cutting: where it stands in its piece, and what it knows. */
typedef struct wn_level {
  const uint8_t *p, *end;
  const uint8_t *hit, *hit_end; /* the next match, already found */
  const uint8_t *memo; /* up to here a run was measured: see the scanners */
} wn_level;

typedef struct wn_cutter {
  const wn_uni *uni;
  const wn_pre *pre;
  unsigned modern;    /* flags of WN_ST_MODERN */
  unsigned top, last; /* current and last level */
  wn_level level[WN_MAX_STAGES];
} wn_cutter;

void wn_cut_start(wn_cutter *c, const wn_uni *u, const wn_pre *pre,
                  const uint8_t *text, size_t n);
/* The next word, or false at the end. Words cover the text without gaps. */
bool wn_cut_next(wn_cutter *c, const uint8_t **word, size_t *n);

/* ---- between the files of this module ---- */

/* A match that starts exactly at p, its end; NULL when there is none. */
const uint8_t *wn_match_search(const wn_uni *u, wn_pre_stage st,
                               const uint8_t *p, const uint8_t *end);
/* End of the piece at lv->p. */
const uint8_t *wn_scan_gpt2(const wn_uni *u, const uint8_t *p,
                            const uint8_t *end);
const uint8_t *wn_scan_modern(const wn_uni *u, unsigned flags, wn_level *lv);

/* Helpers of scanners. `end` reads as class 0 and code point UINT32_MAX. */
static inline uint16_t wn_cls(const wn_uni *u, const uint8_t *p,
                              const uint8_t *end) {
  unsigned len;
  if (p >= end) return 0;
  return *p < 0x80 ? u->rows[u->page[0]][*p]
                   : wn_cp_class(u, wn_utf8_get(p, &len));
}

static inline uint8_t wn_byte(const uint8_t *p, const uint8_t *end) {
  return p < end ? *p : 0;
}

static inline bool wn_is_crlf(const uint8_t *p, const uint8_t *end) {
  return p < end && (*p == '\r' || *p == '\n');
}

/* First position at or after p whose class is not in mask. */
static inline const uint8_t *wn_skip(const wn_uni *u, const uint8_t *p,
                                     const uint8_t *end, unsigned mask) {
  const uint16_t *ascii = u->rows[u->page[0]];
  for (;;) {
    while (p < end && *p < 0x80 && (ascii[*p] & mask) != 0)
      p++;
    if (p >= end || *p < 0x80) return p;
    unsigned len;
    if ((wn_cp_class(u, wn_utf8_get(p, &len)) & mask) == 0) return p;
    p += len;
  }
}

static inline const uint8_t *wn_next(const uint8_t *p) {
  return p + wn_utf8_len(*p);
}

#endif
