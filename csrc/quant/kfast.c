/* kfast.c - which fast encoder and decoder a tier has for the k formats. */
#include "quant/kfast.h"

#include "quant/family.h"

#define CASES(isa)               \
  case WN_TYPE_Q2_K:             \
    return wn_k_encode_q2_##isa; \
  case WN_TYPE_Q3_K:             \
    return wn_k_encode_q3_##isa; \
  case WN_TYPE_Q4_K:             \
    return wn_k_encode_q4_##isa; \
  case WN_TYPE_Q5_K:             \
    return wn_k_encode_q5_##isa; \
  case WN_TYPE_Q6_K:             \
    return wn_k_encode_q6_##isa;

wn_encode_fn wn_fast_k(int type, wn_isa isa) {
#if defined(__x86_64__)
  if (isa >= WN_ISA_AVX512) switch (type) {
      CASES(avx512)
      default:
        return NULL;
    }
  if (isa >= WN_ISA_AVX2) switch (type) {
      CASES(avx2)
      default:
        return NULL;
    }
#endif
  (void)type;
  (void)isa;
  return NULL;
}

wn_decode_fn wn_fast_decode_k(int type, wn_isa isa) {
  (void)type;
  (void)isa;
  return NULL;
}
