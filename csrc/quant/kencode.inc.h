/* kencode.inc.h - template: fast encoders of q2_K ... q6_K and q8_K.
 *
 * A row is worked off in batches of BATCH super-blocks: their sub-blocks go
 * through the searches WIDE at a time, then their scales are quantized
 * (without importance one super-block after the other, with importance one
 * super-block per lane), then each super-block is rounded and packed. */

/* Results of the searches of a batch, one per sub-block. */
typedef struct batch {
  float scale[BATCH * 16], min[BATCH * 16], sum_w[BATCH * 16];
  float step[BATCH * 16], from[BATCH * 16];
  float sigma2[BATCH]; /* per super-block, with importance */
} batch;

/* ---- q2_K, q4_K, q5_K. -------------------------------------------------- */

/* The search, expanded for the three kinds of sub-block. */
static void search_16_mad(const wn_k_affine *f, group *g, affine_fit out) {
  affine_search(16, f->top, &f->plain, true, g->x, g->w, g->extra, &out);
}
static void search_16(const wn_k_affine *f, group *g, affine_fit out) {
  affine_search(16, f->top, &f->weighed, false, g->x, g->w, g->extra, &out);
}
static void search_32(const wn_k_affine *f, const wn_k_grid *grid, group *g,
                      affine_fit out) {
  affine_search(32, f->top, grid, false, g->x, g->w, g->extra, &out);
}

static void search_affine(const wn_k_affine *f, const float *x,
                          const float *importance, int n_super, batch *b) {
  group g;
  int n = n_super * WN_QK / f->sub;
  if (importance != NULL)
    mean_squares(x, n_super, f->sub == 16 ? 1 : 2, b->sigma2);
  for (int s = 0; s < n; s += WIDE) {
    if (importance != NULL)
      load_weighed(x, importance, s, n, f->sub, b->sigma2, &g);
    else
      load_plain(x, s, n, f->sub, &g);
    affine_fit out = {b->scale + s, b->min + s, b->sum_w + s, b->step + s,
                      b->from + s};
    if (f->sub == 32)
      search_32(f, importance != NULL ? &f->weighed : &f->plain, &g, out);
    else if (importance != NULL)
      search_16(f, &g, out);
    else
      search_16_mad(f, &g, out);
  }
}

/* Scales of n scales without importance; see round_scales in kencode.c. */
static float round_scales(int n, int top, const float *v, uint8_t *out) {
  float max = 0;
  for (int i = 0; i < n; i++)
    if (v[i] > max) max = v[i];
  float inverse = max > 0 ? (float)top / max : 0;
  for (int i = 0; i < n; i++)
    out[i] = (uint8_t)wn_k_round(inverse * v[i]);
  return max / (float)top;
}

/* Scales of scales with importance: lane i holds the scales of super-block i,
 * lane BATCH + i its minima. */
static void fit_scales(const wn_k_affine *f, const batch *b, int n_super,
                       wn_k_scales *s) {
  int n = WN_QK / f->sub;
  float v[16 * WIDE] = {0}, w[16 * WIDE] = {0}, L[16 * WIDE], scale[WIDE];
  for (int i = 0; i < n_super; i++)
    for (int j = 0; j < n; j++) {
      v[j * WIDE + i] = b->scale[i * n + j];
      v[j * WIDE + BATCH + i] = b->min[i * n + j];
      w[j * WIDE + i] = w[j * WIDE + BATCH + i] = b->sum_w[i * n + j];
    }
  positive_search(n, f->scale_top, v, w, L, scale);
  for (int i = 0; i < n_super; i++) {
    s[i].d = wn_f16_of_f32(scale[i]);
    s[i].dmin = wn_f16_of_f32(scale[BATCH + i]);
    for (int j = 0; j < n; j++) {
      s[i].scale[j] = (uint8_t)L[j * WIDE + i];
      s[i].min[j] = (uint8_t)L[j * WIDE + BATCH + i];
    }
  }
}

/* Stages 1 and 2 of a batch. */
static void fit_batch(const wn_k_affine *f, const float *x,
                      const float *importance, int n_super, batch *b,
                      wn_k_scales *s) {
  int n = WN_QK / f->sub;
  search_affine(f, x, importance, n_super, b);
  if (importance != NULL) {
    fit_scales(f, b, n_super, s);
    return;
  }
  for (int i = 0; i < n_super; i++) {
    s[i].d = wn_f16_of_f32(
        round_scales(n, f->scale_top, b->scale + i * n, s[i].scale));
    s[i].dmin =
        wn_f16_of_f32(round_scales(n, f->scale_top, b->min + i * n, s[i].min));
  }
}

