/* digest.c - see digest.h.
 *
 * The state is eight 64-bit lanes. A block of 64 bytes feeds one word to each
 * lane; pairs of lanes are mixed by a full 64 x 64 -> 128 bit product, whose
 * halves go back crosswise, so that each bit of input reaches every bit of
 * its pair within two blocks. The end mixes all lanes and the length. */
#include "base/digest.h"

#include <string.h>

/* Odd constants without structure: fractional digits of square roots of the
 * first primes, made odd. */
static const uint64_t seed[8] = {
    0x6a09e667f3bcc909u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu,
    0xa54ff53a5f1d36f1u, 0x510e527fade682d1u, 0x9b05688c2b3e6c1fu,
    0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
};

/* a * b as 128 bits. */
static inline void product(uint64_t a, uint64_t b, uint64_t *lo, uint64_t *hi) {
#if defined(__SIZEOF_INT128__)
  __extension__ typedef unsigned __int128 u128;
  u128 r = (u128)a * b;
  *lo = (uint64_t)r;
  *hi = (uint64_t)(r >> 64);
#else
  uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
  uint64_t ll = al * bl, lh = al * bh, hl = ah * bl, hh = ah * bh;
  uint64_t mid = (ll >> 32) + (uint32_t)lh + (uint32_t)hl;
  *lo = (mid << 32) | (uint32_t)ll;
  *hi = hh + (lh >> 32) + (hl >> 32) + (mid >> 32);
#endif
}

/* Mixes two words into a pair of lanes. A product alone would forget what is
 * multiplied by zero; the words themselves are therefore added as well. */
static inline void mix_pair(uint64_t *a, uint64_t *b, uint64_t x, uint64_t y,
                            uint64_t k) {
  uint64_t lo, hi;
  product(*a ^ x ^ k, *b ^ y, &lo, &hi);
  *a = ((*a << 29) | (*a >> 35)) + hi + y;
  *b = ((*b << 41) | (*b >> 23)) + (lo ^ x);
}

static void mix_block(uint64_t lane[8], const uint8_t *p) {
  uint64_t w[8];
  memcpy(w, p, sizeof w);
  for (int i = 0; i < 8; i += 2)
    mix_pair(&lane[i], &lane[i + 1], w[i], w[i + 1], seed[i]);
}

void wn_digest_init(wn_digest *d) {
  memset(d, 0, sizeof *d);
  memcpy(d->lane, seed, sizeof seed);
}

void wn_digest_add(wn_digest *d, const void *src, size_t n) {
  const uint8_t *p = src;
  size_t held = (size_t)(d->n % 64);
  d->n += n;
  if (held > 0) {
    size_t take = n < 64 - held ? n : 64 - held;
    memcpy(d->block + held, p, take);
    p += take;
    n -= take;
    if (held + take < 64) return;
    mix_block(d->lane, d->block);
  }
  for (; n >= 64; n -= 64, p += 64)
    mix_block(d->lane, p);
  if (n > 0) memcpy(d->block, p, n);
}

wn_digest_value wn_digest_end(const wn_digest *d) {
  uint64_t lane[8];
  uint8_t last[64] = {0};
  wn_digest_value v;
  memcpy(lane, d->lane, sizeof lane);
  memcpy(last, d->block, (size_t)(d->n % 64));
  mix_block(lane, last);
  for (int round = 0; round < 4; round++)
    for (int i = 0; i < 8; i += 2) {
      int j = (i + 3) % 8; /* the partner's other half moves on each round */
      mix_pair(&lane[i], &lane[j], d->n, lane[(i + 5) % 8], seed[7 - i]);
    }
  v.lo = lane[0] ^ lane[2] ^ lane[5] ^ lane[7];
  v.hi = lane[1] ^ lane[3] ^ lane[4] ^ lane[6];
  return v;
}

void wn_digest_hex(wn_digest_value v, char hex[33]) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < 16; i++) {
    hex[15 - i] = digits[(v.hi >> (4 * i)) & 15];
    hex[31 - i] = digits[(v.lo >> (4 * i)) & 15];
  }
  hex[32] = '\0';
}
