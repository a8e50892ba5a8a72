--- Vocabularies of every kind made from the demo model's words, texts to be
--- cut, and what llama.cpp made of them: spec/golden/vocabularies.txt, a line of
--- ids for each kind and text ("spm 3 17 4 ..."; without special tokens).
local gguf = require "wane.gguf"

local M = {}

M.PATH = "spec/golden/vocabularies.txt"
M.KINDS = { "bpe", "spm", "ugm", "wpm" }
M.DEMO = "examples/models/demo-f16.gguf"

M.TEXTS = {
  "Once upon a time", " Once upon a time", "  two spaces  ", "the King's son", "THE KING'S SON", "I'll, we've, don't; can't!",
  "line one\nline two\n\nline four", "tab\tand\r\nreturn", "trailing space ", "", " ", "\n", "\n\n\n", "a", "ab", "abc",
  "1234567890", "3.14159 and 2,718", "x = y + 42;", "for (int i = 0; i < n; i++)", "http://example.org/a?b=c&d=e#f",
  "caf\195\169 na\195\175ve \195\156ber", "\208\159\209\128\208\184\208\178\208\181\209\130", "\228\189\160\229\165\189\228\184\150\231\149\140",
  "\240\159\152\128\240\159\145\141", "mixed \228\189\160 and caf\195\169", "\226\128\148 dash \226\128\156quotes\226\128\157",
  "wonderful underwater overthrow", "antidisestablishmentarianism", "aaaaaaaaaaaaaaaa", "The quick brown fox jumps over the lazy dog.",
  "\"Who are you?\" said the Caterpillar.", "  leading and  double  inside", "<s> </s> <unk>", "end.\n", "A.B.C.", "_under_score_",
  "MixedCASEWords", "don\226\128\153t", "\194\160nbsp\194\160", "(parentheses) [brackets] {braces}", "50% of $100 & more",
}

-- The demo's tokens as words: a space is U+2581; only what is ASCII otherwise.
local function words()
  local f = assert(gguf.open(M.DEMO))
  local list, seen = {}, {}
  for _, text in ipairs(f.meta["tokenizer.ggml.tokens"]) do
    local word = text:gsub("\196\160", "\226\150\129") -- how BPE writes a space
    local plain = word:gsub("\226\150\129", "")
    if not plain:find "[^\33-\126]" and not plain:find "^<.*>$" and not seen[word] and word ~= "" then
      list[#list + 1] = word
      seen[word] = true
    end
  end
  f:close()
  return list
end

local function kv(model, tokens, scores, types, more)
  local meta = {
    { "tokenizer.ggml.model", "string", model }, { "tokenizer.ggml.tokens", "array", tokens, "string" },
    { "tokenizer.ggml.scores", "array", scores, "f32" }, { "tokenizer.ggml.token_type", "array", types, "i32" },
  }
  for _, e in ipairs(more) do meta[#meta + 1] = e end
  return meta
end

-- Specials, bytes, words; the earlier a word in the list, the better.
local function pieces(specials, bytes, score)
  local tokens, scores, types = {}, {}, {}
  local function add(text, s, kind) tokens[#tokens + 1], scores[#scores + 1], types[#types + 1] = text, s, kind end
  for i, text in ipairs(specials) do add(text, 0, i == 1 and 2 or 3) end
  for b = 0, bytes and 255 or -1 do add(("<0x%02X>"):format(b), 0, 6) end
  if not bytes then
    for c = 33, 126 do add("\226\150\129" .. string.char(c), -20, 1) end
  end
  local have = {}
  for _, text in ipairs(tokens) do have[text] = true end
  for i, text in ipairs(words()) do
    if not have[text] then add(text, score(i, text), 1) end
  end
  return tokens, scores, types
end

--- The tokenizer's keys of a kind, or nil for the demo's own.
function M.tokenizer(kind)
  local ids = {
    { "tokenizer.ggml.bos_token_id", "u32", 1 }, { "tokenizer.ggml.eos_token_id", "u32", 2 },
    { "tokenizer.ggml.unknown_token_id", "u32", 0 },
  }
  if kind == "spm" then
    local t, s, types = pieces({ "<unk>", "<s>", "</s>" }, true, function(i) return -i end)
    return kv("llama", t, s, types, ids), #t
  elseif kind == "ugm" then
    local t, s, types = pieces({ "<unk>", "<pad>", "</s>" }, false, function(i, w) return -4 - i / 200 - 1 / #w end)
    return kv("t5", t, s, types, ids), #t
  elseif kind == "wpm" then
    local t, s, types = pieces({ "[UNK]", "[CLS]", "[SEP]" }, false, function() return 0 end)
    ids[#ids + 1] = { "tokenizer.ggml.seperator_token_id", "u32", 2 } -- as the format spells it
    return kv("bert", t, s, types, ids), #t
  end
end

--- kind -> list of id lists, in the order of TEXTS.
function M.read()
  local out = {}
  for line in io.lines(M.PATH) do
    local kind, rest = line:match "^(%S+) ?(.*)$"
    local ids = {}
    for id in rest:gmatch "%d+" do ids[#ids + 1] = tonumber(id) end
    out[kind] = out[kind] or {}
    table.insert(out[kind], ids)
  end
  return out
end

return M
