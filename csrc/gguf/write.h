/* write.h - how to write a GGUF file, or a split of several.
 *
 * Three steps, each an object of its own:
 *
 *   wn_meta    an ordered list of metadata: copied from files, edited.
 *              Entries that nobody touches keep their exact bytes.
 *   wn_layout  metadata + tensor list -> which tensor goes where: offsets,
 *              headers, file sizes. Pure arithmetic, no I/O; a dry run stops
 *              here.
 *   wn_writer  writes file k of a layout: the header at once, then tensor
 *              data in order, in chunks of any size; padding is its own
 *              business. Crash-safe by base/save.h.
 *
 * Typical use:
 *   wn_meta_new(&m, e); wn_meta_copy(m, src, 0, e);
 *   wn_meta_remove(m, "general.file_type", 17);
 *   wn_meta_set_u32(m, "general.file_type", 15, e);          (now last)
 *   wn_layout_new(m, tensors, n, NULL, &l, e);
 *   wn_writer_open("x.gguf", l, 0, &opts, &w, e);
 *   for each tensor, for each chunk: wn_writer_put(w, bytes, n, e);
 *   wn_writer_commit(w, e);                                  (or _abort)
 *
 * The metadata may be freed once the layout stands; layouts are counted. */
#ifndef WN_GGUF_WRITE_H
#define WN_GGUF_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/os.h"
#include "base/save.h"
#include "gguf/gguf.h"

/* --- metadata ----------------------------------------------------------- */

typedef struct wn_meta wn_meta;

int wn_meta_new(wn_meta **out, wn_err *e);
void wn_meta_free(wn_meta *m);

/* Appends all metadata of file `shard` of g; a key that is already there is
 * replaced in its place. Keeps a reference on g. (Layouts see to split.*
 * keys themselves: leave them in.) */
int wn_meta_copy(wn_meta *m, wn_gguf *g, uint32_t shard, wn_err *e);

size_t wn_meta_n(const wn_meta *m);
/* Valid until the next change of m. wn_meta_find gives NULL when absent. */
const wn_kv *wn_meta_kv(const wn_meta *m, size_t i);
const wn_kv *wn_meta_find(const wn_meta *m, const char *key, size_t n);

/* Sets a key: a present one keeps its place (the type may change), a new one
 * is appended. `value` is as in the file after the type: little-endian
 * scalar; string = u64 length + bytes; array = u32 element type, u64 count,
 * elements. Checked by the reader's own parser. Copies everything. */
int wn_meta_set(wn_meta *m, const char *key, size_t key_n, int type,
                const void *value, size_t value_n, wn_err *e);
/* Shorthands; keys are C strings. */
int wn_meta_set_u16(wn_meta *m, const char *key, uint16_t v, wn_err *e);
int wn_meta_set_u32(wn_meta *m, const char *key, uint32_t v, wn_err *e);
int wn_meta_set_i32(wn_meta *m, const char *key, int32_t v, wn_err *e);
int wn_meta_set_u64(wn_meta *m, const char *key, uint64_t v, wn_err *e);
int wn_meta_set_f32(wn_meta *m, const char *key, float v, wn_err *e);
int wn_meta_set_bool(wn_meta *m, const char *key, bool v, wn_err *e);
int wn_meta_set_str(wn_meta *m, const char *key, const char *s, size_t n,
                    wn_err *e);
/* Removes a key; false when it was not there. The others keep their order. */
bool wn_meta_remove(wn_meta *m, const char *key, size_t n);

/* --- layout ------------------------------------------------------------- */

typedef struct wn_layout wn_layout;

typedef struct wn_layout_opts {
  uint32_t version;     /* of the format: 2 or 3; 0 means 3 */
  uint64_t split_bytes; /* a new file before its tensors exceed this; 0: off */
  uint64_t split_tensors; /* at most so many tensors in a file; 0: off */
  bool by_shard;          /* split as tensors[i].shard says (not decreasing) */
  uint32_t n_files; /* with by_shard: at least so many, the last ones empty */
  wn_gguf *like;    /* NULL, or a file with the same tensors in the same files:
                     * bytes between and after tensors are copied from it, so
                     * that an unchanged copy is byte-identical; ignored when the
                     * metadata ask for another alignment */
} wn_layout_opts;

