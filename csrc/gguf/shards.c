/* shards.c - the files of a split model: names and opening.
 *
 * A split model is stem-00001-of-0000N.gguf and its sisters. The names of
 * the others are made from the name that the caller gave; what a file says
 * is only compared with them (split.no, split.count, split.tensors.count). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"

/* Five digits at p, or -1. */
static int32_t five_digits(const char *p) {
  int32_t v = 0;
  for (int i = 0; i < 5; i++) {
    if (p[i] < '0' || p[i] > '9') return -1;
    v = v * 10 + (p[i] - '0');
  }
  return v;
}

bool wn_shard_name_parse(const char *path, uint32_t *no, uint32_t *count,
                         size_t *stem) {
  size_t n = strlen(path), tail = strlen("-00001-of-00002.gguf");
  if (n < tail) return false;
  const char *p = path + (n - tail);
  int32_t a = five_digits(p + 1), b = five_digits(p + 10);
  if (p[0] != '-' || memcmp(p + 6, "-of-", 4) != 0 ||
      memcmp(p + 15, ".gguf", 5) != 0 || a < 1 || b < 1 || a > b)
    return false;
  *no = (uint32_t)a - 1;
  *count = (uint32_t)b;
  *stem = n - tail;
  return true;
}

int wn_shard_name_make(const char *path, size_t stem, uint32_t no,
                       uint32_t count, char *buf, size_t cap) {
  int n = snprintf(buf, cap, "%.*s-%05u-of-%05u.gguf", (int)stem, path, no + 1,
                   count);
  return n > 0 && (size_t)n < cap ? WN_OK : WN_ELIMIT;
}

static const char *kind_of(mode_t m) {
  return S_ISDIR(m)    ? "a directory"
         : S_ISFIFO(m) ? "a FIFO"
         : S_ISCHR(m)  ? "a character device"
         : S_ISBLK(m)  ? "a block device"
         : S_ISSOCK(m) ? "a socket"
                       : "no regular file";
}

int wn_shard_open(wn_shard *s, const char *path, wn_err *e) {
  size_t n = strlen(path);
  s->fd = -1;
  s->guard = -1;
  s->path = wn_alloc(WN_MEM_GGUF, n + 1);
  if (s->path == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  memcpy(s->path, path, n + 1);
  /* O_NONBLOCK: a FIFO must not make us wait for its writer */
  s->fd = wn_os_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  if (s->fd < 0) return wn_fail_sys(e, errno, "open");
  if (wn_os_fstat(s->fd, &s->st) != 0) return wn_fail_sys(e, errno, "stat");
  if (!S_ISREG(s->st.st_mode))
    return wn_fail(e, WN_EIO, "open: found %s, want a regular file",
                   kind_of(s->st.st_mode));
  s->bytes = (uint64_t)s->st.st_size;
  return WN_OK;
}

void wn_shard_close(wn_shard *s) {
  wn_shard_unmap(s);
  if (s->path != NULL && s->fd >= 0) wn_os_close(s->fd);
  wn_free(s->path);
  wn_free(s->img);
  wn_free(s->kvs);
  wn_index_free(&s->kv_index);
  memset(s, 0, sizeof *s);
  s->fd = -1;
}
