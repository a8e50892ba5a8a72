/* stream.h - quantizes files of any size in bounded memory.
 *
 * Tensors flow through a ring of three chunks of whole rows:
 *
 *     read ahead  ->  convert on all threads  ->  write in order
 *     (I/O thread)    (the caller, in _step)      (I/O thread)
 *
 * so that reading, computing and writing overlap. Each _step converts one
 * chunk (a few MiB) and returns; nothing here calls back, prints or blocks
 * for longer than a chunk. Memory: the ring (at most 64 MiB, or three rows
 * where rows are larger) and one piece of rows per thread.
 *
 * Output is crash-safe (gguf/write.h). Beside the .part a journal records
 * each finished tensor with a digest; a later run with the same sources,
 * plan and options verifies the recorded tensors and goes on after them. The
 * result is the same bytes. */
#ifndef WN_QUANT_STREAM_H
#define WN_QUANT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "gguf/write.h"

typedef struct wn_stream wn_stream;

/* Where the data of one output tensor comes from. */
typedef struct wn_stream_job {
  wn_gguf *from;           /* not counted: the caller keeps it open */
  const wn_tensor *source; /* same shape as the output tensor */
  bool wants_importance;   /* _step asks for it before the tensor starts */
} wn_stream_job;

typedef struct wn_stream_opts {
  const char *path;  /* of the output; files of a split are named after it */
  wn_layout *layout; /* counted */
  size_t first_file, n_files; /* which files of the layout to write */
  const wn_stream_job *jobs;  /* one for each tensor of the layout; copied */
  int n_threads;              /* 0: all CPUs */
  bool overwrite, resume, zero_nonfinite;
  const void *identity;  /* everything else the result depends on: recipe, */
  size_t identity_bytes; /* importance, version. Part of the journal's head */
  const wn_file_id *inputs; /* files that must not be the output */
  size_t n_inputs;
} wn_stream_opts;

/* Opens the outputs (all space is reserved now) and starts reading. */
int wn_stream_open(const wn_stream_opts *o, wn_stream **out, wn_err *e);

typedef enum wn_stream_state {
  WN_STREAM_MORE,       /* call again */
  WN_STREAM_IMPORTANCE, /* give wn_stream_importance, then call again */
  WN_STREAM_DONE        /* all files are in place under their final names */
} wn_stream_state;

/* One step. After a failure only free is possible; the .part stays when it
 * holds finished tensors. */
int wn_stream_step(wn_stream *s, wn_stream_state *state, wn_err *e);

/* The importance of the tensor that _step asked for: ne[0] values for each of
 * ne[2] matrices, copied; n = 0: none after all. n_left_out counts vectors
 * that are all zero and therefore not used. */
int wn_stream_importance(wn_stream *s, const float *values, size_t n,
                         size_t *n_left_out, wn_err *e);

typedef struct wn_stream_progress {
  size_t tensor;    /* layout index of the tensor being converted */
  size_t n_done;    /* tensors written, those of an earlier run included */
  size_t n_tensors; /* to write in all */
  size_t n_resumed; /* taken over from an earlier run */
  uint64_t bytes_in, bytes_out; /* of tensors, done so far in this run */
  uint64_t total_in, total_out; /* of all tensors to write */
  bool verifying;               /* reading back what an earlier run left */
} wn_stream_progress;

void wn_stream_get_progress(wn_stream *s, wn_stream_progress *p);

/* Stops and frees (NULL is fine). Unless done, the .part files stay for a
 * later resume if `keep` and at least one tensor is finished. */
void wn_stream_free(wn_stream *s, bool keep);

#endif
