--- Calibration text: programs in a dozen languages, written for wane.
return [==[
#!/usr/bin/env python3
"""Count words in files and print the most common ones."""
import argparse
import collections
import pathlib
import re
import sys

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def words(path: pathlib.Path, encoding: str = "utf-8"):
    with path.open(encoding=encoding, errors="replace") as f:
        for line in f:
            for m in WORD.finditer(line.lower()):
                yield m.group(0)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("-n", "--top", type=int, default=10, metavar="N")
    parser.add_argument("--min-length", type=int, default=1)
    args = parser.parse_args(argv)
    counts = collections.Counter()
    for path in args.files:
        try:
            counts.update(w for w in words(path) if len(w) >= args.min_length)
        except OSError as e:
            print(f"{path}: {e.strerror}", file=sys.stderr)
            return 1
    width = max((len(w) for w, _ in counts.most_common(args.top)), default=0)
    for word, n in counts.most_common(args.top):
        print(f"{word:<{width}}  {n:>7,}")
    return 0


class Matrix:
    """A small dense matrix of floats, row by row."""

    def __init__(self, rows, cols, values=None):
        self.rows, self.cols = rows, cols
        self.values = list(values) if values is not None else [0.0] * (rows * cols)
        if len(self.values) != rows * cols:
            raise ValueError(f"want {rows * cols} values, got {len(self.values)}")

    def __getitem__(self, at):
        i, j = at
        return self.values[i * self.cols + j]

    def __matmul__(self, other):
        if self.cols != other.rows:
            raise ValueError("shapes do not fit")
        out = Matrix(self.rows, other.cols)
        for i in range(self.rows):
            for k in range(self.cols):
                a = self[i, k]
                for j in range(other.cols):
                    out.values[i * other.cols + j] += a * other[k, j]
        return out


if __name__ == "__main__":
    sys.exit(main())

// A cache that forgets the least recently used entry.
export class LruCache {
  #max;
  #map = new Map();

  constructor(max) {
    if (!Number.isInteger(max) || max < 1) throw new RangeError("max must be a positive integer");
    this.#max = max;
  }

  get(key) {
    if (!this.#map.has(key)) return undefined;
    const value = this.#map.get(key);
    this.#map.delete(key);
    this.#map.set(key, value);
    return value;
  }

  set(key, value) {
    this.#map.delete(key);
    this.#map.set(key, value);
    if (this.#map.size > this.#max) {
      const oldest = this.#map.keys().next().value;
      this.#map.delete(oldest);
    }
    return this;
  }
}

async function fetchJson(url, { retries = 3, timeout = 5000 } = {}) {
  for (let attempt = 0; ; attempt++) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), timeout);
    try {
      const response = await fetch(url, { signal: controller.signal });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      return await response.json();
    } catch (error) {
      if (attempt >= retries) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt));
    } finally {
      clearTimeout(timer);
    }
  }
}

document.querySelectorAll("button[data-copy]").forEach((button) => {
  button.addEventListener("click", () => navigator.clipboard.writeText(button.dataset.copy));
});

use std::collections::HashMap;
use std::fmt;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Number(f64),
    Op(char),
    Open,
    Close,
}

#[derive(Debug)]
pub enum ParseError {
    Unexpected(char, usize),
    UnbalancedParentheses,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Unexpected(c, at) => write!(f, "unexpected '{c}' at {at}"),
            ParseError::UnbalancedParentheses => write!(f, "unbalanced parentheses"),
        }
    }
}

