/* loss.c - losses of a trainer (train.h) and their gradients at the logits,
 * which are q - p: what the model says less what it should say. */
#include <math.h>
#include <string.h>

#include "run/random.h"
#include "run/train_in.h"

/* One loss over all rows. One of targets, logits and draws is there. */
typedef struct loss {
  wn_train *t;
  const int32_t *targets;
  const float *logits;
  const double *draws; /* of each row, from 0 to 1: a target is drawn */
  double scale;
} loss;

/* Maximum and logarithm of the sum of exponentials. */
static double log_sum(const float *x, size_t n, float *top) {
  double sum = 0;
  *top = -INFINITY;
  for (size_t i = 0; i < n; i++)
    if (x[i] > *top) *top = x[i];
  for (size_t i = 0; i < n; i++)
    sum += (double)wn_expf(x[i] - *top);
  return (double)*top + log(sum);
}

/* The first index whose cumulated probability reaches u. */
static size_t draw(const float *x, size_t n, double log_z, double u) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    sum += exp((double)x[i] - log_z);
    if (sum >= u) return i;
  }
  return n - 1;
}

static double one_target(const float *x, size_t n, double log_z, size_t target,
                         double scale, float *g) {
  for (size_t i = 0; i < n; i++)
    g[i] = (float)(scale * (double)wn_expf((float)((double)x[i] - log_z)));
  g[target] -= (float)scale;
  return log_z - (double)x[target];
}

static double one_row_of(const float *x, const float *other, size_t n,
                         double log_z, double scale, float *g) {
  float top;
  double log_other = log_sum(other, n, &top), sum = 0;
  for (size_t i = 0; i < n; i++) {
    double p = exp((double)other[i] - log_other);
    double log_q = (double)x[i] - log_z;
    if (p > 0) sum += p * ((double)other[i] - log_other - log_q);
    g[i] = (float)(scale * (exp(log_q) - p));
  }
  return sum;
}

static void one_row(const loss *l, const wn_member *m, uint32_t r) {
  const wn_train *t = l->t;
  size_t n = t->p->widths[t->p->result];
  const float *x = wn_exec_result(&t->frame, r);
  float *g = wn_grad(m, t->p->result, r), top;
  double log_z = log_sum(x, n, &top);
  if (l->logits != NULL) {
    t->losses[r] = one_row_of(x, l->logits + r * n, n, log_z, l->scale, g);
  } else if (l->targets != NULL && l->targets[r] < 0) {
    memset(g, 0, n * sizeof *g);
    t->losses[r] = 0;
  } else {
    size_t target = l->targets != NULL ? (size_t)l->targets[r]
                                       : draw(x, n, log_z, l->draws[r]);
    t->losses[r] = one_target(x, n, log_z, target, l->scale, g);
  }
}

static void loss_task(void *arg, wn_team *team, int member, int n_members) {
  const loss *l = arg;
  wn_member m = {.f = &l->t->frame, .team = team, .id = member, .n = n_members};
  uint32_t end = wn_share(&m, l->t->n_out, member + 1);
  for (uint32_t r = wn_share(&m, l->t->n_out, member); r < end; r++)
    one_row(l, &m, r);
}

static int take(loss *l, double *sum, wn_err *e) {
  wn_train *t = l->t;
  *sum = 0;
  wn_pool_run(t->n_threads, loss_task, l);
  for (uint32_t r = 0; r < t->n_out; r++)
    *sum += t->losses[r];
  t->stage = WN_TRAIN_EMPTY;
  if (!isfinite(*sum))
    return wn_fail(e, WN_EDATA, "train: the loss is not finite");
  t->stage = WN_TRAIN_LOST;
  t->left = t->n_segments;
  return WN_OK;
}

static int check_ran(const wn_train *t, wn_err *e) {
  if (t->stage == WN_TRAIN_RAN || t->stage == WN_TRAIN_LOST) return WN_OK;
  return wn_fail(e, WN_EARG, "train: a loss wants a step forwards before it");
}

int wn_train_ce(wn_train *t, const int32_t *targets, double scale, double *sum,
                size_t *n_counted, wn_err *e) {
  uint32_t n = t->p->widths[t->p->result];
  int rc = check_ran(t, e);
  *n_counted = 0;
  for (uint32_t r = 0; rc == WN_OK && r < t->n_out; r++) {
    if (targets[r] >= 0) ++*n_counted;
    if (targets[r] >= 0 && (uint32_t)targets[r] >= n)
      rc = wn_fail(e, WN_EARG, "train: target %u is %d, want less than %u",
                   r + 1, targets[r], n);
  }
  loss l = {.t = t, .targets = targets, .scale = scale};
  return rc == WN_OK ? take(&l, sum, e) : rc;
}

int wn_train_kl(wn_train *t, const float *logits, double scale, double *sum,
                wn_err *e) {
  loss l = {.t = t, .logits = logits, .scale = scale};
  int rc = check_ran(t, e);
  return rc == WN_OK ? take(&l, sum, e) : rc;
}

/* The draws go where the losses will. */
int wn_train_sample(wn_train *t, uint64_t seed, double scale, double *sum,
                    wn_err *e) {
  loss l = {.t = t, .draws = t->losses, .scale = scale};
  wn_rng random;
  int rc = check_ran(t, e);
  wn_rng_seed(&random, seed);
  for (uint32_t r = 0; r < t->n_out; r++)
    t->losses[r] = wn_rng_double(&random);
  return rc == WN_OK ? take(&l, sum, e) : rc;
}
