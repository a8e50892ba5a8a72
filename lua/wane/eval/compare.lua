--- One table for a set of models: what each takes, what it lost, how fast it is.
---
---     local c = assert(wane.eval.compare {
---       reference = "model-f16.gguf",
---       candidates = { "a.gguf", "Q4_K_M", wane.recipe "Q3_K_M":role("attn_v", "q8_0"),
---                      wane.quant.codebook { levels = 16 } },
---       text = text, tasks = { "copy", "arc.jsonl" },
---     })
---     print(c)                          -- also c:markdown(), c:csv(), c:json()
---     assert(c:save "report.html")      -- one page, with charts
---
--- Candidates are files, loaded models, or anything that a shrunk model in
--- memory can be made of (wane.eval.shrink). All run in lock-step with the
--- reference on the same chunks; no logits are stored.
local comparison = require "wane.eval.comparison"
local core = require "wane.core"
local divergence = require "wane.eval.divergence"
local entries = require "wane.eval.entry"
local options = require "wane.options"
local origin = require "wane.eval.origin"
local run = require "wane.eval.run"
local speed = require "wane.eval.speed"
local tasks = require "wane.eval.tasks"

---@class wane.CompareOptions
---@field reference string|wane.Model   a file, a checkpoint's directory or a model
---@field candidates any[]       paths, models, recipes, formats, or { name =, path | recipe | format | model =, imatrix =, activations = }
---@field text string|integer[]
---@field tasks? any[]           see wane.eval.tasks
---@field context? integer       tokens per chunk (512)
---@field chunks? integer        most chunks (all)
---@field imatrix? any           for recipes
---@field threads? integer
---@field speed? boolean         measure speed (true)
---@field heat? boolean|table    KLD of each tensor shrunk alone: true, or { chunks =, context =, batch = }
---@field tensor? string         whose weights to show in the report
---@field passage? integer       tokens of the passage in the report (192)
---@field hashes? boolean        SHA-256 of the files that are read, for the report (true)
---@field command? string        what was typed, for the report
---@field progress? fun(p: table)

local check_options = options.checker("eval.compare", {
  reference = options.required "any", candidates = options.required(options.list("any", 1)), text = options.required(run.text),
  tasks = options.list "any", context = run.context, chunks = options.integer(1), imatrix = "any",
  threads = options.threads, speed = "boolean", heat = options.either("boolean", "table"), tensor = "string",
  passage = options.integer(0), hashes = "boolean", command = "string", progress = "function",
})

-- Loads everything into the list, which the caller closes.
local function load_all(o, list)
  local first = entries.normalise(o.reference, "compare: reference")
  local base = first.path or first.model and first.model:info().path
  if not base then options.misuse "eval.compare: option 'reference': want a file or a model" end
  local specs = { first }
  for i, c in ipairs(o.candidates) do specs[i + 1] = entries.normalise(c, ("compare: candidate %d"):format(i)) end
  for i, n in ipairs(specs) do
    local e, message, code = entries.load(n, base, o)
    if not e then return nil, message, code end
    list[i] = e
    local ok
    ok, message, code = list.measure(e)
    if not ok then return nil, message, code end
  end
  return true
end

-- Speed and memory of a freshly loaded entry, while it is the last one.
local function measurer(o, ids)
  return function(e)
    if o.speed == false then return true end
    local s, message, code = speed.measure(e.model, ids, { context = o.context, threads = o.threads })
    if not s then return nil, message, code end
    if not e.custom then e.prompt_tps, e.decode_tps = s.prompt, s.decode end
    local info = e.model:info()
    if e.base_bytes then
      e.peak_bytes = core.memory().peak_bytes - e.base_bytes + (info.mapped and not e.in_memory and e.bytes or 0)
    end
    return true
  end
end

local function row_of(e)
  return {
    name = e.name, bytes = e.bytes, bpw = e.bpw, prompt_tps = e.prompt_tps, decode_tps = e.decode_tps,
    load_seconds = e.load_seconds, peak_bytes = e.peak_bytes, in_memory = e.in_memory,
  }
end

