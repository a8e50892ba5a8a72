/* iq.c - which fast encoders and decoders of the i-quants a tier offers. */
#include "quant/family.h"
#include "quant/iq_fast.h"

wn_encode_fn wn_fast_iq(int type, wn_isa isa) {
#if defined(__x86_64__)
  if (isa >= WN_ISA_AVX512) return wn_iq_encode_avx512(type);
  if (isa >= WN_ISA_AVX2) return wn_iq_encode_avx2(type);
#endif
  (void)type, (void)isa;
  return NULL;
}

wn_decode_fn wn_fast_decode_iq(int type, wn_isa isa) {
#if defined(__x86_64__)
  if (isa >= WN_ISA_AVX2) return wn_iq_decode_avx2(type);
#endif
  (void)type, (void)isa;
  return NULL;
}
