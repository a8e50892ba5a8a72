/* kfast.h - the fast k encoders and decoders of each instruction set
 * (kfast_*.c): rows, as wn_encode_fn and wn_decode_fn. */
#ifndef WN_QUANT_KFAST_H
#define WN_QUANT_KFAST_H

#include <stddef.h>

#define WN_K_TYPES(X, isa) \
  X(Q2_K, q2, isa)         \
  X(Q3_K, q3, isa)         \
  X(Q4_K, q4, isa) X(Q5_K, q5, isa) X(Q6_K, q6, isa) X(Q8_K, q8, isa)

#define WN_K_DECLARE(ID, q, isa)                                              \
  void wn_k_encode_##q##_##isa(const float *, void *, size_t, const float *); \
  void wn_k_decode_##q##_##isa(const void *, float *, size_t);
WN_K_TYPES(WN_K_DECLARE, avx2)
WN_K_TYPES(WN_K_DECLARE, avx512)
#undef WN_K_DECLARE

#endif
