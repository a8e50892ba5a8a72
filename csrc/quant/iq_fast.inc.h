/* iq_fast.inc.h - template: all fast encoders of the i-quants.
 *
 * Instantiated once per instruction set (iq_fast_avx2.c, iq_fast_avx512.c).
 * The includer provides lanes (iq_lanes_*.h) and WN_IQ_NAME.
 *
 * Same bytes as the reference, always. Where the reference adds floats in an
 * order, so does each lane here; what is independent (sub-blocks, scales that
 * are tried, neighbours) stands in different lanes, so nothing is
 * reassociated. What is skipped is proven not to matter at the place that
 * skips it. */
#include "quant/family.h"
#include "quant/iq1.h"
#include "quant/iq_block.h"
#include "quant/iq_fast.h"

WN_EXACT_FLOAT

#include "quant/iq_tries.inc.h"
/* These use it: */
#include "quant/iq4_fast.inc.h"
#include "quant/iq_fit.inc.h"
#include "quant/iq_near.inc.h"
/* These use all of them: */
#include "quant/iq1_fast.inc.h"
#include "quant/iq_search.inc.h"

wn_encode_fn WN_IQ_NAME(wn_iq_encode)(int type) {
  switch (type) {
#define X(ID, name)  \
  case WN_TYPE_##ID: \
    return encode_##name;
    WN_IQ_TYPES(X)
#undef X
    default:
      return NULL;
  }
}
