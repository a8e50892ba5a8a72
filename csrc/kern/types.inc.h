/* types.inc.h - the tier's table: what every weight type is done with. */

#define FLOAT(ID) [WN_TYPE_##ID] = {unpack_float, multiply_float},
#define DECODED(ID) [WN_TYPE_##ID] = {unpack_decoded, multiply_float},
#define PER_BLOCK(X)                                                           \
  X(Q4_0, q4_0, o8)                                                            \
  X(Q4_1, q4_1, m15) X(Q5_0, q5_0, o16) X(Q5_1, q5_1, m31) X(Q8_0, q8_0, wide) \
      X(IQ4_NL, iq4_nl, wide) X(MXFP4, mxfp4, o12) X(NVFP4, nvfp4, o12_16)     \
          X(Q1_0, q1_0, o1) X(Q2_0, q2_0, o1)
#define PER_SUPER_BLOCK(X)                                                   \
  X(Q2_K, q2_K, q2_K)                                                        \
  X(Q3_K, q3_K, q3_K) X(Q4_K, q4_K, q4_K) X(Q5_K, q5_K, q5_K)                \
      X(Q6_K, q6_K, q6_K) X(IQ4_XS, iq4_xs, iq4_xs) X(TQ1_0, tq1_0, ternary) \
          X(TQ2_0, tq2_0, ternary)
#define AS_FLOAT(X) X(F32) X(F16) X(BF16)
#define AS_DECODED(X) \
  X(IQ1_S) X(IQ1_M) X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S)

static const kernel kernels[WN_N_TYPE_IDS] = {
    AS_FLOAT(FLOAT) AS_DECODED(DECODED)
#define X(ID, unpack, multiply) \
  [WN_TYPE_##ID] = {unpack_##unpack, multiply_##multiply},
        PER_BLOCK(X) PER_SUPER_BLOCK(X)
#undef X
};

static const kernel *kernel_of(int type) {
  return &kernels[type];
}

const wn_mm_tier TIER = {.op =
                             {
#define X(ID) [WN_TYPE_##ID] = {WN_PACK_F32, run},
                                 AS_FLOAT(X) AS_DECODED(X)
#undef X
#define X(ID, unpack, multiply) [WN_TYPE_##ID] = {WN_PACK_Q8_32, run},
                                     PER_BLOCK(X)
#undef X
#define X(ID, unpack, multiply) [WN_TYPE_##ID] = {WN_PACK_Q8_256, run},
                                         PER_SUPER_BLOCK(X)
#undef X
                             },
                         .pack_q8_32 = wn_pack_q8_32_ref,
                         .pack_q8_256 = wn_pack_q8_256_ref};
