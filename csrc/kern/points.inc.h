/* points.inc.h - template: the points of the i-quants' grids by loads, for
 * vectors that cannot look up tables of their size in registers. Needs
 * LANES, VI, vi_load, vi_store. */

/* The low bytes of the halves of a, then of b: 4 bytes a lane. */
static inline VI vi_pack16(VI a, VI b) {
  static const uint8_t even[16] = {0, 2,  128, 128, 4,  6,  128, 128,
                                   8, 10, 128, 128, 12, 14, 128, 128};
  VI pick = vi_table(even);
  return vi_or(vi_shuffle(a, pick), vi_sll(vi_shuffle(b, pick), 16));
}

/* The points of two groups of 8 values whose indices are the halves of each
 * lane: out[0], out[1] the first group's, out[2], out[3] the second's. */
INLINE void vi_points8(const uint16_t *keys, const uint64_t *points, size_t n,
                       uint64_t levels, VI index, VI out[4]) {
  (void)keys, (void)n, (void)levels;
  uint16_t at[2 * LANES];
  uint32_t t[4][LANES];
  vi_store(at, index);
  for (size_t r = 0; r < LANES; r++) {
    uint64_t a = points[at[2 * r]], b = points[at[2 * r + 1]];
    t[0][r] = (uint32_t)a;
    t[1][r] = (uint32_t)(a >> 32);
    t[2][r] = (uint32_t)b;
    t[3][r] = (uint32_t)(b >> 32);
  }
  for (size_t i = 0; i < 4; i++)
    out[i] = vi_load(t[i]);
}

/* The same for groups of 4 values: out[0], out[1]. */
INLINE void vi_points4(const uint16_t *keys, const uint32_t *points, size_t n,
                       uint64_t levels, VI index, VI out[2]) {
  (void)keys, (void)n, (void)levels;
  uint16_t at[2 * LANES];
  uint32_t t[2][LANES];
  vi_store(at, index);
  for (size_t r = 0; r < LANES; r++) {
    t[0][r] = points[at[2 * r]];
    t[1][r] = points[at[2 * r + 1]];
  }
  out[0] = vi_load(t[0]);
  out[1] = vi_load(t[1]);
}
