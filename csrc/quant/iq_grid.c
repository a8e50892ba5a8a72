/* iq_grid.c - grid points as constants, neighbour lists at first use.
 *
 * The .def files hold the keys; everything else is computed from them: point
 * tables by the preprocessor, neighbour lists by build(). */
#include "quant/iq_grid.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "gguf/types.h"

/* --- keys ---------------------------------------------------------------- */

#define WN_ROW(a, b, c, d, e, f, g, h) a, b, c, d, e, f, g, h,

static const uint16_t keys_iq1[2048] = {
#include "quant/grid_iq1.def"
};
static const uint16_t keys_iq2_xxs[256] = {
#include "quant/grid_iq2_xxs.def"
};
static const uint16_t keys_iq2_xs[512] = {
#include "quant/grid_iq2_xs.def"
};
static const uint16_t keys_iq2_s[1024] = {
#include "quant/grid_iq2_s.def"
};
static const uint16_t keys_iq3_xxs[256] = {
#include "quant/grid_iq3_xxs.def"
};
static const uint16_t keys_iq3_s[512] = {
#include "quant/grid_iq3_s.def"
};
#undef WN_ROW

/* --- points -------------------------------------------------------------- */

/* POINT(key) = the bytes VALUE(level) of all coordinates. */
#define AT2(k, i) ((uint64_t)VALUE(((k) >> 2 * (i)) & 3) << 8 * (i))
#define POINT2(k)                                                          \
  (AT2(k, 0) | AT2(k, 1) | AT2(k, 2) | AT2(k, 3) | AT2(k, 4) | AT2(k, 5) | \
   AT2(k, 6) | AT2(k, 7))
#define AT3(k, i) ((uint32_t)VALUE(((k) >> 3 * (i)) & 7) << 8 * (i))
#define POINT3(k) (AT3(k, 0) | AT3(k, 1) | AT3(k, 2) | AT3(k, 3))
#define WN_ROW(a, b, c, d, e, f, g, h)                                  \
  POINT(a), POINT(b), POINT(c), POINT(d), POINT(e), POINT(f), POINT(g), \
      POINT(h),

#define POINT POINT2
#define VALUE(l) ((l) == 0 ? 0xff : (l)-1)
const uint64_t wn_iq1_points[2048] = {
#include "quant/grid_iq1.def"
};
#undef VALUE
#define VALUE(l) ((l) == 0 ? 8 : (l) == 1 ? 25 : 43)
const uint64_t wn_iq2_xxs_points[256] = {
#include "quant/grid_iq2_xxs.def"
};
const uint64_t wn_iq2_xs_points[512] = {
#include "quant/grid_iq2_xs.def"
};
const uint64_t wn_iq2_s_points[1024] = {
#include "quant/grid_iq2_s.def"
};
#undef VALUE
#undef POINT
#define POINT POINT3
#define VALUE(l) ((l) == 7 ? 62 : 8 * (l) + 4)
const uint32_t wn_iq3_xxs_points[256] = {
#include "quant/grid_iq3_xxs.def"
};
#undef VALUE
#define VALUE(l) (2 * (l) + 1)
const uint32_t wn_iq3_s_points[512] = {
#include "quant/grid_iq3_s.def"
};
#undef VALUE
#undef POINT
#undef WN_ROW

const int8_t wn_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

/* --- neighbours ---------------------------------------------------------- */

/* Everything build() needs to know and fills. The lengths of near_* are the
 * exact padded totals, facts that follow from the keys. */
typedef struct book {
  wn_iq_grid grid;
  uint32_t n_levels; /* per coordinate */
  int shells;
  wn_iq_cell *cells;
  uint16_t *near;
} book;

/* Keys of 8 levels 0..2 end at 0xaaaa, those of 4 levels 0..7 at 0xfff. */
#define N_KEYS2 0xaaab
#define N_KEYS3 0x1000

