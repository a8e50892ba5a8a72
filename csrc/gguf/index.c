/* index.c - see index.h. Open addressing, linear probing, at most half full. */
#include "gguf/index.h"

#include <pthread.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <sys/random.h>
#endif

#include "base/mem.h"
#include "gguf/gguf.h"

/* the half of a slot that holds the position + 1 */
#define LOW ((uint64_t)0xffffffffu)

static uint64_t key0, key1;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void make_key(void) {
  uint64_t k[2] = {0, 0};
  struct timespec now;
#if defined(__linux__)
  if (getrandom(k, sizeof k, GRND_NONBLOCK) != (ssize_t)sizeof k) k[0] = 0;
#endif
  clock_gettime(CLOCK_REALTIME, &now);
  key0 = k[0] ^ (uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)&now;
  key1 = k[1] ^ ((uint64_t)now.tv_sec << 20) ^ (uint64_t)(uintptr_t)&key0;
}

static uint64_t rotl(uint64_t x, int b) {
  return x << b | x >> (64 - b);
}

static void sip_round(uint64_t v[4]) {
  v[0] += v[1], v[1] = rotl(v[1], 13) ^ v[0], v[0] = rotl(v[0], 32);
  v[2] += v[3], v[3] = rotl(v[3], 16) ^ v[2];
  v[0] += v[3], v[3] = rotl(v[3], 21) ^ v[0];
  v[2] += v[1], v[1] = rotl(v[1], 17) ^ v[2], v[2] = rotl(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein) of n bytes. */
static uint64_t hash_of(const char *p, size_t n) {
  uint64_t v[4] = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du,
                   key0 ^ 0x6c7967656e657261u, key1 ^ 0x7465646279746573u};
  uint64_t word, last = (uint64_t)n << 56;
  for (; n >= 8; p += 8, n -= 8) {
    memcpy(&word, p, 8);
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
  }
  for (size_t i = 0; i < n; i++)
    last |= (uint64_t)(unsigned char)p[i] << (8 * i);
  v[3] ^= last;
  sip_round(v);
  v[0] ^= last;
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++)
    sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int wn_index_init(wn_index *x, size_t n, wn_err *e) {
  size_t slots = 16;
  pthread_once(&key_once, make_key);
  while (slots < 2 * n && slots < SIZE_MAX / 32)
    slots *= 2;
  memset(x, 0, sizeof *x);
  x->slots = wn_calloc(WN_MEM_GGUF, slots, sizeof *x->slots);
  if (x->slots == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  x->mask = slots - 1;
  return WN_OK;
}

void wn_index_free(wn_index *x) {
  wn_free(x->slots);
  memset(x, 0, sizeof *x);
}

static const wn_str *name_at(const void *base, size_t stride, size_t pos) {
  return (const wn_str *)(const void *)((const char *)base + stride * pos);
}

/* The slot that holds the name, or the free one where it belongs. A slot's
 * home is given by the upper half of the hash, which it keeps. */
static size_t probe(const wn_index *x, const void *base, size_t stride,
                    const char *name, size_t n, uint64_t hash) {
  size_t i = (size_t)(hash >> 32) & x->mask;
  for (; x->slots[i] != 0; i = (i + 1) & x->mask) {
    if (((x->slots[i] ^ hash) >> 32) != 0) continue;
    size_t pos = (size_t)(x->slots[i] & LOW) - 1;
    const wn_str *s = name_at(base, stride, pos);
    if (s->n == n && memcmp(s->p, name, n) == 0) break;
  }
  return i;
}

/* Twice the slots; the names themselves are not needed for moving. */
static int grow(wn_index *x, wn_err *e) {
  wn_index y;
  int rc = wn_index_init(&y, x->mask + 1, e);
  if (rc != WN_OK) return rc;
  for (size_t i = 0; i <= x->mask; i++) {
    size_t at = (size_t)(x->slots[i] >> 32) & y.mask;
    if (x->slots[i] == 0) continue;
    while (y.slots[at] != 0)
      at = (at + 1) & y.mask;
    y.slots[at] = x->slots[i];
  }
  y.n = x->n;
  wn_index_free(x);
  *x = y;
  return WN_OK;
}

int wn_index_add(wn_index *x, const void *base, size_t stride, size_t pos,
                 size_t *dup, wn_err *e) {
  const wn_str *s = name_at(base, stride, pos);
  uint64_t hash = hash_of(s->p, s->n);
  *dup = SIZE_MAX;
  if (2 * x->n > x->mask) {
    int rc = grow(x, e);
    if (rc != WN_OK) return rc;
  }
  size_t i = probe(x, base, stride, s->p, s->n, hash);
  if (x->slots[i] != 0) {
    *dup = (size_t)(x->slots[i] & LOW) - 1;
    return WN_OK;
  }
  x->slots[i] = (hash & ~LOW) | (pos + 1);
  x->n++;
  return WN_OK;
}

size_t wn_index_find(const wn_index *x, const void *base, size_t stride,
                     const char *name, size_t n) {
  if (x->n == 0) return SIZE_MAX;
  size_t i = probe(x, base, stride, name, n, hash_of(name, n));
  return x->slots[i] == 0 ? SIZE_MAX : (size_t)(x->slots[i] & LOW) - 1;
}
