/* load.c - a vocabulary from its metadata: kind, flags, then the parts. */
#include "text/parts.h"

#define K_MODEL "tokenizer.ggml.model"
#define K_PRE "tokenizer.ggml.pre"

/* What the name of the tokenizer model implies. */
static const struct {
  const char *name;
  wn_kind kind;
  int32_t bos, eos, unk, sep, pad, mask;
} MODELS[] = {
    {"llama", WN_KIND_SPM, 1, 2, 0, -1, -1, -1},
    {"bert", WN_KIND_WPM, 101, -1, 100, 102, 0, 103},
    {"gpt2", WN_KIND_BPE, 11, 11, -1, -1, -1, -1},
    {"hybriddna", WN_KIND_BPE, 11, 11, -1, -1, -1, -1},
    {"whitespace", WN_KIND_BPE, 11, 11, -1, -1, -1, -1},
    {"gemma4", WN_KIND_BPE, -1, -1, -1, -1, -1, -1},
    {"t5", WN_KIND_UGM, -1, 1, 2, -1, 0, -1},
    {"rwkv", WN_KIND_RWKV, -1, -1, -1, -1, -1, -1},
    {"plamo2", WN_KIND_PLAMO2, 1, 2, 0, -1, 3, -1},
    {"none", WN_KIND_NONE, -1, -1, -1, -1, -1, -1},
    {"no_vocab", WN_KIND_NONE, -1, -1, -1, -1, -1, -1},
};

static bool equal(wn_str s, const char *text) {
  return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static int read_model(wn_vocab *v, const wn_gguf *g, wn_str *name, wn_err *e) {
  char shown[64];
  int rc = wn_gguf_get_str(g, K_MODEL, name, e);
  if (rc == WN_ENOENT) return wn_key_fail(e, WN_EFORMAT, K_MODEL, "missing");
  if (rc != WN_OK) return rc;
  for (size_t i = 0; i < WN_TOK_N; i++)
    v->special[i] = -1;
  v->eom = -1;
  for (size_t i = 0; i < sizeof MODELS / sizeof MODELS[0]; i++) {
    if (!equal(*name, MODELS[i].name)) continue;
    v->kind = MODELS[i].kind;
    v->special[WN_TOK_BOS] = MODELS[i].bos;
    v->special[WN_TOK_EOS] = MODELS[i].eos;
    v->special[WN_TOK_UNK] = MODELS[i].unk;
    v->special[WN_TOK_SEP] = MODELS[i].sep;
    v->special[WN_TOK_PAD] = MODELS[i].pad;
    v->special[WN_TOK_MASK] = MODELS[i].mask;
    return WN_OK;
  }
  return wn_key_fail(e, WN_EUNSUP, K_MODEL, "unknown tokenizer '%s'",
                     wn_printable(shown, sizeof shown, name->p, name->n));
}

/* The pre-tokenizer of a BPE vocabulary, and the flags that come with it. */
static int read_pre(wn_vocab *v, const wn_gguf *g, wn_str model, wn_err *e) {
  wn_str pre = {"", 0};
  char shown[64];
  int rc = wn_gguf_get_str(g, K_PRE, &pre, e);
  if (rc != WN_OK && rc != WN_ENOENT) return rc;
  if (equal(model, "gemma4")) pre = (wn_str){"gemma4", 6};
  v->pre = wn_pre_find(pre.p, pre.n);
  if (v->pre == NULL)
    return wn_key_fail(e, WN_EUNSUP, K_PRE, "unknown pre-tokenizer '%s'",
                       wn_printable(shown, sizeof shown, pre.p, pre.n));
  unsigned props = v->pre->props;
  v->dna = equal(model, "hybriddna");
  v->whitespace = equal(model, "whitespace");
  v->escape_ws = (props & WN_P_ESCAPE) != 0;
  v->clean_spaces = (props & WN_P_KEEP_SPACES) == 0;
  v->add_bos = (props & WN_P_ADD_BOS) != 0;
  v->add_sep = (props & WN_P_ADD_SEP) != 0;
  if (props & WN_P_KEEP_CASE) v->lowercase = false;
  if (props & WN_P_NO_BOS) v->special[WN_TOK_BOS] = -1;
  return WN_OK;
}

static int read_flags(wn_vocab *v, const wn_gguf *g, wn_str model, wn_err *e) {
  int rc = WN_OK;
  v->lowercase = true;
  v->escape_ws = true;
  switch (v->kind) {
    case WN_KIND_BPE:
      rc = read_pre(v, g, model, e);
      break;
    case WN_KIND_SPM:
      v->add_space_prefix = v->add_bos = true;
      break;
    case WN_KIND_WPM:
      v->clean_spaces = v->add_bos = v->add_sep = true;
      break;
    case WN_KIND_UGM:
      v->add_eos = true;
      break;
    default:
      break;
  }
  if (rc == WN_OK)
    rc = wn_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix",
                          &v->add_space_prefix, e);
  if (rc == WN_OK || rc == WN_ENOENT)
    rc = wn_gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces",
                          &v->remove_extra_ws, e);
  return rc == WN_ENOENT ? WN_OK : rc;
}

