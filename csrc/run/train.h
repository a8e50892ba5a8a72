/* train.h - steps forwards and backwards through a model (graph/back.h).
 *
 * A trainer holds a model and all that a step of up to n_tokens takes. The
 * model's weights stay as they are; those that are asked for are copied to
 * float32, and it is the copy that the trainer runs, gives gradients of and
 * changes (AdamW). One caller at a time.
 *
 * A step: forward, a loss, then back until there is no segment left. Gradients
 * of weights add up until they are set to 0 or used by wn_train_adam. Nothing
 * depends on the number of threads. */
#ifndef WN_RUN_TRAIN_H
#define WN_RUN_TRAIN_H

#include "run/model.h"

typedef struct wn_train wn_train;

typedef struct wn_train_opts {
  uint32_t n_tokens; /* most tokens of a step: of one sequence */
  int n_threads;     /* 0: as many as there are CPUs */
  bool split;        /* compute layers again instead of keeping them */
  bool outputs;      /* gradients of all matrices' outputs are looked at */
  uint64_t max_bytes;
  bool (*asked)(void *arg, const char *name); /* is this weight trained? */
  void *arg;
} wn_train_opts;

/* WN_EUNSUP when an operation on the way has no gradient, or an asked-for
 * weight; WN_EARG when nothing is asked for. */
int wn_train_new(wn_model *m, const wn_train_opts *o, wn_train **out,
                 wn_err *e);
void wn_train_unref(wn_train *t);
uint64_t wn_train_bytes(const wn_train *t);
wn_model *wn_train_model(const wn_train *t);

/* Runs n tokens; rows of the result for those with want[i] != 0 (NULL: all).
 * Wanted rows are in order. */
int wn_train_forward(wn_train *t, const int32_t *tokens, const uint8_t *want,
                     size_t n, wn_err *e);
/* Row i of the result, or NULL; *n_rows: how many there are. */
const float *wn_train_result(const wn_train *t, size_t i, size_t *n_rows);

/* Losses: their sum over all rows, in nats; the gradient is that of `scale`
 * times the sum.
 * CE: a target for each row (negative: the row does not count); *n_counted.
 * KL: of other logits, one row each, from these: sum p (log p - log q).
 * sample: targets are drawn from the model itself. Then squared gradients are,
 * on average, how the KL divergence from the model as it is curves. */
int wn_train_ce(wn_train *t, const int32_t *targets, double scale, double *loss,
                size_t *n_counted, wn_err *e);
int wn_train_kl(wn_train *t, const float *logits, double scale, double *loss,
                wn_err *e);
int wn_train_sample(wn_train *t, uint64_t seed, double scale, double *loss,
                    wn_err *e);

/* Walks the next segment, the last one first: *done when none was left. */
int wn_train_back(wn_train *t, bool *done, wn_err *e);

/* A product of the segment that was walked last: a linear operation. */
typedef struct wn_product {
  uint32_t op, weight;
  uint32_t row0, n_rows, n_in; /* rows of the matrix, values of a row */
  uint32_t n_tokens;           /* rows of its input that were multiplied */
} wn_product;
/* Product k of them; false: there are no more. */
bool wn_train_product(const wn_train *t, uint32_t k, wn_product *p);
/* Copies its inputs (n_tokens, n_in) and the gradients of its outputs
 * (n_tokens, n_rows). */
void wn_train_copy(const wn_train *t, const wn_product *p, float *x, float *g);

/* Sum over tokens of s and of s^2, with s = g (w - q) x of a token: what error
 * w
 * - q (n_rows, n_in) of a matrix changes in the loss, to first order. x
 * (n_tokens, n_in), g (n_tokens, n_rows); `of` and `row` have room for n_tokens
 * and n_in numbers. */
void wn_train_effect(const wn_product *p, const float *x, const float *g,
                     const float *w, const float *q, double *of, float *row,
                     double *sum, double *squares);

/* What belongs to a trained weight: its values, their gradient, AdamW's two
 * averages. */
typedef enum wn_train_part {
  WN_TRAIN_WEIGHT,
  WN_TRAIN_GRAD,
  WN_TRAIN_MEAN,
  WN_TRAIN_SQUARE,
  WN_TRAIN_PARTS
} wn_train_part;
typedef struct wn_trained {
  const char *name;
  uint32_t rows, cols;
  float *part[WN_TRAIN_PARTS];
} wn_trained;
uint32_t wn_train_n_trained(const wn_train *t);
const wn_trained *wn_train_trained(const wn_train *t, uint32_t i);

/* Makes sure that every weight has this part: AdamW's averages are made, of
 * zeros, when they are wanted. */
int wn_train_make(wn_train *t, int part, wn_err *e);

typedef struct wn_adam {
  double rate, beta1, beta2, eps, decay;
  double clip;   /* longest gradient, all weights together; 0: any */
  uint64_t step; /* from 1 */
} wn_adam;
/* One step of AdamW with the gradients so far, which become 0. *length: of the
 * gradient before clipping. WN_EDATA when it is not finite: nothing changed
 * but that the gradients are 0. */
int wn_train_adam(wn_train *t, const wn_adam *a, double *length, wn_err *e);
void wn_train_zero(wn_train *t);

#endif
