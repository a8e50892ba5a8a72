--- Adapters: low-rank changes of a model's matrices (LoRA) and control vectors,
--- applied while it runs or merged into a file.
---
---     local m = assert(wane.load("model.gguf", { lora = { "poet.gguf", { path = "terse.gguf", scale = 0.5 } } }))
---     m:generate("Once", { lora = { 0, 1 } })      -- scales of this text: the poet is off
---     assert(wane.lora.merge { from = "model.gguf", lora = "poet.gguf", to = "poet-model.gguf" })
---
--- At run time each adapted product y = W x becomes y + s alpha/r B (A x), with a
--- scale s for each sequence: the mapped weights are not touched, and texts with
--- and without an adapter share a context and its steps. A control vector adds s
--- times a direction to what a layer hands on.
---
--- The files are llama.cpp's: general.type "adapter", adapter.type "lora",
--- adapter.lora.alpha, tensors NAME.lora_a (r rows) and NAME.lora_b (r columns);
--- control vectors have direction.N for layer N, from 1.
local core = require "wane.core"
local gguf = require "wane.gguf"
local options = require "wane.options"

local M = {}

---@class wane.lora.Adapter
---@field path string
---@field scale number
---@field kind "lora"|"control"
---@field pairs table<string, { a: string, b: string, rank: integer, rows: integer, cols: integer, factor: number }>   by name of the weight
---@field layers table<integer, string>   control vectors: tensor names by layer

local function fail(path, code, ...) return nil, path .. ": " .. (...):format(select(2, ...)), code end

-- The two halves of each adapted weight, checked against one another.
local function read_pairs(f, path, alpha)
  local found = {}
  for _, t in ipairs(f.tensors) do
    local base, half = t.name:match "^(.*)%.lora_([ab])$"
    if not base then return fail(path, "EFORMAT", "tensor %s is no half of an adapter", t.name) end
    found[base] = found[base] or {}
    found[base][half] = t
  end
  local out, n = {}, 0
  for base, p in pairs(found) do -- any order: by name
    if not (p.a and p.b) then return fail(path, "EFORMAT", "%s.lora_%s is missing", base, p.a and "b" or "a") end
    local rank = p.a.shape[2] or 1
    if p.a.shape[3] or p.b.shape[3] then
      return fail(path, "EUNSUP", "%s: adapters of experts are not supported; merge them", base)
    end
    if p.b.shape[1] ~= rank then
      return fail(path, "EFORMAT", "%s: lora_a has %d rows, lora_b %d columns", base, rank, p.b.shape[1])
    end
    out[base] = {
      a = p.a.name, b = p.b.name, rank = rank,
      rows = p.b.shape[2] or 1, cols = p.a.shape[1], factor = alpha and alpha ~= 0 and alpha / rank or 1,
    }
    n = n + 1
  end
  if n == 0 then return fail(path, "EFORMAT", "an adapter without tensors") end
  return out
end

local function read_layers(f, path)
  local out = {}
  for _, t in ipairs(f.tensors) do
    local layer = t.name:match "^direction%.(%d+)$"
    if layer and tonumber(layer) > 0 then out[tonumber(layer)] = t.name end
  end
  if not next(out) then return fail(path, "EFORMAT", "no tensors direction.1, direction.2, ...") end
  return out
end

--- Opens an adapter.
---
---     local a = assert(wane.lora.open { path = "poet.gguf", scale = 0.5 })
---     print(a.kind)
---@param spec string|table   path, or { path =, scale = 1 }
---@return wane.lora.Adapter|nil
---@return string? message
---@return string? code
function M.open(spec)
  if type(spec) == "string" then spec = { path = spec } end
  if type(spec) ~= "table" or type(spec.path) ~= "string" then error("wane: lora: want a path or { path =, scale = }", 3) end
  options.known("lora", spec, { path = true, scale = true })
  local scale = spec.scale == nil and 1 or spec.scale
  if type(scale) ~= "number" or scale ~= scale or math.abs(scale) > 1e6 then error("wane: lora: option 'scale': want a number", 3) end
  local f, message, code = gguf.open(spec.path)
  if not f then return nil, message, code end
  local self = { path = spec.path, scale = scale, file = f }
  local meta = f.meta
  if meta["general.architecture"] == "controlvector" or f:tensor "direction.1" then
    self.kind = "control"
    self.layers, message, code = read_layers(f, spec.path)
  elseif meta["adapter.type"] == "lora" then
    self.kind, self.architecture = "lora", meta["general.architecture"]
    self.pairs, message, code = read_pairs(f, spec.path, meta["adapter.lora.alpha"])
  else
    message, code = select(2, fail(spec.path, "EFORMAT", "neither an adapter (adapter.type lora) nor control vectors"))
  end
  if message then
    f:close()
    return nil, message, code
  end
  return self
end

