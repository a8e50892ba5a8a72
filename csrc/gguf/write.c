/* write.c - writes one file of a layout: see write.h. */
#include "gguf/write.h"

#include <string.h>

#include "base/mem.h"
#include "gguf/write_parts.h"

struct wn_writer {
  wn_layout *layout;
  const wn_layout_file *file;
  uint32_t k;
  wn_save *save;
  size_t tensor; /* layout index of the tensor being written */
  uint64_t off;  /* bytes of it that are there */
  uint64_t had;  /* bytes of an earlier .part that count */
};

static size_t end_of(const wn_writer *w) {
  return w->file->first + w->file->n_tensors;
}

/* True when the bytes before the data are the same as in `like`, so that
 * even its padding there can be copied. */
static bool same_header_length(const wn_writer *w) {
  return wn_gguf_header_bytes(w->layout->like, w->k) == w->file->header_bytes;
}

/* Writes padding up to byte `upto` of the file: zeros, or what `like` has at
 * the same place relative to its data. */
static int pad_to(wn_writer *w, uint64_t upto, wn_err *e) {
  uint8_t buf[4096];
  const wn_gguf *like = w->layout->like;
  bool in_header = wn_save_off(w->save) < w->file->data_off;
  if (like != NULL && (in_header || w->file->n_tensors == 0) &&
      !same_header_length(w))
    like = NULL;
  while (wn_save_off(w->save) < upto) {
    uint64_t at = wn_save_off(w->save);
    size_t n = upto - at < sizeof buf ? (size_t)(upto - at) : sizeof buf;
    int rc = WN_OK;
    memset(buf, 0, n);
    if (like != NULL) {
      /* modulo 2^64: the difference of the data offsets may be negative */
      uint64_t from = at + wn_gguf_data_off(like, w->k) - w->file->data_off;
      rc = wn_gguf_read_file(like, w->k, from, buf, n, e);
    }
    if (rc == WN_OK) rc = wn_save_write(w->save, buf, n, e);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}

/* Where the padding after tensor i of the layout ends. */
static uint64_t pad_end(const wn_writer *w, size_t i) {
  if (i + 1 < end_of(w)) return wn_layout_tensor(w->layout, i + 1)->off;
  return w->file->bytes;
}

/* Writes the header; keeps the rest of a resumed .part only when it begins
 * with the same header. */
static int start(wn_writer *w, wn_err *e) {
  size_t n = (size_t)w->file->header_bytes;
  uint8_t *header = wn_alloc(WN_MEM_GGUF, 2 * n);
  if (header == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  uint8_t *old = header + n;
  wn_layout_header(w->layout, w->k, header);
  w->had = wn_save_had(w->save);
  if (w->had < n || wn_save_read(w->save, 0, old, n, NULL) != WN_OK ||
      memcmp(old, header, n) != 0)
    w->had = 0;
  int rc = wn_save_write(w->save, header, n, e);
  wn_free(header);
  if (rc != WN_OK) return rc;
  rc = pad_to(w, w->file->n_tensors == 0 ? w->file->bytes : w->file->data_off,
              e);
  /* many shards may be open, one is written at a time */
  return rc == WN_OK ? wn_save_flush(w->save, e) : rc;
}

int wn_writer_open(const char *path, wn_layout *l, size_t k,
                   const wn_save_opts *o, wn_writer **out, wn_err *e) {
  wn_save_opts opts = {0};
  if (o != NULL) opts = *o;
  wn_writer *w = wn_calloc(WN_MEM_GGUF, 1, sizeof *w);
  if (w == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  w->layout = wn_layout_ref(l);
  w->file = wn_layout_file_at(l, k);
  w->k = (uint32_t)k;
  w->tensor = w->file->first;
  opts.bytes = w->file->bytes;
  int rc = wn_save_open(path, &opts, &w->save, e);
  if (rc == WN_OK) rc = start(w, e);
  if (rc != WN_OK)
    wn_writer_abort(w, opts.resume);
  else
    *out = w;
  return rc;
}

int wn_writer_put(wn_writer *w, const void *data, size_t n, wn_err *e) {
  const uint8_t *p = data;
  while (n > 0) {
    if (w->tensor == end_of(w))
      return wn_fail(e, WN_EARG, "%zu bytes more than the tensors hold", n);
    const wn_tensor *t = wn_layout_tensor(w->layout, w->tensor);
    uint64_t left = t->bytes - w->off;
    size_t now = left < n ? (size_t)left : n;
    int rc = wn_save_write(w->save, p, now, e);
    if (rc != WN_OK) return rc;
    p += now;
    n -= now;
    w->off += now;
    if (w->off < t->bytes) continue;
    if ((rc = pad_to(w, pad_end(w, w->tensor), e)) != WN_OK) return rc;
    w->tensor++;
    w->off = 0;
  }
  return WN_OK;
}

void wn_writer_tell(const wn_writer *w, size_t *tensor, uint64_t *off) {
  *tensor = w->tensor;
  *off = w->off;
}

size_t wn_writer_had(const wn_writer *w) {
  size_t n = 0;
  while (n < w->file->n_tensors) {
    const wn_tensor *t = wn_layout_tensor(w->layout, w->file->first + n);
    if (t->off + t->bytes > w->had) break;
    n++;
  }
  return n;
}

/* WN_EARG unless `tensor` is one of this file's that the .part has whole. */
static int check_had(const wn_writer *w, size_t tensor, wn_err *e) {
  if (tensor >= w->file->first && tensor - w->file->first < wn_writer_had(w))
    return WN_OK;
  return wn_fail(e, WN_EARG, "the .part does not hold tensor %zu", tensor + 1);
}

int wn_writer_read(wn_writer *w, size_t tensor, uint64_t off, void *buf,
                   size_t n, wn_err *e) {
  int rc = check_had(w, tensor, e);
  if (rc != WN_OK) return rc;
  const wn_tensor *t = wn_layout_tensor(w->layout, tensor);
  if (off > t->bytes || n > t->bytes - off)
    return wn_fail(e, WN_EARG, "bytes %llu + %zu are outside the tensor",
                   (unsigned long long)off, n);
  return wn_save_read(w->save, t->off + off, buf, n, e);
}

int wn_writer_skip(wn_writer *w, size_t tensor, wn_err *e) {
  if (w->off != 0 || tensor < w->tensor)
    return wn_fail(e, WN_EARG, "only whole tensors that follow can be skipped");
  if (tensor == w->tensor) return WN_OK;
  int rc = check_had(w, tensor - 1, e);
  if (rc != WN_OK) return rc;
  const wn_tensor *last = wn_layout_tensor(w->layout, tensor - 1);
  if ((rc = wn_save_seek(w->save, last->off + last->bytes, e)) != WN_OK)
    return rc;
  if ((rc = pad_to(w, pad_end(w, tensor - 1), e)) != WN_OK) return rc;
  w->tensor = tensor;
  return WN_OK;
}

int wn_writer_seal(wn_writer *w, wn_err *e) {
  if (w->tensor != end_of(w))
    return wn_fail(e, WN_EARG, "%zu tensors were not written",
                   end_of(w) - w->tensor);
  return wn_save_seal(w->save, e);
}

static void release(wn_writer *w) {
  wn_layout_unref(w->layout);
  wn_free(w);
}

int wn_writer_commit(wn_writer *w, wn_err *e) {
  int rc = wn_writer_seal(w, e);
  if (rc != WN_OK) {
    wn_writer_abort(w, false);
    return rc;
  }
  rc = wn_save_commit(w->save, e);
  release(w);
  return rc;
}

void wn_writer_abort(wn_writer *w, bool keep) {
  if (w == NULL) return;
  wn_save_abort(w->save, keep);
  release(w);
}
