/* encode.c - text to ids: special tokens cut out, the rest to its kind; and
 * the plain questions about a vocabulary. */
#include "text/parts.h"

uint32_t wn_vocab_size(const wn_vocab *v) {
  return v->n;
}

const char *wn_vocab_kind(const wn_vocab *v) {
  static const char *const NAMES[] = {"none", "bpe",  "spm",   "wpm",
                                      "ugm",  "rwkv", "plamo2"};
  return NAMES[v->kind];
}

const char *wn_vocab_pre(const wn_vocab *v) {
  return v->pre != NULL ? v->pre->name : "";
}

const char *wn_vocab_pre_name(size_t i) {
  const wn_pre *p = wn_pre_at(i);
  return p != NULL ? p->name : NULL;
}

int32_t wn_vocab_special(const wn_vocab *v, wn_special which) {
  return v->special[which];
}

bool wn_vocab_is_eog(const wn_vocab *v, int32_t id) {
  return id >= 0 && (uint32_t)id < v->n && (v->attr[id] & WN_ATTR_EOG) != 0;
}

bool wn_vocab_add_bos(const wn_vocab *v) {
  return v->add_bos;
}
bool wn_vocab_add_eos(const wn_vocab *v) {
  return v->add_eos;
}
bool wn_vocab_add_sep(const wn_vocab *v) {
  return v->add_sep;
}

uint32_t wn_vocab_attr(const wn_vocab *v, int32_t id) {
  bool inside = id >= 0 && (uint32_t)id < v->n;
  return inside ? v->attr[id] & (uint32_t)WN_ATTR_PUBLIC : 0;
}

int32_t wn_vocab_find(const wn_vocab *v, const char *text, size_t n) {
  return v->kind == WN_KIND_NONE ? -1 : wn_find(v, text, n);
}

const char *wn_vocab_text(const wn_vocab *v, int32_t id, size_t *n) {
  *n = 0;
  if (v->kind == WN_KIND_NONE || id < 0 || (uint32_t)id >= v->n) return "";
  wn_str t = wn_text(v, (uint32_t)id);
  *n = t.n;
  return t.p;
}

static int encode_kind(const wn_vocab *v, const uint8_t *p, size_t n,
                       bool prefix, bool guard, wn_ids *out, wn_err *e) {
  switch (v->kind) {
    case WN_KIND_BPE:
      return wn_bpe_encode(v, p, n, guard, out, e);
    case WN_KIND_SPM:
      return wn_spm_encode(v, p, n, prefix, guard, out, e);
    case WN_KIND_WPM:
      return wn_wpm_encode(v, p, n, guard, out, e);
    case WN_KIND_UGM:
      return wn_ugm_encode(v, p, n, guard, out, e);
    case WN_KIND_RWKV:
      return wn_rwkv_encode(v, p, n, guard, out, e);
    case WN_KIND_PLAMO2:
      return wn_plamo_encode(v, p, n, guard, out, e);
    default:
      return wn_fail(e, WN_EUNSUP, "the model has no vocabulary");
  }
}

/* Control tokens come of what is parsed as such, never of merges. llama.cpp
 * lets merges make them, except where that would let messages make them. */
static bool is_guarded(const wn_vocab *v) {
  return v->exact == WN_EXACT_TRAINED;
}

int wn_encode_raw(const wn_vocab *v, const uint8_t *p, size_t n, bool prefix,
                  wn_ids *out, wn_err *e) {
  return encode_kind(v, p, n, prefix, is_guarded(v), out, e);
}

/* SPM puts a space before text at the start and behind a special token.
 * guard: no control token may come of plain text. */
static int encode_frags(const wn_vocab *v, const char *text,
                        const wn_frag *frags, size_t n, bool guard, wn_ids *out,
                        wn_err *e) {
  bool after_special = true;
  for (size_t i = 0; i < n; i++) {
    if (frags[i].id >= 0) {
      if (!wn_ids_push(out, frags[i].id)) return wn_oom(e);
      after_special = true;
      continue;
    }
    int rc = encode_kind(v, (const uint8_t *)text + frags[i].off, frags[i].n,
                         v->add_space_prefix && after_special, guard, out, e);
    if (rc != WN_OK) return rc;
    after_special = false;
  }
  return WN_OK;
}

/* Which tokens go around a text; -1: none. */
static int32_t first_token(const wn_vocab *v) {
  if (v->kind == WN_KIND_WPM) return v->special[WN_TOK_BOS];
  if (v->kind == WN_KIND_RWKV || v->kind == WN_KIND_PLAMO2) return -1;
  return v->add_bos ? v->special[WN_TOK_BOS] : -1;
}

static int32_t last_token(const wn_vocab *v) {
  if (v->kind == WN_KIND_WPM) return v->special[WN_TOK_SEP];
  if (v->kind == WN_KIND_RWKV || v->kind == WN_KIND_PLAMO2) return -1;
  return v->add_eos ? v->special[WN_TOK_EOS] : -1;
}

static int push_opt(wn_ids *out, int32_t id, wn_err *e) {
  return id < 0 || wn_ids_push(out, id) ? WN_OK : wn_oom(e);
}

int wn_vocab_encode(const wn_vocab *v, const char *text, size_t n,
                    bool add_special, bool parse_special, int32_t **ids,
                    size_t *n_ids, wn_err *e) {
  const wn_spans none = {NULL, 0};
  return wn_vocab_encode_plain(v, text, n, &none, add_special, parse_special,
                               ids, n_ids, e);
}

int wn_vocab_encode_plain(const wn_vocab *v, const char *text, size_t n,
                          const wn_spans *plain, bool add_special,
                          bool parse_special, int32_t **ids, size_t *n_ids,
                          wn_err *e) {
  wn_ids out = {NULL, 0, 0};
  wn_frag *frags = NULL;
  size_t n_frags = 0;
  if (v->kind == WN_KIND_NONE)
    return wn_fail(e, WN_EUNSUP, "the model has no vocabulary");
  if (n > (uint64_t)WN_MAX_PROMPT_BYTES)
    return wn_fail(e, WN_ELIMIT, "text: %zu bytes, want at most %lld", n,
                   (long long)WN_MAX_PROMPT_BYTES);
  int rc = wn_partition(v, text, n, parse_special, plain, &frags, &n_frags, e);
  if (rc != WN_OK) return rc;
  if (!wn_ids_reserve(&out, n / 4 + 4)) rc = wn_oom(e);
  if (rc == WN_OK && add_special) rc = push_opt(&out, first_token(v), e);
  if (rc == WN_OK)
    rc = encode_frags(v, text, frags, n_frags, is_guarded(v) || plain->n > 0,
                      &out, e);
  if (rc == WN_OK && add_special) rc = push_opt(&out, last_token(v), e);
  wn_free(frags);
  if (rc == WN_OK) {
    *ids = out.p;
    *n_ids = out.n;
  } else {
    wn_free(out.p);
  }
  return rc;
}
