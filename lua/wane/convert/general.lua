--- The general.* keys of a converted file: name, size, settings of sampling.
local M = {}

local vocabulary = require "wane.convert.vocab"

-- generation_config.json's keys, GGUF's, and their types.
local SAMPLING = {
  { "top_k", "top_k", "i32" }, { "top_p", "top_p", "f32" }, { "min_p", "min_p", "f32" },
  { "temperature", "temp", "f32" },
}

--- Adds name and kind, and what generation_config.json says about sampling.
---@param p table
---@param o { from: string, name: string? }
function M.add(p, o)
  p:set("general.type", "string", "model")
  p:set("general.name", "string", o.name or o.from:gsub("/+$", ""):match "([^/]+)$" or o.from)
  local generation = vocabulary.json(o.from, "generation_config.json") or {}
  for _, s in ipairs(SAMPLING) do
    local v = generation[s[1]]
    if type(v) == "number" and v == v and math.abs(v) < 2 ^ 31 and (s[3] == "f32" or v == math.floor(v)) then
      p:set("general.sampling." .. s[2], s[3], v)
    end
  end
end

-- Two digits and a suffix: 135M, 1.2B.
local function rounded(n)
  local suffix = "K"
  n = n / 1e3
  for _, s in ipairs { "M", "B", "T" } do
    if n > 1e3 then n, suffix = n / 1e3, s end
  end
  return (n < 9.5 and "%.1f%s" or "%.0f%s"):format(n, suffix)
end

--- The size label: all weights, or "experts x (one expert and what is shared)".
---@param p table
---@param tensors table[]  planned tensors
function M.add_size(p, tensors)
  local total, shared, one, sum, n = 0, 0, 0, 0, 0
  for _, t in ipairs(tensors) do
    local size = 1
    for _, d in ipairs(t.shape) do size = size * d end
    total = total + size
    local experts = t[1]:find("_exps.", 1, true) and t.shape[t[1]:find "%.bias$" and 2 or 3]
    if experts and experts > 0 then
      one, sum, n = one + size / experts, sum + experts, n + 1
    else
      shared = shared + size
    end
  end
  local label = n > 0 and ("%dx%s"):format(math.floor(sum / n), rounded(shared + one)) or rounded(total)
  p:set("general.size_label", "string", label)
end

return M
