--- The tensor that a recipe function sees: of types, of rules and of tests.
--
-- Read-only: what is in it cannot be changed through it (lists are copies), and
-- asking for a field that does not exist is an error, so that a typing mistake
-- cannot silently choose a type.
local options = require "wane.options"
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
---@field shape integer[]      ne0 (values of a row) first; a copy
---@field n_cols integer
---@field n_rows integer
---@field n_values integer
---@field type string          type in the source
---@field chosen string?       type chosen by what came before (in rules)
---@field importance wane.ImportanceStats?  nil: none for this tensor

local methods = {}

-- What is behind a view: { fields =, desc =, measure =, errors = }.
local behind = setmetatable({}, { __mode = "k" })

-- From small to large, and all encoders are worth their bits.
local ladder = {
  "iq2_xs", "iq2_s", "q2_K", "iq3_xxs", "iq3_s", "q3_K", "iq4_xs", "iq4_nl", "q4_0", "q4_K",
  "q5_0", "q5_K", "q6_K", "q8_0", "f16",
}
local wants_importance = { iq2_xs = true, iq2_s = true, iq3_xxs = true }

local function inner(self, what)
  local own = behind[self]
  if not own then error(("wane: t:%s: want the tensor that the recipe was given, got %s"):format(what, options.shown(self)), 3) end
  return own
end

--- The measured error of a type on this tensor: root mean square of the
-- difference over root mean square of the weights, on a sample of its rows.
-- 0.07 is typical of q4_K, 0.006 of q8_0.
--
--     recipe(function(t) return t:error "q4_K" > 0.08 and "q5_K" or "q4_K" end)
---@param type_name string
---@return number
---@error an unknown type, rows that do not fill its blocks, weights that cannot be read; outside of the recipe's function
function methods:error(type_name)
  local own = inner(self, "error")
  local t, msg = types.writable(type_name)
  if not t then error("wane: " .. msg, 2) end
  if not own.measure then error("wane: errors cannot be measured without the weights", 2) end
  if not own.errors[t.name] then
    local err, why = own.measure(own.desc, t.name)
    if not err then error("wane: " .. self.name .. ": " .. tostring(why), 2) end
    own.errors[t.name] = err
  end
  return own.errors[t.name]
end

--- The smallest type whose measured error is at most `limit`; f16 when none.
--
--     recipe(function(t) return t:cheapest_with(0.05) end)
---@param limit number see :error
---@param candidates string[]? types to try; default: the usual ones
---@return string
---@error an unknown type among the candidates; outside of the recipe's function
function methods:cheapest_with(limit, candidates)
  inner(self, "cheapest_with")
  options.argument("t:cheapest_with", "limit", limit, options.number(0))
  if candidates ~= nil then options.argument("t:cheapest_with", "candidates", candidates, options.list("string")) end
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

local function copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end -- order does not show
  return c
end

local meta = {
  __index = function(self, key)
    if methods[key] then return methods[key] end
    local value = behind[self].fields[key]
    if type(value) == "table" then return copy(value) end
    if value == nil and not optional[key] then
      error(("wane: a tensor has no field '%s'"):format(tostring(key)), 2)
    end
    return value
  end,
  __newindex = function(_, key)
    error(("wane: tensors are read-only (assigning '%s')"):format(tostring(key)), 2)
  end,
  __tostring = function(self) return "tensor " .. self.name end,
  __metatable = "wane.recipe.tensor",
}

-- Makes the view of a described tensor.
-- @param desc wane.TensorDesc
-- @param model wane.ModelDesc
-- @param measure (fun(desc: wane.TensorDesc, type: string): number?, string?)?
-- @param importance wane.ImportanceStats?
-- @return wane.RecipeTensor
function M.new(desc, model, measure, importance)
  local view = setmetatable({}, meta)
  behind[view] = {
    desc = desc, measure = measure, errors = {},
    fields = {
      name = desc.name, role = desc.exact_role or desc.role, is_expert = roles.is_expert(desc.name),
      is_shared = roles.is_shared(desc.name), layer = desc.layer, n_layers = model.n_layers,
      n_experts = model.n_experts, arch = model.arch, shape = desc.shape, n_cols = desc.n_cols,
      n_rows = desc.n_rows, n_values = desc.n_values, type = desc.type, importance = importance,
    },
  }
  return view
end

-- The plan's own way to set `chosen`.
function M.set_chosen(view, type_name) behind[view].fields.chosen = type_name end

return M
