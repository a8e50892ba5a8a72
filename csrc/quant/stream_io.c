/* stream_io.c - reading ahead, writing in order, resuming: the side of a
 * stream that touches files. See stream_parts.h. */
#include "base/thread.h"
#include "quant/stream_parts.h"

static void set_error(wn_stream *s, const wn_err *e) {
  pthread_mutex_lock(&s->lock);
  if (s->err.code == WN_OK) s->err = *e;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
}

/* Puts the tensor's name before a message. */
int wn_stream_fail_in(const wn_stream *s, size_t i, wn_err *e) {
  char name[200];
  const wn_tensor *t = s->jobs[i].source;
  wn_fail_in(e, wn_printable(name, sizeof name, t->name.p, t->name.n));
  return wn_fail_in(e, wn_gguf_shard_path(s->jobs[i].from, t->shard));
}

static wn_writer *writer_of(const wn_stream *s, size_t tensor, size_t *file) {
  size_t k = *file;
  while (k + 1 < s->first_file + s->n_files) {
    const wn_layout_file *f = wn_layout_file_at(s->layout, k);
    if (tensor < f->first + f->n_tensors) break;
    k++;
  }
  *file = k;
  return s->writers[k - s->first_file];
}

/* True when the .part's bytes of tensor i have the digest `want`. */
static int verify_tensor(wn_stream *s, size_t i, wn_digest_value want,
                         bool *good, wn_err *e) {
  size_t file = s->first_file;
  wn_writer *w = writer_of(s, i, &file);
  uint64_t bytes = out_tensor(s, i)->bytes;
  char *buf = s->slots[0].in;
  wn_digest d;
  wn_digest_init(&d);
  for (uint64_t off = 0; off < bytes && !s->stop;) {
    uint64_t left = bytes - off;
    size_t n = (size_t)(left < s->chunk_bytes ? left : s->chunk_bytes);
    int rc = wn_writer_read(w, i, off, buf, n, e);
    if (rc == WN_ETRUNC) return WN_OK;
    if (rc != WN_OK) return rc;
    wn_digest_add(&d, buf, n);
    off += n;
  }
  wn_digest_value v = wn_digest_end(&d);
  *good = v.lo == want.lo && v.hi == want.hi;
  return WN_OK;
}

/* How many tensors of an earlier run are whole: by its journal, by the size
 * of the .part files, and by reading them back. */
static int verify_all(wn_stream *s, size_t *n_good, wn_err *e) {
  size_t file = s->first_file, n = wn_journal_n(s->journal);
  for (*n_good = 0; *n_good < n && !s->stop; ++*n_good) {
    size_t i = s->first + *n_good;
    if (i >= s->end) break;
    wn_writer *w = writer_of(s, i, &file);
    const wn_layout_file *f = wn_layout_file_at(s->layout, file);
    if (i - f->first >= wn_writer_had(w)) break;
    bool good = false;
    int rc = verify_tensor(s, i, wn_journal_at(s->journal, *n_good), &good, e);
    if (rc != WN_OK) return rc;
    if (!good) break;
    pthread_mutex_lock(&s->lock);
    s->progress.n_resumed = s->progress.n_done = *n_good + 1;
    s->progress.total_in -= s->jobs[i].source->bytes;
    s->progress.total_out -= out_tensor(s, i)->bytes;
    pthread_mutex_unlock(&s->lock);
  }
  return WN_OK;
}

/* Takes over what an earlier run finished and starts reading after it. */
static int start(wn_stream *s, wn_err *e) {
  size_t n_good = 0;
  int rc = verify_all(s, &n_good, e);
  if (rc != WN_OK) return rc;
  if ((rc = wn_journal_cut(s->journal, n_good, e)) != WN_OK) return rc;
  size_t next = s->first + n_good;
  for (size_t k = 0; k < s->n_files; k++) {
    const wn_layout_file *f = wn_layout_file_at(s->layout, s->first_file + k);
    size_t end = f->first + f->n_tensors, upto = next < end ? next : end;
    if (upto <= f->first) continue;
    if ((rc = wn_writer_skip(s->writers[k], upto, e)) != WN_OK) return rc;
    if (upto == end && (rc = wn_writer_seal(s->writers[k], e)) != WN_OK)
      return rc;
  }
  wn_digest_init(&s->digest);
  pthread_mutex_lock(&s->lock);
  s->read_tensor = next;
  s->progress.tensor = next;
  s->progress.verifying = false;
  s->started = true;
  pthread_mutex_unlock(&s->lock);
  return WN_OK;
}

