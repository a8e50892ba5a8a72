/* gbnf.c - see gbnf.h: the parser, by recursive descent over bytes.
 *
 * `nested` says that a line may end here, as inside parentheses. Depth and
 * every count are bounded before memory is asked for. */
#include "constrain/gbnf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

typedef struct parser {
  wn_gtree *t;
  const wn_vocab *v;
  const uint8_t *s;
  size_t n, at;
  unsigned depth;
  wn_err *e;
} parser;

/* ---- messages and memory */

int wn_gfail(const wn_gtree *t, size_t at, int code, wn_err *e, const char *fmt,
             ...) {
  char what[256];
  size_t line = 1, start = 0;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  for (size_t i = 0; i < at && i < t->n_source; i++)
    if (t->source[i] == '\n') {
      line++;
      start = i + 1;
    }
  return wn_fail(e, code, "grammar: line %zu, column %zu: %s", line,
                 at - start + 1, what);
}

bool wn_groom(void *p, uint32_t n, uint32_t *cap, uint32_t more, size_t size) {
  void **items = p;
  if (more <= *cap - n) return true;
  uint64_t want = ((uint64_t)n + more) * 2 + 16;
  if (want > UINT32_MAX / 2) return false;
  void *q = wn_realloc(WN_MEM_RUN, *items, (size_t)want * size);
  if (q == NULL) return false;
  *items = q;
  *cap = (uint32_t)want;
  return true;
}

static int no_memory(wn_err *e) {
  return wn_fail(e, WN_ENOMEM, "grammar: out of memory");
}

/* "found X" for the message of the byte at hand. */
static const char *found(const parser *p, char *buf, size_t cap) {
  if (p->at >= p->n) return "the end";
  buf[0] = '\'';
  wn_printable(buf + 1, cap - 2, (const char *)p->s + p->at, 1);
  strcat(buf, "'");
  return buf;
}

static int wanted(parser *p, const char *what) {
  char buf[16];
  return wn_gfail(p->t, p->at, WN_EFORMAT, p->e, "found %s, want %s",
                  found(p, buf, sizeof buf), what);
}

/* Adds a node; *id is its number. */
static int add_node(parser *p, wn_gnode node, uint32_t *id) {
  wn_gtree *t = p->t;
  if (t->n_nodes >= WN_MAX_GRAMMAR_NODES)
    return wn_gfail(t, p->at, WN_ELIMIT, p->e, "over %d elements",
                    (int)WN_MAX_GRAMMAR_NODES);
  if (!wn_groom(&t->node, t->n_nodes, &t->cap_nodes, 1, sizeof *t->node))
    return no_memory(p->e);
  *id = t->n_nodes++;
  t->node[*id] = node;
  return WN_OK;
}

/* ---- bytes */

static int peek(const parser *p) {
  return p->at < p->n ? p->s[p->at] : -1;
}

static bool take(parser *p, char c) {
  if (peek(p) != (uint8_t)c) return false;
  p->at++;
  return true;
}

