/* probe.inc.h - template: what the machine could do at most, for benches. */

#define PROBE_CHAINS 12 /* more than latency times throughput */

/* Results go through this, so that no compiler drops the work. */
static volatile uint32_t probe_sink;

static uint64_t work_float(size_t steps) {
  VF acc[PROBE_CHAINS], a = vf_all(0.999f), b = vf_all(0.001f);
  WN_UNROLL
  for (int i = 0; i < PROBE_CHAINS; i++)
    acc[i] = vf_all((float)i);
  for (size_t s = 0; s < steps; s++) {
    WN_UNROLL
    for (int i = 0; i < PROBE_CHAINS; i++)
      acc[i] = vf_fma(acc[i], a, b);
  }
  for (int i = 1; i < PROBE_CHAINS; i++)
    acc[0] = vf_add(acc[0], acc[i]);
  float out[LANES];
  vf_store(out, acc[0]);
  probe_sink = wn_bits_of_f32(out[0]);
  return 2ull * LANES * PROBE_CHAINS * steps;
}

/* Products of 8-bit numbers: dot_steps over a block that stays in registers
 * or the first cache. */
static uint64_t work_int8(size_t steps) {
  static const uint8_t ones[64] = {1, 1, 1, 1};
  uint8_t u[8][R][4];
  memset(u, 1, sizeof u);
  VI lo[QCOLS], hi[QCOLS];
  WN_UNROLL
  for (size_t j = 0; j < QCOLS; j++)
    lo[j] = hi[j] = vi_zero();
  for (size_t s = 0; s < steps; s++)
    dot_steps(u[0][0], ones, 0, QCOLS, 8, 8, lo, hi);
  for (size_t j = 0; j < QCOLS; j++)
    lo[0] = vi_add(lo[0], vi_add(lo[j], hi[j]));
  uint32_t out[LANES];
  vi_store(out, lo[0]);
  probe_sink = out[0];
  return 2ull * 32 * R * QCOLS * steps;
}

static uint32_t read_streams(const uint8_t *p, size_t n, size_t streams) {
  enum { STEP = 256 };
  size_t each = n / streams / STEP * STEP;
  VI sum = vi_zero();
  for (size_t at = 0; at < each; at += STEP)
    for (size_t s = 0; s < streams; s++)
      for (size_t i = 0; i < STEP; i += sizeof(VI)) {
        __builtin_prefetch(p + s * each + at + i + 2048);
        sum = vi_add(sum, vi_load(p + s * each + at + i));
      }
  uint32_t out[LANES];
  vi_store(out, sum);
  return out[0];
}
