/* fast.c - see fast.h: which table serves a tier. */
#include "quant/fast.h"

#include "quant/family.h"

const wn_fast_table *wn_fast_of(wn_isa isa) {
#if defined(__x86_64__)
  if (isa >= WN_ISA_AVX512) return &wn_fast_avx512;
  if (isa == WN_ISA_AVX2) return &wn_fast_avx2;
#endif
  (void)isa;
  return NULL;
}

/* The tables are indexed by type: the simple families share the look-up. */
static const wn_fast_entry *entry(int type, wn_isa isa) {
  static const wn_fast_entry none;
  const wn_fast_table *t = wn_fast_of(isa);
  if (t == NULL || type < 0 || type >= WN_N_TYPE_IDS) return &none;
  return &t->type[type];
}

#define FAMILY(family)                                         \
  wn_encode_fn wn_fast_##family(int type, wn_isa isa) {        \
    return entry(type, isa)->encode;                           \
  }                                                            \
  wn_decode_fn wn_fast_decode_##family(int type, wn_isa isa) { \
    return entry(type, isa)->decode;                           \
  }
FAMILY(plain)
FAMILY(legacy)
FAMILY(fp4)
FAMILY(ternary)
