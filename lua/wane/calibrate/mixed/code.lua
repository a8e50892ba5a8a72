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


/* ring.c - a queue of bytes of fixed size for one writer and one reader. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct ring {
  uint8_t *data;
  size_t mask; /* size - 1; the size is a power of two */
  _Atomic size_t head, tail;
} ring;

bool ring_init(ring *r, size_t size) {
  if (size == 0 || (size & (size - 1)) != 0) return false;
  r->data = malloc(size);
  r->mask = size - 1;
  atomic_init(&r->head, 0);
  atomic_init(&r->tail, 0);
  return r->data != NULL;
}

/* Puts up to n bytes; returns how many found room. */
size_t ring_put(ring *r, const void *src, size_t n) {
  size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
  size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
  size_t room = r->mask + 1 - (head - tail);
  if (n > room) n = room;
  for (size_t i = 0; i < n; i++)
    r->data[(head + i) & r->mask] = ((const uint8_t *)src)[i];
  atomic_store_explicit(&r->head, head + n, memory_order_release);
  return n;
}

#define MIN(a, b) ((a) < (b) ? (a) : (b))

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

-- Words of a text by how often they occur.
local M = {}

--- Counts the words of a text.
---@param text string
---@return table<string, integer>
function M.count(text)
  local counts = {}
  for word in text:lower():gmatch "%a+" do
    counts[word] = (counts[word] or 0) + 1
  end
  return counts
end

function M.top(counts, n)
  local list = {}
  for word, k in pairs(counts) do list[#list + 1] = { word = word, n = k } end
  table.sort(list, function(a, b)
    if a.n ~= b.n then return a.n > b.n end
    return a.word < b.word
  end)
  return { unpack(list, 1, math.min(n, #list)) }
end

local mt = { __index = M, __call = function(_, text) return M.top(M.count(text), 10) end }

return setmetatable(M, mt)
]==]
