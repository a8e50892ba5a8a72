/* job.h - a generation in the background, for event loops and game frames.
 *
 * A job is a started generation (wn_gen_start) and a descriptor that is
 * readable whenever a poll would tell something new. Neither cancelling nor
 * freeing waits for the thread. Jobs on one context share its steps; who
 * works on the context directly is refused while any of them runs. */
#ifndef WN_RUN_JOB_H
#define WN_RUN_JOB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "run/gen.h"

typedef struct wn_job wn_job;

/* Takes over `gen` (also when it fails). WN_EBUSY: the context, the sampler
 * or the sequence is in use. */
int wn_job_start(wn_gen *gen, wn_job **out, wn_err *e);

/* Cancels if it still runs and forgets it, without waiting. In a forked child
 * the thread does not exist: the memory is left alone. */
void wn_job_free(wn_job *j);

/* Text since the last poll: at *text until the next call. Drains the
 * descriptor. *running tells whether more may come. When a job failed or was
 * cancelled, the first poll after its last text gives that error; all later
 * ones give no text and not running. */
int wn_job_poll(wn_job *j, const char **text, size_t *n, bool *running,
                wn_err *e);

/* Asks the job to end within the stage in hand; the rest of its text can
 * still be polled. Ends with WN_ECANCEL. */
void wn_job_cancel(wn_job *j);

/* Readable while a poll would tell something new. */
int wn_job_fd(const wn_job *j);

wn_gen *wn_job_gen(wn_job *j);

#endif
