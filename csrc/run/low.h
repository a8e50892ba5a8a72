/* low.h - work that leaves the processor to others.
 *
 * A task of the pool at low priority: its members, all but the caller, are
 * scheduled as batch work while it runs, which a host's threads preempt. The
 * policy is a thread's own and may be changed both ways without privileges;
 * a thread changes it only when the next task wants the other one. A thread
 * that works in the background for good lowers itself once
 * (wn_low_this_thread). Where the system has no such thing, nothing
 * happens. */
#ifndef WN_RUN_LOW_H
#define WN_RUN_LOW_H

#include <stdbool.h>

#include "base/pool.h"

typedef struct wn_low_task {
  wn_task task;
  void *arg;
  bool low;
} wn_low_task;

/* A task for wn_pool_run; its argument is a wn_low_task. */
void wn_low_run(void *low_task, wn_team *team, int member, int n_members);

/* The calling thread, until it ends. */
void wn_low_this_thread(void);

#endif
