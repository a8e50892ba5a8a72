/* op_norm.c - rows, or groups of a row (heads), normalised. */
#include "graph/op.h"

static int verify(wn_checker *c) {
  uint32_t width = wn_in_width(c, 0), group = c->op->i[0];
  int rc = WN_OK;
  if (group == 0) group = width;
  if (width % group != 0)
    return wn_bad(c, "width %u is not a multiple of the group, %u", width,
                  group);
  if (!(c->op->f[0] > 0) || c->op->f[0] > 1)
    return wn_bad(c, "eps %g, want more than 0 and at most 1",
                  (double)c->op->f[0]);
  for (int k = 0; k < 2; k++) {
    if (c->op->w[k] == WN_NONE) continue;
    bool whole = wn_weight_values(wn_weight_of(c, k)) == width;
    rc = wn_check_vector(c, k, whole ? width : group);
    if (rc != WN_OK) return rc;
  }
  return wn_make(c, width);
}

static uint32_t granule(const wn_prog *p, const wn_op *op) {
  (void)p;
  return op->i[0];
}

static void norm(wn_member *m, uint32_t i, uint32_t r, uint32_t c0,
                 uint32_t c1) {
  const wn_frame *f = m->f;
  const wn_op *op = &f->p->ops[i];
  uint32_t group = op->i[0] != 0 ? op->i[0] : f->p->widths[i];
  const float *x = wn_row_in(m, op->in[0], r), *p[2] = {NULL, NULL};
  float *y = wn_row(m, i, r);
  for (uint32_t c = c0; c < c1; c += group) {
    for (int k = 0; k < 2; k++) {
      if (op->w[k] == WN_NONE) continue;
      bool per_group = wn_weight_values(&f->p->weights[op->w[k]]) == group;
      p[k] = f->bound[op->w[k]].vec + (per_group ? 0 : c);
    }
    if (op->kind == WN_NORM_RMS)
      f->vec->norm_rms(x + c, p[0], p[1], y + c, group, op->f[0]);
    else
      f->vec->norm_layer(x + c, p[0], p[1], y + c, group, op->f[0]);
  }
}

static const char *const kinds[] = {"rms", "layer"};

const wn_op_desc wn_op_norm = {.name = "norm",
                               .kinds = kinds,
                               .n_kinds = WN_N_NORM,
                               .n_in = 1,
                               .may = 3,
                               .n_i = 1,
                               .n_f = 1,
                               .verify = verify,
                               .granule = granule,
                               .row = norm};
