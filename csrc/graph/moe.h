/* moe.h - mixtures of experts: what choosing (moe_route.c) and multiplying
 * (op_moe.c) share.
 *
 * An assignment is a row and one of its experts, number row * used + k. */
#ifndef WN_GRAPH_MOE_H
#define WN_GRAPH_MOE_H

#include "graph/op.h"

/* Smallest sum of chosen weights that is divided by: the smallest normal
 * half, as in other implementations. */
#define WN_MOE_LEAST_SUM 6.103515625e-5f

/* Flags of i[6]. */
enum { WN_MOE_MERGED = 1, WN_MOE_WEIGHT_FIRST = 2 };

/* Places in memory: chosen ids (int32) and weights of each row, in the arena
 * and in a member's; results per assignment, grouped by expert. */
enum {
  WN_MOE_AT_ROUTE,
  WN_MOE_AT_ROUTE_OWN,
  WN_MOE_AT_GATE,
  WN_MOE_AT_UP,
  WN_MOE_AT_DOWN
};

/* One operation, as a member of the team sees it. The arrays are the member's
 * own: `groups` and, before experts are counted, `start` are scratch of
 * choosing. */
typedef struct wn_moe {
  wn_member *m;
  const wn_op *op;
  const wn_op_mem *mm;
  uint32_t id, n_experts, used, ff, n_groups;
  float *groups;    /* n_groups: their scores */
  uint32_t *start;  /* of each expert, and one more: its first column */
  uint32_t *column; /* of each assignment */
} wn_moe;

wn_moe wn_moe_of(wn_member *m, uint32_t id);

/* The chosen experts of row r: ids; behind them, their weights. */
int32_t *wn_moe_route(const wn_moe *o, uint32_t r);
float *wn_moe_weights(const wn_moe *o, uint32_t r);

/* What is multiplied: rows of weight `which` from row `first` on, `width` of
 * each expert's, of k values. */
typedef struct wn_moe_product {
  int which;
  uint32_t first, width, k;
} wn_moe_product;

/* Counting sort of the assignments by expert: start and column. */
void wn_moe_order(const wn_moe *o);
/* Up, which may be the second half of gate. */
wn_moe_product wn_moe_up(const wn_moe *o);
/* For gradients, in the stage of phase 0: gate and up before the activation,
 * by all members. */
void wn_moe_products(const wn_moe *o);
size_t wn_moe_back_shared(const wn_prog *p, const wn_op *op, uint32_t n_tokens);
void wn_moe_back(wn_member *m, uint32_t i);
/* The weight of an expert before it is normalised, from the logits of a row.
 * max and sum: of a softmax over all experts. */
float wn_moe_weight(const wn_moe *o, const float *x, float max, float sum,
                    uint32_t expert);

/* Chooses for row r of operation i (a part of the stage before). */
void wn_moe_choose(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                   uint32_t c1);

#endif
