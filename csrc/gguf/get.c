/* get.c - typed getters for metadata: see gguf.h. */
#include <string.h>

#include "gguf/parts.h"

static const wn_kv *find(const wn_gguf *g, const char *key) {
  return wn_gguf_find_kv(g, key, strlen(key));
}

static int missing(wn_err *e) {
  if (e != NULL) {
    e->code = WN_ENOENT;
    e->msg[0] = 0;
  }
  return WN_ENOENT;
}

/* "m.gguf: key 'x' is i8, want u32"; arrays as "array of i8". */
static int wrong_type(const wn_gguf *g, const char *key, const wn_kv *kv,
                      const char *want, wn_err *e) {
  bool array = kv->type == WN_KV_ARRAY;
  return wn_fail(e, WN_EFORMAT, "%s: key '%s' is %s%s, want %s", g->path, key,
                 array ? "array of " : "",
                 wn_kv_type_name(array ? kv->elem : kv->type), want);
}

int wn_gguf_get_u64(const wn_gguf *g, const char *key, uint64_t *v, wn_err *e) {
  const wn_kv *kv = find(g, key);
  if (kv == NULL) return missing(e);
  switch (kv->type) {
    case WN_KV_I8:
    case WN_KV_I16:
    case WN_KV_I32:
    case WN_KV_I64:
      if (kv->num.i < 0)
        return wn_fail(e, WN_EFORMAT, "%s: key '%s' is %lld, want at least 0",
                       g->path, key, (long long)kv->num.i);
      /* fall through */
    case WN_KV_U8:
    case WN_KV_U16:
    case WN_KV_U32:
    case WN_KV_U64:
      *v = kv->num.u;
      return WN_OK;
    default:
      return wrong_type(g, key, kv, "u32", e);
  }
}

int wn_gguf_get_f32(const wn_gguf *g, const char *key, float *v, wn_err *e) {
  const wn_kv *kv = find(g, key);
  if (kv == NULL) return missing(e);
  if (kv->type != WN_KV_F32 && kv->type != WN_KV_F64)
    return wrong_type(g, key, kv, "f32", e);
  *v = (float)kv->num.f;
  return WN_OK;
}

int wn_gguf_get_bool(const wn_gguf *g, const char *key, bool *v, wn_err *e) {
  const wn_kv *kv = find(g, key);
  if (kv == NULL) return missing(e);
  if (kv->type != WN_KV_BOOL) return wrong_type(g, key, kv, "bool", e);
  *v = kv->num.u != 0;
  return WN_OK;
}

int wn_gguf_get_str(const wn_gguf *g, const char *key, wn_str *v, wn_err *e) {
  const wn_kv *kv = find(g, key);
  if (kv == NULL) return missing(e);
  if (kv->type != WN_KV_STRING) return wrong_type(g, key, kv, "string", e);
  *v = kv->str;
  return WN_OK;
}

int wn_gguf_get_array(const wn_gguf *g, const char *key, int elem,
                      uint64_t *count, const uint8_t **data, wn_err *e) {
  const wn_kv *kv = find(g, key);
  if (kv == NULL) return missing(e);
  if (kv->type != WN_KV_ARRAY || kv->elem != elem) {
    char want[32] = "array of ";
    strncat(want, wn_kv_type_name(elem), sizeof want - 10);
    return wrong_type(g, key, kv, want, e);
  }
  *count = kv->count;
  *data = kv->data;
  return WN_OK;
}
