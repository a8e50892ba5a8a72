--- Shrunk models in memory: what a recipe or a format would do to a model,
--- without writing a file.
---
--- Types of files are kept as their blocks, so such a model computes exactly
--- what the quantized file would. Formats defined in Lua (wane.quant.define,
--- codebook, uniform) are decoded to float32: an idea can be judged before
--- anybody writes C. All tensors are encoded when the model is made.
local core = require "wane.core"
local custom = require "wane.quant.custom"
local options = require "wane.options"
local prepare = require "wane.quantize.prepare"
local quant = require "wane.quant"
local recipes = require "wane.recipe"

local M = {}

local check = options.checker("eval.shrink", {
  imatrix = "any", fallback = "string", pure = "boolean", include = options.list "string", exclude = options.list "string",
  only = "function", context = options.context, threads = options.threads, batch = options.batch,
  kv = options.either("string", "table"), max_bytes = options.bytes, progress = "function",
  activations = require("wane.eval.run").activations,
})
local for_recipe = { "imatrix", "fallback", "pure", "include", "exclude" }
local for_loading = { "context", "threads", "batch", "kv", "max_bytes", "activations" }

--- A recipe from what names one: a recipe, a mix, a function, a type ("q4_K":
--- every matrix) or a format defined in Lua.
---
---     print(wane.eval.shrink.recipe "q4_K")
---@param what any
---@return wane.Recipe
---@error what names no mix, type or format
function M.recipe(what)
  if recipes.is(what) or type(what) == "function" then return recipes.new(what) end
  local own = custom.find(what)
  if own then
    return recipes.new(function() return own.name end)
  end
  if type(what) == "string" and require("wane.recipe.types").usable(what) and not require("wane.recipe.choose").mix(what) then
    return recipes.new(function() return what end)
  end
  return recipes.new(what)
end

-- Encodes rows of a matrix that share an importance vector.
local function encode(to, w, importance)
  return quant.encode(to, w, { importance = importance })
end

-- One matrix per expert, each with its own importance: encoded one by one and
-- put together again.
local function encode_experts(to, w, importance, n_rows, n_cols, n_experts)
  local parts, decoded = {}, nil
  if custom.find(to) then
    local message, code
    decoded, message, code = core.quant.buffer(n_rows * n_experts, n_cols)
    if not decoded then return nil, message, code end
  end
  for x = 0, n_experts - 1 do
    local first, slice = x * n_rows + 1, nil
    if importance then slice = importance:rows(x + 1) end
    local q, message, code = encode(to, w:rows(first, first + n_rows - 1), slice)
    if not q then return nil, message, code end
    if decoded then
      local values = assert(q:decode())
      for r = 1, n_rows do decoded:rows(first + r - 1):set(values:rows(r)) end
    else
      parts[x + 1] = q:bytes()
    end
    q:close()
  end
  if decoded then return decoded end
  return core.quant.blocks(to, table.concat(parts), n_rows * n_experts, n_cols)
end

--- What takes the place of a tensor: blocks, or a buffer for formats in Lua.
---@param state table      of wane.quantize.prepare
---@param d wane.Decision
---@return userdata|nil
---@return string? message
---@return string? code
local function replacement(state, d)
  local w, message, code = core.quant.read(state.g, d.index)
  if not w then return nil, message, code end
  local importance
  local n_experts = d.shape[3] or 1
  if d.importance then
    local values
    values, message, code = state.imatrix:values(d.source_name)
    if not values then return nil, message, code end
    importance, message, code = core.quant.buffer(n_experts, d.n_cols, values)
    if not importance then return nil, message, code end
  end
  if n_experts > 1 then
    return encode_experts(d.to, w, importance, d.shape[2], d.n_cols, n_experts)
  end
  local q
  q, message, code = encode(d.to, w, importance)
  w:close()
  if not q then return nil, d.name .. ": " .. message, code end
  if getmetatable(q).__name == "wane.Blocks" then return q._q end
  local values
  values, message, code = q:decode()
  q:close()
  return values, message, code
end

