--- Types of a planned checkpoint's tensors, and writing them row by row.
local M = {}

local core = require "wane.core"
local rows = require "wane.convert.rows"
local safetensors = require "wane.convert.safetensors"
local vocabulary = require "wane.convert.vocab"

local check = rows.check
local CHUNK = 2 * 2 ^ 20 -- bytes of float32 at a time

-- ---- types --------------------------------------------------------------------------

local keep_f32 = {
  "^blk%.%d+%.ffn_gate_inp%.weight$", "^blk%.%d+%.ffn_gate_inp_shexp%.weight$", "^position_embd%.weight$",
  "^token_types%.weight$", "^blk%.%d+%.ssm_conv1d%.weight$", "^blk%.%d+%.shortconv%.conv%.weight$",
}

-- Blocks that are there already and keep their type.
local function packed_type(t) return t[2] and (t[2].dtype == "MXFP4" or t[2].dtype == "NVFP4") and t[2].dtype:lower() end

-- The type that llama.cpp's converter gives for a wanted float or Q8_0.
local function type_of(t, want)
  if t.values then return "f32" end
  if packed_type(t) then return packed_type(t) end
  local name, shape = t[1], t.shape
  if #shape <= 1 or name:find "_norm%.weight$" or not name:find "%.weight$" then return "f32" end
  for _, pattern in ipairs(keep_f32) do
    if name:find(pattern) then return "f32" end
  end
  if want == "keep" then return t[2].narrow or safetensors.plain_type(t[2].dtype) or "f32" end
  if want == "q8_0" and shape[1] % 32 ~= 0 then return "f16" end
  return want
end

local FILE_TYPES = { f32 = 0, f16 = 1, bf16 = 32, q8_0 = 7, keep = 1 }

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
    t.type, t.importance = packed_type(t) or d.to, d.importance
    out[i] = t
  end
  c.out = out
  c.params:set("general.file_type", "u32", plan.file_type)
  return plan
end

-- ---- writing ------------------------------------------------------------------------

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
  local raw = not t.f and (safetensors.plain_type(s.dtype) == t.type or packed_type(t))
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
  for _, e in ipairs(list) do
    local fine, problem = pcall(meta.set, meta, e.key, e.type, e.value, e.elem)
    if not fine then
      meta:close()
      rows.fail(("%s: %s"):format(e.key, (tostring(problem):gsub("^wane: ", "")))) -- a setting of a wrong kind
    end
  end
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

--- Chooses types, writes the file.
---@param c table  a described checkpoint (plan.lua)
---@param o table  options of wane.convert
---@param imatrix wane.Imatrix?
---@return integer bytes
---@return table? plan  of the recipe
function M.run(c, o, imatrix)
  local plan
  if o.recipe then
    plan = plan_recipe(c, o.recipe, imatrix)
  else
    for _, t in ipairs(c.out) do t.type = type_of(t, o.type) end
    c.params:set("general.file_type", "u32", FILE_TYPES[o.type])
  end
  c.params:set("general.quantization_version", "u32", 2)
  name_pre_tokenizer(c, o)
  return write_file(c, o, imatrix), plan
end

--- Writes an adapter: all tensors in one float type.
---@param c table  adapter.plan's
---@param o table  options of wane.convert
---@return integer bytes
function M.adapter(c, o)
  for _, t in ipairs(c.out) do t.type = o.type end
  c.params:set("general.file_type", "u32", FILE_TYPES[o.type])
  c.params:set("general.quantization_version", "u32", 2)
  return write_file(c, o)
end

return M
