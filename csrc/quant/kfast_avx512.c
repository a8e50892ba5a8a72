/* kfast_avx512.c - the fast k encoders and decoders with AVX-512. */
#if defined(__x86_64__)
#include "quant/vec_avx512.h"
#define WN_K_NAME(x) wn_k_##x##_avx512
#include "quant/kfast.inc.h"
#endif
