/* stream.c - opening a stream and stepping it; see stream.h and, for how the
 * parts fit together, stream_parts.h. */
#include "quant/stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/arith.h"
#include "base/mem.h"
#include "base/pool.h"
#include "quant/quant.h"
#include "quant/stream_parts.h"

#define MIN_CHUNK ((uint64_t)4 << 20)
#define MAX_CHUNK ((uint64_t)8 << 20)
#define STEP_WAIT_MS 50

/* -- opening -----------------------------------------------------------------
 */

/* Everything that the output depends on, as one digest: the caller's words,
 * the headers to be written, and which files are read. */
static int run_identity(const wn_stream *s, const wn_stream_opts *o,
                        wn_digest_value *run, wn_err *e) {
  wn_digest d;
  wn_digest_init(&d);
  wn_digest_add(&d, &o->identity_bytes, sizeof o->identity_bytes);
  if (o->identity_bytes > 0) wn_digest_add(&d, o->identity, o->identity_bytes);
  for (size_t k = 0; k < s->n_files; k++) {
    const wn_layout_file *f = wn_layout_file_at(s->layout, s->first_file + k);
    uint8_t *head = wn_alloc(WN_MEM_QUANT, (size_t)f->header_bytes);
    if (head == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
    wn_layout_header(s->layout, s->first_file + k, head);
    wn_digest_add(&d, head, (size_t)f->header_bytes);
    wn_free(head);
  }
  for (size_t k = 0; k < s->n_sources; k++)
    for (uint32_t i = 0; i < wn_gguf_n_shards(s->sources[k]); i++) {
      struct stat st;
      const char *path = wn_gguf_shard_path(s->sources[k], i);
      if (wn_os_stat(path, &st) != 0) return wn_fail_sys(e, errno, path);
      struct timespec changed = wn_stat_mtime(&st);
      uint64_t id[4] = {(uint64_t)st.st_size, (uint64_t)changed.tv_sec,
                        (uint64_t)changed.tv_nsec,
                        wn_gguf_data_off(s->sources[k], i)};
      wn_digest_add(&d, id, sizeof id);
    }
  *run = wn_digest_end(&d);
  return WN_OK;
}

/* Collects the distinct inputs and checks every job. */
static int take_jobs(wn_stream *s, const wn_stream_opts *o, wn_err *e) {
  size_t n = wn_layout_n_tensors(s->layout);
  s->jobs = wn_calloc(WN_MEM_QUANT, n > 0 ? n : 1, sizeof *s->jobs);
  s->sources = wn_calloc(WN_MEM_QUANT, n + 1, sizeof *s->sources);
  if (s->jobs == NULL || s->sources == NULL)
    return wn_fail(e, WN_ENOMEM, "out of memory");
  if (n > 0) memcpy(s->jobs, o->jobs, n * sizeof *s->jobs);
  for (size_t i = s->first; i < s->end; i++) {
    const wn_tensor *a = s->jobs[i].source, *b = out_tensor(s, i);
    int rc = wn_convert_check(a->type, b->type, e);
    if (rc != WN_OK) return wn_stream_fail_in(s, i, e);
    if (is_copy(s, i))
      s->jobs[i].wants_importance = false;
    else if (wn_format_of(b->type)->needs_importance)
      s->jobs[i].wants_importance = true; /* whatever the caller says */
    if (a->ne[0] != b->ne[0] || a->n_rows != b->n_rows)
      return wn_fail(e, WN_EARG, "output tensor %zu has another shape", i);
    size_t k = s->n_sources; /* the latest first: nearly always the same */
    while (k > 0 && s->sources[k - 1] != s->jobs[i].from)
      k--;
    if (k == 0) s->sources[s->n_sources++] = wn_gguf_ref(s->jobs[i].from);
    s->progress.total_in += a->bytes;
    s->progress.total_out += b->bytes;
  }
  s->progress.n_tensors = s->end - s->first;
  s->progress.tensor = s->first;
  return WN_OK;
}

static int make_ring(wn_stream *s, int n_threads, wn_err *e) {
  uint64_t in = s->chunk_bytes, out = 1, cols = 1; /* verifying uses `in` */
  size_t in_bytes, out_bytes;
  for (size_t i = s->first; i < s->end; i++) {
    uint64_t rows = chunk_rows(s, i), a = 0, b = 0;
    const wn_tensor *src = s->jobs[i].source;
    if (!wn_mul(rows, src->row_bytes, &a) ||
        !wn_mul(rows, out_tensor(s, i)->row_bytes, &b))
      return wn_fail(e, WN_ELIMIT, "rows are too long");
    if (a > in) in = a;
    if (b > out && !is_copy(s, i)) out = b;
    if (src->ne[0] > cols) cols = src->ne[0];
  }
  if (!wn_size(in, &in_bytes) || !wn_size(out, &out_bytes))
    return wn_fail(e, WN_ELIMIT, "rows are too long");
  for (int k = 0; k < N_SLOTS; k++) {
    s->slots[k].in = wn_alloc(WN_MEM_QUANT, in_bytes);
    s->slots[k].out = wn_alloc(WN_MEM_QUANT, out_bytes);
    if (s->slots[k].in == NULL || s->slots[k].out == NULL)
      return wn_fail(e, WN_ENOMEM, "out of memory");
  }
  return wn_converter_new(n_threads, cols, &s->converter, e);
}

static int open_outputs(wn_stream *s, const wn_stream_opts *o, wn_err *e) {
  char path[4096], journal[4096 + 16];
  wn_digest_value run;
  int rc = run_identity(s, o, &run, e);
  if (rc != WN_OK) return rc;
  s->writers = wn_calloc(WN_MEM_QUANT, s->n_files, sizeof *s->writers);
  if (s->writers == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  for (size_t k = 0; k < s->n_files; k++) {
    wn_save_opts save = {.overwrite = o->overwrite, .resume = o->resume};
    save.inputs = o->inputs;
    save.n_inputs = o->n_inputs;
    rc = wn_layout_path(s->layout, o->path, s->first_file + k, path,
                        sizeof path, e);
    if (rc != WN_OK) return rc;
    if (k == 0) snprintf(journal, sizeof journal, "%s.part.journal", path);
    rc = wn_writer_open(path, s->layout, s->first_file + k, &save,
                        &s->writers[k], e);
    if (rc != WN_OK) return rc;
  }
  /* after the .part is locked: the journal is ours as well */
  return wn_journal_open(journal, run, o->resume, &s->journal, e);
}

int wn_stream_open(const wn_stream_opts *o, wn_stream **out, wn_err *e) {
  int rc, n_threads = o->n_threads;
  if (n_threads <= 0) n_threads = wn_pool_default_threads();
  if (o->n_files == 0 || o->first_file >= wn_layout_n_files(o->layout) ||
      o->n_files > wn_layout_n_files(o->layout) - o->first_file)
    return wn_fail(e, WN_EARG, "no such file in the layout");
  wn_stream *s = wn_calloc(WN_MEM_QUANT, 1, sizeof *s);
  if (s == NULL) return wn_fail(e, WN_ENOMEM, "out of memory");
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->changed, NULL);
  s->layout = wn_layout_ref(o->layout);
  s->first_file = s->cur_file = o->first_file;
  s->n_files = o->n_files;
  s->zero_nonfinite = o->zero_nonfinite;
  s->pid = getpid();
  s->importance_of = SIZE_MAX;
  const wn_layout_file *last =
      wn_layout_file_at(s->layout, s->first_file + s->n_files - 1);
  s->first = wn_layout_file_at(s->layout, s->first_file)->first;
  s->end = last->first + last->n_tensors;
  s->chunk_bytes = (uint64_t)n_threads << 21;
  if (s->chunk_bytes < MIN_CHUNK) s->chunk_bytes = MIN_CHUNK;
  if (s->chunk_bytes > MAX_CHUNK) s->chunk_bytes = MAX_CHUNK;
  if ((rc = take_jobs(s, o, e)) != WN_OK) goto fail;
  if ((rc = make_ring(s, n_threads, e)) != WN_OK) goto fail;
  if ((rc = open_outputs(s, o, e)) != WN_OK) goto fail;
  s->progress.verifying = wn_journal_n(s->journal) > 0;
  wn_pool_enter();
  s->in_pool = true;
  wn_stream_start_thread(s);
  *out = s;
  return WN_OK;
fail:
  wn_stream_free(s, o->resume);
  return rc;
}

/* -- the caller's side
 * --------------------------------------------------------- */

/* Waits a moment for the I/O thread, or does its work. */
static void await_io(wn_stream *s) {
  if (!s->threaded) {
    io_op op = wn_stream_next_op(s);
    pthread_mutex_unlock(&s->lock);
    if (op != IO_NOTHING) wn_stream_do_op(s, op);
    pthread_mutex_lock(&s->lock);
    return;
  }
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += STEP_WAIT_MS * 1000000L;
  if (until.tv_nsec >= 1000000000L) {
    until.tv_nsec -= 1000000000L;
    until.tv_sec++;
  }
  pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

static int convert_slot(wn_stream *s, slot *k, wn_err *e) {
  const wn_tensor *t = s->jobs[k->tensor].source;
  wn_chunk chunk = {.tensor = t, .to = out_tensor(s, k->tensor)->type};
  chunk.row0 = k->row0;
  chunk.n_rows = k->n_rows;
  chunk.in = k->in;
  chunk.out = k->out;
  chunk.zero_nonfinite = s->zero_nonfinite;
  if (s->importance_of == k->tensor) chunk.importance = s->view;
  int rc = wn_convert(s->converter, &chunk, e);
  if (rc != WN_OK) return wn_stream_fail_in(s, k->tensor, e);
  wn_stream_pass(s, &s->convert_at, READY);
  return WN_OK;
}

/* Everything is written and flushed: give the files their names. */
static int commit(wn_stream *s, wn_err *e) {
  int rc = WN_OK;
  for (size_t k = 0; k < s->n_files && rc == WN_OK; k++) {
    rc = wn_writer_commit(s->writers[k], e);
    s->writers[k] = NULL;
  }
  if (rc != WN_OK) return rc;
  wn_journal_close(s->journal, true);
  s->journal = NULL;
  s->done = true;
  return WN_OK;
}

int wn_stream_step(wn_stream *s, wn_stream_state *state, wn_err *e) {
  *state = s->done ? WN_STREAM_DONE : WN_STREAM_MORE;
  if (s->done) return WN_OK;
  if (s->pid != getpid())
    return wn_fail(e, WN_EARG, "the stream belongs to another process");
  pthread_mutex_lock(&s->lock);
  slot *k = &s->slots[s->convert_at];
  if (k->state != FULL && s->err.code == WN_OK && !s->sealed) await_io(s);
  bool full = k->state == FULL, sealed = s->sealed;
  int rc = s->err.code;
  if (rc != WN_OK && e != NULL) *e = s->err;
  if (full) s->progress.tensor = k->tensor;
  pthread_mutex_unlock(&s->lock);
  if (rc != WN_OK) return rc;
  if (full) {
    if (s->jobs[k->tensor].wants_importance && s->importance_of != k->tensor) {
      *state = WN_STREAM_IMPORTANCE;
      return WN_OK;
    }
    return convert_slot(s, k, e);
  }
  if (!sealed) return WN_OK;
  rc = commit(s, e);
  if (rc == WN_OK) *state = WN_STREAM_DONE;
  return rc;
}

int wn_stream_importance(wn_stream *s, const float *values, size_t n,
                         size_t *n_left_out, wn_err *e) {
  size_t i = s->progress.tensor;
  if (i < s->first || i >= s->end || !s->jobs[i].wants_importance)
    return wn_fail(e, WN_EARG, "no importance is wanted");
  const wn_tensor *t = s->jobs[i].source;
  *n_left_out = 0;
  wn_free(s->importance);
  wn_free(s->usable);
  memset(&s->view, 0, sizeof s->view);
  s->importance = wn_calloc(WN_MEM_QUANT, n + 1, sizeof(float));
  s->usable = wn_calloc(WN_MEM_QUANT, (size_t)t->ne[2], 1);
  if (s->importance == NULL || s->usable == NULL)
    return wn_fail(e, WN_ENOMEM, "out of memory");
  if (n > 0) {
    memcpy(s->importance, values, n * sizeof(float));
    int rc = wn_importance_check(t, s->importance, n, s->usable, n_left_out, e);
    if (rc != WN_OK) return wn_stream_fail_in(s, i, e);
    s->view.values = s->importance;
    s->view.n_cols = (size_t)t->ne[0];
    s->view.n_matrices = (size_t)t->ne[2];
    s->view.usable = s->usable;
  }
  const wn_format *f = wn_format_of(out_tensor(s, i)->type);
  if (f->needs_importance && (n == 0 || *n_left_out > 0)) {
    wn_fail(e, WN_EDATA, "%s needs importance, and there is none%s",
            wn_type(f->type)->name, n == 0 ? "" : " (all zero)");
    return wn_stream_fail_in(s, i, e);
  }
  s->importance_of = i;
  return WN_OK;
}

void wn_stream_get_progress(wn_stream *s, wn_stream_progress *p) {
  pthread_mutex_lock(&s->lock);
  *p = s->progress;
  pthread_mutex_unlock(&s->lock);
}

void wn_stream_free(wn_stream *s, bool keep) {
  if (s == NULL) return;
  bool ours = s->pid == getpid();
  if (s->threaded && ours) {
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
  }
  /* nothing finished, or not even known: nothing worth keeping */
  bool any = s->progress.n_done > 0 || (s->journal != NULL && !s->started &&
                                        wn_journal_n(s->journal) > 0);
  keep = !ours || (keep && (any || s->journal == NULL));
  for (size_t k = 0; s->writers != NULL && k < s->n_files; k++)
    wn_writer_abort(s->writers[k], keep);
  wn_journal_close(s->journal, !keep && !s->done);
  if (s->in_pool && ours) wn_pool_leave();
  for (size_t k = 0; k < s->n_sources; k++)
    wn_gguf_unref(s->sources[k]);
  for (int k = 0; k < N_SLOTS; k++) {
    wn_free(s->slots[k].in);
    wn_free(s->slots[k].out);
  }
  wn_converter_free(s->converter);
  wn_layout_unref(s->layout);
  wn_free(s->sources);
  wn_free(s->jobs);
  wn_free(s->writers);
  wn_free(s->importance);
  wn_free(s->usable);
  pthread_cond_destroy(&s->changed);
  pthread_mutex_destroy(&s->lock);
  wn_free(s);
}
