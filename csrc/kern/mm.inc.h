/* mm.inc.h - the whole matrix multiply of one tier. The including file has
 * included mm.h and the headers of quant/ and defined the vectors (lanes_*.h)
 * and TIER (the table's name), TIER_NAME, WN_TIER_ISA, FLOAT_NC and QCOLS. */

/* the walk over rows, chunks and columns */
#include "kern/tile.inc.h"

/* kernels: a panel times columns of floats, of bfloat16 parts, of bytes */
#include "kern/float.inc.h"
#ifdef DOT_TILES
#include "kern/half_amx.inc.h"
#endif
#include "kern/q8.inc.h"

/* panels: blocks of 32, super-blocks, the i-quants with grids */
#include "kern/panel32.inc.h"
#include "kern/panelk.inc.h"

#include "kern/paneliq.inc.h"

/* one column: rows in the order of memory, without panels */
#ifdef LANES_ROWS
#include "kern/row.inc.h"

#include "kern/row32.inc.h"
#include "kern/rowk.inc.h"

#include "kern/rowtypes.inc.h"
#else
static size_t run_rows(const wn_mm_job *job, const uint8_t *packed, float *y) {
  (void)job, (void)packed, (void)y;
  return 0;
}
#endif

/* measuring, and the table */
#include "kern/probe.inc.h"

#include "kern/types.inc.h"
