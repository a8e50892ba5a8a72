/* dense.c - dense.inc.h for any machine, and the choice. */
#include "quant/dense.h"

#include <string.h>

#include "base/cpu.h"

WN_EXACT_FLOAT

#define DENSE_BYTES 16
#define DENSE_TABLE wn_dense_ref
#include "quant/dense.inc.h"

const wn_dense *wn_dense_get(void) {
#if defined(__x86_64__)
  wn_isa isa = wn_cpu_get()->isa;
  if (isa >= WN_ISA_AVX512) return &wn_dense_avx512;
  if (isa >= WN_ISA_AVX2) return &wn_dense_avx2;
#endif
  return &wn_dense_ref;
}
