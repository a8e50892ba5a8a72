-- Tokens with U+2581 (the space) inside or at the end: text may not be cut
-- into words where such a token reaches across.
local S = require "spec.support"
local gguf = require "wane.gguf"
local vocab = require "wane.vocab"
local naive = require "spec.support.spm"

local SP = "\226\150\129"

describe("SPM tokens with a space inside", function()
  S.check_leaks()

  it("are found as in the whole text", function()
    local tokens = {
      a = -1, b = -1, c = -1, [SP] = -1, [SP .. "a"] = -3, ["a" .. SP] = -2, ["a" .. SP .. "b"] = -2,
      ["b" .. SP .. "c"] = -6, ["c" .. SP] = -7, [SP .. SP] = -2, [SP .. "b"] = -2, ["ab"] = -4, ["bc"] = -4,
      ["a" .. SP .. "bc"] = -2, [SP .. SP .. "a"] = -3,
    }
    local path, words = naive.write(S.tmp "spaces.gguf", tokens, gguf)
    local v = assert(vocab.open(path))
    local seed = 3
    local function random(n)
      seed = seed * 16807 % 2147483647
      return seed % n + 1
    end
    local letters = { "a", "b", "c", " ", " " }
    for n = 1, 260 do
      local t = {}
      for i = 1, n % 40 + 1 do t[i] = letters[random(5)] end
      local text = table.concat(t)
      assert.same(naive.encode(words, (text:gsub(" ", SP))), v:encode(text), ("%q"):format(text))
    end
    v:close()
    os.remove(path)
  end)
end)