pub fn tokenize(input: &str) -> Result<Vec<Token>, ParseError> {
    let mut tokens = Vec::new();
    let mut chars = input.char_indices().peekable();
    while let Some(&(at, c)) = chars.peek() {
        match c {
            ' ' | '\t' => { chars.next(); }
            '0'..='9' | '.' => {
                let mut text = String::new();
                while let Some(&(_, d)) = chars.peek() {
                    if d.is_ascii_digit() || d == '.' { text.push(d); chars.next(); } else { break; }
                }
                tokens.push(Token::Number(text.parse().map_err(|_| ParseError::Unexpected(c, at))?));
            }
            '+' | '-' | '*' | '/' => { tokens.push(Token::Op(c)); chars.next(); }
            '(' => { tokens.push(Token::Open); chars.next(); }
            ')' => { tokens.push(Token::Close); chars.next(); }
            other => return Err(ParseError::Unexpected(other, at)),
        }
    }
    Ok(tokens)
}

pub fn histogram<'a, I: IntoIterator<Item = &'a str>>(words: I) -> HashMap<&'a str, usize> {
    let mut counts = HashMap::new();
    for w in words { *counts.entry(w).or_insert(0) += 1; }
    counts
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"
)

type counter struct {
	mu    sync.Mutex
	hits  map[string]int
	start time.Time
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.hits[r.URL.Path]++
	n := c.hits[r.URL.Path]
	c.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s was asked for %d times in %s\n", r.URL.Path, n, time.Since(c.start).Round(time.Second))
}

