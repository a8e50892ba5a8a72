/* words.h - remembers the words of one text that were encoded already.
 *
 * A slot points at the earlier occurrence in the text and at its ids in the
 * output, so that nothing is copied twice and nothing outlives the call. */
#ifndef WN_TEXT_WORDS_H
#define WN_TEXT_WORDS_H

#include "text/parts.h"

enum {
  WN_WORD_SLOTS = 1 << 12, /* at least; one for 64 bytes of text */
  WN_WORD_MOST = 1 << 16,
  WN_WORD_LEN = 64,
  WN_WORDS_FROM = 1024
};

typedef struct wn_seen {
  const uint8_t *word;
  uint32_t n, n_ids;
  size_t at;
} wn_seen;

typedef struct wn_words {
  uint64_t mask;
  wn_seen slot[];
} wn_words;

/* Slots for a text of n bytes; NULL for a short text or without memory: then
 * every word is encoded anew. */
static inline wn_words *wn_words_new(size_t n) {
  if (n < WN_WORDS_FROM) return NULL;
  size_t slots = WN_WORD_SLOTS;
  while (slots < n / 64 && slots < WN_WORD_MOST)
    slots *= 2;
  wn_words *w = wn_calloc(WN_MEM_TEXT, 1, sizeof *w + slots * sizeof(wn_seen));
  if (w != NULL) w->mask = slots - 1;
  return w;
}

/* The slot for word w with hash h, or NULL when it is not to be remembered;
 * *hit when the slot holds this word. */
static inline wn_seen *wn_words_at(wn_words *words, const uint8_t *w, size_t n,
                                   uint64_t h, bool *hit) {
  *hit = false;
  if (words == NULL || n > WN_WORD_LEN) return NULL;
  wn_seen *s = &words->slot[h & words->mask];
  *hit = s->n == n && memcmp(s->word, w, n) == 0;
  return s;
}

/* Appends the ids of a remembered word. */
static inline bool wn_words_repeat(const wn_seen *s, wn_ids *out) {
  if (!wn_ids_reserve(out, s->n_ids)) return false;
  memcpy(out->p + out->n, out->p + s->at, s->n_ids * sizeof(int32_t));
  out->n += s->n_ids;
  return true;
}

#endif
