--- Tiny random models, made in a moment: a llama of any shape, dense or with
--- experts. Weights come from a small generator, the same on every machine.
local M = {}

local support = require "spec.support"
local core = require "wane.core"
local gguf = require "wane.gguf"
local imagine = require "wane.fit.imagine"

-- Park and Miller's generator: 31 bits, exact in a double.
local function random(seed)
  local x = seed
  return function()
    x = x * 16807 % 2147483647
    return x / 2147483647 - 0.5
  end
end

-- The bytes of n float32 values around `mean`.
local function values(n, mean, scale, next_value)
  local t = {}
  for i = 1, n do t[i] = mean + scale * next_value() end
  return core.quant.buffer(1, n, t):bytes()
end

--- Metadata of a tiny llama, in order: { key, type, value [, elem] }.
---@param o table layers, width, heads, kv, ff, vocab, context, experts, used
function M.meta(o)
  local meta = {
    { "general.architecture", "string", "llama" },
    { "llama.block_count", "u32", o.layers },
    { "llama.context_length", "u32", o.context },
    { "llama.embedding_length", "u32", o.width },
    { "llama.feed_forward_length", "u32", o.ff },
    { "llama.attention.head_count", "u32", o.heads },
    { "llama.attention.head_count_kv", "u32", o.kv },
    { "llama.attention.layer_norm_rms_epsilon", "f32", 2 ^ -17 },
    { "llama.rope.freq_base", "f32", 10000 },
    { "llama.vocab_size", "u32", o.vocab },
  }
  if o.experts then
    meta[#meta + 1] = { "llama.expert_count", "u32", o.experts }
    meta[#meta + 1] = { "llama.expert_used_count", "u32", o.used }
  end
  return meta
end

-- Shapes of the tensors of a tiny llama, in order.
local function shapes(o)
  return imagine.tensors {
    layers = o.layers, width = o.width, heads = o.heads, head_size = o.width / o.heads, kv_heads = o.kv, ff = o.ff,
    vocab = o.vocab, experts = o.experts or 0, tied = true,
  }
end

--- Tensors for gguf.write.
function M.tensors(o)
  local list, next_value = shapes(o), random(o.seed or 1)
  for _, t in ipairs(list) do
    local n = 1
    for _, d in ipairs(t.shape) do n = n * d end
    local norm = t.name:find "_norm%."
    t.type = "f32"
    t.data = values(n, norm and 1 or 0, norm and 0.2 or 2 / math.sqrt(t.shape[1]), next_value)
  end
  return list
end

--- The shape of a tiny llama with some fields changed.
function M.shape(over)
  local o = { layers = 2, width = 64, heads = 4, kv = 2, ff = 96, vocab = 80, context = 128 }
  for k, v in pairs(over or {}) do o[k] = v end
  return o
end

--- Writes a tiny llama and returns its path. `edit(meta, tensors)` may change
--- both before they are written.
function M.write(over, edit)
  local o = M.shape(over)
  local meta, tensors = M.meta(o), M.tensors(o)
  if edit then edit(meta, tensors) end
  local path = support.tmp "tiny.gguf"
  assert(gguf.write { path = path, meta = meta, tensors = tensors })
  return path
end

--- n token ids below `vocab`.
function M.tokens(n, vocab, seed)
  local next_value, t = random(seed or 7), {}
  for i = 1, n do t[i] = math.floor((next_value() + 0.5) * vocab) end
  return t
end

return M
