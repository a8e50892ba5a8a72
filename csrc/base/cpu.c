/* cpu.c - see cpu.h. */
#include "base/cpu.h"

#include "base/err.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

static wn_cpu cpu;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)

/* XCR0: which register states the operating system saves. */
static unsigned long long read_xcr0(void) {
  unsigned lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return ((unsigned long long)hi << 32) | lo;
}

/* Linux lets a process use AMX tiles only after it asked. */
static bool amx_permitted(void) {
#if defined(__linux__)
  enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
  return false;
#endif
}

static void read_brand(char *name, size_t cap) {
  unsigned r[12] = {0};
  if ((unsigned)__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) return;
  for (unsigned i = 0; i < 3; i++)
    __cpuid(0x80000002u + i, r[4 * i], r[4 * i + 1], r[4 * i + 2],
            r[4 * i + 3]);
  wn_printable(name, cap, (const char *)r, strnlen((const char *)r, sizeof r));
}

static void detect(void) {
  unsigned a, b, c, d;
  read_brand(cpu.name, sizeof cpu.name);
  if (!__get_cpuid(1, &a, &b, &c, &d)) return;
  bool osxsave = c & (1u << 27), fma = c & (1u << 12), f16c = c & (1u << 29);
  if (!osxsave || !fma || !f16c) return;
  unsigned long long xcr0 = read_xcr0();
  if ((xcr0 & 0x6) != 0x6) return; /* SSE and AVX state */
  unsigned b7, c7, d7, a71 = 0, b71, c71, d71;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return;
  __get_cpuid_count(7, 1, &a71, &b71, &c71, &d71);
  unsigned avx2 = (1u << 5) | (1u << 3) | (1u << 8); /* avx2, bmi1, bmi2 */
  if ((b7 & avx2) != avx2) return;
  cpu.best = WN_ISA_AVX2;
  cpu.has_avx_vnni = a71 & (1u << 4);
  unsigned avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  bool vbmi_vnni = (c7 & (1u << 1)) && (c7 & (1u << 11));
  if ((b7 & avx512) != avx512 || !vbmi_vnni || (xcr0 & 0xe0) != 0xe0) return;
  cpu.best = WN_ISA_AVX512;
  cpu.has_bf16 = a71 & (1u << 5);
  unsigned amx = (1u << 22) | (1u << 24) | (1u << 25); /* bf16, tile, int8 */
  if ((d7 & amx) == amx && (xcr0 & 0x60000) == 0x60000 && amx_permitted())
    cpu.best = WN_ISA_AMX;
#if defined(WN_AMX_EMULATE)
  cpu.best = WN_ISA_AMX;
#endif
}

#elif defined(__aarch64__)

static void detect(void) {
  strcpy(cpu.name, "aarch64");
#if defined(__linux__)
  unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
  if (!(caps & (1ul << 1))) return; /* ASIMD */
  cpu.best = WN_ISA_NEON;
  cpu.has_dotprod = caps & (1ul << 20); /* ASIMDDP */
  cpu.has_i8mm = cpu.has_dotprod && (caps2 & (1ul << 13));
#endif
}

#else

static void detect(void) {
  strcpy(cpu.name, "unknown");
}

#endif

static bool offered(wn_isa isa) {
  if (isa == WN_ISA_REF) return true;
  if (isa == WN_ISA_NEON || cpu.best == WN_ISA_NEON) return isa == cpu.best;
  return isa <= cpu.best;
}

static void init(void) {
  strcpy(cpu.name, "unknown");
  detect();
  cpu.isa = cpu.best;
  const char *env = getenv("WANE_ISA");
  int want = env != NULL ? wn_isa_of_name(env) : -1;
  if (want >= 0 && offered((wn_isa)want)) cpu.isa = (wn_isa)want;
}

const wn_cpu *wn_cpu_get(void) {
  pthread_once(&once, init);
  return &cpu;
}

bool wn_cpu_set_isa(wn_isa isa) {
  pthread_once(&once, init);
  if (!offered(isa)) return false;
  cpu.isa = isa;
  return true;
}

static const char *const isa_names[] = {"ref", "neon", "avx2", "avx512", "amx"};

const char *wn_isa_name(wn_isa isa) {
  return (unsigned)isa <= WN_ISA_AMX ? isa_names[isa] : "?";
}

int wn_isa_of_name(const char *name) {
  for (int i = 0; i <= WN_ISA_AMX; i++)
    if (strcmp(name, isa_names[i]) == 0) return i;
  return -1;
}
