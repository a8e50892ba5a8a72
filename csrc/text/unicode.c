/* unicode.c - see unicode.h. */
#include "text/unicode.h"

#include <string.h>

#include "base/mem.h"

/* ---- classes ---- */

typedef struct range {
  uint32_t first;
  uint8_t cls;
} range;

static const range RANGES[] = {
#define R(first, c) {0x##first, WN_C_##c},
#include "text/unicode_class.def"
#undef R
};
enum { N_RANGES = sizeof RANGES / sizeof RANGES[0] };

/* Rows 0..7 are uniform, one per class; pages of mixed classes follow. */
enum { N_UNIFORM = 8, N_CPS = 0x110000 };

static unsigned bit_of(uint16_t cls) {
  unsigned b = 0;
  while (cls >> (b + 1) != 0)
    b++;
  return b;
}

static const struct patch {
  uint32_t first, last;
  uint16_t cls;
} PATCHES[] = {
#define X(first, last, c) {0x##first, 0x##last, WN_C_##c},
#include "text/unicode_exact.def"
#undef X
};

static const struct cased {
  uint32_t first, last;
  uint16_t step, cls;
} CASED[] = {
#define U(first, last, step, c) {0x##first, 0x##last, step, WN_C_##c},
#include "text/unicode_exact.def"
#undef U
};

/* The class of every code point, in a table of N_CPS. */
static void spread(uint16_t *cls, bool exact) {
  for (size_t r = 0; r < N_RANGES; r++) {
    uint32_t end = r + 1 < N_RANGES ? RANGES[r + 1].first : N_CPS;
    for (uint32_t c = RANGES[r].first; c < end; c++)
      cls[c] = RANGES[r].cls;
  }
  if (!exact) {
    for (uint32_t c = 'a'; c <= 'z'; c++) {
      cls[c] |= WN_C_LOW;
      cls[c - 32] |= WN_C_UP;
    }
    return;
  }
  for (size_t i = 0; i < sizeof PATCHES / sizeof PATCHES[0]; i++)
    for (uint32_t c = PATCHES[i].first; c <= PATCHES[i].last; c++)
      cls[c] = PATCHES[i].cls;
  for (size_t i = 0; i < sizeof CASED / sizeof CASED[0]; i++)
    for (uint32_t c = CASED[i].first; c <= CASED[i].last; c += CASED[i].step)
      cls[c] |= CASED[i].cls;
}

static bool is_uniform(const uint16_t *page) {
  if (page[0] > WN_C_U) return false; /* with a case bit: no row of its own */
  for (unsigned i = 1; i < 256; i++)
    if (page[i] != page[0]) return false;
  return true;
}

bool wn_uni_init(wn_uni *u, bool exact) {
  size_t n_rows = N_UNIFORM;
  uint16_t *cls = wn_alloc(WN_MEM_TEXT, N_CPS * sizeof *cls);
  if (cls == NULL) return false;
  u->exact = exact;
  spread(cls, exact);
  for (uint32_t pg = 0; pg < WN_N_PAGES; pg++) {
    const uint16_t *page = cls + pg * 256;
    u->page[pg] = (uint16_t)(is_uniform(page) ? bit_of(page[0]) : n_rows++);
  }
  u->rows = wn_alloc(WN_MEM_TEXT, n_rows * sizeof *u->rows);
  for (unsigned c = 0; u->rows != NULL && c < N_UNIFORM; c++)
    for (unsigned i = 0; i < 256; i++)
      u->rows[c][i] = (uint16_t)(1 << c);
  for (uint32_t pg = 0; u->rows != NULL && pg < WN_N_PAGES; pg++)
    if (u->page[pg] >= N_UNIFORM)
      memcpy(u->rows[u->page[pg]], cls + pg * 256, sizeof *u->rows);
  wn_free(cls);
  return u->rows != NULL;
}

void wn_uni_free(wn_uni *u) {
  wn_free(u->rows);
  u->rows = NULL;
}

/* ---- mappings, by binary search ---- */

typedef struct lower_run {
  uint32_t first, last, step;
  int32_t delta;
} lower_run;

static const lower_run LOWER[] = {
#define T(first, last, step, delta) {0x##first, 0x##last, step, delta},
#include "text/unicode_lower.def"
#undef T
};

