/* probe.c - see probe.h.
 *
 * Arithmetic: loops over ten or more independent accumulators, enough to hide
 * the latency of every unit, with operands that stay in registers. The loops
 * end in a sum that is stored, so that no compiler can drop them, and the
 * accumulators start at different values, so that none can merge them. */
#include "kern/probe.h"

#include <stdlib.h>
#include <time.h>

#include "base/cpu.h"
#include "base/pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { TRIES = 9, LOOPS = 1200000, ACCS = 12, BARRIERS = 20000, RUNS = 101 };
#define ENOUGH 0.2 /* seconds */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *const names[] = {
#define X(id, name) name,
    WN_PROBES(X)
#undef X
};

const char *wn_probe_name(wn_probe p) {
  return (unsigned)p < WN_PROBE_N ? names[p] : "?";
}

/* What a loop leaves behind: read by nobody, but visibly stored. */
static volatile float sink;

/* -- arithmetic -------------------------------------------------------------
 */

typedef void (*loop_fn)(int n_loops);

#if defined(__x86_64__)

/* A function f that repeats STEP on each of ACCS accumulators of a vector
 * type; START(i) makes the i-th, LOW gives a float of one. */
#define LOOP(f, target_, type, START, STEP, LOW)                \
  __attribute__((target(target_))) static void f(int n_loops) { \
    type acc[ACCS];                                             \
    WN_UNROLL                                                   \
    for (int i = 0; i < ACCS; i++)                              \
      acc[i] = (START(i));                                      \
    for (int n = 0; n < n_loops; n++) {                         \
      WN_UNROLL                                                 \
      for (int i = 0; i < ACCS; i++)                            \
        acc[i] = (STEP(acc[i]));                                \
      __asm__ volatile("" ::: "memory");                        \
    }                                                           \
    WN_UNROLL                                                   \
    for (int i = 0; i < ACCS; i++)                              \
      sink = sink + LOW(acc[i]);                                \
  }

#define FLOAT_256(i) _mm256_set1_ps(1e-20f * (float)((i) + 1))
#define INT_256(i) _mm256_set1_epi32((i) + 1)
#define FLOAT_512(i) _mm512_set1_ps(1e-20f * (float)((i) + 1))
#define INT_512(i) _mm512_set1_epi32((i) + 1)

#define ONES8 _mm256_set1_epi8(1)
#define F32_256(a) _mm256_fmadd_ps(a, _mm256_set1_ps(0.5f), a)
#define LOW_256(a) _mm256_cvtss_f32(a)
#define MADD_256(a) \
  _mm256_add_epi32(a, _mm256_madd_epi16(_mm256_maddubs_epi16(a, ONES8), ONES8))
#define LOWI_256(a) (float)_mm256_extract_epi32(a, 0)
LOOP(avx2_f32, WN_T_AVX2, __m256, FLOAT_256, F32_256, LOW_256)
LOOP(avx2_int8, WN_T_AVX2, __m256i, INT_256, MADD_256, LOWI_256)

#define VNNI_256(a) _mm256_dpbusd_avx_epi32(a, ONES8, ONES8)
LOOP(avxvnni_int8, WN_T_AVX2 ",avxvnni", __m256i, INT_256, VNNI_256, LOWI_256)

#define ONES512 _mm512_set1_epi8(1)
#define F32_512(a) _mm512_fmadd_ps(a, _mm512_set1_ps(0.5f), a)
#define LOW_512(a) _mm512_cvtss_f32(a)
#define VNNI_512(a) _mm512_dpbusd_epi32(a, ONES512, ONES512)
#define LOWI_512(a) (float)_mm512_cvtsi512_si32(a)
LOOP(avx512_f32, WN_T_AVX512, __m512, FLOAT_512, F32_512, LOW_512)
LOOP(avx512_int8, WN_T_AVX512, __m512i, INT_512, VNNI_512, LOWI_512)

#define BF16_512(a)                                     \
  _mm512_dpbf16_ps(a, (__m512bh)_mm512_setzero_si512(), \
                   (__m512bh)_mm512_setzero_si512())
LOOP(avx512_bf16, WN_T_AVX512 ",avx512bf16", __m512, FLOAT_512, BF16_512,
     LOW_512)

/* Tile registers: 0 to 3 accumulate, 4 to 7 are operands, all of them 16 rows
 * of 64 bytes. What this thread's registers were configured for before is put
 * back (see tile_amx.h). (The intrinsic for ldtilecfg does not say that it
 * reads all of the configuration: GCC 12 then drops most of it.) */
#define AMX_LOOP(f, target_, DP)                                \
  __attribute__((target(target_))) static void f(int n_loops) { \
    struct {                                                    \
      uint8_t palette, start, none[14];                         \
      uint16_t bytes[16];                                       \
      uint8_t rows[16];                                         \
    } conf = {.palette = 1}, were;                              \
    for (int i = 0; i < 8; i++) {                               \
      conf.bytes[i] = 64;                                       \
      conf.rows[i] = 16;                                        \
    }                                                           \
    __asm__ volatile("sttilecfg %0" : "=m"(were));              \
    __asm__ volatile("ldtilecfg %0" : : "m"(conf));             \
    _tile_zero(0);                                              \
    _tile_zero(1);                                              \
    _tile_zero(2);                                              \
    _tile_zero(3);                                              \
    _tile_zero(4);                                              \
    _tile_zero(5);                                              \
    _tile_zero(6);                                              \
    _tile_zero(7);                                              \
    for (int n = 0; n < n_loops / ACCS; n++) {                  \
      DP(0, 4, 6);                                              \
      DP(1, 4, 7);                                              \
      DP(2, 5, 6);                                              \
      DP(3, 5, 7);                                              \
    }                                                           \
    __asm__ volatile("ldtilecfg %0" : : "m"(were));             \
  }
