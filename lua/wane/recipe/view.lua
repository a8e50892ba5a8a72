--- The tensor that a recipe function sees.
--
-- Read-only; asking for a field that does not exist is an error, so that a
-- typing mistake cannot silently choose a type.
local roles = require "wane.recipe.roles"
local types = require "wane.recipe.types"

local M = {}

---@class wane.RecipeTensor
---@field name string
---@field role string          see wane.recipe.roles; "ffn_down_exps" and "ffn_down_shexp" for experts
---@field is_expert boolean    the matrices of many experts, of which a token uses a few
---@field is_shared boolean    of the shared expert, which every token uses
---@field layer integer?       from 0; nil for tensors without a layer
---@field n_layers integer
---@field n_experts integer
---@field arch string
---@field shape integer[]      ne0 (values of a row) first
---@field n_cols integer
---@field n_rows integer
---@field n_values integer
---@field type string          type in the source
---@field chosen string?       type chosen by what came before (in rules)
---@field importance wane.ImportanceStats?  nil: none for this tensor

local methods = {}

-- From small to large, and all encoders are worth their bits.
local ladder = {
  "iq2_xs", "iq2_s", "q2_K", "iq3_xxs", "iq3_s", "q3_K", "iq4_xs", "iq4_nl", "q4_0", "q4_K",
  "q5_0", "q5_K", "q6_K", "q8_0", "f16",
}
local wants_importance = { iq2_xs = true, iq2_s = true, iq3_xxs = true }

--- The measured error of a type on this tensor: root mean square of the
-- difference over root mean square of the weights, on a sample of its rows.
-- 0.07 is typical of q4_K, 0.006 of q8_0.
function methods:error(type_name)
  local private = rawget(self, "_private")
  local t, msg = types.writable(type_name)
  if not t then error("wane: " .. msg, 2) end
  if not private.measure then error("wane: errors cannot be measured without the weights", 2) end
  local cache = private.errors
  if not cache[t.name] then
    local err, why = private.measure(private.desc, t.name)
    if not err then error("wane: " .. self.name .. ": " .. tostring(why), 2) end
    cache[t.name] = err
  end
  return cache[t.name]
end

--- The smallest type whose measured error is at most `limit`; f16 when none.
---@param limit number see :error
---@param candidates string[]? types to try; default: the usual ones
function methods:cheapest_with(limit, candidates)
  if type(limit) ~= "number" or limit ~= limit or limit < 0 then
    error("wane: cheapest_with wants an error limit >= 0", 2)
  end
  local list = {}
  for _, name in ipairs(candidates or ladder) do
    local t, msg = types.writable(name)
    if not t then error("wane: " .. msg, 2) end
    local usable = self.n_cols % t.block == 0
      and (candidates or self.importance or not wants_importance[t.name])
    if usable then list[#list + 1] = t end
  end
  local function bits(t) return t.bytes / t.block end
  table.sort(list, function(a, b)
    if bits(a) ~= bits(b) then return bits(a) < bits(b) end
    return a.id < b.id
  end)
  for _, t in ipairs(list) do
    if methods.error(self, t.name) <= limit then return t.name end
  end
  return "f16"
end

local optional = { layer = true, importance = true, chosen = true }

local meta = {
  __index = function(_, key)
    if methods[key] then return methods[key] end
    if optional[key] then return nil end
    error(("wane: a tensor has no field '%s'"):format(tostring(key)), 2)
  end,
  __newindex = function(_, key)
    error(("wane: tensors are read-only (assigning '%s')"):format(tostring(key)), 2)
  end,
  __tostring = function(self) return "tensor " .. self.name end,
  __metatable = "wane.recipe.tensor",
}

--- Makes the view of a described tensor.
---@param desc wane.TensorDesc
---@param model wane.ModelDesc
---@param measure (fun(desc: wane.TensorDesc, type: string): number?, string?)?
---@param importance wane.ImportanceStats?
---@return wane.RecipeTensor
function M.new(desc, model, measure, importance)
  return setmetatable({
    _private = { desc = desc, measure = measure, errors = {} },
    name = desc.name, role = desc.exact_role or desc.role,
    is_expert = roles.is_expert(desc.name), is_shared = roles.is_shared(desc.name), layer = desc.layer, n_layers = model.n_layers,
    n_experts = model.n_experts, arch = model.arch, shape = desc.shape, n_cols = desc.n_cols,
    n_rows = desc.n_rows, n_values = desc.n_values, type = desc.type, importance = importance,
  }, meta)
end

--- The plan's own way to set `chosen`.
function M.set_chosen(view, type_name) rawset(view, "chosen", type_name) end

return M
