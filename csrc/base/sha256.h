/* sha256.h - SHA-256 (FIPS 180-4), for provenance that others can check with
 * the tools they have. Uses the CPU's SHA instructions where there are any. */
#ifndef WN_BASE_SHA256_H
#define WN_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct wn_sha256 {
  uint32_t state[8];
  uint64_t n;        /* bytes so far */
  uint8_t block[64]; /* bytes not yet hashed: n % 64 */
} wn_sha256;

void wn_sha256_init(wn_sha256 *s);
void wn_sha256_add(wn_sha256 *s, const void *p, size_t n);
/* 32 bytes of digest; s must be initialised anew afterwards. */
void wn_sha256_end(wn_sha256 *s, uint8_t out[32]);

/* 64 lower-case hex digits and a terminator. */
void wn_sha256_hex(const uint8_t digest[32], char hex[65]);

#endif