/* Reads the next chunk into the slot at read_at. */
static int read_chunk(wn_stream *s, slot *k, wn_err *e) {
  size_t i = s->read_tensor;
  const wn_stream_job *job = &s->jobs[i];
  uint64_t rows = chunk_rows(s, i), left = job->source->n_rows - s->read_row;
  k->tensor = i;
  k->row0 = s->read_row;
  k->n_rows = (size_t)(rows < left ? rows : left);
  uint64_t off = s->read_row * job->source->row_bytes;
  int rc = wn_gguf_read(job->from, job->source, off, k->in,
                        k->n_rows * (size_t)job->source->row_bytes, e);
  if (rc != WN_OK) return rc;
  s->read_row += k->n_rows;
  if (s->read_row == job->source->n_rows) {
    s->read_row = 0;
    s->read_tensor++;
  }
  return WN_OK;
}

/* Writes the chunk of the slot at write_at; the last of a tensor is recorded,
 * the last of a file flushed to the disk. */
static int write_chunk(wn_stream *s, slot *k, wn_err *e) {
  const wn_tensor *t = out_tensor(s, k->tensor);
  const void *data = is_copy(s, k->tensor) ? k->in : k->out;
  size_t n = k->n_rows * (size_t)t->row_bytes;
  wn_writer *w = writer_of(s, k->tensor, &s->cur_file);
  int rc = wn_writer_put(w, data, n, e);
  if (rc != WN_OK) return rc;
  wn_digest_add(&s->digest, data, n);
  bool last = k->row0 + k->n_rows == t->n_rows;
  if (last) {
    rc = wn_journal_add(s->journal, wn_digest_end(&s->digest), e);
    if (rc != WN_OK) return rc;
    wn_digest_init(&s->digest);
    const wn_layout_file *f = wn_layout_file_at(s->layout, s->cur_file);
    if (k->tensor + 1 == f->first + f->n_tensors &&
        (rc = wn_writer_seal(w, e)) != WN_OK)
      return rc;
  }
  pthread_mutex_lock(&s->lock);
  s->progress.n_done += last;
  s->progress.bytes_in +=
      k->n_rows * (size_t)s->jobs[k->tensor].source->row_bytes;
  s->progress.bytes_out += n;
  pthread_mutex_unlock(&s->lock);
  return WN_OK;
}

io_op wn_stream_next_op(const wn_stream *s) {
  if (s->stop || s->err.code != WN_OK || s->sealed) return IO_NOTHING;
  if (!s->started) return IO_START;
  if (s->slots[s->write_at].state == READY) return IO_WRITE;
  if (s->read_tensor < s->end && s->slots[s->read_at].state == FREE)
    return IO_READ;
  if (s->progress.n_done == s->progress.n_tensors) return IO_END;
  return IO_NOTHING;
}

void wn_stream_pass(wn_stream *s, unsigned *at, slot_state state) {
  pthread_mutex_lock(&s->lock);
  s->slots[*at].state = state;
  *at = (*at + 1) % N_SLOTS;
  pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
}

/* Does one operation outside the lock. */
void wn_stream_do_op(wn_stream *s, io_op op) {
  wn_err e = {0};
  int rc = WN_OK;
  if (op == IO_START) {
    rc = start(s, &e);
  } else if (op == IO_READ) {
    size_t i = s->read_tensor;
    rc = read_chunk(s, &s->slots[s->read_at], &e);
    if (rc == WN_OK)
      wn_stream_pass(s, &s->read_at, FULL);
    else
      rc = wn_stream_fail_in(s, i, &e);
  } else if (op == IO_WRITE) {
    rc = write_chunk(s, &s->slots[s->write_at], &e);
    if (rc == WN_OK) wn_stream_pass(s, &s->write_at, FREE);
  } else {
    /* the sources must still be what was read (HARDENING Q1) */
    for (size_t k = 0; k < s->n_sources && rc == WN_OK; k++)
      rc = wn_gguf_check(s->sources[k], true, &e);
    for (size_t k = 0; k < s->n_files && rc == WN_OK; k++)
      rc = wn_writer_seal(s->writers[k], &e);
    pthread_mutex_lock(&s->lock);
    s->sealed = rc == WN_OK;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
  }
  if (rc != WN_OK) set_error(s, &e);
}

static void *io_main(void *arg) {
  wn_stream *s = arg;
  pthread_mutex_lock(&s->lock);
  for (;;) {
    io_op op = wn_stream_next_op(s);
    if (s->stop || s->err.code != WN_OK || s->sealed) break;
    if (op == IO_NOTHING) {
      pthread_cond_wait(&s->changed, &s->lock);
      continue;
    }
    pthread_mutex_unlock(&s->lock);
    wn_stream_do_op(s, op);
    pthread_mutex_lock(&s->lock);
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

void wn_stream_start_thread(wn_stream *s) {
  s->threaded = wn_thread_start(&s->thread, io_main, s) == 0;
}
