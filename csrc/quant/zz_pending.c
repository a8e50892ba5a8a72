/* zz_pending.c - families whose fast code has not landed yet. */
#include "quant/family.h"
#define X(f) __attribute__((weak)) wn_encode_fn wn_fast_##f(int t, wn_isa i) { (void)t; (void)i; return NULL; } \
 __attribute__((weak)) wn_decode_fn wn_fast_decode_##f(int t, wn_isa i) { (void)t; (void)i; return NULL; }
WN_FAMILIES(X)
