/* thread.c - see thread.h. */
#include "base/thread.h"

#include <signal.h>

int wn_thread_start(pthread_t *thread, void *(*main)(void *), void *arg) {
  sigset_t ours, old;
  pthread_t detached;
  pthread_attr_t attr;
  sigfillset(&ours);
  sigdelset(&ours, SIGBUS);
  sigdelset(&ours, SIGSEGV);
  sigdelset(&ours, SIGFPE);
  sigdelset(&ours, SIGILL);
  int rc = pthread_attr_init(&attr);
  if (rc != 0) return rc;
  if (thread == NULL)
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_sigmask(SIG_SETMASK, &ours, &old);
  rc = pthread_create(thread != NULL ? thread : &detached, &attr, main, arg);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attr);
  return rc;
}
