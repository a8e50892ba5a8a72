/* special.c - special tokens: which they are, what ends generation, which
 * texts are cut out before encoding.
 *
 * A file names some special ids; llama.cpp finds others by their texts and
 * corrects what it knows converters to get wrong. All of it is repeated here
 * in its order, because each step looks at the attributes that the steps
 * before have left. */
#include "text/parts.h"

/* ---- ids and flags that the file states ---- */

static const struct {
  const char *key;
  int which; /* wn_special, or -1: end of message */
} KEYS[] = {
    {"bos_token_id", WN_TOK_BOS},         {"eos_token_id", WN_TOK_EOS},
    {"eot_token_id", WN_TOK_EOT},         {"eom_token_id", -1},
    {"unknown_token_id", WN_TOK_UNK},     {"seperator_token_id", WN_TOK_SEP},
    {"padding_token_id", WN_TOK_PAD},     {"mask_token_id", WN_TOK_MASK},
    {"fim_pre_token_id", WN_TOK_FIM_PRE}, {"fim_suf_token_id", WN_TOK_FIM_SUF},
    {"fim_mid_token_id", WN_TOK_FIM_MID}, {"fim_pad_token_id", WN_TOK_FIM_PAD},
    {"fim_rep_token_id", WN_TOK_FIM_REP}, {"fim_sep_token_id", WN_TOK_FIM_SEP},
    {"prefix_token_id", WN_TOK_FIM_PRE},  {"suffix_token_id", WN_TOK_FIM_SUF},
    {"middle_token_id", WN_TOK_FIM_MID},
};

/* Defaults outside the vocabulary do not count; stated ids must be inside. */
static int read_ids(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++) {
    char key[64] = "tokenizer.ggml.";
    int32_t *id = KEYS[i].which < 0 ? &v->eom : &v->special[KEYS[i].which];
    uint64_t x;
    if (*id >= 0 && (uint32_t)*id >= v->n) *id = -1;
    strncat(key, KEYS[i].key, sizeof key - 16);
    int rc = wn_gguf_get_u64(g, key, &x, e);
    if (rc == WN_ENOENT) continue;
    if (rc != WN_OK) return rc;
    if (x >= v->n)
      return wn_key_fail(e, WN_EFORMAT, key, "%llu, want 0 to %u",
                         (unsigned long long)x, v->n - 1);
    *id = (int32_t)x;
  }
  return WN_OK;
}

static int read_flag(const wn_gguf *g, const char *key, bool *flag, wn_err *e) {
  int rc = wn_gguf_get_bool(g, key, flag, e);
  return rc == WN_ENOENT ? WN_OK : rc;
}

static int read_flags(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  int rc = read_flag(g, "tokenizer.ggml.add_bos_token", &v->add_bos, e);
  if (rc == WN_OK)
    rc = read_flag(g, "tokenizer.ggml.add_eos_token", &v->add_eos, e);
  if (rc == WN_OK)
    rc = read_flag(g, "tokenizer.ggml.add_sep_token", &v->add_sep, e);
  if (v->kind == WN_KIND_BPE && (v->pre->props & WN_P_FORCE_BOS) != 0)
    v->add_bos = true;
  if (rc == WN_OK)
    rc = read_flag(g, "tokenizer.ggml.normalizer.lowercase", &v->lowercase, e);
  v->strip_accents = v->lowercase;
  if (rc == WN_OK)
    rc = read_flag(g, "tokenizer.ggml.normalizer.strip_accents",
                   &v->strip_accents, e);
  return rc;
}

/* ---- tokens known by their texts ---- */

enum {
  ROLE_EOT = 1,
  ROLE_EOM = 2,
  ROLE_PRE = 4,
  ROLE_SUF = 8,
  ROLE_MID = 16,
  ROLE_PAD = 32,
  ROLE_REP = 64,
  ROLE_SEP = 128,
  ROLE_EOG = 256,  /* ends generation */
  ROLE_SHOW = 512, /* to be rendered although it looks like control */
};

