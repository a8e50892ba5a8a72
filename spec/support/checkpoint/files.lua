--- Files of checkpoints for specs: safetensors, sentencepiece models and
--- tokenizer.json, written from their formats' descriptions.
local M = {}

local json = require "wane.json"

local function u64(n)
  local s = {}
  for i = 1, 8 do
    s[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(s)
end

--- Writes a text or bytes.
function M.write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

--- Writes a safetensors file of { name, dtype, shape, bytes }.
function M.safetensors(path, tensors)
  local header, parts, at = {}, {}, 0
  for i, t in ipairs(tensors) do
    header[i] = { t.name, { dtype = t.dtype, shape = json.list(t.shape), data_offsets = { at, at + #t.bytes } } }
    parts[i] = t.bytes
    at = at + #t.bytes
  end
  local text = json.encode(json.ordered(header))
  M.write(path, u64(#text) .. text .. table.concat(parts))
end

--- Writes tensors as one file, or dealt to n shards with an index.
function M.weights(dir, tensors, n)
  if not n or n == 1 then return M.safetensors(dir .. "/model.safetensors", tensors) end
  local map, lists, names = {}, {}, {}
  for i, t in ipairs(tensors) do
    local name = ("model-%05d-of-%05d.safetensors"):format((i - 1) % n + 1, n)
    if not lists[name] then names[#names + 1], lists[name] = name, {} end
    table.insert(lists[name], t)
    map[#map + 1] = { t.name, name }
  end
  for _, name in ipairs(names) do M.safetensors(dir .. "/" .. name, lists[name]) end
  M.write(dir .. "/model.safetensors.index.json", json.encode { weight_map = json.ordered(map) })
end

-- ---- sentencepiece ------------------------------------------------------------------

local function varint(n)
  local s = {}
  repeat
    local low = n % 128
    n = math.floor(n / 128)
    s[#s + 1] = string.char(n > 0 and low + 128 or low)
  until n == 0
  return table.concat(s)
end

local function field(number, bytes) return varint(number * 8 + 2) .. varint(#bytes) .. bytes end

-- A float32 that is a whole number or zero, little endian.
local function float32(v)
  local core = require "wane.core"
  local b = core.quant.buffer(1, 1, { v })
  local bytes = b:bytes()
  b:close()
  return bytes
end

--- Bytes of a tokenizer.model: ModelProto of pieces (SentencePiece: 1 piece, 2
--- score, 3 type), trainer_spec (3 model_type: 2 = BPE; 35 byte_fallback),
--- normalizer_spec (3 add_dummy_prefix, 4 remove_extra_whitespaces).
---@param tokens string[]
---@param scores number[]
---@param kinds integer[]   GGUF's, which are sentencepiece's
function M.sentencepiece(tokens, scores, kinds)
  local parts = {}
  for i, text in ipairs(tokens) do
    local p = field(1, text) .. varint(2 * 8 + 5) .. float32(scores[i])
    if kinds[i] ~= 1 then p = p .. varint(3 * 8) .. varint(kinds[i]) end
    parts[i] = field(1, p)
  end
  parts[#parts + 1] = field(2, varint(3 * 8) .. varint(2) .. varint(35 * 8) .. varint(1))
  parts[#parts + 1] = field(3, varint(3 * 8) .. varint(1) .. varint(4 * 8) .. varint(0))
  return table.concat(parts)
end

-- ---- tokenizer.json -----------------------------------------------------------------

-- All tokens as { text, id }, and those with a meaning as added ones too.
local function split(tokens, kinds)
  local vocab, added = {}, {}
  for i, text in ipairs(tokens) do
    vocab[i] = { text, i - 1 }
    if kinds[i] == 2 or kinds[i] == 3 or kinds[i] == 4 then
      added[#added + 1] = {
        id = i - 1, content = text, special = kinds[i] ~= 4, single_word = false, lstrip = false, rstrip = false,
        normalized = false,
      }
    end
  end
  return vocab, added
end

--- Byte-level BPE.
function M.byte_level(tokens, kinds, merges)
  local vocab, added = split(tokens, kinds)
  return {
    version = "1.0",
    model = { type = "BPE", vocab = json.ordered(vocab), merges = json.list(merges or {}) },
    added_tokens = json.list(added),
    pre_tokenizer = { type = "ByteLevel", add_prefix_space = false, trim_offsets = true, use_regex = true },
    decoder = { type = "ByteLevel", add_prefix_space = true, trim_offsets = true, use_regex = true },
  }
end

--- BPE of characters with bytes for the rest.
function M.fallback(tokens, kinds, merges)
  local vocab, added = split(tokens, kinds)
  return {
    version = "1.0",
    model = {
      type = "BPE", vocab = json.ordered(vocab), merges = json.list(merges or {}), byte_fallback = true, fuse_unk = true,
      unk_token = tokens[1],
    },
    added_tokens = json.list(added),
    pre_tokenizer = { type = "Split", pattern = { String = " " }, behavior = "MergedWithPrevious", invert = false },
    decoder = { type = "Sequence", decoders = { { type = "ByteFallback" }, { type = "Fuse" } } },
  }
end

--- WordPiece.
function M.wordpiece(tokens, kinds)
  local vocab, added = split(tokens, kinds)
  return {
    version = "1.0",
    model = {
      type = "WordPiece", vocab = json.ordered(vocab), unk_token = "[UNK]", continuing_subword_prefix = "##",
      max_input_chars_per_word = 100,
    },
    added_tokens = json.list(added),
    normalizer = { type = "BertNormalizer", lowercase = true, clean_text = true, handle_chinese_chars = true },
    pre_tokenizer = { type = "BertPreTokenizer" },
  }
end

--- Unigram: { piece, score } in order of ids.
function M.unigram(tokens, scores, kinds, charsmap)
  local _, added = split(tokens, kinds)
  local vocab, unk = {}, 0
  for i, text in ipairs(tokens) do
    vocab[i] = { text, scores[i] }
    if kinds[i] == 2 then unk = i - 1 end
  end
  return {
    version = "1.0", model = { type = "Unigram", unk_id = unk, vocab = json.list(vocab) }, added_tokens = json.list(added),
    normalizer = charsmap and { type = "Precompiled", precompiled_charsmap = charsmap } or json.null,
    pre_tokenizer = { type = "Metaspace", replacement = "\226\150\129", prepend_scheme = "always" },
  }
end

return M
