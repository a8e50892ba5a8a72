--- Tiny models of every family, made from a description: spec/golden/families.txt.
---
--- A description is the header of a file (sizes, keys) and the names and shapes
--- of its tensors; weights come from a small generator, the same on every
--- machine, so that a clone has models of all families in a hundred kB. Lines:
---
---     model NAME ARCHITECTURE
---     k TYPE KEY VALUE...          metadata; @KEY: under the architecture's prefix; array types end in []
---     t SHAPE NAME                 "64x32 blk.0,1.attn_k.weight": the same in layers 0 and 1
---     logits WHO POSITION V...     16 logits of tokens spread over the vocabulary, behind the token at POSITION
---     rows WHO POSITION V...       16 values of that row of "none" embeddings
---
--- WHO computed them: llama.cpp (its library, x86-64, F32 cache), or wane where
--- that has no face for it. make.lua writes the file anew.
local core = require "wane.core"
local gguf = require "wane.gguf"

local M = {}

M.PATH = "spec/golden/families.txt"
M.SHOWN = 16

-- 65521 values for rows of n, as bytes; a tensor is a piece of them.
local POOL = 65521
local pools = {}

local function pool(kind, n, value)
  local key = kind .. n
  if not pools[key] then
    local t, x = {}, #key * 7919 + n
    for i = 1, POOL do
      x = x * 16807 % 2147483647
      t[i] = value(x / 2147483647 - 0.5)
    end
    pools[key] = core.quant.buffer(1, POOL, t):bytes()
  end
  return pools[key]
end

local function n_of(shape)
  local n = 1
  for _, d in ipairs(shape) do n = n * d end
  return n
end

--- What a tensor's values are like: norms around 1, decays below 0, frequencies
--- above 1, biases small, matrices with rows of length about 1.
local function pool_for(name, shape)
  if name:find "ssm_a$" then return pool("decay", 1, function(r) return -1 - r end) end
  if name:find "rope_freqs" or name:find "rope_factors" then return pool("freq", 1, function(r) return 1.5 + r end) end
  if name:find "norm" and name:find "weight$" or name:find "ssm_d$" or name:find "scale" then
    return pool("norm", 1, function(r) return 1 + 0.4 * r end)
  end
  if not shape[2] or name:find "bias$" then return pool("bias", 1, function(r) return 0.2 * r end) end
  local scale = 3 / math.sqrt(shape[1])
  return pool("matrix", shape[1], function(r) return scale * r end)
end

local function data_of(name, shape)
  local bytes, n, at = pool_for(name, shape), 4 * n_of(shape), 0
  for i = 1, #name do at = (at * 31 + name:byte(i)) % POOL end
  local s = bytes:sub(4 * at + 1) .. bytes:sub(1, 4 * at)
  return (s:rep(math.ceil(n / #s))):sub(1, n)
end

--- The tokenizer that all of them have: bytes and a few letters.
local function tokenizer(n)
  local tokens, scores, types = { "<unk>", "<s>", "</s>" }, {}, { 2, 3, 3 }
  for b = 0, 255 do
    tokens[#tokens + 1] = ("<0x%02X>"):format(b)
    types[#types + 1] = 6
  end
  for i = #tokens + 1, n do
    tokens[i] = "\226\150\129" .. string.char(97 + i % 26) .. i
    types[i] = 1
  end
  for i = 1, n do scores[i] = -i end
  return {
    { "tokenizer.ggml.model", "string", "llama" }, { "tokenizer.ggml.tokens", "array", tokens, "string" },
    { "tokenizer.ggml.scores", "array", scores, "f32" }, { "tokenizer.ggml.token_type", "array", types, "i32" },
    { "tokenizer.ggml.bos_token_id", "u32", 1 }, { "tokenizer.ggml.eos_token_id", "u32", 2 },
    { "tokenizer.ggml.unknown_token_id", "u32", 0 },
  }
end

local function value_of(kind, word)
  if kind == "string" then return (word:gsub("_", " ")) end
  if kind == "bool" then return word == "true" end
  return tonumber(word)
end

local function read_key(m, line)
  local kind, key, rest = line:match "^k (%S+) (%S+) ?(.*)$"
  key = key:gsub("^@", m.arch .. ".")
  local elem = kind:match "^(.*)%[%]$"
  if not elem then
    m.meta[#m.meta + 1] = { key, kind, value_of(kind, rest) }
    return
  end
  local list = {}
  for word in rest:gmatch "%S+" do list[#list + 1] = value_of(elem, word) end
  m.meta[#m.meta + 1] = { key, "array", list, elem }
end

local function read_tensor(m, line)
  local dims, name = line:match "^t (%S+) (%S+)$"
  local shape = {}
  for d in dims:gmatch "%d+" do shape[#shape + 1] = tonumber(d) end
  local layers, rest = name:match "^blk%.([%d,]+)(%..*)$"
  for layer in (layers or "x"):gmatch "[^,]+" do
    m.tensors[#m.tensors + 1] = { name = layers and "blk." .. layer .. rest or name, shape = shape, type = "f32" }
  end
end

local function read_row(m, line)
  local kind, who, at, rest = line:match "^(%a+) (%S+) (%d+) (.*)$"
  local row = { kind = kind, who = who, at = tonumber(at) }
  for word in rest:gmatch "%S+" do row[#row + 1] = tonumber(word) end
  m.rows[#m.rows + 1] = row
end

--- All descriptions, in the file's order.
function M.read()
  local list, m = {}, nil
  for line in io.lines(M.PATH) do
    local first = line:match "^%a+"
    if first == "model" then
      local name, arch = line:match "^model (%S+) (%S+)$"
      m = { name = name, arch = arch, meta = { { "general.architecture", "string", arch } }, tensors = {}, rows = {} }
      list[#list + 1] = m
    elseif first == "k" then
      read_key(m, line)
    elseif first == "t" then
      read_tensor(m, line)
    elseif first then
      read_row(m, line)
    end
  end
  return list
end

--- The size of a model's vocabulary.
function M.vocab(m)
  for _, t in ipairs(m.tensors) do
    if t.name == "token_embd.weight" then return t.shape[2] end
  end
end

--- Writes the model; with another tokenizer (keys) of n tokens when given.
function M.write(m, path, keys, n)
  local meta, tensors, old = {}, {}, M.vocab(m)
  for i, e in ipairs(m.meta) do meta[i] = e end
  for _, e in ipairs(keys or tokenizer(old)) do meta[#meta + 1] = e end
  for i, t in ipairs(m.tensors) do
    local shape = t.shape
    if n and shape[2] == old then shape = { shape[1], n } end
    tensors[i] = { name = t.name, shape = shape, type = t.type, data = data_of(t.name, shape) }
  end
  return gguf.write { path = path, meta = meta, tensors = tensors, overwrite = true }
end

--- The prompt that all of them read.
function M.prompt(m)
  local ids, n = {}, M.vocab(m)
  for i = 1, 24 do ids[i] = 3 + i * 37 % (n - 3) end
  return ids
end

--- The columns of a row of n that are kept.
function M.columns(n)
  local list = {}
  for i = 0, M.SHOWN - 1 do list[i + 1] = math.floor(i * (n - 1) / (M.SHOWN - 1)) + 1 end
  return list
end

return M
