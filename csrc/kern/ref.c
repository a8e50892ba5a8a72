/* ref.c - the matrix multiply in portable C, for every weight type.
 *
 * Weights are decoded by the reference decoders and multiplied with float
 * activations: no rounding of activations to 8 bits, sums of 256 products in
 * double. This is what every other tier is compared with. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kern/mm.h"
#include "quant/quant.h"

#define CHUNK 256 /* every block length divides it */

static double dot(const float *a, const float *b, size_t n) {
  double s = 0;
  for (size_t i = 0; i < n; i++)
    s += (double)a[i] * (double)b[i];
  return s;
}

static void run(const wn_mm_job *job) {
  const wn_type_info *t = wn_type(job->type);
  wn_decode_fn decode = wn_format_of(job->type)->decode;
  float *w = job->scratch;
  for (size_t r = job->r0; r < job->r1; r++) {
    const uint8_t *row = job->w + r * job->row_bytes;
    for (size_t c = job->c0; c < job->c1; c++)
      job->y[c * job->ldy + r] = 0;
    for (size_t i = 0; i < job->k; i += CHUNK) {
      size_t n = job->k - i < CHUNK ? job->k - i : CHUNK;
      decode(row + i / t->block * t->bytes, w, n);
      for (size_t c = job->c0; c < job->c1; c++) {
        const float *x =
            (const float *)(const void *)(job->packed + c * job->col.stride);
        job->y[c * job->ldy + r] += (float)dot(w, x + i, n);
      }
    }
  }
}

/* Nearest integer, ties to even, for |x| < 2^22: adding 1.5 * 2^23 leaves the
 * integer in the low bits. 0 for a NaN. */
static int nearest(float x) {
  if (!(fabsf(x) < 4194304.0f)) return 0;
  return (int)(wn_bits_of_f32(x + 12582912.0f) & 0x7fffffu) - 0x400000;
}

static uint32_t magnitude(float x) {
  return wn_bits_of_f32(x) & 0x7fffffffu;
}

/* The first of n values whose magnitude is largest (by its bits: NaN is
 * larger than infinity). */
static float extreme(const float *x, size_t n) {
  size_t at = 0;
  for (size_t i = 1; i < n; i++)
    if (magnitude(x[i]) > magnitude(x[at])) at = i;
  return x[at];
}

/* n values times `scale`, rounded, to q; returns the sum. */
static int16_t round_values(const float *x, size_t n, float scale, uint8_t *q) {
  int sum = 0;
  for (size_t i = 0; i < n; i++) {
    int v = nearest(x[i] * scale);
    q[i] = (uint8_t)v;
    sum += v;
  }
  return (int16_t)sum;
}

void wn_pack_q8_32_ref(const float *x, size_t k, uint8_t *column) {
  wn_column col = wn_column_of(WN_PACK_Q8_32, k);
  for (size_t b = 0; b < k / 32; b++, x += 32) {
    wn_scale s = wn_scale_q8_32(magnitude(extreme(x, 32)));
    int16_t sums[2];
    for (size_t i = 0; i < 2; i++)
      sums[i] =
          round_values(x + 16 * i, 16, s.inverse, column + 32 * b + 16 * i);
    float dsum = s.d * (float)(sums[0] + sums[1]);
    memcpy(column + col.d + 4 * b, &s.d, 4);
    memcpy(column + col.sums + 4 * b, sums, 4);
    memcpy(column + col.sums32 + 4 * b, &dsum, 4);
  }
}

void wn_pack_q8_256_ref(const float *x, size_t k, uint8_t *column) {
  wn_column col = wn_column_of(WN_PACK_Q8_256, k);
  for (size_t b = 0; b < k / 256; b++, x += 256) {
    wn_scale s = wn_scale_q8_256(extreme(x, 256));
    int16_t sums[16], sums32[8];
    for (size_t i = 0; i < 16; i++)
      sums[i] =
          round_values(x + 16 * i, 16, s.inverse, column + 256 * b + 16 * i);
    for (size_t i = 0; i < 8; i++)
      sums32[i] = (int16_t)(sums[2 * i] + sums[2 * i + 1]);
    memcpy(column + col.d + 4 * b, &s.d, 4);
    memcpy(column + col.sums + 32 * b, sums, 32);
    memcpy(column + col.sums32 + 16 * b, sums32, 16);
  }
}

#define REF(ID) [WN_TYPE_##ID] = {WN_PACK_F32, run}

const wn_mm_tier wn_mm_ref = {
    .name = "ref",
    .op = {REF(F32),     REF(F16),    REF(BF16),  REF(Q4_0),    REF(Q4_1),
           REF(Q5_0),    REF(Q5_1),   REF(Q8_0),  REF(Q2_K),    REF(Q3_K),
           REF(Q4_K),    REF(Q5_K),   REF(Q6_K),  REF(IQ1_S),   REF(IQ1_M),
           REF(IQ2_XXS), REF(IQ2_XS), REF(IQ2_S), REF(IQ3_XXS), REF(IQ3_S),
           REF(IQ4_NL),  REF(IQ4_XS), REF(TQ1_0), REF(TQ2_0),   REF(MXFP4),
           REF(NVFP4),   REF(Q1_0),   REF(Q2_0)},
    .pack_q8_32 = wn_pack_q8_32_ref,
    .pack_q8_256 = wn_pack_q8_256_ref};
