/* iq4_fast.inc.h - template: encoders of iq4_nl and iq4_xs.
 *
 * The sixteen scales that the reference tries for 32 values stand in sixteen
 * lanes: try 0 maps the largest value to the lowest level, tries 1 to 15 are
 * its fifteen. Each value is broadcast, rounded at all sixteen scales and
 * added to the lanes' sums, in the reference's order. */

WN_TARGET_BEGIN(WN_VEC_TARGET)

enum { IQ4_TRIES = 16, IQ4_VECTORS = IQ4_TRIES / LANES };

/* Weights of 32 values; the sign of the largest and its magnitude. */
WN_VEC void iq4_weigh(const float *x, const float *importance, float variance,
                      float *weight, float *amax, float *max) {
  vf most = vf_set(0);
  for (int i = 0; i < 32; i += LANES) {
    vf v = vf_load(x + i), vv = vf_mul(v, v);
    most = vf_max(most, vf_abs(v));
    if (importance)
      vv = vf_mul(vf_load(importance + i),
                  vf_sqrt(vf_add(vf_set(variance), vv)));
    vf_store(weight + i, vv);
  }
  *amax = vf_most(most);
  unsigned at = 0;
  for (int i = 0; i < 32; i += LANES)
    at |= vm_bits(vf_eq(vf_abs(vf_load(x + i)), vf_set(*amax))) << i;
  *max = x[__builtin_ctz(at)];
}

/* The scale of 32 values, as find_scale of the reference. */
WN_VEC float iq4_scale(const float *x, const float *importance,
                       float variance) {
  _Alignas(64) float weight[32], id[IQ4_TRIES];
  _Alignas(64) float scale[MAX_TRIES], gain[MAX_TRIES];
  float amax, max;
  iq4_weigh(x, importance, variance, weight, &amax, &max);
  if (amax < 1e-15f) return 0;
  id[0] = 1 / (-max / -127.f);
  for (int t = 1; t < IQ4_TRIES; t++)
    id[t] = (float)(t - 8 - 127) / max;
  vf qx[IQ4_VECTORS], qq[IQ4_VECTORS], inverse[IQ4_VECTORS];
  for (int v = 0; v < IQ4_VECTORS; v++) {
    inverse[v] = vf_load(id + LANES * v);
    qx[v] = qq[v] = vf_set(0);
  }
  for (int j = 0; j < 32; j++) {
    vf xj = vf_set(x[j]), w = vf_set(weight[j]);
    for (int v = 0; v < IQ4_VECTORS; v++) {
      vf q = vf_iq4_value(vf_mul(inverse[v], xj)), wq = vf_mul(w, q);
      qx[v] = vf_add(qx[v], vf_mul(wq, xj));
      qq[v] = vf_add(qq[v], vf_mul(wq, q));
    }
  }
  int kept = keep_try(qx, qq, IQ4_VECTORS, IQ4_TRIES, scale, gain);
  /* Try 0 is kept without a test: also when its gain is 0 by underflow, or
   * NaN by overflow and then unbeatable. */
  _Alignas(64) float qq0[LANES];
  vf_store(qq0, qq[0]);
  if (!(qq0[0] > 0)) return kept >= 0 ? scale[kept] : 0;
  return kept >= 0 && gain[0] >= 0 ? scale[kept] : scale[0];
}

/* 32 values as nibbles at inverse scale `id`. */
WN_VEC void iq4_levels(const float *x, float id, uint8_t *qs) {
  for (int j = 0; j < 16; j += LANES) {
    vi low = vf_iq4_index(vf_mul(vf_set(id), vf_load(x + j)));
    vi high = vf_iq4_index(vf_mul(vf_set(id), vf_load(x + j + 16)));
    vi_store_bytes(qs + j, vi_or(low, vi_left(high, 4)));
  }
}

static void encode_iq4_nl(const float *src, void *dst, size_t n,
                          const float *importance) {
  wn_block_iq4_nl *b = dst;
  float sums[LANES] = {0};
  for (size_t i = 0; i < n; i += 32, b++) {
    size_t turn = i / 32 % LANES, left = (n - i) / 32;
    if (turn == 0 && importance)
      sum_squares(src + i, 32, left < LANES ? left : LANES, sums);
    float d = iq4_scale(src + i, importance ? importance + i : NULL,
                        sums[turn] * (2.f / 32));
    b->d = wn_f16_of_f32(d);
    iq4_levels(src + i, d != 0 ? 1 / d : 0, b->qs);
  }
}

/* Scales rounded to 6 bits in steps of d, and the levels that follow. */
WN_VEC void iq4_pack(const float *x, const float *scale, float d,
                     wn_block_iq4_xs *b) {
  float id = d != 0 ? 1 / d : 0;
  b->d = wn_f16_of_f32(d);
  unsigned low = 0, high = 0;
  for (int ib = 0; ib < 8; ib++) {
    int l = wn_iq_clamp(wn_iq_nearest(id * scale[ib]), -32, 31);
    float dl = d * (float)l;
    iq4_levels(x + 32 * ib, dl != 0 ? 1 / dl : 0, b->qs + 16 * ib);
    low |= (unsigned)(l & 15) << 4 * ib;
    high |= (unsigned)((l + 32) >> 4) << 2 * ib;
  }
  memcpy(b->scales_l, &low, sizeof low);
  b->scales_h = (uint16_t)high;
}

static void encode_iq4_xs(const float *src, void *dst, size_t n,
                          const float *importance) {
  wn_block_iq4_xs *b = dst;
  float sums[LANES] = {0};
  for (size_t i = 0; i < n; i += WN_QK, b++) {
    size_t turn = i / WN_QK % LANES, left = (n - i) / WN_QK;
    if (turn == 0 && importance)
      sum_squares(src + i, WN_QK, left < LANES ? left : LANES, sums);
    float variance = sums[turn] * (2.f / WN_QK), scale[8], max = 0, amax = 0;
    for (size_t ib = 0; ib < 8; ib++) {
      size_t at = i + 32 * ib;
      scale[ib] =
          iq4_scale(src + at, importance ? importance + at : NULL, variance);
      if (fabsf(scale[ib]) > amax) {
        amax = fabsf(scale[ib]);
        max = scale[ib];
      }
    }
    iq4_pack(src + i, scale, -max / 32, b);
  }
}

WN_TARGET_END
