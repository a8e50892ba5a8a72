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
local core = require "wane.core"
local divergence = require "wane.eval.divergence"
local entries = require "wane.eval.entry"
local file = require "wane.file"
local options = require "wane.options"
local origin = require "wane.eval.origin"
local report = require "wane.report"
local run = require "wane.eval.run"
local speed = require "wane.eval.speed"
local tasks = require "wane.eval.tasks"

---@class wane.CompareOptions
---@field reference string|wane.Model
---@field candidates any[]       paths, models, recipes, formats, or { name =, path | recipe | format | model =, imatrix = }
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

---@class wane.Comparison
---@field rows table[]     the reference first; keys are those of the columns
---@field columns wane.Column[]
---@field tasks table      results by name of model
---@field heat table       heat maps by name of model
---@field origin wane.Origin   date, version, hashes and all that it takes to do it again
local Comparison = {}
Comparison.__index = Comparison

local check_options = options.checker("eval.compare", {
  reference = options.required "any", candidates = options.required(options.list("any", 1)), text = options.required(run.text),
  tasks = options.list "any", context = run.context, chunks = options.integer(1), imatrix = "any",
  threads = options.threads, speed = "boolean", heat = options.either("boolean", "table"), tensor = "string",
  passage = options.integer(0), hashes = "boolean", command = "string", progress = "function",
})

local function signed(v) return ("%+.2f %%"):format(100 * v) end
local function percent(v) return ("%.2f %%"):format(100 * v) end

local columns = {
  { key = "name", title = "model" },
  { key = "bytes", title = "bytes", format = report.count, align = "right", unit = "of the file", drop = 3 },
  { key = "bpw", title = "bits/w", format = "%.2f", unit = "per weight", drop = 2 },
  { key = "ppl", title = "perplexity", format = "%.4f", unit = "exp(nats)", drop = 1 },
  { key = "ppl_err", title = "+/-", format = "%.3f", unit = "of this text", drop = 9 },
  { key = "ppl_change", title = "change", format = signed, align = "right", unit = "of perplexity", drop = 1 },
  -- of the ratio, position by position: far smaller than the errors of the two perplexities
  { key = "ppl_change_err", title = "+/-", format = percent, align = "right", unit = "paired", drop = 7 },
  { key = "kld", title = "KLD", format = "%.5f", unit = "nats", drop = 0 },
  { key = "kld_err", title = "+/-", format = "%.5f", unit = "nats", drop = 8 },
  { key = "kld_median", title = "median", format = "%.5f", unit = "nats", drop = 12 },
  { key = "kld_p99", title = "p99", format = "%.4f", unit = "nats", drop = 10 },
  { key = "kld_max", title = "max", format = "%.3f", unit = "nats", drop = 13 },
  { key = "same_top", title = "same top", format = percent, align = "right", unit = "of tokens", drop = 4 },
  { key = "rms_dp", title = "rms dp", format = percent, align = "right", unit = "probability", drop = 14 },
  { key = "prompt_tps", title = "prompt t/s", format = "%.0f", unit = "tokens/s", drop = 6 },
  { key = "decode_tps", title = "decode t/s", format = "%.0f", unit = "tokens/s", drop = 5 },
  { key = "load_seconds", title = "load", format = report.seconds, align = "right", unit = "time", drop = 15 },
  { key = "peak_bytes", title = "memory", format = report.bytes, align = "right", unit = "peak", drop = 11 },
}

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

-- Fills in what divergence found.
local function add_divergence(row, d)
  row.ppl, row.ppl_err = d.perplexity, d.perplexity_err
  row.ppl_change, row.ppl_change_err = d.ratio - 1, d.ratio_err
  row.kld, row.kld_err, row.kld_max = d.kld.mean, d.kld.err, d.kld.max
  row.kld_median, row.kld_p99 = d.kld_quantile(0.5), d.kld_quantile(0.99)
  row.same_top, row.same_top_err, row.rms_dp, row.rms_dp_err = d.same_top, d.same_top_err, d.rms_dp, d.rms_dp_err
end

-- The perplexity of a reference that has nothing to be compared with.
local function reference_row(row, first)
  row.ppl, row.ppl_err = first.reference_perplexity, first.reference_perplexity_err
  row.reference = true
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

