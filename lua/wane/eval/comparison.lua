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
local Comparison = {}
Comparison.__index = Comparison

local function percent(v) return ("%.2f %%"):format(100 * v) end

local columns = {
  { key = "name", title = "model" },
  { key = "bytes", title = "bytes", format = report.count, align = "right" },
  { key = "bpw", title = "bits/w", format = "%.2f" },
  { key = "ppl", title = "perplexity", format = "%.4f" },
  { key = "ppl_err", title = "+/-", format = "%.3f" },
  { key = "ppl_change", title = "change", format = function(v) return ("%+.2f %%"):format(100 * v) end, align = "right" },
  { key = "kld", title = "KLD", format = "%.5f" },
  { key = "kld_err", title = "+/-", format = "%.5f" },
  { key = "kld_median", title = "median", format = "%.5f" },
  { key = "kld_p99", title = "p99", format = "%.4f" },
  { key = "kld_max", title = "max", format = "%.3f" },
  { key = "same_top", title = "same top", format = percent, align = "right" },
  { key = "rms_dp", title = "rms dp", format = percent, align = "right" },
  { key = "prompt_tps", title = "prompt t/s", format = "%.0f" },
  { key = "decode_tps", title = "decode t/s", format = "%.0f" },
  { key = "load_seconds", title = "load", format = report.seconds, align = "right" },
  { key = "peak_bytes", title = "memory", format = report.bytes, align = "right" },
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

function Comparison:text() return self:table():text() end
function Comparison:markdown() return self:table():markdown() end
function Comparison:csv() return self:table():csv() end
Comparison.__tostring = Comparison.text

--- Everything as JSON: rows, tasks, heat maps, the passage.
function Comparison:json()
  return report.json { rows = self.rows, tasks = self.tasks, heat = self.heat, passage = self.passage,
    tokens = self.tokens, context = self.context, machine = self.cpu.name }
end

--- The report: one HTML page that needs no network.
---@param title? string
function Comparison:html(title) return require("wane.eval.page")(self, title) end

--- Rows that nothing beats in both size and KLD, smallest first.
---@return table[]
function Comparison:pareto()
  local list, front, best = {}, {}, math.huge
  for _, row in ipairs(self.rows) do
    if row.kld then list[#list + 1] = row end
  end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes < b.bytes end
    return a.kld < b.kld
  end)
  for _, row in ipairs(list) do
    if row.kld < best then
      best = row.kld
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
