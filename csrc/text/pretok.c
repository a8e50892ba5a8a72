/* pretok.c - the table of names and the cutter: see pretok.h. */
#include "text/pretok.h"

#include <string.h>

/* The regular expressions that several families share. */
#define GPT2 {WN_ST_GPT2}, 0
#define DIGIT_GPT2 {WN_ST_N1, WN_ST_GPT2}, 0
#define M_LLAMA3 (WN_M_LEAD | WN_M_L | WN_M_N3 | WN_M_CRLF)
#define M_QWEN2 (WN_M_LEAD | WN_M_L | WN_M_N1 | WN_M_CRLF)
#define M_GPT4O (WN_M_CASED | WN_M_TAIL | WN_M_N3 | WN_M_SLASH)
#define LLAMA3 {WN_ST_MODERN}, M_LLAMA3
#define QWEN2 {WN_ST_MODERN}, M_QWEN2
#define GPT4O {WN_ST_MODERN}, M_GPT4O
#define BLOOM {WN_ST_BLOOM}, 0
#define DEEPSEEK3 {WN_ST_N3, WN_ST_CJK, WN_ST_DEEPSEEK}, 0
#define KEEP WN_P_KEEP_SPACES
#define NFC WN_P_NFC
#define LLAMA3_PROPS (WN_P_IGNORE_MERGES | WN_P_ADD_BOS)

/* NFC: read in the tokenizer.json of MPT's origin (GPT-NeoX-20B), Command-R+
 * and Aya, Qwen 2.5 and 3, MiniCPM-V 4.5, and absent in those of GPT-2,
 * GPT-3.5, GPT-4o, gpt-oss, Llama 3, DeepSeek V3, SmolLM. The other rows with
 * it are families that took one of those tokenizers over (OLMo and ModernBERT
 * NeoX's, the rest Qwen's or Command-R's), by what their authors say. */
