/* kfast_avx2.c - the fast k encoders and decoders with AVX2. */
#if defined(__x86_64__)
#include "quant/vec_avx2.h"
#define WN_K_NAME(x) wn_k_##x##_avx2
#include "quant/kfast.inc.h"
#endif
