/* map.c - the hash of strings, the table over it, and lists of ids. */
#include "text/parts.h"

/* MurmurHash64A as the C++ library of llama.cpp's builds uses it for strings:
 * order.c needs the same numbers, everything else only a good hash. */
uint64_t wn_hash(const void *p, size_t n) {
  const uint64_t mul = UINT64_C(0xC6A4A7935BD1E995);
  const uint8_t *s = p;
  uint64_t h = UINT64_C(0xC70F6907) ^ (uint64_t)n * mul, d = 0;
  for (; n >= 8; n -= 8, s += 8) {
    memcpy(&d, s, 8);
    d *= mul;
    h = (h ^ (d ^ d >> 47) * mul) * mul;
  }
  if (n > 0) {
    d = 0;
    for (size_t i = n; i-- > 0;)
      d = d << 8 | s[i];
    h = (h ^ d) * mul;
  }
  h = (h ^ h >> 47) * mul;
  return h ^ h >> 47;
}

static wn_str string_of(const wn_map *m, uint32_t id) {
  return id < m->n_low ? wn_str_at(m->low, id)
                       : wn_str_at(m->high, id - m->n_low);
}

static uint32_t fold(uint64_t h) {
  return (uint32_t)(h ^ h >> 32);
}

int wn_map_init(wn_map *m, size_t n, wn_err *e) {
  uint64_t slots = 64;
  while (slots < 2 * (uint64_t)n)
    slots *= 2;
  m->slot = wn_alloc(WN_MEM_TEXT, (size_t)slots * sizeof *m->slot);
  if (m->slot == NULL) return wn_oom(e);
  memset(m->slot, 0xFF, (size_t)slots * sizeof *m->slot);
  m->mask = slots - 1;
  m->n = 0;
  return WN_OK;
}

/* Doubles the table. */
static int grow(wn_map *m, wn_err *e) {
  wn_map old = *m;
  uint32_t n = m->n;
  int rc = wn_map_init(m, (size_t)old.mask + 1, e);
  if (rc != WN_OK) {
    *m = old; /* the caller frees the table it had */
    return rc;
  }
  for (uint64_t i = 0; i <= old.mask; i++) {
    if (old.slot[i].id == WN_NONE) continue;
    uint64_t k = old.slot[i].hash & m->mask;
    while (m->slot[k].id != WN_NONE)
      k = (k + 1) & m->mask;
    m->slot[k] = old.slot[i];
  }
  m->n = n;
  wn_free(old.slot);
  return WN_OK;
}

uint32_t wn_map_get_hash(const wn_map *m, const void *p, size_t n, uint64_t h) {
  uint32_t hash = fold(h);
  for (uint64_t i = hash & m->mask; m->slot[i].id != WN_NONE;
       i = (i + 1) & m->mask) {
    if (m->slot[i].hash != hash) continue;
    wn_str t = string_of(m, m->slot[i].id);
    if (t.n == n && memcmp(t.p, p, n) == 0) return m->slot[i].id;
  }
  return WN_NONE;
}

uint32_t wn_map_get(const wn_map *m, const void *p, size_t n) {
  return wn_map_get_hash(m, p, n, wn_hash(p, n));
}

/* Honest strings never come near this many steps in a half-empty table. */
enum { MAX_STEPS = 4096 };

int wn_map_put(wn_map *m, uint32_t id, bool last, uint32_t *was, wn_err *e) {
  if (2 * ((uint64_t)m->n + 1) > m->mask) {
    int rc = grow(m, e);
    if (rc != WN_OK) return rc;
  }
  wn_str s = string_of(m, id);
  uint32_t hash = fold(wn_hash(s.p, s.n)), steps = 0;
  uint64_t i = hash & m->mask;
  for (; m->slot[i].id != WN_NONE; i = (i + 1) & m->mask) {
    if (++steps > MAX_STEPS)
      return wn_fail(e, WN_EFORMAT,
                     "token texts were chosen to collide in a hash table");
    if (m->slot[i].hash != hash) continue;
    wn_str t = string_of(m, m->slot[i].id);
    if (t.n != s.n || memcmp(t.p, s.p, s.n) != 0) continue;
    if (was != NULL) *was = m->slot[i].id;
    if (last) m->slot[i].id = id;
    return WN_OK;
  }
  m->slot[i] = (wn_map_slot){hash, id};
  m->n++;
  if (was != NULL) *was = WN_NONE;
  return WN_OK;
}

bool wn_ids_reserve(wn_ids *ids, size_t more) {
  if (ids->cap - ids->n >= more) return true;
  size_t cap = ids->cap + ids->cap / 2 + more + 16;
  int32_t *p = wn_realloc(WN_MEM_TEXT, ids->p, cap * sizeof *p);
  if (p == NULL) return false;
  ids->p = p;
  ids->cap = cap;
  return true;
}

bool wn_ids_push(wn_ids *ids, int32_t id) {
  if (ids->n == ids->cap && !wn_ids_reserve(ids, 1)) return false;
  ids->p[ids->n++] = id;
  return true;
}
