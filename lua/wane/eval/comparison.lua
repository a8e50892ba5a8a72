--- A comparison: one table for a set of models, and what its report draws
--- (wane.eval.compare, wane.sweep).
local file = require "wane.file"
local options = require "wane.options"
local report = require "wane.report"

local M = {}

---@class wane.Comparison
---@field rows table[]     the reference first; keys are those of the columns
---@field columns wane.Column[]
---@field tasks table      results by name of model
---@field heat table       heat maps by name of model
---@field origin wane.Origin?  date, version, hashes and all that it takes to do it again
local Comparison = {}
Comparison.__index = Comparison

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

-- A comparison without rows.
function M.new()
  local self = setmetatable({ rows = {}, columns = {}, tasks = {}, heat = {}, weights = {} }, Comparison)
  for i, c in ipairs(columns) do self.columns[i] = c end
  return self
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
    for j = math.max(1, i - 6), i - 1 do before[#before + 1] = piece(p.target[j]) end
    list[k] = { place = i, before = table.concat(before), text = piece(p.target[i]), kld = q.kld[i], nll = q.nll_q[i],
      was_nll = p.nll_p[i], top = piece(q.top_q[i]), was_top = piece(p.top_p[i]) }
  end
  return list
end

-- The passage shown token by token: texts, and numbers of each candidate.
local function passage(rows, found, vocab, n)
  if not vocab then return nil end
  local p = { tokens = {}, models = {} }
  local at = found[1].positions
  local function piece(id) return vocab:piece(id, true) end
  for i = 1, math.min(n, #at.target) do
    p.tokens[i] = { text = piece(at.target[i]), nll = at.nll_p[i], top = piece(at.top_p[i]) }
  end
  for k, d in ipairs(found) do
    local m = { name = rows[k + 1].name, kld = {}, nll = {}, top = {} }
    for i = 1, #p.tokens do
      m.kld[i], m.nll[i], m.top[i] = d.positions.kld[i], d.positions.nll_q[i], piece(d.positions.top_q[i])
    end
    m.worst = worst_tokens(d.positions, at, piece)
    p.models[k] = m
  end
  return p
end

--- Takes what divergence found: fills in the rows (the reference first, then
--- those of `found`) and the passage of n tokens.
---@param rows table[]       { name =, bytes =, bpw =, ... }
---@param found wane.Divergence[]  with positions
---@param vocab wane.Vocab|nil
---@param n integer
function Comparison:_add(rows, found, vocab, n)
  self.rows = rows
  reference_row(rows[1], found[1])
  for i, d in ipairs(found) do add_divergence(rows[i + 1], d) end
  self.tokens = found[1].tokens
  self.passage = passage(rows, found, vocab, n)
end

--- The table (wane.report).
---
---     print(c:table():markdown())
---@return wane.Table
---@error none
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
---@error none
function Comparison:text(room) return self:table():text(room) end
function Comparison:markdown() return self:table():markdown() end
function Comparison:csv() return self:table():csv() end
function Comparison:__tostring() return self:text() end

--- Everything as JSON: rows, tasks, heat maps, the passage.
---
---     print(#c:json() > 100)   --> true
---@error none
function Comparison:json()
  return report.json { rows = self.rows, tasks = self.tasks, heat = self.heat, passage = self.passage,
    tokens = self.tokens, context = self.context, machine = self.cpu.name, origin = self.origin }
end

--- The report: one HTML page that needs no network.
---
---     print(#c:html "Mine" > 1000)   --> true
---@param title? string
---@error none
function Comparison:html(title) return require("wane.eval.page")(self, title) end

--- Rows that nothing beats in both size and KLD, smallest first. Those that are
--- equal in both stand together.
---
---     for _, row in ipairs(c:pareto()) do print(row.name, row.bytes, row.kld) end
---@return table[]
---@error none
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

return M
