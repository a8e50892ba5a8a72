--- What a checkpoint becomes: its metadata and its tensors as sources of rows,
--- before types are chosen and anything is written (write.lua).
local M = {}

local families = require "wane.convert.families"
local file = require "wane.file"
local general = require "wane.convert.general"
local names = require "wane.convert.names"
local params = require "wane.convert.params"
local rows = require "wane.convert.rows"
local safetensors = require "wane.convert.safetensors"
local vocabulary = require "wane.convert.vocab"

local check = rows.check

local Conversion = {}
Conversion.__index = Conversion

-- FP8 with its scales applied: of blocks, of rows or one.
local function of_fp8(c, s, name)
  local scales = c.tensors[name .. "_scale_inv"] or c.tensors[name .. "_scale"]
  if not scales then return s end
  c.used[scales.alias] = true
  local block = c.block
  if scales.n == 1 or #scales.shape < 2 then block = nil end
  if block and #scales.shape == 2 and scales.shape[2] == 1 then block = nil end
  return rows.scaled(s, rows.of(c.checkpoint, scales), block)
end

-- The one value of a tensor, or nil.
local function value_of(c, name)
  local t = c.tensors[name]
  if not t or t.n ~= 1 then return nil end
  c.used[name] = true
  local s = rows.of(c.checkpoint, t)
  local b = check(safetensors.decode(s.dtype, s.read(1, 1), 1, 1))
  local v = b[1]
  b:close()
  return v
end

-- NVFP4 (ModelOpt's names; compressed-tensors' global scale is the reciprocal):
-- blocks, with the tensor's own scale beside them as `factors`.
local function of_nvfp4(c, s, name)
  local scales = c.tensors[name .. "_scale"]
  if not scales or scales.dtype ~= "F8_E4M3" or #scales.shape ~= 2 then return s end
  c.used[scales.alias] = true
  local out = rows.nvfp4(s, rows.of(c.checkpoint, scales))
  local factor, inverse = value_of(c, name .. "_scale_2"), value_of(c, name .. "_global_scale")
  out.factors = { factor or inverse and inverse ~= 0 and 1 / inverse or 1 }
  return out
end

-- A tensor of the checkpoint as a source of rows.
function Conversion:source(name)
  local t = self.tensors[name]
  if not t then rows.fail(("tensor %s is missing"):format(name)) end
  self.used[name] = true
  local s = rows.of(self.checkpoint, t)
  if t.dtype:find "^F8" then return of_fp8(self, s, name) end
  if t.dtype == "U8" and name:find "%.weight$" then return of_nvfp4(self, s, name) end
  return s
end

--- GGUF's name of a tensor, or an error.
function Conversion:name(name)
  local to = names.map(name, self.family)
  if not to then rows.fail(("tensor %s is not known in %s"):format(name, self.family.arch)) end
  return to
end

--- The kind of pooling that modules.json and its parts say.
function Conversion:pooling(p)
  local modules = vocabulary.json(self.dir, "modules.json")
  for _, m in ipairs(modules or {}) do
    if type(m.type) == "string" and m.type:find "Pooling$" and type(m.path) == "string" and m.path:find "^[%w_]+$" then
      local c = vocabulary.json(self.dir, m.path .. "/config.json") or {}
      local modes = { mean = 1, cls = 2, lasttoken = 3 }
      local kind = c.pooling_mode_mean_tokens == true and 1 or c.pooling_mode_cls_token == true and 2
        or c.pooling_mode_lasttoken == true and 3 or modes[c.pooling_mode]
      if not kind then rows.fail "modules.json: only mean, first and last token pooling are known" end
      p:count(".pooling_type", kind)
    end
  end
end

-- config.json with the part about text lifted to the top.
local function read_config(dir)
  local config = vocabulary.json(dir, "config.json")
  if not config then rows.fail(("%s/config.json: no such file"):format(dir), "ENOENT") end
  local class = type(config.architectures) == "table" and config.architectures[1]
  if type(config.text_config) == "table" then
    for k, v in pairs(config.text_config) do config[k] = v end
  end
  if type(class) ~= "string" then rows.fail(dir .. "/config.json: architectures is missing") end
  return config, class
end

