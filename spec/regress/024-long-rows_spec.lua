-- Rows of more than 128 symbols are merged by other code than short ones: with
-- equal scores the leftmost pair goes first there too. Compared with the
-- definition, written plainly.
local S = require "spec.support"
local gguf = require "wane.gguf"
local vocab = require "wane.vocab"
local naive = require "spec.support.spm"

describe("SPM rows of any length", function()
  S.check_leaks()

  it("merge ties from the left", function()
    local tokens = { a = -1, b = -1, aa = -2, bb = -2, ab = -2, ba = -3, aab = -3, bba = -3, abab = -2, aaaa = -4 }
    local path, words = naive.write(S.tmp "ties.gguf", tokens, gguf)
    local v = assert(vocab.open(path))
    local seed = 7
    local function random()
      seed = seed * 16807 % 2147483647
      return seed / 2147483647
    end
    for _, n in ipairs { 1, 2, 3, 64, 127, 128, 129, 130, 200, 500, 1500 } do
      for _ = 1, 4 do
        local t, bias = {}, random()
        for i = 1, n do t[i] = random() < bias and "a" or "b" end
        local text = table.concat(t)
        assert.same(naive.encode(words, text), v:encode(text), ("%d symbols: %s"):format(n, text))
      end
      assert.same(naive.encode(words, ("a"):rep(n)), v:encode(("a"):rep(n)))
    end
    v:close()
    os.remove(path)
  end)

  -- abc and cde compete for the c; which became possible first says nothing
  it("merge ties from the left in whatever order they came up", function()
    local tokens = { a = -9, b = -9, c = -9, d = -9, e = -9, de = -1, ab = -2, abc = -5, cde = -5, ["dea"] = -5, ea = -6 }
    local path, words = naive.write(S.tmp "late.gguf", tokens, gguf)
    local v = assert(vocab.open(path))
    local seed = 11
    for _, n in ipairs { 20, 60, 120, 140, 400 } do
      for _ = 1, 3 do
        local t = {}
        for i = 1, n do
          seed = seed * 16807 % 2147483647
          t[i] = ({ "abcde", "ab", "cde", "dea", "c", "abc" })[seed % 6 + 1]
        end
        local text = table.concat(t)
        assert.same(naive.encode(words, text), v:encode(text), text)
      end
    end
    v:close()
    os.remove(path)
  end)
end)
