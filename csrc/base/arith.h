/* arith.h - checked arithmetic on numbers that come from outside.
 *
 * Each function stores the result and returns true, or returns false when it
 * would not fit and leaves *r alone. No file number is ever added or
 * multiplied in any other way. Limits are compared by subtraction:
 * `n > size - off` after `off <= size`. */
#ifndef WN_BASE_ARITH_H
#define WN_BASE_ARITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool wn_add(uint64_t a, uint64_t b, uint64_t *r) {
  if (a > UINT64_MAX - b) return false;
  *r = a + b;
  return true;
}

static inline bool wn_mul(uint64_t a, uint64_t b, uint64_t *r) {
  if (b != 0 && a > UINT64_MAX / b) return false;
  *r = a * b;
  return true;
}

/* *r = a rounded up to a multiple of `to`, a power of two. */
static inline bool wn_pad(uint64_t a, uint64_t to, uint64_t *r) {
  uint64_t up;
  if (!wn_add(a, to - 1, &up)) return false;
  *r = up & ~(to - 1);
  return true;
}

/* *r = a as size_t; fails where size_t is narrower (32-bit hosts). */
static inline bool wn_size(uint64_t a, size_t *r) {
  if (a > SIZE_MAX) return false;
  *r = (size_t)a;
  return true;
}

/* True when [off, off + n) lies inside [0, size). */
static inline bool wn_inside(uint64_t off, uint64_t n, uint64_t size) {
  return off <= size && n <= size - off;
}

#endif
