/* nfc.c - Unicode normalisation form C of canonical UTF-8: see unicode.h.
 *
 * Text is decomposed, runs of marks are put in the order of their combining
 * classes, and what composes is composed (Unicode Standard Annex 15). A text
 * that needs none of it, the usual case, is found by one pass over the bytes.
 * Every step is linear: long runs of marks are sorted by counting. */
#include <string.h>

#include "base/mem.h"
#include "text/unicode.h"

typedef struct class_run {
  uint32_t first, last;
  uint8_t ccc;
} class_run;

static const class_run CLASSES[] = {
#define K(first, last, k) {0x##first, 0x##last, k},
#include "text/unicode_nfc.def"
#undef K
};

typedef struct step {
  uint32_t cp, a, b;
} step;

static const step DECOMPOSE[] = {
#define D(cp, a, b) {0x##cp, 0x##a, 0x##b},
#include "text/unicode_nfc.def"
#undef D
};

static const step COMPOSE[] = {
/* sorted by a, b */
#define C(a, b, cp) {0x##cp, 0x##a, 0x##b},
#include "text/unicode_nfc.def"
#undef C
};

enum {
  N_CLASSES = sizeof CLASSES / sizeof CLASSES[0],
  N_DECOMPOSE = sizeof DECOMPOSE / sizeof DECOMPOSE[0],
  N_COMPOSE = sizeof COMPOSE / sizeof COMPOSE[0],
  /* Hangul: 19 leading, 21 vowels, 27 trailing and none */
  SYL = 0xAC00,
  LEAD = 0x1100,
  VOWEL = 0x1161,
  TRAIL = 0x11A7,
  N_VT = 21 * 28,
  N_SYL = 19 * N_VT,
  MAX_DEPTH = 8
};

static uint8_t ccc_of(uint32_t cp) {
  size_t lo = 0, hi = N_CLASSES;
  if (cp < 0x300) return 0;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (CLASSES[mid].last < cp)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < N_CLASSES && CLASSES[lo].first <= cp ? CLASSES[lo].ccc : 0;
}

static const step *decomposition(uint32_t cp) {
  size_t lo = 0, hi = N_DECOMPOSE;
  if (cp < 0xC0) return NULL;
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (DECOMPOSE[mid].cp < cp)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo < N_DECOMPOSE && DECOMPOSE[lo].cp == cp ? &DECOMPOSE[lo] : NULL;
}

/* The code point that a and b compose into, or 0. */
static uint32_t composition(uint32_t a, uint32_t b) {
  size_t lo = 0, hi = N_COMPOSE;
  if (a - LEAD < 19 && b - VOWEL < 21)
    return SYL + (a - LEAD) * N_VT + (b - VOWEL) * 28;
  if (a - SYL < N_SYL && (a - SYL) % 28 == 0 && b - TRAIL - 1 < 27)
    return a + (b - TRAIL);
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    const step *s = &COMPOSE[mid];
    if (s->a < a || (s->a == a && s->b < b))
      lo = mid + 1;
    else
      hi = mid;
  }
  const step *s = &COMPOSE[lo];
  return lo < N_COMPOSE && s->a == a && s->b == b ? s->cp : 0;
}

size_t wn_nfd(uint32_t cp, uint32_t out[WN_NFD_MAX]) {
  if (cp - SYL < N_SYL) {
    uint32_t s = cp - SYL;
    out[0] = LEAD + s / N_VT;
    out[1] = VOWEL + s % N_VT / 28;
    out[2] = TRAIL + s % 28;
    return s % 28 != 0 ? 3 : 2;
  }
  uint32_t tail[MAX_DEPTH];
  size_t n = 0, n_tail = 0;
  const step *s;
  while (n_tail < WN_NFD_MAX - 1 && (s = decomposition(cp)) != NULL) {
    if (s->b != 0) tail[n_tail++] = s->b; /* b has no decomposition but 344 */
    cp = s->a;
  }
  out[n++] = cp;
  while (n_tail > 0)
    out[n++] = tail[--n_tail];
  return n;
}

/* Whether a text with cp may be in another form than NFC: marks, code points
 * that never stay, second parts of compositions. */
static bool suspect(uint32_t cp) {
  if (cp < 0x300) return false;
  if (ccc_of(cp) != 0 || cp - VOWEL < 21 || cp - TRAIL - 1 < 27) return true;
  const step *s = decomposition(cp);
  if (s != NULL) return s->b == 0 || composition(s->a, s->b) != cp;
  return (cp >= 0x900 && cp < 0x1200) || (cp >= 0x1B00 && cp < 0x1B80) ||
         (cp >= 0x11000 && cp < 0x12000); /* spacing marks that compose */
}

