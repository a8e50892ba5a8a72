/* k.h - what the files of the k formats share (q2_K ... q6_K, q8_K).
 *
 * A super-block of 256 values is cut into sub-blocks of 16 or 32. Encoding
 * has three stages:
 *   1. search: each sub-block looks for the scale (and minimum) with the
 *      smallest weighted error; see ksearch.c for the four searches;
 *   2. the scales of the sub-blocks are themselves quantized;
 *   3. all values are rounded again with the quantized scales and packed.
 * A sub-block whose quantized scale is zero keeps the levels of stage 1.
 *
 * kencode.c and kdecode.c define the bytes in scalar code. kfast_*.inc.h do
 * the same sums in the same order with one sub-block in each SIMD lane. */
#ifndef WN_QUANT_K_H
#define WN_QUANT_K_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quant/blocks.h"

/* A group whose largest magnitude is below this counts as zero. */
#define WN_K_EPS 1e-15f

/* Adding this moves a float's integer part, rounded to nearest even, to the
 * low 22 bits of its pattern. */
#define WN_K_MAGIC 12582912.f /* 1.5 * 2^23 */

/* Nearest integer of |v| < 2^22, ties to even. Larger values and NaN give
 * the same odd numbers as the formula does everywhere: encoders are defined
 * by it on all inputs. */
static inline int wn_k_round(float v) {
  float moved = v + WN_K_MAGIC;
  int32_t bits;
  memcpy(&bits, &moved, sizeof bits);
  return (bits & 0x007fffff) - 0x00400000;
}

static inline int wn_k_clamp(int v, int low, int high) {
  return v < low ? low : v > high ? high : v;
}

/* The grid of candidates of a scale-and-minimum search: candidate i divides
 * the range of a sub-block into (rmin + rdelta * i + top) steps. */
typedef struct wn_k_grid {
  float rmin, rdelta;
  int last; /* candidates 0 .. last */
  bool mad; /* error: weighted sum of |diff|, else of diff^2 */
} wn_k_grid;

/* A format whose values are scale * level - minimum (q2_K, q4_K, q5_K). */
typedef struct wn_k_affine {
  int sub;                  /* values of a sub-block: 16 or 32 */
  int top;                  /* highest level: 3, 15, 31 */
  int scale_top;            /* highest quantized scale and minimum: 15, 63 */
  wn_k_grid plain, weighed; /* without and with importance */
} wn_k_affine;

extern const wn_k_affine wn_k_affine_q2, wn_k_affine_q4, wn_k_affine_q5;

/* Quantized scales and minima of a super-block, one byte each before they
 * are packed. They are below 64 but for freak inputs, whose bytes the packing
 * functions let through as the reference does. */
typedef struct wn_k_scales {
  wn_half d, dmin;
  uint8_t scale[16], min[16];
} wn_k_scales;

/* ---- Searches (ksearch.c); L receives one level per value. ------------- */

/* x[i] ~ scale * L[i] - *minimum with 0 <= L <= top, *minimum >= 0, smallest
 * error weighted by w among the candidates of g. Returns the scale. */
float wn_k_fit_affine(int n, int top, const wn_k_grid *g, const float *x,
                      const float *w, uint8_t *L, float *minimum);

/* x[i] ~ scale * (L[i] - top) with 0 <= L < 2 top; w weights the error. */
float wn_k_fit_symmetric(int n, int top, const float *x, const float *w,
                         uint8_t *L);

/* The same with the weights x[i]^2 by up to five rounds of improving one
 * level at a time; q3_K without importance. */
float wn_k_fit_rounds(int n, int top, const float *x, uint8_t *L);

/* x[i] ~ scale * L[i] for x >= 0, 0 <= L <= top: quantizes scales. */
float wn_k_fit_positive(int n, int top, const float *x, const float *w,
                        uint8_t *L);

/* ---- Reference decoders of rows (kdecode.c). ---------------------------- */

