/* unicode.h - code points: UTF-8 in and out, classes, lower case, accents.
 *
 * Tokenizers see text as canonical UTF-8: every sequence decodes, shortest
 * form, at most U+10FFFF (surrogates, as three bytes, are kept as llama.cpp
 * keeps them). wn_utf8_clean makes it so; all other functions here rely on
 * it and never read past `end`.
 *
 * A class is one bit, so that a set of classes is a mask. The tables come
 * from unicode_*.def and are unfolded once per vocabulary into pages of 256
 * code points, equal pages shared by class. */
#ifndef WN_TEXT_UNICODE_H
#define WN_TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  WN_C_L = 1,     /* letter */
  WN_C_N = 2,     /* number */
  WN_C_M = 4,     /* mark */
  WN_C_P = 8,     /* punctuation */
  WN_C_S = 16,    /* symbol */
  WN_C_W = 32,    /* white space */
  WN_C_C = 64,    /* control, format, surrogate, private use */
  WN_C_U = 128,   /* unassigned */
  WN_C_UP = 256,  /* with L: upper and title case */
  WN_C_LOW = 512, /* with L: lower case */
};

enum { WN_N_PAGES = 0x110000 / 256 };

typedef struct wn_uni {
  uint16_t page[WN_N_PAGES]; /* which row of `rows` a page of 256 uses */
  uint16_t (*rows)[256];
  bool exact; /* as wn_uni_init was told */
} wn_uni;

/* Unfolds the class table; false when memory is out. `exact`: the classes and
 * cases of Hugging Face's tokenizers; else llama.cpp's, to which only ASCII
 * letters have case. */
bool wn_uni_init(wn_uni *u, bool exact);
void wn_uni_free(wn_uni *u);

static inline uint16_t wn_cp_class(const wn_uni *u, uint32_t cp) {
  return u->rows[u->page[cp >> 8]][cp & 255];
}

/* Simple lower case of cp (itself when it has none). */
uint32_t wn_lower(uint32_t cp);
/* First code point of cp's canonical decomposition. */
uint32_t wn_nfd_base(uint32_t cp);

/* Normalisation form C (nfc.c). out has room for 3 * n bytes; false when
 * memory is out. wn_is_nfc is quick and errs only towards false. */
bool wn_is_nfc(const uint8_t *p, size_t n);
bool wn_nfc(uint8_t *out, const uint8_t *p, size_t n, size_t *n_out);
/* Full canonical decomposition of one code point; returns how many. */
enum { WN_NFD_MAX = 8 };
size_t wn_nfd(uint32_t cp, uint32_t out[WN_NFD_MAX]);

/* Bytes of the character that starts with byte b of canonical text. */
static inline unsigned wn_utf8_len(uint8_t b) {
  return b < 0xC0 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
}

/* The code point at p of canonical text, its length in *len. */
static inline uint32_t wn_utf8_get(const uint8_t *p, unsigned *len) {
  uint32_t b = p[0];
  if (b < 0x80) {
    *len = 1;
    return b;
  }
  if (b < 0xE0) {
    *len = 2;
    return (b & 0x1F) << 6 | (p[1] & 0x3Fu);
  }
  if (b < 0xF0) {
    *len = 3;
    return (b & 0x0F) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
  }
  *len = 4;
  return (b & 0x07) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 |
         (p[3] & 0x3Fu);
}

/* Decodes one character of any bytes, 0 < n. Returns its length, or 0 when
 * p[0] starts no sequence that llama.cpp accepts (it then counts as one
 * U+FFFD); over-long forms decode, values above U+10FFFF do not. */
unsigned wn_utf8_decode(const uint8_t *p, size_t n, uint32_t *cp);

/* Writes cp (at most U+10FFFF) to out, returns 1..4. */
unsigned wn_utf8_put(uint8_t out[4], uint32_t cp);

/* True when the n bytes are canonical already. */
bool wn_utf8_is_clean(const uint8_t *p, size_t n);

/* Canonical form of n bytes: each byte that starts no character becomes
 * U+FFFD, over-long forms shrink. out has room for 3 * n bytes; returns the
 * length. */
size_t wn_utf8_clean(uint8_t *out, const uint8_t *p, size_t n);

/* The byte-level alphabet of GPT-2: each byte is written as one code point,
 * printable Latin-1 as itself, the other 68 as U+0100 + their rank. */
uint32_t wn_byte_to_cp(uint8_t b);
/* Back: 0..255, or -1 for a code point outside the alphabet. */
int wn_cp_to_byte(uint32_t cp);

#endif
