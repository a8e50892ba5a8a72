/* mm.inc.h - the whole matrix multiply of one tier. The including file has
 * included mm.h and the headers of quant/ and defined the vectors (lanes_*.h)
 * and TIER (the table's name), TIER_NAME, WN_TIER_ISA, FLOAT_NC and QCOLS. */
/* the walk, then kernels, then panels, then the table */
#include "kern/tile.inc.h"

#include "kern/float.inc.h"
#ifdef DOT_TILES
#include "kern/half_amx.inc.h"
#endif
#include "kern/q8.inc.h"

#include "kern/panel32.inc.h"
#include "kern/panelk.inc.h"

#include "kern/paneliq.inc.h"

#include "kern/probe.inc.h"

#include "kern/types.inc.h"
