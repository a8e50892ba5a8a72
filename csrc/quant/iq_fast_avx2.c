/* iq_fast_avx2.c - the fast i-quant encoders and decoders with AVX2. */
#if defined(__x86_64__)
#include "quant/iq_lanes_avx2.h"
#define WN_IQ_NAME(x) x##_avx2
#include "quant/iq_fast.inc.h"
#endif
