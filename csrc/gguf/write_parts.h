/* write_parts.h - what layout.c and write.c share: the inside of a layout. */
#ifndef WN_GGUF_WRITE_PARTS_H
#define WN_GGUF_WRITE_PARTS_H

#include <stdatomic.h>

#include "gguf/write.h"

typedef struct wn_image {
  uint8_t *p;
  size_t n, cap;
} wn_image;

/* One file of a layout; kvs: its metadata as it will be written. */
typedef struct wn_part {
  wn_layout_file file;
  wn_image kvs;
  uint64_t n_kv;
} wn_part;

struct wn_layout {
  atomic_int refs;
  uint32_t version;
  uint64_t alignment;
  wn_tensor *tensors;
  char *names; /* the tensors' names, one after the other */
  size_t n;
  wn_part *parts;
  size_t n_files;
  wn_gguf *like; /* whose padding is kept, or NULL */
};

#endif
