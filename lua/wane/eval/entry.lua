--- What is compared: model files, loaded models, recipes and formats, each
--- loaded once, with what loading took.
local core = require "wane.core"
local file = require "wane.file"
local models = require "wane.model"
local options = require "wane.options"
local shrink = require "wane.eval.shrink"

local M = {}

---@class wane.Entry
---@field name string
---@field model wane.Model
---@field bytes integer       of its file, or of the file it would be
---@field bpw number          bits per weight
---@field load_seconds number?
---@field in_memory boolean   made from the reference, without a file
---@field custom boolean      has formats defined in Lua: its speed means nothing
---@field ours boolean        opened here, to be closed here
---@field base_bytes integer? live memory before it was loaded

local candidate = { name = "string", path = "path", recipe = "any", format = "any", model = "any", imatrix = "any", fallback = "string",
  activations = require("wane.eval.run").activations }

-- Bytes of all tensors and their number of values.
local function sums_of(g)
  local bytes, values = 0, 0
  for i = 1, g:info().n_tensors do
    local t = g:tensor(i)
    bytes, values = bytes + t.bytes, values + t.shape[1] * t.n_rows
  end
  return bytes, values
end

local function file_bytes(g)
  local n = 0
  for _, b in ipairs(g:info().file_bytes) do n = n + b end
  return n
end

-- Size and bits per weight of a loaded model.
local function describe(e)
  local bytes, values = sums_of(e.model.gguf)
  local plan = e.model.plan
  if plan then
    -- as a file with the same header would have
    e.bytes, e.bpw, e.in_memory = plan.bytes + file_bytes(e.model.gguf) - bytes, plan.bpw, true
    for _, d in ipairs(plan.tensors) do
      if require("wane.recipe.types").find(d.to).class == "custom" then e.custom = true end
    end
  else
    e.bytes, e.bpw, e.in_memory = file_bytes(e.model.gguf), 8 * bytes / values, false
  end
  return e
end

-- "models/demo-Q4_K_M.gguf" -> "demo-Q4_K_M"
local function short_name(path) return (path:match "([^/\\]+)$" or path):gsub("%.gguf$", "") end

--- One form for the many ways to say what to compare.
---@param x any
---@param what string  for messages
function M.normalise(x, what)
  if type(x) == "string" then
    if x:find "%.gguf$" or (x:find "[/\\]" and file.kind(x)) then return { path = x, name = short_name(x) } end
    if not pcall(shrink.recipe, x) then
      options.misuse(("%s: '%s' is no file (a path or a name ending in .gguf), no mix, no type and no format"):format(what, x))
    end
    return { recipe = x, name = x }
  end
  if type(x) == "function" then return { recipe = x, name = "function" } end
  if type(x) ~= "table" then options.misuse(("%s: want a path, a recipe, a format or a model, got %s"):format(what, options.shown(x))) end
  if require("wane.recipe").is(x) then return { recipe = x, name = x:describe() } end
  if x.handle and x.gguf then return { model = x, name = short_name(x:info().path) } end
  local own = require("wane.quant.custom").find(x)
  if own then return { recipe = own, name = own.name } end
  x = options.checker(what, candidate)(x)
  local inner = x.model or x.path or x.recipe or x.format
  if inner == nil then options.misuse(("%s: want a path, a recipe, a format or a model"):format(what)) end
  local n = x.path and { path = x.path, name = short_name(x.path) } or M.normalise(inner, what)
  n.name = x.name or n.name
  n.imatrix, n.fallback, n.activations = x.imatrix, x.fallback, x.activations
  if n.activations then
    if n.model then options.misuse(("%s: option 'activations': a loaded model has its own (wane.load)"):format(what)) end
    n.name = x.name or ("%s, %s activations"):format(n.name, n.activations)
  end
  return n
end

--- Loads what M.normalise described.
---@param n table
---@param base string?  path that recipes start from
---@param opts { threads?: integer, imatrix?: any, context?: integer }
---@return wane.Entry|nil
---@return string? message
---@return string? code
function M.load(n, base, opts)
  local e = { name = n.name, model = n.model, ours = not n.model, custom = false, spec = n }
  if not e.model then
    collectgarbage()
    core.reset_peak()
    local start, before = core.now(), core.memory().bytes
    local message, code
    if n.path then
      e.model, message, code = models.load(n.path, { threads = opts.threads, activations = n.activations })
    else
      if not base then return nil, n.name .. ": a recipe needs the reference as a file", "EARG" end
      e.model, message, code = shrink.shrink(base, n.recipe, { threads = opts.threads,
        imatrix = n.imatrix or opts.imatrix, fallback = n.fallback, activations = n.activations })
    end
    if not e.model then return nil, message, code end
    e.load_seconds = core.now() - start
    if not n.path then core.reset_peak() end -- what encoding took is not what the model takes
    e.base_bytes = before
  end
  return describe(e)
end

return M
