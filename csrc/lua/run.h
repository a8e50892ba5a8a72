/* lua/run.h - handles of programs, models and contexts, for other bindings. */
#ifndef WN_LUA_RUN_H
#define WN_LUA_RUN_H

#include "constrain/match.h"
#include "lua/lib.h"
#include "run/ctx.h"

extern const wn_class_def wn_prog_class;
extern const wn_class_def wn_model_class;
extern const wn_class_def wn_ctx_class;
extern const wn_class_def wn_sampler_class;
extern const wn_class_def wn_grammar_class;
extern const wn_class_def wn_tokens_class;

/* Pushes a handle on a new context of m, made from the options at table
 * index t (0: none): n_ctx, n_seq, n_batch, n_out, threads, type_k, type_v,
 * max_bytes. Returns what a Lua function returns. */
int wn_push_ctx(lua_State *L, int model_arg, int t);

/* A list of n factors at `arg`, in a userdata that it pushes. */
float *wn_check_gains(lua_State *L, int arg, uint32_t n);

/* Reads those options; raises for unknown ones. */
void wn_ctx_options(lua_State *L, int t, wn_ctx_opts *o);

/* A list of strings at `arg` (or nil) as an array in a userdata that it pushes;
 * the strings live as long as the list. `what` names it in messages. */
wn_str *wn_check_strings(lua_State *L, int arg, const char *what, size_t *n);

/* What a match waits for, from the table at index t: triggers (strings and
 * token ids), after. Pushes what must stay on the stack meanwhile. */
void wn_match_options(lua_State *L, int t, wn_match_opts *o);

#endif