func main() {
	srv := &http.Server{Addr: "127.0.0.1:8080", Handler: &counter{hits: map[string]int{}, start: time.Now()}}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = srv.Shutdown(context.Background())
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

CREATE TABLE customers (
  id         INTEGER PRIMARY KEY,
  name       TEXT NOT NULL,
  country    CHAR(2) NOT NULL DEFAULT 'NL',
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX customers_country ON customers (country);

SELECT c.country, COUNT(*) AS orders, ROUND(SUM(o.total), 2) AS revenue
FROM orders AS o
JOIN customers AS c ON c.id = o.customer_id
WHERE o.placed_at >= DATE '2023-01-01' AND o.status IN ('paid', 'shipped')
GROUP BY c.country
HAVING COUNT(*) > 10
ORDER BY revenue DESC
LIMIT 20;

#!/bin/sh
# Keeps the seven newest backups of a directory.
set -eu
src=${1:?usage: backup.sh DIRECTORY [TARGET]}
target=${2:-/var/backups}
stamp=$(date +%Y-%m-%d-%H%M%S)
mkdir -p "$target"
tar -C "$(dirname "$src")" -czf "$target/$(basename "$src")-$stamp.tar.gz" "$(basename "$src")"
ls -1t "$target"/"$(basename "$src")"-*.tar.gz | tail -n +8 | while read -r old; do
  echo "removing $old"
  rm -f -- "$old"
done

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

class Shape {
 public:
  virtual ~Shape() = default;
  virtual double area() const = 0;
  virtual std::string name() const = 0;
};

class Circle final : public Shape {
 public:
  explicit Circle(double r) : r_(r) {}
  double area() const override { return 3.141592653589793 * r_ * r_; }
  std::string name() const override { return "circle"; }

 private:
  double r_;
};

class Rectangle final : public Shape {
 public:
  Rectangle(double w, double h) : w_(w), h_(h) {}
  double area() const override { return w_ * h_; }
  std::string name() const override { return "rectangle"; }

 private:
  double w_, h_;
};

int main() {
  std::vector<std::unique_ptr<Shape>> shapes;
  shapes.push_back(std::make_unique<Circle>(1.5));
  shapes.push_back(std::make_unique<Rectangle>(2.0, 3.25));
  std::sort(shapes.begin(), shapes.end(),
            [](const auto& a, const auto& b) { return a->area() < b->area(); });
  for (const auto& s : shapes) std::cout << s->name() << ": " << s->area() << '\n';
}

public record Point(double x, double y) {
    public double distanceTo(Point other) {
        return Math.hypot(x - other.x, y - other.y);
    }

    public static Optional<Point> parse(String text) {
        var parts = text.split(",");
        if (parts.length != 2) return Optional.empty();
        try {
            return Optional.of(new Point(Double.parseDouble(parts[0].strip()), Double.parseDouble(parts[1].strip())));
        } catch (NumberFormatException e) {
            return Optional.empty();
        }
    }
}

module Main where

import qualified Data.Map.Strict as Map
import Data.Char (isAlpha, toLower)

frequencies :: String -> Map.Map String Int
frequencies = Map.fromListWith (+) . map (\w -> (w, 1)) . words . map toLower . filter keep
  where keep c = isAlpha c || c == ' '

main :: IO ()
main = interact $ unlines . map show . take 10 . Map.toList . frequencies


/* arith.h - checked arithmetic on numbers that come from outside.
 *
 * Each function stores the result and returns true, or returns false when it
 * would not fit and leaves *r alone. No file number is ever added or
 * multiplied in any other way. Limits are compared by subtraction:
 * `n > size - off` after `off <= size`. */
#ifndef WN_BASE_ARITH_H
#define WN_BASE_ARITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool wn_add(uint64_t a, uint64_t b, uint64_t *r) {
  if (a > UINT64_MAX - b) return false;
  *r = a + b;
  return true;
}

static inline bool wn_mul(uint64_t a, uint64_t b, uint64_t *r) {
  if (b != 0 && a > UINT64_MAX / b) return false;
  *r = a * b;
  return true;
}

/* *r = a rounded up to a multiple of `to`, a power of two. */
static inline bool wn_pad(uint64_t a, uint64_t to, uint64_t *r) {
  uint64_t up;
  if (!wn_add(a, to - 1, &up)) return false;
  *r = up & ~(to - 1);
  return true;
}

/* *r = a as size_t; fails where size_t is narrower (32-bit hosts). */
static inline bool wn_size(uint64_t a, size_t *r) {
  if (a > SIZE_MAX) return false;
  *r = (size_t)a;
  return true;
}

/* True when [off, off + n) lies inside [0, size). */
static inline bool wn_inside(uint64_t off, uint64_t n, uint64_t size) {
  return off <= size && n <= size - off;
}

#endif


/* merge.c - see merge.h. */
#include "text/merge.h"

/* ---- memory ---- */

int wn_merge_reserve(wn_merge *m, size_t n, wn_err *e) {
  if (n <= m->cap) return WN_OK;
  if (n > WN_MAX_MERGE)
    return wn_fail(e, WN_ELIMIT,
                   "text: %zu characters without a place to split, want at "
                   "most %d",
                   n, WN_MAX_MERGE);
  size_t cap = n + n / 4 + 64;
  uint32_t *block = wn_alloc(WN_MEM_TEXT, 6 * (cap + 1) * sizeof *block);
  if (block == NULL) return wn_oom(e);
  wn_free(m->sym);
  m->cap = cap;
  m->sym = block;
  m->start = block + (cap + 1);
  m->next = block + 2 * (cap + 1);
  m->prev = block + 3 * (cap + 1);
  m->prio = block + 4 * (cap + 1);
  m->result = block + 5 * (cap + 1);
  return WN_OK;
}

/* Buckets and their bit sets, all empty; every merge leaves them so. */
static int reserve_buckets(wn_merge *m, uint32_t n_prio, wn_err *e) {
  if (m->first != NULL) return WN_OK;
  size_t words = n_prio, total = 0, count[WN_PRIO_LEVELS];
  for (int k = 0; k < WN_PRIO_LEVELS; k++) {
    words = words / 64 + 1;
    count[k] = words;
    total += words;
  }
  uint64_t *bits = wn_calloc(WN_MEM_TEXT, total, sizeof *bits);
  uint32_t *first = wn_alloc(WN_MEM_TEXT, (size_t)n_prio * sizeof *first);
  if (bits == NULL || first == NULL) {
    wn_free(bits);
    wn_free(first);
    return wn_oom(e);
  }
  memset(first, 0xFF, (size_t)n_prio * sizeof *first);
  m->first = first;
  m->n_prio = n_prio;
  for (int k = 0; k < WN_PRIO_LEVELS; bits += count[k++])
    m->busy[k] = bits;
  return WN_OK;
}

static int reserve_long(wn_merge *m, wn_err *e) {
  if (m->n <= m->long_cap) return WN_OK;
  size_t cap = m->cap;
  uint32_t *block = wn_alloc(WN_MEM_TEXT, 4 * cap * sizeof *block);
  if (block == NULL) return wn_oom(e);
  wn_free(m->after);
  m->long_cap = cap;
  m->after = block;
  m->before = block + cap;
  m->sweep = block + 2 * cap;
  m->spare = block + 3 * cap;
  return WN_OK;
}

void wn_merge_free(wn_merge *m) {
  wn_free(m->sym);
  wn_free(m->after);
  wn_free(m->first);
  wn_free(m->busy[0]);
  wn_free(m->heap);
  *m = (wn_merge){0};
}

/* ---- short rows ---- */

/* Looks up the pair that begins at i. */
static void look(wn_merge *m, wn_pair_fn pair, const void *ctx, uint32_t i) {
  uint32_t j = m->next[i];
  if (j == m->n || !pair(ctx, m, i, j, &m->prio[i], &m->result[i]))
    m->prio[i] = WN_NONE;
}

/* Joins i and its right neighbour; pairs are not looked up yet. */
static void join(wn_merge *m, uint32_t i) {
  uint32_t j = m->next[i], k = m->next[j];
  m->sym[i] = m->result[i];
  m->next[i] = k;
  if (k < m->n) m->prev[k] = i;
}

static void run_short(wn_merge *m, wn_pair_fn pair, const void *ctx) {
  for (;;) {
    uint32_t best = WN_NONE, at = 0;
    for (uint32_t i = 0; i < m->n; i = m->next[i]) {
      if (m->prio[i] < best) {
        best = m->prio[i];
        at = i;
      }
    }
    if (best == WN_NONE) return;
    join(m, at);
    look(m, pair, ctx, at);
    if (at > 0) look(m, pair, ctx, m->prev[at]);
  }
}

/* ---- buckets ---- */

static void set_busy(wn_merge *m, uint32_t prio) {
  for (int k = 0; k < WN_PRIO_LEVELS; k++, prio /= 64) {
    uint64_t *w = &m->busy[k][prio / 64], old = *w;
    *w |= UINT64_C(1) << (prio % 64);
    if (old != 0) return;
  }
}

static void set_idle(wn_merge *m, uint32_t prio) {
  for (int k = 0; k < WN_PRIO_LEVELS; k++, prio /= 64) {
    uint64_t *w = &m->busy[k][prio / 64];
    *w &= ~(UINT64_C(1) << (prio % 64));
    if (*w != 0) return;
  }
}

/* The first busy priority, or WN_NONE. */
static uint32_t first_busy(const wn_merge *m) {
  uint32_t at = 0;
  if (m->busy[WN_PRIO_LEVELS - 1][0] == 0) return WN_NONE;
  for (int k = WN_PRIO_LEVELS; k-- > 0;)
    at = at * 64 + (uint32_t)__builtin_ctzll(m->busy[k][at]);
  return at;
}

static void put_in(wn_merge *m, uint32_t i) {
  uint32_t p = m->prio[i], head = m->first[p];
  m->after[i] = head;
  m->before[i] = WN_NONE;
  if (head != WN_NONE)
    m->before[head] = i;
  else

--- Recipes: programs that choose the type of every tensor.
--
--     local r = wane.recipe "Q4_K_M"                    -- llama.cpp's mix
--     r = r:when("%.ffn_down%.", "q6_K"):layers(0, 1, "q8_0"):role("output", "q8_0")
--     r = wane.recipe(function(t) return t.layer == 0 and "q8_0" or t:cheapest_with(0.05) end)
--     print(r)
--
-- A recipe is a base (a mix of llama.cpp, or a function of the tensor) and
-- rules; the last rule that matches a tensor decides. Recipes never change:
-- each call gives a new one. Rules look only at tensors that may be quantized
-- (matrices, no norms). A type is a name ("q4_K"), "keep" (the source's), or
-- a function of the tensor that returns one, or nil to leave the choice as
-- it is. Formats defined in Lua (wane.quant.define) may be named too: such a
-- recipe can be judged (wane.eval), but not written to a file. Mistakes are errors: unknown types and roles at once; a pattern that
-- matches nothing, a rule that never decides, two rules that contradict each
-- other when the recipe meets a model.
local choose = require "wane.recipe.choose"
local mixes = require "wane.recipe.mixes"
local roles = require "wane.recipe.roles"
local types = require "wane.recipe.types"

local M = {}

---@class wane.Recipe
---@field _base { mix: wane.Mix? , fn: function?, where: string }
---@field _rules table[]
local Recipe = {}
Recipe.__index = function(_, key)
  local method = rawget(Recipe, key)
  if method == nil then error(("wane: a recipe has no method '%s'"):format(tostring(key)), 2) end
  return method
end
Recipe.__metatable = "wane.recipe"

-- The recipe file that is being read, if any.
local reading

-- Where in the user's program a rule was written: the nearest Lua line above.
-- A tail call leaves no line of its own: in a recipe file the file's name must
-- do then.
local function caller(level)
  for l = level + 1, level + 12 do
    local info = debug and debug.getinfo(l, "Sl")
    if not info then break end
    if info.currentline > 0 and (not reading or info.source == "=" .. reading) then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
  return reading or "?"
end

local function check_type(to)
  if type(to) == "function" or to == "keep" then return to end
  local t, msg = types.usable(to)
  if not t then error("wane: " .. msg, 3) end
  return t.name
end

local function make(base, rules)
  return setmetatable({ _base = base, _rules = rules }, Recipe)
end

-- A new recipe with one more rule.
local function with_rule(self, rule)
  local rules = {}
  for i, r in ipairs(self._rules) do
    if r.selector == rule.selector and r.to ~= rule.to and rule.selector then
      error(("wane: %s (%s) contradicts %s (%s)"):format(rule.text, rule.where, r.text, r.where), 3)
    end
    rules[i] = r
  end
  rules[#rules + 1] = rule
  return make(self._base, rules)
end

local function shown(to) return type(to) == "string" and to or "function" end

--- Chooses a type for tensors by name.
---@param pattern string|fun(t: wane.RecipeTensor): boolean  a Lua pattern searched in the name, or a test
---@param to string|fun(t: wane.RecipeTensor): string?
---@return wane.Recipe
function Recipe:when(pattern, to)
  to = check_type(to)
  local rule = { to = to, where = caller(2) }
  if type(pattern) == "function" then
    rule.test, rule.text = pattern, ("when(function, %s)"):format(shown(to))
  elseif type(pattern) == "string" then
    local ok, msg = pcall(string.find, "", pattern)
    if not ok then error(("wane: bad pattern '%s': %s"):format(pattern, msg), 2) end
    rule.test = function(t) return t.name:find(pattern) ~= nil end
    rule.text = ("when(%q, %s)"):format(pattern, shown(to))
    rule.selector = "when " .. pattern
  else
    error("wane: when wants a pattern or a function", 2)
  end
  return with_rule(self, rule)
end

--- Chooses a type for all quantizable tensors of layers first..last (from 0).
---@param first integer
---@param last integer
---@param to string|fun(t: wane.RecipeTensor): string?
---@return wane.Recipe
function Recipe:layers(first, last, to)
  local function is_layer(n) return type(n) == "number" and n >= 0 and n == math.floor(n) end
  if not is_layer(first) or not is_layer(last) or first > last then
    error("wane: layers wants two layer numbers from 0, the first not above the last", 2)
  end
  to = check_type(to)
  return with_rule(self, {
]==]
