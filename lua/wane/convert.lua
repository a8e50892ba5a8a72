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
local adapter = require "wane.convert.adapter"
local core = require "wane.core"
local file = require "wane.file"
local options = require "wane.options"
local planner = require "wane.convert.plan"
local rows = require "wane.convert.rows"
local writer = require "wane.convert.write"

local FLOATS = { f32 = true, f16 = true, bf16 = true, q8_0 = true, keep = true }

local check_options = options.checker("convert", {
  from = "path", to = "path", type = "string", recipe = "any", imatrix = "any", overwrite = "boolean",
  metadata = "table", name = "string", progress = "function", base = "path",
})

-- An adapter has no mix of types and no vocabulary.
local function run_adapter(o, c)
  local bytes = writer.adapter(c, o)
  return { to = o.to, file_bytes = bytes, architecture = c.family.arch, n_tensors = #c.out, warnings = {}, adapter = true }
end

-- Settings are used as they come: where they make Lua stumble (a number in place
-- of a list, a text in place of a number) they are at fault, not the caller.
local function settings(o, f)
  local fine, got = pcall(f)
  if fine then return got end
  if type(got) ~= "string" or got:find "not enough memory" then error(got, 0) end
  rows.fail(("%s: settings of a wrong kind (%s)"):format(o.from, got))
end

local function run(o, c, imatrix)
  local bytes, plan = writer.run(c, o, imatrix)
  return {
    to = o.to, file_bytes = bytes, architecture = c.family.arch, n_tensors = #c.out, plan = plan,
    warnings = plan and plan.warnings or {},
  }
end

---@class wane.ConvertOptions
---@field from string        directory of the checkpoint, or of a PEFT LoRA adapter
---@field to string          the GGUF file
---@field type string?       "f16" (default; adapters: "f32"), "bf16", "f32", "q8_0", "keep" (each matrix's own);
---any other type or mix goes as a recipe
---@field recipe string|function|wane.Recipe|nil  quantize on the way, as wane.quantize does
---@field imatrix string|wane.Imatrix|nil
---@field overwrite boolean?
---@field base string?       LoRA adapters: directory with the base model's config.json (default: what the adapter names)
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
---@field adapter true?      a LoRA adapter was converted

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
  local is_adapter = adapter.is(o.from)
  local kind = o.type and o.type:lower() or is_adapter and "f32" or "f16"
  if is_adapter and (o.recipe or not FLOATS[kind] or kind == "q8_0" or kind == "keep") then
    error("wane: convert: an adapter's type is f32, f16 or bf16", 2)
  end
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
    if is_adapter then
      c = settings(o, function() return adapter.plan(o) end)
      return run_adapter(o, c)
    end
    c = settings(o, function() return planner.open(o) end)
    settings(o, function() planner.describe(c, o) end)
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
