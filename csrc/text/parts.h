/* parts.h - between the files of csrc/text: what a vocabulary holds.
 *
 * Built in this order by wn_vocab_new: flags that the tokenizer's name and
 * `pre` imply (load.c), token texts, scores and attributes (tokens.c), the
 * index of the kind (bpe.c, spm.c, wpm.c, ugm.c, rwkv.c, plamo.c), special
 * tokens (special.c). Then nothing that can be seen changes; `bpe.whole` is a
 * cache of facts that any thread may find out and write. */
#ifndef WN_TEXT_PARTS_H
#define WN_TEXT_PARTS_H

#include <stdatomic.h>
#include <string.h>

#include "base/arith.h"
#include "base/limits.h"
#include "base/mem.h"
#include "text/pretok.h"
#include "text/trie.h"
#include "text/unicode.h"
#include "text/vocab.h"

enum {
  WN_ATTR_UNKNOWN = 1,
  WN_ATTR_UNUSED = 2,
  WN_ATTR_NORMAL = 4,
  WN_ATTR_CONTROL = 8,
  WN_ATTR_USER = 16,
  WN_ATTR_BYTE = 32,
  WN_ATTR_LSTRIP = 128,
  WN_ATTR_RSTRIP = 256,
  WN_ATTR_EOG = 1 << 15, /* ours: ends generation */
  WN_ATTR_CUT = 1 << 14, /* ours: special by the file's own types */
  WN_ATTR_PUBLIC = 1023,
};

typedef enum wn_kind {
  WN_KIND_NONE, /* ids without texts */
  WN_KIND_BPE,
  WN_KIND_SPM,
  WN_KIND_WPM,
  WN_KIND_UGM,
  WN_KIND_RWKV,
  WN_KIND_PLAMO2,
} wn_kind;

/* Strings in one block: string i is [off[i], off[i + 1]). */
typedef struct wn_pool_str {
  char *p;
  size_t *off;
} wn_pool_str;

static inline wn_str wn_str_at(const wn_pool_str *s, uint32_t i) {
  return (wn_str){s->p + s->off[i], s->off[i + 1] - s->off[i]};
}

/* Hash table from strings to their numbers in one or two pools (BPE symbols
 * continue the numbering of tokens). Half empty, linear probing, grows. */
typedef struct wn_map_slot {
  uint32_t hash, id; /* id UINT32_MAX: empty */
} wn_map_slot;

typedef struct wn_map {
  wn_map_slot *slot;
  uint64_t mask;
  const wn_pool_str *low, *high; /* ids below / from n_low on */
  uint32_t n_low, n;             /* n: strings in the table */
} wn_map;

#define WN_NONE UINT32_MAX

uint64_t wn_hash(const void *p, size_t n);
/* Room for n strings at first; the caller sets low, high, n_low. */
int wn_map_init(wn_map *m, size_t n, wn_err *e);
/* The number of the string, or WN_NONE. */
uint32_t wn_map_get(const wn_map *m, const void *p, size_t n);
uint32_t wn_map_get_hash(const wn_map *m, const void *p, size_t n, uint64_t h);
/* Adds string `id` of the pools, which may equal an earlier one: then that
 * one's number is replaced when `last`. *was (may be NULL): the earlier number
 * or WN_NONE. WN_EFORMAT when strings were chosen to collide. */
int wn_map_put(wn_map *m, uint32_t id, bool last, uint32_t *was, wn_err *e);

/* A growing list of token ids. */
typedef struct wn_ids {
  int32_t *p;
  size_t n, cap;
} wn_ids;
bool wn_ids_push(wn_ids *ids, int32_t id);
bool wn_ids_reserve(wn_ids *ids, size_t more);

/* BPE: symbols a and b may merge into `sym`, with priority `rank`. */
typedef struct wn_pair {
  uint32_t a, b, rank, sym;
} wn_pair;

typedef struct wn_bpe {
  wn_pool_str extra; /* symbols that are no tokens; from n_tokens on */
  uint32_t n_extra;
  wn_map syms; /* tokens by what they match, and extra symbols */
  wn_pair *pair;
  uint64_t pair_mask;
  uint32_t n_merges;        /* ranks are below it */
  uint32_t byte_sym[256];   /* symbol of one raw byte */
  int32_t fallback[256][2]; /* tokens for a byte that no symbol covers */
  _Atomic(uint8_t) *whole;  /* per token: 1 = merges back to itself, 2 no */
  size_t max_len;           /* longest token in bytes of text */
  int32_t dna[3];           /* <dna> </dna> <oov> of the hybriddna model */
} wn_bpe;

typedef struct wn_ugm {
  wn_trie tokens, user;
  uint32_t first[256]; /* nodes of `tokens` after one byte */
  uint32_t *xcda;      /* double array, checked while walking */
  size_t n_xcda;
  char *repl; /* zero-terminated replacements */
  size_t n_repl;
  float *points; /* per token; NaN for what guarded text may not become */
  float unk_score;
  size_t ring;     /* 2^k - 1, at least the longest token */
  bool plain[256]; /* bytes that normalising mostly leaves: ugm_map.c */
} wn_ugm;

/* Exact: texts of special tokens, reversed (added.c). */
typedef struct wn_added {
  wn_trie trie;
  bool last[256]; /* bytes that some of them end with */
} wn_added;

