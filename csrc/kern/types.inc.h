/* types.inc.h - the tier's table: what every weight type is done with. */

/* clang-format off */
#ifdef DOT_TILES
#define MM_HALVES(X) \
  X(F16,     BF16,    unpack_f16,     multiply_f16,   few_tiles_f16, 4)  \
  X(BF16,    BF16,    unpack_bf16,    multiply_bf16,  few_tiles_bf16, 4)
#define PACK_BF16 pack_bf16
#else
#define MM_HALVES(X) \
  X(F16,     F32,     unpack_float,   multiply_float, few_float, 4) \
  X(BF16,    F32,     unpack_float,   multiply_float, few_float, 4)
#define PACK_BF16 NULL
#endif

#define MM_TYPES(X)                                  \
  /* type    activations  panel         kernel      few columns */ \
  MM_HALVES(X)                                                      \
  X(F32,     F32,     unpack_float,   multiply_float, few_float, 4) \
  X(Q4_0,    Q8_32,   unpack_q4_0,    multiply_o8, NULL, 0)     \
  X(Q4_1,    Q8_32,   unpack_q4_1,    multiply_m15, NULL, 0)    \
  X(Q5_0,    Q8_32,   unpack_q5_0,    multiply_o16, NULL, 0)    \
  X(Q5_1,    Q8_32,   unpack_q5_1,    multiply_m31, NULL, 0)    \
  X(Q8_0,    Q8_32,   unpack_q8_0,    multiply_wide, NULL, 0)   \
  X(IQ4_NL,  Q8_32,   unpack_iq4_nl,  multiply_wide, NULL, 0)   \
  X(MXFP4,   Q8_32,   unpack_mxfp4,   multiply_o12, NULL, 0)    \
  X(NVFP4,   Q8_32,   unpack_nvfp4,   multiply_o12_16, NULL, 0) \
  X(Q1_0,    Q8_32,   unpack_q1_0,    multiply_o1, NULL, 0)     \
  X(Q2_0,    Q8_32,   unpack_q2_0,    multiply_o1, NULL, 0)     \
  X(Q2_K,    Q8_256,  unpack_q2_K,    multiply_q2_K, NULL, 0)   \
  X(Q3_K,    Q8_256,  unpack_q3_K,    multiply_q3_K, NULL, 0)   \
  X(Q4_K,    Q8_256,  unpack_q4_K,    multiply_q4_K, NULL, 0)   \
  X(Q5_K,    Q8_256,  unpack_q5_K,    multiply_q5_K, NULL, 0)   \
  X(Q6_K,    Q8_256,  unpack_q6_K,    multiply_q6_K, NULL, 0)   \
  X(IQ1_S,   Q8_256,  unpack_iq1_s,   multiply_iq1_s, NULL, 0)  \
  X(IQ1_M,   Q8_256,  unpack_iq1_m,   multiply_iq1_m, NULL, 0)  \
  X(IQ2_XXS, Q8_256,  unpack_iq2_xxs, multiply_iq2_xxs, NULL, 0) \
  X(IQ2_XS,  Q8_256,  unpack_iq2_xs,  multiply_iq2_16, NULL, 0) \
  X(IQ2_S,   Q8_256,  unpack_iq2_s,   multiply_iq2_16, NULL, 0) \
  X(IQ3_XXS, Q8_256,  unpack_iq3_xxs, multiply_iq3_xxs, NULL, 0) \
  X(IQ3_S,   Q8_256,  unpack_iq3_s,   multiply_iq3_s, NULL, 0)  \
  X(IQ4_XS,  Q8_256,  unpack_iq4_xs,  multiply_iq4_xs, NULL, 0) \
  X(TQ1_0,   Q8_256,  unpack_tq1_0,   multiply_ternary, NULL, 0) \
  X(TQ2_0,   Q8_256,  unpack_tq2_0,   multiply_ternary, NULL, 0)
/* clang-format on */

static const kernel kernels[WN_N_TYPE_IDS] = {
#define X(ID, activations, unpack, multiply, few, few_cols) \
  [WN_TYPE_##ID] = {unpack, multiply, few, few_cols},
    MM_TYPES(X)
#undef X
};

#ifdef FUSED
/* The kernels of some types for FUSED_COLS columns and more. */
#define FUSED_COLS 24
static const kernel fused[WN_N_TYPE_IDS] = {
    [WN_TYPE_Q2_K] = {unpack_q2_K_fused, multiply_q2_K_fused, NULL, 0},
    [WN_TYPE_Q3_K] = {unpack_q3_K_fused, multiply_q3_K_fused, NULL, 0},
#ifndef DOT_TILES
    [WN_TYPE_TQ1_0] = {unpack_tq1_0, multiply_ternary_fused, NULL, 0},
    [WN_TYPE_TQ2_0] = {unpack_tq2_0, multiply_ternary_fused, NULL, 0},
#endif
};
#endif

static const kernel *kernel_of(int type, size_t n_cols) {
#ifdef FUSED
  if (n_cols >= FUSED_COLS && fused[type].unpack != NULL) return &fused[type];
#endif
  (void)n_cols;
  return &kernels[type];
}

const wn_mm_tier TIER = {
    .name = TIER_NAME,
    .op =
        {
#define X(ID, activations, unpack, multiply, few, few_cols) \
  [WN_TYPE_##ID] = {WN_PACK_##activations, RUN},
            MM_TYPES(X)
#undef X
        },
    .pack_q8_32 = pack_q8_32,
    .pack_q8_256 = pack_q8_256,
    .pack_bf16 = PACK_BF16,
    .work_float = work_float,
    .work_int8 = work_int8,
    .read = read_streams,
};
