--- Synthetic models for benches, llama or one of bench/families.lua: real
--- shapes, random weights, written in a few seconds.
--
-- The types of the tensors are those that wane's recipes choose; the blocks
-- come from wane's encoders. A pool of rows is encoded once for each type and
-- row width, and every tensor is filled with rows of its pool, from a place of
-- its own on: speed does not depend on the values, and no file has to be
-- downloaded or quantized in full. Needs LuaJIT (ffi).
local ffi = require "ffi"
local core = require "wane.core"
local describe = require "wane.recipe.describe"
local families = require "bench.families"
local gguf = require "wane.gguf"
local imagine = require "wane.fit.imagine"
local planner = require "wane.recipe.plan"
local recipe = require "wane.recipe"
local types = require "wane.recipe.types"

local M = {}

--- Values encoded for one pool: long enough for a pool to miss the caches.
local POOL = 2 ^ 20

---@class bench.Shape
---@field layers integer
---@field width integer
---@field ff integer
---@field heads integer
---@field kv integer
---@field vocab integer
---@field experts integer?  in each layer, in place of one feed-forward part
---@field used integer?     experts that a token uses

--- Sizes by name: number of weights.
---@type table<string, bench.Shape>
M.shapes = {
  ["5m"] = { layers = 6, width = 256, ff = 512, heads = 4, kv = 4, vocab = 2048 },
  ["134m"] = { layers = 12, width = 768, ff = 2048, heads = 12, kv = 12, vocab = 32000 },
  ["430m"] = { layers = 24, width = 1024, ff = 2816, heads = 16, kv = 16, vocab = 59136 },
  ["1.1b"] = { layers = 22, width = 2048, ff = 5632, heads = 32, kv = 4, vocab = 32000 },
}

-- A linear congruential generator on doubles: the same numbers everywhere.
local function random(seed)
  local x = seed
  return function()
    x = x * 16807 % 2147483647
    return x / 2147483647
  end
end

