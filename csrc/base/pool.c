/* pool.c - see pool.h.
 *
 * Workers are numbered from 1 and wait for a change of `epoch`, spinning for
 * a moment and then sleeping on a condition variable. A run publishes its
 * task, bumps the epoch and works as member 0; the run ends when every
 * worker that takes part has counted itself out.
 *
 * The barrier counts arrivals; the last to come resets the count and the
 * chunk counter and bumps a generation number that the others watch. They
 * spin for about 50 microseconds, yield a few times, then sleep in the
 * kernel until it changes: on an oversubscribed machine the late member must
 * get the CPU, and yielding threads would only take turns with each other. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#include "base/mem.h"
#include "base/thread.h"

#define SPINS_BEFORE_YIELD 4000
#define YIELDS_BEFORE_SLEEP 20
#define YIELDS_AT_BARRIER 4

struct wn_team {
  int n_members;
  _Alignas(64) atomic_int arrived;
  _Alignas(64) atomic_uint generation;
  atomic_int sleepers; /* members that sleep until generation changes */
  _Alignas(64) atomic_llong next;
};

static struct {
  pthread_mutex_t run_lock; /* one run at a time */
  pthread_mutex_t lock;     /* guards sleeping, starting, stopping */
  pthread_cond_t wake;
  pthread_t threads[WN_MAX_THREADS];
  int n_started; /* workers alive: members 1..n_started */
  int users;
  atomic_int pid; /* the process that owns the threads; 0: nobody does */
  wn_task task;
  void *arg;
  wn_team team;
  _Alignas(64) atomic_uint epoch;
  _Alignas(64) atomic_uint working; /* workers not yet done with this run */
  atomic_bool caller_sleeps;
  atomic_int sleepers;
  atomic_int cpu; /* where the caller was when the run began */
  atomic_bool stop;
} pool = {.run_lock = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER};

static inline void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Waits until *word != seen: spins, then yields; true if it changed. */
static bool watch(atomic_uint *word, unsigned seen, int yields) {
  for (int i = 0; i < SPINS_BEFORE_YIELD; i++) {
    if (atomic_load_explicit(word, memory_order_acquire) != seen) return true;
    relax();
  }
  for (int i = 0; i < yields; i++) {
    if (atomic_load_explicit(word, memory_order_acquire) != seen) return true;
    sched_yield();
  }
  return false;
}

/* Sleeps while *word == seen; may return early. A waker that bumps the word
 * after this thread counted itself as a sleeper sees the count: the kernel
 * compares the word again before it lets the thread sleep. */
static void sleep_while(atomic_uint *word, unsigned seen) {
#if defined(__linux__)
  syscall(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
#else
  (void)word, (void)seen;
  sched_yield();
#endif
}

static void wake_all(atomic_uint *word) {
#if defined(__linux__)
  syscall(SYS_futex, (void *)word, FUTEX_WAKE_PRIVATE, WN_MAX_THREADS, NULL,
          NULL, 0);
#else
  (void)word;
#endif
}

/* Returns when pool.epoch != seen. */
static void await_epoch(unsigned seen) {
  if (watch(&pool.epoch, seen, YIELDS_BEFORE_SLEEP)) return;
  pthread_mutex_lock(&pool.lock);
  atomic_fetch_add(&pool.sleepers, 1);
  while (atomic_load(&pool.epoch) == seen)
    pthread_cond_wait(&pool.wake, &pool.lock);
  atomic_fetch_sub(&pool.sleepers, 1);
  pthread_mutex_unlock(&pool.lock);
}

static void next_epoch(void) {
  atomic_fetch_add(&pool.epoch, 1);
  if (atomic_load(&pool.sleepers) == 0) return;
  pthread_mutex_lock(&pool.lock);
  pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.lock);
}

