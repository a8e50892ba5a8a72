/* moe.h - mixtures of experts: what choosing (moe_route.c) and multiplying
 * (op_moe.c) share.
 *
 * An assignment is a row and one of its experts, number row * used + k. */
#ifndef WN_GRAPH_MOE_H
#define WN_GRAPH_MOE_H

#include "graph/op.h"

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

/* Chooses for row r of operation i (a part of the stage before). */
void wn_moe_choose(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                   uint32_t c1);

#endif
