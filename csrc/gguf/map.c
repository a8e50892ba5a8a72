/* map.c - mapping files for inference, with a guard.
 *
 * A file that shrinks under its map makes the CPU fault on pages that are
 * gone: SIGBUS, which would kill the host. While at least one map exists we
 * handle the signal: a fault inside one of our maps puts zero pages over the
 * rest of that map and raises its flag; the code that touched it goes on
 * with zeros and finds the flag afterwards (wn_gguf_check). Any other fault
 * goes to the handler that was there before, which comes back for good when
 * the last map goes.
 *
 * The handler may run at any time in any thread, so its table is a fixed
 * array of atomics. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gguf/parts.h"

#define N_SLOTS 1024

/* lo == 0: free. Set last when a map comes, cleared first when it goes. */
static struct slot {
  atomic_uintptr_t lo;
  atomic_size_t n;
  atomic_ullong bad; /* lowest byte that faulted; ULLONG_MAX: none */
} slots[N_SLOTS];

#define NOT_BAD (~0ull)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int n_maps;     /* under the mutex */
static bool installed; /* ditto */
static struct sigaction old_action;
static size_t page_bytes;

/* Puts zeros from the page of byte `off` to the end of the map. */
static bool patch(struct slot *s, uintptr_t lo, size_t n, size_t off) {
  size_t from = off & ~(page_bytes - 1);
  size_t upto = (n + page_bytes - 1) & ~(page_bytes - 1);
  void *p = mmap((void *)(lo + from), upto - from, PROT_READ,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (p == MAP_FAILED) return false;
  unsigned long long bad = atomic_load(&s->bad);
  while (off < bad && !atomic_compare_exchange_weak(&s->bad, &bad, off)) {
  }
  return true;
}

/* Not ours: what would have happened without us. */
static void chain(int sig, siginfo_t *info, void *context) {
  if (old_action.sa_flags & SA_SIGINFO) {
    old_action.sa_sigaction(sig, info, context);
  } else if (old_action.sa_handler != SIG_DFL &&
             old_action.sa_handler != SIG_IGN) {
    old_action.sa_handler(sig);
  } else if (old_action.sa_handler == SIG_IGN && info->si_code <= 0) {
    /* somebody sent it to a host that ignores it; a fault cannot be ignored */
  } else { /* the fault repeats and takes its default course */
    struct sigaction def;
    memset(&def, 0, sizeof def);
    def.sa_handler = SIG_DFL;
    sigaction(sig, &def, NULL);
    if (info->si_code <= 0) kill(getpid(), sig); /* sent, not a fault */
  }
}

static void on_sigbus(int sig, siginfo_t *info, void *context) {
  int saved = errno;
  uintptr_t at = (uintptr_t)info->si_addr;
  /* si_code > 0: from the kernel, so si_addr is the address that faulted */
  for (int i = 0; i < N_SLOTS && info->si_code > 0; i++) {
    uintptr_t lo = atomic_load(&slots[i].lo);
    size_t n = atomic_load(&slots[i].n);
    if (lo == 0 || at < lo || at - lo >= n) continue;
    if (patch(&slots[i], lo, n, at - lo)) {
      errno = saved;
      return;
    }
    break;
  }
  chain(sig, info, context);
  errno = saved;
}

static bool is_ours(const struct sigaction *a) {
  return (a->sa_flags & SA_SIGINFO) != 0 && a->sa_sigaction == on_sigbus;
}

/* Both under the mutex. */
static int install(wn_err *e) {
  struct sigaction ours;
  if (installed) return WN_OK;
  memset(&ours, 0, sizeof ours);
  ours.sa_sigaction = on_sigbus;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  if (sigaction(SIGBUS, &ours, &old_action) != 0)
    return wn_fail_sys(e, errno, "sigaction");
  installed = true;
  return WN_OK;
}

/* If somebody has put a handler over ours, ours must stay: theirs may call
 * it, and it passes everything on. */
static void uninstall(void) {
  struct sigaction now;
  if (sigaction(SIGBUS, NULL, &now) != 0 || !is_ours(&now)) return;
  sigaction(SIGBUS, &old_action, NULL);
  installed = false;
}

/* Enters a map into the table; the number of its slot, or -1. */
static int guard(const void *p, size_t n, wn_err *e) {
  int found = -1;
  pthread_mutex_lock(&mutex);
  page_bytes = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < N_SLOTS && found < 0; i++)
    if (atomic_load(&slots[i].lo) == 0) found = i;
  if (found < 0) wn_fail(e, WN_EIO, "map: more than %d files", N_SLOTS);
  if (found >= 0 && install(e) != WN_OK) found = -1;
  if (found >= 0) {
    atomic_store(&slots[found].n, n);
    atomic_store(&slots[found].bad, NOT_BAD);
    atomic_store(&slots[found].lo, (uintptr_t)p);
    n_maps++;
  }
  pthread_mutex_unlock(&mutex);
  return found;
}

