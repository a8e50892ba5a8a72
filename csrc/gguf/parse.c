/* parse.c - one file's header: the growing image, the cursor, the fixed part.
 *
 *   magic u32 | version u32 | n_tensors u64 | n_kv u64     24 bytes
 *   n_kv metadata entries (kv.c), n_tensors tensor records (tensor.c),
 *   padding to the alignment, tensor data */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"

/* The first read: one of these holds the header of a small model. */
#define FIRST_READ 65536
/* The shortest conceivable records, wrong ones included, which deserve a
 * message of their own: length of the name, type, a one-byte value; length
 * of the name, n_dims, type, offset. */
#define MIN_KV_BYTES (8 + 4 + 1)
#define MIN_TENSOR_BYTES (8 + 4 + 4 + 8)

/* "key 3 'general.name'" */
static void where_text(const wn_parse *p, char *buf, size_t cap) {
  char name[80];
  const wn_where *w = &p->where;
  if (w->number == 0) {
    snprintf(buf, cap, "%s", w->what);
  } else if (!w->named) {
    snprintf(buf, cap, "%s %llu", w->what, (unsigned long long)w->number);
  } else {
    wn_printable(name, sizeof name, (const char *)p->s->img + w->name_off,
                 w->name_n);
    snprintf(buf, cap, "%s '%s'", w->what, name);
  }
}

int wn_parse_fail(wn_parse *p, int code, const char *fmt, ...) {
  char where[128];
  va_list ap;
  if (p->e == NULL) return code;
  p->e->code = code;
  va_start(ap, fmt);
  vsnprintf(p->e->msg, sizeof p->e->msg, fmt, ap);
  va_end(ap);
  where_text(p, where, sizeof where);
  return wn_fail_in(p->e, where);
}

static const char *moved(const char *p, const uint8_t *from, uint8_t *to) {
  return p == NULL ? NULL : (const char *)to + (p - (const char *)from);
}

static const uint8_t *moved_u(const uint8_t *p, const uint8_t *from,
                              uint8_t *to) {
  return p == NULL ? NULL : to + (p - from);
}

/* Gives the image a new home of `cap` bytes; everything that points into the
 * old one follows. */
static int move_image(wn_parse *p, size_t cap) {
  wn_shard *s = p->s;
  uint8_t *img = wn_alloc(WN_MEM_GGUF, cap);
  if (img == NULL) return wn_parse_fail(p, WN_ENOMEM, "out of memory");
  size_t keep = s->img_n < cap ? s->img_n : cap;
  if (keep > 0) memcpy(img, s->img, keep);
  for (size_t i = 0; i < s->n_kv; i++) {
    wn_kv *kv = &s->kvs[i];
    kv->key.p = moved(kv->key.p, s->img, img);
    kv->str.p = moved(kv->str.p, s->img, img);
    kv->data = moved_u(kv->data, s->img, img);
    kv->raw = moved_u(kv->raw, s->img, img);
  }
  for (size_t i = s->first; i < p->g->n_tensors; i++)
    p->g->tensors[i].name.p = moved(p->g->tensors[i].name.p, s->img, img);
  wn_free(s->img);
  s->img = img;
  s->img_n = keep;
  s->img_cap = cap;
  return WN_OK;
}

static int fill_image(wn_parse *p, size_t upto) {
  wn_shard *s = p->s;
  if (s->fd < 0) {
    memcpy(s->img + s->img_n, s->mem + s->img_n, upto - s->img_n);
    s->img_n = upto;
    return WN_OK;
  }
  int64_t got =
      wn_os_pread(s->fd, s->img + s->img_n, upto - s->img_n, s->img_n);
  if (got < 0) return wn_fail_sys(p->e, errno, "read");
  s->img_n += (size_t)got;
  if (s->img_n < upto) /* it shrank since it was opened */
    return wn_parse_fail(p, WN_ETRUNC, "file ends at byte %zu, was %llu long",
                         s->img_n, (unsigned long long)s->bytes);
  return WN_OK;
}

int wn_image_need(wn_parse *p, uint64_t n) {
  wn_shard *s = p->s;
  if (n <= s->img_n - p->at) return WN_OK;
  if (n > s->bytes - p->at)
    return wn_parse_fail(p, WN_ETRUNC,
                         "header ends at byte %llu, want %llu more from byte "
                         "%zu on",
                         (unsigned long long)s->bytes, (unsigned long long)n,
                         p->at);
  if (p->at + n > (uint64_t)WN_MAX_HEADER_BYTES)
    return wn_parse_fail(p, WN_ELIMIT, "header is longer than %lld bytes",
                         (long long)WN_MAX_HEADER_BYTES);
  size_t want = p->at + (size_t)n;
  if (want > s->img_cap) {
    size_t cap = s->img_cap * 2 > FIRST_READ ? s->img_cap * 2 : FIRST_READ;
    if (cap < want) cap = want;
    if (cap > s->bytes) cap = (size_t)s->bytes;
    int rc = move_image(p, cap);
    if (rc != WN_OK) return rc;
  }
  return fill_image(p, s->img_cap);
}

