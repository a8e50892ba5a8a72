/* probe.h - what this machine can do at most, multiplying in registers, and
 * what it costs threads to meet. Benches print their figures as shares of
 * these limits, measured in the same run. (timing.h measures reading.)
 *
 * Each probe runs on n threads of the pool and returns the rate of all of
 * them together; the best of several short runs, since a neighbour can only
 * slow it down. */
#ifndef WN_KERN_PROBE_H
#define WN_KERN_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Units that multiply; an operation is a multiplication or an addition. */
#define WN_PROBES(X)                                          \
  X(AVX2_F32, "avx2 f32")   /* fused multiply-add, 8 lanes */ \
  X(AVX2_INT8, "avx2 int8") /* maddubs, madd, add */          \
  X(AVXVNNI_INT8, "avxvnni int8")                             \
  X(AVX512_F32, "avx512 f32")                                 \
  X(AVX512_INT8, "avx512 int8") /* vpdpbusd */                \
  X(AVX512_BF16, "avx512 bf16") /* vdpbf16ps */               \
  X(AMX_BF16, "amx bf16")                                     \
  X(AMX_INT8, "amx int8")

typedef enum wn_probe {
#define X(id, name) WN_PROBE_##id,
  WN_PROBES(X)
#undef X
      WN_PROBE_N
} wn_probe;

const char *wn_probe_name(wn_probe p);

/* Can this machine do it? */
bool wn_probe_offered(wn_probe p);

/* Operations a second; 0 when it is not offered. */
double wn_probe_peak(wn_probe p, int n_threads);

/* Seconds of one barrier of a team that does nothing else (base/pool.h). */
double wn_probe_barrier(int n_threads);

/* Seconds of a run of the pool whose task is empty, begun `idle` seconds after
 * the one before: with 0 the workers are still awake, after some milliseconds
 * they sleep. The middle of several tries. */
double wn_probe_run(int n_threads, double idle);

#endif
