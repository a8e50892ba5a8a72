/* tile_amx.h - the tile registers of AMX, as few operations as amx.c needs.
 *
 * A product of tiles adds to 16 x 16 sums (16 activation columns, 16 rows of
 * weights) the products of `depth` values: A holds 16 columns of `depth`
 * signed bytes, B holds depth / 4 lines of 16 rows times 4 unsigned bytes,
 * which is how a panel lies anyway.
 *
 * tiles_begin loads the shapes for a depth of 16, 32 or 64 into this thread's
 * tile registers, tiles_end gives the registers back, so that the system has
 * nothing to save on a switch. Tiles are named by number, a literal: 0 to 3
 * are sums, 4 is A, 5 and 6 are B.
 *
 * With WN_AMX_EMULATE the same operations run in plain C on any CPU: this is
 * how the kernels are tested where there is no AMX. A product of shapes that
 * the CPU would refuse gives sums that no test can take for right. */
#define TILE_SIDE 16

typedef struct tile_shapes {
  uint8_t palette, start_row, none[14];
  uint16_t bytes[16]; /* of a line, per tile */
  uint8_t lines[16];
} tile_shapes;

static inline tile_shapes tile_shapes_of(size_t depth) {
  tile_shapes s = {.palette = 1};
  for (int i = 0; i < 7; i++) {
    s.bytes[i] = i == 4 ? (uint16_t)depth : 4 * TILE_SIDE;
    s.lines[i] = i > 4 ? (uint8_t)(depth / 4) : TILE_SIDE;
  }
  return s;
}

#if !defined(WN_AMX_EMULATE)

/* The compilers' intrinsics do not say that these two read memory. */
static inline void tiles_begin(size_t depth) {
  tile_shapes s = tile_shapes_of(depth);
  __asm__ volatile("ldtilecfg %0" : : "m"(s));
}
#define tile_load(t, p, stride)                                    \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t                 \
                   :                                               \
                   : "r"((const void *)(p)), "r"((size_t)(stride)) \
                   : "memory")
#define tile_store(t, p, stride) _tile_stored(t, p, stride)
#define tile_zero(t) _tile_zero(t)
#define tile_dot(c, a, b) _tile_dpbsud(c, a, b)
static inline void tiles_end(void) {
  _tile_release();
}

#else

static _Thread_local struct emulated {
  tile_shapes shape;
  union {
    uint8_t u[16][64];
    int8_t s[16][64];
    int32_t sum[16][16];
  } t[8];
} emulated;

static void tiles_begin(size_t depth) {
  memset(&emulated, 0, sizeof emulated);
  emulated.shape = tile_shapes_of(depth);
}

static void tile_zero(int t) {
  memset(&emulated.t[t], 0, sizeof emulated.t[t]);
}

static void tile_load(int t, const void *p, size_t stride) {
  tile_zero(t);
  for (size_t i = 0; i < emulated.shape.lines[t]; i++)
    memcpy(emulated.t[t].u[i], (const uint8_t *)p + i * stride,
           emulated.shape.bytes[t]);
}

static void tile_store(int t, void *p, size_t stride) {
  for (size_t i = 0; i < emulated.shape.lines[t]; i++)
    memcpy((uint8_t *)p + i * stride, emulated.t[t].u[i],
           emulated.shape.bytes[t]);
}

/* What the CPU demands of a product's shapes. */
static bool tile_shapes_fit(int c, int a, int b) {
  const tile_shapes *s = &emulated.shape;
  return s->palette == 1 && s->lines[c] == s->lines[a] &&
         s->bytes[c] == s->bytes[b] && s->bytes[a] == 4 * s->lines[b] &&
         s->lines[c] <= 16 && s->bytes[c] <= 64 && s->bytes[a] <= 64;
}

static void tile_dot(int c, int a, int b) {
  if (!tile_shapes_fit(c, a, b)) {
    memset(&emulated.t[c], 0x55, sizeof emulated.t[c]);
    return;
  }
  for (size_t m = 0; m < emulated.shape.lines[c]; m++)
    for (size_t n = 0; n < emulated.shape.bytes[c] / 4u; n++)
      for (size_t k = 0; k < emulated.shape.bytes[a]; k++)
        emulated.t[c].sum[m][n] +=
            emulated.t[a].s[m][k] * emulated.t[b].u[k / 4][4 * n + k % 4];
}

/* Registers that were given back hold no shapes. */
static void tiles_end(void) {
  memset(&emulated, 0, sizeof emulated);
}
#endif
