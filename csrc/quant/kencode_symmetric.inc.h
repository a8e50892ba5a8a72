/* kencode_symmetric.inc.h - template: fast encoders of q3_K, q6_K and q8_K.
 *
 * As kencode_affine.inc.h, without minima. */

static void symmetric_16(int top, group *g, float *scale, float *step) {
  symmetric_search(16, top, LEVELS_CLAMP, g->x, g->w, g->extra, scale, step);
}

/* ---- q3_K. -------------------------------------------------------------- */

/* The levels of the search for sub-blocks whose scale became 0: from their
 * steps, or, where a step of 0 says that rounds changed them, by doing it
 * again. */
static void keep_q3(const float *x, int n, batch *b) {
  short again[BATCH * 16];
  int n_again = 0;
  for (int i = 0; i < n; i += 16)
    for (unsigned z = zero_scales(b->d + i); z != 0; z &= z - 1) {
      int j = i + __builtin_ctz(z);
      if (b->step[j] == 0)
        again[n_again++] = (short)j;
      else
        keep_symmetric(x + 16 * j, 4, b->step[j], b->L + 16 * j);
    }
  if (n_again > 0) rounds_keep(x, again, n_again, b->L);
}

/* The last stage; biased has 16 scales (plus 32) per super-block, scale their
 * scales. */
static void finish_q3(const float *x, int n, const uint8_t *biased,
                      const float *scale, batch *b, wn_block_q3_K *y) {
  for (int i = 0; i < n; i++) {
    y[i].d = wn_f16_of_f32(scale[i]);
    wn_k_pack_scales3(biased + 16 * i, y[i].scales);
    vf d = vf_set(wn_f32_of_f16(y[i].d));
    for (int j = 16 * i; j < 16 * i + 16; j += LANES) {
      vi l = vi_sub(vi_load_bytes(biased + j), vi_set(32));
      vf_store(b->d + j, vf_mul(d, vi_to_float(l)));
    }
  }
  keep_q3(x, 16 * n, b);
  round_values(x, 16 * n, 16, b->d, NULL, -4, 3, 4, b->L);
  for (int i = 0; i < n; i++) {
    pack_2_bits(b->L + i * WN_QK, y[i].qs);
    pack_high_bit(b->L + i * WN_QK, 2, y[i].hmask);
  }
}

/* Scales of 16 scales without importance: against the largest. */
static float round_scales_q3(const float *v, uint8_t biased[16]) {
  float max = largest_scale(v), iscale = -32.f / max;
  if (max == 0) {
    memset(biased, 0, 16);
    return 0;
  }
  for (int j = 0; j < 16; j += LANES) {
    vf moved =
        vf_add(vf_mul(vf_set(iscale), vf_load(v + j)), vf_set(WN_K_MAGIC));
    vi l = vi_sign_byte(vf_bits(moved));
    l = vi_max(vi_min(l, vi_set(31)), vi_set(-32));
    vi_store_bytes(biased + j, vi_add(l, vi_set(32)));
  }
  return 1 / iscale;
}

static void encode_q3_plain(const float *x, wn_block_q3_K *y, int n) {
  batch b;
  float scale[BATCH];
  uint8_t biased[BATCH * 16];
  rounds_search(x, 16 * n, (rounds_fit){b.scale, b.step});
  for (int i = 0; i < n; i++)
    scale[i] = round_scales_q3(b.scale + 16 * i, biased + 16 * i);
  finish_q3(x, n, biased, scale, &b, y);
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
  uint8_t biased[BATCH * 16];
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
  for (int i = 0; i < n; i++)
    keep_symmetric(b.scale + 16 * i, 32, step[i], biased + 16 * i);
  finish_q3(x, n, biased, scale, &b, y);
}

static void encode_q3(const float *x, wn_block_q3_K *y, int n,
                      const float *importance) {
  if (importance != NULL)
    encode_q3_weighed(x, y, n, importance);
  else
    encode_q3_plain(x, y, n);
}

