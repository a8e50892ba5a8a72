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
enum { N_UNIFORM = 8 };

static unsigned bit_of(uint8_t cls) {
  unsigned b = 0;
  while (cls >> (b + 1) != 0)
    b++;
  return b;
}

/* Calls for each page: the row it needs. With rows == NULL only counts. */
static size_t unfold(wn_uni *u, uint8_t (*rows)[256]) {
  size_t n_rows = N_UNIFORM, r = 0;
  for (uint32_t pg = 0; pg < WN_N_PAGES; pg++) {
    uint32_t first = pg * 256;
    while (r + 1 < N_RANGES && RANGES[r + 1].first <= first)
      r++;
    bool uniform = r + 1 == N_RANGES || RANGES[r + 1].first >= first + 256;
    if (rows != NULL && !uniform) {
      size_t k = r;
      for (uint32_t i = 0; i < 256; i++) {
        while (k + 1 < N_RANGES && RANGES[k + 1].first <= first + i)
          k++;
        rows[n_rows][i] = RANGES[k].cls;
      }
    }
    u->page[pg] = (uint16_t)(uniform ? bit_of(RANGES[r].cls) : n_rows);
    n_rows += !uniform;
  }
  return n_rows;
}

bool wn_uni_init(wn_uni *u) {
  size_t n_rows = unfold(u, NULL);
  u->rows = wn_alloc(WN_MEM_TEXT, n_rows * 256);
  if (u->rows == NULL) return false;
  for (unsigned c = 0; c < N_UNIFORM; c++)
    memset(u->rows[c], 1 << c, 256);
  unfold(u, u->rows);
  return true;
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
