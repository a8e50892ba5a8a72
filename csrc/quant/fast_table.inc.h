/* fast_table.inc.h - all templates of the simple families, and the table they
 * fill. The including file has the target in force and defines FAST_TABLE, the
 * name of its table. */
#include "quant/plain_fast.inc.h"

/* the later ones use what legacy_fast.inc.h defines */
#include "quant/legacy_fast.inc.h"

#include "quant/fp4_fast.inc.h"
#include "quant/ternary_fast.inc.h"

#define BOTH(ID, name) [WN_TYPE_##ID] = {encode_##name, decode_##name}
const wn_fast_table FAST_TABLE = {
    .worst = worst,
    .type = {BOTH(F16, f16), BOTH(BF16, bf16), BOTH(Q4_0, q4_0),
             BOTH(Q4_1, q4_1), BOTH(Q5_0, q5_0), BOTH(Q5_1, q5_1),
             BOTH(Q8_0, q8_0), BOTH(Q8_1, q8_1), BOTH(Q1_0, q1_0),
             BOTH(Q2_0, q2_0), BOTH(MXFP4, mxfp4), BOTH(NVFP4, nvfp4),
             BOTH(TQ1_0, tq1_0), BOTH(TQ2_0, tq2_0)}};
