/* layout.c - which tensor goes where, and the header bytes: see write.h.
 *
 * The metadata of every file is kept as the bytes that will be written, so
 * that a layout depends on nothing but itself and `like`. */
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"
#include "gguf/write_parts.h"

/* --- bytes --------------------------------------------------------------- */

static bool room(wn_image *b, size_t n) {
  if (n <= b->cap - b->n) return true;
  size_t cap = b->cap * 2 > b->n + n ? b->cap * 2 : b->n + n;
  uint8_t *p = wn_realloc(WN_MEM_GGUF, b->p, cap);
  if (p == NULL) return false;
  b->p = p;
  b->cap = cap;
  return true;
}

static bool append(wn_image *b, const void *p, size_t n) {
  if (!room(b, n)) return false;
  if (n > 0) memcpy(b->p + b->n, p, n);
  b->n += n;
  return true;
}

/* The low n bytes of v, little-endian. */
static bool append_int(wn_image *b, uint64_t v, size_t n) {
  uint8_t le[8];
  for (size_t i = 0; i < 8; i++)
    le[i] = (uint8_t)(v >> (8 * i));
  return append(b, le, n);
}

static bool append_str(wn_image *b, const char *p, size_t n) {
  return append_int(b, n, 8) && append(b, p, n);
}

static bool append_kv(wn_image *b, const wn_kv *kv) {
  return append_str(b, kv->key.p, kv->key.n) &&
         append_int(b, (uint32_t)kv->type, 4) &&
         append(b, kv->raw, kv->raw_bytes);
}

/* --- metadata of each file ----------------------------------------------- */

/* The keys that tell the files of a split apart. */
enum { SPLIT_NO, SPLIT_COUNT, SPLIT_TENSORS, N_SPLIT_KEYS };
static const struct {
  const char *key;
  int type;
  size_t bytes;
} split_keys[N_SPLIT_KEYS] = {{"split.no", WN_KV_U16, 2},
                              {"split.count", WN_KV_U16, 2},
                              {"split.tensors.count", WN_KV_I32, 4}};

static uint64_t split_value(const wn_layout *l, int which, size_t k) {
  return which == SPLIT_NO ? k : which == SPLIT_COUNT ? l->n_files : l->n;
}

static int split_key_of(const wn_kv *kv) {
  for (int i = 0; i < N_SPLIT_KEYS; i++)
    if (kv->key.n == strlen(split_keys[i].key) &&
        memcmp(kv->key.p, split_keys[i].key, kv->key.n) == 0)
      return i;
  return -1;
}

static bool append_split_key(wn_layout *l, wn_part *f, int which, size_t k) {
  const char *key = split_keys[which].key;
  f->n_kv++;
  return append_str(&f->kvs, key, strlen(key)) &&
         append_int(&f->kvs, (uint64_t)split_keys[which].type, 4) &&
         append_int(&f->kvs, split_value(l, which, k), split_keys[which].bytes);
}

/* One key of the first file. A split.* key keeps its place and, when its
 * value is right, its bytes; it is dropped when there is no split. */
static bool append_first(wn_layout *l, wn_part *f, const wn_kv *kv,
                         bool seen[N_SPLIT_KEYS]) {
  int which = split_key_of(kv);
  if (which >= 0 && l->n_files == 1) return true;
  if (which >= 0) {
    seen[which] = true;
    bool integer = wn_kv_scalar_bytes((uint32_t)kv->type) > 1 &&
                   kv->type != WN_KV_F32 && kv->type != WN_KV_F64;
    if (!integer || kv->num.u != split_value(l, which, 0))
      return append_split_key(l, f, which, 0);
  }
  f->n_kv++;
  return append_kv(&f->kvs, kv);
}

static bool first_metadata(wn_layout *l, const wn_meta *m) {
  bool seen[N_SPLIT_KEYS] = {false}, ok = true;
  wn_part *f = &l->parts[0];
  for (size_t i = 0; i < wn_meta_n(m) && ok; i++)
    ok = append_first(l, f, wn_meta_kv(m, i), seen);
  for (int i = 0; i < N_SPLIT_KEYS && l->n_files > 1 && ok; i++)
    if (!seen[i]) ok = append_split_key(l, f, i, 0);
  return ok;
}

/* Later files: what the file in `like` has, else the alignment if it is set,
 * and the split.* keys. */
