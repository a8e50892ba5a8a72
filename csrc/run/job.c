/* job.c - see job.h.
 *
 * The thread owns the generator. After each step it moves new text, the
 * statistics and the state under the lock into `out`, where poll finds them,
 * and writes a byte into a pipe unless one is already there. */
#include "run/job.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

typedef struct text {
  char *p;
  size_t n, cap;
} text;

struct wn_job {
  wn_gen *gen; /* the thread's until it has ended */
  wn_ctx *ctx;
  pthread_t thread;
  pid_t pid; /* the process that has the thread */
  int fds[2];
  atomic_bool cancel;
  pthread_mutex_t lock;
  /* under the lock: */
  text fresh, shown; /* shown is what the last poll returned */
  wn_gen_stats stats;
  wn_gen_end end;
  wn_err err; /* code 0: none */
  bool done, signalled;
};

static bool add_text(text *t, const char *p, size_t n) {
  if (n > t->cap - t->n) {
    size_t cap = (t->n + n) * 2 + 256;
    char *q = wn_realloc(WN_MEM_RUN, t->p, cap);
    if (q == NULL) return false;
    t->p = q;
    t->cap = cap;
  }
  if (n > 0) memcpy(t->p + t->n, p, n);
  t->n += n;
  return true;
}

static void raise_fd(wn_job *j) {
  if (j->signalled) return;
  ssize_t put;
  do
    put = write(j->fds[1], "", 1);
  while (put < 0 && errno == EINTR);
  j->signalled = true;
}

/* Shows the outcome of one step to poll; rc is its result. */
static bool publish(wn_job *j, int rc, const wn_err *e) {
  const char *p;
  size_t n = wn_gen_take(j->gen, &p);
  pthread_mutex_lock(&j->lock);
  if (!add_text(&j->fresh, p, n) && rc == WN_OK)
    rc = wn_fail(&j->err, WN_ENOMEM, "job: out of memory");
  else if (rc != WN_OK)
    j->err = *e;
  wn_gen_get_stats(j->gen, &j->stats);
  j->end = wn_gen_ended(j->gen);
  j->done = rc != WN_OK || j->end != WN_GEN_RUNNING;
  if (n > 0 || j->done) raise_fd(j);
  bool more = !j->done;
  pthread_mutex_unlock(&j->lock);
  return more;
}

static void *run(void *arg) {
  wn_job *j = arg;
  wn_err e = {0};
  int rc;
  do {
    rc = atomic_load(&j->cancel) ? wn_fail(&e, WN_ECANCEL, "job: cancelled")
                                 : wn_gen_step(j->gen, &e);
  } while (publish(j, rc, &e));
  wn_gen_leave(j->gen);
  return NULL;
}

static int open_pipe(wn_job *j, wn_err *e) {
  if (pipe(j->fds) != 0) {
    j->fds[0] = j->fds[1] = -1;
    return wn_fail_sys(e, errno, "job: pipe");
  }
  for (int i = 0; i < 2; i++) {
    (void)fcntl(j->fds[i], F_SETFD, FD_CLOEXEC);
    (void)fcntl(j->fds[i], F_SETFL, O_NONBLOCK);
  }
  return WN_OK;
}

static int start_thread(wn_job *j, wn_err *e) {
  int sys = wn_thread_start(&j->thread, run, j);
  if (sys != 0) return wn_fail_sys(e, sys, "job: cannot start a thread");
  j->pid = getpid();
  return WN_OK;
}

int wn_job_start(wn_gen *gen, wn_ctx *ctx, wn_job **out, wn_err *e) {
  *out = NULL;
  wn_job *j = wn_calloc(WN_MEM_RUN, 1, sizeof *j);
  if (j == NULL) {
    wn_gen_free(gen);
    return wn_fail(e, WN_ENOMEM, "job: out of memory");
  }
  j->gen = gen;
  j->ctx = wn_ctx_ref(ctx);
  j->fds[0] = j->fds[1] = -1;
  pthread_mutex_init(&j->lock, NULL);
  int rc = open_pipe(j, e);
  bool begun = false;
  if (rc == WN_OK) {
    begun = wn_gen_enter(gen);
    if (!begun)
      rc = wn_fail(e, WN_EBUSY, "job: the context or the sampler is busy");
  }
  if (rc == WN_OK) rc = start_thread(j, e);
  if (rc != WN_OK) {
    if (begun) wn_gen_leave(gen);
    wn_job_free(j);
    return rc;
  }
  *out = j;
  return WN_OK;
}

void wn_job_free(wn_job *j) {
  if (j == NULL) return;
  if (j->pid != 0 && j->pid != getpid()) return;
  if (j->pid != 0) {
    wn_job_cancel(j);
    pthread_join(j->thread, NULL);
  }
  for (int i = 0; i < 2; i++)
    if (j->fds[i] >= 0) close(j->fds[i]);
  pthread_mutex_destroy(&j->lock);
  wn_gen_free(j->gen);
  wn_ctx_unref(j->ctx);
  wn_free(j->fresh.p);
  wn_free(j->shown.p);
  wn_free(j);
}

int wn_job_poll(wn_job *j, const char **text_out, size_t *n, bool *running,
                wn_err *e) {
  char drain[8];
  /* a forked child has neither the thread nor a lock that anyone frees */
  if (j->pid != getpid())
    return wn_fail(e, WN_EBUSY, "job: belongs to process %ld", (long)j->pid);
  pthread_mutex_lock(&j->lock);
  text t = j->shown;
  j->shown = j->fresh;
  j->fresh = t;
  j->fresh.n = 0;
  *text_out = j->shown.p;
  *n = j->shown.n;
  *running = !j->done;
  int rc = WN_OK;
  if (j->done && *n == 0 && j->err.code != WN_OK) {
    *e = j->err;
    rc = e->code;
  }
  /* an ended job whose text is not all polled keeps its descriptor ready */
  if (j->signalled && !(j->done && *n > 0)) {
    while (read(j->fds[0], drain, sizeof drain) > 0) {
    }
    j->signalled = false;
  }
  pthread_mutex_unlock(&j->lock);
  return rc;
}

void wn_job_cancel(wn_job *j) {
  atomic_store(&j->cancel, true);
}

int wn_job_fd(const wn_job *j) {
  return j->fds[0];
}

void wn_job_get_stats(wn_job *j, wn_gen_stats *s) {
  pthread_mutex_lock(&j->lock);
  *s = j->stats;
  pthread_mutex_unlock(&j->lock);
}

wn_gen_end wn_job_ended(wn_job *j) {
  pthread_mutex_lock(&j->lock);
  wn_gen_end end = j->end;
  pthread_mutex_unlock(&j->lock);
  return end;
}
