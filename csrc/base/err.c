/* err.c - see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int wn_fail(wn_err *e, int code, const char *fmt, ...) {
  va_list ap;
  if (e == NULL) return code;
  e->code = code;
  va_start(ap, fmt);
  vsnprintf(e->msg, sizeof e->msg, fmt, ap);
  va_end(ap);
  return code;
}

int wn_fail_in(wn_err *e, const char *prefix) {
  char old[WN_ERR_MSG];
  if (e == NULL) return WN_EIO;
  memcpy(old, e->msg, sizeof old);
  size_t n = strlen(prefix);
  if (n > WN_ERR_MSG / 2) { /* keep the end of a long path: it holds the name */
    prefix += n - WN_ERR_MSG / 2;
    n = WN_ERR_MSG / 2;
  }
  memcpy(e->msg, prefix, n);
  snprintf(e->msg + n, sizeof e->msg - n, ": %.*s",
           (int)(sizeof e->msg - n - 3), old);
  return e->code;
}

int wn_fail_sys(wn_err *e, int sys, const char *what) {
  char text[128];
  int code = WN_EIO;
  if (sys == ENOSPC || sys == EDQUOT) code = WN_ENOSPC;
  if (sys == ENOENT) code = WN_ENOENT;
  if (sys == EEXIST) code = WN_EEXIST;
  if (sys == ENOMEM) code = WN_ENOMEM;
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
  const char *msg = strerror_r(sys, text, sizeof text);
#else
  const char *msg = strerror_r(sys, text, sizeof text) == 0 ? text : "error";
#endif
  return wn_fail(e, code, "%s: %s", what, msg);
}

const char *wn_code_name(int code) {
#define WN_CODE_NAME(id, value, name, text) name,
  static const char *const names[] = {WN_CODES(WN_CODE_NAME)};
#undef WN_CODE_NAME
  return code <= 0 && code > -WN_N_CODES ? names[-code] : "EUNKNOWN";
}

char *wn_printable(char *dst, size_t cap, const char *src, size_t n) {
  static const char hex[] = "0123456789abcdef";
  size_t at = 0;
  if (cap == 0) return dst;
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)src[i];
    int plain = c >= 0x20 && c < 0x7f && c != '\\';
    size_t need = plain ? 1 : 4;
    if (at + need + 4 > cap) { /* room for "..." and the terminator */
      for (int k = 0; k < 3 && at + 1 < cap; k++)
        dst[at++] = '.';
      break;
    }
    if (plain) {
      dst[at++] = (char)c;
    } else {
      dst[at++] = '\\';
      dst[at++] = 'x';
      dst[at++] = hex[c >> 4];
      dst[at++] = hex[c & 15];
    }
  }
  dst[at] = 0;
  return dst;
}
