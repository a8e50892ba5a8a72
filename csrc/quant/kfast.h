/* kfast.h - the fast k encoders of each instruction set (kfast_*.c): rows,
 * as wn_encode_fn. */
#ifndef WN_QUANT_KFAST_H
#define WN_QUANT_KFAST_H

#include <stddef.h>

#define WN_K_FAST(isa)                                                     \
  void wn_k_encode_q2_##isa(const float *, void *, size_t, const float *); \
  void wn_k_encode_q3_##isa(const float *, void *, size_t, const float *); \
  void wn_k_encode_q4_##isa(const float *, void *, size_t, const float *); \
  void wn_k_encode_q5_##isa(const float *, void *, size_t, const float *); \
  void wn_k_encode_q6_##isa(const float *, void *, size_t, const float *); \
  void wn_k_encode_q8_##isa(const float *, void *, size_t, const float *);
WN_K_FAST(avx2)
WN_K_FAST(avx512)

#endif
