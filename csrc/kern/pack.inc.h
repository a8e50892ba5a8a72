/* pack.inc.h - template: activations to 8 bits. The same bytes as the
 * functions in ref.c, which say what they compute. The including file has
 * defined, for its instruction set:
 *   pack_largest(x, n)           bits of the largest magnitude of n values
 *   pack_extreme(x, largest)     the first of 256 values of that magnitude
 *   pack_round(x, s, q, sums)    32 values times s, rounded, to q; the sums
 *                                of 16 to sums[0..1]
 * and, with PACK_WIDE, 256 values at once:
 *   pack_blocks8(x, b, col, column)   blocks b .. b + 7
 *   pack_super(x, b, col, column)     super-block b */

static void pack_q8_32(const float *x, size_t k, uint8_t *column) {
  wn_column col = wn_column_of(WN_PACK_Q8_32, k);
  size_t b = 0;
#ifdef PACK_WIDE
  for (; b + 8 <= k / 32; b += 8)
    pack_blocks8(x + 32 * b, b, &col, column);
#endif
  for (; b < k / 32; b++) {
    wn_scale s = wn_scale_q8_32(pack_largest(x + 32 * b, 32));
    int16_t sums[2];
    pack_round(x + 32 * b, s.inverse, column + 32 * b, sums);
    float dsum = s.d * (float)(sums[0] + sums[1]);
    memcpy(column + col.d + 4 * b, &s.d, 4);
    memcpy(column + col.sums + 4 * b, sums, 4);
    memcpy(column + col.sums32 + 4 * b, &dsum, 4);
  }
}

static void pack_q8_256(const float *x, size_t k, uint8_t *column) {
  wn_column col = wn_column_of(WN_PACK_Q8_256, k);
  for (size_t b = 0; b < k / 256; b++, x += 256) {
#ifdef PACK_WIDE
    pack_super(x, b, &col, column);
#else
    wn_scale s = wn_scale_q8_256(pack_extreme(x, pack_largest(x, 256)));
    for (size_t i = 0; i < 8; i++) {
      int16_t sums[2], sum;
      pack_round(x + 32 * i, s.inverse, column + 256 * b + 32 * i, sums);
      sum = (int16_t)(sums[0] + sums[1]);
      memcpy(column + col.sums + 32 * b + 4 * i, sums, 4);
      memcpy(column + col.sums32 + 16 * b + 2 * i, &sum, 2);
    }
    memcpy(column + col.d + 4 * b, &s.d, 4);
#endif
  }
}