/* Stage 3 with the scales as they were packed. */
static void finish_affine(const wn_k_affine *f, const float *x,
                          const wn_k_scales *s, const batch *b, int i,
                          uint8_t *L) {
  int n = WN_QK / f->sub;
  float d[16], m[16], scale = wn_f32_of_f16(s->d), min = wn_f32_of_f16(s->dmin);
  for (int j = 0; j < n; j++) {
    d[j] = scale * (float)s->scale[j];
    m[j] = min * (float)s->min[j];
  }
  const float *step = b->step + i * n, *from = b->from + i * n;
  if (f->sub == 16)
    round_affine(x, 16, f->top, d, m, step, from, L);
  else
    round_affine(x, 32, f->top, d, m, step, from, L);
}

static void finish_q2(const float *x, wn_k_scales *s, const batch *b, int i,
                      wn_block_q2_K *y) {
  uint8_t L[WN_QK];
  for (int j = 0; j < 16; j++) {
    y->scales[j] = (uint8_t)(s->scale[j] | s->min[j] << 4);
    s->scale[j] = y->scales[j] & 15;
    s->min[j] = y->scales[j] >> 4;
  }
  y->d = s->d;
  y->dmin = s->dmin;
  finish_affine(&wn_k_affine_q2, x, s, b, i, L);
  pack_2_bits(L, y->qs);
}

/* q4_K and q5_K begin alike; scales and levels of both. */
static void finish_45(const wn_k_affine *f, bool cap, const float *x,
                      wn_k_scales *s, const batch *b, int i, uint8_t *scales,
                      uint8_t *L) {
  for (int j = 0; cap && j < 8; j++) {
    if (s->scale[j] > 63) s->scale[j] = 63;
    if (s->min[j] > 63) s->min[j] = 63;
  }
  wn_k_pack_scales45(s, scales);
  wn_k_unpack_scales45(scales, s->scale, s->min);
  finish_affine(f, x, s, b, i, L);
}

static void encode_q2(const float *x, wn_block_q2_K *y, int n,
                      const float *importance) {
  batch b;
  wn_k_scales s[BATCH];
  fit_batch(&wn_k_affine_q2, x, importance, n, &b, s);
  for (int i = 0; i < n; i++)
    finish_q2(x + i * WN_QK, &s[i], &b, i, &y[i]);
}

static void encode_q4(const float *x, wn_block_q4_K *y, int n,
                      const float *importance) {
  batch b;
  wn_k_scales s[BATCH];
  uint8_t L[WN_QK];
  fit_batch(&wn_k_affine_q4, x, importance, n, &b, s);
  for (int i = 0; i < n; i++) {
    finish_45(&wn_k_affine_q4, importance == NULL, x + i * WN_QK, &s[i], &b, i,
              y[i].scales, L);
    y[i].d = s[i].d;
    y[i].dmin = s[i].dmin;
    pack_nibbles(L, y[i].qs);
  }
}

static void encode_q5(const float *x, wn_block_q5_K *y, int n,
                      const float *importance) {
  batch b;
  wn_k_scales s[BATCH];
  uint8_t L[WN_QK];
  fit_batch(&wn_k_affine_q5, x, importance, n, &b, s);
  for (int i = 0; i < n; i++) {
    finish_45(&wn_k_affine_q5, true, x + i * WN_QK, &s[i], &b, i, y[i].scales,
              L);
    y[i].d = s[i].d;
    y[i].dmin = s[i].dmin;
    pack_high_bit(L, 4, y[i].qh);
    pack_nibbles(L, y[i].qs);
  }
}

/* ---- q3_K, q6_K. --------------------------------------------------------- */

/* The first scale of the largest magnitude, with its sign. */
static float largest_scale(const float *scale) {
  float max = 0, amax = 0;
  for (int j = 0; j < 16; j++) {
    if (fabsf(scale[j]) > amax) {
      amax = fabsf(scale[j]);
      max = scale[j];
    }
  }
  return max;
}

static void finish_q3(const float *x, float d, const uint8_t biased[16],
                      const float *step, wn_block_q3_K *y) {
  uint8_t L[WN_QK];
  float ds[16];
  y->d = wn_f16_of_f32(d);
  wn_k_pack_scales3(biased, y->scales);
  d = wn_f32_of_f16(y->d);
  for (int j = 0; j < 16; j++) {
    ds[j] = d * (float)(biased[j] - 32);
    if (ds[j] != 0) continue;
    if (step != NULL)
      keep_symmetric(x + 16 * j, 4, step[j], L + 16 * j);
    else
      wn_k_fit_rounds(16, 4, x + 16 * j, L + 16 * j);
  }
  round_symmetric(x, 4, ds, L);
  pack_2_bits(L, y->qs);
  pack_high_bit(L, 2, y->hmask);
}