struct wn_vocab {
  atomic_int refs;
  wn_kind kind;
  wn_exact exact;
  bool typed; /* the file states the types of its tokens */
  const wn_pre *pre;
  bool dna, whitespace; /* models that wrap BPE */
  uint32_t n;           /* tokens */
  wn_pool_str text;     /* as in the file */
  wn_pool_str raw;      /* byte-level BPE: the bytes a token stands for */
  float *score;
  uint16_t *attr;
  wn_map map; /* by text */
  wn_uni uni;
  int32_t special[WN_TOK_N], eom;
  bool add_bos, add_eos, add_sep, add_space_prefix, clean_spaces;
  bool remove_extra_ws, escape_ws, lowercase, strip_accents;
  int32_t byte_id[256]; /* SPM, UGM, PLaMo: token of a byte */
  uint8_t no_cut[256];  /* SPM: see spm.c */
  uint32_t *urgency;    /* SPM: 0 for tokens of the highest score, and so on */
  uint32_t n_urgency;
  wn_added added[2]; /* those that always count; control tokens */
  wn_trie specials;  /* not exact: their texts, as an automaton */
  uint32_t *special_order, n_specials; /* the order they are looked for */
  bool any_user;              /* some of them count without parse_special */
  uint8_t special_first[256]; /* bytes that some of them begin with */
  wn_bpe bpe;
  wn_ugm ugm;
  wn_trie trie; /* WPM, RWKV, PLaMo: all tokens */
};

static inline wn_str wn_text(const wn_vocab *v, uint32_t id) {
  return wn_str_at(&v->text, id);
}

/* The token with this text, or -1. */
static inline int32_t wn_find(const wn_vocab *v, const void *p, size_t n) {
  uint32_t id = wn_map_get(&v->map, p, n);
  return id == WN_NONE ? -1 : (int32_t)id;
}

static inline bool wn_text_is(const wn_vocab *v, uint32_t id, const char *s) {
  wn_str t = wn_text(v, id);
  return t.n == strlen(s) && memcmp(t.p, s, t.n) == 0;
}

/* An error about a metadata key: "key 'k': <message>". */
int wn_key_fail(wn_err *e, int code, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* tokens.c: texts, scores, attributes, map. */
int wn_load_tokens(wn_vocab *v, const wn_gguf *g, wn_err *e);
/* The byte that "<0xAB>" stands for, or -1. */
int wn_byte_token(wn_str t);

/* special.c: special ids, flags, eog, attributes, the automaton. */
int wn_load_specials(wn_vocab *v, const wn_gguf *g, wn_err *e);
/* order.c: token ids in the order in which llama.cpp's hash table lists their
 * texts; and the order in which its sort leaves tokens of equal length. */
int wn_listing_order(const wn_vocab *v, uint32_t *order, size_t *n, wn_err *e);
void wn_sort_by_length(const wn_vocab *v, uint32_t *ids, size_t n);

/* Per kind: build the index, encode one stretch of text without specials.
 * guard: it may not become control tokens (llama.cpp lets it). */
int wn_bpe_init(wn_vocab *v, const wn_gguf *g, wn_err *e);
int wn_bpe_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                  wn_ids *out, wn_err *e);
void wn_bpe_free(wn_bpe *b);
int wn_spm_init(wn_vocab *v, wn_err *e);
int wn_spm_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool prefix,
                  bool guard, wn_ids *out, wn_err *e);
int wn_wpm_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                  wn_ids *out, wn_err *e);
int wn_ugm_init(wn_vocab *v, const wn_gguf *g, wn_err *e);
/* Sets ugm.points: again when the attributes have changed. */
void wn_ugm_weigh(wn_vocab *v);
int wn_ugm_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                  wn_ids *out, wn_err *e);
int wn_trie_init_all(wn_vocab *v, wn_err *e); /* WPM, RWKV, PLaMo */
int wn_rwkv_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                   wn_ids *out, wn_err *e);
int wn_plamo_encode(const wn_vocab *v, const uint8_t *p, size_t n, bool guard,
                    wn_ids *out, wn_err *e);
/* An RWKV token's bytes: escapes like \x0a resolved. out has room for n. */
size_t wn_rwkv_unescape(uint8_t *out, wn_str t);

/* encode.c: a stretch of text without special tokens; `prefix`: SPM puts a
 * space in front. */
int wn_encode_raw(const wn_vocab *v, const uint8_t *p, size_t n, bool prefix,
                  wn_ids *out, wn_err *e);

/* partition.c: stretches of text between special tokens. */
typedef struct wn_frag {
  int32_t id; /* a special token, or -1: text */
  size_t off, n;
} wn_frag;
typedef struct wn_frags {
  wn_frag *p;
  size_t n, cap;
} wn_frags;
bool wn_frags_add(wn_frags *f, wn_frag x);

/* added.c: the automata of an exact vocabulary, and cutting with them. */
int wn_added_init(wn_vocab *v, wn_err *e);
bool wn_added_cut(const wn_vocab *v, const char *text, size_t n,
                  bool parse_special, const wn_spans *plain, wn_frags *out);

int wn_partition(const wn_vocab *v, const char *text, size_t n,
                 bool parse_special, const wn_spans *plain, wn_frag **frags,
                 size_t *n_frags, wn_err *e);

/* A token that guarded text may not become? */
static inline bool wn_kept_out(const wn_vocab *v, bool guard, uint32_t id) {
  return guard && (v->attr[id] & WN_ATTR_CONTROL) != 0;
}

static inline int wn_oom(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "out of memory");
}

#endif
