/* save.c - see save.h. */
#include "base/save.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/mem.h"

/* Bytes of a piece that is written at once, and what its place is a multiple
 * of: a huge page. Linux (since 6.16 on ext4) then keeps the file in huge
 * pages, and touching a map of it, the start of every model, takes 0.02
 * instead of 0.4 microseconds for each 4096 bytes. */
enum { PIECE = 2 << 20 };

struct wn_save {
  char *path; /* final name, symbolic links resolved */
  char *part; /* path + ".part" */
  char *dir;  /* where both are */
  int fd;
  pid_t pid;     /* who opened it: a forked child writes nothing */
  uint8_t *held; /* bytes off - n_held .. off - 1, not yet written */
  size_t n_held; /* they end at or before a multiple of PIECE */
  uint64_t off, had;
  uint64_t bytes; /* final size, or 0 */
  bool overwrite, sealed, failed;
  bool replaces; /* a file is there; keep its mode */
  bool ours;     /* we made the .part or hold its lock: may remove it */
  unsigned mode;
};

static char *join(const char *a, size_t n, const char *b) {
  size_t m = strlen(b);
  char *s = wn_alloc(WN_MEM_GGUF, n + m + 1);
  if (s == NULL) return NULL;
  memcpy(s, a, n);
  memcpy(s + n, b, m + 1);
  return s;
}

/* "what: strerror" with the output's name before it. */
static int sys_fail(const wn_save *s, const char *what, wn_err *e) {
  wn_fail_sys(e, errno, what);
  return wn_fail_in(e, s->path);
}

static const char *human(char *buf, size_t cap, uint64_t n) {
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double v = (double)n;
  int u = 0;
  for (; v >= 1024 && u < 4; u++)
    v /= 1024;
  snprintf(buf, cap, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
  return buf;
}

/* The disk is full: says how much is needed and how much there is. */
static int no_space(const wn_save *s, const char *what, uint64_t needs,
                    wn_err *e) {
  char a[32], b[32];
  uint64_t free_bytes = 0;
  wn_fail_sys(e, ENOSPC, what);
  if (e != NULL && wn_os_free_bytes(s->fd, &free_bytes) == 0) {
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, " (needs %s, %s free)",
             human(a, sizeof a, needs), human(b, sizeof b, free_bytes));
  }
  return wn_fail_in(e, s->path);
}

/* Resolves a symbolic link, so that the .part lies beside the real file and
 * the link survives. A path that does not exist yet stays as it is. */
static int resolve(wn_save *s, const char *path, wn_err *e) {
  struct stat st;
  s->path = join(path, strlen(path), "");
  if (s->path == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) return sys_fail(s, "symbolic link", e);
    char *copy = join(real, strlen(real), "");
    if (copy == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
    wn_free(s->path);
    s->path = copy;
  }
  s->part = join(s->path, strlen(s->path), ".part");
  const char *slash = strrchr(s->path, '/');
  size_t n = slash == NULL ? 0 : (size_t)(slash - s->path);
  s->dir = slash == NULL ? join(".", 1, "") : join(s->path, n == 0 ? 1 : n, "");
  if (s->part == NULL || s->dir == NULL)
    return wn_fail(e, WN_ENOMEM, "out of memory");
  return WN_OK;
}

static bool same_id(wn_file_id a, wn_file_id b) {
  return a.dev == b.dev && a.ino == b.ino;
}

static int check_inputs(const wn_save *s, const char *name, wn_file_id id,
                        const wn_save_opts *o, wn_err *e) {
  for (size_t i = 0; i < o->n_inputs; i++)
    if (same_id(o->inputs[i], id))
      return wn_fail(e, WN_EEXIST, "%s: the output%s is one of the inputs",
                     s->path, name);
  return WN_OK;
}

/* Looks at the final name and at the .part before anything is opened for
 * writing. `shown` is the name as the caller spelled it. */
static int inspect(wn_save *s, const char *shown, const wn_save_opts *o,
                   wn_err *e) {
  struct stat st;
  int rc;
  if (wn_os_stat(shown, &st) == 0) {
    if ((rc = check_inputs(s, "", wn_id_of_stat(&st), o, e)) != WN_OK)
      return rc;
    if (!S_ISREG(st.st_mode))
      return wn_fail(e, WN_EIO, "%s: exists and is not a regular file", shown);
    if (!o->overwrite)
      return wn_fail(e, WN_EEXIST, "%s: exists (overwrite = true replaces it)",
                     shown);
    s->replaces = true;
    s->mode = st.st_mode & 07777;
  } else if (errno != ENOENT) {
    return sys_fail(s, "stat", e);
  }
  if (wn_os_stat(s->part, &st) == 0) {
    if ((rc = check_inputs(s, "'s .part", wn_id_of_stat(&st), o, e)) != WN_OK)
      return rc;
    if (!S_ISREG(st.st_mode))
      return wn_fail(e, WN_EIO, "%s: exists and is not a regular file",
                     s->part);
  }
  return WN_OK;
}

