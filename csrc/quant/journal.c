/* journal.c - see journal.h. All numbers little-endian.
 *
 *   head    8 bytes "wanejnl1", 16 run digest, 8 checksum
 *   record  8 bytes number of the tensor, 16 digest of its data, 8 checksum
 *
 * A checksum covers the 24 bytes before it and, in records, the run. */
#include "quant/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"

#define RECORD 32
/* "wanejnl1" as a number */
#define MAGIC 0x316c6e6a656e6177u

struct wn_journal {
  char *path;
  int fd;
  wn_digest_value run;
  size_t n, cap; /* records in the file */
  wn_digest_value *records;
};

/* Fills the 32 bytes of a head or record. */
static void pack(uint64_t words[4], uint64_t first, wn_digest_value v,
                 wn_digest_value run) {
  wn_digest d;
  words[0] = first;
  words[1] = v.lo;
  words[2] = v.hi;
  wn_digest_init(&d);
  wn_digest_add(&d, &run, sizeof run);
  wn_digest_add(&d, words, 24);
  words[3] = wn_digest_end(&d).lo;
}

static int sys_fail(const wn_journal *j, const char *what, wn_err *e) {
  wn_fail_sys(e, errno, what);
  return wn_fail_in(e, j->path);
}

static int remember(wn_journal *j, wn_digest_value v, wn_err *e) {
  if (j->n == j->cap) {
    size_t cap = j->cap == 0 ? 64 : 2 * j->cap;
    void *p = wn_realloc(WN_MEM_QUANT, j->records, cap * sizeof v);
    if (p == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
    j->records = p;
    j->cap = cap;
  }
  j->records[j->n++] = v;
  return WN_OK;
}

/* Reads the records of an earlier journal of this run, up to the first that
 * is not as it should be. */
static int read_records(wn_journal *j, wn_err *e) {
  uint64_t want[4], got[4];
  pack(want, MAGIC, j->run, j->run);
  if (wn_os_pread(j->fd, got, RECORD, 0) != RECORD) return WN_OK;
  if (memcmp(got, want, RECORD) != 0) return WN_OK;
  for (uint64_t off = RECORD;; off += RECORD) {
    if (wn_os_pread(j->fd, got, RECORD, off) != RECORD) return WN_OK;
    wn_digest_value v = {got[1], got[2]};
    pack(want, j->n, v, j->run);
    if (memcmp(got, want, RECORD) != 0) return WN_OK;
    int rc = remember(j, v, e);
    if (rc != WN_OK) return rc;
  }
}

int wn_journal_cut(wn_journal *j, size_t i, wn_err *e) {
  uint64_t head[4];
  if (i < j->n) j->n = i;
  if (wn_os_ftruncate(j->fd, (uint64_t)(j->n + 1) * RECORD) != 0)
    return sys_fail(j, "truncate", e);
  pack(head, MAGIC, j->run, j->run);
  if (wn_os_pwrite(j->fd, head, RECORD, 0) != 0) return sys_fail(j, "write", e);
  return WN_OK;
}

int wn_journal_open(const char *path, wn_digest_value run, bool resume,
                    wn_journal **out, wn_err *e) {
  size_t n = strlen(path) + 1;
  int rc = WN_ENOMEM;
  wn_journal *j = wn_calloc(WN_MEM_QUANT, 1, sizeof *j);
  if (j == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  j->fd = -1;
  j->run = run;
  j->path = wn_alloc(WN_MEM_QUANT, n);
  if (j->path == NULL) {
    wn_fail(e, WN_ENOMEM, "out of memory");
    goto fail;
  }
  memcpy(j->path, path, n);
  j->fd = wn_os_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0666);
  if (j->fd < 0) {
    rc = sys_fail(j, "open", e);
    goto fail;
  }
  if (resume && (rc = read_records(j, e)) != WN_OK) goto fail;
  if ((rc = wn_journal_cut(j, j->n, e)) != WN_OK) goto fail;
  *out = j;
  return WN_OK;
fail:
  wn_journal_close(j, false);
  return rc;
}

size_t wn_journal_n(const wn_journal *j) {
  return j->n;
}

wn_digest_value wn_journal_at(const wn_journal *j, size_t i) {
  return j->records[i];
}

int wn_journal_add(wn_journal *j, wn_digest_value data, wn_err *e) {
  uint64_t record[4];
  pack(record, j->n, data, j->run);
  int rc = remember(j, data, e);
  if (rc != WN_OK) return rc;
  if (wn_os_pwrite(j->fd, record, RECORD, (uint64_t)j->n * RECORD) != 0)
    return sys_fail(j, "write", e);
  return WN_OK;
}

void wn_journal_close(wn_journal *j, bool remove) {
  if (j == NULL) return;
  if (remove && j->fd >= 0) wn_os_unlink(j->path);
  if (j->fd >= 0) wn_os_close(j->fd);
  wn_free(j->records);
  wn_free(j->path);
  wn_free(j);
}
