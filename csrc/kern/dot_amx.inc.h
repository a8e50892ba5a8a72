/* dot_amx.inc.h - template: sums of products by AMX tiles, for q8.inc.h.
 *
 * Groups of TILED columns take the products of all sub-blocks of a chunk from
 * the tile unit; they are exact integers, so what q8.inc.h makes of them has
 * the same bits as in any other tier. Columns that do not fill a group are
 * multiplied as in the AVX-512 tier.
 *
 * So are all columns of the types whose scales change every 16 values. A
 * product of tiles takes 16 cycles at any depth, and its sums must leave the
 * tiles before the next scale: at 16 values that costs more than it saves.
 * Measured on Granite Rapids, one thread, 512 columns, Gop/s by tiles : by
 * AVX-512 alone:
 *
 *   32 values deep   Q8_0 583 : 433    Q4_K 677 : 448
 *   16 values deep   Q2_K 285 : 474    Q3_K 266 : 504   Q6_K 274 : 423
 *                    IQ2_XS 255 : 365  IQ1_M 242 : 354  NVFP4 227 : 325
 *
 * (IQ2_S has the kernel of IQ2_XS.) Which of the two a type takes changes its
 * speed only, never a bit. */

#define TILED TILE_SIDE
#define TILES_PAY(sub) ((sub) == 32)

/* The sums of one chunk, sub-block after sub-block. */
typedef int32_t tile_sums[CHUNK / 16][TILED][R];

/* Sub-block s: A into tile 4, both halves of the panel into 6 and 7; sums in
 * tiles lo and hi, which alternate so that a product need not wait for the
 * store before. */
#define SUB_BLOCK(lo, hi, s)                                \
  do {                                                      \
    tile_zero(lo);                                          \
    tile_zero(hi);                                          \
    tile_load(4, q + (s)*sub, stride);                      \
    tile_load(6, p->u[(s)*sub / 4][0], sizeof p->u[0]);     \
    tile_load(7, p->u[(s)*sub / 4][LANES], sizeof p->u[0]); \
    tile_dot8(lo, 4, 6);                                    \
    tile_dot8(hi, 4, 7);                                    \
    tile_store(lo, sums[s][0], sizeof sums[0][0]);          \
    tile_store(hi, sums[s][0] + LANES, sizeof sums[0][0]);  \
  } while (0)

/* n values of TILED columns at q, `stride` bytes apart, times the panel. */
INLINE void tile_products(const qpanel *p, const uint8_t *q, size_t stride,
                          size_t n, size_t sub, tile_sums sums) {
  size_t s = 0;
  tiles_shape(TILED, LANES, sub);
  for (; s + 2 <= n / sub; s += 2) {
    SUB_BLOCK(0, 1, s);
    SUB_BLOCK(2, 3, s + 1);
  }
  if (s < n / sub) SUB_BLOCK(0, 1, s);
}
#undef SUB_BLOCK

/* Groups of TILED columns of a MULTIPLY (q8.inc.h), 4 at a time through the
 * float part. */
#define MULTIPLY_TILES(core, sub, offset, min, run)                  \
  for (; TILES_PAY(sub) && n_cols >= TILED; n_cols -= TILED) {       \
    _Alignas(64) tile_sums ready;                                    \
    tile_products(panel, x.q, x.stride, n, sub, ready);              \
    for (size_t j = 0; j < TILED; j += 4) {                          \
      core(panel, n, x, 4, acc, sub, offset, min, run, ready[0][j]); \
      acc = totals_after(acc, 4), x = columns_after(x, 4);           \
    }                                                                \
  }

/* wn_mm (kern.h): the walk, whose kernels shape the tiles as they need. */
static void run_tiles(const wn_mm_job *job) {
  run(job);
  tiles_end();
}
#define RUN run_tiles