static void encode_q3_plain(const float *x, wn_block_q3_K *y, int n) {
  rounds_state s;
  float scale[BATCH * 16];
  rounds_search(x, n, &s, scale);
  for (int i = 0; i < n; i++) {
    const float *v = scale + 16 * i;
    uint8_t biased[16] = {0};
    float max = largest_scale(v), iscale = -32.f / max;
    for (int j = 0; max != 0 && j < 16; j++) {
      int8_t l = (int8_t)wn_k_round(iscale * v[j]);
      biased[j] = (uint8_t)(wn_k_clamp(l, -32, 31) + 32);
    }
    finish_q3(x + i * WN_QK, max != 0 ? 1 / iscale : 0, biased, NULL, y + i);
  }
}

static void symmetric_16(int top, group *g, float *scale, float *step) {
  symmetric_search(16, top, LEVELS_CLAMP, g->x, g->w, g->extra, scale, step);
}

/* Scales of a batch's scales: super-block i in lane i. */
static void fit_scales_q3(const batch *b, int n, group *g, float *scale,
                          float *step) {
  memset(g->x, 0, sizeof g->x);
  memset(g->w, 0, sizeof g->w);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < 16; j++) {
      g->x[j * WIDE + i] = b->scale[16 * i + j];
      g->w[j * WIDE + i] = b->sum_w[16 * i + j];
    }
  symmetric_search(16, 32, LEVELS_EXACT, g->x, g->w, g->extra, scale, step);
}

static void encode_q3_weighed(const float *x, wn_block_q3_K *y, int n,
                              const float *importance) {
  batch b;
  group g;
  float scale[WIDE], step[WIDE];
  mean_squares(x, n, 2, b.sigma2);
  for (int s = 0; s < 16 * n; s += WIDE) {
    load_weighed(x, importance, s, 16 * n, 16, b.sigma2, &g);
    wf sum = wf_set(0);
    for (int i = 0; i < 16; i++)
      sum = wf_add(sum, wf_load(g.w + i * WIDE));
    wf_store(b.sum_w + s, sum);
    symmetric_16(4, &g, b.scale + s, b.step + s);
  }
  fit_scales_q3(&b, n, &g, scale, step);
  for (int i = 0; i < n; i++) {
    uint8_t biased[16];
    keep_symmetric(b.scale + 16 * i, 32, step[i], biased);
    finish_q3(x + i * WN_QK, scale[i], biased, b.step + 16 * i, y + i);
  }
}

static void encode_q3(const float *x, wn_block_q3_K *y, int n,
                      const float *importance) {
  if (importance != NULL)
    encode_q3_weighed(x, y, n, importance);
  else
    encode_q3_plain(x, y, n);
}

static void finish_q6(const float *x, const float *scale, const float *step,
                      wn_block_q6_K *y) {
  uint8_t L[WN_QK];
  float ds[16], max = largest_scale(scale);
  memset(y, 0, sizeof *y);
  if (fabsf(max) < WN_K_EPS) return;
  float iscale = -128.f / max;
  y->d = wn_f16_of_f32(1 / iscale);
  float d = wn_f32_of_f16(y->d);
  for (int j = 0; j < 16; j++) {
    int l = wn_k_round(iscale * scale[j]);
    y->scales[j] = (int8_t)(l > 127 ? 127 : l);
    ds[j] = d * (float)y->scales[j];
    if (ds[j] == 0) keep_symmetric(x + 16 * j, 32, step[j], L + 16 * j);
  }
  round_symmetric(x, 32, ds, L);
  pack_q6(L, y);
}

static void encode_q6(const float *x, wn_block_q6_K *y, int n,
                      const float *importance) {
  batch b;
  group g;
  for (int s = 0; s < 16 * n; s += WIDE) {
    fetch_wide(x + s * 16, 16 * n - s, 16, g.x);
    if (importance != NULL)
      fetch_wide(importance + s * 16, 16 * n - s, 16, g.w);
    else
      for (int i = 0; i < 16 * WIDE; i += WIDE) {
        wf v = wf_load(g.x + i);
        wf_store(g.w + i, wf_mul(v, v));
      }
    symmetric_16(32, &g, b.scale + s, b.step + s);
  }
  for (int i = 0; i < n; i++)
    finish_q6(x + i * WN_QK, b.scale + 16 * i, b.step + 16 * i, y + i);
}
