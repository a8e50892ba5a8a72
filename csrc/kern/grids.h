/* grids.h - the grids of the i-quants as keys: 16 bits for 8 levels of 2 bits
 * or 4 levels of 3 bits, the first in the low bits. Small enough to be looked
 * up in registers; the points as bytes are in quant/iq_grid.h. */
#ifndef WN_KERN_GRIDS_H
#define WN_KERN_GRIDS_H

#include <stdint.h>

extern const uint16_t wn_keys_iq1[2048], wn_keys_iq2_xxs[256],
    wn_keys_iq2_xs[512], wn_keys_iq2_s[1024], wn_keys_iq3_xxs[256],
    wn_keys_iq3_s[512];

#endif
