/* iq_fast.h - the SIMD encoders and decoders of the i-quants, per tier. */
#ifndef WN_QUANT_IQ_FAST_H
#define WN_QUANT_IQ_FAST_H

#include "quant/quant.h"

#define WN_IQ_FAST(isa)                                              \
  wn_encode_fn wn_iq_encode_##isa(int type); /* NULL: none for it */ \
  wn_decode_fn wn_iq_decode_##isa(int type);
WN_IQ_FAST(avx2)
WN_IQ_FAST(avx512)

#endif
