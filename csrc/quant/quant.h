/* quant.h - block formats: float rows to blocks and back.
 *
 * One wn_format per tensor type that holds numbers. `encode` is the
 * reference: it defines the bytes (those of llama.cpp v0.5.0), in plain
 * scalar float arithmetic without contraction. `wn_encode` picks the fastest
 * encoder that gives the same bytes. Rows are independent: any split over
 * threads gives the same result. */
#ifndef WN_QUANT_QUANT_H
#define WN_QUANT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu.h"
#include "base/err.h"
#include "gguf/types.h"

/* One row: n values (a multiple of the block) -> n / block blocks.
 * importance: n weights >= 0, or NULL. Never fails on finite input. */
typedef void (*wn_encode_fn)(const float *src, void *dst, size_t n,
                             const float *importance);
/* n values from n / block blocks. Any bytes are valid input. */
typedef void (*wn_decode_fn)(const void *src, float *dst, size_t n);

typedef struct wn_format {
  int type;
  bool needs_importance; /* refuses to encode without it */
  bool uses_importance;  /* ignores it otherwise */
  wn_encode_fn encode;   /* reference; NULL: cannot be encoded */
  wn_decode_fn decode;   /* reference; never NULL */
} wn_format;

/* The format of a tensor type, or NULL for an unknown one. */
const wn_format *wn_format_of(int type);

/* The fastest encoder / decoder with the reference's bytes for an ISA tier. */
wn_encode_fn wn_encode_best(int type, wn_isa isa);
wn_decode_fn wn_decode_best(int type, wn_isa isa);

/* How many rows one call of an encoder should take, at most `max_values`
 * values (but at least one row), so that encoders that work on many blocks at
 * a time are not left with half-full batches at the end of every row. Blocks
 * do not know which row they are in, with one exception: the formats of small
 * blocks weigh importance by the row's mean square, and take single rows.
 * `weighted`: there is importance; it must then be repeated for each row. */
size_t wn_rows_together(int type, size_t n_cols, bool weighted,
                        size_t max_values);
/* Copies a vector of n values `times` times to dst. */
void wn_repeat(const float *v, size_t n, size_t times, float *dst);

/* The largest magnitude of n values, as bits: NaN is above infinity
 * (0x7f800000), and that above every finite value. */
uint32_t wn_peak_bits(const float *x, size_t n);

/* Encodes n_rows rows of n_cols values with the tier in force; `importance`
 * has n_cols values for all rows, or is NULL. Checks first:
 *   WN_EUNSUP  the type cannot be written (integers, unknown types)
 *   WN_EFORMAT a row is no multiple of the block; the importance vector is
 *              refused by wn_check_importance (types that ignore it do not
 *              look at it)
 *   WN_EARG    the type needs importance and there is none
 *   WN_EDATA   "row r, column c is nan": every type refuses NaN; f32, f16 and
 *              bf16 hold infinities, block types refuse them
 * Finite values never fail: a scale beyond binary16 becomes infinite, as in
 * the reference. After a failure dst holds no meaningful bytes. Threads of the
 * pool (which the caller keeps alive) change neither bytes nor messages. */
int wn_encode_rows(int type, const float *src, void *dst, size_t n_rows,
                   size_t n_cols, const float *importance, int n_threads,
                   wn_err *e);
/* Decodes n_rows rows. Any bytes are valid. WN_EFORMAT, WN_EUNSUP as above. */
int wn_decode_rows(int type, const void *src, float *dst, size_t n_rows,
                   size_t n_cols, wn_err *e);

/* HARDENING Q3 for a vector of n values: WN_EFORMAT when one is NaN, infinite
 * or negative, or when all are zero (it says nothing: leave it out). */
int wn_check_importance(const float *importance, size_t n, wn_err *e);

/* Replaces every NaN and infinity by zero; returns how many there were. */
size_t wn_zero_nonfinite(float *x, size_t n);

#endif
