/* kfast.c - which fast encoder and decoder a tier has for the k formats. */
#include "quant/kfast.h"

#include "quant/family.h"

typedef struct wn_k_fast {
  wn_encode_fn encode;
  wn_decode_fn decode;
} wn_k_fast;

#define ROW(ID, q, isa) \
  [WN_TYPE_##ID] = {wn_k_encode_##q##_##isa, wn_k_decode_##q##_##isa},

/* The functions of `type`, both NULL when there are none. */
static wn_k_fast find(int type, wn_isa isa) {
  const wn_k_fast none = {NULL, NULL};
#if defined(__x86_64__)
  static const wn_k_fast avx2[WN_N_TYPE_IDS] = {WN_K_TYPES(ROW, avx2)};
  static const wn_k_fast avx512[WN_N_TYPE_IDS] = {WN_K_TYPES(ROW, avx512)};
  if (type < 0 || type >= WN_N_TYPE_IDS) return none;
  if (isa >= WN_ISA_AVX512) return avx512[type];
  if (isa >= WN_ISA_AVX2) return avx2[type];
#else
  (void)type;
  (void)isa;
#endif
  return none;
}

wn_encode_fn wn_fast_k(int type, wn_isa isa) {
  return find(type, isa).encode;
}

wn_decode_fn wn_fast_decode_k(int type, wn_isa isa) {
  return find(type, isa).decode;
}