static bool is_name(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool is_digit(int c) {
  return c >= '0' && c <= '9';
}

/* Blanks and comments; line ends too where the rule may go on. */
static void space(parser *p, bool nested) {
  for (;; p->at++) {
    int c = peek(p);
    if (c == '#') {
      while (peek(p) >= 0 && peek(p) != '\n' && peek(p) != '\r')
        p->at++;
      c = peek(p);
    }
    if (c != ' ' && c != '\t' && !(nested && (c == '\r' || c == '\n'))) return;
  }
}

/* A line that begins with | goes on with the rule before it. */
static void space_to_bar(parser *p) {
  size_t at = p->at;
  space(p, true);
  if (peek(p) != '|') p->at = at;
}

/* ---- characters */

static int hex(parser *p, int digits, uint32_t *cp) {
  *cp = 0;
  for (int i = 0; i < digits; i++, p->at++) {
    int c = peek(p), d = is_digit(c)            ? c - '0'
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                : -1;
    if (d < 0) return wanted(p, "a hexadecimal digit");
    *cp = *cp << 4 | (uint32_t)d;
  }
  if (*cp > 0x10FFFF)
    return wn_gfail(p->t, p->at, WN_EFORMAT, p->e, "no character above 10FFFF");
  return WN_OK;
}

static int escape(parser *p, uint32_t *cp) {
  int c = peek(p);
  p->at++;
  switch (c) {
    case 'x':
      return hex(p, 2, cp);
    case 'u':
      return hex(p, 4, cp);
    case 'U':
      return hex(p, 8, cp);
    case 't':
      *cp = '\t';
      return WN_OK;
    case 'r':
      *cp = '\r';
      return WN_OK;
    case 'n':
      *cp = '\n';
      return WN_OK;
    case '\\':
    case '"':
    case '[':
    case ']':
    case '^':
    case '-':
      *cp = (uint32_t)c;
      return WN_OK;
    default:
      p->at--;
      return wanted(p, "one of x u U t r n \\ \" [ ] ^ - after a backslash");
  }
}

/* One character of a text or class. */
static int character(parser *p, uint32_t *cp) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (peek(p) < 0) return wanted(p, "a character");
  uint32_t c = (uint32_t)peek(p), more;
  p->at++;
  if (c == '\\') return escape(p, cp);
  more = c < 0x80 ? 0 : c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
  *cp = more == 0 ? c : c & (0x3Fu >> more);
  for (uint32_t i = 0; i < more; i++, p->at++) {
    if ((peek(p) & 0xC0) != 0x80) return wanted(p, "UTF-8");
    *cp = *cp << 6 | ((uint32_t)peek(p) & 0x3F);
  }
  if ((more > 0 && (c < 0xC2 || c > 0xF4)) ||
      *cp < least[more + 1] * (more > 0) || *cp > 0x10FFFF) {
    p->at--;
    return wanted(p, "UTF-8");
  }
  return WN_OK;
}

static unsigned put_utf8(char *b, uint32_t c) {
  if (c < 0x80) {
    b[0] = (char)c;
    return 1;
  }
  unsigned n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  for (unsigned i = n - 1; i > 0; i--, c >>= 6)
    b[i] = (char)(0x80 | (c & 0x3F));
  b[0] = (char)((0xF00u >> n & 0xF0u) | c);
  return n;
}

/* ---- elements: each leaves the place after it and its node */

static int text(parser *p, uint32_t *id) {
  wn_gtree *t = p->t;
  size_t at = p->at++;
  uint32_t first = t->n_pool, cp;
  while (!take(p, '"')) {
    int rc = character(p, &cp);
    if (rc != WN_OK) return rc;
    if (!wn_groom(&t->pool, t->n_pool, &t->cap_pool, 4, 1))
      return no_memory(p->e);
    t->n_pool += put_utf8(t->pool + t->n_pool, cp);
  }
  return add_node(
      p, (wn_gnode){WN_G_TEXT, first, t->n_pool - first, 0, (uint32_t)at}, id);
}

/* The ranges of a class, up to its bracket. */
static int ranges(parser *p, wn_grange **r, uint32_t *n) {
  uint32_t cap = 0;
  for (*n = 0; !take(p, ']');) {
    size_t at = p->at;
    wn_grange x;
    if (!wn_groom(r, *n, &cap, 1, sizeof **r)) return no_memory(p->e);
    int rc = character(p, &x.low);
    if (rc != WN_OK) return rc;
    x.high = x.low;
    if (peek(p) == '-' && p->at + 1 < p->n && p->s[p->at + 1] != ']') {
      p->at++;
      rc = character(p, &x.high);
      if (rc != WN_OK) return rc;
    }
    if (x.low > x.high)
      return wn_gfail(p->t, at, WN_EFORMAT, p->e,
                      "the range of characters goes backwards");
    (*r)[(*n)++] = x;
  }
  return WN_OK;
}

static int class_(parser *p, uint32_t *id) {
  size_t at = p->at++;
  wn_grange *r = NULL;
  uint32_t n, made;
  bool negate = take(p, '^');
  int rc = ranges(p, &r, &n);
  if (rc == WN_OK && n == 0)
    rc = wn_gfail(p->t, at, WN_EFORMAT, p->e, "found [], want characters");
  if (rc == WN_OK) rc = wn_gclass_make(p->t, r, n, negate, &made, p->e);
  wn_free(r);
  if (rc != WN_OK) return rc;
  return add_node(p, (wn_gnode){WN_G_CLASS, made, 0, 0, (uint32_t)at}, id);
}

static int any(parser *p, uint32_t *id) {
  wn_grange r = {0, 0x10FFFF};
  uint32_t made;
  size_t at = p->at++;
  int rc = wn_gclass_make(p->t, &r, 1, false, &made, p->e);
  if (rc != WN_OK) return rc;
  return add_node(p, (wn_gnode){WN_G_CLASS, made, 0, 0, (uint32_t)at}, id);
}

