/* read.c - opening and asking: see gguf.h. The parsing is in parse.c, kv.c
 * and tensor.c, the names of split files in shards.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"

#define MAX_PATH_BYTES 4096

static wn_gguf *new_gguf(const char *path, uint32_t n_shards, bool look,
                         wn_err *e) {
  size_t n = strlen(path);
  wn_gguf *g = wn_calloc(WN_MEM_GGUF, 1, sizeof *g);
  if (g == NULL) goto fail;
  atomic_init(&g->refs, 1);
  g->path = wn_alloc(WN_MEM_GGUF, n + 1);
  g->shards = wn_calloc(WN_MEM_GGUF, n_shards, sizeof *g->shards);
  if (g->path == NULL || g->shards == NULL) goto fail;
  memcpy(g->path, path, n + 1);
  g->n_shards = n_shards;
  g->look = look;
  for (uint32_t i = 0; i < n_shards; i++) {
    g->shards[i].fd = -1;
    g->shards[i].guard = -1;
  }
  if (wn_index_init(&g->tensor_index, 64, e) != WN_OK) goto fail;
  return g;
fail:
  wn_gguf_unref(g);
  wn_fail(e, WN_ENOMEM, "out of memory");
  return NULL;
}

wn_gguf *wn_gguf_ref(wn_gguf *g) {
  atomic_fetch_add(&g->refs, 1);
  return g;
}

void wn_gguf_unref(wn_gguf *g) {
  if (g == NULL || atomic_fetch_sub(&g->refs, 1) != 1) return;
  for (uint32_t i = 0; i < g->n_shards; i++)
    wn_shard_close(&g->shards[i]);
  wn_index_free(&g->tensor_index);
  wn_free(g->tensors);
  wn_free(g->shards);
  wn_free(g->path);
  wn_free(g);
}

static int open_file(wn_gguf *g, uint32_t shard, const char *path, wn_err *e) {
  int rc = wn_shard_open(&g->shards[shard], path, e);
  if (rc == WN_OK) rc = wn_parse_file(g, shard, e);
  if (rc != WN_OK) wn_fail_in(e, path);
  return rc;
}

/* An integer key of one file: false when absent, -1 for another type or a
 * negative number. */
static bool shard_int(const wn_gguf *g, uint32_t shard, const char *key,
                      int64_t *v) {
  const wn_shard *s = &g->shards[shard];
  size_t i =
      wn_index_find(&s->kv_index, s->kvs, sizeof *s->kvs, key, strlen(key));
  if (i == SIZE_MAX) return false;
  const wn_kv *kv = &s->kvs[i];
  bool is_int =
      kv->type <= WN_KV_I32 || kv->type == WN_KV_U64 || kv->type == WN_KV_I64;
  *v = is_int && kv->num.i >= 0 ? kv->num.i : -1;
  return true;
}

/* What file `shard` says about its place among `count`. */
static int check_place(const wn_gguf *g, uint32_t shard, uint32_t count,
                       wn_err *e) {
  const char *path = g->shards[shard].path;
  int64_t no = -1, n = -1;
  shard_int(g, shard, "split.no", &no);
  shard_int(g, shard, "split.count", &n);
  if (n != (int64_t)count)
    return wn_fail(e, WN_EFORMAT,
                   "%s: key 'split.count' is %lld, want %u as in the name",
                   path, (long long)n, count);
  if (no != (int64_t)shard)
    return wn_fail(e, WN_EFORMAT,
                   "%s: key 'split.no' is %lld, want %u as in the name", path,
                   (long long)no, shard);
  return WN_OK;
}

static int check_total(const wn_gguf *g, wn_err *e) {
  int64_t n;
  if (!shard_int(g, 0, "split.tensors.count", &n) || n == (int64_t)g->n_tensors)
    return WN_OK;
  return wn_fail(e, WN_EFORMAT,
                 "%s: key 'split.tensors.count' is %lld, the files have %zu",
                 g->path, (long long)n, g->n_tensors);
}

