/* kload.inc.h - template: values from memory into lanes, and their weights.
 *
 * After loading, value k of all lanes of a group lies at [k * WIDE]. */

/* Stands in for the values of lanes that have none. */
static const float no_values[WN_QK];

/* Turns sub-blocks s .. s + LANES - 1 of the n at x into lanes: value k of
 * lane i goes to out[k * stride + i]. Lanes without a sub-block are zero. */
static void fetch_lanes(const float *x, int s, int n, int sub, float *out,
                        size_t stride) {
  const float *row[LANES];
  for (int i = 0; i < LANES; i++)
    row[i] = s + i < n ? x + (s + i) * sub : no_values;
  for (size_t off = 0; off < (size_t)sub; off += LANES)
    vf_transpose(row, off, out + off * stride, stride);
}

static void fetch_wide(const float *x, int s, int n, int sub, float *out) {
  fetch_lanes(x, s, n, sub, out, WIDE);
  fetch_lanes(x, s + LANES, n, sub, out + LANES, WIDE);
}

/* Sums of squares of n super-blocks in the order of their values, one
 * super-block per lane; times `factor`, over 256. */
static void mean_squares(const float *x, int n, float factor, float *out) {
  for (int s = 0; s < n; s += LANES) {
    float tile[LANES * LANES];
    const float *row[LANES];
    for (int i = 0; i < LANES; i++)
      row[i] = s + i < n ? x + (s + i) * WN_QK : no_values;
    vf sum = vf_set(0);
    for (size_t off = 0; off < WN_QK; off += LANES) {
      vf_transpose(row, off, tile, LANES);
      for (int k = 0; k < LANES; k++) {
        vf v = vf_load(tile + k * LANES);
        sum = vf_add(sum, vf_mul(v, v));
      }
    }
    sum = vf_div(vf_mul(vf_set(factor), sum), vf_set(WN_QK));
    vf_store(out + s, sum);
  }
}

/* Scratch of one group of lanes. */
typedef struct group {
  float x[32 * WIDE], w[32 * WIDE], extra[32 * WIDE];
} group;

/* Loads the group that starts at sub-block s of n and weighs it by
 * importance: w = importance * sqrt(sigma2 + x^2). */
static void load_weighed(const float *x, const float *importance, int s, int n,
                         int sub, const float *sigma2, group *g) {
  fetch_wide(x, s, n, sub, g->x);
  fetch_wide(importance, s, n, sub, g->w);
  float sigma[WIDE];
  for (int i = 0; i < WIDE; i++)
    sigma[i] = s + i < n ? sigma2[(s + i) * sub / WN_QK] : 0;
  wf mean = wf_load(sigma);
  for (int i = 0; i < sub * WIDE; i += WIDE) {
    wf v = wf_load(g->x + i);
    wf root = wf_sqrt(wf_add(mean, wf_mul(v, v)));
    wf_store(g->w + i, wf_mul(wf_load(g->w + i), root));
  }
}

/* The same without importance: |x|, for 32 values plus their root mean
 * square. */
static void load_plain(const float *x, int s, int n, int sub, group *g) {
  fetch_wide(x, s, n, sub, g->x);
  wf base = wf_set(0);
  if (sub == 32) {
    for (int i = 0; i < sub * WIDE; i += WIDE) {
      wf v = wf_load(g->x + i);
      base = wf_add(base, wf_mul(v, v));
    }
    base = wf_sqrt(wf_div(base, wf_set(32)));
  }
  for (int i = 0; i < sub * WIDE; i += WIDE)
    wf_store(g->w + i, wf_add(base, wf_abs(wf_load(g->x + i))));
}