/* A number with at most 9 digits; more count as a billion. */
static int number(parser *p, uint32_t *n) {
  if (!is_digit(peek(p))) return wanted(p, "a number");
  uint64_t v = 0;
  for (; is_digit(peek(p)); p->at++)
    if (v < 1000000000) v = v * 10 + (uint32_t)(peek(p) - '0');
  *n = v < 1000000000 ? (uint32_t)v : 1000000000;
  return WN_OK;
}

/* The id of a token given as <its text>. */
static int token_of_text(parser *p, size_t from, uint32_t *token) {
  int32_t *ids;
  size_t n;
  if (p->v == NULL)
    return wn_gfail(p->t, from, WN_EFORMAT, p->e,
                    "a token by its text needs a vocabulary");
  int rc = wn_vocab_encode(p->v, (const char *)p->s + from, p->at - from, false,
                           true, &ids, &n, p->e);
  if (rc != WN_OK) return rc;
  if (n == 1) *token = (uint32_t)ids[0];
  wn_free(ids);
  if (n != 1)
    return wn_gfail(p->t, from, WN_EFORMAT, p->e,
                    "the text is %zu tokens, want one", n);
  return WN_OK;
}

static int token(parser *p, uint32_t *id) {
  size_t at = p->at;
  wn_gkind kind = take(p, '!') ? WN_G_OTHER : WN_G_TOKEN;
  size_t from = p->at;
  uint32_t value = 0;
  int rc = WN_OK;
  if (!take(p, '<')) return wanted(p, "< and a token");
  if (take(p, '[')) {
    rc = number(p, &value);
    if (rc != WN_OK) return rc;
    if (!take(p, ']') || !take(p, '>')) return wanted(p, "]> after the id");
    if (p->v != NULL && value >= wn_vocab_size(p->v))
      return wn_gfail(p->t, from, WN_EFORMAT, p->e, "token %u, want 0 to %u",
                      value, wn_vocab_size(p->v) - 1);
  } else {
    while (peek(p) >= 0 && peek(p) != '>')
      p->at++;
    if (!take(p, '>')) return wanted(p, "> after the token");
    rc = token_of_text(p, from, &value);
  }
  if (rc != WN_OK) return rc;
  return add_node(p, (wn_gnode){kind, value, 0, 0, (uint32_t)at}, id);
}

/* ---- rules by name */

static uint32_t hash_name(const parser *p, size_t at, size_t n) {
  uint32_t h = 2166136261u;
  for (size_t i = 0; i < n; i++)
    h = (h ^ p->s[at + i]) * 16777619u;
  return h;
}

/* Doubles the table of names. */
static bool rehash(parser *p) {
  wn_gtree *t = p->t;
  uint32_t n = t->n_index == 0 ? 64 : t->n_index * 2;
  uint32_t *index = wn_alloc(WN_MEM_RUN, n * sizeof *index);
  if (index == NULL) return false;
  memset(index, 0xFF, n * sizeof *index);
  for (uint32_t i = 0; i < t->n_rules; i++) {
    uint32_t h = hash_name(p, t->rule[i].name, t->rule[i].n_name);
    while (index[h & (n - 1)] != WN_G_MANY)
      h++;
    index[h & (n - 1)] = i;
  }
  wn_free(t->index);
  t->index = index;
  t->n_index = n;
  return true;
}

/* The rule of that name, which is made if there is none. */
static int find_rule(parser *p, size_t at, size_t n, uint32_t *rule) {
  wn_gtree *t = p->t;
  if (t->n_rules * 2 >= t->n_index && !rehash(p)) return no_memory(p->e);
  uint32_t h = hash_name(p, at, n), i;
  for (; (i = t->index[h & (t->n_index - 1)]) != WN_G_MANY; h++)
    if (t->rule[i].n_name == n &&
        memcmp(p->s + t->rule[i].name, p->s + at, n) == 0) {
      *rule = i;
      return WN_OK;
    }
  if (!wn_groom(&t->rule, t->n_rules, &t->cap_rules, 1, sizeof *t->rule))
    return no_memory(p->e);
  *rule = t->index[h & (t->n_index - 1)] = t->n_rules;
  t->rule[t->n_rules++] = (wn_grule){.name = (uint32_t)at,
                                     .n_name = (uint32_t)n,
                                     .node = WN_G_MANY,
                                     .at = (uint32_t)at};
  return WN_OK;
}