static void unguard(int i) {
  pthread_mutex_lock(&mutex);
  atomic_store(&slots[i].lo, 0);
  if (--n_maps == 0) uninstall();
  pthread_mutex_unlock(&mutex);
}

static int map_shard(wn_shard *s, wn_err *e) {
  if (s->map != NULL || s->bytes == 0) return WN_OK;
  if (s->fd < 0 || s->bytes > SIZE_MAX / 2)
    return wn_fail(e, WN_EIO, "map: not possible");
  size_t n = (size_t)s->bytes;
  void *p = wn_os_map(s->fd, n);
  if (p == NULL) {
    wn_fail_sys(e, errno, "map");
    if (e != NULL) e->code = WN_EIO;
    return WN_EIO;
  }
  s->guard = guard(p, n, e);
  if (s->guard < 0) {
    munmap(p, n);
    return WN_EIO;
  }
  s->map = p;
  return WN_OK;
}

void wn_shard_unmap(wn_shard *s) {
  if (s->map == NULL) return;
  unguard(s->guard);
  munmap((void *)(uintptr_t)s->map, (size_t)s->bytes);
  s->map = NULL;
}

int wn_gguf_map(wn_gguf *g, wn_err *e) {
  for (uint32_t i = 0; i < g->n_shards; i++) {
    int rc = map_shard(&g->shards[i], e);
    if (rc == WN_OK) continue;
    wn_fail_in(e, wn_gguf_shard_path(g, i));
    while (i-- > 0)
      wn_shard_unmap(&g->shards[i]);
    return rc;
  }
  g->mapped = true;
  return WN_OK;
}

const void *wn_gguf_data(const wn_gguf *g, const wn_tensor *t) {
  const uint8_t *map = g->shards[t->shard].map;
  return map == NULL ? NULL : map + t->off;
}

static bool same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* The first byte at which the open file differs from what was opened, as
 * far as its attributes tell. A changed link count explains a new ctime: the
 * name was replaced, the file is the same. */
static int check_attributes(const wn_shard *s, wn_err *e) {
  struct stat now;
  if (wn_os_fstat(s->fd, &now) != 0) return wn_fail_sys(e, errno, "stat");
  uint64_t n = (uint64_t)now.st_size;
  if (n != s->bytes)
    return wn_fail(e, WN_ECHANGED,
                   "changed on disk at byte %llu: was %llu long",
                   (unsigned long long)(n < s->bytes ? n : s->bytes),
                   (unsigned long long)s->bytes);
  if (!same_time(wn_stat_mtime(&now), wn_stat_mtime(&s->st)) ||
      (now.st_nlink == s->st.st_nlink &&
       !same_time(wn_stat_ctime(&now), wn_stat_ctime(&s->st))))
    return wn_fail(e, WN_ECHANGED, "changed on disk: it was rewritten");
  return WN_OK;
}

int wn_gguf_check(const wn_gguf *g, bool full, wn_err *e) {
  for (uint32_t i = 0; i < g->n_shards; i++) {
    const wn_shard *s = &g->shards[i];
    int rc = WN_OK;
    unsigned long long bad = NOT_BAD;
    if (s->map != NULL) bad = atomic_load(&slots[s->guard].bad);
    if (bad != NOT_BAD)
      rc = wn_fail(e, WN_ECHANGED, "changed on disk at byte %llu", bad);
    else if (full && s->fd >= 0)
      rc = check_attributes(s, e);
    if (rc != WN_OK) {
      wn_fail_in(e, wn_gguf_shard_path(g, i));
      return rc;
    }
  }
  return WN_OK;
}
