/* vec.c - which table of vector operations is in force. */
#include "kern/vec.h"

#include "base/cpu.h"

const wn_vec *wn_vec_get(void) {
#if defined(__x86_64__)
  wn_isa isa = wn_cpu_get()->isa;
  if (isa >= WN_ISA_AVX512) return &wn_vec_avx512;
  if (isa >= WN_ISA_AVX2) return &wn_vec_avx2;
#elif defined(__aarch64__)
  if (wn_cpu_get()->isa == WN_ISA_NEON) return &wn_vec_neon;
#endif
  return &wn_vec_ref;
}