static int busy(const wn_save *s, wn_err *e) {
  long pid = wn_os_owner(s->fd);
  if (pid == 0) pid = (long)getpid(); /* we do not see our own lock */
  return wn_fail(e, WN_EBUSY, "%s: being written by pid %ld", s->path, pid);
}

/* Opens the .part, or makes it: *made tells. ENOENT when it went away between
 * the two attempts. */
static int open_or_make(wn_save *s, bool *made) {
  const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK;
  s->fd = wn_os_open(s->part, flags | O_CREAT | O_EXCL, 0666);
  *made = s->fd >= 0;
  if (s->fd < 0 && errno == EEXIST) s->fd = wn_os_open(s->part, flags, 0);
  return s->fd < 0 ? -1 : 0;
}

/* Opens and locks the .part. Between the two another process may have renamed
 * or removed the file that we opened: then try again. */
static int open_part(wn_save *s, wn_err *e) {
  for (int tries = 0; tries < 100; tries++) {
    struct stat held, named;
    if (open_or_make(s, &s->ours) != 0) {
      if (errno == ENOENT && tries < 10) continue;
      return sys_fail(s, "open .part", e);
    }
    if (wn_os_flock(s->fd) != 0) {
      if (errno != EWOULDBLOCK) return sys_fail(s, "lock", e);
      s->ours = false;
      return busy(s, e);
    }
    s->ours = true;
    if (wn_os_fstat(s->fd, &held) != 0) return sys_fail(s, "stat", e);
    if (!S_ISREG(held.st_mode))
      return wn_fail(e, WN_EIO, "%s: is not a regular file", s->part);
    if (wn_os_stat(s->part, &named) == 0 &&
        same_id(wn_id_of_stat(&held), wn_id_of_stat(&named))) {
      wn_os_mark_owner(s->fd);
      s->had = (uint64_t)held.st_size;
      return WN_OK;
    }
    s->ours = false;
    wn_os_close(s->fd);
    s->fd = -1;
  }
  return wn_fail(e, WN_EBUSY, "%s: the .part keeps changing", s->path);
}

/* Refuses what cannot fit, then reserves the space. A process whose limit on
 * file size is too low would otherwise be killed by SIGXFSZ. */
static int reserve(wn_save *s, uint64_t bytes, wn_err *e) {
  struct rlimit lim;
  struct stat st;
  uint64_t free_bytes, owned = 0;
  if (bytes == 0) return WN_OK;
  if (getrlimit(RLIMIT_FSIZE, &lim) == 0 && lim.rlim_cur != RLIM_INFINITY &&
      bytes > lim.rlim_cur)
    return wn_fail(
        e, WN_EIO, "%s: needs %llu bytes, this process may write files of %llu",
        s->path, (unsigned long long)bytes, (unsigned long long)lim.rlim_cur);
  if (wn_os_fstat(s->fd, &st) == 0) owned = (uint64_t)st.st_blocks * 512;
  if (wn_os_free_bytes(s->fd, &free_bytes) == 0 && bytes > owned &&
      bytes - owned > free_bytes)
    return no_space(s, "reserve", bytes, e);
  if (wn_os_fallocate(s->fd, bytes) == 0) return WN_OK;
  if (errno == ENOSPC || errno == EDQUOT)
    return no_space(s, "reserve", bytes, e);
  if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) return WN_OK;
  return sys_fail(s, "reserve", e);
}