static int build_index(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  for (int i = 0; i < 256; i++)
    v->byte_id[i] = -1;
  switch (v->kind) {
    case WN_KIND_BPE:
      return wn_bpe_init(v, g, e);
    case WN_KIND_SPM:
      return wn_spm_init(v, e);
    case WN_KIND_UGM:
      return wn_ugm_init(v, g, e);
    case WN_KIND_WPM:
    case WN_KIND_RWKV:
    case WN_KIND_PLAMO2:
      return wn_trie_init_all(v, e);
    default:
      return WN_OK;
  }
}

/* The token of a line end, found before the file's special ids count: the
 * first token of "\n", or the padding token where there is none. */
static int find_newline(wn_vocab *v, wn_err *e) {
  const uint8_t nl = '\n';
  wn_ids ids = {NULL, 0, 0};
  int rc = WN_OK;
  int32_t id = v->special[WN_TOK_PAD];
  if (v->kind == WN_KIND_SPM) {
    if (v->byte_id[nl] >= 0) id = v->byte_id[nl];
  } else if (v->kind != WN_KIND_WPM) {
    rc = wn_encode_raw(v, &nl, 1, false, &ids, e);
    if (ids.n > 0) id = ids.p[0];
  }
  wn_free(ids.p);
  v->special[WN_TOK_NL] = id >= 0 && (uint32_t)id < v->n ? id : -1;
  return rc;
}

/* Kind "none": ids without texts, as many as the architecture says. */
static int load_none(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  wn_str arch;
  char key[128];
  uint64_t n = 0;
  int rc = wn_gguf_get_str(g, "general.architecture", &arch, e);
  if (rc == WN_OK && arch.n < 64) {
    memcpy(key, arch.p, arch.n);
    memcpy(key + arch.n, ".vocab_size", 12);
    rc = wn_gguf_get_u64(g, key, &n, e);
    if (rc == WN_OK && n > (uint64_t)WN_MAX_VOCAB)
      return wn_key_fail(e, WN_ELIMIT, key, "%llu, want at most %lld",
                         (unsigned long long)n, (long long)WN_MAX_VOCAB);
  }
  if (rc != WN_OK && rc != WN_ENOENT) return rc;
  v->n = (uint32_t)n;
  v->attr = wn_calloc(WN_MEM_TEXT, v->n, sizeof *v->attr);
  return v->attr != NULL ? WN_OK : wn_oom(e);
}

static int load(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  wn_str model = {NULL, 0};
  int rc = read_model(v, g, &model, e);
  if (rc != WN_OK) return rc;
  if (v->kind == WN_KIND_NONE) return load_none(v, g, e);
  if (!wn_uni_init(&v->uni, v->exact == WN_EXACT_TRAINED)) return wn_oom(e);
  rc = read_flags(v, g, model, e);
  if (rc == WN_OK) rc = wn_load_tokens(v, g, e);
  if (rc == WN_OK) rc = build_index(v, g, e);
  if (rc == WN_OK) rc = find_newline(v, e);
  if (rc == WN_OK) rc = wn_load_specials(v, g, e);
  if (rc == WN_OK && v->kind == WN_KIND_UGM) wn_ugm_weigh(v);
  return rc;
}

int wn_vocab_new(const wn_gguf *g, wn_vocab **out, wn_err *e) {
  return wn_vocab_new_as(g, WN_EXACT_TRAINED, out, e);
}

wn_exact wn_vocab_exact(const wn_vocab *v) {
  return v->exact;
}

int wn_vocab_new_as(const wn_gguf *g, wn_exact exact, wn_vocab **out,
                    wn_err *e) {
  wn_err mine;
  wn_err *err = e != NULL ? e : &mine;
  wn_vocab *v = wn_calloc(WN_MEM_TEXT, 1, sizeof *v);
  if (v == NULL) return wn_oom(e);
  atomic_init(&v->refs, 1);
  v->exact = exact;
  int rc = load(v, g, err);
  if (rc == WN_OK) {
    *out = v;
    return WN_OK;
  }
  wn_vocab_unref(v);
  const char *path = wn_gguf_path(g); /* the getters have named it already */
  if (strncmp(err->msg, path, strlen(path)) != 0) wn_fail_in(err, path);
  return rc;
}

wn_vocab *wn_vocab_ref(wn_vocab *v) {
  atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
  return v;
}

void wn_vocab_unref(wn_vocab *v) {
  if (v == NULL || atomic_fetch_sub(&v->refs, 1) != 1) return;
  wn_free(v->text.p);
  wn_free(v->text.off);
  wn_free(v->raw.p);
  wn_free(v->raw.off);
  wn_free(v->score);
  wn_free(v->attr);
  wn_free(v->map.slot);
  wn_uni_free(&v->uni);
  wn_trie_free(&v->added[0].trie);
  wn_trie_free(&v->added[1].trie);
  wn_trie_free(&v->specials);
  wn_free(v->special_order);
  wn_free(v->urgency);
  wn_bpe_free(&v->bpe);
  wn_trie_free(&v->ugm.tokens);
  wn_trie_free(&v->ugm.user);
  wn_free(v->ugm.xcda);
  wn_free(v->ugm.repl);
  wn_free(v->ugm.points);
  wn_trie_free(&v->trie);
  wn_free(v);
}
