/* kencode_affine.inc.h - template: fast encoders of q2_K, q4_K and q5_K.
 *
 * A row is worked off in batches of at most BATCH super-blocks: their
 * sub-blocks go through the search WIDE at a time; then their scales are
 * quantized, with importance one super-block per lane; then all values are
 * rounded and packed. */

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
    max = v[i] > max ? v[i] : max;
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

/* Sets d and m of super-block i from its scales as they were packed. */
static void set_scales(const wn_k_scales *s, int n, int i, batch *b) {
  float d = wn_f32_of_f16(s->d), dmin = wn_f32_of_f16(s->dmin);
  for (int j = 0; j < n; j++) {
    b->d[i * n + j] = d * (float)s->scale[j];
    b->m[i * n + j] = dmin * (float)s->min[j];
  }
}

/* Levels of all values of the batch into b->L. */
static void round_affine(const wn_k_affine *f, const float *x, int n_super,
                         batch *b) {
  int n = n_super * WN_QK / f->sub;
  for (int j = n; j % 16 != 0; j++)
    b->d[j] = 0;
  for (int i = 0; i < n; i += 16)
    for (unsigned z = zero_scales(b->d + i); z != 0; z &= z - 1) {
      int j = i + __builtin_ctz(z);
      if (j < n)
        keep_affine(x + j * f->sub, f->sub, f->top, b->step[j], b->from[j],
                    b->L + j * f->sub);
    }
  if (f->sub == 16)
    round_values(x, n, 16, b->d, b->m, 0, f->top, 0, b->L);
  else
    round_values(x, n, 32, b->d, b->m, 0, f->top, 0, b->L);
}

static void encode_q2(const float *x, wn_block_q2_K *y, int n,
                      const float *importance) {
  batch b;
  wn_k_scales s[BATCH];
  fit_batch(&wn_k_affine_q2, x, importance, n, &b, s);
  for (int i = 0; i < n; i++) {
    y[i].d = s[i].d;
    y[i].dmin = s[i].dmin;
    for (int j = 0; j < 16; j++) {
      y[i].scales[j] = (uint8_t)(s[i].scale[j] | s[i].min[j] << 4);
      s[i].scale[j] = y[i].scales[j] & 15;
      s[i].min[j] = y[i].scales[j] >> 4;
    }
    set_scales(&s[i], 16, i, &b);
  }
  round_affine(&wn_k_affine_q2, x, n, &b);
  for (int i = 0; i < n; i++)
    pack_2_bits(b.L + i * WN_QK, y[i].qs);
}

/* Packs 6-bit scales; `cap`: freak ones are cut to 63 first. */
static void pack_scales(wn_k_scales *s, bool cap, int i, uint8_t *scales,
                        batch *b) {
  for (int j = 0; cap && j < 8; j++) {
    if (s->scale[j] > 63) s->scale[j] = 63;
    if (s->min[j] > 63) s->min[j] = 63;
  }
  wn_k_pack_scales45(s, scales);
  wn_k_unpack_scales45(scales, s->scale, s->min);
  set_scales(s, 8, i, b);
}

static void encode_q4(const float *x, wn_block_q4_K *y, int n,
                      const float *importance) {
  batch b;
  wn_k_scales s[BATCH];
  fit_batch(&wn_k_affine_q4, x, importance, n, &b, s);
  for (int i = 0; i < n; i++) {
    y[i].d = s[i].d;
    y[i].dmin = s[i].dmin;
    pack_scales(&s[i], importance == NULL, i, y[i].scales, &b);
  }
  round_affine(&wn_k_affine_q4, x, n, &b);
  for (int i = 0; i < n; i++)
    pack_nibbles(b.L + i * WN_QK, y[i].qs);
}

static void encode_q5(const float *x, wn_block_q5_K *y, int n,
                      const float *importance) {
  batch b;
  wn_k_scales s[BATCH];
  fit_batch(&wn_k_affine_q5, x, importance, n, &b, s);
  for (int i = 0; i < n; i++) {
    y[i].d = s[i].d;
    y[i].dmin = s[i].dmin;
    pack_scales(&s[i], true, i, y[i].scales, &b);
  }
  round_affine(&wn_k_affine_q5, x, n, &b);
  for (int i = 0; i < n; i++) {
    pack_high_bit(b.L + i * WN_QK, 4, y[i].qh);
    pack_nibbles(b.L + i * WN_QK, y[i].qs);
  }
}
