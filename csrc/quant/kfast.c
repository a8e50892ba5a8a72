/* kfast.c - which fast encoder and decoder a tier has for the k formats. */
#include "quant/family.h"

wn_encode_fn wn_fast_k(int type, wn_isa isa) {
  (void)type;
  (void)isa;
  return NULL;
}

wn_decode_fn wn_fast_decode_k(int type, wn_isa isa) {
  (void)type;
  (void)isa;
  return NULL;
}
