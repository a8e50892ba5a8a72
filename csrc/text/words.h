/* words.h - remembers the words of one text that were encoded already.
 *
 * A slot is one cache line. It holds a word of up to 32 bytes and its ids when
 * they are five at most; else it points at the earlier occurrence in the text,
 * or at its ids in the output. Nothing outlives the call. */
#ifndef WN_TEXT_WORDS_H
#define WN_TEXT_WORDS_H

#include "text/parts.h"

enum {
  WN_WORD_SLOTS = 64, /* at least; one for 16 bytes of text */
  WN_WORD_MOST = 1 << 15,
  WN_WORD_LEN = 64,
  WN_WORD_NEAR = 32, /* longer words are compared in the text too */
  WN_WORD_IDS = 5,
  WN_WORDS_FROM = 1024
};

typedef struct wn_seen {
  uint64_t key[WN_WORD_NEAR / 8];
  const uint8_t *word; /* where it was met */
  uint16_t n, n_ids;
  union {
    int32_t ids[WN_WORD_IDS];
    uint32_t at[2]; /* with more ids: their place in the output, in halves */
  } u;
} wn_seen;
_Static_assert(sizeof(wn_seen) == 64, "a slot is a cache line");

typedef struct wn_words {
  uint64_t mask;
  wn_seen slot[];
} wn_words;

/* Slots for a text of n bytes; NULL for a short text or without memory: then
 * every word is encoded anew. */
static inline wn_words *wn_words_new(size_t n) {
  if (n < WN_WORDS_FROM) return NULL;
  size_t slots = WN_WORD_SLOTS;
  while (slots < n / 16 && slots < WN_WORD_MOST)
    slots *= 2;
  wn_words *w = wn_calloc(WN_MEM_TEXT, 1, sizeof *w + slots * sizeof(wn_seen));
  if (w != NULL) w->mask = slots - 1;
  return w;
}

static inline uint64_t wn_load8(const uint8_t *p) {
  uint64_t x;
  memcpy(&x, p, 8);
  return x;
}

/* The bytes of a word in a form that two words of n bytes share only when
 * they are equal, n <= 32; of longer words the first and the last bytes. */
static inline void wn_word_key(const uint8_t *w, size_t n,
                               uint64_t key[WN_WORD_NEAR / 8]) {
  memset(key, 0, WN_WORD_NEAR);
  if (n >= 8) {
    size_t i = 0;
    for (; 8 * i + 8 < n && i < WN_WORD_NEAR / 8 - 1; i++)
      key[i] = wn_load8(w + 8 * i);
    key[i] = wn_load8(w + n - 8);
  } else if (n >= 4) {
    uint32_t a, b;
    memcpy(&a, w, 4);
    memcpy(&b, w + n - 4, 4);
    key[0] = (uint64_t)a << 32 | b;
  } else if (n > 0) {
    key[0] = (uint64_t)w[0] << 16 | (uint64_t)w[n / 2] << 8 | w[n - 1];
  }
}

static inline uint64_t wn_word_hash(const uint64_t key[WN_WORD_NEAR / 8],
                                    size_t n) {
  uint64_t h = (key[0] ^ n) * UINT64_C(0x9E3779B97F4A7C15) +
               key[1] * UINT64_C(0xC2B2AE3D27D4EB4F) +
               (key[2] + (key[3] << 1)) * UINT64_C(0x165667B19E3779F9);
  return (h ^ h >> 32) * UINT64_C(0x9E3779B97F4A7C15) >> 32;
}

/* The slot of a word, or NULL when it is not to be remembered. *hit: its ids
 * are known; else the caller encodes it and tells wn_words_keep. */
static inline wn_seen *wn_words_at(wn_words *words, const uint8_t *w, size_t n,
                                   bool *hit) {
  uint64_t key[WN_WORD_NEAR / 8];
  *hit = false;
  if (words == NULL || n > WN_WORD_LEN) return NULL;
  wn_word_key(w, n, key);
  wn_seen *s = &words->slot[wn_word_hash(key, n) & words->mask];
  *hit = s->n == n && s->key[0] == key[0] && s->key[1] == key[1] &&
         s->key[2] == key[2] && s->key[3] == key[3] &&
         (n <= WN_WORD_NEAR || memcmp(s->word, w, n) == 0);
  if (*hit) return s;
  memcpy(s->key, key, sizeof key);
  s->word = w;
  s->n = (uint16_t)n;
  return s;
}

/* The ids of the word that `s` was given for are those from `at` on. */
static inline void wn_words_keep(wn_seen *s, const wn_ids *out, size_t at) {
  size_t n = out->n - at;
  s->n_ids = (uint16_t)n;
  if (n <= WN_WORD_IDS) {
    memcpy(s->u.ids, out->p + at, n * sizeof(int32_t));
  } else {
    s->u.at[0] = (uint32_t)at;
    s->u.at[1] = (uint32_t)((uint64_t)at >> 32);
  }
}

/* Appends the ids of a remembered word. */
static inline bool wn_words_repeat(const wn_seen *s, wn_ids *out) {
  size_t n = s->n_ids;
  if (!wn_ids_reserve(out, n > WN_WORD_IDS ? n : WN_WORD_IDS)) return false;
  if (n <= WN_WORD_IDS) {
    memcpy(out->p + out->n, s->u.ids, sizeof s->u.ids);
  } else {
    size_t at = (size_t)((uint64_t)s->u.at[1] << 32 | s->u.at[0]);
    memcpy(out->p + out->n, out->p + at, n * sizeof(int32_t));
  }
  out->n += n;
  return true;
}

#endif
