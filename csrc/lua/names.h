/* lua/names.h - a list of names as C strings in a userdata, read before
 * anything is allocated by us. */
#ifndef WN_LUA_NAMES_H
#define WN_LUA_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct wn_names {
  size_t n;
  const char *name[];
} wn_names;

/* Is it one of them? `arg` is the list. */
static inline bool wn_is_named(void *arg, const char *name) {
  const wn_names *list = arg;
  for (size_t i = 0; i < list->n; i++)
    if (strcmp(list->name[i], name) == 0) return true;
  return false;
}

#endif
