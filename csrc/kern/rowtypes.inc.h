/* rowtypes.inc.h - template: which types have row kernels (row.inc.h), and for
 * which k. */

#define BLOCKS_MIN (32 * LANES)
#define SUPER_MIN(shape) (256 * UNIT_BLOCKS(shape))
static const row_kernel row_kernels[WN_N_TYPE_IDS] = {
    [WN_TYPE_F32] = {arrange_none, rows_f32, 32, 32},
#ifndef DOT_TILES /* there these have another order of operations */
    [WN_TYPE_F16] = {arrange_none, rows_f16, 32, 32},
    [WN_TYPE_BF16] = {arrange_none, rows_bf16, 32, 32},
#endif
    [WN_TYPE_Q8_0] = {arrange_halves, rows_q8_0, BLOCKS_MIN, 32},
    [WN_TYPE_Q4_0] = {arrange_quarters, rows_q4_0, BLOCKS_MIN, 32},
    [WN_TYPE_Q4_1] = {arrange_quarters, rows_q4_1, BLOCKS_MIN, 32},
    [WN_TYPE_Q5_0] = {arrange_quarters, rows_q5_0, BLOCKS_MIN, 32},
    [WN_TYPE_Q5_1] = {arrange_quarters, rows_q5_1, BLOCKS_MIN, 32},
    [WN_TYPE_IQ4_NL] = {arrange_quarters, rows_iq4_nl, BLOCKS_MIN, 32},
    [WN_TYPE_MXFP4] = {arrange_quarters, rows_mxfp4, BLOCKS_MIN, 32},
#if LANES == 16 /* with 8 panels are faster: finishing 16 sums costs more */
    [WN_TYPE_Q2_K] = {arrange_two_bits, rows_q2_K, SUPER_MIN(TWO_BITS16), 256},
    [WN_TYPE_Q3_K] = {arrange_two_bits, rows_q3_K, SUPER_MIN(TWO_BITS16), 256},
#endif
    [WN_TYPE_Q4_K] = {arrange_nibbles, rows_q4_K, SUPER_MIN(NIBBLES32), 256},
    [WN_TYPE_Q5_K] = {arrange_nibbles, rows_q5_K, SUPER_MIN(NIBBLES32), 256},
    [WN_TYPE_Q6_K] = {arrange_natural, rows_q6_K, SUPER_MIN(NATURAL16), 256},
    [WN_TYPE_IQ4_XS] = {arrange_quarters32, rows_iq4_xs, SUPER_MIN(QUARTERS32),
                        256},
};

/* One column of the first rows of a job, as many as there are groups of LANES:
 * their number. */
static size_t run_rows(const wn_mm_job *job, const uint8_t *packed, float *y) {
  const row_kernel *kn = &row_kernels[job->type];
  if (kn->rows == NULL || job->k < kn->shortest || job->k > ROW_K ||
      job->k % kn->step != 0 || job->r1 - job->r0 < LANES)
    return 0;
  row_work *t = job->scratch;
  kn->arrange(packed, job->k, t);
  t->at = job->w + job->r0 * job->row_bytes;
  t->end = job->w + job->r1 * job->row_bytes;
  row_lines_to(t, t->at + LEAD(job));
  size_t r = job->r0;
  for (; r + LANES <= job->r1; r += LANES)
    kn->rows(job, job->w + r * job->row_bytes, packed, t, y + r);
  return r - job->r0;
}
