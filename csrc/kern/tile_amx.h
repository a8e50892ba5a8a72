/* tile_amx.h - the tile registers of AMX, as few operations as amx.c needs.
 *
 * A product of tiles adds the product of A, m lines of `depth` bytes, and B,
 * depth / 4 lines of n dwords, to C, m lines of n sums. Sums are 32 bits wide,
 * operands are
 *   tile_dot8   signed bytes in A, unsigned bytes in B, 4 to a dword
 *   tile_dot16  bfloat16 numbers, 2 to a dword; sums are floats
 *
 * tiles_shape gives this thread's registers the shapes of a product (nothing
 * happens when they have them already), tiles_end puts back the configuration
 * that was there before: none, as a rule, so that the system has nothing to
 * save on a switch. But another library in this process may have configured
 * the tiles of this thread once and for all (ggml does), and its next product
 * on registers that were given back would kill the process. What lay in the
 * tiles is lost, as with every loading of a configuration. Tiles are named by
 * number, a literal: 0 to 3 are C, 4 and 5 are A, 6 and 7 are B.
 *
 * tile_dot16, by the manual's formulas: the products of the dwords' low halves
 * are one chain of fused multiply-adds from 0 in order of depth, those of the
 * high halves another; then sum = sum + (low + high). Every step rounds to
 * nearest even and takes and makes zeros for numbers below 2^-126. So the bits
 * of a sum depend on its own operands only, and A and B may change places.
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

/* The shapes that we gave this thread's registers; 0: none. Else `tiles_were`
 * is the configuration that was there before. */
static _Thread_local size_t tiles_now;
static _Thread_local tile_shapes tiles_were;

static inline tile_shapes tile_shapes_of(size_t m, size_t n, size_t depth) {
  tile_shapes s = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    s.bytes[i] = (uint16_t)(i == 4 || i == 5 ? depth : 4 * n);
    s.lines[i] = (uint8_t)(i < 6 ? m : depth / 4);
  }
  return s;
}

static inline void tiles_load(const tile_shapes *s);
static inline void tiles_save(tile_shapes *s);

static inline void tiles_shape(size_t m, size_t n, size_t depth) {
  size_t want = m << 16 | n << 8 | depth;
  if (tiles_now == want) return;
  if (tiles_now == 0) tiles_save(&tiles_were);
  tile_shapes s = tile_shapes_of(m, n, depth);
  tiles_load(&s);
  tiles_now = want;
}

static inline void tiles_end(void) {
  if (tiles_now != 0) tiles_load(&tiles_were);
  tiles_now = 0;
}

#if !defined(WN_AMX_EMULATE)

/* The compilers' intrinsics do not say that these touch memory. Palette 0,
 * which sttilecfg stores for registers that nobody has configured, makes
 * ldtilecfg release them. */
static inline void tiles_load(const tile_shapes *s) {
  __asm__ volatile("ldtilecfg %0" : : "m"(*s));
}
static inline void tiles_save(tile_shapes *s) {
  __asm__ volatile("sttilecfg %0" : "=m"(*s));
}
#define tile_load(t, p, stride)                                    \
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t                 \
                   :                                               \
                   : "r"((const void *)(p)), "r"((size_t)(stride)) \
                   : "memory")
#define tile_store(t, p, stride) _tile_stored(t, p, stride)
#define tile_zero(t) _tile_zero(t)
#define tile_dot8(c, a, b) _tile_dpbsud(c, a, b)
#define tile_dot16(c, a, b) _tile_dpbf16ps(c, a, b)

#else

static _Thread_local struct emulated {
  tile_shapes shape;
  union {
    uint8_t u[16][64];
    int8_t s[16][64];
    uint32_t pair[16][16];
    int32_t sum[16][16];
    float real[16][16];
  } t[8];
} emulated;

static void tiles_load(const tile_shapes *s) {
  memset(&emulated, 0, sizeof emulated);
  if (s->palette != 0) emulated.shape = *s;
}

static void tiles_save(tile_shapes *s) {
  *s = emulated.shape;
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

/* What the CPU demands of a product's shapes; spoils C when they are wrong. */
static bool tile_shapes_fit(int c, int a, int b) {
  const tile_shapes *s = &emulated.shape;
  bool fit = s->palette == 1 && s->lines[c] == s->lines[a] &&
             s->bytes[c] == s->bytes[b] && s->bytes[a] == 4 * s->lines[b] &&
             s->lines[c] > 0 && s->lines[c] <= 16 && s->bytes[c] > 0 &&
             s->bytes[c] <= 64 && s->bytes[a] <= 64;
  if (!fit) memset(&emulated.t[c], 0x55, sizeof emulated.t[c]);
  return fit;
}

static void tile_dot8(int c, int a, int b) {
  if (!tile_shapes_fit(c, a, b)) return;
  for (size_t m = 0; m < emulated.shape.lines[c]; m++)
    for (size_t n = 0; n < emulated.shape.bytes[c] / 4u; n++)
      for (size_t k = 0; k < emulated.shape.bytes[a]; k++)
        emulated.t[c].sum[m][n] +=
            emulated.t[a].s[m][k] * emulated.t[b].u[k / 4][4 * n + k % 4];
}

/* x, or a zero of its sign where it is below the normal numbers. */
static inline float tile_flushed(float x) {
  uint32_t u = wn_bits_of_f32(x);
  return (u & 0x7f800000u) == 0 ? wn_f32_of_bits(u & 0x80000000u) : x;
}

/* sum[i] += the chain's next product, for n sums side by side: the halves
 * `shift` above the low ones of the dword a and of n dwords at b. */
static void tile_chain(float *sum, uint32_t a, const uint32_t *b, size_t n,
                       int shift) {
  float x = tile_flushed(wn_f32_of_bits(a >> shift << 16));
  for (size_t i = 0; i < n; i++) {
    float y = tile_flushed(wn_f32_of_bits(b[i] >> shift << 16));
    sum[i] = tile_flushed(fmaf(x, y, sum[i]));
  }
}

static void tile_dot16(int c, int a, int b) {
  if (!tile_shapes_fit(c, a, b)) return;
  size_t n = emulated.shape.bytes[c] / 4u;
  for (size_t m = 0; m < emulated.shape.lines[c]; m++) {
    float low[16] = {0}, high[16] = {0}, *sum = emulated.t[c].real[m];
    for (size_t k = 0; k < emulated.shape.lines[b]; k++) {
      uint32_t pair = emulated.t[a].pair[m][k];
      tile_chain(low, pair, emulated.t[b].pair[k], n, 0);
      tile_chain(high, pair, emulated.t[b].pair[k], n, 16);
    }
    for (size_t i = 0; i < n; i++)
      sum[i] =
          tile_flushed(tile_flushed(sum[i]) + tile_flushed(low[i] + high[i]));
  }
}
#endif