void wn_k_decode_q2(const void *src, float *dst, size_t n);
void wn_k_decode_q3(const void *src, float *dst, size_t n);
void wn_k_decode_q4(const void *src, float *dst, size_t n);
void wn_k_decode_q5(const void *src, float *dst, size_t n);
void wn_k_decode_q6(const void *src, float *dst, size_t n);
void wn_k_decode_q8(const void *src, float *dst, size_t n);

/* ---- Packing scales: four bytes at a time. ------------------------------ */

/* Bytes t .. t + 3 as a word and back. Only operations that leave the bytes
 * apart are done on it, so the order of bytes in a word does not matter. */
static inline uint32_t wn_k_word(const uint8_t *p) {
  uint32_t w;
  memcpy(&w, p, sizeof w);
  return w;
}
static inline void wn_k_put_word(uint8_t *p, uint32_t w) {
  memcpy(p, &w, sizeof w);
}

#define WN_K_LOW2 0x03030303u /* the low two bits of four bytes */
#define WN_K_LOW4 0x0f0f0f0fu
#define WN_K_LOW6 0x3f3f3f3fu

/* q4_K and q5_K: 8 six-bit scales and minima in 12 bytes (blocks.h draws
 * them). Bits above the sixth of a freak scale land where they would in the
 * reference. */
static inline void wn_k_pack_scales45(const wn_k_scales *s, uint8_t out[12]) {
  uint32_t scale = wn_k_word(s->scale), high_scale = wn_k_word(s->scale + 4);
  uint32_t min = wn_k_word(s->min), high_min = wn_k_word(s->min + 4);
  wn_k_put_word(out, scale | (high_scale >> 4 & WN_K_LOW2) << 6);
  wn_k_put_word(out + 4, min | (high_min >> 4 & WN_K_LOW2) << 6);
  wn_k_put_word(out + 8, (high_scale & WN_K_LOW4) | (high_min & WN_K_LOW4)
                                                        << 4);
}

static inline void wn_k_unpack_scales45(const uint8_t in[12], uint8_t scale[8],
                                        uint8_t min[8]) {
  uint32_t a = wn_k_word(in), b = wn_k_word(in + 4), c = wn_k_word(in + 8);
  wn_k_put_word(scale, a & WN_K_LOW6);
  wn_k_put_word(min, b & WN_K_LOW6);
  wn_k_put_word(scale + 4, (c & WN_K_LOW4) | (a >> 6 & WN_K_LOW2) << 4);
  wn_k_put_word(min + 4, (c >> 4 & WN_K_LOW4) | (b >> 6 & WN_K_LOW2) << 4);
}

/* q3_K: 16 six-bit scales (biased by 32) in 12 bytes. */
static inline void wn_k_pack_scales3(const uint8_t scale[16], uint8_t out[12]) {
  uint32_t w[4], high = 0;
  for (int k = 0; k < 4; k++) {
    w[k] = wn_k_word(scale + 4 * k);
    high |= (w[k] >> 4 & WN_K_LOW2) << (2 * k);
  }
  wn_k_put_word(out, (w[0] & WN_K_LOW4) | (w[2] & WN_K_LOW4) << 4);
  wn_k_put_word(out + 4, (w[1] & WN_K_LOW4) | (w[3] & WN_K_LOW4) << 4);
  wn_k_put_word(out + 8, high);
}

static inline void wn_k_unpack_scales3(const uint8_t in[12],
                                       uint8_t scale[16]) {
  uint32_t a = wn_k_word(in), b = wn_k_word(in + 4), h = wn_k_word(in + 8);
  wn_k_put_word(scale, (a & WN_K_LOW4) | (h & WN_K_LOW2) << 4);
  wn_k_put_word(scale + 4, (b & WN_K_LOW4) | (h >> 2 & WN_K_LOW2) << 4);
  wn_k_put_word(scale + 8, (a >> 4 & WN_K_LOW4) | (h >> 4 & WN_K_LOW2) << 4);
  wn_k_put_word(scale + 12, (b >> 4 & WN_K_LOW4) | (h >> 6 & WN_K_LOW2) << 4);
}

#endif
