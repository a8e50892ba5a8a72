/* stream_parts.h - the insides of a stream, shared by stream.c (opening, the
 * caller's side) and stream_io.c (the I/O thread's side). See stream.h.
 *
 * The ring's slots go FREE -> (read) -> FULL -> (convert) -> READY -> (write)
 * -> FREE, always in the same order, so three positions describe everything.
 * `lock` guards slot states, positions and flags; slot contents belong to
 * whoever's turn the state says. The I/O thread prefers writing to reading:
 * that keeps the ring moving. Without a thread (it could not be started, or
 * we are in a forked child) _step does the I/O itself. */
#ifndef WN_QUANT_STREAM_PARTS_H
#define WN_QUANT_STREAM_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/digest.h"
#include "quant/convert.h"
#include "quant/journal.h"
#include "quant/stream.h"

#define N_SLOTS 3

typedef enum slot_state { FREE, FULL, READY } slot_state;

typedef struct slot {
  slot_state state;
  size_t tensor;
  uint64_t row0;
  size_t n_rows;
  void *in, *out;
} slot;

struct wn_stream {
  wn_layout *layout;
  wn_stream_job *jobs; /* by layout index */
  size_t first_file, n_files;
  size_t first, end; /* tensors of those files */
  wn_writer **writers;
  wn_journal *journal;
  wn_converter *converter;
  wn_gguf **sources; /* the distinct inputs, counted */
  size_t n_sources;
  uint64_t chunk_bytes;
  bool zero_nonfinite, threaded, in_pool;
  pid_t pid;
  pthread_t thread;

  /* shared with the I/O thread, under `lock` */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  atomic_bool stop; /* also looked at without the lock */
  bool started, sealed;
  wn_err err; /* of the I/O thread; code WN_OK while all is well */
  slot slots[N_SLOTS];
  unsigned read_at, convert_at, write_at;
  wn_stream_progress progress;

  /* the I/O thread's own */
  size_t read_tensor;
  uint64_t read_row;
  size_t cur_file;
  wn_digest digest;

  /* the caller's own */
  size_t importance_of; /* tensor that has been given its importance, or -1 */
  float *importance;
  uint8_t *usable;
  wn_importance view;
  bool done;
};

/* -- shapes ---------------------------------------------------------------- */

static inline const wn_tensor *out_tensor(const wn_stream *s, size_t i) {
  return wn_layout_tensor(s->layout, i);
}

static inline bool is_copy(const wn_stream *s, size_t i) {
  return s->jobs[i].source->type == out_tensor(s, i)->type;
}

/* Rows of tensor i in one chunk: as many as fit, at least one. */
static inline uint64_t chunk_rows(const wn_stream *s, size_t i) {
  uint64_t in = s->jobs[i].source->row_bytes, out = out_tensor(s, i)->row_bytes;
  uint64_t rows = s->chunk_bytes / (in > out ? in : out);
  uint64_t all = s->jobs[i].source->n_rows;
  if (rows == 0) rows = 1;
  return rows < all ? rows : all;
}

/* Puts file and tensor name before a message; returns its code. */
int wn_stream_fail_in(const wn_stream *s, size_t tensor, wn_err *e);

/* What the I/O side can do now. Under the lock. */
typedef enum io_op { IO_NOTHING, IO_START, IO_READ, IO_WRITE, IO_END } io_op;
io_op wn_stream_next_op(const wn_stream *s);
/* Does it, outside the lock; failures land in s->err. */
void wn_stream_do_op(wn_stream *s, io_op op);

/* Starts the I/O thread; s->threaded tells whether that went well. */
void wn_stream_start_thread(wn_stream *s);

/* Hands the slot at *at on in `state` and moves to the next. */
void wn_stream_pass(wn_stream *s, unsigned *at, slot_state state);

#endif
