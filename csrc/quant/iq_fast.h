/* iq_fast.h - the SIMD encoders and decoders of the i-quants, per tier. */
#ifndef WN_QUANT_IQ_FAST_H
#define WN_QUANT_IQ_FAST_H

#include "quant/quant.h"

/* NULL for types that are no i-quants. */
wn_encode_fn wn_iq_encode_avx2(int type);
wn_encode_fn wn_iq_encode_avx512(int type);
wn_decode_fn wn_iq_decode_avx2(int type);

#endif