local function run_tasks(self, list, o)
  for i, e in ipairs(list) do
    local results, message, code = tasks.run(e.model, o.tasks, { text = o.text, threads = o.threads })
    if not results then return nil, message, code end
    self.tasks[e.name] = results
    for k, r in ipairs(results) do
      local key = "task_" .. k
      self.rows[i][key], self.rows[i][key .. "_err"] = r.score, r.err
      if i == 1 then self.columns[#self.columns + 1] = { key = key, title = r.name, format = "%.3f" } end
    end
    if o.progress then o.progress { stage = "tasks", done = i, total = #list } end
  end
  return true
end

-- Heat maps and weights: what the report draws and the table does not need.
local function add_pictures(self, list, o)
  local base = list[1].model:info().path
  local heat = require "wane.eval.heat"
  for k = 2, #list do
    local e = list[k]
    local spec = e.spec.path or e.spec.recipe
    if o.heat and spec then
      local h = type(o.heat) == "table" and o.heat or {}
      local map, message, code = heat(base, spec, o.text, {
        chunks = h.chunks, context = h.context, batch = h.batch, threads = o.threads,
        imatrix = e.spec.imatrix or o.imatrix, progress = o.progress,
      })
      if not map then return nil, message, code end
      self.heat[e.name] = map
    end
    if spec and (o.heat or o.tensor) then
      local w, message, code = require("wane.eval.weights")(base, spec, {
        tensor = o.tensor or (self.heat[e.name] and self.heat[e.name].worst), imatrix = e.spec.imatrix or o.imatrix,
      })
      if not w and code ~= "ENOENT" then return nil, message, code end
      self.weights[e.name] = w or nil
    end
  end
  return true
end

local function measure_all(self, list, o)
  local candidates = {}
  for i = 2, #list do candidates[i - 1] = list[i].model end
  local found, message, code = divergence(list[1].model, candidates, o.text, {
    context = o.context, chunks = o.chunks, threads = o.threads, positions = true,
    progress = o.progress and function(p) o.progress { stage = "text", done = p.done, total = p.total } end,
  })
  if not found then return nil, message, code end
  local rows = {}
  for i, e in ipairs(list) do rows[i] = row_of(e) end
  self:_add(rows, found, list[1].model.vocab, o.passage or 192)
  self.origin, message, code = origin(list, o, self.tokens)
  if not self.origin then return nil, message, code end
  if o.tasks and #o.tasks > 0 then
    local ok
    ok, message, code = run_tasks(self, list, o)
    if not ok then return nil, message, code end
  end
  return add_pictures(self, list, o)
end

local function distinct_names(list)
  local seen = {}
  for _, e in ipairs(list) do
    local name, n = e.name, 1
    while seen[e.name] do
      n = n + 1
      e.name = ("%s (%d)"):format(name, n)
    end
    seen[e.name] = true
  end
end

local function close_all(list)
  for _, e in ipairs(list) do
    if e.ours then e.model:close() end
  end
end

-- Checks what must be there before anything is loaded.
local function check(o)
  options.argument("eval.compare", "options", o, "table")
  o = check_options(o)
  for i, t in ipairs(o.tasks or {}) do tasks.resolve(t, i) end
  return o
end

-- Token ids to measure speed with: the beginning of the text.
local function some_ids(o)
  if type(o.text) == "table" then return o.text end
  local path = type(o.reference) == "table" and (o.reference.path or o.reference:info().path) or o.reference
  local v, message, code = require("wane.vocab").open(path)
  if not v then return nil, message, code end
  local ids = v:encode(o.text:sub(1, 8192), { special = true })
  v:close()
  return ids
end

--- Compares models. See the head of this file.
---@param o wane.CompareOptions
---@return wane.Comparison|nil
---@return string? message
---@return string? code
local function compare(o)
  o = check(o)
  local ids, message, code = some_ids(o)
  if not ids then return nil, message, code end
  local self = comparison.new()
  local list = { measure = measurer(o, ids) }
  local fine, ok
  fine, ok, message, code = pcall(function()
    local loaded, why, kind = load_all(o, list)
    if not loaded then return nil, why, kind end
    distinct_names(list)
    return measure_all(self, list, o)
  end)
  close_all(list)
  if not fine then error(ok, 0) end
  if not ok then return nil, message, code end
  self.context = o.context or 512
  self.cpu = core.cpu()
  return self
end

-- The reference may be a checkpoint's directory.
return function(o) return require("wane.convert.view").around(o, "reference", compare) end
