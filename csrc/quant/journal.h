/* journal.h - which tensors of an unfinished output are known to be good.
 *
 * A small file beside x.part: a head that says for which run it is, then one
 * record per finished tensor with the digest of its data. Records are only
 * appended; each carries a checksum, so that a torn tail is simply ignored.
 * The journal promises nothing about the .part itself: whoever resumes reads
 * the data back and compares digests. */
#ifndef WN_QUANT_JOURNAL_H
#define WN_QUANT_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/err.h"

typedef struct wn_journal wn_journal;

/* Opens the journal of a run; `run` identifies everything that the output
 * depends on. With `resume` the records of an earlier journal of the same
 * run are read; otherwise, or when it is of another run, it starts empty. */
int wn_journal_open(const char *path, wn_digest_value run, bool resume,
                    wn_journal **out, wn_err *e);

/* Records read at opening: the first n tensors, in order. */
size_t wn_journal_n(const wn_journal *j);
wn_digest_value wn_journal_at(const wn_journal *j, size_t i);

/* Forgets the records from the i-th on (they did not match the data). */
int wn_journal_cut(wn_journal *j, size_t i, wn_err *e);

/* Appends the record of the next tensor. */
int wn_journal_add(wn_journal *j, wn_digest_value data, wn_err *e);

/* Closes and frees (NULL is fine); `remove`: the output is complete. */
void wn_journal_close(wn_journal *j, bool remove);

#endif
