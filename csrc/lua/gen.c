/* gen.c - Lua: samplers.
 *
 * core.sample.new { temperature = ..., seed = ..., ... } -> sampler
 *   sampler:pick(logits) -> id            logits: a buffer of n_vocab values
 *   sampler:accept(id)                    remembers it for the penalties
 *   sampler:bias(id, add) */
#include <string.h>

#include "base/mem.h"
#include "lua/buffer.h"
#include "lua/lib.h"
#include "lua/run.h"
#include "run/sample.h"

/* ---- samplers */

static void sampler_unref(void *s) {
  wn_sampler_unref(s);
}

static const char *const sample_names[] = {"temperature",
                                           "top_k",
                                           "top_p",
                                           "min_p",
                                           "repeat_penalty",
                                           "frequency_penalty",
                                           "presence_penalty",
                                           "repeat_last_n",
                                           "seed",
                                           "n_vocab",
                                           NULL};

/* new(opts): n_vocab is required */
static int sample_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  wn_check_options(L, 1, sample_names);
  wn_sample_opts o = {
      .temperature = (float)wn_opt_num(L, 1, "temperature", 0.8, 0, 1e6),
      .top_k = (uint32_t)wn_opt_int(L, 1, "top_k", 40, 0, INT32_MAX),
      .top_p = (float)wn_opt_num(L, 1, "top_p", 0.95, 0, 1),
      .min_p = (float)wn_opt_num(L, 1, "min_p", 0.05, 0, 1),
      .repeat_penalty = (float)wn_opt_num(L, 1, "repeat_penalty", 1, 1e-6, 1e6),
      .frequency_penalty =
          (float)wn_opt_num(L, 1, "frequency_penalty", 0, -1e6, 1e6),
      .presence_penalty =
          (float)wn_opt_num(L, 1, "presence_penalty", 0, -1e6, 1e6),
      .repeat_last_n =
          (uint32_t)wn_opt_int(L, 1, "repeat_last_n", 64, 0, 1 << 20),
      .seed = (uint64_t)wn_opt_int(L, 1, "seed", 0, 0, 9007199254740992),
  };
  int64_t n_vocab = wn_opt_int(L, 1, "n_vocab", 0, 0, INT32_MAX);
  wn_err e = {0};
  wn_sampler *s = NULL;
  wn_handle *h = wn_handle_new(L, &wn_sampler_class);
  if (wn_sampler_new(&o, (uint32_t)n_vocab, &s, &e) != WN_OK)
    return wn_push_error(L, &e);
  h->obj = s;
  return 1;
}

/* The sampler at `arg`, entered: wn_sampler_end must follow, with no Lua call
 * that can raise in between. */
static wn_sampler *enter_sampler(lua_State *L, int arg) {
  wn_sampler *s = wn_handle_check(L, arg, &wn_sampler_class);
  if (!wn_sampler_begin(s)) luaL_error(L, "wane: sampler is busy");
  return s;
}

static int sampler_pick(lua_State *L) {
  wn_sampler *s = wn_handle_check(L, 1, &wn_sampler_class);
  const wn_buffer *b = wn_handle_check(L, 2, &wn_buffer_class);
  wn_err e = {0};
  int32_t id;
  if (b->rows * b->cols != wn_sampler_n_vocab(s))
    return luaL_argerror(L, 2, "want one logit per token of the vocabulary");
  enter_sampler(L, 1);
  int rc = wn_sampler_pick(s, b->data, &id, &e);
  wn_sampler_end(s);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushinteger(L, id);
  return 1;
}

static int sampler_accept(lua_State *L) {
  int32_t id = (int32_t)wn_check_int(L, 2, 0, INT32_MAX);
  wn_sampler *s = enter_sampler(L, 1);
  wn_sampler_accept(s, id);
  wn_sampler_end(s);
  return 0;
}

static int sampler_bias(lua_State *L) {
  int32_t id = (int32_t)wn_check_int(L, 2, 0, INT32_MAX);
  float add = (float)luaL_checknumber(L, 3);
  wn_err e = {0};
  wn_sampler *s = enter_sampler(L, 1);
  int rc = wn_sampler_bias(s, id, add, &e);
  wn_sampler_end(s);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg sampler_methods[] = {{"pick", sampler_pick},
                                           {"accept", sampler_accept},
                                           {"bias", sampler_bias},
                                           {NULL, NULL}};

const wn_class_def wn_sampler_class = {"wane.sampler", sampler_methods, NULL,
                                       sampler_unref};

int wn_open_sample(lua_State *L) {
  static const luaL_Reg funcs[] = {{"new", sample_new}, {NULL, NULL}};
  wn_class_register(L, &wn_sampler_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