int wn_save_open(const char *path, const wn_save_opts *o, wn_save **out,
                 wn_err *e) {
  static const wn_save_opts none;
  int rc;
  if (o == NULL) o = &none;
  wn_save *s = wn_calloc(WN_MEM_GGUF, 1, sizeof *s);
  if (s == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  s->fd = -1;
  s->pid = getpid();
  s->overwrite = o->overwrite;
  s->bytes = o->bytes;
  if ((rc = resolve(s, path, e)) != WN_OK) goto fail;
  if ((rc = inspect(s, path, o, e)) != WN_OK) goto fail;
  if ((rc = open_part(s, e)) != WN_OK) goto fail;
  if (!o->resume) {
    s->had = 0;
    if (wn_os_ftruncate(s->fd, 0) != 0) {
      rc = sys_fail(s, "truncate", e);
      goto fail;
    }
  }
  if ((rc = reserve(s, o->bytes, e)) != WN_OK) goto fail;
  *out = s;
  return WN_OK;
fail: /* nothing of this run is there to go on from */
  wn_save_abort(s, o->resume && s->had > 0);
  return rc;
}

/* Writes n bytes at `off`. */
static int put(wn_save *s, const void *p, size_t n, uint64_t off, wn_err *e) {
  if (wn_os_pwrite(s->fd, p, n, off) == 0) return WN_OK;
  s->failed = true;
  uint64_t needs = s->bytes > off ? s->bytes - off : n;
  if (errno == ENOSPC || errno == EDQUOT) return no_space(s, "write", needs, e);
  return sys_fail(s, "write", e);
}

/* Writes what is held. */
static int put_held(wn_save *s, wn_err *e) {
  size_t n = s->n_held;
  s->n_held = 0;
  return n == 0 ? WN_OK : put(s, s->held, n, s->off - n, e);
}

/* Keeps n bytes, which do not reach beyond the present piece. */
static int hold(wn_save *s, const void *p, size_t n, wn_err *e) {
  if (s->held == NULL) s->held = wn_alloc(WN_MEM_GGUF, PIECE);
  if (s->held == NULL) {
    s->failed = true;
    return wn_fail(e, WN_ENOMEM, "out of memory");
  }
  memcpy(s->held + s->n_held, p, n);
  s->n_held += n;
  return WN_OK;
}

int wn_save_flush(wn_save *s, wn_err *e) {
  int rc = put_held(s, e);
  wn_free(s->held);
  s->held = NULL;
  return rc;
}

int wn_save_write(wn_save *s, const void *p, size_t n, wn_err *e) {
  const uint8_t *from = p;
  if (s->failed || s->sealed)
    return wn_fail(e, WN_EARG, "%s: writing has ended", s->path);
  while (n > 0) {
    size_t room = PIECE - (size_t)(s->off % PIECE);
    size_t now = n < room ? n : room;
    int rc = now == PIECE ? put(s, from, now, s->off, e) /* needs no copy */
                          : hold(s, from, now, e);
    if (rc != WN_OK) return rc;
    s->off += now;
    from += now;
    n -= now;
    if (now == room && (rc = put_held(s, e)) != WN_OK) return rc;
  }
  return WN_OK;
}

int wn_save_read(wn_save *s, uint64_t off, void *p, size_t n, wn_err *e) {
  int rc = wn_save_flush(s, e);
  if (rc != WN_OK) return rc;
  int64_t got = wn_os_pread(s->fd, p, n, off);
  if (got < 0) return sys_fail(s, "read .part", e);
  if ((uint64_t)got < n)
    return wn_fail(e, WN_ETRUNC, "%s: the .part ends at byte %llu", s->path,
                   (unsigned long long)(off + (uint64_t)got));
  return WN_OK;
}

int wn_save_seek(wn_save *s, uint64_t off, wn_err *e) {
  if (off > s->off && off > s->had)
    return wn_fail(e, WN_EARG, "%s: byte %llu was never written", s->path,
                   (unsigned long long)off);
  int rc = wn_save_flush(s, e);
  s->off = off;
  return rc;
}

uint64_t wn_save_off(const wn_save *s) {
  return s->off;
}
uint64_t wn_save_had(const wn_save *s) {
  return s->had;
}

int wn_save_seal(wn_save *s, wn_err *e) {
  if (s->sealed) return WN_OK;
  if (s->failed) return wn_fail(e, WN_EARG, "%s: writing failed", s->path);
  int rc = wn_save_flush(s, e);
  if (rc != WN_OK) return rc;
  s->failed = true; /* until all three calls have succeeded */
  if (wn_os_ftruncate(s->fd, s->off) != 0) return sys_fail(s, "truncate", e);
  if (s->replaces && wn_os_fchmod(s->fd, s->mode) != 0)
    return sys_fail(s, "set mode", e);
  if (wn_os_fsync(s->fd) != 0) return sys_fail(s, "flush (fsync)", e);
  s->failed = false;
  s->sealed = true;
  return WN_OK;
}

/* Makes the rename itself durable. */
static int sync_dir(const wn_save *s, wn_err *e) {
  int rc = WN_OK, fd = wn_os_open(s->dir, O_RDONLY | O_DIRECTORY, 0);
  /* a directory that may be written but not read cannot be flushed */
  if (fd < 0) return errno == EACCES ? WN_OK : sys_fail(s, "open directory", e);
  /* some file systems do not flush directories and say EINVAL */
  if (wn_os_fsync(fd) != 0 && errno != EINVAL)
    rc = sys_fail(s, "flush directory (fsync)", e);
  if (wn_os_close(fd) != 0 && rc == WN_OK) rc = sys_fail(s, "close", e);
  return rc;
}

static void release(wn_save *s) {
  if (s->fd >= 0) wn_os_close(s->fd);
  wn_free(s->held);
  wn_free(s->path);
  wn_free(s->part);
  wn_free(s->dir);
  wn_free(s);
}

int wn_save_commit(wn_save *s, wn_err *e) {
  int rc = wn_save_seal(s, e);
  if (rc != WN_OK) {
    wn_save_abort(s, false);
    return rc;
  }
  if (wn_os_rename(s->part, s->path, !s->overwrite) != 0) {
    rc = errno == EEXIST
             ? wn_fail(e, WN_EEXIST, "%s: appeared while it was being written",
                       s->path)
             : sys_fail(s, "rename", e);
    wn_save_abort(s, false);
    return rc;
  }
  rc = sync_dir(s, e);
  int fd = s->fd;
  s->fd = -1; /* the lock ends with the descriptor, after the rename */
  if (wn_os_close(fd) != 0 && rc == WN_OK) rc = sys_fail(s, "close", e);
  release(s);
  return rc;
}

void wn_save_abort(wn_save *s, bool keep_part) {
  if (s == NULL) return;
  if (keep_part && !s->failed && s->pid == getpid()) (void)put_held(s, NULL);
  if (!keep_part && s->ours && s->fd >= 0) wn_os_unlink(s->part);
  release(s);
}
