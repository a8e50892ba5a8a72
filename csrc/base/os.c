/* os.c - see os.h. One row of `rows` per call: how often it was used and
 * when it shall fail. Each wrapper asks `gate` first. */
#include "base/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The most that one read or write asks for: Linux stops at 2 GiB anyway. */
#define CHUNK ((size_t)1 << 30)

static struct {
  atomic_llong uses, fail_in; /* 0: never; n: the n-th from now */
  atomic_int err;
} rows[WN_OS_N_CALLS];

typedef enum verdict { GO, FAIL, HALF, DIE_AFTER } verdict;

static void die(void) {
  kill(getpid(), SIGKILL);
}

/* Counts a use of the call and says what shall become of it; for FAIL errno
 * is set. */
static verdict gate(wn_os_call call) {
  atomic_fetch_add(&rows[call].uses, 1);
  if (atomic_load(&rows[call].fail_in) <= 0) return GO;
  if (atomic_fetch_sub(&rows[call].fail_in, 1) != 1) return GO;
  int err = atomic_load(&rows[call].err);
  if (err == WN_OS_KILL) die();
  if (err == WN_OS_KILL_AFTER) return DIE_AFTER;
  if (err == WN_OS_SHORT) return HALF;
  errno = err;
  return FAIL;
}

/* The result of a call that ran: passes it on, unless a test wants the
 * process to end here. */
static int leave(verdict v, int rc) {
  if (v == DIE_AFTER) die();
  return rc;
}

int wn_os_open(const char *path, int flags, unsigned mode) {
  verdict v = gate(WN_OS_OPEN);
  int fd;
  if (v == FAIL) return -1;
  do {
    fd = open(path, flags | O_CLOEXEC, (mode_t)mode);
  } while (fd < 0 && errno == EINTR);
  return leave(v, fd);
}

int wn_os_close(int fd) {
  verdict v = gate(WN_OS_CLOSE);
  int rc = close(fd); /* also when a test wants a failure: no leak */
  if (v == FAIL) {
    errno = atomic_load(&rows[WN_OS_CLOSE].err);
    return -1;
  }
  return leave(v, rc != 0 && errno == EINTR ? 0 : rc);
}

/* The part of n to ask for under verdict v. */
static size_t portion(verdict v, size_t n) {
  if (v == HALF) n = n / 2 + 1;
  return n < CHUNK ? n : CHUNK;
}

int64_t wn_os_pread(int fd, void *buf, size_t n, uint64_t off) {
  size_t at = 0;
  if (off > INT64_MAX || n > (uint64_t)INT64_MAX - off) {
    errno = EOVERFLOW;
    return -1;
  }
  while (at < n) {
    verdict v = gate(WN_OS_PREAD);
    ssize_t got = -1;
    size_t want = portion(v, n - at);
    if (v != FAIL)
      got = pread(fd, (char *)buf + at, want < n - at ? want : n - at,
                  (off_t)(off + at));
    leave(v, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    at += (size_t)got;
  }
  return (int64_t)at;
}

int wn_os_pwrite(int fd, const void *buf, size_t n, uint64_t off) {
  size_t at = 0;
  if (off > INT64_MAX || n > (uint64_t)INT64_MAX - off) {
    errno = EFBIG;
    return -1;
  }
  while (at < n) {
    verdict v = gate(WN_OS_PWRITE);
    ssize_t done = -1;
    size_t want = portion(v, n - at);
    if (v != FAIL)
      done = pwrite(fd, (const char *)buf + at, want < n - at ? want : n - at,
                    (off_t)(off + at));
    leave(v, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return -1;
    if (done == 0) { /* no progress and no reason: do not spin */
      errno = EIO;
      return -1;
    }
    at += (size_t)done;
  }
  return 0;
}

/* fsync is never repeated after a failure: the kernel may have dropped the
 * dirty pages, and a second call would report success. */
int wn_os_fsync(int fd) {
  verdict v = gate(WN_OS_FSYNC);
  if (v == FAIL) return -1;
  int rc;
  do {
    rc = fsync(fd);
  } while (rc != 0 && errno == EINTR);
  return leave(v, rc);
}

int wn_os_ftruncate(int fd, uint64_t n) {
  verdict v = gate(WN_OS_FTRUNCATE);
  int rc;
  if (v == FAIL) return -1;
  if (n > INT64_MAX) {
    errno = EFBIG;
    return -1;
  }
  do {
    rc = ftruncate(fd, (off_t)n);
  } while (rc != 0 && errno == EINTR);
  return leave(v, rc);
}

int wn_os_fallocate(int fd, uint64_t n) {
  verdict v = gate(WN_OS_FALLOCATE);
  if (v == FAIL) return -1;
#if defined(__linux__)
  /* not posix_fallocate: where the file system cannot reserve, glibc would
   * write into every block instead. The size stays: it tells a later run how
   * much was written. */
  int rc;
  do {
    rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)n);
  } while (rc != 0 && errno == EINTR);
  return leave(v, rc);
#else
  (void)fd, (void)n;
  errno = EOPNOTSUPP;
  return leave(v, -1);
#endif
}