static int name(parser *p, uint32_t *rule) {
  size_t at = p->at;
  while (is_name(peek(p)))
    p->at++;
  if (p->at == at) return wanted(p, "a name");
  return find_rule(p, at, p->at - at, rule);
}

/* ---- sequences and alternatives */

static int alternatives(parser *p, bool nested, uint32_t *id);

static int group(parser *p, uint32_t *id) {
  size_t at = p->at++;
  if (++p->depth > WN_MAX_GRAMMAR_DEPTH)
    return wn_gfail(p->t, at, WN_ELIMIT, p->e, "over %d nested groups",
                    (int)WN_MAX_GRAMMAR_DEPTH);
  space(p, true);
  int rc = alternatives(p, true, id);
  p->depth--;
  if (rc != WN_OK) return rc;
  return take(p, ')') ? WN_OK : wanted(p, "')'");
}

/* The bounds of a repetition. */
static int bounds(parser *p, bool nested, uint32_t *min, uint32_t *max) {
  size_t at = p->at;
  int c = p->s[p->at++], rc;
  *min = c == '+';
  *max = c == '?' ? 1 : WN_G_MANY;
  if (c != '{') return WN_OK;
  space(p, nested);
  if ((rc = number(p, min)) != WN_OK) return rc;
  *max = *min;
  space(p, nested);
  if (take(p, ',')) {
    *max = WN_G_MANY;
    space(p, nested);
    if (is_digit(peek(p)) && (rc = number(p, max)) != WN_OK) return rc;
    space(p, nested);
  }
  if (!take(p, '}')) return wanted(p, "'}'");
  uint32_t most = *max == WN_G_MANY ? *min : *max;
  if (*min > *max)
    return wn_gfail(p->t, at, WN_EFORMAT, p->e,
                    "the repetition's least is above its most");
  if (most > WN_MAX_GRAMMAR_REPEAT)
    return wn_gfail(p->t, at, WN_ELIMIT, p->e, "over %d repetitions",
                    (int)WN_MAX_GRAMMAR_REPEAT);
  return WN_OK;
}

/* Wraps the element in what follows it: * + ? {m,n}. A second one directly
 * after the first is refused: it would multiply without showing it. */
static int repeat(parser *p, bool nested, uint32_t *id) {
  int c = peek(p);
  uint32_t min, max;
  size_t at = p->at;
  if (c != '*' && c != '+' && c != '?' && c != '{') return WN_OK;
  int rc = bounds(p, nested, &min, &max);
  if (rc != WN_OK) return rc;
  space(p, nested);
  c = peek(p);
  if (c == '*' || c == '+' || c == '?' || c == '{')
    return wanted(p, "parentheses around a repetition that is repeated");
  return add_node(p, (wn_gnode){WN_G_REPEAT, *id, min, max, (uint32_t)at}, id);
}

/* One element; *any says whether there was one. */
static int element(parser *p, bool nested, bool *some, uint32_t *id) {
  int c = peek(p), rc;
  *some = true;
  if (c == '"') {
    rc = text(p, id);
  } else if (c == '[') {
    rc = class_(p, id);
  } else if (c == '.') {
    rc = any(p, id);
  } else if (c == '(') {
    rc = group(p, id);
  } else if (c == '<' || c == '!') {
    rc = token(p, id);
  } else if (is_name(c)) {
    size_t at = p->at;
    uint32_t rule;
    rc = name(p, &rule);
    if (rc == WN_OK)
      rc = add_node(p, (wn_gnode){WN_G_RULE, rule, 0, 0, (uint32_t)at}, id);
  } else {
    *some = false;
    return c == '*' || c == '+' || c == '?' || c == '{'
               ? wanted(p, "something to repeat before it")
               : WN_OK;
  }
  if (rc != WN_OK) return rc;
  space(p, nested);
  return repeat(p, nested, id);
}

/* Items gathered while their number is not known yet. */
typedef struct items {
  uint32_t *p;
  uint32_t n, cap;
} items;

