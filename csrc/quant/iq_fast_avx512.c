/* iq_fast_avx512.c - the fast i-quant encoders and decoders with AVX-512. */
#if defined(__x86_64__)
#include "quant/iq_lanes_avx512.h"
#define WN_IQ_NAME(x) x##_avx512
#include "quant/iq_fast.inc.h"
#endif
