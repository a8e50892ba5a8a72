/* lua/file.c - core.file: whole files in and out, behind wane.file.
 *
 *   read(path, max_bytes) -> bytes       regular files only, never waits
 *   write(path, bytes [, overwrite]) -> true      durable (base/save.h)
 *   probe(path, bytes, overwrite) -> true         what `write` would refuse
 *   kind(path) -> "file" | "directory" | "other" | nil when nothing is there
 *
 * World errors are nil, "path: what", code. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/os.h"
#include "base/save.h"
#include "lua/lib.h"

static const char *check_path(lua_State *L, int arg) {
  size_t n;
  const char *path = luaL_checklstring(L, arg, &n);
  luaL_argcheck(L, strlen(path) == n && n > 0, arg,
                "want a path, not empty, without NUL");
  return path;
}

/* What makes a thing no file that can be read whole, or NULL. */
static const char *unreadable(mode_t mode) {
  if (S_ISREG(mode)) return NULL;
  if (S_ISDIR(mode)) return "is a directory";
  if (S_ISFIFO(mode)) return "is a pipe, not a file";
  return "is a device or socket, not a file";
}

static int sys_fail(const char *path, const char *what, wn_err *e) {
  wn_fail_sys(e, errno, what);
  return wn_fail_in(e, path);
}

/* Kind and size before anything is opened: opening a pipe or a tape drive
 * would already wait or act. */
static int look(const char *path, int64_t max_bytes, uint64_t *n, wn_err *e) {
  struct stat st;
  if (wn_os_stat(path, &st) != 0) return sys_fail(path, "open", e);
  const char *why = unreadable(st.st_mode);
  if (why != NULL) return wn_fail(e, WN_EIO, "%s: %s", path, why);
  *n = (uint64_t)st.st_size;
  if (*n > (uint64_t)max_bytes)
    return wn_fail(e, WN_ELIMIT, "%s: has %llu bytes, want at most %lld", path,
                   (unsigned long long)*n, (long long)max_bytes);
  return WN_OK;
}

/* n bytes into buf, which has room for one more: a file that grew meanwhile
 * shows there. It may have become a pipe since it was looked at. */
static int fill(const char *path, void *buf, uint64_t n, wn_err *e) {
  struct stat st;
  int rc = WN_OK, fd = wn_os_open(path, O_RDONLY | O_NONBLOCK, 0);
  if (fd < 0) return sys_fail(path, "open", e);
  int64_t got = -1;
  if (wn_os_fstat(fd, &st) != 0)
    rc = sys_fail(path, "stat", e);
  else if (unreadable(st.st_mode) != NULL)
    rc = wn_fail(e, WN_EIO, "%s: %s", path, unreadable(st.st_mode));
  else if ((got = wn_os_pread(fd, buf, (size_t)n + 1, 0)) < 0)
    rc = sys_fail(path, "read", e);
  else if ((uint64_t)got != n)
    rc = wn_fail(e, WN_ECHANGED, "%s: changed while it was being read", path);
  wn_os_close(fd);
  return rc;
}

static int file_read(lua_State *L) {
  wn_err e = {0};
  uint64_t n = 0;
  const char *path = check_path(L, 1);
  int64_t max_bytes = wn_check_int(L, 2, 0, (int64_t)1 << 40);
  if (look(path, max_bytes, &n, &e) != WN_OK) return wn_push_error(L, &e);
  void *buf = lua_newuserdata(L, (size_t)n + 1);
  if (fill(path, buf, n, &e) != WN_OK) return wn_push_error(L, &e);
  lua_pushlstring(L, buf, (size_t)n);
  return 1;
}

static int file_write(lua_State *L) {
  wn_err e = {0};
  wn_save *out = NULL;
  size_t bytes;
  const char *path = check_path(L, 1);
  const char *p = luaL_checklstring(L, 2, &bytes);
  wn_save_opts o = {.overwrite = lua_toboolean(L, 3), .bytes = bytes};
  int rc = wn_save_open(path, &o, &out, &e);
  if (rc != WN_OK) return wn_push_error(L, &e);
  rc = wn_save_write(out, p, bytes, &e);
  if (rc == WN_OK)
    rc = wn_save_commit(out, &e);
  else
    wn_save_abort(out, false);
  if (rc != WN_OK) return wn_push_error(L, &e);
  lua_pushboolean(L, 1);
  return 1;
}

/* Starts the output and gives it up again: directory, permission, lock and
 * space are tried, not guessed. A .part that an interrupted run left stays. */
static int file_probe(lua_State *L) {
  wn_err e = {0};
  wn_save *out = NULL;
  const char *path = check_path(L, 1);
  int64_t bytes = wn_check_int(L, 2, 0, (int64_t)1 << 53);
  wn_save_opts o = {.overwrite = lua_toboolean(L, 3),
                    .resume = true,
                    .bytes = (uint64_t)bytes};
  if (wn_save_open(path, &o, &out, &e) != WN_OK) return wn_push_error(L, &e);
  wn_save_abort(out, wn_save_had(out) > 0);
  lua_pushboolean(L, 1);
  return 1;
}

static int file_kind(lua_State *L) {
  struct stat st;
  const char *path = check_path(L, 1);
  if (wn_os_stat(path, &st) != 0)
    lua_pushnil(L);
  else
    lua_pushstring(L, S_ISREG(st.st_mode)   ? "file"
                      : S_ISDIR(st.st_mode) ? "directory"
                                            : "other");
  return 1;
}

static const luaL_Reg funcs[] = {{"read", file_read},
                                 {"write", file_write},
                                 {"probe", file_probe},
                                 {"kind", file_kind},
                                 {NULL, NULL}};

int wn_open_file(lua_State *L) {
  lua_newtable(L);
  wn_setfuncs(L, funcs);
  return 1;
}
