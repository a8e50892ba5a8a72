/* quant.c - see quant.h: the table of formats and the checks around them. */
#include "quant/quant.h"

#include <math.h>

#include "base/half.h"
#include "quant/family.h"
#include "quant/fast.h"

static const wn_format *const formats[WN_N_TYPE_IDS] = {
#define X(ID, name) [WN_TYPE_##ID] = &wn_fmt_##name,
    WN_FORMATS(X)
#undef X
};

const wn_format *wn_format_of(int type) {
  return type >= 0 && type < WN_N_TYPE_IDS ? formats[type] : NULL;
}

wn_encode_fn wn_encode_best(int type, wn_isa isa) {
  wn_encode_fn f;
#define X(family) \
  if ((f = wn_fast_##family(type, isa)) != NULL) return f;
  WN_FAMILIES(X)
#undef X
  const wn_format *format = wn_format_of(type);
  return format != NULL ? format->encode : NULL;
}

wn_decode_fn wn_decode_best(int type, wn_isa isa) {
  wn_decode_fn f;
#define X(family) \
  if ((f = wn_fast_decode_##family(type, isa)) != NULL) return f;
  WN_FAMILIES(X)
#undef X
  const wn_format *format = wn_format_of(type);
  return format != NULL ? format->decode : NULL;
}

/* -- checks --------------------------------------------------------------- */

/* The bits of a magnitude, compared with those of infinity: larger is NaN. */
static uint32_t magnitude_bits(float v) {
  return wn_bits_of_f32(v) & 0x7fffffffu;
}

static const char *nonfinite_name(float v) {
  return magnitude_bits(v) > 0x7f800000u ? "nan" : v > 0 ? "inf" : "-inf";
}

/* True when all n magnitudes are at most `limit` (as bits). */
static bool all_within(const float *x, size_t n, uint32_t limit) {
  const wn_fast_table *fast = wn_fast_of(wn_cpu_get()->isa);
  uint32_t worst = 0;
  if (fast != NULL) return fast->worst(x, n) <= limit;
  for (size_t i = 0; i < n; i++) {
    uint32_t m = magnitude_bits(x[i]);
    worst = m > worst ? m : worst;
  }
  return worst <= limit;
}

/* NaN is refused everywhere; infinities only fit plain numbers. */
static int check_row(const wn_type_info *t, const float *x, size_t n,
                     size_t row, wn_err *e) {
  uint32_t limit = t->class == WN_CLASS_PLAIN ? 0x7f800000u : 0x7f7fffffu;
  if (all_within(x, n, limit)) return WN_OK;
  size_t i = 0;
  while (magnitude_bits(x[i]) <= limit)
    i++;
  return wn_fail(e, WN_EDATA, "row %zu, column %zu is %s, which %s cannot hold",
                 row + 1, i + 1, nonfinite_name(x[i]), t->name);
}

int wn_check_importance(const float *importance, size_t n, wn_err *e) {
  bool any = false;
  for (size_t i = 0; i < n; i++) {
    float v = importance[i];
    if (magnitude_bits(v) > 0x7f7fffffu)
      return wn_fail(e, WN_EFORMAT,
                     "importance %zu is %s, want a finite number", i + 1,
                     nonfinite_name(v));
    if (v < 0)
      return wn_fail(e, WN_EFORMAT, "importance %zu is %g, want at least 0",
                     i + 1, (double)v);
    any = any || v > 0;
  }
  if (any || n == 0) return WN_OK;
  return wn_fail(e, WN_EFORMAT,
                 "importance is all zero: it says nothing, leave it out");
}

size_t wn_zero_nonfinite(float *x, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++)
    if (magnitude_bits(x[i]) > 0x7f7fffffu) {
      x[i] = 0;
      count++;
    }
  return count;
}

/* Everything that does not depend on the values of the rows. */
static int check_encode(const wn_format *f, const wn_type_info *t,
                        const float *importance, size_t n, wn_err *e) {
  if (f->encode == NULL)
    return wn_fail(e, WN_EUNSUP, "type %s can be read but not written",
                   t->name);
  if (f->needs_importance && importance == NULL)
    return wn_fail(e, WN_EARG,
                   "type %s needs an importance vector (one weight per column,"
                   " from an importance matrix): pass one, or choose a type"
                   " of more bits",
                   t->name);
  if (f->uses_importance && importance != NULL)
    return wn_check_importance(importance, n, e);
  return WN_OK;
}

/* -- rows ----------------------------------------------------------------- */

int wn_encode_rows(int type, const float *src, void *dst, size_t n_rows,
                   size_t n_cols, const float *importance, wn_err *e) {
  uint64_t row_bytes;
  int rc = wn_row_bytes(type, n_cols, &row_bytes, e);
  if (rc != WN_OK) return rc;
  const wn_format *f = wn_format_of(type);
  const wn_type_info *t = wn_type(type);
  rc = check_encode(f, t, importance, n_cols, e);
  if (rc != WN_OK) return rc;
  wn_encode_fn encode = wn_encode_best(type, wn_cpu_get()->isa);
  if (!f->uses_importance) importance = NULL;
  for (size_t r = 0; r < n_rows; r++) {
    const float *row = src + r * n_cols;
    rc = check_row(t, row, n_cols, r, e);
    if (rc != WN_OK) return rc;
    encode(row, (char *)dst + r * row_bytes, n_cols, importance);
  }
  return WN_OK;
}

int wn_decode_rows(int type, const void *src, float *dst, size_t n_rows,
                   size_t n_cols, wn_err *e) {
  uint64_t row_bytes;
  int rc = wn_row_bytes(type, n_cols, &row_bytes, e);
  if (rc != WN_OK) return rc;
  wn_decode_fn decode = wn_decode_best(type, wn_cpu_get()->isa);
  for (size_t r = 0; r < n_rows; r++)
    decode((const char *)src + r * row_bytes, dst + r * n_cols, n_cols);
  return WN_OK;
}
