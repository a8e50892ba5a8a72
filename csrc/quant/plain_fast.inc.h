/* plain_fast.inc.h - f16 and bf16 in bulk; a template, see fast.h. Both
 * conversions need no order: the CPU rounds f16 as IEEE 754 says, bf16 is
 * integer arithmetic. */

/* A last, partial vector goes through a buffer of LANES values. */
#define FAST_ENCODE_WORDS(name, STORE)                             \
  static void encode_##name(const float *src, void *dst, size_t n, \
                            const float *importance) {             \
    (void)importance;                                              \
    uint8_t *out = dst;                                            \
    size_t i = 0;                                                  \
    for (; i + LANES <= n; i += LANES)                             \
      STORE(out + 2 * i, vf_load(src + i));                        \
    if (i == n) return;                                            \
    float last[LANES] = {0};                                       \
    uint8_t words[2 * LANES];                                      \
    memcpy(last, src + i, (n - i) * sizeof *last);                 \
    STORE(words, vf_load(last));                                   \
    memcpy(out + 2 * i, words, 2 * (n - i));                       \
  }

#define FAST_DECODE_WORDS(name, LOAD)                                \
  static void decode_##name(const void *src, float *dst, size_t n) { \
    const uint8_t *in = src;                                         \
    size_t i = 0;                                                    \
    for (; i + LANES <= n; i += LANES)                               \
      vf_store(dst + i, LOAD(in + 2 * i));                           \
    if (i == n) return;                                              \
    float last[LANES];                                               \
    uint8_t words[2 * LANES] = {0};                                  \
    memcpy(words, in + 2 * i, 2 * (n - i));                          \
    vf_store(last, LOAD(words));                                     \
    memcpy(dst + i, last, (n - i) * sizeof *last);                   \
  }

/* Round to nearest even by adding just under a half of the last bit kept; a
 * NaN keeps its high bits and becomes quiet, as in wn_bf16_of_f32. */
WN_VEC void store_bf16(void *p, vf v) {
  vi u = vf_bits(v), high = vi_right(u, 16);
  vi odd = vi_and(high, vi_set(1));
  vi rounded = vi_right(vi_add(u, vi_add(odd, vi_set(0x7fff))), 16);
  vi quiet = vi_or(high, vi_set(64));
  vi_store_words(p, vi_pick(vf_ne(v, v), quiet, rounded));
}

WN_VEC vf load_bf16(const void *p) {
  return vi_as_float(vi_left(vi_load_words(p), 16));
}

FAST_ENCODE_WORDS(f16, vf_store_half)
FAST_ENCODE_WORDS(bf16, store_bf16)
FAST_DECODE_WORDS(f16, vf_load_half)
FAST_DECODE_WORDS(bf16, load_bf16)

/* wn_fast_table.worst */
static uint32_t worst(const float *x, size_t n) {
  vi most = vi_set(0);
  uint32_t w = 0, lane[LANES];
  size_t i = 0;
  for (; i + LANES <= n; i += LANES)
    most = vi_max_unsigned(most, vf_bits(vf_abs(vf_load(x + i))));
  vi_store(lane, most);
  for (int k = 0; k < LANES; k++)
    w = lane[k] > w ? lane[k] : w;
  for (; i < n; i++) {
    uint32_t m = wn_bits_of_f32(x[i]) & 0x7fffffffu;
    w = m > w ? m : w;
  }
  return w;
}
