/* kv.c - metadata entries: key, type, value.
 *
 *   key: u64 length, bytes | type: u32 | value
 *   value of a scalar: its bytes; a bool is one byte, 0 or 1
 *   string: u64 length, bytes | array: u32 element type, u64 count, elements
 * Arrays nest to WN_MAX_NESTING. */
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "gguf/parts.h"

static const struct {
  const char *name;
  size_t bytes;
} kinds[WN_KV_N_TYPES] = {
    [WN_KV_U8] = {"u8", 1},         [WN_KV_I8] = {"i8", 1},
    [WN_KV_U16] = {"u16", 2},       [WN_KV_I16] = {"i16", 2},
    [WN_KV_U32] = {"u32", 4},       [WN_KV_I32] = {"i32", 4},
    [WN_KV_F32] = {"f32", 4},       [WN_KV_BOOL] = {"bool", 1},
    [WN_KV_STRING] = {"string", 0}, [WN_KV_ARRAY] = {"array", 0},
    [WN_KV_U64] = {"u64", 8},       [WN_KV_I64] = {"i64", 8},
    [WN_KV_F64] = {"f64", 8},
};

size_t wn_kv_scalar_bytes(uint32_t t) {
  return t < WN_KV_N_TYPES ? kinds[t].bytes : 0;
}

const char *wn_kv_type_name(int64_t t) {
  return t >= 0 && t < WN_KV_N_TYPES ? kinds[t].name : "?";
}

/* The bytes of the UTF-8 sequence that `c` begins, or 0; *min is the lowest
 * code point that may be written in so many bytes. */
static size_t utf8_length(unsigned char c, uint32_t *min) {
  *min = c < 0xe0 ? 0x80 : c < 0xf0 ? 0x800 : 0x10000;
  if (c < 0x80) return *min = 0, (size_t)1;
  if (c < 0xc2) return 0;
  return c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
}

