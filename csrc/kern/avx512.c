/* avx512.c - the AVX-512 tier of the matrix multiply. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "base/cpu.h"
#include "kern/mm.h"
#include "quant/quant.h"

#define WN_TIER_ISA WN_ISA_AVX512
#define FLOAT_NC 12

WN_TARGET_BEGIN(WN_T_AVX512)
#include "kern/vec_avx512.h"
/* the templates, over these vectors */
#include "kern/float.inc.h"
WN_TARGET_END

#define F(ID) [WN_TYPE_##ID] = {WN_PACK_F32, float_run}

const wn_mm_tier wn_mm_avx512 = {
    .op = {F(F32),     F(F16),   F(BF16),   F(Q4_0),    F(Q4_1),   F(Q5_0),
           F(Q5_1),    F(Q8_0),  F(Q2_K),   F(Q3_K),    F(Q4_K),   F(Q5_K),
           F(Q6_K),    F(IQ1_S), F(IQ1_M),  F(IQ2_XXS), F(IQ2_XS), F(IQ2_S),
           F(IQ3_XXS), F(IQ3_S), F(IQ4_NL), F(IQ4_XS),  F(TQ1_0),  F(TQ2_0),
           F(MXFP4),   F(NVFP4), F(Q1_0),   F(Q2_0)},
    .pack_q8_32 = wn_pack_q8_32_ref,
    .pack_q8_256 = wn_pack_q8_256_ref};
#endif