/* Opens all `count` files of a split; `path` is the name of one of them. */
static int open_split(const char *path, uint32_t count, size_t stem, bool look,
                      wn_gguf **out, wn_err *e) {
  char name[MAX_PATH_BYTES];
  int rc = WN_OK;
  wn_gguf *g = new_gguf(path, count, look, e);
  if (g == NULL) return WN_ENOMEM;
  for (uint32_t i = 0; i < count; i++) {
    if (wn_shard_name_make(path, stem, i, count, name, sizeof name) != WN_OK) {
      rc = wn_fail(e, WN_ELIMIT, "%s: the name is too long", path);
      goto fail;
    }
    rc = open_file(g, i, name, e);
    if (rc == WN_ENOENT)
      rc = wn_fail(e, WN_EFORMAT, "%s: file %u of %u is missing: %s", path,
                   i + 1, count, name);
    if (rc == WN_OK) rc = check_place(g, i, count, e);
    if (rc != WN_OK) goto fail;
  }
  if ((rc = check_total(g, e)) != WN_OK) goto fail;
  *out = g;
  return WN_OK;
fail:
  wn_gguf_unref(g);
  return rc;
}

static int open_one(const char *path, bool look, wn_gguf **out, wn_err *e) {
  wn_gguf *g = new_gguf(path, 1, look, e);
  if (g == NULL) return WN_ENOMEM;
  int rc = open_file(g, 0, path, e);
  if (rc != WN_OK)
    wn_gguf_unref(g);
  else
    *out = g;
  return rc;
}

static int open_all(const char *path, bool look, wn_gguf **out, wn_err *e) {
  uint32_t no = 0, named = 0;
  int64_t count = 1;
  size_t stem = 0;
  wn_gguf *g = NULL;
  int rc = open_one(path, look, &g, e);
  if (rc != WN_OK) return rc;
  shard_int(g, 0, "split.count", &count);
  if (count == 0 || count == 1) {
    *out = g;
    return WN_OK;
  }
  wn_gguf_unref(g);
  if (count < 0 || count > WN_MAX_SHARDS)
    return wn_fail(e, WN_EFORMAT,
                   "%s: key 'split.count' is %lld, want 0 to %lld", path,
                   (long long)count, (long long)WN_MAX_SHARDS);
  if (!wn_shard_name_parse(path, &no, &named, &stem) ||
      named != (uint32_t)count)
    return wn_fail(e, WN_EFORMAT,
                   "%s: key 'split.count' is %lld: want a name that ends in "
                   "-00001-of-%05lld.gguf",
                   path, (long long)count, (long long)count);
  return open_split(path, named, stem, look, out, e);
}

int wn_gguf_open_one(const char *path, wn_gguf **out, wn_err *e) {
  return open_one(path, false, out, e);
}

int wn_gguf_open(const char *path, wn_gguf **out, wn_err *e) {
  return open_all(path, false, out, e);
}

int wn_gguf_look(const char *path, bool one, wn_gguf **out, wn_err *e) {
  return (one ? open_one : open_all)(path, true, out, e);
}

bool wn_gguf_strangers(const wn_gguf *g) {
  return g->strangers;
}

int wn_gguf_open_memory(const void *image, size_t n, wn_gguf **out, wn_err *e) {
  wn_gguf *g = new_gguf("memory", 1, false, e);
  if (g == NULL) return WN_ENOMEM;
  g->shards[0].mem = image;
  g->shards[0].bytes = n;
  int rc = wn_parse_file(g, 0, e);
  if (rc != WN_OK) {
    wn_fail_in(e, g->path);
    wn_gguf_unref(g);
  } else {
    *out = g;
  }
  return rc;
}

const char *wn_gguf_path(const wn_gguf *g) {
  return g->path;
}
uint32_t wn_gguf_version(const wn_gguf *g) {
  return g->shards[0].version;
}
uint64_t wn_gguf_alignment(const wn_gguf *g) {
  return g->shards[0].alignment;
}
uint32_t wn_gguf_n_shards(const wn_gguf *g) {
  return g->n_shards;
}

