/* iq.c - which fast encoders and decoders of the i-quants a tier offers. */
#include "quant/family.h"

wn_encode_fn wn_fast_iq(int type, wn_isa isa) {
  (void)type, (void)isa;
  return NULL;
}

wn_decode_fn wn_fast_decode_iq(int type, wn_isa isa) {
  (void)type, (void)isa;
  return NULL;
}
