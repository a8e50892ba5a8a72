/* gbnf.h - grammars as text (llama.cpp's GBNF) and as a tree.
 *
 *   root  ::= "{" ws (pair ("," ws pair)*)? "}"   # a comment
 *   pair  ::= [a-z_] [^"\\\x00-\x1F]{0,20} <[123]> !<|end|> .
 *
 * Rules of characters, not bytes; <[id]> and <text> stand for a token, with !
 * for any other. A rule goes to the end of its line; inside parentheses, after
 * "::=" and around "|" lines may end. Errors name line and column.
 *
 * A tree that was parsed and checked can be run: every name is defined, no
 * rule begins with itself, and its size is within the limits. */
#ifndef WN_CONSTRAIN_GBNF_H
#define WN_CONSTRAIN_GBNF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "text/vocab.h"

typedef enum wn_gkind {
  WN_G_TEXT,   /* a: first byte in the pool, b: bytes (0: empty) */
  WN_G_CLASS,  /* a: class */
  WN_G_RULE,   /* a: rule */
  WN_G_TOKEN,  /* a: id */
  WN_G_OTHER,  /* a: id; any token but that */
  WN_G_SEQ,    /* a: first of b nodes in `list` */
  WN_G_ALT,    /* as SEQ */
  WN_G_REPEAT, /* a: node; b to c times, c = WN_G_MANY: without end */
} wn_gkind;

#define WN_G_MANY UINT32_MAX

typedef struct wn_gnode {
  wn_gkind kind;
  uint32_t a, b, c;
  uint32_t at; /* byte of the source */
} wn_gnode;

/* A set of characters: ASCII as bits, the others as ranges. */
typedef struct wn_gclass {
  uint64_t ascii[2];
  uint32_t first, n; /* in `range`: ascending, apart, each above 127 */
  bool all;          /* every character above 127 */
  bool most;         /* every one but, perhaps, odd ones (tokens.h) */
} wn_gclass;

typedef struct wn_grange {
  uint32_t low, high;
} wn_grange;

typedef struct wn_grule {
  uint32_t name, n_name; /* in the source */
  uint32_t node;         /* WN_G_MANY: not defined */
  uint32_t at;           /* first mention */
  bool empty;            /* can be nothing */
  bool recursive;        /* can hold itself */
  uint32_t size; /* nodes and bytes of text when the rules it holds, but for
                    recursive ones, are written out in it */
} wn_grule;

typedef struct wn_gtree {
  char *source;
  size_t n_source;
  wn_gnode *node;
  wn_grule *rule;
  wn_gclass *class_;
  wn_grange *range;
  uint32_t *list;
  char *pool;
  uint32_t n_nodes, n_rules, n_classes, n_ranges, n_list, n_pool;
  uint32_t cap_nodes, cap_rules, cap_classes, cap_ranges, cap_list, cap_pool;
  uint32_t root;
  uint32_t *index; /* hash table of rule names */
  uint32_t n_index;
} wn_gtree;

/* Parses and checks; `root` names the rule to begin with. v, for tokens given
 * by their text, may be NULL. WN_EFORMAT, WN_ELIMIT. */
int wn_gbnf_parse(const char *text, size_t n, const char *root,
                  const wn_vocab *v, wn_gtree *t, wn_err *e);
void wn_gtree_free(wn_gtree *t);

/* ---- for the parser's other files */

/* "grammar: line L, column C: " before a message about byte `at`. */
int wn_gfail(const wn_gtree *t, size_t at, int code, wn_err *e, const char *fmt,
             ...) __attribute__((format(printf, 5, 6)));

/* Room for `more` items of `size` bytes after n at *p; false: no memory. */
bool wn_groom(void *p, uint32_t n, uint32_t *cap, uint32_t more, size_t size);

/* Makes a class of n ranges in any order (they are changed); `negate`: of all
 * other characters. Surrogates are left out. */
int wn_gclass_make(wn_gtree *t, wn_grange *r, uint32_t n, bool negate,
                   uint32_t *class_, wn_err *e);

/* Names, left recursion, depth and size. */
int wn_gbnf_check(wn_gtree *t, wn_err *e);

#endif
