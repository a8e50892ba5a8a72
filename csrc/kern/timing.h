/* timing.h - measuring kernels and the machine under them, for bench/. */
#ifndef WN_KERN_TIMING_H
#define WN_KERN_TIMING_H

#include <stddef.h>

#include "base/err.h"
#include "kern/mm.h"

/* A multiplication to be timed: `copies` matrices of rows x k one after the
 * other (so many that they do not fit a cache, to time reading memory; 1 to
 * time arithmetic), each filled with `n_bytes` bytes of rows, repeated. */
typedef struct wn_timed_mm {
  const wn_mm_tier *tier;
  int type, threads;
  const void *bytes;
  size_t n_bytes; /* a multiple of the bytes of a row */
  size_t rows, k, n_cols, copies;
  double seconds; /* repeats for so long and takes the best */
} wn_timed_mm;

/* *seconds = the time of one multiplication. WN_ENOMEM, WN_EARG. */
int wn_time_mm(const wn_timed_mm *p, double *seconds, wn_err *e);

/* Operations a second of all threads: kind 'f' (float) or 'i' (8 bits); 0
 * where the tier has no measurement. */
double wn_time_peak(const wn_mm_tier *t, char kind, int threads);

/* Bytes a second that all threads together read from `bytes` bytes of memory,
 * each in `streams` streams; 0 where the tier has no measurement. */
int wn_time_read(const wn_mm_tier *t, size_t bytes, size_t streams,
                  int threads, double *rate, wn_err *e);

#endif