static const struct {
  const char *text;
  unsigned roles;
} KNOWN[] = {
    {"<|eot_id|>", ROLE_EOT | ROLE_EOG},
    {"<|im_end|>", ROLE_EOT | ROLE_EOG},
    {"<|end|>", ROLE_EOT | ROLE_EOG},
    {"<end_of_turn>", ROLE_EOT | ROLE_EOG},
    {"<|endoftext|>", ROLE_EOT | ROLE_EOG},
    {"<|end_of_text|>", ROLE_EOT | ROLE_EOG},
    {"<EOT>", ROLE_EOT | ROLE_EOG},
    {"_<EOT>", ROLE_EOT | ROLE_EOG},
    {"[EOT]", ROLE_EOT | ROLE_EOG},
    {"<｜end▁of▁sentence｜>", ROLE_EOT | ROLE_EOG},
    {"<end_of_utterance>", ROLE_EOT | ROLE_EOG},
    {"<|eom_id|>", ROLE_EOM | ROLE_EOG},
    {"<|return|>", ROLE_EOG},
    {"<|call|>", ROLE_EOG},
    {"<|flush|>", ROLE_EOG},
    {"<|calls|>", ROLE_EOG},
    {"</s>", ROLE_EOG},
    {"[EOS]", ROLE_EOG},
    {"<eos>", ROLE_EOG},
    {"<turn|>", ROLE_EOG},
    {"<|tool_response>", ROLE_EOG},
    {"[e~[", ROLE_EOG},
    {"<|fim_prefix|>", ROLE_PRE},
    {"<fim-prefix>", ROLE_PRE},
    {"<fim_prefix>", ROLE_PRE},
    {"<｜fim▁begin｜>", ROLE_PRE},
    {"<PRE>", ROLE_PRE},
    {"▁<PRE>", ROLE_PRE},
    {"<|code_prefix|>", ROLE_PRE},
    {"<|prefix|>", ROLE_PRE},
    {"<|fim_suffix|>", ROLE_SUF},
    {"<fim-suffix>", ROLE_SUF},
    {"<fim_suffix>", ROLE_SUF},
    {"<｜fim▁hole｜>", ROLE_SUF},
    {"<SUF>", ROLE_SUF},
    {"▁<SUF>", ROLE_SUF},
    {"<|code_suffix|>", ROLE_SUF},
    {"<|suffix|>", ROLE_SUF},
    {"<|fim_middle|>", ROLE_MID},
    {"<fim-middle>", ROLE_MID},
    {"<fim_middle>", ROLE_MID},
    {"<｜fim▁end｜>", ROLE_MID},
    {"<MID>", ROLE_MID},
    {"▁<MID>", ROLE_MID},
    {"<|code_middle|>", ROLE_MID},
    {"<|middle|>", ROLE_MID},
    {"<|fim_pad|>", ROLE_PAD},
    {"<fim-pad>", ROLE_PAD},
    {"<fim_pad>", ROLE_PAD},
    {"<PAD>", ROLE_PAD},
    {"[PAD]", ROLE_PAD},
    {"<|fim_repo|>", ROLE_REP},
    {"<|repo_name|>", ROLE_REP},
    {"<fim-repo>", ROLE_REP},
    {"<REPO>", ROLE_REP},
    {"<reponame>", ROLE_REP},
    {"<|file_sep|>", ROLE_SEP},
    {"<|channel|>", ROLE_SHOW},
    {"<|message|>", ROLE_SHOW},
    {"<|start|>", ROLE_SHOW},
    {"<|constrain|>", ROLE_SHOW},
};
enum { N_KNOWN = sizeof KNOWN / sizeof KNOWN[0] };

/* The role of each single special id that a text may give. */
static const struct {
  unsigned role;
  int which;
} GIVES[] = {
    {ROLE_EOT, WN_TOK_EOT},     {ROLE_EOM, -1},
    {ROLE_PRE, WN_TOK_FIM_PRE}, {ROLE_SUF, WN_TOK_FIM_SUF},
    {ROLE_MID, WN_TOK_FIM_MID}, {ROLE_PAD, WN_TOK_FIM_PAD},
    {ROLE_REP, WN_TOK_FIM_REP}, {ROLE_SEP, WN_TOK_FIM_SEP},
};

typedef struct known {
  uint32_t id;
  unsigned roles;
} known;

/* The tokens of the vocabulary that KNOWN lists, in the order in which
 * llama.cpp meets them (order.c), which only matters when there are two. */
static int find_known(const wn_vocab *v, known *k, size_t *n, wn_err *e) {
  *n = 0;
  for (size_t i = 0; i < N_KNOWN; i++) {
    int32_t id = wn_find(v, KNOWN[i].text, strlen(KNOWN[i].text));
    if (id >= 0) k[(*n)++] = (known){(uint32_t)id, KNOWN[i].roles};
  }
  if (*n < 2) return WN_OK;
  size_t n_order, done = 0;
  uint32_t *order = wn_alloc(WN_MEM_TEXT, v->n * sizeof *order);
  if (order == NULL) return wn_oom(e);
  int rc = wn_listing_order(v, order, &n_order, e);
  for (size_t i = 0; rc == WN_OK && i < n_order && done < *n; i++) {
    for (size_t m = done; m < *n; m++) {
      if (k[m].id != order[i]) continue;
      known x = k[m];
      k[m] = k[done];
      k[done++] = x;
      break;
    }
  }
  wn_free(order);
  return rc;
}