static const wn_pre PRES[] = {
    {"default", {WN_ST_PUNCT, WN_ST_GPT2, WN_ST_NS, WN_ST_DIGITS3}, 0, 0},
    {"llama3", LLAMA3, LLAMA3_PROPS},
    {"llama-v3", LLAMA3, LLAMA3_PROPS},
    {"llama-bpe", LLAMA3, LLAMA3_PROPS},
    {"falcon3", LLAMA3, LLAMA3_PROPS},
    {"falcon-h1", LLAMA3, LLAMA3_PROPS},
    {"pixtral", LLAMA3, LLAMA3_PROPS},
    {"midm-2.0", LLAMA3, LLAMA3_PROPS},
    {"lfm2", LLAMA3, LLAMA3_PROPS},
    {"jina-v5-nano", LLAMA3, LLAMA3_PROPS},
    {"dbrx", LLAMA3, 0},
    {"smaug-bpe", LLAMA3, 0},
    {"glm4", LLAMA3, WN_P_NO_BOS},
    {"chatglm-bpe", LLAMA3, WN_P_NO_BOS},
    {"minicpm5",
     {WN_ST_N3, WN_ST_MODERN},
     WN_M_LEAD | WN_M_L | WN_M_CRLF,
     WN_P_IGNORE_MERGES},
    {"jais-2", {WN_ST_MODERN}, M_LLAMA3 | WN_M_HALVES, 0},
    {"deepseek-llm",
     {WN_ST_CRLF, WN_ST_WS_DSLETTERS, WN_ST_WS_DSPUNCT, WN_ST_TAIL_WS,
      WN_ST_DSCJK, WN_ST_NS},
     0,
     KEEP},
    {"deepseek-coder",
     {WN_ST_CRLF, WN_ST_WS_LETTERS, WN_ST_WS_PUNCT, WN_ST_DSCJK, WN_ST_N1},
     0,
     KEEP},
    {"deepseek-v3", DEEPSEEK3, KEEP},
    {"hunyuan-dense", DEEPSEEK3, KEEP},
    {"hy_v4", DEEPSEEK3, KEEP},
    {"joyai-llm", DEEPSEEK3, KEEP},
    {"spark2_5", {WN_ST_N3, WN_ST_CJK, WN_ST_SPARK, WN_ST_N1}, 0, KEEP},
    {"youtu",
     {WN_ST_YOUTU, WN_ST_MODERN},
     WN_M_LM | WN_M_TAIL | WN_M_N1 | WN_M_SLASH,
     KEEP | WN_P_IGNORE_MERGES},
    {"falcon", {WN_ST_PUNCT_TICK, WN_ST_GPT2, WN_ST_DIGITS3}, 0, 0},
    {"starcoder", DIGIT_GPT2, 0},
    {"refact", DIGIT_GPT2, 0},
    {"command-r", DIGIT_GPT2, KEEP | NFC},
    {"smollm", DIGIT_GPT2, KEEP},
    {"codeshell", DIGIT_GPT2, 0},
    {"exaone", DIGIT_GPT2, 0},
    {"minerva-7b", DIGIT_GPT2, 0},
    {"mellum2", DIGIT_GPT2, 0},
    {"gpt-2", GPT2, 0},
    {"phi-2", GPT2, 0},
    {"jina-es", GPT2, 0},
    {"jina-de", GPT2, 0},
    {"gigachat", GPT2, 0},
    {"jina-v2-es", GPT2, 0},
    {"jina-v2-de", GPT2, 0},
    {"a.x-4.0", GPT2, 0},
    {"mellum", GPT2, 0},
    {"modern-bert", GPT2, NFC},
    {"exaone4", GPT2, 0},
    {"jina-v1-en", GPT2, WN_P_ADD_SEP},
    {"jina-v2-code", GPT2, WN_P_ADD_SEP},
    {"roberta-bpe", GPT2, WN_P_ADD_SEP},
    {"mpt", GPT2, NFC},
    {"olmo", GPT2, NFC},
    {"jais", GPT2, 0},
    {"trillion", GPT2, KEEP},
    {"granite-docling", GPT2, KEEP},
    {"stablelm2", QWEN2, NFC},
    {"qwen2", QWEN2, KEEP | NFC},
    {"deepseek-r1-qwen", QWEN2, KEEP | NFC},
    {"kormo", QWEN2, KEEP | NFC},
    {"f2llmv2", QWEN2, KEEP | NFC},
    {"megrez", QWEN2, 0},
    {"hunyuan", QWEN2, KEEP | NFC},
    {"solar-open", QWEN2, KEEP},
    {"grok-2", QWEN2, KEEP},
    {"bailingmoe", QWEN2, KEEP | NFC},
    {"bailingmoe2", QWEN2, KEEP | NFC},
    {"llada-moe", QWEN2, KEEP | NFC},
    {"laguna", {WN_ST_LINES, WN_ST_MODERN}, M_QWEN2, KEEP},
    {"ufakzeka", {WN_ST_MODERN}, WN_M_L | WN_M_N1 | WN_M_CRLF, KEEP},
    {"qwen35",
     {WN_ST_MODERN},
     WN_M_LEAD | WN_M_LM | WN_M_N1 | WN_M_PUNCT_NO_M | WN_M_CRLF,
     KEEP | NFC},
    {"seed-coder", {WN_ST_MODERN}, WN_M_LEAD | WN_M_L | WN_M_N1, KEEP},
    {"exaone-moe",
     {WN_ST_MODERN},
     WN_M_LEAD | WN_M_SPACED | WN_M_N1 | WN_M_SLASH1,
     0},
    {"poro-chat", BLOOM, KEEP},
    {"bloom", BLOOM, 0},
    {"gpt3-finnish", BLOOM, 0},
    {"viking", {WN_ST_BLOOM, WN_ST_N1}, 0, KEEP},
    {"tekken",
     {WN_ST_MODERN},
     WN_M_CASED | WN_M_N1 | WN_M_SLASH,
     KEEP | WN_P_IGNORE_MERGES | WN_P_ADD_BOS},
    {"gpt-4o", GPT4O, KEEP},
    {"llama4", GPT4O, KEEP},
    {"kanana2", GPT4O, KEEP},
    {"talkie", GPT4O, KEEP},
    {"minimax-m2", GPT4O, KEEP},
    {"granite-embed-multi-97m",
     {WN_ST_MODERN},
     WN_M_CASEDM | WN_M_TAIL | WN_M_N3 | WN_M_SLASH,
     KEEP | WN_P_IGNORE_MERGES},
    {"tiny_aya",
     {WN_ST_DIGITS3R, WN_ST_MODERN},
     WN_M_LM | WN_M_TAIL | WN_M_N3 | WN_M_SLASH,
     KEEP | NFC},
    {"cohere2moe",
     {WN_ST_DIGITS3R, WN_ST_MODERN},
     WN_M_LM | WN_M_TAIL | WN_M_N3 | WN_M_SLASH,
     KEEP | NFC},
    {"kimi-k2",
     {WN_ST_MODERN},
     WN_M_HAN | WN_M_TAIL | WN_M_N3 | WN_M_CRLF,
     KEEP},
    {"superbpe", {WN_ST_NS, WN_ST_THREES}, 0, KEEP},
    {"afmoe", {WN_ST_DIGITS3R, WN_ST_AFMOE, WN_ST_DEEPSEEK}, 0, KEEP},
    {"chameleon",
     {WN_ST_SENTINEL, WN_ST_IMAGE, WN_ST_CHAM_WS, WN_ST_N1, WN_ST_ANY_PUNCT,
      WN_ST_GPT2},
     0,
     KEEP | WN_P_ADD_BOS},
    {"gemma4",
     {WN_ST_LINES},
     0,
     WN_P_RAW | WN_P_ESCAPE | WN_P_LINE_TOKENS | WN_P_FORCE_BOS},
    {"granite-embed-multi-311m",
     {WN_ST_LINES},
     0,
     WN_P_RAW | WN_P_ESCAPE | WN_P_LINE_TOKENS | WN_P_FORCE_BOS},
    {"sarvam-moe", {WN_ST_LINES}, 0, WN_P_RAW | WN_P_ESCAPE | KEEP},
    {"whitespace", {WN_ST_WORDS}, 0, WN_P_RAW | WN_P_KEEP_CASE},
};