int wn_take_u32(wn_parse *p, uint32_t *v) {
  int rc = wn_image_need(p, 4);
  if (rc != WN_OK) return rc;
  *v = wn_le32(p->s->img + p->at);
  p->at += 4;
  return WN_OK;
}

int wn_take_u64(wn_parse *p, uint64_t *v) {
  int rc = wn_image_need(p, 8);
  if (rc != WN_OK) return rc;
  *v = wn_le64(p->s->img + p->at);
  p->at += 8;
  return WN_OK;
}

/* What else such a file may be, or NULL: a Git LFS pointer stands for a file
 * that was not fetched; GGUF read by a big-endian machine. */
static const char *known_stranger(const uint8_t *p, size_t n) {
  static const char lfs[] = "version https://git-lfs.github.com/spec/";
  if (n >= sizeof lfs - 1 && memcmp(p, lfs, sizeof lfs - 1) == 0)
    return "is a Git LFS pointer, not the model: fetch it (git lfs pull)";
  if (n >= 4 && memcmp(p, "FUGG", 4) == 0)
    return "a big-endian file, want little-endian";
  if (n >= 4 && (memcmp(p, "ggml", 4) == 0 || memcmp(p, "lmgg", 4) == 0 ||
                 memcmp(p, "tjgg", 4) == 0 || memcmp(p, "fmgg", 4) == 0))
    return "is of a format before GGUF: convert the original model again";
  return NULL;
}

static int check_magic(wn_parse *p) {
  char found[24];
  size_t n = p->s->bytes < 4 ? (size_t)p->s->bytes : 4;
  int rc = wn_image_need(p, n);
  if (rc != WN_OK) return rc;
  if (n > 0 && memcmp(p->s->img, "GGUF", n) != 0) {
    size_t more = p->s->bytes < 64 ? (size_t)p->s->bytes : 64;
    if ((rc = wn_image_need(p, more)) != WN_OK) return rc;
    const char *why = known_stranger(p->s->img, more);
    if (why != NULL) return wn_parse_fail(p, WN_EFORMAT, "%s", why);
    return wn_parse_fail(
        p, WN_EFORMAT, "magic is '%s', want 'GGUF'",
        wn_printable(found, sizeof found, (char *)p->s->img, n));
  }
  p->at = n;
  return n == 4 ? WN_OK : wn_image_need(p, 24 - n);
}

static int check_version(wn_parse *p) {
  uint32_t v = 0;
  int rc = wn_take_u32(p, &v);
  if (rc != WN_OK) return rc;
  if (v != 0 && (v & 0xffff) == 0)
    return wn_parse_fail(p, WN_EFORMAT,
                         "version is 0x%08x: a big-endian file, want "
                         "little-endian",
                         v);
  if (v != 2 && v != 3)
    return wn_parse_fail(p, WN_EFORMAT, "version is %u, want 2 or 3", v);
  p->s->version = v;
  return WN_OK;
}

/* A count of records: within the limit, and no more than the bytes that are
 * left could hold. */
static int take_count(wn_parse *p, const char *what, int64_t max,
                      uint64_t min_bytes, uint64_t *n) {
  int rc = wn_take_u64(p, n);
  if (rc != WN_OK) return rc;
  if (*n > (uint64_t)max)
    return wn_parse_fail(p, WN_ELIMIT, "found %llu %s, want at most %lld",
                         (unsigned long long)*n, what, (long long)max);
  uint64_t room = (p->s->bytes - p->at) / min_bytes;
  if (*n > room)
    return wn_parse_fail(p, WN_ETRUNC,
                         "found %llu %s, but the file ends at byte %llu: room "
                         "for %llu",
                         (unsigned long long)*n, what,
                         (unsigned long long)p->s->bytes,
                         (unsigned long long)room);
  return WN_OK;
}

static int parse_fixed(wn_parse *p) {
  int rc;
  p->where.what = "header";
  if ((rc = check_magic(p)) != WN_OK) return rc;
  if ((rc = check_version(p)) != WN_OK) return rc;
  if ((rc = wn_image_need(p, 16)) != WN_OK) return rc;
  rc =
      take_count(p, "tensors", WN_MAX_TENSORS, MIN_TENSOR_BYTES, &p->n_tensors);
  if (rc != WN_OK) return rc;
  return take_count(p, "keys", WN_MAX_KEYS, MIN_KV_BYTES, &p->n_kv);
}

int wn_parse_file(wn_gguf *g, uint32_t shard, wn_err *e) {
  wn_parse p = {.g = g, .s = &g->shards[shard], .e = e};
  int rc;
  p.s->first = g->n_tensors;
  if ((rc = parse_fixed(&p)) != WN_OK) return rc;
  if ((rc = wn_parse_kvs(&p)) != WN_OK) return rc;
  if ((rc = wn_parse_tensors(&p)) != WN_OK) return rc;
  p.s->header_bytes = p.at;
  if (p.s->img_cap > p.at && (rc = move_image(&p, p.at)) != WN_OK) return rc;
  return wn_place_tensors(&p);
}
