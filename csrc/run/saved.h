/* saved.h - sequences to bytes and back, exact to the bit.
 *
 *   8  magic "\0WANEST\1"       16  digest of the model
 *   4  type of keys, 4 of values 4  flags (1: rotation of long contexts)
 *   4  sequences that follow
 *   each: 4 its number, 4 tokens n, 8 bytes of data d, 4 n ids, 4 for each
 *         factor (float32; adapters), d data
 *  16  digest of all that comes before
 *
 * Numbers are little-endian. The data are those of the cache, slot by slot
 * (wn_state_visit). The model's digest is of its program, its weights' names
 * and types and a sample of their bytes, so a state is refused by another
 * model, also by a relative of the same shape.
 *
 * Loading checks everything, the last byte included, before it changes
 * anything: a state that is refused leaves the context as it was. */
#ifndef WN_RUN_SAVED_H
#define WN_RUN_SAVED_H

#include "run/ctx.h"

#define WN_SAVED_MAGIC "\0WANEST\1"

/* All sequences that hold something. */
#define WN_SAVED_ALL UINT32_MAX

/* Where the bytes go. */
typedef int (*wn_put_fn)(void *arg, const void *p, size_t n, wn_err *e);

/* Bytes that saving this sequence, or all, takes. */
uint64_t wn_saved_bytes(wn_ctx *c, uint32_t seq);
int wn_saved_put(wn_ctx *c, uint32_t seq, wn_put_fn put, void *arg, wn_err *e);

/* Puts what was saved back. `seq`: WN_SAVED_ALL restores the sequences under
 * their numbers and empties the others; else the one sequence that was saved
 * goes there. WN_EFORMAT: no state, or damaged; WN_EARG never for what is in
 * the bytes; WN_EUNSUP: of another model, or it does not fit here;
 * WN_EBUSY: a generation runs there. */
int wn_saved_take(wn_ctx *c, uint32_t seq, const uint8_t *p, size_t n,
                  wn_err *e);

/* To a file, by the durable writer, and back. */
int wn_saved_write(wn_ctx *c, uint32_t seq, const char *path, bool overwrite,
                   wn_err *e);
int wn_saved_read(wn_ctx *c, uint32_t seq, const char *path, wn_err *e);

#endif
