/* lora.c - core.lora: merging adapters.
 *
 *   add(w, a, b, scale)   w += scale * B A; buffers w (rows, cols), a (rank,
 *                         cols), b (rows, rank) */
#include "run/lora.h"

#include "lua/buffer.h"
#include "lua/lib.h"

static int lora_add(lua_State *L) {
  wn_buffer *w = wn_buffer_check(L, 1);
  const wn_buffer *a = wn_buffer_check(L, 2), *b = wn_buffer_check(L, 3);
  double scale = luaL_checknumber(L, 4);
  luaL_argcheck(L, a->cols == w->cols, 2, "want as many columns as the matrix");
  luaL_argcheck(L, b->rows == w->rows && b->cols == a->rows, 3,
                "want the matrix's rows and a column for each row of a");
  double *sum = lua_newuserdata(L, (w->cols + 1) * sizeof *sum);
  w = wn_buffer_check(L, 1), a = wn_buffer_check(L, 2);
  b = wn_buffer_check(L, 3);
  wn_lora_add(w->data, w->rows, w->cols, a->data, b->data, a->rows, scale, sum);
  return 0;
}

int wn_open_lora(lua_State *L) {
  static const luaL_Reg funcs[] = {{"add", lora_add}, {NULL, NULL}};
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