bool wn_is_nfc(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n;) {
    if (p[i] < 0xCC) {
      i += p[i] < 0x80 ? 1 : 2;
      continue;
    }
    unsigned len;
    if (suspect(wn_utf8_get(p + i, &len))) return false;
    i += len;
  }
  return true;
}

/* Marks a[0..n) in the order of their classes, equal ones as they were. */
static bool order_marks(uint32_t *a, size_t n) {
  if (n <= 32) {
    for (size_t i = 1; i < n; i++) {
      uint32_t x = a[i];
      uint8_t k = ccc_of(x);
      size_t j = i;
      for (; j > 0 && ccc_of(a[j - 1]) > k; j--)
        a[j] = a[j - 1];
      a[j] = x;
    }
    return true;
  }
  size_t start[257] = {0};
  uint32_t *b = wn_alloc(WN_MEM_TEXT, n * sizeof *b);
  if (b == NULL) return false;
  for (size_t i = 0; i < n; i++)
    start[ccc_of(a[i]) + 1]++;
  for (size_t k = 0; k < 256; k++)
    start[k + 1] += start[k];
  for (size_t i = 0; i < n; i++)
    b[start[ccc_of(a[i])]++] = a[i];
  memcpy(a, b, n * sizeof *a);
  wn_free(b);
  return true;
}

/* A starter and its marks, composed in place; returns what is left. A mark
 * composes with the starter unless a mark of its class or above stands
 * between them. Two starters side by side compose too. */
static size_t compose(uint32_t *a, size_t n) {
  size_t starter = 0, o = 0;
  bool have = false;
  uint8_t last = 0;
  for (size_t i = 0; i < n; i++) {
    uint8_t k = ccc_of(a[i]);
    bool next = have && o == starter + 1;
    if (have && (next || last < k)) {
      uint32_t c = composition(a[starter], a[i]);
      if (c != 0) {
        a[starter] = c;
        continue;
      }
    }
    if (k == 0) {
      starter = o;
      have = true;
    }
    last = k;
    a[o++] = a[i];
  }
  return o;
}

/* Decomposes the text into *cps, marks in order. */
static bool decompose(const uint8_t *p, size_t n, uint32_t *cps,
                      size_t *count) {
  size_t o = 0, marks = 0;
  for (size_t i = 0; i < n;) {
    unsigned len;
    size_t k = wn_nfd(wn_utf8_get(p + i, &len), cps + o);
    i += len;
    for (size_t j = 0; j < k; j++, o++) {
      if (ccc_of(cps[o]) != 0) continue;
      if (o - marks > 1 && !order_marks(cps + marks, o - marks)) return false;
      marks = o + 1;
    }
  }
  *count = o;
  return o - marks < 2 || order_marks(cps + marks, o - marks);
}

/* A stretch may end before a code point that starts anew: below U+0300, or
 * CJK. Stretches bound the memory; only a run without such a place is long. */
static size_t stretch(const uint8_t *p, size_t n) {
  size_t i = 4096;
  if (n <= i) return n;
  while (i < n && (p[i] & 0x80) != 0)
    i++;
  return i;
}

bool wn_nfc(uint8_t *out, const uint8_t *p, size_t n, size_t *n_out) {
  size_t o = 0;
  uint32_t *cps = NULL;
  size_t cap = 0;
  for (size_t i = 0, len; i < n; i += len) {
    size_t count = 0;
    len = stretch(p + i, n - i);
    if (wn_is_nfc(p + i, len)) {
      memcpy(out + o, p + i, len);
      o += len;
      continue;
    }
    if (cap < 2 * len + WN_NFD_MAX) { /* 2 bytes make at most 4, 3 make 9 */
      wn_free(cps);
      cap = 2 * len + WN_NFD_MAX;
      cps = wn_alloc(WN_MEM_TEXT, cap * sizeof *cps);
      if (cps == NULL) return false;
    }
    if (!decompose(p + i, len, cps, &count)) {
      wn_free(cps);
      return false;
    }
    count = compose(cps, count);
    for (size_t k = 0; k < count; k++)
      o += wn_utf8_put(out + o, cps[k]);
  }
  wn_free(cps);
  *n_out = o;
  return true;
}
