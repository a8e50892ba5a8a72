/* kfinish.inc.h - template: the last stage of the k encoders.
 *
 * Rounds the values of a super-block with their quantized scales, in the
 * order of memory, and packs the levels. L is 256 bytes, one level each. */

/* Exactly wn_k_round, then clamped to low .. high. */
WN_VEC vi round_level(vf v, int low, int high) {
  vi bits = vi_and(vf_bits(vf_add(v, vf_set(WN_K_MAGIC))), vi_set(0x007fffff));
  vi l = vi_sub(bits, vi_set(0x00400000));
  return vi_max(vi_min(l, vi_set(high)), vi_set(low));
}

/* Levels round((x + m) / d); where d is 0 those of the search,
 * round(step * (x - from)). sub is 16 or 32, the arrays have one number per
 * sub-block. */
WN_VEC void round_affine(const float *x, int sub, int top, const float *d,
                         const float *m, const float *step, const float *from,
                         uint8_t *L) {
  for (int j = 0; j < WN_QK / sub; j++) {
    bool keep = d[j] == 0;
    vf dj = vf_set(keep ? step[j] : d[j]), mj = vf_set(keep ? from[j] : m[j]);
    for (int i = j * sub; i < (j + 1) * sub; i += LANES) {
      vf xi = vf_load(x + i);
      vf v = keep ? vf_mul(dj, vf_sub(xi, mj)) : vf_div(vf_add(xi, mj), dj);
      vi_store_bytes(L + i, round_level(v, 0, top));
    }
  }
}

/* Levels top + round(x / d); sub-blocks of d = 0 keep the L they have. */
WN_VEC void round_symmetric(const float *x, int top, const float d[16],
                            uint8_t *L) {
  for (int j = 0; j < 16; j++) {
    if (d[j] == 0) continue;
    vf dj = vf_set(d[j]);
    for (int i = 16 * j; i < 16 * j + 16; i += LANES) {
      vi l = round_level(vf_div(vf_load(x + i), dj), -top, top - 1);
      vi_store_bytes(L + i, vi_add(l, vi_set(top)));
    }
  }
}

/* The levels of a symmetric search for sub-block j. */
static void keep_symmetric(const float *x, int top, float step, uint8_t *L) {
  for (int i = 0; i < 16; i++) {
    int l = wn_k_clamp(wn_k_round(step * x[i]), -top, top - 1);
    L[i] = (uint8_t)(step == step ? top + l : 0); /* NaN: all zero */
  }
}

/* ---- Packing: 32 bytes at a time. --------------------------------------- */

WN_VEC __m256i load_bytes(const uint8_t *p) {
  return _mm256_loadu_si256((const void *)p);
}
WN_VEC void store_bytes(uint8_t *p, __m256i a) {
  _mm256_storeu_si256((void *)p, a);
}
/* The bits of `mask` of each byte. The shifts below move such fields within
 * their byte, though they shift 16 bits at a time. */
WN_VEC __m256i field(__m256i a, int mask) {
  return _mm256_and_si256(a, _mm256_set1_epi8((char)mask));
}
#define UP(a, n) _mm256_slli_epi16(a, n)
#define DOWN(a, n) _mm256_srli_epi16(a, n)
#define OR(a, b) _mm256_or_si256(a, b)

/* Fields of bit 0 and 1 of four groups of 32 levels, for each half. */
WN_VEC void pack_2_bits(const uint8_t *L, uint8_t *qs) {
  for (int h = 0; h < 2; h++, L += 128) {
    __m256i a = field(load_bytes(L), 3), b = field(load_bytes(L + 32), 3);
    __m256i c = field(load_bytes(L + 64), 3), d = field(load_bytes(L + 96), 3);
    store_bytes(qs + 32 * h, OR(OR(a, UP(b, 2)), OR(UP(c, 4), UP(d, 6))));
  }
}

/* Bit `bit` of all levels: that of L[32 j + m] becomes bit j of out[m]. */
WN_VEC void pack_high_bit(const uint8_t *L, int bit, uint8_t *out) {
  __m256i sum = _mm256_setzero_si256();
  WN_UNROLL
  for (int j = 0; j < 8; j++) {
    __m256i b = field(load_bytes(L + 32 * j), 1 << bit);
    sum = OR(sum, j < bit ? DOWN(b, bit - j) : UP(b, j - bit));
  }
  store_bytes(out, sum);
}

WN_VEC void pack_nibbles(const uint8_t *L, uint8_t *qs) {
  for (int p = 0; p < 4; p++, L += 64) {
    __m256i a = field(load_bytes(L), 15), b = field(load_bytes(L + 32), 15);
    store_bytes(qs + 32 * p, OR(a, UP(b, 4)));
  }
}

WN_VEC void pack_q6(const uint8_t *L, wn_block_q6_K *y) {
  for (int h = 0; h < 2; h++, L += 128) {
    __m256i a = load_bytes(L), b = load_bytes(L + 32);
    __m256i c = load_bytes(L + 64), d = load_bytes(L + 96);
    store_bytes(y->ql + 64 * h, OR(field(a, 15), UP(field(c, 15), 4)));
    store_bytes(y->ql + 64 * h + 32, OR(field(b, 15), UP(field(d, 15), 4)));
    a = DOWN(field(a, 48), 4);
    b = DOWN(field(b, 48), 2);
    d = UP(field(d, 48), 2);
    store_bytes(y->qh + 32 * h, OR(OR(a, b), OR(field(c, 48), d)));
  }
}

#undef UP
#undef DOWN
#undef OR
