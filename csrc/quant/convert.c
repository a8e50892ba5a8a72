/* convert.c - see convert.h. */
#include "quant/convert.h"

#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/quant.h"

/* Values of a piece: 64 KiB of floats, which stay in the second cache
 * together with what is made of them. Threads draw pieces: small ones share
 * the work evenly. */
#define PIECE_VALUES 16384
/* Above this a scale in half precision may overflow: look at the result. */
#define SUSPICIOUS 60000.0f
#define INF_BITS 0x7f800000u

/* What a thread met: the first bad row of its pieces. */
typedef struct trouble {
  uint64_t row;
  wn_err err; /* code WN_OK: none */
} trouble;

struct wn_converter {
  int n_threads;
  size_t piece_values;
  float *scratch;    /* n_threads x 2 x piece_values */
  trouble *troubles; /* n_threads */
};

int wn_converter_new(int n_threads, uint64_t n_cols, wn_converter **out,
                     wn_err *e) {
  wn_converter *c = wn_calloc(WN_MEM_QUANT, 1, sizeof *c);
  if (c == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  if (n_threads < 1) n_threads = 1;
  if (n_threads > WN_MAX_THREADS) n_threads = WN_MAX_THREADS;
  c->n_threads = n_threads;
  c->piece_values = n_cols > PIECE_VALUES ? (size_t)n_cols : PIECE_VALUES;
  c->troubles = wn_calloc(WN_MEM_QUANT, (size_t)n_threads, sizeof(trouble));
  c->scratch = wn_calloc(WN_MEM_QUANT, (size_t)n_threads * c->piece_values,
                         2 * sizeof(float));
  if (c->troubles != NULL && c->scratch != NULL) {
    *out = c;
    return WN_OK;
  }
  wn_converter_free(c);
  return wn_fail(e, WN_ENOMEM, "out of memory");
}

void wn_converter_free(wn_converter *c) {
  if (c == NULL) return;
  wn_free(c->scratch);
  wn_free(c->troubles);
  wn_free(c);
}

static int bad_value(const float *x, size_t n_cols, size_t n_rows,
                     uint64_t row0, const char *why, wn_err *e) {
  for (size_t i = 0; i < n_rows * n_cols; i++)
    if (!isfinite(x[i]))
      return wn_fail(e, WN_EDATA, "row %llu, column %llu is %s%s",
                     (unsigned long long)(row0 + i / n_cols + 1),
                     (unsigned long long)(i % n_cols + 1),
                     isnan(x[i])  ? "nan"
                     : x[i] > 0.f ? "inf"
                                  : "-inf",
                     why);
  return WN_OK;
}

/* One piece: n_rows rows that share a vector of importance. */
typedef struct piece {
  const wn_chunk *k;
  wn_encode_fn encode;
  wn_decode_fn decode;
  uint64_t in_row, out_row; /* bytes of a row */
  size_t first, n_rows;     /* rows of the chunk */
  const float *importance;
} piece;

/* The piece's values as floats: decoded, or the source itself. */
static const float *source_values(const piece *p, float *scratch) {
  size_t n = (size_t)p->k->tensor->ne[0];
  const char *in = (const char *)p->k->in + p->first * p->in_row;
  if (p->k->tensor->type == WN_TYPE_F32) return (const float *)(const void *)in;
  p->decode(in, scratch, p->n_rows * n);
  return scratch;
}

/* Encodes the piece's values x. `repeated` takes the importance of as many
 * rows as go into one call. */
static void encode_piece(const piece *p, const float *x, char *out,
                         float *repeated) {
  size_t n = (size_t)p->k->tensor->ne[0];
  const float *importance = p->importance;
  size_t together =
      wn_rows_together(p->k->to, n, importance != NULL, p->n_rows * n);
  if (importance != NULL && together > 1) {
    wn_repeat(importance, n, together, repeated);
    importance = repeated;
  }
  for (size_t r = 0; r < p->n_rows; r += together) {
    size_t left = p->n_rows - r, some = left < together ? left : together;
    p->encode(x + r * n, out + r * p->out_row, some * n, importance);
  }
}

/* Values near or above the largest half may have given infinite scales: the
 * result is decoded and looked at. */
static int check_result(const piece *p, const char *out, float *scratch,
                        wn_err *e) {
  size_t n = (size_t)p->k->tensor->ne[0];
  wn_decode_fn decode = wn_decode_best(p->k->to, wn_cpu_get()->isa);
  decode(out, scratch, p->n_rows * n);
  return bad_value(scratch, n, p->n_rows, p->k->row0 + p->first,
                   ": the value is too large for the type", e);
}

static int convert_piece(const piece *p, float *a, float *b, wn_err *e) {
  const wn_chunk *k = p->k;
  size_t n = (size_t)k->tensor->ne[0], count = p->n_rows * n;
  const float *x = source_values(p, a);
  uint32_t peak = wn_peak_bits(x, count);
  if (peak >= INF_BITS) {
    if (!k->zero_nonfinite)
      return bad_value(x, n, p->n_rows, k->row0 + p->first, "", e);
    if (x != a) memcpy(a, x, count * sizeof *a);
    wn_zero_nonfinite(a, count);
    x = a;
  }
  char *out = (char *)k->out + p->first * p->out_row;
  encode_piece(p, x, out, b);
  if (wn_f32_of_bits(peak) > SUSPICIOUS && peak < INF_BITS &&
      k->to != WN_TYPE_F32)
    return check_result(p, out, b, e);
  return WN_OK;
}

/* The types are equal: values are only looked at. */
static int check_piece(const piece *p, float *a, wn_err *e) {
  size_t n = (size_t)p->k->tensor->ne[0], count = p->n_rows * n;
  const float *x = source_values(p, a);
  if (wn_peak_bits(x, count) < INF_BITS) return WN_OK;
  return bad_value(x, n, p->n_rows, p->k->row0 + p->first, "", e);
}

typedef struct task {
  wn_converter *c;
  const wn_chunk *k;
  wn_encode_fn encode;
  wn_decode_fn decode;
  uint64_t in_row, out_row;
  size_t piece_rows;
} task;

/* Rows first .. first + n_rows - 1 of the chunk, split where the matrix (and
 * with it the importance) changes. Stops at the first failure. */
static void do_rows(const task *t, int member, size_t first, size_t n_rows) {
  const wn_importance *imp = &t->k->importance;
  float *a = t->c->scratch + 2 * (size_t)member * t->c->piece_values;
  float *b = a + t->c->piece_values;
  trouble *bad = &t->c->troubles[member];
  while (n_rows > 0) {
    uint64_t row = t->k->row0 + first, ne1 = t->k->tensor->ne[1];
    size_t left = (size_t)(ne1 - row % ne1);
    piece p = {.k = t->k, .encode = t->encode, .decode = t->decode};
    wn_err e = {0};
    p.in_row = t->in_row;
    p.out_row = t->out_row;
    p.first = first;
    p.n_rows = n_rows < left ? n_rows : left;
    size_t matrix =
        imp->n_matrices > 0 ? (size_t)(row / ne1 % imp->n_matrices) : 0;
    if (imp->values != NULL && imp->usable[matrix])
      p.importance = imp->values + matrix * imp->n_cols;
    int rc = t->encode == NULL ? check_piece(&p, a, &e)
                               : convert_piece(&p, a, b, &e);
    if (rc != WN_OK && (bad->err.code == WN_OK || row < bad->row)) {
      bad->row = row;
      bad->err = e;
    }
    if (rc != WN_OK) return;
    first += p.n_rows;
    n_rows -= p.n_rows;
  }
}

static void work(void *arg, wn_team *team, int member, int n_members) {
  const task *t = arg;
  (void)n_members;
  for (;;) {
    size_t first = (size_t)wn_team_next(team) * t->piece_rows;
    if (first >= t->k->n_rows) return;
    size_t left = t->k->n_rows - first;
    do_rows(t, member, first, left < t->piece_rows ? left : t->piece_rows);
  }
}

/* The trouble with the lowest row decides, so that messages do not depend on
 * the number of threads. (Every thread finishes the pieces it draws.) */
static int first_trouble(wn_converter *c, wn_err *e) {
  trouble *worst = NULL;
  for (int i = 0; i < c->n_threads; i++) {
    trouble *t = &c->troubles[i];
    if (t->err.code != WN_OK && (worst == NULL || t->row < worst->row))
      worst = t;
  }
  if (worst == NULL) return WN_OK;
  if (e != NULL) *e = worst->err;
  return worst->err.code;
}

int wn_convert(wn_converter *c, const wn_chunk *k, wn_err *e) {
  size_t n = (size_t)k->tensor->ne[0];
  task t = {.c = c, .k = k, .in_row = k->tensor->row_bytes};
  bool same = k->tensor->type == k->to;
  int rc = wn_row_bytes(k->to, n, &t.out_row, e);
  if (rc != WN_OK) return rc;
  if (n > c->piece_values) return wn_fail(e, WN_EARG, "rows are too long");
  t.decode = wn_decode_best(k->tensor->type, wn_cpu_get()->isa);
  if (t.decode == NULL) return WN_OK; /* integers: nothing to check */
  if (!same) t.encode = wn_encode_best(k->to, wn_cpu_get()->isa);
  t.piece_rows = PIECE_VALUES / n > 0 ? PIECE_VALUES / n : 1;
  memset(c->troubles, 0, (size_t)c->n_threads * sizeof *c->troubles);
  size_t n_pieces = (k->n_rows + t.piece_rows - 1) / t.piece_rows;
  int team = n_pieces < (size_t)c->n_threads ? (int)n_pieces : c->n_threads;
  wn_pool_run(team, work, &t);
  return first_trouble(c, e);
}

int wn_convert_check(int from, int to, wn_err *e) {
  const wn_type_info *a = wn_type(from), *b = wn_type(to);
  if (a == NULL || b == NULL) return wn_fail(e, WN_EUNSUP, "unknown type");
  if (from == to) return WN_OK;
  const wn_format *f = wn_format_of(from), *t = wn_format_of(to);
  if (f == NULL || f->decode == NULL || t == NULL || t->encode == NULL)
    return wn_fail(e, WN_EUNSUP, "cannot convert from %s to %s", a->name,
                   b->name);
  return WN_OK;
}

int wn_importance_check(const wn_tensor *t, const float *values, size_t n,
                        uint8_t *usable, size_t *n_left_out, wn_err *e) {
  size_t n_cols = (size_t)t->ne[0], n_matrices = (size_t)t->ne[2];
  if (n % n_cols != 0 || n / n_cols != n_matrices)
    return wn_fail(e, WN_EFORMAT,
                   "importance has %zu values, want %zu x %zu: it was made "
                   "for another model",
                   n, n_cols, n_matrices);
  *n_left_out = 0;
  for (size_t m = 0; m < n_matrices; m++) {
    uint32_t any = 0;
    for (size_t i = 0; i < n_cols; i++) {
      float v = values[m * n_cols + i];
      if (!isfinite(v) || v < 0)
        return wn_fail(e, WN_EFORMAT,
                       "importance %zu is %g, want a finite "
                       "number, at least 0",
                       m * n_cols + i, (double)v);
      any |= v > 0;
    }
    usable[m] = (uint8_t)any;
    *n_left_out += !any;
  }
  return WN_OK;
}

/* Adds the squares of one row's weights and errors. */
static void add_squares(const float *x, const float *y, size_t n, double *w,
                        double *d) {
  for (size_t i = 0; i < n; i++) {
    double delta = (double)x[i] - (double)y[i];
    *w += (double)x[i] * (double)x[i];
    *d += delta * delta;
  }
}

int wn_measure(wn_gguf *g, const wn_tensor *t, int to, const wn_importance *imp,
               size_t max_rows, double *err, wn_err *e) {
  size_t n = (size_t)t->ne[0];
  uint64_t out_row, rows = t->n_rows < max_rows ? t->n_rows : max_rows;
  double w = 0, d = 0;
  int rc = wn_convert_check(t->type, to, e);
  if (rc != WN_OK || (rc = wn_row_bytes(to, n, &out_row, e)) != WN_OK)
    return rc;
  const wn_format *f = wn_format_of(to);
  wn_decode_fn read = wn_decode_best(t->type, wn_cpu_get()->isa);
  wn_encode_fn encode = wn_encode_best(to, wn_cpu_get()->isa);
  wn_decode_fn decode = wn_decode_best(to, wn_cpu_get()->isa);
  if (to == t->type || encode == NULL || rows == 0) {
    *err = 0;
    return WN_OK;
  }
  char *in = wn_alloc(WN_MEM_QUANT, (size_t)t->row_bytes);
  char *out = wn_alloc(WN_MEM_QUANT, (size_t)out_row);
  float *x = wn_calloc(WN_MEM_QUANT, n, 2 * sizeof(float));
  if (in == NULL || out == NULL || x == NULL) {
    rc = wn_fail(e, WN_ENOMEM, "out of memory");
    goto end;
  }
  for (uint64_t i = 0; i < rows && rc == WN_OK; i++) {
    uint64_t row = i * t->n_rows / rows; /* n_rows < 2^48, rows small */
    size_t m =
        imp->n_matrices > 0 ? (size_t)(row / t->ne[1] % imp->n_matrices) : 0;
    bool weighted = imp->values != NULL && imp->usable[m];
    if (f->needs_importance && !weighted)
      rc = wn_fail(e, WN_EDATA, "%s needs importance", wn_type(to)->name);
    if (rc == WN_OK)
      rc = wn_gguf_read(g, t, row * t->row_bytes, in, (size_t)t->row_bytes, e);
    if (rc != WN_OK) break;
    read(in, x, n);
    if (wn_peak_bits(x, n) >= INF_BITS) rc = bad_value(x, n, 1, row, "", e);
    if (rc != WN_OK) break;
    encode(x, out, n, weighted ? imp->values + m * imp->n_cols : NULL);
    decode(out, x + n, n);
    add_squares(x, x + n, n, &w, &d);
  }
  *err = w > 0 ? sqrt(d / w) : 0;
end:
  wn_free(in);
  wn_free(out);
  wn_free(x);
  return rc;
}
