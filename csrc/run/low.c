/* low.c - see low.h. */
#include "run/low.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How much nicer than its host a background thread is. */
#define NICER 5

static _Thread_local bool is_low;

static void become(bool low) {
  struct sched_param none = {0};
  if (is_low == low) return;
  is_low = low;
  (void)sched_setscheduler(0, low ? SCHED_BATCH : SCHED_OTHER, &none);
}

void wn_low_this_thread(void) {
  id_t self = (id_t)syscall(SYS_gettid);
  become(true);
  (void)setpriority(PRIO_PROCESS, self,
                    getpriority(PRIO_PROCESS, self) + NICER);
}
#else
static void become(bool low) {
  (void)low;
}
void wn_low_this_thread(void) {}
#endif

void wn_low_run(void *low_task, wn_team *team, int member, int n_members) {
  const wn_low_task *t = low_task;
  if (member != 0) become(t->low);
  t->task(t->arg, team, member, n_members);
}
