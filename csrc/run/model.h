/* model.h - a loaded model: weights bound to a verified program, and a
 * vocabulary. Immutable after loading, shared by contexts, counted. */
#ifndef WN_RUN_MODEL_H
#define WN_RUN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gguf/gguf.h"
#include "text/vocab.h"

typedef struct wn_model wn_model;

wn_model *wn_model_ref(wn_model *m);
void wn_model_unref(wn_model *m);
const wn_vocab *wn_model_vocab(const wn_model *m); /* NULL: it has none */
const wn_gguf *wn_model_gguf(const wn_model *m);
uint32_t wn_model_n_vocab(const wn_model *m); /* width of the logits */

#endif
