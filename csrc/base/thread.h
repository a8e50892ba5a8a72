/* thread.h - starting threads that leave the host's signals alone.
 *
 * A thread of ours must not run the host's handlers, so it starts with every
 * signal blocked - but for those that tell what the thread itself did. A file
 * that is truncated under its map makes the thread that reads it fault, and a
 * fault whose signal is blocked ends the process at once: the handler of
 * gguf/map.c, which puts zeros there and lets the step end with an error,
 * would never run. */
#ifndef WN_BASE_THREAD_H
#define WN_BASE_THREAD_H

#include <pthread.h>

/* pthread_create with that mask; the caller's own is as before afterwards.
 * thread NULL: it is detached. Returns 0 or an errno. */
int wn_thread_start(pthread_t *thread, void *(*main)(void *), void *arg);

#endif
