/* train_in.h - what the files of a trainer (train.c, loss.c, adam.c) share. */
#ifndef WN_RUN_TRAIN_IN_H
#define WN_RUN_TRAIN_IN_H

#include "graph/back.h"
#include "run/state.h"
#include "run/train.h"

typedef enum wn_train_stage {
  WN_TRAIN_EMPTY,
  WN_TRAIN_RAN,  /* forwards */
  WN_TRAIN_LOST, /* a loss was taken */
  WN_TRAIN_BACK  /* some segments were walked */
} wn_train_stage;

struct wn_train {
  wn_model *model;
  const wn_prog *p;
  wn_isa isa;
  uint32_t cap; /* tokens */
  int n_threads;
  uint64_t bytes;
  /* of each weight: what is run, its gradient, whether it was asked for */
  wn_bound *bound;
  float **grad_of;
  uint8_t *asked;
  uint32_t n_trained;
  wn_trained *trained;
  /* the program */
  wn_sched *sched;
  wn_plan *plan;
  wn_state state;
  uint32_t n_segments;
  wn_segment *segments;
  uint32_t *until, *clear;
  uint8_t *needs;
  /* memory of a step */
  uint8_t *arena, *grads, *members;
  float *tile, *own, *ones, *shared, *gains;
  int32_t *tokens;
  uint32_t *pos, *seq, *end, *follow, *out_rows;
  double *losses; /* of each row */
  /* the step in hand */
  wn_back back;
  wn_frame frame;
  wn_train_stage stage;
  uint32_t n_out, left; /* segments that are not walked yet */
};

#endif