AMX_LOOP(amx_bf16, "amx-tile,amx-bf16", _tile_dpbf16ps)
AMX_LOOP(amx_int8, "amx-tile,amx-int8", _tile_dpbusd)

#endif

/* A unit: its loop, the operations of one turn of it, the tier it needs. */
typedef struct unit {
  loop_fn loop;
  double ops;
  wn_isa isa;
} unit;

/* Turns of an AMX loop are counted so that a loop of any unit takes about
 * the same time: 4 products of 16 x 16 x 32 (64) in ACCS turns. */
static unit unit_of(wn_probe p) {
  unit none = {NULL, 0, WN_ISA_REF};
#if defined(__x86_64__)
  static const unit units[WN_PROBE_N] = {
      [WN_PROBE_AVX2_F32] = {avx2_f32, ACCS * 16, WN_ISA_AVX2},
      [WN_PROBE_AVX2_INT8] = {avx2_int8, ACCS * 64, WN_ISA_AVX2},
      [WN_PROBE_AVXVNNI_INT8] = {avxvnni_int8, ACCS * 64, WN_ISA_AVX2},
      [WN_PROBE_AVX512_F32] = {avx512_f32, ACCS * 32, WN_ISA_AVX512},
      [WN_PROBE_AVX512_INT8] = {avx512_int8, ACCS * 128, WN_ISA_AVX512},
      [WN_PROBE_AVX512_BF16] = {avx512_bf16, ACCS * 64, WN_ISA_AVX512},
      [WN_PROBE_AMX_BF16] = {amx_bf16, 4.0 * 16384 / ACCS, WN_ISA_AMX},
      [WN_PROBE_AMX_INT8] = {amx_int8, 4.0 * 32768 / ACCS, WN_ISA_AMX},
  };
#if defined(WN_AMX_EMULATE)
  if (p == WN_PROBE_AMX_BF16 || p == WN_PROBE_AMX_INT8) return none;
#endif
  if ((unsigned)p < WN_PROBE_N) return units[p];
#else
  (void)p;
#endif
  return none;
}

bool wn_probe_offered(wn_probe p) {
  const wn_cpu *c = wn_cpu_get();
  unit u = unit_of(p);
  if (u.loop == NULL || c->best < u.isa) return false;
  if (p == WN_PROBE_AVXVNNI_INT8) return c->has_avx_vnni;
  if (p == WN_PROBE_AVX512_BF16) return c->has_bf16;
  return true;
}

static void run_loop(void *arg, wn_team *team, int member, int n_members) {
  const unit *u = arg;
  (void)n_members;
  wn_team_barrier(team, member);
  u->loop(LOOPS);
}

double wn_probe_peak(wn_probe p, int n_threads) {
  if (!wn_probe_offered(p)) return 0;
  unit u = unit_of(p);
  double best = 0;
  wn_pool_enter();
  for (int i = 0; i < TRIES; i++) {
    double start = now();
    int n = wn_pool_run(n_threads, run_loop, &u);
    double rate = (double)n * LOOPS * u.ops / (now() - start);
    if (rate > best) best = rate;
  }
  wn_pool_leave();
  return best;
}

/* -- meeting: barriers one after the other inside one run, and empty runs -- */

static void meet(void *arg, wn_team *team, int member, int n_members) {
  const int *n = arg;
  (void)n_members;
  for (int i = 0; i < *n; i++)
    wn_team_barrier(team, member);
}

/* Few at first: with more threads than cores a barrier costs what the kernel
 * takes to change threads, thousands of times as much, and few say so. */
double wn_probe_barrier(int n_threads) {
  double best = 1e9, all = 0;
  wn_pool_enter();
  for (int i = 0, n = BARRIERS / 100; i <= TRIES && all < ENOUGH; i++) {
    double start = now();
    wn_pool_run(n_threads, meet, &n);
    double seconds = now() - start;
    all += seconds;
    if (seconds / n < best) best = seconds / n;
    n = BARRIERS;
    if (best * n > ENOUGH) break;
  }
  wn_pool_leave();
  return best;
}

static void nothing(void *arg, wn_team *team, int member, int n_members) {
  (void)arg, (void)team, (void)member, (void)n_members;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double wn_probe_run(int n_threads, double idle) {
  struct timespec pause = {(time_t)idle, 0};
  pause.tv_nsec = (long)((idle - (double)pause.tv_sec) * 1e9);
  double seconds[RUNS];
  wn_pool_enter();
  wn_pool_run(n_threads, nothing, NULL); /* starts the threads */
  for (int i = 0; i < RUNS; i++) {
    if (idle > 0) nanosleep(&pause, NULL);
    double start = now();
    wn_pool_run(n_threads, nothing, NULL);
    seconds[i] = now() - start;
  }
  wn_pool_leave();
  qsort(seconds, RUNS, sizeof *seconds, by_size);
  return seconds[RUNS / 2];
}
