/* types.h - facts about tensor types, from types.def. */
#ifndef WN_GGUF_TYPES_H
#define WN_GGUF_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
#define X(ID, id, name, block, bytes, class) WN_TYPE_##ID = id,
#include "gguf/types.def"
#undef X
  WN_N_TYPE_IDS = 43 /* one past the highest id */
};

typedef enum wn_class {
  WN_CLASS_NONE,
  WN_CLASS_PLAIN,
  WN_CLASS_QUANT,
  WN_CLASS_ACT
} wn_class;

typedef struct wn_type_info {
  const char *name; /* NULL: there is no such type */
  uint32_t block;   /* values per block */
  uint32_t bytes;   /* bytes per block */
  wn_class class;
} wn_type_info;

/* Facts of type `id`, or NULL when no such type exists. */
const wn_type_info *wn_type(int64_t id);

/* The id of a name (case does not matter: "Q4_K" = "q4_k"), or -1. */
int wn_type_of_name(const char *name);

/* Bytes of a row of n values: checked; fails with WN_EFORMAT when n is not a
 * multiple of the block, WN_EUNSUP for an unknown type. */
int wn_row_bytes(int64_t type, uint64_t n, uint64_t *bytes, wn_err *e);

#endif