-- The tokens of the whole text where a candidate is farthest from the
-- reference, with what stands before them.
local function worst_tokens(q, p, piece)
  local order, list = {}, {}
  for i = 1, #q.kld do order[i] = i end
  table.sort(order, function(a, b)
    if q.kld[a] ~= q.kld[b] then return q.kld[a] > q.kld[b] end
    return a < b
  end)
  for k = 1, math.min(12, #order) do
    local i, before = order[k], {}
    for j = math.max(1, i - 6), i - 1 do before[#before + 1] = piece(q.target[j]) end
    list[k] = { place = i, before = table.concat(before), text = piece(q.target[i]), kld = q.kld[i], nll = q.nll_q[i],
      was_nll = p.nll_p[i], top = piece(q.top_q[i]), was_top = piece(p.top_p[i]) }
  end
  return list
end

-- The passage shown token by token: texts, and numbers of each candidate.
local function passage(list, found, n)
  local vocab = list[1].model.vocab
  if not vocab then return nil end
  local p = { tokens = {}, models = {} }
  local at = found[1].positions
  local function piece(id) return vocab:piece(id, true) end
  for i = 1, math.min(n, #at.target) do
    p.tokens[i] = { text = piece(at.target[i]), nll = at.nll_p[i], top = piece(at.top_p[i]) }
  end
  for k, d in ipairs(found) do
    local m = { name = list[k + 1].name, kld = {}, nll = {}, top = {} }
    for i = 1, #p.tokens do
      m.kld[i], m.nll[i], m.top[i] = d.positions.kld[i], d.positions.nll_q[i], piece(d.positions.top_q[i])
    end
    m.worst = worst_tokens(d.positions, at, piece)
    p.models[k] = m
  end
  return p
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
  for i, e in ipairs(list) do self.rows[i] = row_of(e) end
  reference_row(self.rows[1], found[1])
  for i, d in ipairs(found) do add_divergence(self.rows[i + 1], d) end
  self.tokens = found[1].tokens
  self.origin, message, code = origin(list, o, self.tokens)
  if not self.origin then return nil, message, code end
  self.passage = passage(list, found, o.passage or 192)
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
  local self = setmetatable({ rows = {}, columns = {}, tasks = {}, heat = {}, weights = {} }, Comparison)
  for i, c in ipairs(columns) do self.columns[i] = c end
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

--- The table (wane.report).
---
---     print(c:table():markdown())
---@return wane.Table
function Comparison:table()
  local used = {}
  for _, c in ipairs(self.columns) do
    for _, row in ipairs(self.rows) do
      if row[c.key] ~= nil then
        used[#used + 1] = c
        break
      end
    end
  end
  local t = report.table(used)
  for _, row in ipairs(self.rows) do t:add(row) end
  return t
end

--- The table as text.
---
---     print(c:text(80))
---@param room? integer  columns of the terminal: those that do not fit are left out
---@return string
function Comparison:text(room) return self:table():text(room) end
function Comparison:markdown() return self:table():markdown() end
function Comparison:csv() return self:table():csv() end
function Comparison:__tostring() return self:text() end

--- Everything as JSON: rows, tasks, heat maps, the passage.
---
---     print(#c:json() > 100)   --> true
function Comparison:json()
  return report.json { rows = self.rows, tasks = self.tasks, heat = self.heat, passage = self.passage,
    tokens = self.tokens, context = self.context, machine = self.cpu.name, origin = self.origin }
end

--- The report: one HTML page that needs no network.
---
---     print(#c:html "Mine" > 1000)   --> true
---@param title? string
function Comparison:html(title) return require("wane.eval.page")(self, title) end

--- Rows that nothing beats in both size and KLD, smallest first. Those that are
--- equal in both stand together.
---
---     for _, row in ipairs(c:pareto()) do print(row.name, row.bytes, row.kld) end
---@return table[]
function Comparison:pareto()
  local list, front, best, size = {}, {}, math.huge, nil
  for _, row in ipairs(self.rows) do
    if row.kld then list[#list + 1] = row end
  end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes < b.bytes end
    return a.kld < b.kld
  end)
  for _, row in ipairs(list) do
    if row.kld < best or row.kld == best and row.bytes == size then
      best, size = row.kld, row.bytes
      front[#front + 1] = row
    end
  end
  return front
end

local check_save = options.checker("comparison:save", { overwrite = "boolean" }, { overwrite = true })
local writers = { html = "html", md = "markdown", csv = "csv", json = "json", txt = "text" }

--- Writes a file, durably; its ending says the form: .html, .md, .csv, .json, .txt.
---
---     assert(c:save "report.html")
---@param path string
---@return true|nil
---@return string? message
---@return string? code
---@param opts? { overwrite?: boolean }  replace an existing file (true)
function Comparison:save(path, opts)
  local kind = writers[options.argument("comparison:save", "path", path, report.name):match "%.(%a+)$"]
  opts = check_save(opts)
  return file.write(path, self[kind](self), { overwrite = opts.overwrite })
end

return compare