uint32_t wn_lower(uint32_t cp) {
  if (cp < 0x80) return cp - 'A' < 26 ? cp + 32 : cp;
  size_t lo = 0, hi = sizeof LOWER / sizeof LOWER[0];
  while (lo < hi) { /* the first run that ends at or after cp */
    size_t mid = (lo + hi) / 2;
    if (LOWER[mid].last < cp)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo == sizeof LOWER / sizeof LOWER[0]) return cp;
  const lower_run *r = &LOWER[lo];
  if (cp < r->first || (cp - r->first) % r->step != 0) return cp;
  return (uint32_t)((int32_t)cp + r->delta);
}

typedef struct nfd_run {
  uint32_t first, last, base;
} nfd_run;

static const nfd_run NFD[] = {
#define D(first, last, base) {0x##first, 0x##last, 0x##base},
#include "text/unicode_nfd.def"
#undef D
};

uint32_t wn_nfd_base(uint32_t cp) {
  if (cp < 0xC0) return cp;
  size_t lo = 0, hi = sizeof NFD / sizeof NFD[0];
  while (lo < hi) {
    size_t mid = (lo + hi) / 2;
    if (NFD[mid].last < cp)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo == sizeof NFD / sizeof NFD[0] || cp < NFD[lo].first) return cp;
  return NFD[lo].base;
}

/* ---- UTF-8 ---- */

static bool is_tail(const uint8_t *p, size_t n, unsigned count) {
  if (n <= count) return false;
  for (unsigned i = 1; i <= count; i++)
    if ((p[i] & 0xC0) != 0x80) return false;
  return true;
}

unsigned wn_utf8_decode(const uint8_t *p, size_t n, uint32_t *cp) {
  unsigned len = 0;
  uint8_t b = p[0];
  if (b < 0x80) {
    *cp = b;
    return 1;
  }
  unsigned tail = b < 0xC0 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : b < 0xF8 ? 3 : 0;
  if (tail == 0 || !is_tail(p, n, tail)) return 0;
  uint32_t v = wn_utf8_get(p, &len);
  if (v > 0x10FFFF) return 0;
  *cp = v;
  return len;
}

unsigned wn_utf8_put(uint8_t out[4], uint32_t cp) {
  if (cp < 0x80) {
    out[0] = (uint8_t)cp;
    return 1;
  }
  unsigned n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
  for (unsigned i = n - 1; i > 0; i--, cp >>= 6)
    out[i] = (uint8_t)(0x80 | (cp & 0x3F));
  out[0] = (uint8_t)(0xF00u >> n | cp);
  return n;
}

bool wn_utf8_is_clean(const uint8_t *p, size_t n) {
  size_t i = 0;
  while (i < n) {
    uint64_t eight;
    if (n - i >= 8 && (memcpy(&eight, p + i, 8),
                       (eight & UINT64_C(0x8080808080808080)) == 0)) {
      i += 8;
      continue;
    }
    if (p[i] < 0x80) {
      i++;
      continue;
    }
    uint32_t cp;
    uint8_t form[4];
    unsigned len = wn_utf8_decode(p + i, n - i, &cp);
    if (len == 0 || wn_utf8_put(form, cp) != len) return false;
    i += len;
  }
  return true;
}

size_t wn_utf8_clean(uint8_t *out, const uint8_t *p, size_t n) {
  size_t o = 0;
  for (size_t i = 0; i < n;) {
    uint32_t cp = 0xFFFD;
    unsigned len = wn_utf8_decode(p + i, n - i, &cp);
    i += len != 0 ? len : 1;
    o += wn_utf8_put(out + o, cp);
  }
  return o;
}

/* ---- the byte-level alphabet ---- */

static bool is_plain(uint32_t b) {
  return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xFF && b != 0xAD);
}

/* The others in order: 00..20, 7F..A0, AD. */
uint32_t wn_byte_to_cp(uint8_t b) {
  if (is_plain(b)) return b;
  if (b <= 0x20) return 0x100u + b;
  return b == 0xAD ? 0x143 : 0x121u + (b - 0x7Fu);
}

int wn_cp_to_byte(uint32_t cp) {
  if (cp < 0x100) return is_plain(cp) ? (int)cp : -1;
  if (cp <= 0x120) return (int)(cp - 0x100);
  if (cp <= 0x142) return (int)(cp - 0x121 + 0x7F);
  return cp == 0x143 ? 0xAD : -1;
}
