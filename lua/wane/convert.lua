--- From Hugging Face checkpoints to GGUF: `wane.convert`.
---
---     assert(wane.convert { from = "SmolLM2-135M", to = "smollm2-f16.gguf" })
---     assert(wane.convert { from = "SmolLM2-135M", to = "smollm2.gguf", recipe = "Q4_K_M" })   -- no F16 between
---
--- The checkpoint is a directory: config.json, weights in safetensors (one file
--- or shards with an index), tokenizer.json or tokenizer.model and their
--- settings. Names, shapes, the order of rows, types and metadata are those of
--- llama.cpp's converter; each family's page is in convert/families.
---
--- Rows are read, changed and written a few MiB at a time: the memory is that of
--- one chunk, whatever the model's size. The output is written durably
--- (gguf/write.h): its final name holds the whole file or what it held before.
local core = require "wane.core"
local families = require "wane.convert.families"
local file = require "wane.file"
local options = require "wane.options"
local params = require "wane.convert.params"
local rows = require "wane.convert.rows"
local names = require "wane.convert.names"
local safetensors = require "wane.convert.safetensors"
local vocabulary = require "wane.convert.vocab"

local CHUNK = 8 * 2 ^ 20 -- bytes of float32 at a time

-- ---- one conversion -----------------------------------------------------------------

local Conversion = {}
Conversion.__index = Conversion

