/* ugm.h - between the two files of the unigram model: ugm_map.c brings a text
 * into normal form, ugm.c segments it. */
#ifndef WN_TEXT_UGM_H
#define WN_TEXT_UGM_H

#include "text/merge.h"

typedef struct wn_text_buf {
  uint8_t *p; /* for wn_free */
  size_t n, cap;
} wn_text_buf;

/* The charsmap of the file, if it has one. */
int wn_ugm_load_map(wn_vocab *v, const wn_gguf *g, wn_err *e);
/* Sets ugm.plain; the charsmap and ugm.user are complete. */
void wn_ugm_find_plain(wn_vocab *v);
/* Appends the normal form of a text. */
int wn_ugm_normalise(const wn_vocab *v, const uint8_t *p, size_t n,
                     wn_text_buf *t, wn_err *e);

#endif