static bool later_metadata(wn_layout *l, const wn_meta *m, size_t k) {
  wn_part *f = &l->parts[k];
  bool ok = true;
  if (l->like != NULL) {
    uint32_t shard = (uint32_t)k;
    f->n_kv = wn_gguf_shard_n_kv(l->like, shard);
    for (size_t i = 0; i < f->n_kv && ok; i++)
      ok = append_kv(&f->kvs, wn_gguf_shard_kv(l->like, shard, i));
    return ok;
  }
  const wn_kv *a = wn_meta_find(m, "general.alignment", 17);
  if (a != NULL) {
    f->n_kv++;
    ok = append_kv(&f->kvs, a);
  }
  for (int i = 0; i < N_SPLIT_KEYS && ok; i++)
    ok = append_split_key(l, f, i, k);
  return ok;
}

static int make_metadata(wn_layout *l, const wn_meta *m, wn_err *e) {
  bool ok = first_metadata(l, m);
  for (size_t k = 1; k < l->n_files && ok; k++)
    ok = later_metadata(l, m, k);
  return ok ? WN_OK : wn_fail(e, WN_ENOMEM, "out of memory");
}

/* --- tensors ------------------------------------------------------------- */

/* Copies the list: facts checked, names in one block, no name twice. */
static int copy_tensors(wn_layout *l, const wn_tensor *tensors, size_t n,
                        wn_err *e) {
  wn_index index = {0};
  size_t at = 0, names = 0, dup = SIZE_MAX;
  char text[80] = "";
  int rc = wn_index_init(&index, n, e);
  for (size_t i = 0; i < n && rc == WN_OK; i++) {
    const wn_str *s = &tensors[i].name;
    rc = wn_name_check(s->p, s->n, WN_MAX_NAME_BYTES, "tensor name", e);
    if (rc == WN_OK && s->n > (size_t)WN_MAX_OUT_NAME_BYTES)
      rc = wn_fail(e, WN_ELIMIT,
                   "tensor name '%s' has %zu bytes, but llama.cpp reads at "
                   "most %lld: rename it",
                   wn_printable(text, sizeof text, s->p, s->n), s->n,
                   (long long)WN_MAX_OUT_NAME_BYTES);
    names += s->n;
  }
  if (rc != WN_OK) goto done;
  l->tensors = wn_calloc(WN_MEM_GGUF, n, sizeof *l->tensors);
  l->names = wn_alloc(WN_MEM_GGUF, names);
  if (l->tensors == NULL || l->names == NULL) {
    rc = wn_fail(e, WN_ENOMEM, "out of memory");
    goto done;
  }
  for (size_t i = 0; i < n && rc == WN_OK; i++) {
    wn_tensor *t = &l->tensors[i];
    *t = tensors[i];
    for (uint32_t d = t->n_dims; d < 4; d++)
      t->ne[d] = 1;
    memcpy(l->names + at, t->name.p, t->name.n);
    t->name.p = l->names + at;
    at += t->name.n;
    wn_printable(text, sizeof text, t->name.p, t->name.n);
    if ((rc = wn_tensor_check(t, e)) == WN_OK)
      rc = wn_index_add(&index, l->tensors, sizeof *t, i, &dup, e);
    if (rc == WN_OK && dup != SIZE_MAX)
      rc = wn_fail(e, WN_EFORMAT, "has the same name as tensor %zu", dup + 1);
    if (rc != WN_OK) wn_fail_in(e, text);
  }
  l->n = n;
done:
  wn_index_free(&index);
  return rc;
}

/* Deals tensors out to files; each tensor's `shard` is set. */
static int deal(wn_layout *l, const wn_layout_opts *o, wn_err *e) {
  uint64_t bytes = 0, count = 0, padded = 0;
  uint32_t file = 0;
  for (size_t i = 0; i < l->n; i++) {
    wn_tensor *t = &l->tensors[i];
    if (!wn_pad(t->bytes, l->alignment, &padded))
      return wn_fail(e, WN_ELIMIT, "a tensor is too long");
    if (o->by_shard) {
      if (t->shard < file || t->shard >= (uint32_t)WN_MAX_SHARDS)
        return wn_fail(e, WN_EARG, "tensor %zu: file numbers must not decrease",
                       i + 1);
      file = t->shard;
      continue;
    }
    bool full = (o->split_tensors != 0 && count == o->split_tensors) ||
                (o->split_bytes != 0 && count > 0 &&
                 (padded > o->split_bytes || bytes > o->split_bytes - padded));
    if (full) file++, bytes = 0, count = 0;
    if (!wn_add(bytes, padded, &bytes))
      return wn_fail(e, WN_ELIMIT, "the tensors are too long");
    count++;
    t->shard = file;
  }
  l->n_files = (size_t)file + 1;
  if (o->by_shard && o->n_files > l->n_files) l->n_files = o->n_files;
  if (l->like != NULL) l->n_files = wn_gguf_n_shards(l->like);
  if (l->n_files > (size_t)WN_MAX_SHARDS || file >= l->n_files)
    return wn_fail(e, WN_ELIMIT, "%u files, want at most %zu", file + 1,
                   l->like != NULL ? l->n_files : (size_t)WN_MAX_SHARDS);
  return WN_OK;
}

