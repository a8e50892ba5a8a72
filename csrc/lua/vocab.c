/* lua/vocab.c - core.vocab: tokenizers. See vocab.lua for the face that users
 * see. Token ids are as in C and in every file: from 0.
 *
 *   new(g [, exact]) -> v | nil, message, code     exact: "trained" or
 *                                                  "llama.cpp"
 *   pre_names() -> list of the `tokenizer.ggml.pre` names that are known
 *   v:info() -> { kind, pre, exact, n, special = { bos = id, ... }, eog = { ids
 * }, add_bos, add_eos, add_sep }      ids that exist only v:encode(text [, {
 * special, parse_special } [, plain]]) -> ids | nil, ... plain: { from, to, ...
 * } stretches where control tokens stay text v:decode(ids [, { remove_special,
 * unparse_special }]) -> text | nil, ... v:piece(id [, special]) -> text
 * v:text(id) -> text as in the file v:find(text) -> id | nil v:attr(id) ->
 * integer, v:is_eog(id) v:digest() -> 32 hexadecimal digits of all texts
 * v:stream(special) -> s               #v -> number of tokens s:push(id) ->
 * text that may be shown now; s:finish() -> the rest
 *
 * Ids and texts from C that must live across a Lua call that can raise are in
 * a handle, a box. */
#include "lua/vocab.h"

#include <string.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/mem.h"
#include "lua/gguf.h"

static void unref_vocab(void *obj) {
  wn_vocab_unref(obj);
}

/* A box frees a block of wn_alloc. */
static const wn_class_def box_class = {"wane.box", NULL, NULL, wn_free};

/* The vocabulary at 1, of a function with n_args arguments. */
static wn_vocab *self(lua_State *L, int n_args) {
  lua_settop(L, n_args);
  return wn_handle_check(L, 1, &wn_vocab_class);
}

/* Empties the box at stack index `at` without waiting for the
 * collector. */
static void release(lua_State *L, int at, const wn_class_def *def) {
  wn_handle *h = lua_touserdata(L, at);
  void *obj = h->obj;
  h->obj = NULL;
  if (obj != NULL) def->unref(obj);
}

static int32_t check_id(lua_State *L, int arg, const wn_vocab *v) {
  uint32_t n = wn_vocab_size(v);
  luaL_argcheck(L, n > 0, arg, "the vocabulary has no tokens");
  return (int32_t)wn_check_int(L, arg, 0, (int64_t)n - 1);
}

static const char *const EXACT_NAMES[] = {"trained", "llama.cpp", NULL};

static int vocab_new(lua_State *L) {
  const wn_exact exact =
      (wn_exact)luaL_checkoption(L, 2, EXACT_NAMES[0], EXACT_NAMES);
  wn_err e = {0};
  wn_vocab *v = NULL;
  wn_handle_check(L, 1, &wn_gguf_class);
  wn_handle *h = wn_handle_new(L, &wn_vocab_class);
  const wn_gguf *g = wn_handle_check(L, 1, &wn_gguf_class);
  if (wn_vocab_new_as(g, exact, &v, &e) != WN_OK) return wn_push_error(L, &e);
  h->obj = v;
  return 1;
}

