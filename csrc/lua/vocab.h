/* lua/vocab.h - the handle of a vocabulary, for other bindings:
 *   wn_vocab *v = wn_handle_check(L, 1, &wn_vocab_class); */
#ifndef WN_LUA_VOCAB_H
#define WN_LUA_VOCAB_H

#include "lua/lib.h"
#include "text/vocab.h"

extern const wn_class_def wn_vocab_class;

#endif
