--- What the recipes need to know about a model: a few hyper-parameters and
-- the list of its tensors in output order, after pruning layers.
local roles = require "wane.recipe.roles"

local M = {}

---@class wane.TensorDesc
---@field name string         name in the output (layers renumbered by pruning)
---@field source_name string  name in the source, and in the imatrix
---@field index integer       number in the source file, from 1
---@field role string
---@field layer integer?      from 0
---@field shape integer[]     ne0 first
---@field n_cols integer      values of a row
---@field n_rows integer
---@field n_values integer
---@field type string         type in the source
---@field quantizable boolean
---@field shard integer       file of the source, from 0

---@class wane.ModelDesc
---@field arch string
---@field n_layers integer
---@field n_head integer
---@field n_head_kv integer
---@field n_experts integer
---@field n_nextn integer
---@field tensors wane.TensorDesc[]
---@field pruned integer?     layers left after pruning

-- A count from metadata: number, decimal string, or the first of an array.
local function count(get, key, default)
  local v = get(key)
  if type(v) == "table" then v = v[1] end
  v = tonumber(v)
  if not v or v < 0 or v ~= math.floor(v) then return default end
  return v
end

-- Old layer -> new layer for the layers that stay.
local function renumber(tensors, prune)
  local gone, present, list = {}, {}, {}
  for _, layer in ipairs(prune) do gone[layer] = true end
  for _, t in ipairs(tensors) do
    local layer = roles.layer(t.name)
    if layer and not present[layer] then
      present[layer] = true
      list[#list + 1] = layer
    end
  end
  for _, layer in ipairs(prune) do
    if not present[layer] then return nil, ("prune_layers: the model has no layer %s"):format(layer) end
  end
  table.sort(list)
  -- layers before the first pruned one keep their number
  local map, next_layer, first = {}, 0, math.huge
  for _, layer in ipairs(prune) do first = math.min(first, layer) end
  for _, layer in ipairs(list) do
    if not gone[layer] then
      map[layer] = layer < first and layer or next_layer
      next_layer = map[layer] + 1
    end
  end
  return map, next_layer
end

local function describe_tensor(t, index, layer_map)
  local name, layer = t.name, roles.layer(t.name)
  if layer_map and layer then
    layer = layer_map[layer]
    if not layer then return nil end
    name = name:gsub("^blk%.%d+", ("blk.%d"):format(layer))
  end
  local n_rows = 1
  for i = 2, #t.shape do n_rows = n_rows * t.shape[i] end
  return {
    name = name, source_name = t.name, index = index, role = roles.of(name), exact_role = roles.exact(name), layer = layer,
    shape = t.shape, n_cols = t.shape[1], n_rows = n_rows, n_values = t.shape[1] * n_rows,
    type = t.type, quantizable = roles.quantizable(name, t.shape), shard = t.shard or 0,
    off = t.off or 0,
  }
end

-- ggml drops trailing dimensions of 1: a (n, 1) tensor is one-dimensional.
local function trimmed(shape)
  local s = {}
  local n = #shape
  while n > 1 and shape[n] == 1 do n = n - 1 end
  for i = 1, n do s[i] = shape[i] end
  return s
end

---@class wane.ModelSource
---@field get fun(key: string): any   metadata
---@field tensors table[]             { name, type, shape [, shard, off] }

--- Describes a model.
---@param source wane.ModelSource
---@param opts { prune_layers: integer[]?, keep_split: boolean? }?
---@return wane.ModelDesc?
---@return string? message
---@return string? code
function M.model(source, opts)
  opts = opts or {}
  local get = source.get
  local arch = get "general.architecture"
  arch = type(arch) == "string" and arch or "unknown"
  local d = { arch = arch, tensors = {} }
  d.n_layers = count(get, arch .. ".block_count", 0)
  d.n_nextn = count(get, arch .. ".nextn_predict_layers", 0)
  d.n_head = count(get, arch .. ".attention.head_count", 0)
  d.n_head_kv = count(get, arch .. ".attention.head_count_kv", d.n_head)
  d.n_experts = count(get, arch .. ".expert_count", 0)
  if d.n_experts <= 1 then d.n_experts = 0 end
  local map, msg
  if opts.prune_layers and #opts.prune_layers > 0 then
    map, msg = renumber(source.tensors, opts.prune_layers)
    if not map then return nil, msg, "EFORMAT" end
    d.pruned = msg
  end
  for i, t in ipairs(source.tensors) do
    local shape = trimmed(t.shape)
    local desc = describe_tensor({ name = t.name, type = t.type, shape = shape, shard = t.shard,
      off = t.off }, i, map)
    if desc then d.tensors[#d.tensors + 1] = desc end
  end
  M.sort(d, opts.keep_split)
  return d
end

--- Puts tensors in output order: by layer and name; with keep_split as they
-- lie in the files of the source.
function M.sort(d, keep_split)
  if keep_split then
    table.sort(d.tensors, function(a, b)
      if a.shard ~= b.shard then return a.shard < b.shard end
      return a.off < b.off
    end)
  else
    table.sort(d.tensors, function(a, b) return roles.before(a.source_name, b.source_name) end)
  end
end

return M