/* The core of this thread, or -1. */
static int current_cpu(void) {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

/* Leaves the caller's core, if this thread was woken there: where no core is
 * idle the system does that, and the two would take turns until it looks at
 * their places again, long after a short run. Its choice of another core
 * stays free, and so does this one's later. */
static void leave_core(int cpu) {
#if defined(__linux__)
  cpu_set_t all, others;
  if (cpu < 0 || current_cpu() != cpu ||
      sched_getaffinity(0, sizeof all, &all) != 0)
    return;
  others = all;
  CPU_CLR((size_t)cpu, &others);
  if (CPU_COUNT(&others) == 0) return;
  if (sched_setaffinity(0, sizeof others, &others) == 0)
    sched_setaffinity(0, sizeof all, &all);
#else
  (void)cpu;
#endif
}

typedef struct start {
  int member;
  unsigned epoch;
} start;

static start starts[WN_MAX_THREADS];

static void *worker(void *arg) {
  const start *s = arg;
  unsigned seen = s->epoch;
  for (;;) {
    await_epoch(seen);
    seen = atomic_load(&pool.epoch);
    if (atomic_load(&pool.stop)) return NULL;
    if (s->member < pool.team.n_members) {
      leave_core(atomic_load_explicit(&pool.cpu, memory_order_relaxed));
      pool.task(pool.arg, &pool.team, s->member, pool.team.n_members);
    }
    if (atomic_fetch_sub(&pool.working, 1) == 1 &&
        atomic_load(&pool.caller_sleeps))
      wake_all(&pool.working);
  }
}

/* Starts workers until there are n; fewer when the system refuses. */
static void start_workers(int n) {
  while (pool.n_started < n) {
    int member = pool.n_started + 1;
    starts[member].member = member;
    starts[member].epoch = atomic_load(&pool.epoch);
    if (wn_thread_start(&pool.threads[member], worker, &starts[member]) != 0)
      break;
    pool.n_started++;
  }
}

static void stop_workers(void) {
  atomic_store(&pool.stop, true);
  next_epoch();
  for (int i = 1; i <= pool.n_started; i++)
    pthread_join(pool.threads[i], NULL);
  pool.n_started = 0;
  atomic_store(&pool.stop, false);
}

/* After a fork the child has this memory but none of the threads, and locks
 * may be held by threads it does not have: it never touches them. */
static bool in_child(void) {
  int owner = atomic_load(&pool.pid); /* once: another thread may be leaving */
  return owner != 0 && owner != getpid();
}

void wn_pool_enter(void) {
  if (in_child()) return;
  pthread_mutex_lock(&pool.run_lock);
  if (pool.users++ == 0) atomic_store(&pool.pid, getpid());
  pthread_mutex_unlock(&pool.run_lock);
}

void wn_pool_leave(void) {
  if (in_child()) return;
  pthread_mutex_lock(&pool.run_lock);
  if (--pool.users == 0) {
    stop_workers();
    atomic_store(&pool.pid, 0);
  }
  pthread_mutex_unlock(&pool.run_lock);
}

static int run_serial(wn_task task, void *arg) {
  wn_team team = {.n_members = 1};
  task(arg, &team, 0, 1);
  return 1;
}

/* Returns when every worker has counted itself out. */
static void await_workers(void) {
  for (unsigned left; (left = atomic_load(&pool.working)) != 0;) {
    if (watch(&pool.working, left, YIELDS_AT_BARRIER)) continue;
    atomic_store(&pool.caller_sleeps, true);
    sleep_while(&pool.working, left);
    atomic_store(&pool.caller_sleeps, false);
  }
}

int wn_pool_run(int n_threads, wn_task task, void *arg) {
  if (n_threads <= 1 || in_child()) return run_serial(task, arg);
  if (n_threads > WN_MAX_THREADS) n_threads = WN_MAX_THREADS;
  pthread_mutex_lock(&pool.run_lock);
  if (pool.users > 0) start_workers(n_threads - 1);
  int n = pool.n_started + 1 < n_threads ? pool.n_started + 1 : n_threads;
  pool.task = task;
  pool.arg = arg;
  pool.team.n_members = n;
  atomic_store(&pool.team.arrived, 0);
  atomic_store(&pool.team.next, 0);
  atomic_store(&pool.working, (unsigned)pool.n_started);
  atomic_store(&pool.cpu, current_cpu());
  next_epoch();
  task(arg, &pool.team, 0, n);
  await_workers();
  pthread_mutex_unlock(&pool.run_lock);
  return n;
}

void wn_team_barrier(wn_team *team, int member) {
  (void)member;
  if (team->n_members == 1) {
    atomic_store_explicit(&team->next, 0, memory_order_relaxed);
    return;
  }
  unsigned seen = atomic_load_explicit(&team->generation, memory_order_acquire);
  if (atomic_fetch_add(&team->arrived, 1) == team->n_members - 1) {
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&team->next, 0, memory_order_relaxed);
    atomic_fetch_add(&team->generation, 1);
    if (atomic_load(&team->sleepers) != 0) wake_all(&team->generation);
    return;
  }
  while (!watch(&team->generation, seen, YIELDS_AT_BARRIER)) {
    atomic_fetch_add(&team->sleepers, 1);
    sleep_while(&team->generation, seen);
    atomic_fetch_sub(&team->sleepers, 1);
  }
}

int64_t wn_team_next(wn_team *team) {
  return atomic_fetch_add_explicit(&team->next, 1, memory_order_relaxed);
}

int wn_pool_default_threads(void) {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    int n = CPU_COUNT(&set);
    if (n > 0) return n < WN_MAX_THREADS ? n : WN_MAX_THREADS;
  }
#endif
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n < WN_MAX_THREADS ? (int)n : WN_MAX_THREADS;
}

int wn_pool_live(void) {
  if (in_child()) return 0;
  pthread_mutex_lock(&pool.run_lock);
  int n = pool.n_started;
  pthread_mutex_unlock(&pool.run_lock);
  return n;
}