-- All tensors whose type changes, by name.
local function replacements(state, opts)
  local list, todo = {}, {}
  for _, d in ipairs(state.plan.tensors) do
    if d.to ~= d.from and (not opts.only or opts.only(d)) then todo[#todo + 1] = d end
  end
  for i, d in ipairs(todo) do
    local data, message, code = replacement(state, d)
    if not data then return nil, message, code end
    list[d.source_name] = data
    if opts.progress then opts.progress { done = i, total = #todo, tensor = d.name } end
  end
  return list
end

local function load(path, list, opts)
  local o = { replace = list }
  for _, key in ipairs(for_loading) do o[key] = opts[key] end
  local model, message, code = require("wane.model").load(path, o)
  for _, data in pairs(list) do data:close() end
  return model, message, code
end

local function decide(path, what, opts)
  local o = { from = path, recipe = M.recipe(what), allow_requantize = true, dry_run = true }
  for _, key in ipairs(for_recipe) do o[key] = opts[key] end
  return prepare.decide(o)
end

-- What would be chosen for each tensor, formats defined in Lua included.
-- @param path string
-- @param what any
-- @param opts? table
-- @return wane.Plan|nil
-- @return string? message
-- @return string? code
function M.plan(path, what, opts)
  local state, message, code = decide(path, what, opts or {})
  if not state then return nil, message, code end
  prepare.close_all(state)
  return state.plan
end

-- The changed tensors of a candidate that is a file.
local function each_of_file(path, candidate)
  local base, message, code = core.gguf.open(path)
  if not base then return nil, message, code end
  local g
  g, message, code = core.gguf.open(candidate)
  local list = {}
  for i = 1, g and g:info().n_tensors or 0 do
    local t = g:tensor(i)
    local at = base:find_tensor(t.name)
    if at and base:tensor(at).type ~= t.type then
      list[#list + 1] = { name = t.name, type = t.type, shape = t.shape, index = i }
    end
  end
  base:close()
  if not g then return nil, message, code end
  return {
    list = list,
    data = function(e)
      local t = g:tensor(e.index)
      local bytes, why, kind = g:read(e.index, 0, t.bytes)
      if not bytes then return nil, why, kind end
      return core.quant.blocks(t.type, bytes, t.n_rows, t.shape[1])
    end,
    close = function() g:close() end,
  }
end

--- The tensors that a candidate (a file, or anything to shrink by) changes,
--- one by one: list of { name, type, shape }, data(e) -> blocks or buffer,
--- close().
---
---     local e = assert(wane.eval.shrink.each(path, "Q4_K_M"))
---     print(#e.list, e.list[1].name)
---     e.close()
---@param path string
---@param what any
---@param opts? table
---@return { list: table[], data: function, close: function }|nil
---@return string? message
---@return string? code
function M.each(path, what, opts)
  if type(what) == "string" and (what:find "%.gguf$" or what:find "[/\\]") then return each_of_file(path, what) end
  local state, message, code = decide(path, what, opts or {})
  if not state then return nil, message, code end
  local list = {}
  for _, d in ipairs(state.plan.tensors) do
    if d.to ~= d.from then
      list[#list + 1] = { name = d.source_name, type = d.to, shape = d.shape, decision = d }
    end
  end
  return {
    list = list,
    data = function(e) return replacement(state, e.decision) end,
    close = function() prepare.close_all(state) end,
  }
end

--- A model with its tensors shrunk in memory; `model.plan` says what was done.
---
---     local m = assert(wane.eval.shrink(path, "Q4_K_M"))
---     local nf4 = assert(wane.eval.shrink(path, "nf4"))
---     local own = assert(wane.eval.shrink(path, wane.quant.codebook { levels = 16 }))
---@param path string     a model file
---@param what any        recipe, mix, function of the tensor, type, or format defined in Lua
---@param opts? table     imatrix, fallback, pure, include, exclude: as wane.quantize; only = fun(decision): which
---  tensors to change; context, threads, batch, kv, max_bytes, activations: as wane.load; progress
---@return wane.Model|nil
---@return string? message
---@return string? code
function M.shrink(path, what, opts)
  options.argument("eval.shrink", "path", path, "path")
  options.argument("eval.shrink", "what", what, "any")
  opts = check(opts)
  local state, message, code = decide(path, what, opts)
  if not state then return nil, message, code end
  local plan = state.plan
  local list
  if plan.requires_imatrix then
    message, code = ("%s: %s needs an importance matrix (imatrix = ...)"):format(path, plan.recipe), "EDATA"
  else
    list, message, code = replacements(state, opts)
  end
  prepare.close_all(state)
  if not list then return nil, message, code end
  local model
  model, message, code = load(path, list, opts)
  if not model then return nil, message, code end
  model.plan = plan
  return model
end

return setmetatable(M, { __call = function(_, ...) return M.shrink(...) end })
