/* job.h - generation in the background, for event loops and game frames.
 *
 * A job owns a thread that runs a generation loop (gen.h) and never sees a
 * lua_State. The host polls for text, or waits on a file descriptor that is
 * readable whenever there is something to poll for. The context is busy for
 * everybody else until the job has ended. */
#ifndef WN_RUN_JOB_H
#define WN_RUN_JOB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "run/gen.h"

typedef struct wn_job wn_job;

/* Takes over `gen` (also when it fails). WN_EBUSY: the context is in use. */
int wn_job_start(wn_gen *gen, wn_ctx *ctx, wn_job **out, wn_err *e);

/* Cancels if it still runs, joins the thread, frees. At most the step in
 * progress is waited for. In a forked child the thread does not exist: the
 * memory is left alone. */
void wn_job_free(wn_job *j);

/* Text since the last poll: at *text until the next call. Drains the
 * descriptor. *running tells whether more may come. WN_OK, or the error that
 * ended the job, reported by every poll after the last text. */
int wn_job_poll(wn_job *j, const char **text, size_t *n, bool *running,
                wn_err *e);

/* Asks the job to end after the step in progress; the rest of its text can
 * still be polled. Ends with WN_ECANCEL. */
void wn_job_cancel(wn_job *j);

/* Readable while a poll would tell something new. */
int wn_job_fd(const wn_job *j);

void wn_job_get_stats(wn_job *j, wn_gen_stats *s);
wn_gen_end wn_job_ended(wn_job *j);

#endif
