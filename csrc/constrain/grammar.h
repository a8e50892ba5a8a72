/* grammar.h - a grammar as a machine that reads bytes.
 *
 * Made once of a parsed tree, immutable (but for what matches have learnt of
 * it), reference counted. States are either
 * readers (a byte, a character of a class, a token) or silent (branches, calls
 * of rules, counters). Rules that can hold themselves are called, with a stack;
 * others are written out in place while they are small. A repetition with
 * bounds is a counter on the stack, not copies: {0,100000} is one state. */
#ifndef WN_CONSTRAIN_GRAMMAR_H
#define WN_CONSTRAIN_GRAMMAR_H

#include <stdatomic.h>

#include "constrain/gbnf.h"

typedef enum wn_gop {
  WN_OP_RETURN, /* the rule's end: pops the place to go on; state 0 */
  WN_OP_BYTE,   /* byte a, then next */
  WN_OP_CLASS,  /* a character of class a, then next */
  WN_OP_TOKEN,  /* token a, then next */
  WN_OP_OTHER,  /* any token but a, then next */
  WN_OP_SPLIT,  /* b ways, from branch[a] on */
  WN_OP_LOOP,   /* the same; one of them comes back here */
  WN_OP_CALL,   /* begins rule at state a; pushes next */
  WN_OP_COUNT,  /* a repetition's start: a body, b to c times, then next */
  WN_OP_AGAIN,  /* its end: a is the COUNT's state */
} wn_gop;

typedef struct wn_gstate {
  wn_gop op;
  uint32_t a, b, c, next;
} wn_gstate;

typedef struct wn_learnt wn_learnt;
enum { WN_GRAMMAR_SPARES = 4 };

typedef struct wn_grammar wn_grammar;
struct wn_grammar {
  atomic_uint refs;
  _Atomic(wn_learnt *) spare[WN_GRAMMAR_SPARES]; /* see learnt.h */
  wn_gtree tree; /* classes and ranges are used */
  wn_gstate *state;
  uint32_t *branch;
  uint32_t n_states, n_branches, cap_states, cap_branches;
  uint32_t start;
  bool has_tokens;      /* token states exist */
  uint8_t kind_of[256]; /* bytes that no state tells apart have one kind */
  uint8_t byte_of[256]; /* a byte of each kind */
  uint32_t n_kinds;
  uint64_t *class_kinds;  /* per class, 4 words: kinds that begin one of it */
  uint64_t tail_kinds[4]; /* kinds that go on with a character */
};

int wn_grammar_new(const char *text, size_t n, const char *root,
                   const wn_vocab *v, wn_grammar **out, wn_err *e);
wn_grammar *wn_grammar_ref(wn_grammar *g);
void wn_grammar_unref(wn_grammar *g);

#endif