#define BOOK(name, n, dims_, bits_, levels, shells_, n_keys, total) \
  static wn_iq_cell cells_##name[n_keys];                           \
  static _Alignas(64) uint16_t near_##name[total];                  \
  static book book_##name = {                                       \
      {n, dims_, bits_, keys_##name, cells_##name, near_##name},    \
      levels,                                                       \
      shells_,                                                      \
      cells_##name,                                                 \
      near_##name};
BOOK(iq1, 2048, 8, 2, 3, 3, N_KEYS2, 460768)
BOOK(iq2_xxs, 256, 8, 2, 3, 2, N_KEYS2, 235360)
BOOK(iq2_xs, 512, 8, 2, 3, 2, N_KEYS2, 325872)
BOOK(iq2_s, 1024, 8, 2, 3, 1, N_KEYS2, 100576)
BOOK(iq3_xxs, 256, 4, 3, 8, 2, N_KEYS3, 74512)
BOOK(iq3_s, 512, 4, 3, 8, 3, N_KEYS3, 82656)

/* One past the largest squared distance: 4 coordinates of 7 steps each. */
#define N_DISTANCES (4 * 7 * 7 + 1)

/* row[h] = squared distance of `key` to h, both of `n` levels of `bits`. */
static void distance_row(uint32_t key, int n, int bits, uint8_t *row) {
  uint32_t mask = (1u << bits) - 1;
  for (uint32_t h = 0; h < 1u << (n * bits); h++) {
    uint32_t sum = 0, a = key, b = h;
    for (int i = 0; i < n; i++, a >>= bits, b >>= bits) {
      uint32_t step = (a & mask) - (b & mask); /* the square forgets the sign */
      sum += step * step;
    }
    row[h] = (uint8_t)sum;
  }
}

/* Squared distances of `key` to all points, looked up by half keys. */
static void distances(const wn_iq_grid *g, uint32_t key, uint8_t *dist) {
  int half_bits = g->bits * g->dims / 2;
  uint32_t mask = (1u << half_bits) - 1;
  uint8_t low[256], high[256];
  distance_row(key & mask, g->dims / 2, g->bits, low);
  distance_row(key >> half_bits, g->dims / 2, g->bits, high);
  for (int j = 0; j < g->n_points; j++)
    dist[j] = (uint8_t)(low[g->keys[j] & mask] + high[g->keys[j] >> half_bits]);
}

/* Fills the list up to a multiple of 16 and moves *at past it. The lists of
 * all keys fill near_* exactly: its length was counted so, from the keys. */
static void pad_list(uint16_t *list, uint32_t n, uint32_t *at) {
  while (n % 16 != 0)
    list[n++] = list[0];
  *at += n / 16;
}

/* Levels of a key, and how far each is from the level of `from`, a byte per
 * coordinate. */
typedef struct offsets {
  uint64_t level, far;
} offsets;

static offsets offsets_of(const wn_iq_grid *g, uint32_t key, uint32_t from) {
  uint32_t mask = (1u << g->bits) - 1;
  offsets o = {0, 0};
  for (int i = 0; i < g->dims; i++, key >>= g->bits, from >>= g->bits) {
    uint32_t a = key & mask, b = from & mask;
    o.level |= (uint64_t)a << 8 * i;
    o.far |= (uint64_t)(a > b ? a - b : b - a) << 8 * i;
  }
  return o;
}

/* True when h has in every coordinate the level of g or a nearer one: bytes
 * are compared all at once, the answers are their high bits. */
static bool as_near(offsets h, offsets g) {
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  uint64_t nearer = (g.far | high) - (h.far + ones);
  uint64_t equal = high - (h.level ^ g.level);
  return ((nearer | equal) & high) == high;
}

/* Copies the core of list[0 .. n-1] to core[]; returns its length. */
static uint32_t find_core(const wn_iq_grid *g, uint32_t key,
                          const uint16_t *list, uint32_t n, uint16_t *core) {
  offsets kept[512];
  uint32_t n_core = 0;
  for (uint32_t j = 0; j < n; j++) {
    offsets o = offsets_of(g, list[j], key);
    bool stays = true;
    for (uint32_t i = 0; i < n_core && stays; i++)
      stays = !as_near(kept[i], o);
    if (!stays) continue;
    kept[n_core] = o;
    core[n_core++] = list[j];
  }
  return n_core;
}

/* Lists the neighbours of `key`, which is no grid point, at *at (in units of
 * 16 entries), then their core unless that is all of them. */
static void list_neighbours(book *b, uint32_t key, uint32_t *at) {
  uint8_t dist[2048];
  bool seen[N_DISTANCES] = {false};
  distances(&b->grid, key, dist);
  for (int j = 0; j < b->grid.n_points; j++)
    seen[dist[j]] = true;
  uint16_t *list = b->near + 16 * *at, core[512];
  uint32_t n = 0;
  for (int d = 0, shell = 0; shell < b->shells && d < N_DISTANCES; d++) {
    if (!seen[d]) continue;
    shell++;
    for (int j = 0; j < b->grid.n_points; j++)
      if (dist[j] == d) list[n++] = b->grid.keys[j];
  }
  wn_iq_cell *cell = &b->cells[key];
  uint32_t n_core = find_core(&b->grid, key, list, n, core);
  *cell = (wn_iq_cell){(uint16_t)*at, (uint16_t)n, (uint16_t)*at, (uint16_t)n};
  pad_list(list, n, at);
  if (n_core == n) return;
  cell->core = (uint16_t)*at;
  cell->n_core = (uint16_t)n_core;
  list = b->near + 16 * *at;
  memcpy(list, core, n_core * sizeof *core);
  pad_list(list, n_core, at);
}

/* True when all levels of `key` are possible ones. */
static bool valid_key(const book *b, uint32_t key) {
  uint32_t mask = (1u << b->grid.bits) - 1;
  for (int i = 0; i < b->grid.dims; i++, key >>= b->grid.bits)
    if ((key & mask) >= b->n_levels) return false;
  return true;
}

/* Fills the cells of a grid: about 30 ms for iq1, less for the others. */
static void build(book *b) {
  uint32_t n_keys = b->grid.bits == 2 ? N_KEYS2 : N_KEYS3, at = 0;
  for (int j = 0; j < b->grid.n_points; j++)
    b->cells[b->grid.keys[j]] = (wn_iq_cell){(uint16_t)j, 0, 0, 0};
  uint32_t point = 0;
  for (uint32_t key = 0; key < n_keys; key++) {
    bool on_grid = point < (uint32_t)b->grid.n_points &&
                   b->grid.keys[point] == key; /* keys ascend */
    if (on_grid)
      point++;
    else if (valid_key(b, key))
      list_neighbours(b, key, &at);
  }
}

#define ONCE(name)                                       \
  static pthread_once_t once_##name = PTHREAD_ONCE_INIT; \
  static void build_##name(void) {                       \
    build(&book_##name);                                 \
  }
#define GET(name) (pthread_once(&once_##name, build_##name), &book_##name.grid)
ONCE(iq1)
ONCE(iq2_xxs)
ONCE(iq2_xs)
ONCE(iq2_s)
ONCE(iq3_xxs)
ONCE(iq3_s)

const wn_iq_grid *wn_iq_grid_of(int type) {
  switch (type) {
    case WN_TYPE_IQ1_S:
    case WN_TYPE_IQ1_M:
      return GET(iq1);
    case WN_TYPE_IQ2_XXS:
      return GET(iq2_xxs);
    case WN_TYPE_IQ2_XS:
      return GET(iq2_xs);
    case WN_TYPE_IQ2_S:
      return GET(iq2_s);
    case WN_TYPE_IQ3_XXS:
      return GET(iq3_xxs);
    case WN_TYPE_IQ3_S:
      return GET(iq3_s);
    default:
      return NULL;
  }
}
