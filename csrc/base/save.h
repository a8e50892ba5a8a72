/* save.h - crash-safe output files: the only way wane writes a file.
 *
 * Bytes go to `path`.part in the same directory, under an exclusive lock.
 * wn_save_seal flushes them to the disk, wn_save_commit renames the file to
 * its final name and flushes the directory. At any moment the final name is
 * absent, the old file, or the complete new one. A crash leaves a .part that
 * the next run detects and takes over (its lock died with its process).
 *
 * Refused before anything is opened for writing: an output that is one of
 * the inputs (same device and inode, whatever the spelling), an output that
 * exists (unless `overwrite`), one that is not a regular file, one that
 * somebody else is writing (WN_EBUSY names the process), and one for which
 * the disk has no room (the space is reserved at once where the file system
 * can). The mode of a replaced file is kept.
 *
 * Up to 2 MiB are held back so that the file is written in whole, aligned
 * pieces of that size: a failure to write may show at a later call, at the
 * latest when the file is sealed. */
#ifndef WN_BASE_SAVE_H
#define WN_BASE_SAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/os.h"

typedef struct wn_save wn_save;

typedef struct wn_save_opts {
  bool overwrite;           /* an existing file may be replaced */
  bool resume;              /* keep what an earlier .part holds */
  uint64_t bytes;           /* final size; 0: not known */
  const wn_file_id *inputs; /* files that must not be the output */
  size_t n_inputs;
} wn_save_opts;

/* Starts an output. On success *out is at offset 0. Messages begin with
 * `path`. */
int wn_save_open(const char *path, const wn_save_opts *o, wn_save **out,
                 wn_err *e);

/* Appends n bytes / reads back n bytes at `off` / moves to `off` (resume:
 * at most the bytes that the .part had). */
int wn_save_write(wn_save *s, const void *p, size_t n, wn_err *e);
int wn_save_read(wn_save *s, uint64_t off, void *p, size_t n, wn_err *e);
int wn_save_seek(wn_save *s, uint64_t off, wn_err *e);
uint64_t wn_save_off(const wn_save *s);
/* Writes what is held back and frees its memory: for outputs that wait. */
int wn_save_flush(wn_save *s, wn_err *e);
/* Bytes that the .part of an earlier run had (0 without `resume`). */
uint64_t wn_save_had(const wn_save *s);

/* Flushes the content to the disk at its present offset as the file's end;
 * nothing may be written afterwards. A failed flush is final. */
int wn_save_seal(wn_save *s, wn_err *e);
/* Seals if need be, renames, flushes the directory and frees s, also on
 * failure (then the .part is removed). */
int wn_save_commit(wn_save *s, wn_err *e);
/* Gives up: removes the .part, or leaves it for a later resume. Frees s;
 * NULL is fine. */
void wn_save_abort(wn_save *s, bool keep_part);

#endif
