/* fuzz/gguf.c - libFuzzer target: a GGUF image in memory.
 *
 * Whatever the bytes: opening gives a handle or an error with a message. An
 * accepted file is walked completely: every key and tensor is found by its
 * name, every byte of data can be read, and writing its header again gives
 * the bytes it came from. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "gguf/write.h"

/* A broken promise: stop where the fuzzer sees it. */
static void must(int ok) {
  if (!ok) __builtin_trap();
}

static void walk_tensors(const wn_gguf *g) {
  static uint8_t buf[1 << 16];
  for (size_t i = 0; i < wn_gguf_n_tensors(g); i++) {
    const wn_tensor *t = wn_gguf_tensor(g, i);
    must(wn_gguf_find_tensor(g, t->name.p, t->name.n) == t);
    for (uint64_t off = 0; off < t->bytes; off += sizeof buf) {
      size_t n = sizeof buf;
      if (t->bytes - off < n) n = (size_t)(t->bytes - off);
      must(wn_gguf_read(g, t, off, buf, n, NULL) == WN_OK);
    }
  }
}

static void walk_keys(const wn_gguf *g) {
  for (size_t i = 0; i < wn_gguf_n_kv(g); i++) {
    const wn_kv *kv = wn_gguf_kv(g, i);
    volatile uint8_t sink = 0;
    must(wn_gguf_find_kv(g, kv->key.p, kv->key.n) == kv);
    for (size_t k = 0; k < kv->raw_bytes; k++)
      sink = (uint8_t)(sink + kv->raw[k]);
  }
}

/* Copies the metadata, lays the tensors out again and compares headers. */
static void rewrite(wn_gguf *g, const uint8_t *image) {
  wn_meta *m = NULL;
  wn_layout *l = NULL;
  wn_err e = {0};
  wn_layout_opts o = {.version = wn_gguf_version(g), .like = g};
  const wn_tensor *t = wn_gguf_n_tensors(g) > 0 ? wn_gguf_tensor(g, 0) : NULL;
  o.by_shard = true;
  must(wn_meta_new(&m, &e) == WN_OK);
  must(wn_meta_copy(m, g, 0, &e) == WN_OK);
  bool split = wn_meta_find(m, "split.no", 8) != NULL ||
               wn_meta_find(m, "split.count", 11) != NULL ||
               wn_meta_find(m, "split.tensors.count", 19) != NULL;
  must(wn_layout_new(m, t, wn_gguf_n_tensors(g), &o, &l, &e) == WN_OK);
  const wn_layout_file *f = wn_layout_file_at(l, 0);
  if (!split) {
    uint8_t *header = wn_alloc(WN_MEM_GGUF, (size_t)f->header_bytes);
    must(header != NULL && f->header_bytes == wn_gguf_header_bytes(g, 0));
    must(f->bytes == wn_gguf_file_bytes(g, 0));
    wn_layout_header(l, 0, header);
    must(memcmp(header, image, (size_t)f->header_bytes) == 0);
    wn_free(header);
  }
  wn_layout_unref(l);
  wn_meta_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  wn_gguf *g = NULL;
  wn_err e = {0};
  wn_mem_stats s;
  int rc = wn_gguf_open_memory(data, n, &g, &e);
  if (rc == WN_OK) {
    walk_keys(g);
    walk_tensors(g);
    rewrite(g, data);
    wn_gguf_unref(g);
  } else {
    must(rc < 0 && rc == e.code && e.msg[0] != 0 && rc != WN_ENOMEM);
  }
  /* the same with an allocation that fails: an error or nothing, no leak */
  g = NULL;
  wn_mem_fail_at(1 + (int64_t)(n % 16), n % 2 != 0);
  rc = wn_gguf_open_memory(data, n, &g, &e);
  wn_mem_fail_at(0, false);
  if (rc == WN_OK) wn_gguf_unref(g);
  wn_mem_get_stats(&s);
  must(s.blocks == 0);
  return 0;
}
