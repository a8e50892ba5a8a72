/* kern.c - see kern.h: picks the tier and packs activations. */
#include "kern/kern.h"

#include <string.h>

#include "kern/mm.h"

static const wn_mm_tier *tier(void) {
  switch (wn_cpu_get()->isa) {
#if defined(__x86_64__)
    case WN_ISA_AMX:
    case WN_ISA_AVX512:
      return &wn_mm_avx512;
    case WN_ISA_AVX2:
      return wn_cpu_get()->has_avx_vnni ? &wn_mm_avxvnni : &wn_mm_avx2;
#endif
    default:
      return &wn_mm_ref;
  }
}

static const wn_mm_op *op_of(int type) {
  static const wn_mm_op none = {WN_PACK_NONE, NULL};
  if (type < 0 || type >= WN_N_TYPE_IDS) return &none;
  return &tier()->op[type];
}

bool wn_mm_supported(int type) {
  return op_of(type)->run != NULL;
}

int wn_mm_pack_kind(int type) {
  return (int)op_of(type)->pack;
}

static size_t pad64(size_t n) {
  return (n + 63) & ~(size_t)63;
}

/* The stride is an odd number of cache lines: columns read side by side do
 * not compete for the same sets of a cache. */
wn_column wn_column_of(wn_pack pack, size_t k) {
  wn_column c = {0};
  size_t end = 0;
  if (pack == WN_PACK_F32) {
    end = pad64(4 * k);
  } else if (pack == WN_PACK_Q8_32) {
    c.d = pad64(k);
    c.sums = c.d + pad64(k / 32 * 4);
    c.sums32 = c.sums + pad64(k / 32 * 4);
    end = c.sums32 + pad64(k / 32 * 4);
  } else if (pack == WN_PACK_Q8_256) {
    c.d = k;
    c.sums = c.d + pad64(k / 256 * 4);
    c.sums32 = c.sums + pad64(k / 256 * 32);
    end = c.sums32 + pad64(k / 256 * 16);
  }
  c.stride = end | 64;
  return c;
}

size_t wn_mm_pack_bytes(int type, size_t k, size_t n_cols) {
  return wn_column_of(op_of(type)->pack, k).stride * n_cols;
}

void wn_mm_pack(int type, const float *x, size_t ldx, size_t k, size_t c0,
                size_t c1, size_t n_cols, void *packed) {
  (void)n_cols; /* columns lie one after the other in every form */
  wn_pack pack = op_of(type)->pack;
  wn_column col = wn_column_of(pack, k);
  for (size_t c = c0; c < c1; c++) {
    const float *src = x + c * ldx;
    uint8_t *dst = (uint8_t *)packed + c * col.stride;
    if (pack == WN_PACK_Q8_32) {
      tier()->pack_q8_32(src, k, dst);
    } else if (pack == WN_PACK_Q8_256) {
      tier()->pack_q8_256(src, k, dst);
    } else {
      memcpy(dst, src, 4 * k);
      memset(dst + 4 * k, 0, pad64(4 * k) - 4 * k);
    }
  }
}

size_t wn_mm_scratch_bytes(void) {
  return WN_MM_SCRATCH;
}

void wn_mm(int type, const void *w, size_t row_bytes, size_t k, size_t r0,
           size_t r1, const void *packed, size_t n_cols, size_t c0, size_t c1,
           float *y, size_t ldy, void *scratch) {
  (void)n_cols;
  const wn_mm_op *op = op_of(type);
  wn_mm_job job = {.type = type,
                   .w = w,
                   .row_bytes = row_bytes,
                   .k = k,
                   .r0 = r0,
                   .r1 = r1,
                   .packed = packed,
                   .col = wn_column_of(op->pack, k),
                   .c0 = c0,
                   .c1 = c1,
                   .y = y,
                   .ldy = ldy,
                   .scratch = scratch};
  if (r0 < r1 && c0 < c1) op->run(&job);
}