-- Opens a list of adapters; closes all when one fails.
-- @param list any   what option `lora` of wane.load takes: one or a list
-- @return wane.lora.Adapter[]|nil
-- @return string? message
-- @return string? code
function M.open_all(list)
  if type(list) == "string" or (type(list) == "table" and list.path) then list = { list } end
  if type(list) ~= "table" then error("wane: lora: want a path, { path =, scale = }, or a list of them", 3) end
  local out = {}
  for i, spec in ipairs(list) do
    local adapter, message, code = M.open(spec)
    if not adapter then
      for _, a in ipairs(out) do a.file:close() end
      return nil, message, code
    end
    out[i] = adapter
  end
  return out
end

-- Reads the tensors that a program with adapters declares into `replace`, as
-- what wane.load gives in place of a file's. Lists what it made, to be closed.
local function read_into(replace, adapters, adapted)
  local made = {}
  local function put(adapter, name, tensor)
    local buffer, message, code = M.read(adapter, tensor)
    if not buffer then return nil, message, code end
    replace[name], made[#made + 1] = buffer, buffer
    return true
  end
  for k, adapter in ipairs(adapters) do
    for base, p in pairs(adapter.pairs or {}) do -- any order: by name
      local name = ("lora.%d.%s"):format(k, base)
      if not adapted[name] then
        return made, fail(adapter.path, "EUNSUP", "%s: the model has no such matrix, or none that is multiplied by itself", base)
      end
      for _, half in ipairs { "a", "b" } do
        local ok, message, code = put(adapter, name .. "." .. half, p[half])
        if not ok then return made, nil, message, code end
      end
    end
    for layer, tensor in pairs(adapter.layers or {}) do -- any order: by name
      local name = ("control.%d.%d"):format(k, layer)
      if adapted[name] then -- vectors for layers that the model lacks are ignored, as llama.cpp does
        local ok, message, code = put(adapter, name, tensor)
        if not ok then return made, nil, message, code end
      end
    end
  end
  return made, true
end
M.read_into = read_into

-- Reads a tensor of an adapter: a float32 buffer.
function M.read(adapter, name) return adapter.file:tensor(name):read() end

local MERGE = { from = true, to = true, lora = true, overwrite = true }

-- The bytes of a tensor with all that is added to it, in its own type; false
-- when nothing is.
local function merged(t, adapters)
  local w, message, code
  for _, adapter in ipairs(adapters) do
    local p = adapter.pairs[t.name]
    if p then
      if not w then
        w, message, code = t:read()
        if not w then return nil, message, code end
      end
      local a, b = M.read(adapter, p.a), M.read(adapter, p.b)
      core.lora.add(w, a, b, adapter.scale * p.factor)
      a:close()
      b:close()
    end
  end
  if not w then return false end
  local blocks
  blocks, message, code = core.quant.encode(t.type, w)
  w:close()
  if not blocks then return nil, t.name .. ": " .. message, code end
  local bytes = blocks:bytes()
  blocks:close()
  return bytes
end

local function check_fits(f, adapters)
  for _, adapter in ipairs(adapters) do
    if adapter.kind ~= "lora" then return fail(adapter.path, "EUNSUP", "control vectors cannot be merged") end
    for base, p in pairs(adapter.pairs) do -- any order: the first that is wrong
      local t = f:tensor(base)
      if not t then return fail(adapter.path, "EFORMAT", "%s has no tensor %s", f.path or "the model", base) end
      local a, b = adapter.file:tensor(p.a), adapter.file:tensor(p.b)
      if a.shape[1] ~= t.shape[1] or (b.shape[2] or 1) ~= (t.shape[2] or 1) or t.shape[3] then
        return fail(adapter.path, "EFORMAT", "%s: the adapter is for another shape", base)
      end
    end
  end
  return true
end

--- Writes a model with adapters merged into it: W + scale alpha/r B A, encoded
--- in the type that each tensor has (quantized ones lose a little: merge into
--- f16 and quantize then).
---
---     assert(wane.lora.merge { from = "model-f16.gguf", lora = { { path = "poet.gguf", scale = 0.8 } }, to = "poet-f16.gguf" })
---@param opts table   from, to, lora (one or a list), overwrite
---@return true|nil
---@return string? message
---@return string? code
function M.merge(opts)
  if type(opts) ~= "table" then error("wane: lora.merge: options: want a table", 2) end
  options.known("lora.merge", opts, MERGE)
  for _, key in ipairs { "from", "to" } do
    if type(opts[key]) ~= "string" then error(("wane: lora.merge: option '%s': want a path"):format(key), 2) end
  end
  local adapters, message, code = M.open_all(opts.lora)
  if not adapters then return nil, message, code end
  local f
  local function done(...)
    for _, a in ipairs(adapters) do a.file:close() end
    if f then f:close() end
    return ...
  end
  f, message, code = gguf.open(opts.from)
  if not f then return done(nil, message, code) end
  local ok
  ok, message, code = check_fits(f, adapters)
  if not ok then return done(nil, message, code) end
  local paths
  paths, message, code = f:write(opts.to, {
    overwrite = opts.overwrite, give = function(name) return merged(f:tensor(name), adapters) end,
  })
  return done(paths and true or nil, message, code)
end

return M
