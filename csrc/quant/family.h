/* family.h - how the files of quant/ fit together.
 *
 * Formats come in families, each in files of its own: plain (numbers),
 * legacy (q4_0 ... q8_1, q1_0, q2_0), k, iq, fp4 (mxfp4, nvfp4), ternary.
 * A family provides one wn_format per type, its definition, and one function
 * that returns faster encoders and decoders with the same bytes. quant.c
 * puts them into one table. */
#ifndef WN_QUANT_FAMILY_H
#define WN_QUANT_FAMILY_H

#include "quant/quant.h"

/* The definition of each format: `const wn_format wn_fmt_q4_K = {...};` in
 * its family's file. */
/* clang-format off */
#define WN_FORMATS(X) \
  X(F32, f32) X(F16, f16) X(BF16, bf16) X(F64, f64) \
  X(I8, i8) X(I16, i16) X(I32, i32) X(I64, i64) \
  X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) \
  X(Q8_0, q8_0) X(Q8_1, q8_1) X(Q1_0, q1_0) X(Q2_0, q2_0) \
  X(Q2_K, q2_K) X(Q3_K, q3_K) X(Q4_K, q4_K) X(Q5_K, q5_K) \
  X(Q6_K, q6_K) X(Q8_K, q8_K) X(IQ2_XXS, iq2_xxs) X(IQ2_XS, iq2_xs) \
  X(IQ2_S, iq2_s) X(IQ3_XXS, iq3_xxs) X(IQ3_S, iq3_s) X(IQ1_S, iq1_s) \
  X(IQ1_M, iq1_m) X(IQ4_NL, iq4_nl) X(IQ4_XS, iq4_xs) X(TQ1_0, tq1_0) \
  X(TQ2_0, tq2_0) X(MXFP4, mxfp4) X(NVFP4, nvfp4)
/* clang-format on */
#define X(ID, name) extern const wn_format wn_fmt_##name;
WN_FORMATS(X)
#undef X

/* The fastest encoder (decoder) of `type` that the tier allows and that gives
 * the bytes of the reference, or NULL: use the reference. `isa` may be any
 * tier; AMX means AVX-512. */
#define WN_FAMILIES(X) X(plain) X(legacy) X(k) X(iq) X(fp4) X(ternary)
#define X(family)                                      \
  wn_encode_fn wn_fast_##family(int type, wn_isa isa); \
  wn_decode_fn wn_fast_decode_##family(int type, wn_isa isa);
WN_FAMILIES(X)
#undef X

#endif
