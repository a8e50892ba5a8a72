/* types.c - see types.h. */
#include "gguf/types.h"

#include <stddef.h>

#include "base/arith.h"

#define WN_CLASS_OF(class) WN_CLASS_##class

static const wn_type_info infos[WN_N_TYPE_IDS] = {
#define X(ID, id, name, block, bytes, class) \
  [id] = {name, block, bytes, WN_CLASS_OF(class)},
#include "gguf/types.def"
#undef X
};

/* Every row is a type whose id is inside the table and whose block is whole. */
#define X(ID, id, name, block, bytes, class)                                \
  _Static_assert(id >= 0 && id < WN_N_TYPE_IDS && block > 0 && bytes > 0 && \
                     (block & (block - 1)) == 0,                            \
                 "row of types.def: " name);
#include "gguf/types.def"
#undef X

const wn_type_info *wn_type(int64_t id) {
  if (id < 0 || id >= WN_N_TYPE_IDS || infos[id].name == NULL) return NULL;
  return &infos[id];
}

static int lower(int c) {
  return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static bool same_name(const char *a, const char *b) {
  while (*a != 0 && lower(*a) == lower(*b))
    a++, b++;
  return *a == 0 && *b == 0;
}

int wn_type_of_name(const char *name) {
  for (int i = 0; i < WN_N_TYPE_IDS; i++)
    if (infos[i].name != NULL && same_name(infos[i].name, name)) return i;
  return -1;
}

int wn_row_bytes(int64_t type, uint64_t n, uint64_t *bytes, wn_err *e) {
  const wn_type_info *t = wn_type(type);
  if (t == NULL && type >= 0 && type < WN_N_TYPE_IDS)
    return wn_fail(e, WN_EUNSUP, "type %d was removed", (int)type);
  if (t == NULL)
    return wn_fail(e, WN_EUNSUP, "type %lld is unknown", (long long)type);
  if (n % t->block != 0)
    return wn_fail(e, WN_EFORMAT,
                   "row has %llu values, want a multiple of %u for %s",
                   (unsigned long long)n, t->block, t->name);
  if (!wn_mul(n / t->block, t->bytes, bytes))
    return wn_fail(e, WN_ELIMIT, "row of %llu values is too long",
                   (unsigned long long)n);
  return WN_OK;
}
