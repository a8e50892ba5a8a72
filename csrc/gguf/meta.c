/* meta.c - an ordered, editable list of metadata: see write.h.
 *
 * An entry is a parsed wn_kv. Its bytes belong to the file it was copied
 * from (which the list keeps alive) or to a block of its own. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"
#include "gguf/write.h"

typedef struct entry {
  wn_kv kv;     /* first: the index wants the key there */
  uint8_t *own; /* key and value bytes, or NULL: in a file's image */
} entry;

struct wn_meta {
  entry *items;
  size_t n, cap;
  wn_index index; /* of keys; stale after a removal */
  bool stale;
  wn_gguf **files;
  size_t n_files;
};

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "out of memory");
}

int wn_meta_new(wn_meta **out, wn_err *e) {
  wn_meta *m = wn_calloc(WN_MEM_GGUF, 1, sizeof *m);
  if (m == NULL) return no_memory(e);
  int rc = wn_index_init(&m->index, 64, e);
  if (rc != WN_OK)
    wn_free(m);
  else
    *out = m;
  return rc;
}

void wn_meta_free(wn_meta *m) {
  if (m == NULL) return;
  for (size_t i = 0; i < m->n; i++)
    wn_free(m->items[i].own);
  for (size_t i = 0; i < m->n_files; i++)
    wn_gguf_unref(m->files[i]);
  wn_index_free(&m->index);
  wn_free(m->files);
  wn_free(m->items);
  wn_free(m);
}

static int add_to_index(wn_meta *m, size_t i, wn_err *e) {
  size_t dup;
  return wn_index_add(&m->index, m->items, sizeof *m->items, i, &dup, e);
}

static int refresh_index(wn_meta *m, wn_err *e) {
  if (!m->stale) return WN_OK;
  wn_index_free(&m->index);
  int rc = wn_index_init(&m->index, m->n, e);
  for (size_t i = 0; i < m->n && rc == WN_OK; i++)
    rc = add_to_index(m, i, e);
  if (rc == WN_OK) m->stale = false;
  return rc;
}

/* Position of a key or SIZE_MAX, also while the index is stale. */
static size_t find(const wn_meta *m, const char *key, size_t n) {
  if (!m->stale)
    return wn_index_find(&m->index, m->items, sizeof *m->items, key, n);
  for (size_t i = 0; i < m->n; i++) {
    const wn_str *k = &m->items[i].kv.key;
    if (k->n == n && memcmp(k->p, key, n) == 0) return i;
  }
  return SIZE_MAX;
}

/* Puts an entry in the place of its key, or last. The list owns it only when
 * this succeeds. */
static int put(wn_meta *m, const entry *x, wn_err *e) {
  int rc = refresh_index(m, e);
  if (rc != WN_OK) return rc;
  size_t i = find(m, x->kv.key.p, x->kv.key.n);
  if (i != SIZE_MAX) {
    wn_free(m->items[i].own);
    m->items[i] = *x;
    return WN_OK;
  }
  if (m->n >= (size_t)WN_MAX_KEYS)
    return wn_fail(e, WN_ELIMIT, "metadata has more than %lld keys",
                   (long long)WN_MAX_KEYS);
  if (m->n == m->cap) {
    size_t cap = m->cap == 0 ? 32 : 2 * m->cap;
    entry *items = wn_realloc(WN_MEM_GGUF, m->items, cap * sizeof *items);
    if (items == NULL) return no_memory(e);
    m->items = items;
    m->cap = cap;
  }
  m->items[m->n] = *x;
  if ((rc = add_to_index(m, m->n, e)) == WN_OK) m->n++;
  return rc;
}

