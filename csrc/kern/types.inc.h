/* types.inc.h - the tier's table: what every weight type is done with. */

#define FLOAT(ID) [WN_TYPE_##ID] = {unpack_float, multiply_float},
#define PER_BLOCK(X)                                                   \
  X(Q4_0, q4_0, o8)                                                    \
  X(Q4_1, q4_1, m15)                                                   \
  X(Q5_0, q5_0, o16)                                                   \
  X(Q5_1, q5_1, m31)                                                   \
  X(Q8_0, q8_0, wide)                                                  \
  X(IQ4_NL, iq4_nl, wide) X(MXFP4, mxfp4, o12) X(NVFP4, nvfp4, o12_16) \
      X(Q1_0, q1_0, o1) X(Q2_0, q2_0, o1)
#define PER_SUPER_BLOCK(X)                                                    \
  X(Q2_K, q2_K, q2_K)                                                         \
  X(Q3_K, q3_K, q3_K)                                                         \
  X(Q4_K, q4_K, q4_K)                                                         \
  X(Q5_K, q5_K, q5_K)                                                         \
  X(Q6_K, q6_K, q6_K)                                                         \
  X(IQ4_XS, iq4_xs, iq4_xs) X(TQ1_0, tq1_0, ternary) X(TQ2_0, tq2_0, ternary) \
      X(IQ1_S, iq1_s, iq1_s) X(IQ1_M, iq1_m, iq1_m)                           \
          X(IQ2_XXS, iq2_xxs, iq2_xxs) X(IQ2_XS, iq2_xs, iq2_16)              \
              X(IQ2_S, iq2_s, iq2_16) X(IQ3_XXS, iq3_xxs, iq3_xxs)            \
                  X(IQ3_S, iq3_s, iq3_s)
#define AS_FLOAT(X) X(F32) X(F16) X(BF16)

static const kernel kernels[WN_N_TYPE_IDS] = {AS_FLOAT(FLOAT)
#define X(ID, unpack, multiply) \
  [WN_TYPE_##ID] = {unpack_##unpack, multiply_##multiply},
                                                  PER_BLOCK(X)
                                                      PER_SUPER_BLOCK(X)
#undef X
};

static const kernel *kernel_of(int type) {
  return &kernels[type];
}

const wn_mm_tier TIER = {.op =
                             {
#define X(ID) [WN_TYPE_##ID] = {WN_PACK_F32, run},
                                 AS_FLOAT(X)
#undef X
#define X(ID, unpack, multiply) [WN_TYPE_##ID] = {WN_PACK_Q8_32, run},
                                     PER_BLOCK(X)
#undef X
#define X(ID, unpack, multiply) [WN_TYPE_##ID] = {WN_PACK_Q8_256, run},
                                         PER_SUPER_BLOCK(X)
#undef X
                             },
                         .pack_q8_32 = pack_q8_32,
                         .pack_q8_256 = pack_q8_256};