/* ---- q6_K. -------------------------------------------------------------- */

/* Quantizes the 16 scales of super-block i; false: the block is zero. */
static bool round_scales_q6(int i, batch *b, wn_block_q6_K *y) {
  const float *v = b->scale + 16 * i;
  float max = largest_scale(v), iscale = -128.f / max;
  memset(y, 0, sizeof *y);
  if (fabsf(max) < WN_K_EPS) return false;
  y->d = wn_f16_of_f32(1 / iscale);
  float d = wn_f32_of_f16(y->d);
  for (int j = 0; j < 16; j++) {
    int l = wn_k_round(iscale * v[j]);
    y->scales[j] = (int8_t)(l > 127 ? 127 : l);
    b->d[16 * i + j] = d * (float)y->scales[j];
  }
  return true;
}

static void search_q6(const float *x, const float *importance, int n,
                      batch *b) {
  group g;
  for (int s = 0; s < n; s += WIDE) {
    fetch_wide(x, s, n, 16, g.x);
    if (importance != NULL)
      fetch_wide(importance, s, n, 16, g.w);
    else
      for (int i = 0; i < 16 * WIDE; i += WIDE) {
        wf v = wf_load(g.x + i);
        wf_store(g.w + i, wf_mul(v, v));
      }
    symmetric_16(32, &g, b->scale + s, b->step + s);
  }
}

static void encode_q6(const float *x, wn_block_q6_K *y, int n,
                      const float *importance) {
  batch b;
  bool zero[BATCH];
  search_q6(x, importance, 16 * n, &b);
  for (int i = 0; i < n; i++) {
    zero[i] = !round_scales_q6(i, &b, &y[i]);
    for (int j = 16 * i; j < 16 * i + 16; j++) {
      if (zero[i]) b.d[j] = 0;
      if (b.d[j] == 0) keep_symmetric(x + 16 * j, 32, b.step[j], b.L + 16 * j);
    }
  }
  round_values(x, 16 * n, 16, b.d, NULL, -32, 31, 32, b.L);
  for (int i = 0; i < n; i++)
    if (!zero[i]) pack_q6(b.L + i * WN_QK, &y[i]);
}

/* ---- q8_K. -------------------------------------------------------------- */

/* The value of the largest magnitude with its sign, or NaN where values of
 * both signs have it: then the first one counts. */
WN_VEC float extreme_of(const float *x) {
  vf high = vf_load(x), low = high;
  for (int i = LANES; i < WN_QK; i += LANES) {
    high = vf_max(high, vf_load(x + i));
    low = vf_min(low, vf_load(x + i));
  }
  float top = vf_largest(high), bottom = -vf_largest(vf_neg(low));
  if (top == -bottom && top != 0) return NAN;
  return top > -bottom ? top : bottom;
}

static void encode_q8_block(const float *x, wn_block_q8_K *y) {
  float max = extreme_of(x);
  if (max != max || max == 0) { /* ties and zeros: as the reference */
    wn_fmt_q8_K.encode(x, y, WN_QK, NULL);
    return;
  }
  float iscale = -127.f / max;
  for (int i = 0; i < WN_QK; i += LANES) {
    vf l = vf_nearest(vf_mul(vf_set(iscale), vf_load(x + i)));
    l = vf_add(vf_min(l, vf_set(127)), vf_set(WN_K_MAGIC));
    vi_store_bytes(y->qs + i, vf_bits(l));
  }
  for (int s = 0; s < 16; s++) {
    int sum = 0;
    for (int i = 16 * s; i < 16 * s + 16; i++)
      sum += y->qs[i];
    y->bsums[s] = (int16_t)sum;
  }
  y->d = 1 / iscale;
}

static void encode_q8(const float *x, wn_block_q8_K *y, int n,
                      const float *importance) {
  (void)importance;
  for (int i = 0; i < n; i++)
    encode_q8_block(x + i * WN_QK, &y[i]);
}
