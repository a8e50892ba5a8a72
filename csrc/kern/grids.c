/* grids.c - see grids.h. */
#include "kern/grids.h"

#define WN_ROW(a, b, c, d, e, f, g, h) a, b, c, d, e, f, g, h,
#define KEYS(name, n) _Alignas(64) const uint16_t wn_keys_##name[n]

KEYS(iq1, 2048) = {
#include "quant/grid_iq1.def"
};
KEYS(iq2_xxs, 256) = {
#include "quant/grid_iq2_xxs.def"
};
KEYS(iq2_xs, 512) = {
#include "quant/grid_iq2_xs.def"
};
KEYS(iq2_s, 1024) = {
#include "quant/grid_iq2_s.def"
};
KEYS(iq3_xxs, 256) = {
#include "quant/grid_iq3_xxs.def"
};
KEYS(iq3_s, 512) = {
#include "quant/grid_iq3_s.def"
};
