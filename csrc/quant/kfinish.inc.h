/* kfinish.inc.h - template: the last stage of the k encoders.
 *
 * Rounds all values of a batch with their quantized scales, in the order of
 * memory, to one byte per level; then packs them. */

/* Results of the searches of a batch, one per sub-block, and what the later
 * stages make of them. */
typedef struct batch {
  float scale[BATCH * 16], min[BATCH * 16], sum_w[BATCH * 16];
  float step[BATCH * 16], from[BATCH * 16];
  float sigma2[BATCH];                /* per super-block, with importance */
  float d[BATCH * 16], m[BATCH * 16]; /* scale and minimum, quantized */
  uint8_t L[BATCH * WN_QK];
} batch;

/* Which of 16 scales are zero, scale 0 lowest. */
WN_VEC unsigned zero_scales(const float *d) {
  unsigned found = 0;
  for (int j = 0; j < 16; j += LANES)
    found |= vm_bits(vf_eq(vf_load(d + j), vf_set(0))) << j;
  return found;
}

/* The level wn_k_round(a / d), clamped to low .. high, in the low byte of each
 * lane. */
WN_VEC vi exact_level(vf a, float d, int low, int high) {
  vf moved = vf_add(vf_div(a, vf_set(d)), vf_set(WN_K_MAGIC));
  vi l = vi_sub(vi_and(vf_bits(moved), vi_set(0x007fffff)), vi_set(0x00400000));
  return vi_max(vi_min(l, vi_set(high)), vi_set(low));
}

/* The same by multiplication, inverse = 1 / d. The product differs from the
 * quotient by at most three roundings, which matters only close to the middle
 * of two levels; and wn_k_round wraps only from 2^22 on. Lanes for which that
 * cannot be excluded leave *sure. */
WN_VEC vi quick_level(vf a, float inverse, int low, int high, vm *sure) {
  const vf magic = vf_set(WN_K_MAGIC);
  vf q = vf_mul(a, vf_set(inverse));
  vf top = vf_set((float)high + 0.4f), bottom = vf_set((float)low - 0.4f);
  vf near = vf_max(vf_min(q, top), bottom), moved = vf_add(near, magic);
  vf off = vf_abs(vf_sub(near, vf_sub(moved, magic)));
  *sure = vf_lt_where(*sure, vf_abs(q), vf_set(0x1p21f));
  *sure = vf_lt_where(*sure, off, vf_set(0.49998f));
  return vf_bits(moved);
}

/* Levels base + round((x + m) / d), round between low and high, of 16
 * sub-blocks; without m when m is NULL. Those with d = 0 (set in `zero`) keep
 * the L that they have. `quick`: as quick_level; true when all are sure. */
WN_VEC bool round_16(bool quick, const float *x, int sub, const float *d,
                     const float *m, unsigned zero, int low, int high, int base,
                     uint8_t *L) {
  float inverse[16];
  vm sure = vf_eq(vf_set(0), vf_set(0)); /* all */
  for (int j = 0; quick && j < 16; j += LANES)
    vf_store(inverse + j, vf_div(vf_set(1), vf_load(d + j)));
  for (int j = 0; j < 16; j++, x += sub, L += sub) {
    if (zero >> j & 1) continue;
    for (int i = 0; i < sub; i += LANES) {
      vf a = vf_load(x + i);
      if (m != NULL) a = vf_add(a, vf_set(m[j]));
      vi l = quick ? quick_level(a, inverse[j], low, high, &sure)
                   : exact_level(a, d[j], low, high);
      vi_store_bytes(L + i, vi_add(l, vi_set(base)));
    }
  }
  return vm_all(sure);
}

/* round_16 for n sub-blocks; a rest of less than 16 has zeros in d. */
WN_VEC void round_values(const float *x, int n, int sub, const float *d,
                         const float *m, int low, int high, int base,
                         uint8_t *L) {
  for (int j = 0; j < n; j += 16) {
    unsigned zero = zero_scales(d);
    if (!SLOW_DIVISION ||
        !round_16(true, x, sub, d, m, zero, low, high, base, L))
      round_16(false, x, sub, d, m, zero, low, high, base, L);
    x += 16 * sub;
    L += 16 * sub;
    d += 16;
    if (m != NULL) m += 16;
  }
}

/* The levels of an affine search for the sub-block x. */
static void keep_affine(const float *x, int sub, int top, float step,
                        float from, uint8_t *L) {
  for (int i = 0; i < sub; i++)
    L[i] = (uint8_t)wn_k_clamp(wn_k_round(step * (x[i] - from)), 0, top);
}

/* The levels of a symmetric search; a step of NaN marks zeros. */
static void keep_symmetric(const float *x, int top, float step, uint8_t *L) {
  for (int i = 0; i < 16; i++) {
    int l = wn_k_clamp(wn_k_round(step * x[i]), -top, top - 1);
    L[i] = (uint8_t)(step == step ? top + l : 0);
  }
}

/* The first of 16 scales with the largest magnitude, NaN aside; 0 when all
 * are 0. */
WN_VEC float largest_scale(const float *scale) {
  vf amax = vf_set(0);
  for (int j = 0; j < 16; j += LANES)
    amax = vf_max(vf_abs(vf_load(scale + j)), amax);
  vf top = vf_set(vf_largest(amax));
  unsigned found = 1u << 16;
  for (int j = 0; j < 16; j += LANES)
    found |= vm_bits(vf_eq(vf_abs(vf_load(scale + j)), top)) << j;
  return found != 1u << 16 ? scale[__builtin_ctz(found)] : 0;
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

/* Bits 0 and 1 of four groups of 32 levels, for each half. */
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
