/* spans.h - sets of characters as sorted spans, which the .def files list. */
#ifndef WN_TEXT_SPANS_H
#define WN_TEXT_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wn_char_span {
  uint32_t first, last;
} wn_char_span;
#define WN_SPAN(a, b) {0x##a, 0x##b},

static inline bool wn_in_spans(uint32_t cp, const wn_char_span *s, size_t n) {
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
#define WN_IN(cp, set) wn_in_spans(cp, set, sizeof set / sizeof set[0])

#endif
