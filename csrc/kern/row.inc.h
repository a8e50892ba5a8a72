/* row.inc.h - template: one column, rows read one after the other.
 *
 * With one column every weight is used once, and what counts is that memory
 * is read in order and without a pause. Panels (tile.inc.h) go through many
 * rows at a time, and their bytes through the first cache twice. Here LANES
 * rows that follow each other are walked, each from its first byte to its
 * last. Of a (sub-)block the exact integer sum of products is kept, of a
 * chunk of floats the sums of its classes. Then the rows are finished side by
 * side, a lane each, in the order of operations of q8.inc.h and float.inc.h:
 * one column has the bits that it has among many.
 *
 * Sums are kept in squares of LANES sums of LANES rows, and transposed when
 * they are finished. A square takes 4 or 8 vectors of products (vi_sum4,
 * vi_sum8). The last square of a row whose sums are no multiple of LANES
 * overlaps the one before.
 *
 * Activations are put in the order in which levels come out of the bytes,
 * once for all rows of a job.
 *
 * Memory is asked for at an even pace, or it would idle while rows are
 * finished: a share as they are walked, the rest as they are finished.
 * Measured on Zen 5: asking for all of it in the walk costs 3 to 7 %, 6 KiB
 * ahead in place of 12 KiB 5 to 8 %, groups of 2 LANES rows (whose blocks have
 * left the first cache when they are finished) 5 to 10 % where rows are
 * long. */

#define ROW_K 28672 /* longest row; others are done by panels */
/* Bytes from what is worked on to what is asked for, as a group of rows
 * begins: floats, whose rows are finished in no time; all others, of which
 * SHARE(bytes) lines are asked for in the walk. */
#define FLOAT_AHEAD 8192
#define LEAD(job) (12288 + LANES * (job)->row_bytes / 8)
#define SHARE(bytes) ((bytes)*7 / 8 / 64)

typedef int32_t sums_of[LANES];
typedef uint16_t words_of[LANES];

typedef struct row_work {
  _Alignas(64) uint8_t x[ROW_K + 512];
  union {
    sums_of sum[ROW_K / 16 + LANES]; /* [square][row] */
    struct {
      sums_of sum32[ROW_K / 32 + LANES];
      words_of d[ROW_K / 32 + LANES]; /* scales */
      words_of m[ROW_K / 32 + LANES]; /* minima */
    };
  };
  qpanel head;             /* scales of a super-block */
  const uint8_t *at, *end; /* weights before `at` are asked for, of all */
} row_work;

_Static_assert(sizeof(row_work) <= WN_MM_SCRATCH, "sums fit the scratch");

/* How one weight type is done: LANES rows at w, results to y. */
typedef struct row_kernel {
  void (*arrange)(const uint8_t *packed, size_t k, row_work *t);
  void (*rows)(const wn_mm_job *job, const uint8_t *w, const uint8_t *packed,
               row_work *t, float *y);
  size_t shortest, step; /* it does k >= shortest, a multiple of step */
} row_kernel;

/* acc - offset * (sum of the activations of sub-block s), for `sub` values
 * each. */
INLINE VI less_offset(VI acc, const uint8_t *sums, size_t s, size_t sub,
                      int offset) {
  if (offset == 0) return acc;
  uint32_t minus = (uint32_t)-offset & 0xffff;
  if (sub == 32)
    return vi_dot16(acc, vi_bcast(sums + 4 * s),
                    vi_set1((int32_t)(minus << 16 | minus)));
  return vi_dot16(acc, vi_bcast(sums + s / 2 * 4),
                  vi_set1((int32_t)(s % 2 ? minus << 16 : minus)));
}

/* Asks for the next `lines` lines; for what lies before `to`. Nothing behind
 * the job's last row, which may be another thread's. */
INLINE void row_lines(row_work *t, size_t lines) {
  if (t->at >= t->end) return;
  WN_UNROLL
  for (size_t i = 0; i < lines; i++)
    __builtin_prefetch(t->at + 64 * i);
  t->at += 64 * lines;
}
INLINE void row_lines_to(row_work *t, const uint8_t *to) {
  if (to > t->end) to = t->end;
  for (; t->at < to; t->at += 64)
    __builtin_prefetch(t->at);
}

