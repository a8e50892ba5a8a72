/* lua/vector.c - core.vector: what is done with embeddings when the model is
 * through with them. Sums are taken in double, in order, so that a result
 * depends on its own rows only.
 *
 *   mean(b, first, n) -> 1 x cols: of rows first .. first + n - 1
 *   times(w, x)       -> 1 x rows of w: each row of w times the values of x
 *   unit(b)           -> b, every row divided by its length (0 stays 0)
 *
 * Buffers are those of lua/buffer.h. */
#include <math.h>

#include "lua/buffer.h"

static int vector_mean(lua_State *L) {
  wn_err e;
  wn_buffer *b = wn_buffer_check(L, 1);
  size_t first = (size_t)wn_check_int(L, 2, 1, (int64_t)b->rows) - 1;
  size_t n = (size_t)wn_check_int(L, 3, 1, (int64_t)(b->rows - first));
  wn_buffer *y = wn_buffer_push(L, 1, b->cols, &e);
  if (y == NULL) return wn_push_error(L, &e);
  b = wn_buffer_check(L, 1); /* a finalizer may have closed it */
  for (size_t k = 0; k < b->cols; k++) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
      sum += (double)b->data[(first + i) * b->cols + k];
    y->data[k] = (float)(sum / (double)n);
  }
  return 1;
}

static int vector_times(lua_State *L) {
  wn_err e;
  wn_buffer *w = wn_buffer_check(L, 1), *x = wn_buffer_check(L, 2);
  luaL_argcheck(L, x->rows == 1 && x->cols == w->cols, 2,
                "want one row as long as the matrix's");
  wn_buffer *y = wn_buffer_push(L, 1, w->rows, &e);
  if (y == NULL) return wn_push_error(L, &e);
  w = wn_buffer_check(L, 1), x = wn_buffer_check(L, 2);
  for (size_t r = 0; r < w->rows; r++) {
    double sum = 0;
    for (size_t k = 0; k < w->cols; k++)
      sum += (double)w->data[r * w->cols + k] * (double)x->data[k];
    y->data[r] = (float)sum;
  }
  return 1;
}

static int vector_unit(lua_State *L) {
  wn_buffer *b = wn_buffer_check(L, 1);
  for (size_t r = 0; r < b->rows; r++) {
    float *x = b->data + r * b->cols;
    double sum = 0;
    for (size_t k = 0; k < b->cols; k++)
      sum += (double)x[k] * (double)x[k];
    double factor = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t k = 0; k < b->cols; k++)
      x[k] = (float)((double)x[k] * factor);
  }
  lua_settop(L, 1);
  return 1;
}

static const luaL_Reg funcs[] = {{"mean", vector_mean},
                                 {"times", vector_times},
                                 {"unit", vector_unit},
                                 {NULL, NULL}};

int wn_open_vector(lua_State *L) {
  wn_buffer_register(L);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