int wn_meta_copy(wn_meta *m, wn_gguf *g, uint32_t shard, wn_err *e) {
  size_t n = m->n_files + 1;
  wn_gguf **files = wn_realloc(WN_MEM_GGUF, m->files, n * sizeof(wn_gguf *));
  if (files == NULL) return no_memory(e);
  m->files = files;
  m->files[m->n_files++] = wn_gguf_ref(g);
  for (size_t i = 0; i < wn_gguf_shard_n_kv(g, shard); i++) {
    entry x = {*wn_gguf_shard_kv(g, shard, i), NULL};
    int rc = put(m, &x, e);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}

size_t wn_meta_n(const wn_meta *m) {
  return m->n;
}

const wn_kv *wn_meta_kv(const wn_meta *m, size_t i) {
  return &m->items[i].kv;
}

const wn_kv *wn_meta_find(const wn_meta *m, const char *key, size_t n) {
  size_t i = find(m, key, n);
  return i == SIZE_MAX ? NULL : &m->items[i].kv;
}

/* Runs the reader's parser over the bytes of one value; kv's pointers then
 * point into s->img, which the caller frees. */
static int parse_value(int type, const void *value, size_t n, wn_shard *s,
                       wn_kv *kv, wn_err *e) {
  wn_gguf file;
  wn_err inner = {0};
  memset(&file, 0, sizeof file);
  memset(s, 0, sizeof *s);
  memset(kv, 0, sizeof *kv);
  s->fd = -1;
  s->mem = value;
  s->bytes = n;
  file.shards = s;
  file.n_shards = 1;
  wn_parse p = {.g = &file, .s = s, .e = &inner};
  p.where.what = "value";
  int rc = wn_parse_value(&p, (uint32_t)type, kv);
  if (rc == WN_OK && p.at != n)
    rc = wn_parse_fail(&p, WN_EFORMAT, "has %zu bytes, want %zu", n, p.at);
  if (rc != WN_OK) wn_fail(e, rc, "%s", inner.msg);
  return rc;
}

/* Copies key and value into one block and points the entry there. `img` is
 * where kv's pointers point now. */
static int own_bytes(entry *x, const char *key, size_t key_n, const void *value,
                     const uint8_t *img, wn_err *e) {
  wn_kv *kv = &x->kv;
  x->own = wn_alloc(WN_MEM_GGUF, key_n + kv->raw_bytes);
  if (x->own == NULL) return no_memory(e);
  uint8_t *raw = x->own + key_n;
  memcpy(x->own, key, key_n);
  memcpy(raw, value, kv->raw_bytes);
  kv->key.p = (const char *)x->own;
  kv->key.n = key_n;
  kv->raw = raw;
  if (kv->data != NULL) kv->data = raw + (kv->data - img);
  if (kv->str.p != NULL)
    kv->str.p = (const char *)raw + (kv->str.p - (const char *)img);
  return WN_OK;
}

int wn_meta_set(wn_meta *m, const char *key, size_t key_n, int type,
                const void *value, size_t value_n, wn_err *e) {
  wn_shard s;
  entry x = {.own = NULL};
  char name[80];
  int rc = wn_name_check(key, key_n, WN_MAX_KEY_BYTES, "key", e);
  if (rc != WN_OK) return rc;
  rc = parse_value(type, value, value_n, &s, &x.kv, e);
  if (rc == WN_OK) rc = own_bytes(&x, key, key_n, value, s.img, e);
  wn_free(s.img);
  if (rc == WN_OK) rc = put(m, &x, e);
  if (rc != WN_OK) {
    wn_free(x.own);
    wn_fail_in(e, wn_printable(name, sizeof name, key, key_n));
  }
  return rc;
}

/* A scalar of n bytes, little-endian from the low end of v. */
static int set_scalar(wn_meta *m, const char *key, int type, uint64_t v,
                      size_t n, wn_err *e) {
  uint8_t b[8];
  for (size_t i = 0; i < 8; i++)
    b[i] = (uint8_t)(v >> (8 * i));
  return wn_meta_set(m, key, strlen(key), type, b, n, e);
}

int wn_meta_set_u16(wn_meta *m, const char *key, uint16_t v, wn_err *e) {
  return set_scalar(m, key, WN_KV_U16, v, 2, e);
}

int wn_meta_set_u32(wn_meta *m, const char *key, uint32_t v, wn_err *e) {
  return set_scalar(m, key, WN_KV_U32, v, 4, e);
}

int wn_meta_set_i32(wn_meta *m, const char *key, int32_t v, wn_err *e) {
  return set_scalar(m, key, WN_KV_I32, (uint32_t)v, 4, e);
}

int wn_meta_set_u64(wn_meta *m, const char *key, uint64_t v, wn_err *e) {
  return set_scalar(m, key, WN_KV_U64, v, 8, e);
}

int wn_meta_set_f32(wn_meta *m, const char *key, float v, wn_err *e) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  return set_scalar(m, key, WN_KV_F32, bits, 4, e);
}

int wn_meta_set_bool(wn_meta *m, const char *key, bool v, wn_err *e) {
  return set_scalar(m, key, WN_KV_BOOL, v, 1, e);
}

int wn_meta_set_str(wn_meta *m, const char *key, const char *s, size_t n,
                    wn_err *e) {
  if (n > (size_t)WN_MAX_STRING_BYTES)
    return wn_fail(e, WN_ELIMIT, "%s: string has %zu bytes, want at most %lld",
                   key, n, (long long)WN_MAX_STRING_BYTES);
  uint8_t *b = wn_alloc(WN_MEM_GGUF, n + 8);
  if (b == NULL) return no_memory(e);
  for (size_t i = 0; i < 8; i++)
    b[i] = (uint8_t)((uint64_t)n >> (8 * i));
  memcpy(b + 8, s, n);
  int rc = wn_meta_set(m, key, strlen(key), WN_KV_STRING, b, n + 8, e);
  wn_free(b);
  return rc;
}

bool wn_meta_remove(wn_meta *m, const char *key, size_t n) {
  size_t i = find(m, key, n);
  if (i == SIZE_MAX) return false;
  wn_free(m->items[i].own);
  memmove(m->items + i, m->items + i + 1, (m->n - i - 1) * sizeof *m->items);
  m->n--;
  m->stale = true;
  return true;
}
