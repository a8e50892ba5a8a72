/* err.h - errors as values.
 *
 * Every function that can fail returns WN_OK or a negative code and, when it
 * fails, fills a wn_err that the caller owns. A message names the file, the
 * object, the byte or row, what was found and what was wanted. Nothing in
 * wane prints, exits or aborts. */
#ifndef WN_BASE_ERR_H
#define WN_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* constant, value, name as Lua sees it, meaning */
#define WN_CODES(X)                                                       \
  X(WN_OK, 0, "OK", "no error")                                           \
  X(WN_ETRUNC, -1, "ETRUNC", "the data ends too early")                   \
  X(WN_EFORMAT, -2, "EFORMAT", "the data breaks the rules of its format") \
  X(WN_ELIMIT, -3, "ELIMIT", "a number exceeds the limits of limits.h")   \
  X(WN_EUNSUP, -4, "EUNSUP", "valid, but not supported")                  \
  X(WN_ENOMEM, -5, "ENOMEM", "out of memory, or over max_bytes")          \
  X(WN_EIO, -6, "EIO", "the operating system reported a failure")         \
  X(WN_ENOENT, -7, "ENOENT", "no such file")                              \
  X(WN_ENOSPC, -8, "ENOSPC", "no space left on the device")               \
  X(WN_EEXIST, -9, "EEXIST", "the output exists")                         \
  X(WN_EBUSY, -10, "EBUSY", "somebody else is using it")                  \
  X(WN_ECHANGED, -11, "ECHANGED", "the file changed while it was used")   \
  X(WN_ECANCEL, -12, "ECANCEL", "cancelled")                              \
  X(WN_EDATA, -13, "EDATA", "a value is not finite or not usable")        \
  X(WN_EARG, -14, "EARG", "misuse: raised in Lua, not returned")

#define WN_CODE_CONST(id, value, name, text) id = value,
enum { WN_CODES(WN_CODE_CONST) WN_N_CODES = 15 };
#undef WN_CODE_CONST

#define WN_ERR_MSG 512

typedef struct wn_err {
  int code;
  char msg[WN_ERR_MSG];
} wn_err;

/* Fills *e (which may be NULL) and returns `code`, so that a failing line
 * reads `return wn_fail(e, WN_EFORMAT, "...")`. Over-long text is cut. */
int wn_fail(wn_err *e, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message that *e already holds; returns its code.
 * Used by the layer that knows the file name. */
int wn_fail_in(wn_err *e, const char *prefix);

/* Fills *e from errno value `sys`: "what: strerror". ENOSPC, ENOENT, EEXIST
 * and ENOMEM keep their own codes, all else is WN_EIO. */
int wn_fail_sys(wn_err *e, int sys, const char *what);

/* "EFORMAT" for WN_EFORMAT; "EUNKNOWN" for a number that is no code. */
const char *wn_code_name(int code);

/* Copies n bytes of untrusted text into dst as printable ASCII: control and
 * non-ASCII bytes become \xNN, an over-long text ends in "...". Returns dst,
 * which is always terminated. For names from files in messages. */
char *wn_printable(char *dst, size_t cap, const char *src, size_t n);

#endif