/* One node of the items: a single one is itself. */
static int close_items(parser *p, items *x, wn_gkind kind, size_t at,
                       uint32_t *id) {
  wn_gtree *t = p->t;
  int rc = WN_OK;
  if (x->n == 1) {
    *id = x->p[0];
  } else if (!wn_groom(&t->list, t->n_list, &t->cap_list, x->n,
                       sizeof *t->list)) {
    rc = no_memory(p->e);
  } else {
    if (x->n > 0) memcpy(t->list + t->n_list, x->p, x->n * sizeof *x->p);
    rc = add_node(p, (wn_gnode){kind, t->n_list, x->n, 0, (uint32_t)at}, id);
    t->n_list += x->n;
  }
  wn_free(x->p);
  return rc;
}

static int add_item(parser *p, items *x, uint32_t id) {
  if (!wn_groom(&x->p, x->n, &x->cap, 1, sizeof *x->p)) return no_memory(p->e);
  x->p[x->n++] = id;
  return WN_OK;
}

static int sequence(parser *p, bool nested, uint32_t *id) {
  items x = {NULL, 0, 0};
  size_t at = p->at;
  bool some = true;
  int rc = WN_OK;
  while (rc == WN_OK && some) {
    uint32_t item;
    rc = element(p, nested, &some, &item);
    if (rc == WN_OK && some) rc = add_item(p, &x, item);
  }
  if (rc == WN_OK) return close_items(p, &x, WN_G_SEQ, at, id);
  wn_free(x.p);
  return rc;
}

static int alternatives(parser *p, bool nested, uint32_t *id) {
  items x = {NULL, 0, 0};
  size_t at = p->at;
  int rc;
  do {
    uint32_t item;
    if (x.n > 0) space(p, true);
    rc = sequence(p, nested, &item);
    if (rc == WN_OK) rc = add_item(p, &x, item);
    if (rc == WN_OK && !nested) space_to_bar(p);
  } while (rc == WN_OK && take(p, '|'));
  if (rc == WN_OK) return close_items(p, &x, WN_G_ALT, at, id);
  wn_free(x.p);
  return rc;
}

/* name ::= alternatives, to the end of the line. */
static int rule(parser *p) {
  uint32_t r, node;
  int rc = name(p, &r);
  if (rc != WN_OK) return rc;
  space(p, false);
  if (!take(p, ':') || !take(p, ':') || !take(p, '='))
    return wanted(p, "::= after the name of a rule");
  space(p, true);
  rc = alternatives(p, false, &node);
  if (rc != WN_OK) return rc;
  p->t->rule[r].node = node;
  if (p->at < p->n && peek(p) != '\n' && peek(p) != '\r')
    return wanted(p, "an element, '|' or the end of the line");
  space(p, true);
  return WN_OK;
}

int wn_gbnf_parse(const char *source, size_t n, const char *root,
                  const wn_vocab *v, wn_gtree *t, wn_err *e) {
  *t = (wn_gtree){0};
  parser p = {.t = t, .v = v, .n = n, .e = e};
  if (n > WN_MAX_GRAMMAR_BYTES)
    return wn_fail(e, WN_ELIMIT, "grammar: %zu bytes, want at most %d", n,
                   (int)WN_MAX_GRAMMAR_BYTES);
  t->source = wn_alloc(WN_MEM_RUN, n);
  if (t->source == NULL) return no_memory(e);
  if (n > 0) memcpy(t->source, source, n);
  t->n_source = n;
  p.s = (const uint8_t *)t->source;
  space(&p, true);
  int rc = WN_OK;
  while (rc == WN_OK && p.at < p.n)
    rc = rule(&p);
  if (rc == WN_OK) {
    t->root = 0;
    while (t->root < t->n_rules &&
           (t->rule[t->root].n_name != strlen(root) ||
            memcmp(t->source + t->rule[t->root].name, root, strlen(root)) != 0))
      t->root++;
    if (t->root == t->n_rules || t->rule[t->root].node == WN_G_MANY)
      rc = wn_fail(e, WN_EFORMAT, "grammar: no rule is named '%.60s'", root);
  }
  if (rc == WN_OK) rc = wn_gbnf_check(t, e);
  if (rc != WN_OK) wn_gtree_free(t);
  return rc;
}

void wn_gtree_free(wn_gtree *t) {
  wn_free(t->source);
  wn_free(t->node);
  wn_free(t->rule);
  wn_free(t->class_);
  wn_free(t->range);
  wn_free(t->list);
  wn_free(t->pool);
  wn_free(t->index);
  *t = (wn_gtree){0};
}
