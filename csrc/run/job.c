/* job.c - see job.h. The thread of the batch writes a byte into a pipe when
 * there is news, unless one is already there. */
#include "run/job.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "run/batch.h"

struct wn_job {
  wn_gen *gen;
  pid_t pid;
  int fds[2];
  bool signalled; /* a byte is in the pipe; under the batch's lock */
  bool told;      /* the error was reported */
};

/* Under the batch's lock, in its thread. */
static void news(void *arg) {
  wn_job *j = arg;
  ssize_t put;
  if (j->signalled) return;
  do
    put = write(j->fds[1], "", 1);
  while (put < 0 && errno == EINTR);
  j->signalled = true;
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

int wn_job_start(wn_gen *gen, wn_job **out, wn_err *e) {
  *out = NULL;
  wn_job *j = wn_calloc(WN_MEM_RUN, 1, sizeof *j);
  if (j == NULL) {
    wn_gen_free(gen);
    return wn_fail(e, WN_ENOMEM, "job: out of memory");
  }
  j->gen = gen;
  j->pid = getpid();
  j->fds[0] = j->fds[1] = -1;
  int rc = open_pipe(j, e);
  if (rc == WN_OK) rc = wn_gen_start(gen, news, j, e);
  if (rc == WN_OK)
    *out = j;
  else
    wn_job_free(j);
  return rc;
}

void wn_job_free(wn_job *j) {
  if (j == NULL || j->pid != getpid()) return;
  wn_gen_free(j->gen); /* no news from here on */
  for (int i = 0; i < 2; i++)
    if (j->fds[i] >= 0) close(j->fds[i]);
  wn_free(j);
}

static void drain(wn_job *j) {
  char bytes[8];
  wn_batch_lock(j->gen);
  while (read(j->fds[0], bytes, sizeof bytes) > 0) {
  }
  j->signalled = false;
  wn_batch_unlock(j->gen);
}

int wn_job_poll(wn_job *j, const char **text, size_t *n, bool *running,
                wn_err *e) {
  /* a forked child has neither the thread nor a lock that anyone frees */
  if (j->pid != getpid())
    return wn_fail(e, WN_EBUSY, "job: belongs to process %ld", (long)j->pid);
  /* text that comes between two of these lines raises the descriptor again */
  drain(j);
  bool ended = wn_gen_ended(j->gen) != WN_GEN_RUNNING;
  *n = wn_gen_take(j->gen, text);
  *running = !ended;
  if (!ended || j->told) return WN_OK;
  if (*n != 0) { /* there is more to tell: how it ended */
    wn_batch_lock(j->gen);
    news(j);
    wn_batch_unlock(j->gen);
    *running = wn_gen_error(j->gen, e) != WN_OK;
    return WN_OK;
  }
  j->told = true;
  return wn_gen_error(j->gen, e);
}

void wn_job_cancel(wn_job *j) {
  if (j->pid == getpid()) wn_gen_cancel(j->gen);
}

int wn_job_fd(const wn_job *j) {
  return j->fds[0];
}

wn_gen *wn_job_gen(wn_job *j) {
  return j->gen;
}
