/* kfast.inc.h - everything that one instruction set's k file instantiates.
 *
 * Included once per file, after vec_avx2.h or vec_avx512.h and the definition
 * of WN_K_NAME. */
#include <limits.h>
#include <math.h>

#include "base/half.h"
#include "quant/family.h"
#include "quant/k.h"
#include "quant/kfast.h"
#include "quant/vec_wide.h"

WN_TARGET_BEGIN(WN_VEC_TARGET)
WN_EXACT_FLOAT

enum { BATCH = WIDE / 2 }; /* super-blocks worked on together */

#include "quant/kload.inc.h"

#include "quant/kfit_affine.inc.h"

#include "quant/kfit_rounds.inc.h"
#include "quant/kfit_symmetric.inc.h"

#include "quant/kfinish.inc.h"

#include "quant/kencode_affine.inc.h"
#include "quant/kencode_symmetric.inc.h"

#include "quant/kdecode.inc.h"

/* Rows: batches to encode, single super-blocks to decode. */
#define ROWS(ID, q, isa)                                                     \
  void WN_K_NAME(encode_##q)(const float *src, void *dst, size_t n,          \
                             const float *importance) {                      \
    wn_block_##q##_K *y = dst;                                               \
    for (size_t i = 0; i < n; i += BATCH * WN_QK) {                          \
      size_t left = (n - i) / WN_QK, some = left < BATCH ? left : BATCH;     \
      encode_##q(src + i, y, (int)some, importance ? importance + i : NULL); \
      y += some;                                                             \
    }                                                                        \
  }                                                                          \
  void WN_K_NAME(decode_##q)(const void *src, float *dst, size_t n) {        \
    const wn_block_##q##_K *b = src;                                         \
    for (size_t i = 0; i < n; i += WN_QK)                                    \
      decode_##q(b++, dst + i);                                              \
  }
WN_K_TYPES(ROWS, )

WN_TARGET_END