--- A SentencePiece vocabulary: control tokens, bytes, made-up words.
local function vocabulary(n)
  local tokens, scores, kinds = { "<unk>", "<s>", "</s>" }, {}, { 2, 3, 3 }
  for b = 0, 255 do
    tokens[#tokens + 1], kinds[#kinds + 1] = ("<0x%02X>"):format(b), 6
  end
  local syllables = { "ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "wo", "xu", "za" }
  for i = #tokens, n - 1 do
    local k, word = i - 259, ""
    repeat
      word, k = syllables[k % 16 + 1] .. word, math.floor(k / 16)
    until k == 0
    tokens[#tokens + 1], kinds[#kinds + 1] = (i % 2 == 0 and "\226\150\129" or "") .. word, 1
  end
  for i = 1, n do scores[i] = i <= 259 and 0 or 259 - i end
  return tokens, scores, kinds
end

--- The vocabulary's part of a file's metadata.
local function vocabulary_keys(n)
  local tokens, scores, kinds = vocabulary(n)
  return {
    { "tokenizer.ggml.model", "string", "llama" },
    { "tokenizer.ggml.tokens", "array", tokens, "string" },
    { "tokenizer.ggml.scores", "array", scores, "f32" },
    { "tokenizer.ggml.token_type", "array", kinds, "i32" },
    { "tokenizer.ggml.bos_token_id", "u32", 1 },
    { "tokenizer.ggml.eos_token_id", "u32", 2 },
  }
end

--- Metadata of an architecture from a table of numbers, lists and booleans.
local function metadata(name, values, n_vocab)
  local meta = { { "general.architecture", "string", name }, { "general.name", "string", "wane bench" } }
  local function put(key, v)
    if type(v) == "table" then
      meta[#meta + 1] = { key, "array", v, "i32" }
    elseif type(v) == "boolean" then
      meta[#meta + 1] = { key, "bool", v }
    else
      local whole = v == math.floor(v) and not key:find "freq_base" and not key:find "_scale$"
      meta[#meta + 1] = { key, whole and "u32" or "f32", v }
    end
  end
  local keys = {}
  for key in pairs(values) do keys[#keys + 1] = key end
  table.sort(keys)
  put(name .. ".context_length", 32768)
  put(name .. ".vocab_size", n_vocab)
  for _, key in ipairs(keys) do put(name .. "." .. key, values[key]) end
  for _, pair in ipairs(vocabulary_keys(n_vocab)) do meta[#meta + 1] = pair end
  return meta
end

--- The keys of a llama.
local function llama_keys(s)
  return {
    block_count = s.layers, embedding_length = s.width, feed_forward_length = s.ff, ["attention.head_count"] = s.heads,
    ["attention.head_count_kv"] = s.kv, ["rope.dimension_count"] = s.width / s.heads, ["rope.freq_base"] = 10000,
    ["attention.layer_norm_rms_epsilon"] = 2 ^ -17, expert_count = s.experts, expert_used_count = s.used,
  }
end

--- Tensors { name, shape, type } of such a model.
local function shapes(s)
  local list = imagine.tensors {
    layers = s.layers, width = s.width, heads = s.heads, head_size = s.width / s.heads, kv_heads = s.kv, ff = s.ff,
    vocab = s.vocab, experts = s.experts or 0,
  }
  return list
end

--- What a size or a family's name stands for: the architecture, its keys, its
--- tensors, tokens, experts in use.
local function model(size)
  local family = families[size]
  if family and type(size) == "string" then
    local f = family()
    return { name = size, keys = f.meta, tensors = f.tensors, vocab = families.vocab, used = f.meta.expert_used_count }
  end
  local s = type(size) == "table" and size or assert(M.shapes[size], "no such size")
  return { name = "llama", keys = llama_keys(s), tensors = shapes(s), vocab = s.vocab, used = s.used }
end

--- A type ("mxfp4") for all layers, with q8_0 around them.
local function layers_of(name)
  local t = assert(types.find(name))
  return recipe(function(tensor) return tensor.layer and t.name or "q8_0" end)
end

--- The plan that `name` stands for: that of a mix of llama.cpp ("Q4_K_M") that
--- can be made, or that of a type.
local function plan_of(desc, name)
  for _, mix in ipairs(recipe.names()) do
    local plan = mix:lower() == name:lower() and planner.make(desc, recipe(mix), { dry_run = true })
    if plan then return plan end
  end
  return assert(planner.make(desc, layers_of(name), { dry_run = true }))
end

--- The type of every tensor: name -> type name.
local function choose_types(m, name)
  local meta = { ["general.architecture"] = m.name }
  for key, value in pairs(m.keys) do meta[m.name .. "." .. key] = value end
  local desc = assert(describe.model { get = function(key) return meta[key] end, tensors = m.tensors })
  local plan = plan_of(desc, name)
  local chosen = {}
  for _, d in ipairs(plan.tensors) do
    chosen[d.name] = #d.shape == 1 and "f32" or d.to
  end
  return chosen
end

--- Encoded rows of one type and width, as a string of whole rows.
local function make_pool(kind, width)
  local rows = math.max(1, math.floor(POOL / width))
  local next_value, n = random(width), rows * width
  local values, scale = ffi.new("float[?]", n), math.sqrt(3 / width)
  for i = 0, n - 1 do
    -- near to normal: three uniform numbers
    values[i] = (next_value() + next_value() + next_value() - 1.5) * 2 * scale
  end
  local importance = core.quant.buffer(1, width, ("\0\0\128\63"):rep(width))
  local buffer = core.quant.buffer(rows, width, ffi.string(values, 4 * n))
  local needed = kind:find "^iq[12]" ~= nil -- some cannot be made without
  return assert(core.quant.encode(kind, buffer, needed and importance or nil)):bytes(), rows
end

--- An iterator over the bytes of a tensor: rows of the pool, starting at a
--- row that depends on the tensor's number.
local function filler(pool, n_pool, n_rows, seed)
  local row_bytes = #pool / n_pool
  local left, at = n_rows, seed * 37 % n_pool
  return function()
    if left == 0 then return nil end
    local n = math.min(left, n_pool - at)
    local chunk = pool:sub(at * row_bytes + 1, (at + n) * row_bytes)
    left, at = left - n, 0
    return chunk
  end
end

--- What a token reads: bytes and weights of all matrices (the embedding too
--- where it is the output), and of the experts it uses.
local function matrices(m)
  local bytes, weights = 0, 0
  for _, t in ipairs(m.tensors) do
    if t.shape[2] and (t.name ~= "token_embd.weight" or not m.has_output) then
      local facts = types.find(t.type)
      local n = t.shape[1] * t.shape[2] * (t.shape[3] and t.name:find "_exps" and m.used or t.shape[3] or 1)
      bytes, weights = bytes + n / facts.block * facts.bytes, weights + n
    end
  end
  return bytes, weights
end

--- Gives every tensor its data.
local function fill(list)
  local pools = {}
  for i, t in ipairs(list) do
    local width, rows = t.shape[1], t.shape[2] and t.shape[2] * (t.shape[3] or 1)
    if t.value or not rows then
      t.data = ffi.string(ffi.new("float[1]", t.value or 1), 4):rep(width * (rows or 1))
    else
      local key = t.type .. width
      pools[key] = pools[key] or { make_pool(t.type, width) }
      t.data = filler(pools[key][1], pools[key][2], rows, i)
    end
  end
end

--- Writes a model of a size of M.shapes, of a family (bench/families.lua), or
--- of a shape of its own, with the types that `name` chooses, unless the file is
--- there already. Returns the bytes of the matrices that a token reads, and
--- their number of weights.
---@param path string
---@param size string|bench.Shape
---@param name string
---@return number bytes
---@return number weights
function M.write(path, size, name)
  local m = model(size)
  for _, t in ipairs(m.tensors) do
    t.type = t.value and "f32" or "f16"
    m.has_output = m.has_output or t.name == "output.weight"
  end
  local chosen = choose_types(m, name)
  for _, t in ipairs(m.tensors) do t.type = t.value and "f32" or chosen[t.name] end
  local f = io.open(path, "rb")
  if f then
    f:close()
  else
    fill(m.tensors)
    assert(gguf.write { path = path, meta = metadata(m.name, m.keys, m.vocab), tensors = m.tensors })
  end
  return matrices(m)
end

return M