static int vocab_pre_names(lua_State *L) {
  const char *name;
  lua_newtable(L);
  for (int i = 0; (name = wn_vocab_pre_name((size_t)i)) != NULL; i++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* ---- info ---- */

static const char *const SPECIAL_NAMES[WN_TOK_N] = {
    "bos", "eos",     "eot",     "unk",     "sep",     "pad",     "mask",
    "nl",  "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep",
};

static void push_special(lua_State *L, const wn_vocab *v) {
  lua_newtable(L);
  for (int i = 0; i < WN_TOK_N; i++) {
    int32_t id = wn_vocab_special(v, (wn_special)i);
    if (id < 0) continue;
    lua_pushinteger(L, id);
    lua_setfield(L, -2, SPECIAL_NAMES[i]);
  }
}

static void push_eog(lua_State *L, const wn_vocab *v) {
  int n = 0;
  lua_newtable(L);
  for (int32_t id = 0; (uint32_t)id < wn_vocab_size(v); id++) {
    if (!wn_vocab_is_eog(v, id)) continue;
    lua_pushinteger(L, id);
    lua_rawseti(L, -2, ++n);
  }
}

static int vocab_info(lua_State *L) {
  const wn_vocab *v = self(L, 1);
  lua_newtable(L);
  lua_pushstring(L, wn_vocab_kind(v));
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, wn_vocab_pre(v));
  lua_setfield(L, -2, "pre");
  lua_pushstring(L, EXACT_NAMES[wn_vocab_exact(v)]);
  lua_setfield(L, -2, "exact");
  lua_pushinteger(L, (lua_Integer)wn_vocab_size(v));
  lua_setfield(L, -2, "n");
  wn_set_bool(L, "add_bos", wn_vocab_add_bos(v));
  wn_set_bool(L, "add_eos", wn_vocab_add_eos(v));
  wn_set_bool(L, "add_sep", wn_vocab_add_sep(v));
  push_special(L, v);
  lua_setfield(L, -2, "special");
  push_eog(L, v);
  lua_setfield(L, -2, "eog");
  return 1;
}

/* ---- encoding ---- */

static const char *const ENCODE_OPTIONS[] = {"special", "parse_special", NULL};
static const char *const DECODE_OPTIONS[] = {"remove_special",
                                             "unparse_special", NULL};

/* The two flags of an option table, which may be missing. */
static void check_flags(lua_State *L, int arg, const char *const *names,
                        bool flag[2]) {
  flag[0] = flag[1] = false;
  if (lua_isnoneornil(L, arg)) return;
  luaL_checktype(L, arg, LUA_TTABLE);
  wn_check_options(L, arg, names);
  for (int i = 0; i < 2; i++)
    flag[i] = wn_opt_bool(L, arg, names[i], false);
}

/* The list { from, to, from, to, ... } at `arg` (offsets of bytes, ascending)
 * as spans in scratch memory; none when it is missing. */
static wn_spans check_spans(lua_State *L, int arg, size_t n_text) {
  wn_spans s = {NULL, 0};
  if (lua_isnoneornil(L, arg)) return s;
  luaL_checktype(L, arg, LUA_TTABLE);
  size_t n = lua_rawlen(L, arg);
  luaL_argcheck(L, n % 2 == 0 && n <= (uint64_t)WN_MAX_ARRAY, arg,
                "want pairs of offsets");
  wn_span *p = lua_newuserdata(L, (n / 2 + 1) * sizeof *p);
  double last = 0;
  for (size_t i = 0; i < n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    double x = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    luaL_argcheck(L, x >= last && x <= (double)n_text, arg,
                  "want ascending offsets within the text");
    last = x;
    *(i % 2 == 0 ? &p[i / 2].from : &p[i / 2].to) = (size_t)x;
    lua_pop(L, 1);
  }
  s.p = p;
  s.n = n / 2;
  return s;
}

/* The ids of the text at 2, options at 3, spans at 4: in a box that is pushed.
 * NULL: *e says why. */
static const int32_t *encode(lua_State *L, size_t *n_ids, wn_err *e) {
  size_t n;
  bool flag[2];
  int32_t *ids = NULL;
  const wn_vocab *v = self(L, 4);
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *text = lua_tolstring(L, 2, &n);
  check_flags(L, 3, ENCODE_OPTIONS, flag);
  const wn_spans plain = check_spans(L, 4, n);
  wn_handle *box = wn_handle_new(L, &box_class);
  int rc = wn_vocab_encode_plain(v, text, n, &plain, flag[0], flag[1], &ids,
                                 n_ids, e);
  if (rc == WN_OK) box->obj = ids;
  return rc == WN_OK ? ids : NULL;
}

static int vocab_count(lua_State *L) {
  size_t n_ids = 0;
  wn_err e = {0};
  if (encode(L, &n_ids, &e) == NULL) return wn_push_error(L, &e);
  release(L, lua_gettop(L), &box_class);
  lua_pushinteger(L, (lua_Integer)n_ids);
  return 1;
}

static int vocab_encode(lua_State *L) {
  size_t n_ids = 0;
  wn_err e = {0};
  const int32_t *ids = encode(L, &n_ids, &e);
  if (ids == NULL) return wn_push_error(L, &e);
  int at = lua_gettop(L);
  if (n_ids > (uint64_t)WN_MAX_ARRAY)
    return luaL_error(L, "wane: too many tokens for a table");
  lua_createtable(L, (int)n_ids, 0);
  for (size_t i = 0; i < n_ids; i++) {
    lua_pushinteger(L, ids[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  release(L, at, &box_class);
  return 1;
}

/* The ids of the list at `arg`, in a new block of scratch memory. */
static int32_t *check_ids(lua_State *L, int arg, const wn_vocab *v, size_t *n) {
  luaL_checktype(L, arg, LUA_TTABLE);
  *n = lua_rawlen(L, arg);
  luaL_argcheck(L, *n <= (uint64_t)WN_MAX_ARRAY, arg, "too many tokens");
  int32_t *ids = lua_newuserdata(L, (*n + 1) * sizeof *ids);
  double most = (double)wn_vocab_size(v) - 1;
  for (size_t i = 0; i < *n; i++) {
    lua_rawgeti(L, arg, (int)i + 1);
    double x = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    if (!(x >= 0 && x <= most && x == (double)(int32_t)x))
      luaL_error(L, "wane: token %d of the list is no id from 0 to %d",
                 (int)i + 1, (int)most);
    ids[i] = (int32_t)x;
    lua_pop(L, 1);
  }
  return ids;
}

static int vocab_decode(lua_State *L) {
  size_t n, n_text = 0;
  bool flag[2];
  char *text = NULL;
  wn_err e = {0};
  const wn_vocab *v = self(L, 3);
  check_flags(L, 3, DECODE_OPTIONS, flag);
  const int32_t *ids = check_ids(L, 2, v, &n);
  wn_handle *box = wn_handle_new(L, &box_class);
  int at = lua_gettop(L);
  int rc = wn_vocab_decode(v, ids, n, flag[0], flag[1], &text, &n_text, &e);
  if (rc != WN_OK) return wn_push_error(L, &e);
  box->obj = text;
  lua_pushlstring(L, text, n_text);
  release(L, at, &box_class);
  return 1;
}

/* Pushes the bytes of one token. */
static void push_piece(lua_State *L, const wn_vocab *v, int32_t id,
                       bool special) {
  char few[256];
  size_t n = wn_vocab_piece(v, id, special, few, sizeof few);
  if (n <= sizeof few) {
    lua_pushlstring(L, few, n);
    return;
  }
  char *buf = lua_newuserdata(L, n);
  wn_vocab_piece(v, id, special, buf, n);
  lua_pushlstring(L, buf, n);
  lua_remove(L, -2);
}

static int vocab_piece(lua_State *L) {
  const wn_vocab *v = self(L, 3);
  push_piece(L, v, check_id(L, 2, v), lua_toboolean(L, 3));
  return 1;
}

/* digest() -> 32 hexadecimal digits: the texts of all tokens, in order. */
static int vocab_digest(lua_State *L) {
  const wn_vocab *v = self(L, 1);
  wn_digest d;
  char hex[33];
  wn_digest_init(&d);
  for (uint32_t id = 0; id < wn_vocab_size(v); id++) {
    size_t n;
    const char *text = wn_vocab_text(v, (int32_t)id, &n);
    uint64_t bytes = n; /* where a text ends is told, too */
    wn_digest_add(&d, &bytes, sizeof bytes);
    wn_digest_add(&d, text, n);
  }
  wn_digest_hex(wn_digest_end(&d), hex);
  lua_pushstring(L, hex);
  return 1;
}

static int vocab_text(lua_State *L) {
  size_t n;
  const wn_vocab *v = self(L, 2);
  const char *text = wn_vocab_text(v, check_id(L, 2, v), &n);
  lua_pushlstring(L, text, n);
  return 1;
}

static int vocab_find(lua_State *L) {
  size_t n;
  const wn_vocab *v = wn_handle_check(L, 1, &wn_vocab_class);
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *text = lua_tolstring(L, 2, &n);
  int32_t id = wn_vocab_find(v, text, n);
  if (id < 0) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, id);
  return 1;
}

static int vocab_attr(lua_State *L) {
  const wn_vocab *v = wn_handle_check(L, 1, &wn_vocab_class);
  lua_pushinteger(L, (lua_Integer)wn_vocab_attr(v, check_id(L, 2, v)));
  return 1;
}

static int vocab_is_eog(lua_State *L) {
  const wn_vocab *v = wn_handle_check(L, 1, &wn_vocab_class);
  lua_pushboolean(L, wn_vocab_is_eog(v, check_id(L, 2, v)));
  return 1;
}

static int vocab_len(lua_State *L) {
  const wn_vocab *v = wn_handle_check(L, 1, &wn_vocab_class);
  lua_pushinteger(L, (lua_Integer)wn_vocab_size(v));
  return 1;
}

/* ---- streams: text token by token, never half a character ---- */

typedef struct stream {
  wn_vocab *v;
  bool special;
  size_t n_held; /* bytes of a character that is not complete yet */
  char held[4];
} stream;

static void unref_stream(void *obj) {
  stream *s = obj;
  wn_vocab_unref(s->v);
  wn_free(s);
}

static const wn_class_def stream_class;

static int vocab_stream(lua_State *L) {
  wn_err e = {0};
  wn_vocab *v = self(L, 2);
  wn_handle *h = wn_handle_new(L, &stream_class);
  stream *s = wn_calloc(WN_MEM_TEXT, 1, sizeof *s);
  if (s == NULL) {
    wn_fail(&e, WN_ENOMEM, "out of memory");
    return wn_push_error(L, &e);
  }
  s->v = wn_vocab_ref(v);
  s->special = lua_toboolean(L, 2);
  h->obj = s;
  return 1;
}

/* What was held and the new piece are joined in Lua memory; the part that is
 * complete is returned, the rest held again. */
static int stream_push(lua_State *L) {
  stream *s = wn_handle_check(L, 1, &stream_class);
  int32_t id = check_id(L, 2, s->v);
  size_t n = wn_vocab_piece(s->v, id, s->special, NULL, 0);
  char *buf = lua_newuserdata(L, n + sizeof s->held);
  s = wn_handle_check(L, 1, &stream_class); /* a finalizer may have closed it */
  memcpy(buf, s->held, s->n_held);
  n += s->n_held;
  wn_vocab_piece(s->v, id, s->special, buf + s->n_held, n - s->n_held);
  size_t done = wn_utf8_complete(buf, n);
  s->n_held = n - done;
  memcpy(s->held, buf + done, s->n_held);
  lua_pushlstring(L, buf, done);
  return 1;
}

static int stream_finish(lua_State *L) {
  char rest[4];
  stream *s = wn_handle_check(L, 1, &stream_class);
  size_t n = s->n_held;
  memcpy(rest, s->held, n);
  s->n_held = 0;
  lua_pushlstring(L, rest, n);
  return 1;
}

static const luaL_Reg stream_methods[] = {
    {"push", stream_push}, {"finish", stream_finish}, {NULL, NULL}};

static const wn_class_def stream_class = {"wane.token_stream", stream_methods,
                                          NULL, unref_stream};

/* ---- classes ---- */

static const luaL_Reg vocab_methods[] = {
    {"info", vocab_info},     {"encode", vocab_encode},
    {"count", vocab_count},   {"decode", vocab_decode},
    {"piece", vocab_piece},   {"digest", vocab_digest},
    {"text", vocab_text},     {"find", vocab_find},
    {"attr", vocab_attr},     {"is_eog", vocab_is_eog},
    {"stream", vocab_stream}, {NULL, NULL}};

static const luaL_Reg vocab_meta[] = {{"__len", vocab_len}, {NULL, NULL}};

const wn_class_def wn_vocab_class = {"wane.vocab", vocab_methods, vocab_meta,
                                     unref_vocab};

static const luaL_Reg funcs[] = {
    {"new", vocab_new}, {"pre_names", vocab_pre_names}, {NULL, NULL}};

int wn_open_vocab(lua_State *L) {
  wn_class_register(L, &box_class);
  wn_class_register(L, &stream_class);
  wn_class_register(L, &wn_vocab_class);
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