const wn_pre *wn_pre_at(size_t i) {
  return i < sizeof PRES / sizeof PRES[0] ? &PRES[i] : NULL;
}

const wn_pre *wn_pre_find(const char *name, size_t n) {
  if (n == 0) return &PRES[0];
  for (size_t i = 0; i < sizeof PRES / sizeof PRES[0]; i++)
    if (strlen(PRES[i].name) == n && memcmp(PRES[i].name, name, n) == 0)
      return &PRES[i];
  return NULL;
}

/* ---- small full scanners ---- */

static const uint8_t *scan_lines(const uint8_t *p, const uint8_t *end) {
  if (*p != '\n') {
    const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
    return nl != NULL ? nl : end;
  }
  while (p < end && *p == '\n')
    p++;
  return p;
}

/* A piece ends after the first group of each run of numbers, so that text
 * before the run is part of it; then come groups of three. memo: inside a run
 * whose rest is a multiple of three. */
static const uint8_t *scan_digits3r(const wn_uni *u, wn_level *lv) {
  const uint8_t *p = lv->p, *end = lv->end;
  size_t group = 3;
  if (p >= lv->memo) {
    p = wn_skip(u, p, end, 0xFFu & ~(unsigned)WN_C_N);
    if (p == end) return end;
    size_t n = 0;
    for (lv->memo = p; (wn_cls(u, lv->memo, end) & WN_C_N) != 0; n++)
      lv->memo = wn_next(lv->memo);
    if (n % 3 != 0) group = n % 3;
  }
  while (group-- > 0)
    p = wn_next(p);
  return p;
}

static bool is_digit(const uint8_t *p, const uint8_t *end) {
  return p < end && *p >= '0' && *p <= '9';
}