/* Lays out n tensors: of each, name, type, n_dims, ne (and shard with
 * by_shard) are read; everything is copied. Offsets are aligned to the
 * metadata's general.alignment (default 32). A layout of more than one file
 * carries split.no, split.count and split.tensors.count in each (in their
 * old places where the metadata has them, else last), all other metadata in
 * the first; in a layout of one file these keys are dropped. Same checks and
 * codes as for reading. */
int wn_layout_new(const wn_meta *m, const wn_tensor *tensors, size_t n,
                  const wn_layout_opts *o, wn_layout **out, wn_err *e);
wn_layout *wn_layout_ref(wn_layout *l);
void wn_layout_unref(wn_layout *l);

size_t wn_layout_n_tensors(const wn_layout *l);
/* Tensor i with n_rows, row_bytes, bytes, off (in its file), shard filled. */
const wn_tensor *wn_layout_tensor(const wn_layout *l, size_t i);

typedef struct wn_layout_file {
  size_t first, n_tensors; /* tensors first .. first + n_tensors - 1 */
  uint64_t header_bytes;   /* up to the padding before the data */
  uint64_t data_off;       /* where tensor data begins */
  uint64_t bytes;          /* of the whole file */
} wn_layout_file;

size_t wn_layout_n_files(const wn_layout *l);
const wn_layout_file *wn_layout_file_at(const wn_layout *l, size_t k);

/* The name of file k: `base` itself for one file, else base without ".gguf"
 * (and without an old -00001-of-0000N) plus "-%05u-of-%05u.gguf". Fails with
 * WN_ELIMIT when it does not fit. */
int wn_layout_path(const wn_layout *l, const char *base, size_t k, char *buf,
                   size_t cap, wn_err *e);

/* The header bytes of file k (header_bytes of them) into buf. */
void wn_layout_header(const wn_layout *l, size_t k, uint8_t *buf);

/* --- writing ------------------------------------------------------------ */

typedef struct wn_writer wn_writer;

/* Starts file k of the layout under `path` (see wn_layout_path) and writes
 * its header; o->bytes is filled in here. o may be NULL. With o->resume the
 * bytes of an earlier .part stay: if its header is not that of the layout
 * everything starts over, otherwise see wn_writer_skip. */
int wn_writer_open(const char *path, wn_layout *l, size_t k,
                   const wn_save_opts *o, wn_writer **out, wn_err *e);

/* The next n bytes of tensor data; a call may span tensors. WN_EARG for more
 * than the layout holds. After a failure only abort is possible. */
int wn_writer_put(wn_writer *w, const void *data, size_t n, wn_err *e);

/* Where the next byte goes: tensor index in the layout (one past the last
 * when all is there) and offset in that tensor. */
void wn_writer_tell(const wn_writer *w, size_t *tensor, uint64_t *off);

/* Resuming. _had: how many whole tensors of file k the .part may hold (by
 * size alone; the caller has their checksums). _read: bytes of tensor i
 * (layout index) from the .part. _skip: takes tensors up to, not including,
 * layout index `tensor` as written. */
size_t wn_writer_had(const wn_writer *w);
int wn_writer_read(wn_writer *w, size_t tensor, uint64_t off, void *buf,
                   size_t n, wn_err *e);
int wn_writer_skip(wn_writer *w, size_t tensor, wn_err *e);

/* All data is there: flush to the disk / rename to the final name. Of a
 * split, seal every file before committing the first. _commit seals if need
 * be and frees w, also on failure. WN_EARG when data is missing. */
int wn_writer_seal(wn_writer *w, wn_err *e);
int wn_writer_commit(wn_writer *w, wn_err *e);
/* Gives up and frees w (NULL is fine); keep: leave the .part for a resume. */
void wn_writer_abort(wn_writer *w, bool keep);

#endif