-- A tensor of the checkpoint as a source of rows; FP8 with its scales applied.
function Conversion:source(name)
  local t = self.tensors[name]
  if not t then rows.fail(("tensor %s is missing"):format(name)) end
  self.used[name] = true
  local s = rows.of(self.checkpoint, t)
  if t.dtype:find "^F8" then
    local scales = self.tensors[name .. "_scale_inv"] or self.tensors[name .. "_scale"]
      or self.tensors[name:gsub("%.weight$", ".weight_scale")]
    if scales then
      self.used[scales.alias] = true
      local block = self.block
      if scales.n == 1 or #scales.shape < 2 then block = nil end
      if block and #scales.shape == 2 and scales.shape[2] == 1 then block = nil end
      s = rows.scaled(s, rows.of(self.checkpoint, scales), block)
    end
  end
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
    local is_other = names.is_other_sense(name) or (c.family.ignore and c.family.ignore(to)) or to:find "rotary_emb%.inv_freq$"
      or to:find "%.attention%.masked_bias$"
    if not is_other then
      if c.tensors[to] then rows.fail(("tensor %s is there twice"):format(to)) end
      c.tensors[to] = c.checkpoint.tensors[name]
      c.tensors[to].alias = to
      c.order[#c.order + 1] = to
    end
  end
end

-- The output's tensors: { name, source, f, matrices } or { name, values }.
local function plan_tensors(c)
  c.used, c.out = {}, {}
  local by_layer = {}
  for _, name in ipairs(c.order) do
    local layer, rest = name:match "^model%.layers%.(%d+)%.(.+)$"
    layer = tonumber(layer)
    if not c.used[name] and not name:find "_scale_inv$" and not (name:find "_scale$" and c.tensors[name:gsub("_scale$", "")]) then
      local s = c:source(name)
      local list = c.family.make and c.family.make(c, name, layer, rest, s)
      if not list then
        local to = names.map(name, c.family)
        if not to then rows.fail(("tensor %s is not known in %s"):format(name, c.family.arch), "EUNSUP") end
        list = { { to, s } }
      end
      for _, t in ipairs(list) do
        t.layer = layer or -1
        by_layer[#by_layer + 1] = t
        t.order = #by_layer
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

-- ---- types --------------------------------------------------------------------------

local keep_f32 = {
  "^blk%.%d+%.ffn_gate_inp%.weight$", "^blk%.%d+%.ffn_gate_inp_shexp%.weight$", "^position_embd%.weight$",
  "^token_types%.weight$", "^blk%.%d+%.ssm_conv1d%.weight$", "^blk%.%d+%.shortconv%.conv%.weight$",
}

-- Shape in GGUF's order.
local function shape_of(t)
  if t.values then return { #t.values } end
  local s = t[2]
  if t.matrices then return { s.cols, s.rows / t.matrices, t.matrices } end
  if s.rows == 1 and not (s.shape and #s.shape > 1 and s.shape[1] == 1 and #s.shape == 2) then return { s.cols } end
  return { s.cols, s.rows }
end

-- The type that llama.cpp's converter gives for a wanted float or Q8_0.
local function type_of(t, want)
  if t.values then return "f32" end
  if t[2].dtype == "MXFP4" then return "mxfp4" end
  local name, shape = t[1], t.shape
  if #shape <= 1 or name:find "_norm%.weight$" or not name:find "%.weight$" then return "f32" end
  for _, pattern in ipairs(keep_f32) do
    if name:find(pattern) then return "f32" end
  end
  if want == "q8_0" and shape[1] % 32 ~= 0 then return "f16" end
  return want
end

local FILE_TYPES = { f32 = 0, f16 = 1, bf16 = 32, q8_0 = 7 }

-- Types by a recipe: planned as wane.quantize plans a file of these tensors.
local function plan_recipe(c, recipe, imatrix)
  local describe = require "wane.recipe.describe"
  local list = {}
  for i, t in ipairs(c.out) do
    local n = 1
    for _, d in ipairs(t.shape) do n = n * d end
    list[i] = { name = t[1], shape = t.shape, type = type_of(t, "f16"), bytes = n * 2 }
  end
  local function get(key)
    local at = c.params.index[key]
    return at and c.params.list[at].value
  end
  local model, message, code = describe.model({ get = get, tensors = list }, {})
  if not model then rows.fail(message, code) end
  local plan
  plan, message, code = require("wane.recipe.plan").make(model, recipe, { imatrix = imatrix })
  if not plan then rows.fail(message, code) end
  local at = {}
  for i, t in ipairs(c.out) do at[t[1]] = i end
  local out = {}
  for i, d in ipairs(plan.tensors) do
    local t = c.out[at[d.name]]
    t.type, t.importance = t[2] and t[2].dtype == "MXFP4" and "mxfp4" or d.to, d.importance
    out[i] = t
  end
  c.out = out
  c.params:set("general.file_type", "u32", plan.file_type)
  return plan
end

-- ---- writing ------------------------------------------------------------------------

local function check(value, message, code)
  if value == nil then rows.fail(message, code) end
  return value
end

-- Values of rows a .. b as a buffer, changed as the family wants.
local function buffer_of(t, a, b)
  local s = t[2]
  local buffer = check(safetensors.decode(s.dtype, s.read(a, b), b - a + 1, s.cols))
  if t.f then t.f(buffer) end
  return buffer
end

local function importance_of(t, imatrix)
  local n = t.importance and imatrix and imatrix:width(t[1])
  if not n or n ~= t.shape[1] then return nil end
  return core.quant.buffer(1, n, imatrix:values(t[1]))
end

local function write_tensor(w, t, imatrix)
  if t.values then
    local b = check(core.quant.buffer(1, #t.values, t.values))
    check(w:put(b:bytes()))
    return b:close()
  end
  local s = t[2]
  local step = math.max(1, math.floor(CHUNK / 4 / math.max(s.cols, 1)))
  local raw = not t.f and (safetensors.plain_type(s.dtype) == t.type or s.dtype == "MXFP4" and t.type == "mxfp4")
  local importance = importance_of(t, imatrix)
  for a = 1, s.rows, step do
    local b = math.min(a + step - 1, s.rows)
    if raw then
      check(w:put(s.read(a, b)))
    else
      local buffer = buffer_of(t, a, b)
      if t.type == "f32" then
        check(w:put(buffer:bytes()))
      else
        local q, message, code = core.quant.encode(t.type, buffer, importance)
        if not q then rows.fail(("tensor %s: %s"):format(t[1], message), code) end
        check(w:put(q:bytes()))
        q:close()
      end
      buffer:close()
    end
  end
  if importance then importance:close() end
end

local function make_meta(list)
  local meta = check(core.gguf.meta())
  for _, e in ipairs(list) do check(meta:set(e.key, e.type, e.value, e.elem)) end
  return meta
end

local function write_file(c, o, imatrix)
  local tensors = {}
  for i, t in ipairs(c.out) do tensors[i] = { name = t[1], type = t.type, shape = t.shape } end
  local meta = make_meta(c.params.list)
  local layout = check(core.gguf.layout(meta, tensors))
  meta:close()
  local w = check(core.gguf.writer(layout, 1, o.to, { overwrite = o.overwrite or false }))
  local fine, problem = pcall(function()
    for i, t in ipairs(c.out) do
      if o.progress and o.progress { done = i - 1, total = #c.out, tensor = t[1] } == false then
        rows.fail("cancelled", "ECANCEL")
      end
      write_tensor(w, t, imatrix)
    end
    check(w:commit())
  end)
  if not fine then
    w:abort()
    error(problem, 0)
  end
  return layout:file(1).bytes
end

-- The pre-tokenizer's real name: a file with the vocabulary alone is written,
-- read and removed.
local function name_pre_tokenizer(c, o)
  local at = c.params.index["tokenizer.ggml.pre"]
  local model = c.params.index["tokenizer.ggml.model"]
  if not at or c.params.list[model].value ~= "gpt2" then return end
  local path, list = o.to .. ".vocabulary", {}
  for _, e in ipairs(c.params.list) do
    if e.key:find "^tokenizer%." or e.key == "general.architecture" then list[#list + 1] = e end
  end
  local meta = make_meta(list)
  local layout = check(core.gguf.layout(meta, {}))
  meta:close()
  local w = check(core.gguf.writer(layout, 1, path, { overwrite = true }))
  check(w:commit())
  local vocab = require("wane.vocab").open(path)
  local name = vocab and vocabulary.name_of(vocab)
  os.remove(path)
  if name then c.params.list[at].value = name end
end

-- ---- the face -----------------------------------------------------------------------

local FLOATS = { f32 = true, f16 = true, bf16 = true, q8_0 = true }

local check_options = options.checker("convert", {
  from = "path", to = "path", type = "string", recipe = "any", imatrix = "any", overwrite = "boolean",
  metadata = "table", name = "string", progress = "function",
})

local function start(o)
  local config, class = read_config(o.from)
  local family = families.find(class)
  if not family then
    rows.fail(("%s/config.json: %s is not a known class of models; known are %s"):format(o.from, class,
      table.concat(families.classes(), ", ")), "EUNSUP")
  end
  if family.config then family.config(config) end
  local c = setmetatable({ dir = o.from, class = class, family = family }, Conversion)
  c.params = params.new(family.arch, config)
  local q = config.quantization_config
  c.block = type(q) == "table" and type(q.weight_block_size) == "table" and q.weight_block_size or nil
  c.checkpoint = check(safetensors.open(o.from))
  return c
end

local function describe_model(c, o)
  local p = c.params
  p:set("general.architecture", "string", c.family.arch)
  p:set("general.type", "string", "model")
  p:set("general.name", "string", o.name or o.from:gsub("/+$", ""):match "([^/]+)$" or o.from)
  local n = c.family.layers and c.family.layers(p, c.checkpoint)
    or p:need("n_layers", "num_hidden_layers", "n_layer", "num_layers")
  c.n_layers = n
  c.n_experts = p:get("num_local_experts", "num_experts", "n_routed_experts") or 0
  p:common(n)
  if c.family.params then c.family.params(p, c) end
  c.n_vocab = vocabulary.add(p, c.dir, c.family)
  for _, e in ipairs(o.metadata or {}) do p:set(e.key, e.type, e.value, e.elem) end
end

local function run(o, c, imatrix)
  describe_model(c, o)
  take_tensors(c)
  plan_tensors(c)
  if #c.out == 0 then rows.fail(o.from .. ": no tensors") end
  for _, t in ipairs(c.out) do t.shape = shape_of(t) end
  local plan
  if o.recipe then
    plan = plan_recipe(c, o.recipe, imatrix)
  else
    for _, t in ipairs(c.out) do t.type = type_of(t, o.type) end
    c.params:set("general.file_type", "u32", FILE_TYPES[o.type])
  end
  c.params:set("general.quantization_version", "u32", 2)
  name_pre_tokenizer(c, o)
  local bytes = write_file(c, o, imatrix)
  return {
    to = o.to, file_bytes = bytes, architecture = c.family.arch, n_tensors = #c.out, plan = plan,
    warnings = plan and plan.warnings or {},
  }
end

---@class wane.ConvertOptions
---@field from string        directory of the checkpoint
---@field to string          the GGUF file
---@field type string?       "f16" (default), "bf16", "f32", "q8_0"; any other type or mix goes as a recipe
---@field recipe string|function|wane.Recipe|nil  quantize on the way, as wane.quantize does
---@field imatrix string|wane.Imatrix|nil
---@field overwrite boolean?
---@field name string?       general.name (default: the directory's)
---@field metadata table[]?  more keys: { key, type, value [, elem] }
---@field progress (fun(p: { done: integer, total: integer, tensor: string }): boolean?)?  return false to cancel

---@class wane.ConvertReport
---@field to string
---@field file_bytes integer
---@field architecture string
---@field n_tensors integer
---@field seconds number
---@field warnings string[]

--- Converts a checkpoint; see the top of this page. Misuse raises; a checkpoint
--- or disk that is not right gives nil, message, code.
---@param o wane.ConvertOptions
---@return wane.ConvertReport|nil
---@return string? message
---@return string? code
local function convert(o)
  o = check_options(o)
  for _, key in ipairs { "from", "to" } do
    if not o[key] then error(("wane: convert: option '%s' is missing"):format(key), 2) end
  end
  local kind = o.type and o.type:lower() or "f16"
  if not FLOATS[kind] then
    if o.recipe then error("wane: convert: give a type or a recipe, not both", 2) end
    o.recipe = o.type
  end
  o.type = kind
  if o.recipe then
    local recipe, message = require "wane.recipe"(o.recipe)
    if not recipe then error("wane: convert: " .. tostring(message), 2) end
    o.recipe = recipe
  end
  local imatrix = o.imatrix
  if type(imatrix) == "string" then
    local im, why, kind_of = require("wane.imatrix").open(imatrix)
    if not im then return nil, why, kind_of end
    imatrix = im
  end
  if file.kind(o.from) ~= "directory" then return nil, o.from .. ": not a directory", "ENOENT" end
  local ok, message, code = file.can_write(o.to, { overwrite = o.overwrite or false })
  if not ok then return nil, message, code end
  local begin, c = core.now(), nil
  local fine, report = pcall(function()
    c = start(o)
    return run(o, c, imatrix)
  end)
  if c and c.checkpoint then c.checkpoint:close() end
  if fine then
    report.seconds = core.now() - begin
    return report
  end
  if type(report) == "table" and report.msg then return nil, report.msg, report.code end
  error(report, 0)
end

return convert
