/* kfast.inc.h - everything that one instruction set's k file instantiates.
 *
 * Included once per file, after vec_avx2.h or vec_avx512.h and the definition
 * of WN_K_NAME. */
#include <limits.h>
#include <math.h>

#include "base/half.h"
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

#define ROWS(q)                                                              \
  void WN_K_NAME(encode_##q)(const float *src, void *dst, size_t n,          \
                             const float *importance) {                      \
    wn_block_##q##_K *y = dst;                                               \
    for (size_t i = 0; i < n; i += BATCH * WN_QK) {                          \
      size_t left = (n - i) / WN_QK, some = left < BATCH ? left : BATCH;     \
      encode_##q(src + i, y, (int)some, importance ? importance + i : NULL); \
      y += some;                                                             \
    }                                                                        \
  }
ROWS(q2)
ROWS(q3)
ROWS(q4)
ROWS(q5)
ROWS(q6)

WN_TARGET_END
