/* lua/gguf.h - the handle of an open GGUF file, for other bindings:
 *   wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class); */
#ifndef WN_LUA_GGUF_H
#define WN_LUA_GGUF_H

#include "gguf/gguf.h"
#include "lua/lib.h"

extern const wn_class_def wn_gguf_class;
extern const wn_class_def wn_meta_class;
extern const wn_class_def wn_layout_class;
extern const wn_class_def wn_writer_class;

/* Pushes { name, type, type_id, shape, n_rows, row_bytes, bytes, off, shard }
 * of a copy of a tensor record. */
void wn_push_tensor(lua_State *L, const wn_tensor *t);

/* WN_OK, or why g cannot be worked with: it was opened only to be looked at. */
int wn_gguf_whole(const wn_gguf *g, wn_err *e);

/* true, or nil, message, code, as `rc` says; the number of results. */
int wn_push_result(lua_State *L, int rc, const wn_err *e);

/* gguf_meta.c: the function core.gguf.meta. */
int wn_new_meta(lua_State *L);

/* gguf_write.c: registers the classes for writing and adds meta, layout and
 * writer to the table on top. */
void wn_open_gguf_write(lua_State *L);

#endif
