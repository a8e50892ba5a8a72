/* quant.c - see quant.h: the table of formats and the checks around them. */
#include "quant/quant.h"

#include <stdatomic.h>
#include <string.h>

#include "base/half.h"
#include "base/mem.h"
#include "base/pool.h"
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

uint32_t wn_peak_bits(const float *x, size_t n) {
  const wn_fast_table *fast = wn_fast_of(wn_cpu_get()->isa);
  uint32_t worst = 0;
  if (fast != NULL) return fast->worst(x, n);
  for (size_t i = 0; i < n; i++) {
    uint32_t m = magnitude_bits(x[i]);
    worst = m > worst ? m : worst;
  }
  return worst;
}

/* Rows of n values, the first of them number `row`. NaN is refused
 * everywhere; infinities only fit plain numbers. */
static int check_rows(const wn_type_info *t, const float *x, size_t n_rows,
                      size_t n, size_t row, wn_err *e) {
  uint32_t limit = t->class == WN_CLASS_PLAIN ? 0x7f800000u : 0x7f7fffffu;
  if (wn_peak_bits(x, n_rows * n) <= limit) return WN_OK;
  size_t i = 0;
  while (magnitude_bits(x[i]) <= limit)
    i++;
  return wn_fail(e, WN_EDATA, "row %zu, column %zu is %s, which %s cannot hold",
                 row + i / n + 1, i % n + 1, nonfinite_name(x[i]), t->name);
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

/* The widest encoders work on so many super-blocks at a time. */
enum { BATCH = 16, SUPER = 256 };
/* Values of one call of wn_encode_rows, at most: 128 KiB. */
enum { PIECE = 32768 };
/* Values that a thread draws, about. */
enum { SHARE = 8192 };

size_t wn_rows_together(int type, size_t n_cols, bool weighted,
                        size_t max_values) {
  size_t rows = 1, blocks = n_cols / SUPER;
  size_t most = n_cols > 0 && n_cols < max_values ? max_values / n_cols : 1;
  weighted = weighted && wn_format_of(type)->uses_importance;
  if (wn_type(type)->block == SUPER) {
    while (rows < most && rows * blocks % BATCH != 0)
      rows++;
    return rows;
  }
  if (weighted || n_cols * 2 > BATCH * SUPER) return 1;
  rows = BATCH * SUPER / (n_cols > 0 ? n_cols : 1);
  return rows < most ? rows : most;
}

void wn_repeat(const float *v, size_t n, size_t times, float *dst) {
  for (size_t i = 0; i < times; i++)
    memcpy(dst + i * n, v, n * sizeof *v);
}

/* Where the rows of one call come from and go to. Threads draw pieces of
 * piece_rows rows; each call of the encoder takes `together` of them. */
typedef struct rows {
  const wn_type_info *type;
  wn_encode_fn encode;
  const float *src, *importance; /* repeated for `together` rows */
  char *dst;
  size_t n_rows, n_cols, together, piece_rows;
  uint64_t row_bytes;
  atomic_bool failed;
} rows;

/* Encodes the rows first .. first + n - 1, unless one cannot be. */
static int encode_piece(const rows *w, size_t first, size_t n, wn_err *e) {
  for (size_t r = first; r < first + n; r += w->together) {
    size_t left = first + n - r, some = left < w->together ? left : w->together;
    const float *x = w->src + r * w->n_cols;
    int rc = check_rows(w->type, x, some, w->n_cols, r, e);
    if (rc != WN_OK) return rc;
    w->encode(x, w->dst + r * w->row_bytes, some * w->n_cols, w->importance);
  }
  return WN_OK;
}

static void encode_pieces(void *arg, wn_team *team, int member, int n_members) {
  rows *w = arg;
  (void)member;
  (void)n_members;
  while (!atomic_load_explicit(&w->failed, memory_order_relaxed)) {
    size_t first = (size_t)wn_team_next(team) * w->piece_rows;
    if (first >= w->n_rows) return;
    size_t left = w->n_rows - first;
    if (left > w->piece_rows) left = w->piece_rows;
    if (encode_piece(w, first, left, NULL) != WN_OK)
      atomic_store(&w->failed, true);
  }
}

/* Encodes all rows. After a failure the first bad row is looked for again, as
 * threads meet rows in any order. */
static int encode_all(rows *w, int n_threads, wn_err *e) {
  if (n_threads <= 1 || w->n_rows <= w->piece_rows)
    return encode_piece(w, 0, w->n_rows, e);
  wn_pool_run(n_threads, encode_pieces, w);
  if (!atomic_load(&w->failed)) return WN_OK;
  return check_rows(w->type, w->src, w->n_rows, w->n_cols, 0, e);
}

int wn_encode_rows(int type, const float *src, void *dst, size_t n_rows,
                   size_t n_cols, const float *importance, int n_threads,
                   wn_err *e) {
  rows w = {.src = src, .dst = dst, .n_rows = n_rows, .n_cols = n_cols};
  int rc = wn_row_bytes(type, n_cols, &w.row_bytes, e);
  if (rc != WN_OK) return rc;
  const wn_format *f = wn_format_of(type);
  w.type = wn_type(type);
  rc = check_encode(f, w.type, importance, n_cols, e);
  if (rc != WN_OK) return rc;
  w.encode = wn_encode_best(type, wn_cpu_get()->isa);
  if (!f->uses_importance) importance = NULL;
  w.together = wn_rows_together(type, n_cols, importance != NULL, PIECE);
  if (w.together > n_rows) w.together = n_rows > 0 ? n_rows : 1;
  float *repeated = NULL;
  w.importance = importance;
  if (importance != NULL && w.together > 1) {
    repeated = wn_calloc(WN_MEM_QUANT, w.together * n_cols, sizeof *repeated);
    if (repeated != NULL) {
      wn_repeat(importance, n_cols, w.together, repeated);
      w.importance = repeated;
    } else {
      w.together = 1; /* slower, but no reason to fail */
    }
  }
  size_t calls = n_cols > 0 ? SHARE / n_cols / w.together : 1;
  w.piece_rows = w.together * (calls > 0 ? calls : 1);
  rc = encode_all(&w, n_threads, e);
  wn_free(repeated);
  return rc;
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
