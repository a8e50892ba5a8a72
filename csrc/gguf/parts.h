/* parts.h - what the files of csrc/gguf share and nobody else sees.
 *
 * Parsing works on an image of the header that grows by reading on demand, so
 * that memory follows the bytes that are really there, never a number in
 * the file. When the image moves, the records that point into it move along
 * (wn_image_need). */
#ifndef WN_GGUF_PARTS_H
#define WN_GGUF_PARTS_H

#include <stdatomic.h>

#include "gguf/gguf.h"
#include "gguf/index.h"

/* One file of a model. */
typedef struct wn_shard {
  char *path;
  int fd;             /* -1: in memory */
  const uint8_t *mem; /* the whole file, when fd is -1 */
  uint64_t bytes;     /* size when it was opened */
  struct stat st;     /* ditto */
  uint32_t version;
  uint64_t alignment, header_bytes, data_off;
  uint8_t *img; /* the header's bytes; keys and names point into it */
  size_t img_n, img_cap;
  wn_kv *kvs;
  size_t n_kv;
  wn_index kv_index;
  size_t first, n_tensors; /* in wn_gguf.tensors */
  const uint8_t *map;      /* the whole file, or NULL */
  int guard;               /* slot of the guard while mapped */
} wn_shard;

struct wn_gguf {
  atomic_int refs;
  char *path; /* as given to open */
  wn_shard *shards;
  uint32_t n_shards;
  wn_tensor *tensors; /* of all files */
  size_t n_tensors, cap_tensors;
  wn_index tensor_index;
  bool mapped;
  bool look;      /* types that nobody knows are let through ... */
  bool strangers; /* ... and some are there */
};

/* Which record is being parsed: for messages. */
typedef struct wn_where {
  const char *what; /* "header", "key", "tensor" */
  uint64_t number;  /* 1-based */
  size_t name_off, name_n;
  bool named;
} wn_where;

typedef struct wn_parse {
  wn_gguf *g;
  wn_shard *s;
  size_t at; /* next byte of the image */
  uint64_t n_kv, n_tensors;
  wn_where where;
  wn_err *e;
} wn_parse;

/* Loads the image up to at + n. WN_ETRUNC when the file is shorter, WN_ELIMIT
 * beyond WN_MAX_HEADER_BYTES, WN_ENOMEM, WN_EIO. */
int wn_image_need(wn_parse *p, uint64_t n);

/* Fills p->e with "where: message" and returns the code. */
int wn_parse_fail(wn_parse *p, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Little-endian numbers at the cursor; WN_ETRUNC where they do not fit. */
int wn_take_u32(wn_parse *p, uint32_t *v);
int wn_take_u64(wn_parse *p, uint64_t *v);

/* A key or tensor name at the cursor, checked; p->where remembers it. */
int wn_take_name(wn_parse *p, int64_t max, const char *what);

/* The parsers of the two lists (kv.c, tensor.c); the cursor stands at the
 * first record. wn_parse_kv parses the value of type `type` at the cursor
 * into kv (pointers into the image). */
int wn_parse_kvs(wn_parse *p);
int wn_parse_value(wn_parse *p, uint32_t type, wn_kv *kv);
int wn_parse_tensors(wn_parse *p);
int wn_place_tensors(wn_parse *p);

/* Checks of one tensor's facts, shared with the writer: fills n_rows,
 * row_bytes, bytes from type, n_dims, ne. Plain messages. */
int wn_tensor_check(wn_tensor *t, wn_err *e);
/* "dimension 1 is 0" and friends belong to wn_tensor_check; this one checks a
 * name or key: length, NUL, UTF-8. `what` is "key" or "tensor name". */
int wn_name_check(const char *p, size_t n, int64_t max, const char *what,
                  wn_err *e);
/* The value of general.alignment in kv, or an error. */
int wn_alignment_of(const wn_kv *kv, uint64_t *alignment, wn_err *e);
/* Bytes of a scalar of metadata type t; 0 for strings, arrays, unknown. */
size_t wn_kv_scalar_bytes(uint32_t t);
/* "u8", ..., "?" */
const char *wn_kv_type_name(int64_t t);

/* Parses one file that is open in s (its index in g is `shard`). */
int wn_parse_file(wn_gguf *g, uint32_t shard, wn_err *e);

/* shards.c: parses "-00002-of-00005.gguf" at the end of path. */
bool wn_shard_name_parse(const char *path, uint32_t *no, uint32_t *count,
                         size_t *stem);
int wn_shard_name_make(const char *path, size_t stem, uint32_t no,
                       uint32_t count, char *buf, size_t cap);
int wn_shard_open(wn_shard *s, const char *path, wn_err *e);
void wn_shard_close(wn_shard *s);

/* map.c */
void wn_shard_unmap(wn_shard *s);

/* little-endian loads from unaligned bytes */
static inline uint32_t wn_le32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
         (uint32_t)p[3] << 24;
}
static inline uint64_t wn_le64(const uint8_t *p) {
  return wn_le32(p) | (uint64_t)wn_le32(p + 4) << 32;
}

#endif
