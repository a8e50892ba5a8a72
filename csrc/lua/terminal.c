/* terminal.c - core.terminal: what a program on a terminal asks the system.
 *
 *   terminal.width(fd) -> columns, or nil where it is no terminal
 *   terminal.watch(how) -> true, or false when it is watched already. From now
 *       on Ctrl-C (SIGINT) is noted; with how = "raise" the running Lua
 *       function also gets the error "wane: interrupted" as soon as it is Lua's
 *       turn. A second one, while the first has not been taken, ends the
 *       process at once, as if nobody had watched.
 *   terminal.taken() -> was there one since the last call?
 *   terminal.unwatch() puts back what handled the signal before
 *   terminal.hold(on): Ctrl-C waits until it is let go: around calls of others
 *       that would handle it themselves
 *   terminal.settings(fd[, kept]) -> the settings of the terminal as a string,
 *       or nil where it is no terminal; with `kept`, such a string, they become
 *       those first
 *   terminal.wait(ms) -> "input" when standard input can be read, "interrupt"
 *       when Ctrl-C came (it is not taken by that), "time" when neither
 *
 * Libraries do not touch signals: only the program (lua/wane/cli) calls watch.
 * The handler is the process's, so there is one watch for all states. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <termios.h>
#include <unistd.h>

#include "lua/lib.h"

static volatile sig_atomic_t caught; /* since the last taken() */
static lua_State *volatile raised;   /* where an error is raised, or NULL */
static struct sigaction before;      /* valid while watching */
static bool watching;

static void interrupted(lua_State *L, lua_Debug *where) {
  (void)where;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "wane: interrupted");
}

/* What runs in the handler is what the stock interpreters run in theirs:
 * setting a hook is the one thing that Lua allows there. */
static void on_interrupt(int sig) {
  int saved = errno;
  if (caught) {
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(sig, &plain, NULL);
    raise(sig); /* pending until this handler returns */
  }
  caught = 1;
  lua_State *L = raised;
  if (L != NULL) lua_sethook(L, interrupted, LUA_MASKCALL | LUA_MASKCOUNT, 1);
  errno = saved;
}

static int terminal_watch(lua_State *L) {
  static const char *const hows[] = {"note", "raise", NULL};
  int how = luaL_checkoption(L, 1, "note", hows);
  if (watching) {
    lua_pushboolean(L, 0);
    return 1;
  }
  struct sigaction sa = {.sa_handler = on_interrupt}; /* reads are cut short */
  sigemptyset(&sa.sa_mask);
  caught = 0;
  raised = how == 1 ? L : NULL;
  watching = sigaction(SIGINT, &sa, &before) == 0;
  lua_pushboolean(L, watching);
  return 1;
}

static int terminal_unwatch(lua_State *L) {
  if (watching) sigaction(SIGINT, &before, NULL);
  watching = false;
  if (raised != NULL) lua_sethook(raised, NULL, 0, 0);
  raised = NULL;
  lua_pushboolean(L, 1);
  return 1;
}

static int terminal_taken(lua_State *L) {
  lua_pushboolean(L, caught != 0);
  caught = 0;
  return 1;
}

static int terminal_hold(lua_State *L) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  pthread_sigmask(lua_toboolean(L, 1) ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
  return 0;
}

static int terminal_width(lua_State *L) {
  struct winsize w = {0};
  int fd = (int)wn_check_int(L, 1, 0, 1 << 20);
  if (isatty(fd) && ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
    lua_pushinteger(L, w.ws_col);
  else
    lua_pushnil(L);
  return 1;
}

static int terminal_settings(lua_State *L) {
  struct termios now;
  size_t size;
  int fd = (int)wn_check_int(L, 1, 0, 1 << 20);
  const char *kept = luaL_optlstring(L, 2, NULL, &size);
  if (kept != NULL) {
    luaL_argcheck(L, size == sizeof now, 2, "not a terminal's settings");
    memcpy(&now, kept, size);
    tcsetattr(fd, TCSADRAIN, &now);
  }
  memset(&now, 0, sizeof now);
  if (tcgetattr(fd, &now) == 0)
    lua_pushlstring(L, (const char *)&now, sizeof now);
  else
    lua_pushnil(L);
  return 1;
}

/* The signal is let in while waiting only: one that came before is seen, one
 * that comes now ends the wait. */
static int terminal_wait(lua_State *L) {
  int64_t ms = wn_check_int(L, 1, -1, 86400000);
  struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
  sigset_t block, old;
  sigemptyset(&block);
  sigaddset(&block, SIGINT);
  pthread_sigmask(SIG_BLOCK, &block, &old);
  int n = 0;
  while (!caught) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(STDIN_FILENO, &in);
    n = pselect(STDIN_FILENO + 1, &in, NULL, NULL, ms < 0 ? NULL : &t, &old);
    if (n >= 0 || errno != EINTR) break; /* another signal: wait on */
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  lua_pushstring(L, caught ? "interrupt" : n == 0 ? "time" : "input");
  return 1;
}

static const luaL_Reg terminal_funcs[] = {
    {"watch", terminal_watch}, {"unwatch", terminal_unwatch},
    {"taken", terminal_taken}, {"hold", terminal_hold},
    {"width", terminal_width}, {"settings", terminal_settings},
    {"wait", terminal_wait},   {NULL, NULL}};

int wn_open_terminal(lua_State *L) {
  lua_newtable(L);
  wn_setfuncs(L, terminal_funcs);
  return 1;
}
