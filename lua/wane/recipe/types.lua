--- Facts about tensor types, by name. Names compare without regard to case;
-- the canonical spelling is ggml's ("q4_K", "iq2_xxs", "f16").
local core = require "wane.core"
local custom = require "wane.quant.custom"
require "wane.quant.make" -- defines the presets, nf4 and others

local M = {}

---@class wane.TypeFacts
---@field id integer
---@field name string
---@field block integer     values per block
---@field bytes integer     bytes per block
---@field class string      "plain", "quant" or "act"

local by_lower, by_id, names = {}, {}, {}
for _, t in ipairs(core.stream.types()) do
  by_lower[t.name:lower()], by_id[t.id] = t, t
  if t.class == "quant" then names[#names + 1] = t.name end
end

-- Numbers that a tensor may be converted to besides the block formats.
local floats = { f32 = true, f16 = true, bf16 = true }

-- A format defined in Lua as a type: what it takes is what its definition
-- says, or float32 where that says nothing.
local function custom_facts(f)
  return { name = f.name, block = f.block or 1, bits = f.bits or 32, class = "custom", custom = f,
    uses_importance = f:facts().uses_importance }
end

--- The facts of a type name, or nil and a message.
---@param name any
---@return wane.TypeFacts?
---@return string?
function M.find(name)
  local t = type(name) == "string" and by_lower[name:lower()]
  if t then return t end
  local f = custom.find(name)
  if f then return custom_facts(f) end
  return nil, ("unknown type '%s': want f32, f16, bf16 or one of %s"):format(
    tostring(name), table.concat(names, " "))
end

--- The same for a type that tensors can be converted to and files can hold.
function M.writable(name)
  if custom.find(name) then
    local _, why = custom.refuse(name)
    return nil, why
  end
  local t, msg = M.find(name)
  if not t then return nil, msg end
  if t.class == "quant" or floats[t.name] then return t end
  return nil, ("type %s cannot be made by a quantizer: want f32, f16, bf16 or one of %s"):format(
    t.name, table.concat(names, " "))
end

--- The same, or a format defined in Lua: what recipes may name. Only models in
--- memory can have it (wane.eval.shrink).
function M.usable(name)
  local f = custom.find(name)
  if f then return custom_facts(f) end
  return M.writable(name)
end

---@param id integer
---@return wane.TypeFacts?
function M.of_id(id) return by_id[id] end

--- Values per block of a type that exists.
function M.block_of(name) return M.find(name).block end

--- Bytes of n_rows rows of n_cols values, or nil when rows do not fill blocks.
function M.bytes_of(name, n_cols, n_rows)
  local t = M.find(name)
  if n_cols % t.block ~= 0 then return nil end
  if t.class == "custom" then return math.ceil(n_cols * n_rows * t.bits / 8) end
  return n_cols / t.block * t.bytes * n_rows
end

return M