const char *wn_gguf_shard_path(const wn_gguf *g, uint32_t shard) {
  const char *path = g->shards[shard].path;
  return path != NULL ? path : g->path;
}

uint64_t wn_gguf_file_bytes(const wn_gguf *g, uint32_t shard) {
  return g->shards[shard].bytes;
}

uint64_t wn_gguf_data_off(const wn_gguf *g, uint32_t shard) {
  return g->shards[shard].data_off;
}

uint64_t wn_gguf_header_bytes(const wn_gguf *g, uint32_t shard) {
  return g->shards[shard].header_bytes;
}

wn_file_id wn_gguf_file_id(const wn_gguf *g, uint32_t shard) {
  return wn_id_of_stat(&g->shards[shard].st);
}

size_t wn_gguf_shard_n_kv(const wn_gguf *g, uint32_t shard) {
  return g->shards[shard].n_kv;
}

const wn_kv *wn_gguf_shard_kv(const wn_gguf *g, uint32_t shard, size_t i) {
  return &g->shards[shard].kvs[i];
}

size_t wn_gguf_n_kv(const wn_gguf *g) {
  return g->shards[0].n_kv;
}

const wn_kv *wn_gguf_kv(const wn_gguf *g, size_t i) {
  return &g->shards[0].kvs[i];
}

const wn_kv *wn_gguf_find_kv(const wn_gguf *g, const char *key, size_t n) {
  const wn_shard *s = &g->shards[0];
  size_t i = wn_index_find(&s->kv_index, s->kvs, sizeof *s->kvs, key, n);
  return i == SIZE_MAX ? NULL : &s->kvs[i];
}

size_t wn_gguf_n_tensors(const wn_gguf *g) {
  return g->n_tensors;
}

const wn_tensor *wn_gguf_tensor(const wn_gguf *g, size_t i) {
  return &g->tensors[i];
}

const wn_tensor *wn_gguf_find_tensor(const wn_gguf *g, const char *name,
                                     size_t n) {
  size_t i =
      wn_index_find(&g->tensor_index, g->tensors, sizeof *g->tensors, name, n);
  return i == SIZE_MAX ? NULL : &g->tensors[i];
}

int wn_gguf_read_file(const wn_gguf *g, uint32_t shard, uint64_t off, void *buf,
                      size_t n, wn_err *e) {
  const wn_shard *s = &g->shards[shard];
  if (off > s->bytes || n > s->bytes - off)
    return wn_fail(e, WN_EARG, "%s: bytes %llu + %zu are outside the file",
                   wn_gguf_shard_path(g, shard), (unsigned long long)off, n);
  if (s->fd < 0) {
    memcpy(buf, s->mem + off, n);
    return WN_OK;
  }
  int64_t got = wn_os_pread(s->fd, buf, n, off);
  if (got < 0) {
    wn_fail_sys(e, errno, "read");
    return wn_fail_in(e, s->path);
  }
  if ((uint64_t)got == n) return WN_OK;
  return wn_fail(e, WN_ETRUNC, "%s: ends at byte %llu, was %llu bytes long",
                 s->path, (unsigned long long)(off + (uint64_t)got),
                 (unsigned long long)s->bytes);
}

int wn_gguf_read(const wn_gguf *g, const wn_tensor *t, uint64_t off, void *buf,
                 size_t n, wn_err *e) {
  if (off > t->bytes || n > t->bytes - off) {
    char name[80];
    return wn_fail(e, WN_EARG,
                   "tensor '%s' has %llu bytes, want %zu from byte %llu",
                   wn_printable(name, sizeof name, t->name.p, t->name.n),
                   (unsigned long long)t->bytes, n, (unsigned long long)off);
  }
  return wn_gguf_read_file(g, t->shard, t->off + off, buf, n, e);
}
