/* kern.c - see kern.h: picks the tier, lays out packed activations. */
#include "kern/kern.h"

#include <stdatomic.h>
#include <string.h>

#include "kern/mm.h"

/* ---- tiers ------------------------------------------------------------- */

#if defined(__x86_64__)
/* wn_mm_amx_works, asked once: 0 not yet, 1 yes, 2 no. */
static bool amx_works(void) {
  static atomic_int answer;
  int a = atomic_load_explicit(&answer, memory_order_relaxed);
  if (a == 0) {
    a = wn_mm_amx_works() ? 1 : 2;
    atomic_store_explicit(&answer, a, memory_order_relaxed);
  }
  return a == 1;
}
#elif defined(__aarch64__)
static const wn_mm_tier *best_of_neon(void) {
#if defined(WN_ARM_TARGETS)
  if (wn_cpu_get()->has_i8mm) return &wn_mm_i8mm;
  if (wn_cpu_get()->has_dotprod) return &wn_mm_dotprod;
#endif
  return &wn_mm_neon;
}
#endif

static const wn_mm_tier *tier(void) {
#if defined(__x86_64__)
  const wn_cpu *cpu = wn_cpu_get();
  if (cpu->isa == WN_ISA_AMX && amx_works()) return &wn_mm_amx;
  if (cpu->isa >= WN_ISA_AVX512) return &wn_mm_avx512;
  if (cpu->isa == WN_ISA_AVX2)
    return cpu->has_avx_vnni ? &wn_mm_avxvnni : &wn_mm_avx2;
#elif defined(__aarch64__)
  if (wn_cpu_get()->isa == WN_ISA_NEON) return best_of_neon();
#endif
  return &wn_mm_ref;
}

const wn_mm_tier *wn_mm_tier_at(size_t i) {
  const wn_mm_tier *have[8];
  size_t n = 0;
  have[n++] = &wn_mm_ref;
#if defined(__x86_64__)
  const wn_cpu *cpu = wn_cpu_get();
  if (cpu->best >= WN_ISA_AVX2) have[n++] = &wn_mm_avx2;
  if (cpu->best >= WN_ISA_AVX2 && cpu->has_avx_vnni) have[n++] = &wn_mm_avxvnni;
  if (cpu->best >= WN_ISA_AVX512) have[n++] = &wn_mm_avx512;
  if (cpu->best >= WN_ISA_AMX && amx_works()) have[n++] = &wn_mm_amx;
#elif defined(__aarch64__)
  if (wn_cpu_get()->best == WN_ISA_NEON) have[n++] = &wn_mm_neon;
#if defined(WN_ARM_TARGETS)
  if (wn_cpu_get()->has_dotprod) have[n++] = &wn_mm_dotprod;
  if (wn_cpu_get()->has_i8mm) have[n++] = &wn_mm_i8mm;
#endif
#endif
  return i < n ? have[i] : NULL;
}

static const wn_mm_op *op_of(const wn_mm_tier *t, int type) {
  static const wn_mm_op none = {WN_PACK_NONE, NULL};
  return type < 0 || type >= WN_N_TYPE_IDS ? &none : &t->op[type];
}

/* ---- packed columns ---------------------------------------------------- */

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
  } else if (pack == WN_PACK_BF16) {
    end = 2 * pad64(2 * k);
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

size_t wn_tier_pack_bytes(const wn_mm_tier *t, int type, size_t k,
                          size_t n_cols) {
  return wn_column_of(op_of(t, type)->pack, k).stride * n_cols;
}

void wn_tier_pack(const wn_mm_tier *t, int type, const float *x, size_t ldx,
                  size_t k, size_t c0, size_t c1, void *packed) {
  wn_pack pack = op_of(t, type)->pack;
  wn_column col = wn_column_of(pack, k);
  for (size_t c = c0; c < c1; c++) {
    const float *src = x + c * ldx;
    uint8_t *dst = (uint8_t *)packed + c * col.stride;
    if (pack == WN_PACK_Q8_32) {
      t->pack_q8_32(src, k, dst);
    } else if (pack == WN_PACK_Q8_256) {
      t->pack_q8_256(src, k, dst);
    } else if (pack == WN_PACK_BF16) {
      t->pack_bf16(src, k, dst);
    } else {
      memcpy(dst, src, 4 * k);
      memset(dst + 4 * k, 0, pad64(4 * k) - 4 * k);
    }
  }
}

void wn_tier_mm(const wn_mm_tier *t, int type, const void *w, size_t row_bytes,
                size_t k, size_t r0, size_t r1, const void *packed, size_t c0,
                size_t c1, float *y, size_t ldy, void *scratch) {
  const wn_mm_op *op = op_of(t, type);
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

/* ---- the tier in force ------------------------------------------------- */

bool wn_mm_supported(int type) {
  return op_of(tier(), type)->run != NULL;
}

int wn_mm_pack_kind(int type) {
  return (int)op_of(tier(), type)->pack;
}

size_t wn_mm_pack_bytes(int type, size_t k, size_t n_cols) {
  return wn_tier_pack_bytes(tier(), type, k, n_cols);
}

void wn_mm_pack(int type, const float *x, size_t ldx, size_t k, size_t c0,
                size_t c1, size_t n_cols, void *packed) {
  (void)n_cols; /* columns lie one after the other in every form */
  wn_tier_pack(tier(), type, x, ldx, k, c0, c1, packed);
}

size_t wn_mm_scratch_bytes(void) {
  return WN_MM_SCRATCH;
}

void wn_mm(int type, const void *w, size_t row_bytes, size_t k, size_t r0,
           size_t r1, const void *packed, size_t n_cols, size_t c0, size_t c1,
           float *y, size_t ldy, void *scratch) {
  (void)n_cols;
  wn_tier_mm(tier(), type, w, row_bytes, k, r0, r1, packed, c0, c1, y, ldy,
             scratch);
}
