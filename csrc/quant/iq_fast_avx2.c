/* iq_fast_avx2.c - the fast i-quant encoders and decoders with AVX2. */
#if defined(__x86_64__)
#include "quant/iq_lanes_avx2.h"
#define WN_IQ_NAME(x) x##_avx2
#include "quant/iq_fast.inc.h"
/* Decoding is bound by memory: AVX-512 would add nothing. */
#include "quant/iq_decode.inc.h"

wn_decode_fn wn_iq_decode_avx2(int type) {
  switch (type) {
#define X(ID, name)  \
  case WN_TYPE_##ID: \
    return decode_##name;
    WN_IQ_TYPES(X)
#undef X
    default:
      return NULL;
  }
}
#endif
