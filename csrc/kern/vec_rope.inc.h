/* vec_rope.inc.h - rotation of one head, part of vec.inc.h.
 *
 * A pair (a, b) becomes (a cos - b sin, a sin + b cos), each product and sum
 * rounded once, in vectors as in single numbers. */

#if VEC_BYTES == 64
#define EVEN_DUP(v) (vf) _mm512_moveldup_ps((__m512)(v))
#define ODD_DUP(v) (vf) _mm512_movehdup_ps((__m512)(v))
#define SWAP_PAIRS(v) (vf) _mm512_permute_ps((__m512)(v), 0xb1)
#elif VEC_BYTES == 32
#define EVEN_DUP(v) (vf) _mm256_moveldup_ps((__m256)(v))
#define ODD_DUP(v) (vf) _mm256_movehdup_ps((__m256)(v))
#define SWAP_PAIRS(v) (vf) _mm256_permute_ps((__m256)(v), 0xb1)
#endif

#ifdef EVEN_DUP
/* Whole registers of neighbouring pairs; returns how many values are done.
 * The sine of an even place is negated: a cos + b (-sin) is a cos - b sin. */
INLINE size_t rotate_pairs(const float *cs, const float *x, float *y,
                           size_t n) {
  size_t i = 0;
  vi minus;
  for (int k = 0; k < PER_REG; k++)
    minus[k] = k % 2 == 0 ? INT32_MIN : 0;
  for (; i + PER_REG <= n; i += PER_REG) {
    vf t, v;
    memcpy(&t, cs + i, sizeof t);
    memcpy(&v, x + i, sizeof v);
    vf sine = (vf)((vi)ODD_DUP(t) ^ minus);
    v = v * EVEN_DUP(t) + SWAP_PAIRS(v) * sine;
    memcpy(y + i, &v, sizeof v);
  }
  return i;
}
#undef EVEN_DUP
#undef ODD_DUP
#undef SWAP_PAIRS
#else
INLINE size_t rotate_pairs(const float *cs, const float *x, float *y,
                           size_t n) {
  (void)cs, (void)x, (void)y, (void)n;
  return 0;
}
#endif

static void rope_normal(const float *cs, const float *x, float *y,
                        size_t n_rot) {
  for (size_t j = rotate_pairs(cs, x, y, n_rot); j < n_rot; j += 2) {
    float a = x[j], b = x[j + 1];
    y[j] = a * cs[j] - b * cs[j + 1];
    y[j + 1] = a * cs[j + 1] + b * cs[j];
  }
}

/* Splits PER_REG pairs of the table into cosines and sines. */
INLINE void split_pairs(const float *cs, vf *cosine, vf *sine) {
  for (int k = 0; k < PER_REG; k++) {
    (*cosine)[k] = cs[2 * k];
    (*sine)[k] = cs[2 * k + 1];
  }
}

static void rope_neox(const float *cs, const float *x, float *y, size_t n_rot) {
  size_t half = n_rot / 2, j = 0;
  for (; j + PER_REG <= half; j += PER_REG) {
    vf a, b, cosine, sine;
    memcpy(&a, x + j, sizeof a);
    memcpy(&b, x + j + half, sizeof b);
    split_pairs(cs + 2 * j, &cosine, &sine);
    vf low = a * cosine - b * sine, high = a * sine + b * cosine;
    memcpy(y + j, &low, sizeof low);
    memcpy(y + j + half, &high, sizeof high);
  }
  for (; j < half; j++) {
    float a = x[j], b = x[j + half];
    y[j] = a * cs[2 * j] - b * cs[2 * j + 1];
    y[j + half] = a * cs[2 * j + 1] + b * cs[2 * j];
  }
}
