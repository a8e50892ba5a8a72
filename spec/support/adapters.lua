--- LoRA adapters and control vectors for the demo model, made of numbers that
--- are the same everywhere.
local M = {}

local gguf = require "wane.gguf"
local support = require "spec.support"

-- Numbers from -1 to 1, the same everywhere.
local function numbers(n, seed, scale)
  local x, t = seed, {}
  for i = 1, n do
    x = x * 16807 % 2147483647
    t[i] = (x / 2147483647 * 2 - 1) * scale
  end
  return t
end

-- float32, little-endian; small numbers only (no denormals here).
local function f32(v)
  if v == 0 then return "\0\0\0\0" end
  local sign = v < 0 and 128 or 0
  local m, e = math.abs(v), 127
  while m >= 2 do m, e = m / 2, e + 1 end
  while m < 1 do m, e = m * 2, e - 1 end
  local frac = math.floor((m - 1) * 8388608)
  return string.char(frac % 256, math.floor(frac / 256) % 256, math.floor(frac / 65536) + e % 2 * 128, sign + math.floor(e / 2))
end

local function floats(list)
  local t = {}
  for i, v in ipairs(list) do t[i] = f32(v) end
  return table.concat(t)
end

-- { name, width, rows } in the demo model.
local MATRICES = {
  { "blk.0.attn_q.weight", 256, 256 }, { "blk.2.ffn_down.weight", 768, 256 }, { "blk.5.attn_v.weight", 256, 128 },
  { "blk.7.ffn_up.weight", 256, 768 }, { "output.weight", 256, 2048 },
}

--- Writes an adapter for those matrices: a path. opts: rank, alpha, seed, meta,
--- edit (a function that changes the list of tensors).
function M.lora(opts)
  opts = opts or {}
  local path, tensors = support.tmp "adapter.gguf", {}
  local rank = opts.rank or 4
  for i, m in ipairs(MATRICES) do
    tensors[#tensors + 1] = {
      name = m[1] .. ".lora_a", type = "f32", shape = { m[2], rank },
      data = floats(numbers(m[2] * rank, 11 * i + (opts.seed or 1), 0.2)),
    }
    tensors[#tensors + 1] = {
      name = m[1] .. ".lora_b", type = "f32", shape = { rank, m[3] },
      data = floats(numbers(m[3] * rank, 17 * i + (opts.seed or 1), 0.2)),
    }
  end
  if opts.edit then opts.edit(tensors) end
  assert(gguf.write {
    path = path, tensors = tensors, overwrite = true,
    meta = opts.meta or {
      { "general.architecture", "string", "llama" }, { "general.type", "string", "adapter" },
      { "adapter.type", "string", "lora" }, { "adapter.lora.alpha", "f32", opts.alpha or 8 },
    },
  })
  return path
end

M.numbers, M.floats = numbers, floats

return M