static void give_ids(wn_vocab *v, const known *k, size_t n) {
  for (size_t i = 0; i < n; i++)
    for (size_t m = 0; m < sizeof GIVES / sizeof GIVES[0]; m++) {
      int32_t *id = GIVES[m].which < 0 ? &v->eom : &v->special[GIVES[m].which];
      if ((k[i].roles & GIVES[m].role) == 0 || *id != -1) continue;
      *id = (int32_t)k[i].id;
      v->attr[k[i].id] |= WN_ATTR_CONTROL;
    }
}

/* Control tokens with "unused" in their names (read as a C string). */
static void mark_unused(wn_vocab *v) {
  for (uint32_t i = 0; i < v->n; i++) {
    if ((v->attr[i] & WN_ATTR_CONTROL) == 0) continue;
    wn_str t = wn_text(v, i);
    size_t n = strnlen(t.p, t.n);
    if (memmem(t.p, n, "unused", 6) != NULL) v->attr[i] |= WN_ATTR_UNUSED;
  }
}

/* ---- end of generation ---- */

static void end_at(wn_vocab *v, int32_t id) {
  if (id >= 0) v->attr[id] |= WN_ATTR_EOG;
}

static bool ends_with(const wn_vocab *v, const char *text, uint32_t *id) {
  int32_t x = wn_find(v, text, strlen(text));
  if (x < 0 || (v->attr[x] & WN_ATTR_EOG) == 0) return false;
  *id = (uint32_t)x;
  return true;
}

/* <|end|> of the harmony format separates messages of one turn; </s> beside
 * <|tool_response> is plain text. */
static void correct_ends(wn_vocab *v) {
  uint32_t end, s, x;
  bool call = ends_with(v, "<|call|>", &x) || ends_with(v, "<|calls|>", &x);
  bool turn = ends_with(v, "<|return|>", &x) || ends_with(v, "<|flush|>", &x);
  if (call && turn && ends_with(v, "<|end|>", &end))
    v->attr[end] = WN_ATTR_USER | (v->attr[end] & WN_ATTR_CUT);
  if (ends_with(v, "<|tool_response>", &x) && ends_with(v, "</s>", &s))
    v->attr[s] = WN_ATTR_NORMAL | (v->attr[s] & WN_ATTR_CUT);
}

static void find_ends(wn_vocab *v, const known *k, size_t n) {
  end_at(v, v->special[WN_TOK_FIM_PAD]);
  end_at(v, v->special[WN_TOK_FIM_REP]);
  end_at(v, v->special[WN_TOK_FIM_SEP]);
  for (size_t i = 0; i < n; i++)
    if (k[i].roles & ROLE_EOG)
      v->attr[k[i].id] |= WN_ATTR_CONTROL | WN_ATTR_EOG;
  for (size_t i = 0; i < n; i++)
    if (k[i].roles & ROLE_SHOW)
      v->attr[k[i].id] =
          WN_ATTR_USER | (v->attr[k[i].id] & (WN_ATTR_EOG | WN_ATTR_CUT));
  end_at(v, v->special[WN_TOK_EOS]);
  end_at(v, v->special[WN_TOK_EOT]);
  end_at(v, v->eom);
  correct_ends(v);
}

/* ---- attributes that depend on the model's name ---- */

static bool contains(wn_str s, const char *part) {
  return s.n > 0 && memmem(s.p, s.n, part, strlen(part)) != NULL;
}

static void set_attr(wn_vocab *v, const char *text, unsigned bit, bool on) {
  int32_t id = wn_find(v, text, strlen(text));
  if (id < 0) return;
  v->attr[id] = (uint16_t)(on ? v->attr[id] | bit : v->attr[id] & ~bit);
}

