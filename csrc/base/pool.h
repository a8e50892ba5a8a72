/* pool.h - one pool of threads per process.
 *
 * Work is a function that runs once on each member of a team; the caller is
 * member 0. Members split the work by output rows or fixed chunks, so that
 * results do not depend on the number of threads. Inside a run, members meet
 * at barriers (about a microsecond: spin, then sleep) and may draw chunk
 * numbers from a shared counter. Idle threads sleep and cost nothing.
 *
 * The pool starts with its first user and stops when the last user leaves.
 * A forked child has no threads: there every run is serial. Members do not
 * allocate, do I/O or fail; they set a flag in their argument. */
#ifndef WN_BASE_POOL_H
#define WN_BASE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define WN_MAX_THREADS 256

typedef struct wn_team wn_team;

typedef void (*wn_task)(void *arg, wn_team *team, int member, int n_members);

/* One reference on the pool; wn_pool_leave by the last user joins all
 * threads. Neither fails: threads are started on demand. */
void wn_pool_enter(void);
void wn_pool_leave(void);

/* Runs task(arg, team, i, n) for i = 0..n-1 at the same time and returns when
 * all are done. n is n_threads, or fewer when threads cannot be started.
 * Runs of different callers take turns. Returns n. */
int wn_pool_run(int n_threads, wn_task task, void *arg);

/* All members must call it; none passes before all have come. */
void wn_team_barrier(wn_team *team, int member);

/* The next number of a counter shared by the team, from 0 on: dynamic
 * chunks. wn_team_barrier resets it. */
int64_t wn_team_next(wn_team *team);

/* Threads worth using by default: the CPUs this process may run on. */
int wn_pool_default_threads(void);

/* Live worker threads (0 once the last user has left). */
int wn_pool_live(void);

#endif
