--- Where the loss comes from: the KL divergence of the model with one tensor
--- shrunk and all others as they were, for every tensor that a candidate
--- changes. A few at a time run in lock-step with the reference.
---
---     local map = assert(wane.eval.heat("model-f16.gguf", "Q3_K_M", text))
---     for _, c in ipairs(map.cells) do print(c.name, c.kld) end
local divergence = require "wane.eval.divergence"
local models = require "wane.model"
local options = require "wane.options"
local roles = require "wane.recipe.roles"
local run = require "wane.eval.run"
local shrink = require "wane.eval.shrink"

---@class wane.Heat
---@field cells { name: string, layer: integer?, role: string, type: string, kld: number, err: number }[]
---@field worst string  the tensor with the highest KLD

local check = options.checker("eval.heat", {
  context = run.context, chunks = options.integer(1), batch = options.integer(1, 64), threads = options.threads,
  imatrix = "any", progress = "function",
}, { context = 256, chunks = 1, batch = 6 })

-- Models with one tensor replaced each.
local function load_batch(path, each, from, to, opts)
  local list = {}
  for i = from, to do
    local data, message, code = each.data(each.list[i])
    local model
    if data then
      model, message, code = models.load(path, { replace = { [each.list[i].name] = data }, threads = opts.threads })
      data:close()
    end
    if not model then
      run.close_all(list)
      return nil, message, code
    end
    list[#list + 1] = model
  end
  return list
end

local function cell_of(e, d)
  return { name = e.name, layer = roles.layer(e.name), role = e.name:gsub("^blk%.%d+%.", ""):gsub("%.weight$", ""),
    type = e.type, kld = d.kld.mean, err = d.kld.err }
end

-- All tensors, batch by batch.
local function measure(path, each, reference, text, opts)
  local cells, batch = {}, opts.batch
  for from = 1, #each.list, batch do
    local to = math.min(#each.list, from + batch - 1)
    local list, message, code = load_batch(path, each, from, to, opts)
    if not list then return nil, message, code end
    local found
    found, message, code = divergence(reference, list, text, { context = opts.context,
      chunks = opts.chunks, threads = opts.threads })
    run.close_all(list)
    if not found then return nil, message, code end
    for k, d in ipairs(found) do cells[#cells + 1] = cell_of(each.list[from + k - 1], d) end
    if opts.progress then opts.progress { stage = "tensors", done = to, total = #each.list } end
  end
  return cells
end

--- Measures the map of one candidate.
---@param path string   the reference
---@param what any      a file, or anything that wane.eval.shrink takes
---@param text string|integer[]
---@param opts? { context?: integer, chunks?: integer, batch?: integer, threads?: integer, imatrix?: any, progress?: function }
---@return wane.Heat|nil
---@return string? message
---@return string? code
return function(path, what, text, opts)
  options.argument("eval.heat", "path", path, "path")
  options.argument("eval.heat", "what", what, "any")
  options.argument("eval.heat", "text", text, run.text)
  opts = check(opts)
  local each, message, code = shrink.each(path, what, { imatrix = opts.imatrix })
  if not each then return nil, message, code end
  local reference
  reference, message, code = models.load(path, { threads = opts.threads })
  if not reference then
    each.close()
    return nil, message, code
  end
  local fine, cells
  fine, cells, message, code = pcall(measure, path, each, reference, text, opts)
  each.close()
  reference:close()
  if not fine then error(cells, 0) end
  if not cells then return nil, message, code end
  local worst
  for _, c in ipairs(cells) do
    if not worst or c.kld > worst.kld then worst = c end
  end
  return { cells = cells, worst = worst and worst.name }
end
