/* thread.c - see thread.h. */
#include "base/thread.h"

#include <signal.h>

int wn_thread_start(pthread_t *thread, void *(*main)(void *), void *arg) {
  sigset_t ours, old;
  sigfillset(&ours);
  sigdelset(&ours, SIGBUS);
  pthread_sigmask(SIG_SETMASK, &ours, &old);
  int rc = pthread_create(thread, NULL, main, arg);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return rc;
}