/* The way from t->at to `to` in equal steps. */
typedef struct row_pace {
  const uint8_t *next;
  size_t step;
} row_pace;

INLINE row_pace pace_to(const row_work *t, const uint8_t *to, size_t steps) {
  size_t way = to > t->at ? (size_t)(to - t->at) : 0;
  return (row_pace){t->at, way / steps + 1};
}
INLINE void pace_step(row_work *t, row_pace *pace) {
  pace->next += pace->step;
  row_lines_to(t, pace->next);
}

/* Where group g of `each` of n things begins: the last ends with them. */
INLINE size_t group_at(size_t g, size_t each, size_t n) {
  return (g + 1) * each <= n ? g * each : n - each;
}

/* v[i] = sum i of LANES rows. */
INLINE void square_load(const sums_of *sum, VI v[LANES]) {
  VF f[LANES];
  WN_UNROLL
  for (size_t r = 0; r < LANES; r++)
    f[r] = vf_load(sum[r]);
  vf_transpose(f);
  WN_UNROLL
  for (size_t i = 0; i < LANES; i++)
    v[i] = vf_as_i(f[i]);
}

/* ---- floats ------------------------------------------------------------ */

/* The sums of the classes of n values; those of a row are the same piece of
 * squares that follow each other. */
INLINE void float_walk(int type, const uint8_t *w, const float *x, size_t n,
                       sums_of *sum) {
  VF s[PIECES];
  WN_UNROLL
  for (size_t g = 0; g < PIECES; g++)
    s[g] = vf_zero();
  size_t bytes = type == WN_TYPE_F32 ? 4 : 2;
  for (size_t i = 0; i < n; i += 2 * CLASSES) {
    WN_UNROLL
    for (size_t j = 0; j < 2 * CLASSES * bytes; j += 64)
      __builtin_prefetch(w + i * bytes + j + FLOAT_AHEAD);
    WN_UNROLL
    for (size_t j = 0; j < 2; j++) {
      WN_UNROLL
      for (size_t g = 0; g < PIECES; g++) {
        size_t at = i + j * CLASSES + g * LANES;
        s[g] = vf_fma(float_piece(type, w, at), vf_load(x + at), s[g]);
      }
    }
  }
  WN_UNROLL
  for (size_t g = 0; g < PIECES; g++)
    vi_store(sum[g * LANES], vf_as_i(s[g]));
}

/* y of LANES rows from the sums of all chunks. */
static void float_finish(const sums_of *sum, size_t k, float *y) {
  VF s[PIECES][LANES];
  for (size_t at = 0; at < k; at += CHUNK) {
    for (size_t g = 0; g < PIECES; g++)
      for (size_t r = 0; r < LANES; r++, sum++)
        s[g][r] = vf_load(sum);
    add_classes(s, y, at == 0);
  }
}

INLINE void float_row(int type, const uint8_t *w, const float *x, size_t k,
                      sums_of *sum) {
  size_t bytes = type == WN_TYPE_F32 ? 4 : 2, at = 0;
  for (; at + CHUNK <= k; at += CHUNK, sum += PIECES * LANES)
    float_walk(type, w + at * bytes, x + at, CHUNK, sum);
  if (at < k) float_walk(type, w + at * bytes, x + at, k - at, sum);
}

#define ROWS_FLOAT(ID, name)                                              \
  static void rows_##name(const wn_mm_job *job, const uint8_t *w,         \
                          const uint8_t *packed, row_work *t, float *y) { \
    const float *x = (const float *)(const void *)packed;                 \
    for (size_t r = 0; r < LANES; r++, w += job->row_bytes)               \
      float_row(WN_TYPE_##ID, w, x, job->k, t->sum + r);                  \
    float_finish(t->sum, job->k, y);                                      \
  }
ROWS_FLOAT(F32, f32)
#ifndef DOT_TILES
ROWS_FLOAT(F16, f16)
ROWS_FLOAT(BF16, bf16)
#endif

static void arrange_none(const uint8_t *packed, size_t k, row_work *t) {
  (void)packed, (void)k, (void)t;
}