/* Cuts before each group of three ASCII digits counted from the end of their
 * run. memo: the end of the run that p is in. */
static const uint8_t *scan_threes(wn_level *lv) {
  const uint8_t *p = lv->p, *end = lv->end, *q = p;
  for (;;) {
    while (q < end && !is_digit(q, end))
      q++;
    if (q == end) return end;
    if (q >= lv->memo)
      for (lv->memo = q; is_digit(lv->memo, end);)
        lv->memo++;
    const uint8_t *cut = q + (lv->memo - q) % 3;
    if (cut == p) cut += 3;
    if (cut < lv->memo) return cut;
    q = lv->memo;
  }
}

/* ---- the cutter ---- */

/* Search stages: the match at p, or all up to the next match. */
static const uint8_t *search(const wn_uni *u, wn_pre_stage st, wn_level *lv) {
  if (lv->hit == lv->p && lv->hit_end != NULL) return lv->hit_end;
  const uint8_t *e = wn_match_search(u, st, lv->p, lv->end);
  if (e != NULL) return e;
  const uint8_t *q = wn_next(lv->p);
  while (q < lv->end && (e = wn_match_search(u, st, q, lv->end)) == NULL)
    q = wn_next(q);
  lv->hit = q;
  lv->hit_end = e;
  return q;
}

/* \s+$: found from the end, once per piece (hit_end marks that). */
static const uint8_t *scan_tail_ws(const wn_uni *u, wn_level *lv) {
  if (lv->hit_end != NULL) return lv->end;
  const uint8_t *t = lv->end;
  lv->hit_end = lv->end;
  while (t > lv->p) {
    const uint8_t *q = t - 1;
    while (q > lv->p && (*q & 0xC0) == 0x80)
      q--;
    if ((wn_cls(u, q, lv->end) & WN_C_W) == 0) break;
    t = q;
  }
  return t > lv->p ? t : lv->end;
}

static const uint8_t *scan(const wn_cutter *c, wn_pre_stage st, wn_level *lv) {
  switch (st) {
    case WN_ST_GPT2:
      return wn_scan_gpt2(c->uni, lv->p, lv->end);
    case WN_ST_MODERN:
      return wn_scan_modern(c->uni, c->modern, lv);
    case WN_ST_LINES:
      return scan_lines(lv->p, lv->end);
    case WN_ST_DIGITS3R:
      return scan_digits3r(c->uni, lv);
    case WN_ST_THREES:
      return scan_threes(lv);
    case WN_ST_TAIL_WS:
      return scan_tail_ws(c->uni, lv);
    default:
      return search(c->uni, st, lv);
  }
}

static void enter(wn_level *lv, const uint8_t *p, const uint8_t *end) {
  lv->p = lv->hit = lv->memo = p;
  lv->end = end;
  lv->hit_end = NULL;
}

void wn_cut_start(wn_cutter *c, const wn_uni *u, const wn_pre *pre,
                  const uint8_t *text, size_t n) {
  c->uni = u;
  c->pre = pre;
  c->top = c->last = 0;
  c->modern = pre->modern;
  /* llama.cpp leaves the marks out of these words */
  if (u->exact && (c->modern & WN_M_WORD) == WN_M_CASED)
    c->modern = (c->modern & ~(unsigned)WN_M_WORD) | WN_M_CASEDM;
  while (pre->stages[c->last + 1] != WN_ST_END)
    c->last++;
  enter(&c->level[0], text, text + n);
}

bool wn_cut_next(wn_cutter *c, const uint8_t **word, size_t *n) {
  for (;;) {
    wn_level *lv = &c->level[c->top];
    if (lv->p == lv->end) {
      if (c->top == 0) return false;
      c->top--;
      continue;
    }
    const uint8_t *p = lv->p,
                  *e = scan(c, (wn_pre_stage)c->pre->stages[c->top], lv);
    lv->p = e;
    if (c->top == c->last) {
      *word = p;
      *n = (size_t)(e - p);
      return true;
    }
    enter(&c->level[++c->top], p, e);
  }
}
