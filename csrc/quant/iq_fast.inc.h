/* iq_fast.inc.h - template: all fast encoders and decoders of the i-quants.
 *
 * Instantiated once per instruction set (iq_fast_avx2.c, iq_fast_avx512.c).
 * The includer provides lanes (iq_lanes_*.h) and WN_IQ_NAME.
 *
 * Same bytes as the reference, always. Where the reference adds floats in an
 * order, so does each lane here; sums of different scales (tries) stand in
 * different lanes, so nothing is reassociated. What is skipped is proven not
 * to matter at the place that skips it. */
#include "quant/family.h"
#include "quant/iq1.h"
#include "quant/iq_block.h"
#include "quant/iq_fast.h"

WN_EXACT_FLOAT

#include "quant/iq_tries.inc.h"
/* After the helpers: */
#include "quant/iq4_fast.inc.h"
#include "quant/iq_fit.inc.h"
#include "quant/iq_near.inc.h"
/* After both: */
#include "quant/iq1_fast.inc.h"
#include "quant/iq_search.inc.h"

wn_encode_fn WN_IQ_NAME(wn_iq_encode)(int type) {
  switch (type) {
    case WN_TYPE_IQ4_NL:
      return encode_iq4_nl;
    case WN_TYPE_IQ4_XS:
      return encode_iq4_xs;
    case WN_TYPE_IQ1_S:
      return encode_iq1_s;
    case WN_TYPE_IQ1_M:
      return encode_iq1_m;
    case WN_TYPE_IQ2_XXS:
      return encode_iq2_xxs;
    case WN_TYPE_IQ2_XS:
      return encode_iq2_xs;
    case WN_TYPE_IQ2_S:
      return encode_iq2_s;
    case WN_TYPE_IQ3_XXS:
      return encode_iq3_xxs;
    case WN_TYPE_IQ3_S:
      return encode_iq3_s;
    default:
      return NULL;
  }
}

wn_decode_fn WN_IQ_NAME(wn_iq_decode)(int type) {
  (void)type;
  return NULL;
}