/* --- offsets ------------------------------------------------------------- */

static uint64_t tensor_record_bytes(const wn_tensor *t) {
  return 8 + t->name.n + 4 + 8 * (uint64_t)t->n_dims + 4 + 8;
}

/* Offsets of the tensors of file k, and its size. */
static int place(wn_layout *l, size_t k, wn_err *e) {
  wn_layout_file *f = &l->parts[k].file;
  uint64_t at, header = 24 + (uint64_t)l->parts[k].kvs.n;
  for (size_t i = 0; i < f->n_tensors; i++)
    header += tensor_record_bytes(&l->tensors[f->first + i]);
  if (header > (uint64_t)WN_MAX_HEADER_BYTES)
    return wn_fail(e, WN_ELIMIT, "header is longer than %lld bytes",
                   (long long)WN_MAX_HEADER_BYTES);
  f->header_bytes = header;
  if (!wn_pad(header, l->alignment, &at)) at = header; /* cannot be */
  f->data_off = at;
  for (size_t i = 0; i < f->n_tensors; i++) {
    wn_tensor *t = &l->tensors[f->first + i];
    t->off = at;
    if (!wn_add(at, t->bytes, &at) || !wn_pad(at, l->alignment, &at) ||
        at > INT64_MAX)
      return wn_fail(e, WN_ELIMIT, "file is too long");
  }
  f->bytes = at;
  return WN_OK;
}

/* The file keeps what `like` has after its last tensor. Its tensors must be
 * ours: same types and shapes in the same order. */
static int follow(wn_layout *l, size_t k, wn_err *e) {
  uint32_t shard = (uint32_t)k;
  wn_layout_file *f = &l->parts[k].file;
  uint64_t was = wn_gguf_file_bytes(l->like, shard);
  uint64_t header = wn_gguf_header_bytes(l->like, shard);
  uint64_t data = wn_gguf_data_off(l->like, shard);
  if (f->n_tensors == 0) {
    f->data_off = f->header_bytes;
    if (header == f->header_bytes || was == header)
      f->bytes = f->header_bytes + (was - header);
    return WN_OK;
  }
  for (size_t i = 0; i < f->n_tensors; i++) {
    const wn_tensor *t = &l->tensors[f->first + i];
    const wn_tensor *u = wn_gguf_tensor(l->like, f->first + i);
    if (u->shard != shard || u->bytes != t->bytes ||
        u->off - data != t->off - f->data_off)
      return wn_fail(e, WN_EARG,
                     "tensor %zu lies elsewhere in the file to copy",
                     f->first + i + 1);
  }
  f->bytes = f->data_off + (was - data);
  return WN_OK;
}

static int place_all(wn_layout *l, wn_err *e) {
  size_t next = 0;
  if (l->like != NULL && wn_gguf_n_tensors(l->like) != l->n)
    return wn_fail(e, WN_EARG, "the file to copy has other tensors");
  for (size_t k = 0; k < l->n_files; k++) {
    wn_layout_file *f = &l->parts[k].file;
    f->first = next;
    while (next < l->n && l->tensors[next].shard == (uint32_t)k)
      next++;
    f->n_tensors = next - f->first;
    int rc = place(l, k, e);
    if (rc == WN_OK && l->like != NULL) rc = follow(l, k, e);
    if (rc != WN_OK) return rc;
  }
  return WN_OK;
}

/* --- the object ---------------------------------------------------------- */

static int set_up(wn_layout *l, const wn_meta *m, const wn_layout_opts *o,
                  wn_err *e) {
  l->version = o->version == 0 ? 3 : o->version;
  if (l->version != 2 && l->version != 3)
    return wn_fail(e, WN_EARG, "version is %u, want 2 or 3", l->version);
  l->alignment = 32;
  const wn_kv *a = wn_meta_find(m, "general.alignment", 17);
  int rc = a == NULL ? WN_OK : wn_alignment_of(a, &l->alignment, e);
  if (rc != WN_OK) wn_fail_in(e, "key 'general.alignment'");
  /* with another alignment nothing lies where it did */
  if (l->like != NULL && wn_gguf_alignment(l->like) != l->alignment) {
    wn_gguf_unref(l->like);
    l->like = NULL;
  }
  return rc;
}