/* Masks take the space before them along, phi-3's tokens the one behind. */
static void apply_quirks(wn_vocab *v, const wn_gguf *g) {
  wn_str name = {NULL, 0}, pre = {NULL, 0}, arch = {NULL, 0};
  char lower[256];
  wn_gguf_get_str(g, "general.name", &name, NULL);
  wn_gguf_get_str(g, "tokenizer.ggml.pre", &pre, NULL);
  wn_gguf_get_str(g, "general.architecture", &arch, NULL);
  if (name.n > sizeof lower) name.n = sizeof lower;
  for (size_t i = 0; i < name.n; i++)
    lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32
                                                           : name.p[i]);
  name.p = lower;
  if (contains(pre, "jina-v2-de") || contains(pre, "jina-v2-es") ||
      contains(pre, "jina-v2-code") || contains(arch, "nomic-bert-moe") ||
      contains(arch, "jina-bert-v3")) {
    set_attr(v, "<mask>", WN_ATTR_LSTRIP, true);
  } else if (contains(name, "phi-3") || contains(name, "phi3")) {
    for (uint32_t i = 0; i < v->n_specials; i++)
      v->attr[v->special_order[i]] |= WN_ATTR_RSTRIP;
    set_attr(v, "</s>", WN_ATTR_RSTRIP, true);
    set_attr(v, "<unk>", WN_ATTR_RSTRIP, false);
    set_attr(v, "<s>", WN_ATTR_RSTRIP, false);
    set_attr(v, "<|endoftext|>", WN_ATTR_RSTRIP, false);
  } else if (contains(name, "modern-bert")) {
    set_attr(v, "[MASK]", WN_ATTR_LSTRIP, true);
  }
}

/* ---- what is cut out of a text ---- */

/* Exact: what the file itself calls special; tokens that only sound so, like
 * "</s>" among Qwen's entries, are ordinary texts. */
static int build_automaton(wn_vocab *v, wn_err *e) {
  const unsigned cut = v->exact == WN_EXACT_TRAINED && v->typed
                           ? WN_ATTR_CUT
                           : WN_ATTR_CONTROL | WN_ATTR_USER | WN_ATTR_UNKNOWN;
  v->special_order = wn_alloc(WN_MEM_TEXT, v->n * sizeof(uint32_t));
  if (v->special_order == NULL) return wn_oom(e);
  for (uint32_t i = 0; i < v->n; i++)
    if (v->attr[i] & cut) v->special_order[v->n_specials++] = i;
  wn_sort_by_length(v, v->special_order, v->n_specials);
  if (v->exact == WN_EXACT_TRAINED) return wn_added_init(v, e);
  int rc = wn_trie_init(&v->specials, e);
  for (uint32_t k = v->n_specials; rc == WN_OK && k-- > 0;) {
    uint32_t id = v->special_order[k]; /* of equal texts the first stays */
    wn_str t = wn_text(v, id);
    rc = wn_trie_put(&v->specials, t.p, t.n, k, e);
    v->special_first[(uint8_t)t.p[0]] = 1;
    if ((v->attr[id] & (WN_ATTR_CONTROL | WN_ATTR_UNKNOWN)) == 0)
      v->any_user = true;
  }
  return rc == WN_OK ? wn_trie_link(&v->specials, e) : rc;
}

/* Tokens that encoding will add must exist. */
static int check_added(const wn_vocab *v, wn_err *e) {
  bool wpm = v->kind == WN_KIND_WPM;
  bool adds = v->kind == WN_KIND_BPE || v->kind == WN_KIND_SPM ||
              v->kind == WN_KIND_UGM;
  if ((wpm || (adds && v->add_bos)) && v->special[WN_TOK_BOS] < 0)
    return wn_key_fail(e, WN_EFORMAT, "tokenizer.ggml.bos_token_id",
                       "missing, but the token is to be added");
  if (adds && v->add_eos && v->special[WN_TOK_EOS] < 0)
    return wn_key_fail(e, WN_EFORMAT, "tokenizer.ggml.eos_token_id",
                       "missing, but the token is to be added");
  if (wpm && v->special[WN_TOK_SEP] < 0)
    return wn_key_fail(e, WN_EFORMAT, "tokenizer.ggml.seperator_token_id",
                       "missing, but the token is to be added");
  return WN_OK;
}

int wn_load_specials(wn_vocab *v, const wn_gguf *g, wn_err *e) {
  known k[N_KNOWN];
  size_t n;
  int rc = read_ids(v, g, e);
  if (rc == WN_OK) rc = read_flags(v, g, e);
  if (rc == WN_OK) rc = check_added(v, e);
  if (rc == WN_OK) rc = find_known(v, k, &n, e);
  if (rc != WN_OK) return rc;
  give_ids(v, k, n);
  mark_unused(v);
  find_ends(v, k, n);
  rc = build_automaton(v, e);
  if (rc == WN_OK) apply_quirks(v, g);
  return rc;
}
