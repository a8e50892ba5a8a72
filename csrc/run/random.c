/* random.c - see random.h. Constants of the generator are those of the paper;
 * a quotient that rounds up to 1 becomes the greatest number below it, as
 * libstdc++'s generate_canonical does. */
#include "run/random.h"

#include <math.h>

enum { N = 624, M = 397 };

void wn_rng_seed(wn_rng *r, uint64_t seed) {
  uint32_t *s = r->state;
  s[0] = (uint32_t)(seed ^ (seed >> 32));
  for (uint32_t i = 1; i < N; i++)
    s[i] = 1812433253u * (s[i - 1] ^ (s[i - 1] >> 30)) + i;
  r->at = N;
}

/* The next 624 words of state. */
static void refill(wn_rng *r) {
  uint32_t *s = r->state;
  for (uint32_t i = 0; i < N; i++) {
    uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);
    s[i] = s[(i + M) % N] ^ (y >> 1) ^ ((y & 1) != 0 ? 0x9908b0dfu : 0);
  }
  r->at = 0;
}

uint32_t wn_rng_next(wn_rng *r) {
  if (r->at >= N) refill(r);
  uint32_t y = r->state[r->at++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

double wn_rng_double(wn_rng *r) {
  double low = (double)wn_rng_next(r);
  double u = (low + (double)wn_rng_next(r) * 0x1p32) * 0x1p-64;
  return u < 1 ? u : nextafter(1.0, 0.0);
}

float wn_rng_float(wn_rng *r) {
  float u = (float)wn_rng_next(r) * 0x1p-32f;
  return u < 1 ? u : nextafterf(1.0f, 0.0f);
}