int wn_layout_new(const wn_meta *m, const wn_tensor *tensors, size_t n,
                  const wn_layout_opts *o, wn_layout **out, wn_err *e) {
  static const wn_layout_opts none;
  int rc;
  if (o == NULL) o = &none;
  wn_layout *l = wn_calloc(WN_MEM_GGUF, 1, sizeof *l);
  if (l == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  atomic_init(&l->refs, 1);
  if (o->like != NULL) l->like = wn_gguf_ref(o->like);
  if (n > (size_t)WN_MAX_TENSORS) {
    rc = wn_fail(e, WN_ELIMIT, "%zu tensors, want at most %lld", n,
                 (long long)WN_MAX_TENSORS);
    goto fail;
  }
  if ((rc = set_up(l, m, o, e)) != WN_OK) goto fail;
  if ((rc = copy_tensors(l, tensors, n, e)) != WN_OK) goto fail;
  if ((rc = deal(l, o, e)) != WN_OK) goto fail;
  l->parts = wn_calloc(WN_MEM_GGUF, l->n_files, sizeof *l->parts);
  if (l->parts == NULL) {
    rc = wn_fail(e, WN_ENOMEM, "out of memory");
    goto fail;
  }
  if ((rc = make_metadata(l, m, e)) != WN_OK) goto fail;
  if ((rc = place_all(l, e)) != WN_OK) goto fail;
  *out = l;
  return WN_OK;
fail:
  wn_layout_unref(l);
  return rc;
}

wn_layout *wn_layout_ref(wn_layout *l) {
  atomic_fetch_add(&l->refs, 1);
  return l;
}

void wn_layout_unref(wn_layout *l) {
  if (l == NULL || atomic_fetch_sub(&l->refs, 1) != 1) return;
  for (size_t k = 0; l->parts != NULL && k < l->n_files; k++)
    wn_free(l->parts[k].kvs.p);
  wn_gguf_unref(l->like);
  wn_free(l->parts);
  wn_free(l->tensors);
  wn_free(l->names);
  wn_free(l);
}

size_t wn_layout_n_tensors(const wn_layout *l) {
  return l->n;
}

const wn_tensor *wn_layout_tensor(const wn_layout *l, size_t i) {
  return &l->tensors[i];
}

size_t wn_layout_n_files(const wn_layout *l) {
  return l->n_files;
}

const wn_layout_file *wn_layout_file_at(const wn_layout *l, size_t k) {
  return &l->parts[k].file;
}

int wn_layout_path(const wn_layout *l, const char *base, size_t k, char *buf,
                   size_t cap, wn_err *e) {
  uint32_t no, count;
  size_t n = strlen(base), stem = n;
  int rc = WN_OK;
  if (l->n_files == 1) {
    if (n >= cap) rc = WN_ELIMIT;
    if (rc == WN_OK) memcpy(buf, base, n + 1);
  } else {
    if (!wn_shard_name_parse(base, &no, &count, &stem) && n > 5 &&
        memcmp(base + n - 5, ".gguf", 5) == 0)
      stem = n - 5;
    rc = wn_shard_name_make(base, stem, (uint32_t)k, (uint32_t)l->n_files, buf,
                            cap);
  }
  return rc == WN_OK ? rc : wn_fail(e, rc, "%s: the name is too long", base);
}

static uint8_t *put_int(uint8_t *p, uint64_t v, size_t n) {
  for (size_t i = 0; i < n; i++)
    p[i] = (uint8_t)(v >> (8 * i));
  return p + n;
}

static uint8_t *put_bytes(uint8_t *p, const void *from, size_t n) {
  if (n > 0) memcpy(p, from, n);
  return p + n;
}

void wn_layout_header(const wn_layout *l, size_t k, uint8_t *buf) {
  const wn_part *f = &l->parts[k];
  uint8_t *p = put_bytes(buf, "GGUF", 4);
  p = put_int(p, l->version, 4);
  p = put_int(p, f->file.n_tensors, 8);
  p = put_int(p, f->n_kv, 8);
  p = put_bytes(p, f->kvs.p, f->kvs.n);
  for (size_t i = 0; i < f->file.n_tensors; i++) {
    const wn_tensor *t = &l->tensors[f->file.first + i];
    p = put_int(p, t->name.n, 8);
    p = put_bytes(p, t->name.p, t->name.n);
    p = put_int(p, t->n_dims, 4);
    for (uint32_t d = 0; d < t->n_dims; d++)
      p = put_int(p, t->ne[d], 8);
    p = put_int(p, (uint32_t)t->type, 4);
    p = put_int(p, t->off - f->file.data_off, 8);
  }
}
