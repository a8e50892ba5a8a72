/* mm.h - what the tiers of the matrix multiply share (private to kern/).
 *
 * A tier is one table: for each weight type the form in which it wants the
 * activations and the function that multiplies. kern.c picks the tier.
 *
 * Packed activations, four forms. A column of k values takes `stride` bytes:
 *   F32      k floats, zeros up to a multiple of 16
 *   BF16     blocks of 32 values, zeros up to a multiple: 16 dwords of high
 *            parts, 16 of low parts; of the bfloat16 numbers in dword i the
 *            low half belongs to value 16 + i, the high half to value i
 *   Q8_32    k int8 q | a float d per 32 values | int16 sums of 16 q, two
 *            per 32 values | a float d * (sum of 32 q)
 *   Q8_256   k int8 q | a float d per 256 | 16 int16 sums of 16 q per 256 |
 *            8 int16 sums of 32 q per 256
 * BF16: x is close to high + low (half_amx.inc.h). Q8: x is close to d * q. The
 * roundings are those of ggml's q8_0 and q8_K, so that results stay close to
 * llama.cpp's: Q8_32: d = amax / 127, stored rounded to binary16; Q8_256: d =
 * -max / 127 for the value max that is largest in magnitude. q is rounded to
 * nearest, ties to even. */
#ifndef WN_KERN_MM_H
#define WN_KERN_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "base/half.h"
#include "gguf/types.h"

typedef enum wn_pack {
  WN_PACK_NONE, /* the type cannot be multiplied */
  WN_PACK_F32,
  WN_PACK_BF16,
  WN_PACK_Q8_32,
  WN_PACK_Q8_256,
} wn_pack;

/* Byte offsets inside one packed column. */
typedef struct wn_column {
  size_t d, sums;
  size_t sums32; /* Q8_32: d * sum, Q8_256: sums of 32 */
  size_t stride;
} wn_column;

wn_column wn_column_of(wn_pack pack, size_t k);

/* Which 16-bit number of a BF16 column is the high part of value i; its low
 * part is 32 further on. */
static inline size_t wn_bf16_place(size_t i) {
  return i / 32 * 64 + 2 * (i % 16) + (i % 32 < 16);
}

/* One call of wn_mm, as the tiers see it. */
typedef struct wn_mm_job {
  int type;
  const uint8_t *w; /* row r at w + r * row_bytes */
  size_t row_bytes, k, r0, r1;
  const uint8_t *packed;
  wn_column col; /* the packed columns' layout */
  size_t c0, c1;
  float *y; /* y[c * ldy + r] */
  size_t ldy;
  void *scratch; /* WN_MM_SCRATCH bytes, 64-byte aligned */
} wn_mm_job;

#define WN_MM_SCRATCH (168u << 10)

/* Rows of a chunk as they are unpacked: row r at w + r * stride. Each time
 * that bytes of 16 rows are taken, as many bytes that will be wanted soon are
 * prefetched: 256 from `ahead` on, which moves by `step`. Kernels without a
 * panel prefetch row r at ahead + r * stride (tile.inc.h). */
typedef struct wn_rows {
  const uint8_t *w;
  size_t stride;
  const uint8_t *ahead;
  size_t step; /* 256; 0 where nothing lies ahead */
} wn_rows;

static inline void wn_rows_prefetch(wn_rows *s) {
  __builtin_prefetch(s->ahead);
  __builtin_prefetch(s->ahead + 64);
  __builtin_prefetch(s->ahead + 128);
  __builtin_prefetch(s->ahead + 192);
  s->ahead += s->step;
}

typedef struct wn_mm_op {
  wn_pack pack;
  void (*run)(const wn_mm_job *job);
} wn_mm_op;

typedef struct wn_mm_tier {
  const char *name;
  wn_mm_op op[WN_N_TYPE_IDS];
  /* One column of k values at x into `column`; k is a multiple of the
   * form's block (F32: any k). Same bytes in every tier. */
  void (*pack_q8_32)(const float *x, size_t k, uint8_t *column);
  void (*pack_q8_256)(const float *x, size_t k, uint8_t *column);
  void (*pack_bf16)(const float *x, size_t k, uint8_t *column); /* any k */
  /* For measuring: does `steps` steps of the multiply-add that the kernels
   * are made of, from registers, and counts the operations (2 a product).
   * read adds up n bytes at p in `streams` streams. */
  uint64_t (*work_float)(size_t steps);
  uint64_t (*work_int8)(size_t steps);
  uint32_t (*read)(const uint8_t *p, size_t n, size_t streams);
} wn_mm_tier;

extern const wn_mm_tier wn_mm_ref;
#if defined(__x86_64__)
extern const wn_mm_tier wn_mm_avx2, wn_mm_avxvnni, wn_mm_avx512, wn_mm_amx;

/* Does the tile unit do what the AMX tier takes it to do, with bytes and with
 * bfloat16 numbers? Only where the tier
 * is offered (base/cpu.h). */
bool wn_mm_amx_works(void);
#elif defined(__aarch64__)
extern const wn_mm_tier wn_mm_neon, wn_mm_dotprod, wn_mm_i8mm;
#endif

/* Tier number i that this machine can run, weakest first; NULL past the last.
 * For specs and benches; everything else uses the one in force. */
const wn_mm_tier *wn_mm_tier_at(size_t i);

/* wn_mm_pack_bytes, wn_mm_pack and wn_mm (kern.h) with a given tier. */
size_t wn_tier_pack_bytes(const wn_mm_tier *t, int type, size_t k,
                          size_t n_cols);
void wn_tier_pack(const wn_mm_tier *t, int type, const float *x, size_t ldx,
                  size_t k, size_t c0, size_t c1, void *packed);
void wn_tier_mm(const wn_mm_tier *t, int type, const void *w, size_t row_bytes,
                size_t k, size_t r0, size_t r1, const void *packed, size_t c0,
                size_t c1, float *y, size_t ldy, void *scratch);

/* The portable packers; the other tiers' give the same bytes. */
void wn_pack_q8_32_ref(const float *x, size_t k, uint8_t *column);
void wn_pack_q8_256_ref(const float *x, size_t k, uint8_t *column);

/* The scale d of packed activations and what values are multiplied with. A
 * value that is not finite makes d NaN, so that it shows in the results. */
typedef struct wn_scale {
  float d, inverse;
} wn_scale;

/* `largest`: the bits of the largest magnitude among 32 values. d is still to
 * be rounded to binary16. */
static inline wn_scale wn_scale_raw_q8_32(uint32_t largest) {
  wn_scale s = {wn_f32_of_bits(largest) / 127, 0};
  if (largest >= 0x7f800000u)
    s.d = wn_f32_of_bits(0x7fc00000u);
  else if (s.d > 0)
    s.inverse = 1 / s.d;
  return s;
}
static inline wn_scale wn_scale_q8_32(uint32_t largest) {
  wn_scale s = wn_scale_raw_q8_32(largest);
  s.d = wn_f32_of_f16(wn_f16_of_f32(s.d));
  return s;
}

/* `extreme`: the first value of largest magnitude among 256. */
static inline wn_scale wn_scale_q8_256(float extreme) {
  wn_scale s = {0, 0};
  if ((wn_bits_of_f32(extreme) & 0x7fffffffu) >= 0x7f800000u) {
    s.d = wn_f32_of_bits(0x7fc00000u);
  } else if (extreme != 0) {
    s.inverse = -127 / extreme;
    s.d = 1 / s.inverse;
  }
  return s;
}

#endif
