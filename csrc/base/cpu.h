/* cpu.h - which instruction sets may be used, asked once.
 *
 * A tier includes all below it. Detection looks at the CPU and at what the
 * operating system saves on a context switch; AMX also asks Linux for
 * permission. WANE_ISA=ref|avx2|avx512|amx|neon lowers the tier (a tier the
 * machine lacks is never chosen). Compiled with WN_AMX_EMULATE, for tests, a
 * CPU with AVX-512 offers the AMX tier too (kern/tile_amx.h). */
#ifndef WN_BASE_CPU_H
#define WN_BASE_CPU_H

#include <stdbool.h>

typedef enum wn_isa {
  WN_ISA_REF = 0, /* portable C */
  WN_ISA_NEON,    /* aarch64, with dotprod and i8mm where it has them */
  WN_ISA_AVX2,    /* avx2, fma, f16c, bmi2 */
  WN_ISA_AVX512,  /* f, bw, dq, vl, vbmi, vnni */
  WN_ISA_AMX,     /* amx-tile, amx-bf16, amx-int8 */
} wn_isa;

typedef struct wn_cpu {
  wn_isa isa;        /* the tier in force */
  wn_isa best;       /* the highest this machine offers */
  bool has_avx_vnni; /* VNNI on 256-bit registers in the AVX2 tier */
  bool has_bf16;     /* avx512_bf16 */
  bool has_dotprod;  /* sdot in the NEON tier */
  bool has_i8mm;     /* smmla in the NEON tier; has_dotprod too */
  char name[64];     /* the CPU's brand string, printable */
} wn_cpu;

/* The answer for this process; thread safe, never NULL. */
const wn_cpu *wn_cpu_get(void);

/* Changes the tier in force (tests, benches); false when the machine lacks
 * it. Not while work is running. */
bool wn_cpu_set_isa(wn_isa isa);

/* "ref", "avx2", ... and back; wn_isa_of_name gives -1 for an unknown name. */
const char *wn_isa_name(wn_isa isa);
int wn_isa_of_name(const char *name);

/* Code for one instruction set in a file of its own, built by plain cc:
 *   #include <immintrin.h>          (before WN_TARGET_BEGIN)
 *   WN_TARGET_BEGIN(WN_T_AVX2)  ...functions...  WN_TARGET_END
 * Both compilers apply the target to every function between the two. */
#define WN_T_AVX2 "avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt"
#define WN_T_AVX512                                                    \
  "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni,avx2,fma," \
  "f16c,bmi,bmi2,lzcnt,popcnt"
/* These name an architecture, because GCC's intrinsics do. WN_ARM_TARGETS:
 * the compiler has them without flags. */
#define WN_T_DOTPROD "arch=armv8.2-a+dotprod"
#define WN_T_I8MM "arch=armv8.2-a+dotprod+i8mm"
#if defined(__aarch64__)
#if defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 10
#define WN_ARM_TARGETS
#endif
#endif
#define WN_T_AMX WN_T_AVX512 ",amx-tile,amx-int8,amx-bf16"
#define WN_PRAGMA_(x) _Pragma(#x)
#define WN_PRAGMA(x) WN_PRAGMA_(x)
#if defined(__clang__)
#define WN_TARGET_BEGIN(t) \
  WN_PRAGMA(               \
      clang attribute push(__attribute__((target(t))), apply_to = function))
#define WN_TARGET_END WN_PRAGMA(clang attribute pop)
#else
#define WN_TARGET_BEGIN(t) WN_PRAGMA(GCC push_options) WN_PRAGMA(GCC target(t))
#define WN_TARGET_END WN_PRAGMA(GCC pop_options)
#endif

/* Before a short loop of constant length: unroll it whole, so that arrays
 * indexed by its counter can live in registers. */
#if defined(__clang__)
#define WN_UNROLL WN_PRAGMA(clang loop unroll(full))
#else
#define WN_UNROLL WN_PRAGMA(GCC unroll 32)
#endif

/* Float results are defined bit for bit: no contraction of a*b+c into one
 * rounding, where a compiler does so unasked. In force from here on, so this
 * header comes before inline functions that calculate; it may be repeated. */
#if defined(__clang__)
#define WN_EXACT_FLOAT WN_PRAGMA(STDC FP_CONTRACT OFF)
#else
#define WN_EXACT_FLOAT WN_PRAGMA(GCC optimize("fp-contract=off"))
#endif
WN_EXACT_FLOAT

#endif
