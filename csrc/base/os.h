/* os.h - every system call on files goes through here.
 *
 * Thin functions over a table of calls. They retry EINTR and short transfers
 * where that is right, and tests can make the n-th use of any call fail with
 * any errno, transfer only half (short), or kill the process (crash tests).
 * On failure they return -1 (or a negative count) with errno set, as the
 * calls themselves do. Thread safe. */
#ifndef WN_BASE_OS_H
#define WN_BASE_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

/* Which file, whatever its name: device and inode. */
typedef struct wn_file_id {
  uint64_t dev, ino;
} wn_file_id;

/* The calls, by the names tests use. */
#define WN_OS_CALLS(X)    \
  X(OPEN, open)           \
  X(CLOSE, close)         \
  X(PREAD, pread)         \
  X(PWRITE, write)        \
  X(FSYNC, fsync)         \
  X(FTRUNCATE, ftruncate) \
  X(FALLOCATE, fallocate) \
  X(FLOCK, flock)         \
  X(FCHMOD, fchmod)       \
  X(STAT, stat)           \
  X(FSTAT, fstat)         \
  X(STATVFS, statvfs)     \
  X(RENAME, rename)       \
  X(UNLINK, unlink)       \
  X(MMAP, mmap)

#define WN_OS_CONST(id, name) WN_OS_##id,
typedef enum wn_os_call { WN_OS_CALLS(WN_OS_CONST) WN_OS_N_CALLS } wn_os_call;
#undef WN_OS_CONST

/* O_CLOEXEC is always added; `flags` and `mode` as for open(2). */
int wn_os_open(const char *path, int flags, unsigned mode);
/* Closes once; EINTR counts as closed (Linux has closed it). */
int wn_os_close(int fd);
/* n bytes from `off` unless the file ends before: returns the count read. */
int64_t wn_os_pread(int fd, void *buf, size_t n, uint64_t off);
/* All n bytes at `off`, or -1. */
int wn_os_pwrite(int fd, const void *buf, size_t n, uint64_t off);
int wn_os_fsync(int fd);
int wn_os_ftruncate(int fd, uint64_t n);
/* Reserves [0, n); a file system that cannot do it gives EOPNOTSUPP. */
int wn_os_fallocate(int fd, uint64_t n);
/* Exclusive advisory lock without waiting; EWOULDBLOCK when another has it. */
int wn_os_flock(int fd);
int wn_os_fchmod(int fd, unsigned mode);
int wn_os_stat(const char *path, struct stat *st);
int wn_os_fstat(int fd, struct stat *st);
/* Bytes an ordinary user may still write to the file system of fd. */
int wn_os_free_bytes(int fd, uint64_t *n);
/* Renames; with `noreplace` fails with EEXIST when `to` exists. */
int wn_os_rename(const char *from, const char *to, bool noreplace);
int wn_os_unlink(const char *path);
/* Read-only private map of n bytes, or NULL with errno set. */
void *wn_os_map(int fd, size_t n);

/* Process that holds a POSIX lock on fd, or 0; wn_os_mark_owner takes one so
 * that others can name us. Information only: flock is the lock. */
long wn_os_owner(int fd);
void wn_os_mark_owner(int fd);

/* When the content and when the file itself changed last. */
static inline struct timespec wn_stat_mtime(const struct stat *st) {
#if defined(__APPLE__)
  return st->st_mtimespec;
#else
  return st->st_mtim;
#endif
}
static inline struct timespec wn_stat_ctime(const struct stat *st) {
#if defined(__APPLE__)
  return st->st_ctimespec;
#else
  return st->st_ctim;
#endif
}

static inline wn_file_id wn_id_of_stat(const struct stat *st) {
  wn_file_id id = {(uint64_t)st->st_dev, (uint64_t)st->st_ino};
  return id;
}

/* Test hook: the n-th use of `call` from now fails with errno `err`
 * (n = 0: off). WN_OS_SHORT transfers half; WN_OS_KILL kills the process
 * before the call, WN_OS_KILL_AFTER after it. Uses of each call are counted. */
enum { WN_OS_SHORT = -1, WN_OS_KILL = -2, WN_OS_KILL_AFTER = -3 };
void wn_os_fail_at(wn_os_call call, int64_t n, int err);
int64_t wn_os_uses(wn_os_call call);
/* The call of a name, or -1. */
int wn_os_call_of_name(const char *name);

#endif
