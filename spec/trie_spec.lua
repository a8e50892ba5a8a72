-- Tries of tokens, whatever their shape: the longest token at every place, by
-- RWKV's vocabularies (any bytes) and a search in Lua; special tokens, which
-- are found by the automaton over them.
local B = require "spec.hostile.build"
local S = require "spec.support"
local W = require "spec.support.words"
local core = require "wane.core"

local path = S.tmp "tries.gguf"

local function escaped(s) return (s:gsub(".", function(c) return ("\\x%02x"):format(c:byte()) end)) end

--- A vocabulary of such tokens (as in the file) and types.
local function vocabulary(tokens, types)
  local texts, kinds = {}, {}
  for i, t in ipairs(tokens) do texts[i], kinds[i] = B.str(t), B.int(types[i], 4) end
  S.spit(path, B.file { kv = {
    B.kv("general.architecture", "string", B.str "llama"), B.kv("tokenizer.ggml.model", "string", B.str "rwkv"),
    B.kv("tokenizer.ggml.tokens", "array", B.array("string", #tokens, table.concat(texts))),
    B.kv("tokenizer.ggml.token_type", "array", B.array("i32", #tokens, table.concat(kinds))),
  } })
  local g = assert(core.gguf.open(path))
  local v = assert(core.vocab.new(g))
  g:close()
  return v
end

--- Ids by the longest entry of `of` (text to id) at each place; single bytes are all there.
local function longest(of, most, text)
  local ids, at = {}, 1
  while at <= #text do
    local n = math.min(most, #text - at + 1)
    while not of[text:sub(at, at + n - 1)] do n = n - 1 end
    ids[#ids + 1] = of[text:sub(at, at + n - 1)]
    at = at + n
  end
  return ids
end

describe("tries", function()
  S.check_leaks()

  it("find the longest token, with any number of children", function()
    for seed = 1, 6 do
      local rnd = W.random(seed)
      local tokens, types, of, most = { "<s>" }, { 3 }, {}, 1
      local function put(s)
        if of[s] then return end
        tokens[#tokens + 1], types[#types + 1] = escaped(s), 1
        of[s], most = #tokens - 1, math.max(most, #s)
      end
      for b = 0, 255 do put(string.char(b)) end
      -- 1 to 256 children, first and last bytes among them; then chains
      for _, n in ipairs { 1, 2, 6, 7, 8, 9, 63, 64, 65, 128, 255, 256 } do
        local stem = string.char(rnd(0, 255), rnd(0, 255))
        local from = rnd(0, 256 - n)
        for k = 0, n - 1 do put(stem .. string.char(n > 200 and k or from + k)) end
      end
      for _ = 1, 300 do
        local s = {}
        for i = 1, rnd(2, 12) do s[i] = string.char(rnd(97, 99)) end
        put(table.concat(s))
      end
      local v = vocabulary(tokens, types)
      for _ = 1, 60 do
        local text = {}
        for i = 1, rnd(1, 80) do
          local kind, k = rnd(1, 3), rnd(1, #tokens - 1)
          text[i] = kind == 1 and string.char(rnd(0, 255)) or kind == 2 and string.char(rnd(97, 99))
            or (tokens[k + 1]:gsub("\\x(..)", function(h) return string.char(tonumber(h, 16)) end))
        end
        text = table.concat(text)
        assert.same(longest(of, most, text), v:encode(text))
      end
      v:close()
    end
  end)

  it("find special tokens from left to right, of two the longer", function()
    local rnd = W.random(9)
    local tokens, types, of, most = { "<s>" }, { 3 }, {}, 1
    local seen = {}
    for b = 97, 99 do
      tokens[#tokens + 1], types[#types + 1] = string.char(b), 1
      of[string.char(b)] = #tokens - 1
    end
    for _ = 1, 60 do
      local s = {}
      for i = 1, rnd(2, 7) do s[i] = string.char(rnd(97, 99)) end
      s = table.concat(s)
      if not seen[s] then
        tokens[#tokens + 1], types[#types + 1], seen[s] = s, 4, true
        of[s], most = #tokens - 1, math.max(most, #s)
      end
    end
    local v = vocabulary(tokens, types)
    for _ = 1, 200 do
      local text = {}
      for i = 1, rnd(1, 60) do text[i] = string.char(rnd(97, 99)) end
      text = table.concat(text)
      assert.same(longest(of, most, text), v:encode(text))
    end
    v:close()
  end)
end)
