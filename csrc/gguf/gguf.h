/* gguf.h - GGUF files: what is in one, and how to write one.
 *
 * A wn_gguf is the parsed header of a file, or of all files of a split
 * model, with the files kept open read-only. It is immutable and reference
 * counted. Opening reads the header only. Weights are read with pread, or
 * mapped for inference (map.c guards against a file that shrinks under the
 * map). Everything that a file says is checked here once: types exist,
 * shapes multiply without wrapping, rows fill blocks, data lies inside the
 * file without overlaps. */
#ifndef WN_GGUF_GGUF_H
#define WN_GGUF_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/os.h"
#include "gguf/types.h"

/* Value types of metadata, numbered as in the file. */
enum {
  WN_KV_U8,
  WN_KV_I8,
  WN_KV_U16,
  WN_KV_I16,
  WN_KV_U32,
  WN_KV_I32,
  WN_KV_F32,
  WN_KV_BOOL,
  WN_KV_STRING,
  WN_KV_ARRAY,
  WN_KV_U64,
  WN_KV_I64,
  WN_KV_F64,
  WN_KV_N_TYPES
};

typedef struct wn_str {
  const char *p; /* not terminated; lives as long as its wn_gguf */
  size_t n;
} wn_str;

/* One metadata entry. Scalars are in `num` (or `str`). An array has its
 * element type and count; `data` points to its packed little-endian elements
 * in the file image (strings: u64 length + bytes each; nested arrays: u32
 * type, u64 count, elements). Use the typed getters below. */
typedef struct wn_kv {
  wn_str key;
  int type;
  union {
    uint64_t u;
    int64_t i;
    double f;
  } num;
  wn_str str;
  int elem;
  uint64_t count;
  const uint8_t *data;
  size_t data_bytes;
  const uint8_t *raw; /* the value as in the file, after its type */
  size_t raw_bytes;
} wn_kv;

typedef struct wn_tensor {
  wn_str name;
  int type;
  uint32_t n_dims;
  uint64_t ne[4];  /* ne[0] = values of a row; unused ones are 1 */
  uint64_t n_rows; /* ne[1] * ne[2] * ne[3] */
  uint64_t row_bytes;
  uint64_t bytes; /* n_rows * row_bytes */
  uint64_t off;   /* from the start of its file */
  uint32_t shard; /* which file: 0-based */
} wn_tensor;

typedef struct wn_gguf wn_gguf;

/* Opens `path`; of a split model any of its files, the others are found by
 * the naming rule (-00001-of-0000N.gguf), never by what the file says.
 * On success *out has one reference. Errors: all codes of HARDENING G and T. */
int wn_gguf_open(const char *path, wn_gguf **out, wn_err *e);
/* The same for one file alone, even when it is one of a split. */
int wn_gguf_open_one(const char *path, wn_gguf **out, wn_err *e);
/* Opens a file to be looked at (one: alone): tensors of types that wane does
 * not know are listed, with row_bytes 0 and `bytes` up to the next tensor.
 * When there are some, wn_gguf_strangers is true, and nothing but their raw
 * bytes can be had: model, stream and decoders refuse such a wn_gguf. */
int wn_gguf_look(const char *path, bool one, wn_gguf **out, wn_err *e);
bool wn_gguf_strangers(const wn_gguf *g);
/* A GGUF image in memory, which must outlive g; for tests and fuzzing. */
int wn_gguf_open_memory(const void *image, size_t n, wn_gguf **out, wn_err *e);
wn_gguf *wn_gguf_ref(wn_gguf *g);
void wn_gguf_unref(wn_gguf *g);

const char *wn_gguf_path(const wn_gguf *g);
uint32_t wn_gguf_version(const wn_gguf *g);
uint64_t wn_gguf_alignment(const wn_gguf *g);
uint32_t wn_gguf_n_shards(const wn_gguf *g);
const char *wn_gguf_shard_path(const wn_gguf *g, uint32_t shard);
uint64_t wn_gguf_file_bytes(const wn_gguf *g, uint32_t shard);
uint64_t wn_gguf_data_off(const wn_gguf *g, uint32_t shard);
/* Bytes up to the end of the tensor list, before any padding. */
uint64_t wn_gguf_header_bytes(const wn_gguf *g, uint32_t shard);
/* Device and inode, for the test "is the output one of my inputs". */
wn_file_id wn_gguf_file_id(const wn_gguf *g, uint32_t shard);
/* Metadata of any file of a split (wn_gguf_kv: of the first). */
size_t wn_gguf_shard_n_kv(const wn_gguf *g, uint32_t shard);
const wn_kv *wn_gguf_shard_kv(const wn_gguf *g, uint32_t shard, size_t i);

size_t wn_gguf_n_kv(const wn_gguf *g); /* of the first file */
const wn_kv *wn_gguf_kv(const wn_gguf *g, size_t i);
const wn_kv *wn_gguf_find_kv(const wn_gguf *g, const char *key, size_t n);
size_t wn_gguf_n_tensors(const wn_gguf *g); /* of all files, in file order */
const wn_tensor *wn_gguf_tensor(const wn_gguf *g, size_t i);
const wn_tensor *wn_gguf_find_tensor(const wn_gguf *g, const char *name,
                                     size_t n);

/* Typed getters for readers of metadata. They store the value and return
 * WN_OK; a missing key gives WN_ENOENT without a message (so that the caller
 * may use its default), a key of another type WN_EFORMAT "key k is i8, want
 * u32". Integers of any width and sign convert when the value fits. */
int wn_gguf_get_u64(const wn_gguf *g, const char *key, uint64_t *v, wn_err *e);
int wn_gguf_get_f32(const wn_gguf *g, const char *key, float *v, wn_err *e);
int wn_gguf_get_bool(const wn_gguf *g, const char *key, bool *v, wn_err *e);
int wn_gguf_get_str(const wn_gguf *g, const char *key, wn_str *v, wn_err *e);
/* The array of `elem` type (WN_KV_*); *count elements at *data. */
int wn_gguf_get_array(const wn_gguf *g, const char *key, int elem,
                      uint64_t *count, const uint8_t **data, wn_err *e);

/* Reads n bytes of tensor t from byte `off` of its data. Thread safe. */
int wn_gguf_read(const wn_gguf *g, const wn_tensor *t, uint64_t off, void *buf,
                 size_t n, wn_err *e);
/* Reads n bytes at `off` of file `shard`. Thread safe. */
int wn_gguf_read_file(const wn_gguf *g, uint32_t shard, uint64_t off, void *buf,
                      size_t n, wn_err *e);

/* Maps all files (once; counted with the wn_gguf). Fails with WN_EIO where
 * mapping is refused; the caller then reads. */
int wn_gguf_map(wn_gguf *g, wn_err *e);
/* The mapped bytes of t, or NULL when not mapped. */
const void *wn_gguf_data(const wn_gguf *g, const wn_tensor *t);
/* WN_OK, or WN_ECHANGED when a mapped file shrank or was rewritten. Cheap:
 * a flag test; with `full` also size, mtime and ctime of each file. */
int wn_gguf_check(const wn_gguf *g, bool full, wn_err *e);

#endif
