/* digest.h - a fast 128-bit digest of bytes, for noticing change.
 *
 * Used for journals, resuming and reuse: it runs at memory speed, and two
 * different contents have the same digest with a probability of about 2^-128
 * unless somebody constructs them on purpose (it is not cryptographic; use
 * sha256.h where that matters). The result does not depend on how the input
 * was cut into calls. Little-endian machines only, like the files. */
#ifndef WN_BASE_DIGEST_H
#define WN_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

typedef struct wn_digest {
  uint64_t lane[8];  /* the running state */
  uint64_t n;        /* bytes so far */
  uint8_t block[64]; /* bytes not yet mixed in: n % 64 */
} wn_digest;

typedef struct wn_digest_value {
  uint64_t lo, hi;
} wn_digest_value;

void wn_digest_init(wn_digest *d);
void wn_digest_add(wn_digest *d, const void *p, size_t n);
/* The digest of everything added; d may go on afterwards. */
wn_digest_value wn_digest_end(const wn_digest *d);

/* 32 lower-case hex digits and a terminator. */
void wn_digest_hex(wn_digest_value v, char hex[33]);

#endif