int wn_os_flock(int fd) {
  verdict v = gate(WN_OS_FLOCK);
  int rc;
  if (v == FAIL) return -1;
  do {
    rc = flock(fd, LOCK_EX | LOCK_NB);
  } while (rc != 0 && errno == EINTR);
  return leave(v, rc);
}

int wn_os_fchmod(int fd, unsigned mode) {
  verdict v = gate(WN_OS_FCHMOD);
  return v == FAIL ? -1 : leave(v, fchmod(fd, (mode_t)mode));
}

int wn_os_stat(const char *path, struct stat *st) {
  verdict v = gate(WN_OS_STAT);
  return v == FAIL ? -1 : leave(v, stat(path, st));
}

int wn_os_fstat(int fd, struct stat *st) {
  verdict v = gate(WN_OS_FSTAT);
  return v == FAIL ? -1 : leave(v, fstat(fd, st));
}

int wn_os_free_bytes(int fd, uint64_t *n) {
  verdict v = gate(WN_OS_STATVFS);
  struct statvfs fs;
  if (v == FAIL || fstatvfs(fd, &fs) != 0) return -1;
  uint64_t unit = fs.f_frsize != 0 ? fs.f_frsize : fs.f_bsize;
  if (unit != 0 && fs.f_bavail > UINT64_MAX / unit)
    *n = UINT64_MAX;
  else
    *n = unit * fs.f_bavail;
  return leave(v, 0);
}

int wn_os_rename(const char *from, const char *to, bool noreplace) {
  verdict v = gate(WN_OS_RENAME);
  if (v == FAIL) return -1;
#if defined(__linux__) && defined(RENAME_NOREPLACE)
  if (noreplace) {
    int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (rc == 0 || (errno != EINVAL && errno != ENOSYS)) return leave(v, rc);
  }
#endif
  struct stat st; /* not atomic, but the best that is left */
  if (noreplace && stat(to, &st) == 0) {
    errno = EEXIST;
    return -1;
  }
  return leave(v, rename(from, to));
}

int wn_os_unlink(const char *path) {
  verdict v = gate(WN_OS_UNLINK);
  return v == FAIL ? -1 : leave(v, unlink(path));
}

void *wn_os_map(int fd, size_t n) {
  verdict v = gate(WN_OS_MMAP);
  if (v == FAIL) return NULL;
  void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
  leave(v, 0);
  return p == MAP_FAILED ? NULL : p;
}

static struct flock whole_file(short type) {
  struct flock lock;
  memset(&lock, 0, sizeof lock);
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

long wn_os_owner(int fd) {
  struct flock lock = whole_file(F_WRLCK);
  if (fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return 0;
  return (long)lock.l_pid;
}

void wn_os_mark_owner(int fd) {
  struct flock lock = whole_file(F_WRLCK);
  (void)fcntl(fd, F_SETLK, &lock);
}

void wn_os_fail_at(wn_os_call call, int64_t n, int err) {
  atomic_store(&rows[call].err, err);
  atomic_store(&rows[call].fail_in, n);
}

int64_t wn_os_uses(wn_os_call call) {
  return atomic_load(&rows[call].uses);
}

int wn_os_call_of_name(const char *name) {
#define X(id, name) #name,
  static const char *const names[] = {WN_OS_CALLS(X)};
#undef X
  for (int i = 0; i < WN_OS_N_CALLS; i++)
    if (strcmp(names[i], name) == 0) return i;
  return -1;
}
