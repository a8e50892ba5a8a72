/* model.h - a loaded model: weights bound to a verified program, and a
 * vocabulary. Immutable after loading, shared by contexts, counted. */
#ifndef WN_RUN_MODEL_H
#define WN_RUN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "graph/exec.h"
#include "text/vocab.h"

typedef struct wn_model wn_model;

/* Data to use for one tensor instead of the file's: rows of any type that
 * can be multiplied (for vectors: float32). Read while loading, then free. */
typedef struct wn_replacement {
  const char *name; /* terminated */
  int type;
  size_t rows, cols; /* rows of all matrices together */
  const void *data;
} wn_replacement;

typedef struct wn_model_opts {
  bool map;           /* map matrices; where that is refused, read them */
  bool fuse;          /* false: one operation a stage (for debugging) */
  uint64_t max_bytes; /* refuse weights of more bytes; 0: no limit */
  uint32_t n_ctx;     /* tokens the model was made for */
  const wn_replacement *replace; /* n_replace of them, by tensor name */
  size_t n_replace;
} wn_model_opts;

/* Binds the weights of a finished program to the tensors of g. Every tensor
 * must be there in the declared shape and in a type that can be multiplied
 * (matrices) or is a float type (vectors, expanded to float32 here); else
 * WN_EFORMAT or WN_EUNSUP naming tensor, found and wanted. A replacement must
 * name a tensor of the program and have its shape. Takes references on g, p
 * and v; v may be NULL. */
int wn_model_load(wn_gguf *g, wn_prog *p, wn_vocab *v, const wn_model_opts *o,
                  wn_model **out, wn_err *e);
wn_model *wn_model_ref(wn_model *m);
void wn_model_unref(wn_model *m);

const wn_vocab *wn_model_vocab(const wn_model *m); /* NULL: it has none */
const wn_gguf *wn_model_gguf(const wn_model *m);
uint32_t wn_model_n_vocab(const wn_model *m); /* width of the logits */
uint32_t wn_model_n_ctx(const wn_model *m);   /* made for so many tokens */

/* For contexts. */
const wn_prog *wn_model_prog(const wn_model *m);
const wn_sched *wn_model_sched(const wn_model *m);
const wn_bound *wn_model_bound(const wn_model *m);
const int *wn_model_types(const wn_model *m); /* of the bound weights */

/* Bytes of weights in use: those of the file, and those on the heap. */
uint64_t wn_model_weight_bytes(const wn_model *m);
uint64_t wn_model_heap_bytes(const wn_model *m);
/* Are matrices mapped? When they are not although that was asked for, *why
 * says what the system said. */
bool wn_model_is_mapped(const wn_model *m, const char **why);

#endif
