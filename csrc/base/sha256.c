/* sha256.c - see sha256.h. Names follow the standard: a..h are the working
 * variables, w the message schedule, K the round constants. */
#include "base/sha256.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "base/cpu.h"

/* Fractional parts of the cube roots of the first 64 primes. */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotr(uint32_t x, int n) {
  return (x >> n) | (x << (32 - n));
}

static inline uint32_t big_endian(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
         p[3];
}

static void schedule(uint32_t w[64], const uint8_t *p) {
  for (int t = 0; t < 16; t++)
    w[t] = big_endian(p + 4 * t);
  for (int t = 16; t < 64; t++) {
    uint32_t x = w[t - 15], y = w[t - 2];
    uint32_t s0 = rotr(x, 7) ^ rotr(x, 18) ^ (x >> 3);
    uint32_t s1 = rotr(y, 17) ^ rotr(y, 19) ^ (y >> 10);
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
}

static void blocks_portable(uint32_t state[8], const uint8_t *p, size_t n) {
  for (; n > 0; n--, p += 64) {
    uint32_t w[64], v[8]; /* v = a..h */
    schedule(w, p);
    memcpy(v, state, sizeof v);
    for (int t = 0; t < 64; t++) {
      uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25);
      uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
      uint32_t t1 = v[7] + s1 + choose + K[t] + w[t];
      uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
      uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
      memmove(v + 1, v, 7 * sizeof v[0]);
      v[4] += t1;
      v[0] = t1 + s0 + majority;
    }
    for (int i = 0; i < 8; i++)
      state[i] += v[i];
  }
}

#if defined(__x86_64__)
WN_TARGET_BEGIN("sha,sse4.1,ssse3")

/* The instructions keep the state as (a b e f) and (c d g h), do two rounds
 * at a time and make the schedule four words at a time. */
static void blocks_sha_ni(uint32_t state[8], const uint8_t *p, size_t n) {
  const __m128i swap =
      _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  __m128i dcba = _mm_loadu_si128((const __m128i *)state);
  __m128i hgfe = _mm_loadu_si128((const __m128i *)(state + 4));
  __m128i cdab = _mm_shuffle_epi32(dcba, 0xB1);
  __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
  for (; n > 0; n--, p += 64) {
    __m128i w[4], abef_in = abef, cdgh_in = cdgh;
    for (int t = 0; t < 16; t++) {
      if (t < 4) {
        w[t] = _mm_loadu_si128((const __m128i *)(p + 16 * t));
        w[t] = _mm_shuffle_epi8(w[t], swap);
      } else { /* w[t] from the four before it: w[t & 3] is the oldest */
        __m128i x = _mm_sha256msg1_epu32(w[t & 3], w[(t + 1) & 3]);
        __m128i y = _mm_alignr_epi8(w[(t + 3) & 3], w[(t + 2) & 3], 4);
        w[t & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(x, y), w[(t + 3) & 3]);
      }
      __m128i k = _mm_loadu_si128((const __m128i *)(K + 4 * t));
      __m128i wk = _mm_add_epi32(w[t & 3], k);
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
      wk = _mm_shuffle_epi32(wk, 0x0E);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, wk);
    }
    abef = _mm_add_epi32(abef, abef_in);
    cdgh = _mm_add_epi32(cdgh, cdgh_in);
  }
  __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
  __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

WN_TARGET_END

/* CPUID leaf 7, EBX bit 29; SSE4.1 is leaf 1, ECX bit 19. */
static int has_sha_ni(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (1u << 19)) == 0) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  return (b & (1u << 29)) != 0;
}
#endif

static void blocks(uint32_t state[8], const uint8_t *p, size_t n) {
#if defined(__x86_64__)
  if (wn_cpu_get()->isa != WN_ISA_REF && has_sha_ni()) {
    blocks_sha_ni(state, p, n);
    return;
  }
#endif
  blocks_portable(state, p, n);
}

void wn_sha256_init(wn_sha256 *s) {
  /* fractional parts of the square roots of the first 8 primes */
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372,
                                    0xa54ff53a, 0x510e527f, 0x9b05688c,
                                    0x1f83d9ab, 0x5be0cd19};
  memset(s, 0, sizeof *s);
  memcpy(s->state, start, sizeof start);
}

void wn_sha256_add(wn_sha256 *s, const void *src, size_t n) {
  const uint8_t *p = src;
  size_t held = (size_t)(s->n % 64);
  s->n += n;
  if (held > 0) {
    size_t take = n < 64 - held ? n : 64 - held;
    memcpy(s->block + held, p, take);
    p += take;
    n -= take;
    if (held + take < 64) return;
    blocks(s->state, s->block, 1);
  }
  if (n >= 64) blocks(s->state, p, n / 64);
  p += n / 64 * 64;
  if (n % 64 > 0) memcpy(s->block, p, n % 64);
}

void wn_sha256_end(wn_sha256 *s, uint8_t out[32]) {
  uint8_t tail[72] = {0x80};
  uint64_t bits = s->n * 8;
  size_t held = (size_t)(s->n % 64);
  size_t pad = (held < 56 ? 56 : 120) - held;
  for (int i = 0; i < 8; i++)
    tail[pad + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
  wn_sha256_add(s, tail, pad + 8);
  for (int i = 0; i < 32; i++)
    out[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

void wn_sha256_hex(const uint8_t digest[32], char hex[65]) {
  static const char digits[] = "0123456789abcdef";
  for (int i = 0; i < 32; i++) {
    hex[2 * i] = digits[digest[i] >> 4];
    hex[2 * i + 1] = digits[digest[i] & 15];
  }
  hex[64] = '\0';
}