-- Renames the tensors as the family wants and leaves out what is not for text.
local function take_tensors(c)
  c.tensors, c.order = {}, {}
  for _, name in ipairs(c.checkpoint.names) do
    local to = c.family.rename and c.family.rename(name, c.class, c.params) or name
    to = to:gsub("%.weight_packed$", ".weight")
    local is_other = names.is_other_sense(name) or (c.family.ignore and c.family.ignore(to, c.class)) or to:find "rotary_emb%.inv_freq$"
      or to:find "%.attention%.masked_bias$"
    if not is_other then
      if c.tensors[to] then rows.fail(("tensor %s is there twice"):format(to)) end
      c.tensors[to] = c.checkpoint.tensors[name]
      c.tensors[to].alias = to
      c.order[#c.order + 1] = to
    end
  end
end

-- Scales go with their matrices; those of activations and caches have no use here.
local function is_scale(c, name)
  if name:find "_scale_inv$" then return true end
  local of = name:match "^(.*%.weight)_scale$" or name:match "^(.*%.weight)_scale_2$" or name:match "^(.*%.weight)_global_scale$"
  if of then return c.tensors[of] ~= nil end
  if not c.quantized then return false end
  return name:find "%.input_scale$" or name:find "%.input_global_scale$" or name:find "%.[kv]_scale$"
    or name:find "activation_scale$"
end

-- The scales that a tensor of blocks has beside it, unless they are one.
local function factors_of(t)
  local factors = t[2] and t[2].factors
  for _, v in ipairs(factors or {}) do
    if math.abs(v - 1) > 1e-6 then return { t[1]:gsub("%.weight$", ".scale"), values = factors } end
  end
end

-- The output's tensors: { name, source, f, matrices } or { name, values }.
local function plan_tensors(c)
  c.used, c.out = {}, {}
  local by_layer = {}
  for _, name in ipairs(c.order) do
    local layer, rest = name:match "^model%.layers%.(%d+)%.(.+)$"
    layer = tonumber(layer)
    if not c.used[name] and not is_scale(c, name) then
      local s = c:source(name)
      local list = c.family.make and c.family.make(c, name, layer, rest, s)
      if not list then
        local to = names.map(name, c.family)
        if not to then rows.fail(("tensor %s is not known in %s"):format(name, c.family.arch), "EUNSUP") end
        list = { { to, s } }
      end
      for _, made in ipairs(list) do
        for _, t in ipairs { made, factors_of(made) } do
          t.layer = layer or -1
          by_layer[#by_layer + 1] = t
          t.order = #by_layer
        end
      end
    end
  end
  for _, t in ipairs(c.family.extra and c.family.extra(c) or {}) do
    t.layer, t.order = -1, #by_layer + 1
    by_layer[#by_layer + 1] = t
  end
  table.sort(by_layer, function(a, b)
    if a.layer ~= b.layer then return a.layer < b.layer end
    return a.order < b.order
  end)
  c.out = by_layer
end

--- A conversion by config.json alone, without tensors.
---@param dir string
---@return table conversion
function M.bare(dir)
  local config, class = read_config(dir)
  local family = families.find(class)
  if not family then
    rows.fail(("%s/config.json: %s is not a known class of models; known are %s"):format(dir, class,
      table.concat(families.classes(), ", ")), "EUNSUP")
  end
  if family.config then family.config(config) end
  local c = setmetatable({ dir = dir, class = class, family = family }, Conversion)
  c.params = params.new(family.arch, config)
  c.n_experts = c.params:get("num_local_experts", "num_experts", "n_routed_experts") or 0
  return c
end

--- Opens a checkpoint.
---@param o { from: string }
---@return table conversion  close its checkpoint when done
function M.open(o)
  local c = M.bare(o.from)
  local q = c.params.config.quantization_config
  c.quantized = type(q) == "table" or file.kind(o.from .. "/hf_quant_config.json") ~= nil
  c.block = type(q) == "table" and type(q.weight_block_size) == "table" and q.weight_block_size or nil
  c.checkpoint = check(safetensors.open(o.from))
  return c
end

local function describe_model(c, o)
  local p = c.params
  p:set("general.architecture", "string", c.family.arch)
  general.add(p, o)
  local n = c.family.layers and c.family.layers(p, c.checkpoint)
    or p:need("n_layers", "num_hidden_layers", "n_layer", "num_layers")
  c.n_layers = n
  p:common(n)
  if c.family.params then c.family.params(p, c) end
  c.n_vocab = vocabulary.add(p, c.dir, c.family)
end

-- Are there tensors for as many layers as config.json counts? Draft heads may lack.
local function check_layers(c)
  local seen, more = 0, c.params.index[c.family.arch .. ".nextn_predict_layers"]
  for _, t in ipairs(c.out) do seen = math.max(seen, t.layer + 1) end
  local least = c.n_layers - (more and c.params.list[more].value or 0)
  if seen > c.n_layers or seen < least then
    rows.fail(("%s: config.json counts %s layers, there are tensors for %d"):format(c.dir, tostring(c.n_layers), seen))
  end
end

-- Shape in GGUF's order.
local function shape_of(t)
  if t.values then return { #t.values } end
  local s = t[2]
  if t.matrices then return { s.cols, s.rows / t.matrices, t.matrices } end
  if s.rows == 1 and not (s.shape and #s.shape > 1 and s.shape[1] == 1 and #s.shape == 2) then return { s.cols } end
  return { s.cols, s.rows }
end

--- Fills c.params (metadata) and c.out: tensors { name, source, f, matrices } or
--- { name, values }, with their shapes, in the order of the file.
---@param c table
---@param o { name: string?, metadata: table[]? }
function M.describe(c, o)
  describe_model(c, o)
  take_tensors(c)
  plan_tensors(c)
  if #c.out == 0 then rows.fail(c.dir .. ": no tensors") end
  for _, t in ipairs(c.out) do t.shape = shape_of(t) end
  check_layers(c)
  general.add_size(c.params, c.out)
  for _, e in ipairs(o.metadata or {}) do c.params:set(e.key, e.type, e.value, e.elem) end -- the caller's word is last
end

return M
