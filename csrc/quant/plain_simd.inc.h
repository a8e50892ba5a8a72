/* plain_simd.inc.h - f16 and bf16 in bulk; template, see fast.h. Both
 * conversions are exact on their own: the CPU rounds f16 as IEEE 754 says,
 * bf16 is integer arithmetic. */

/* A last, partial vector goes through a buffer of VL values. */
#define SIMD_ENCODE_WORDS(name, STORE)                                    \
  static void simd_encode_##name(const float *src, void *dst, size_t n,   \
                                 const float *importance) {               \
    (void)importance;                                                     \
    uint8_t *out = dst;                                                   \
    size_t i = 0;                                                         \
    for (; i + VL <= n; i += VL) STORE(out + 2 * i, v_load(src + i));     \
    if (i == n) return;                                                   \
    float last[VL] = {0};                                                 \
    uint8_t words[2 * VL];                                                \
    memcpy(last, src + i, (n - i) * sizeof *last);                        \
    STORE(words, v_load(last));                                           \
    memcpy(out + 2 * i, words, 2 * (n - i));                              \
  }

#define SIMD_DECODE_WORDS(name, LOAD)                                     \
  static void simd_decode_##name(const void *src, float *dst, size_t n) { \
    const uint8_t *in = src;                                              \
    size_t i = 0;                                                         \
    for (; i + VL <= n; i += VL) v_store(dst + i, LOAD(in + 2 * i));      \
    if (i == n) return;                                                   \
    float last[VL];                                                       \
    uint8_t words[2 * VL] = {0};                                          \
    memcpy(words, in + 2 * i, 2 * (n - i));                               \
    v_store(last, LOAD(words));                                           \
    memcpy(dst + i, last, (n - i) * sizeof *last);                        \
  }

/* Round to nearest even by adding just under half; NaN keeps its high bits
 * and becomes quiet, as in wn_bf16_of_f32. */
static inline void store_bf16(void *p, vf v) {
  vi u = vi_of_bits(v), high = vi_shr(u, 16);
  vi odd = vi_and(high, vi_set1(1));
  vi rounded = vi_shr(vi_add(u, vi_add(odd, vi_set1(0x7fff))), 16);
  vi quiet = vi_or(high, vi_set1(64));
  store_words(p, vi_pick(v_ne(v, v), rounded, quiet));
}

static inline vf load_bf16(const void *p) {
  vi bits = vi_shl(load_words(p), 16);
  return v_of_bits(bits);
}

SIMD_ENCODE_WORDS(f16, store_f16)
SIMD_ENCODE_WORDS(bf16, store_bf16)
SIMD_DECODE_WORDS(f16, load_f16)
SIMD_DECODE_WORDS(bf16, load_bf16)

static uint32_t simd_worst(const float *x, size_t n) {
  vi worst = vi_set1(0);
  size_t i = 0;
  for (; i + VL <= n; i += VL)
    worst = vi_max_u(worst, vi_of_bits(v_abs(v_load(x + i))));
  uint32_t w = vi_hmax_u(worst);
  for (; i < n; i++) {
    uint32_t m = wn_bits_of_f32(x[i]) & 0x7fffffffu;
    w = m > w ? m : w;
  }
  return w;
}