static bool is_utf8(const unsigned char *p, size_t n) {
  for (size_t i = 0; i < n;) {
    uint32_t min, code;
    size_t len = utf8_length(p[i], &min);
    if (len == 0 || len > n - i) return false;
    code = len == 1 ? p[i] : p[i] & (0xffu >> (len + 1));
    for (size_t k = 1; k < len; k++) {
      if ((p[i + k] & 0xc0) != 0x80) return false;
      code = code << 6 | (p[i + k] & 0x3f);
    }
    if (code < min || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      return false;
    i += len;
  }
  return true;
}

static int name_length_check(uint64_t n, int64_t max, const char *what,
                             wn_err *e) {
  if (n == 0) return wn_fail(e, WN_EFORMAT, "%s is empty", what);
  if (n > (uint64_t)max)
    return wn_fail(e, WN_ELIMIT, "%s has %llu bytes, want at most %lld", what,
                   (unsigned long long)n, (long long)max);
  return WN_OK;
}

int wn_name_check(const char *p, size_t n, int64_t max, const char *what,
                  wn_err *e) {
  char text[80];
  int rc = name_length_check(n, max, what, e);
  if (rc != WN_OK) return rc;
  if (memchr(p, 0, n) != NULL)
    return wn_fail(e, WN_EFORMAT, "%s '%s' has a NUL byte", what,
                   wn_printable(text, sizeof text, p, n));
  if (!is_utf8((const unsigned char *)p, n))
    return wn_fail(e, WN_EFORMAT, "%s '%s' is not UTF-8", what,
                   wn_printable(text, sizeof text, p, n));
  return WN_OK;
}

int wn_take_name(wn_parse *p, int64_t max, const char *what) {
  uint64_t len = 0;
  wn_err e = {0};
  int rc = wn_take_u64(p, &len);
  if (rc != WN_OK) return rc;
  rc = name_length_check(len, max, what, &e);
  if (rc != WN_OK) return wn_parse_fail(p, rc, "%s", e.msg);
  if ((rc = wn_image_need(p, len)) != WN_OK) return rc;
  const char *name = (const char *)p->s->img + p->at;
  rc = wn_name_check(name, (size_t)len, max, what, &e);
  if (rc != WN_OK) return wn_parse_fail(p, rc, "%s", e.msg);
  p->where.name_off = p->at;
  p->where.name_n = (size_t)len;
  p->where.named = true;
  p->at += (size_t)len;
  return WN_OK;
}

static int check_type(wn_parse *p, uint32_t type, const char *what) {
  if (type < WN_KV_N_TYPES) return WN_OK;
  return wn_parse_fail(p, WN_EFORMAT, "%s is %u, want 0 to %d", what, type,
                       WN_KV_N_TYPES - 1);
}

static int skip_bools(wn_parse *p, uint64_t n) {
  const uint8_t *b = p->s->img + p->at;
  for (uint64_t i = 0; i < n; i++)
    if (b[i] > 1)
      return wn_parse_fail(p, WN_EFORMAT, "bool is %u, want 0 or 1", b[i]);
  p->at += (size_t)n;
  return WN_OK;
}

/* n scalars of one type. */
static int skip_scalars(wn_parse *p, uint32_t type, uint64_t n) {
  uint64_t bytes = 0;
  if (!wn_mul(n, kinds[type].bytes, &bytes))
    return wn_parse_fail(p, WN_ELIMIT, "array is too long");
  int rc = wn_image_need(p, bytes);
  if (rc != WN_OK) return rc;
  if (type == WN_KV_BOOL) return skip_bools(p, n);
  p->at += (size_t)bytes;
  return WN_OK;
}

static int skip_string(wn_parse *p) {
  uint64_t n = 0;
  int rc = wn_take_u64(p, &n);
  if (rc != WN_OK) return rc;
  if (n > (uint64_t)WN_MAX_STRING_BYTES)
    return wn_parse_fail(p, WN_ELIMIT,
                         "string has %llu bytes, want at most %lld",
                         (unsigned long long)n, (long long)WN_MAX_STRING_BYTES);
  if ((rc = wn_image_need(p, n)) != WN_OK) return rc;
  p->at += (size_t)n;
  return WN_OK;
}

/* Element type and count of an array; the count is compared with the bytes
 * that are left before anything is done with it. */
static int take_array_head(wn_parse *p, uint32_t *elem, uint64_t *count) {
  int rc;
  if ((rc = wn_take_u32(p, elem)) != WN_OK) return rc;
  if ((rc = check_type(p, *elem, "array element type")) != WN_OK) return rc;
  if ((rc = wn_take_u64(p, count)) != WN_OK) return rc;
  uint64_t least = kinds[*elem].bytes;
  if (least == 0) least = *elem == WN_KV_STRING ? 8 : 12;
  uint64_t room = (p->s->bytes - p->at) / least;
  if (*count > room)
    return wn_parse_fail(p, WN_ETRUNC,
                         "array has %llu elements, but the file ends at byte "
                         "%llu: room for %llu",
                         (unsigned long long)*count,
                         (unsigned long long)p->s->bytes,
                         (unsigned long long)room);
  if (*count > (uint64_t)WN_MAX_ARRAY)
    return wn_parse_fail(p, WN_ELIMIT,
                         "array has %llu elements, want at most %lld",
                         (unsigned long long)*count, (long long)WN_MAX_ARRAY);
  return WN_OK;
}

/* The elements after an array head. `depth` arrays are open: at most
 * WN_MAX_NESTING, which bounds the recursion. */
static int skip_elements(wn_parse *p, uint32_t elem, uint64_t count,
                         int depth) {
  int rc = WN_OK;
  if (kinds[elem].bytes != 0) return skip_scalars(p, elem, count);
  if (elem == WN_KV_ARRAY && depth >= WN_MAX_NESTING)
    return wn_parse_fail(p, WN_ELIMIT, "arrays nest deeper than %d",
                         (int)WN_MAX_NESTING);
  for (uint64_t i = 0; i < count && rc == WN_OK; i++) {
    uint32_t inner = 0;
    uint64_t n = 0;
    if (elem == WN_KV_STRING)
      rc = skip_string(p);
    else if ((rc = take_array_head(p, &inner, &n)) == WN_OK)
      rc = skip_elements(p, inner, n, depth + 1);
  }
  return rc;
}

/* Decodes a scalar into kv->num; sign and float formats become 64-bit. */
static void decode_scalar(wn_kv *kv) {
  const uint8_t *b = kv->raw;
  uint64_t u = 0;
  float f;
  for (size_t i = kv->raw_bytes; i > 0; i--)
    u = u << 8 | b[i - 1];
  kv->num.u = u;
  switch (kv->type) {
    case WN_KV_I8:
      kv->num.i = (int8_t)u;
      break;
    case WN_KV_I16:
      kv->num.i = (int16_t)u;
      break;
    case WN_KV_I32:
      kv->num.i = (int32_t)u;
      break;
    case WN_KV_F32:
      memcpy(&f, &(uint32_t){(uint32_t)u}, sizeof f);
      kv->num.f = (double)f;
      break;
    case WN_KV_F64:
      memcpy(&kv->num.f, &u, sizeof u);
      break;
    default:
      break;
  }
}

int wn_parse_value(wn_parse *p, uint32_t type, wn_kv *kv) {
  size_t start = p->at, body = p->at;
  uint32_t elem = 0;
  int rc = check_type(p, type, "value type");
  if (rc != WN_OK) return rc;
  if (type == WN_KV_STRING) {
    rc = skip_string(p);
    body += 8;
  } else if (type == WN_KV_ARRAY) {
    rc = take_array_head(p, &elem, &kv->count);
    body = p->at;
    if (rc == WN_OK) rc = skip_elements(p, elem, kv->count, 1);
  } else {
    rc = skip_scalars(p, type, 1);
  }
  if (rc != WN_OK) return rc;
  kv->type = (int)type;
  kv->elem = (int)elem;
  kv->raw = p->s->img + start;
  kv->raw_bytes = p->at - start;
  if (type == WN_KV_STRING) {
    kv->str.p = (const char *)p->s->img + body;
    kv->str.n = p->at - body;
  } else if (type == WN_KV_ARRAY) {
    kv->data = p->s->img + body;
    kv->data_bytes = p->at - body;
  } else {
    decode_scalar(kv);
  }
  return WN_OK;
}

static int parse_kv(wn_parse *p, wn_kv *kv) {
  uint32_t type = 0;
  int rc = wn_take_name(p, WN_MAX_KEY_BYTES, "key");
  if (rc != WN_OK) return rc;
  if ((rc = wn_take_u32(p, &type)) != WN_OK) return rc;
  if ((rc = wn_parse_value(p, type, kv)) != WN_OK) return rc;
  kv->key.p = (const char *)p->s->img + p->where.name_off;
  kv->key.n = p->where.name_n;
  return WN_OK;
}

int wn_alignment_of(const wn_kv *kv, uint64_t *alignment, wn_err *e) {
  uint64_t a = kv->num.u;
  if (kv->type != WN_KV_U32)
    return wn_fail(e, WN_EFORMAT, "type is %s, want u32",
                   wn_kv_type_name(kv->type));
  if (a == 0 || (a & (a - 1)) != 0 || a > (uint64_t)WN_MAX_ALIGNMENT)
    return wn_fail(e, WN_EFORMAT,
                   "alignment is %llu, want a power of two up to %lld",
                   (unsigned long long)a, (long long)WN_MAX_ALIGNMENT);
  *alignment = a;
  return WN_OK;
}

static int find_alignment(wn_parse *p, const wn_kv *kv) {
  static const char key[] = "general.alignment";
  wn_err e = {0};
  if (kv->key.n != sizeof key - 1 || memcmp(kv->key.p, key, kv->key.n) != 0)
    return WN_OK;
  int rc = wn_alignment_of(kv, &p->s->alignment, &e);
  return rc == WN_OK ? rc : wn_parse_fail(p, rc, "%s", e.msg);
}

int wn_parse_kvs(wn_parse *p) {
  wn_shard *s = p->s;
  size_t dup;
  int rc = wn_index_init(&s->kv_index, (size_t)p->n_kv, p->e);
  if (rc != WN_OK) return rc;
  s->kvs = wn_calloc(WN_MEM_GGUF, (size_t)p->n_kv, sizeof *s->kvs);
  if (s->kvs == NULL) return wn_parse_fail(p, WN_ENOMEM, "out of memory");
  s->alignment = 32;
  p->where.what = "key";
  for (uint64_t i = 0; i < p->n_kv; i++) {
    p->where.number = i + 1;
    p->where.named = false;
    wn_kv *kv = &s->kvs[i];
    if ((rc = parse_kv(p, kv)) != WN_OK) return rc;
    s->n_kv = (size_t)i + 1; /* from now on it moves with the image */
    rc = wn_index_add(&s->kv_index, s->kvs, sizeof *kv, (size_t)i, &dup, p->e);
    if (rc != WN_OK) return rc;
    if (dup != SIZE_MAX)
      return wn_parse_fail(p, WN_EFORMAT, "key %llu has the same name as %zu",
                           (unsigned long long)i + 1, dup + 1);
    if ((rc = find_alignment(p, kv)) != WN_OK) return rc;
  }
  return WN_OK;
}
