/* rows_point.c - groups of levels that are points of a grid with signs. */
#include "quant/rows.h"

WN_EXACT_FLOAT

/* Signs for the magnitudes of a group: those of `want`; where their number
 * must be even or odd (parity 0 or 1; -1: free), the value that is nearest to
 * zero gives in. */
static void choose_signs(const float *want, const float *weight, int n,
                         int parity, float *sign) {
  int odd = 0, least = 0;
  for (int i = 0; i < n; i++) {
    sign[i] = want[i] < 0 ? -1.f : 1.f;
    odd ^= want[i] < 0;
    if (want[i] * want[i] * weight[i] <
        want[least] * want[least] * weight[least])
      least = i;
  }
  if (parity >= 0 && odd != parity) sign[least] = -sign[least];
}

float wn_rows_best_point(const wn_row *o, const float *a, const float *b,
                         const float *want, float scale, int parity,
                         float *level) {
  float sign[WN_GRID_GROUP], weight[WN_GRID_GROUP], sb[WN_GRID_GROUP];
  float sa[WN_GRID_GROUP * WN_GRID_GROUP], cost[WN_GRID_POINTS];
  int n = o->g->group;
  size_t n_points, best = 0;
  const float *points = wn_grid_points(o->g, &n_points);
  for (int i = 0; i < n; i++)
    weight[i] = a[i * n + i];
  choose_signs(want, weight, n, parity, sign);
  for (int i = 0; i < n; i++) {
    sb[i] = scale * sign[i] * b[i];
    for (int j = 0; j < n; j++)
      sa[i * n + j] = scale * scale * sign[i] * sign[j] * a[i * n + j];
  }
  o->dense->costs(points, n_points, n, sa, sb, cost);
  for (size_t k = 1; k < n_points; k++)
    if (cost[k] < cost[best]) best = k;
  for (int i = 0; i < n; i++)
    level[i] = sign[i] * points[(size_t)i * n_points + best];
  return cost[best];
}

int wn_rows_parity(const float *level, int n) {
  int odd = 0;
  for (int i = 0; i < n; i++)
    odd ^= level[i] < 0;
  return odd;
}
