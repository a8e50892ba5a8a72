--- What a model can do: tasks, made from seeds, read from files, or written
--- by the user.
---
---     local results = assert(tasks.run(model, { "passkey", "copy", "arc.jsonl", my_function }))
---     print(tasks.table(results))
---
--- A task is { name =, run = function(probe, shared) -> result }, or just the
--- function. A result is a number, or { score =, err =, n =, better = "higher"
--- or "lower", unit =, groups = {...} }. The probe (wane.eval.tasks.probe) asks
--- the model: probe:score(prompt, answer), probe:choose(prompt, choices),
--- probe:generate(prompt, n).
local choice = require "wane.eval.tasks.choice"
local made = require "wane.eval.tasks.made"
local options = require "wane.options"
local probes = require "wane.eval.tasks.probe"
local report = require "wane.report"
local run = require "wane.eval.run"

local M = {
  passkey = made.passkey, arithmetic = made.arithmetic, copy = made.copy, induction = made.induction,
  rare = require "wane.eval.tasks.rare", choice = choice.task,
}

--- Names of the tasks that need no file.
M.names = { "passkey", "arithmetic", "rare", "copy", "induction" }

---@class wane.Task
---@field name string
---@field run fun(probe: wane.Probe, shared: table): table|number|nil, string?, string?

---@class wane.TaskResult
---@field name string
---@field score number
---@field err number?      standard error of the score
---@field n integer?       questions, or tokens
---@field better string    "higher" or "lower"
---@field unit string
---@field chance number?   score of guessing
---@field nll number?      loss per token of the right answers
---@field groups table[]?  { name, n, score, nll }

local by_name = {}
for _, name in ipairs(M.names) do by_name[name] = true end

-- The task that a name, a file of JSON lines, a table or a function means.
-- @param x any
-- @param i? integer  its place, to name functions
-- @return wane.Task
function M.resolve(x, i)
  if type(x) == "function" then return { name = "task " .. (i or 1), run = x } end
  if type(x) == "table" and type(x.run) == "function" then
    return { name = x.name or "task " .. (i or 1), run = x.run }
  end
  if type(x) == "string" and by_name[x] then return M[x]() end
  if type(x) == "string" and x:find "%.jsonl?$" then return choice.task { path = x } end
  options.misuse(("eval.tasks: no task '%s': want %s, a file of JSON lines (.jsonl), or a function"):format(
    tostring(x), table.concat(M.names, ", ")))
end

-- A result in its full form.
local function complete(result, name)
  if type(result) == "number" then result = { score = result } end
  if type(result) ~= "table" or type(result.score) ~= "number" then
    error(("wane: task '%s' returned a %s, want a number or a table with a score"):format(name, type(result)), 0)
  end
  result.name = name
  result.better = result.better or "higher"
  result.unit = result.unit or ""
  return result
end

local check = options.checker("eval.tasks.run", {
  text = run.text, context = options.context, threads = options.threads, progress = "function",
})

--- Runs tasks on a model.
---
---     local results = assert(wane.eval.tasks.run(model, { wane.eval.tasks.copy { n = 1 } }))
---     print(results[1].name, results[1].score)
---@param model wane.Model
---@param list any[]  names, files, tasks, functions
---@param opts? { text?: string, context?: integer, threads?: integer, progress?: fun(p: table) }
---@return wane.TaskResult[]|nil
---@return string? message
---@return string? code
function M.run(model, list, opts)
  options.argument("eval.tasks.run", "model", model, run.model)
  options.argument("eval.tasks.run", "list", list, options.list "any")
  opts = check(opts)
  local todo = {}
  for i, x in ipairs(list) do todo[i] = M.resolve(x, i) end
  local probe, message, code = probes.new(model, { context = opts.context, threads = opts.threads })
  if not probe then return nil, message, code end
  local results = {}
  for i, task in ipairs(todo) do
    if opts.progress then opts.progress { done = i - 1, total = #todo, task = task.name } end
    local fine, result, why, kind = pcall(task.run, probe, opts)
    if not fine or result == nil then
      probe:close()
      if not fine then error(result, 0) end
      return nil, ("task %s: %s"):format(task.name, why or "returned nothing"), kind or "EDATA"
    end
    results[i] = complete(result, task.name)
  end
  probe:close()
  return results
end

--- Results as a table.
---
---     print(wane.eval.tasks.table(results))
---@param results wane.TaskResult[]
---@return wane.Table
---@error none
function M.table(results)
  local t = report.table {
    { key = "name", title = "task" }, { key = "score", title = "score", format = "%.4f" },
    { key = "err", title = "+/-", format = "%.4f" }, { key = "n", title = "n", format = "%d" },
    { key = "chance", title = "chance", format = "%.2f" }, { key = "nll", title = "nats/token", format = "%.4f" },
    { key = "unit", title = "score is" }, { key = "better", title = "better" },
  }
  for _, r in ipairs(results) do
    t:add(r)
    for _, g in ipairs(r.groups or {}) do
      t:add { name = "  " .. g.name, score = g.score, err = g.err, n = g.n, nll = g.nll }
    end
  end
  return t
end

return M
