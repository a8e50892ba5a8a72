--- Spending a budget: the type of every tensor such that the sum of losses is
--- least under limits of bytes and of time (wane.search.knapsack says how).
local knapsack = require "wane.search.knapsack"
local options = require "wane.options"
local quantize = require "wane.quantize"
local rates = require "wane.search.rates"
local recipes = require "wane.recipe"
local report = require "wane.report"
local sensitivity = require "wane.search.sensitivity"
local types = require "wane.recipe.types"

local M = {}

---@class wane.Solution
---@field types table<string, string>  by tensor name
---@field recipe wane.Recipe
---@field bytes integer      of tensor data
---@field file_bytes integer? of the whole file, when the budget was given in bytes
---@field bpw number
---@field kld number         sum of the losses: an estimate
---@field tokens_per_second number?  where time was limited: an estimate, at short contexts
---@field choices table[]    { tensor, type, bytes, kld }
local Solution = {}
Solution.__index = Solution

local pairs_of_types = options.type("a list of { pattern, type }", function(v)
  if type(v) ~= "table" then return false end
  for _, p in ipairs(v) do
    if type(p) ~= "table" or type(p[1]) ~= "string" or not pcall(string.find, "", p[1]) or not types.find(p[2]) then
      return false
    end
  end
  return true
end)
local a_table = options.type("a table of wane.eval.sensitivity", function(v) return type(v) == "table" and v.rows and v.n_values end)
local a_budget = options.type("a positive number", function(v) return type(v) == "number" and v > 0 and v < math.huge end)

local a_pair = options.type("{ bytes =, tokens_per_second = }, one of them or both", function(v)
  if type(v) ~= "table" or next(v) == nil then return false end
  for key, n in pairs(v) do -- any order
    if key ~= "bytes" and key ~= "tokens_per_second" or type(n) ~= "number" or not (n > 0 and n < math.huge) then return false end
  end
  return true
end)
local some_rates = options.type("a table of wane.recipe.rates", function(v)
  return type(v) == "table" and type(v.bytes) == "table" and type(v.shares) == "table" and type(v.seconds) == "number"
end)

local check = options.checker("recipe.solve", {
  table = a_table, model = "table", text = options.either("string", options.token_ids), bpw = a_budget, bytes = a_budget,
  kld = a_budget, types = options.list("string", 1), floors = pairs_of_types, pins = pairs_of_types, sensitivity = "table",
  budget = a_pair, rates = some_rates, threads = options.threads,
})
local check_front = options.checker("recipe.front", {
  table = options.required(a_table), types = options.list("string", 1), floors = pairs_of_types, pins = pairs_of_types,
})

-- Is a type allowed for a tensor? floors: { pattern, type } - at least as many
-- bits; pins: { pattern, type } - exactly this type.
local function bits(name)
  local t = types.find(name)
  return t.bytes * 8 / t.block
end

local function allowed(o, row)
  for _, p in ipairs(o.pins or {}) do
    if row.tensor:find(p[1]) then return row.type == types.find(p[2]).name end
  end
  for _, p in ipairs(o.floors or {}) do
    if row.tensor:find(p[1]) and bits(row.type) < bits(p[2]) then return false end
  end
  if o.types then
    for _, name in ipairs(o.types) do
      if row.type == types.find(name).name then return true end
    end
    return false
  end
  return true
end

-- The allowed choices of each tensor; with rates, what a token spends on each.
local function options_of(o, rows, speed)
  local by, order = {}, {}
  for _, r in ipairs(rows) do
    if not by[r.tensor] then
      by[r.tensor] = {}
      order[#order + 1] = r.tensor
    end
    if allowed(o, r) then
      table.insert(by[r.tensor], { tensor = r.tensor, type = r.type, bytes = r.bytes, kld = r.kld,
        seconds = speed and rates.seconds(speed, r.tensor, r.type, r.bytes) })
    end
  end
  for _, name in ipairs(order) do
    if #by[name] == 0 then return nil, ("no allowed type for %s"):format(name), "EDATA" end
  end
  return order, by
end

local function finish(sens, order, s, speed)
  local map, choices = {}, {}
  for i, name in ipairs(order) do
    local r = s.chosen[name]
    map[name] = r.type
    choices[i] = { tensor = name, type = r.type, bytes = r.bytes, kld = r.kld }
  end
  local bytes = s.bytes + sens.fixed_bytes
  return setmetatable({
    types = map, choices = choices, bytes = bytes, bpw = bytes * 8 / sens.n_values, kld = s.kld,
    tokens_per_second = speed and 1 / (s.seconds + speed.seconds),
    recipe = recipes(function(t) return map[t.name] or "keep" end),
  }, Solution)
end

local function sensitivity_of(o)
  if o.table then return o.table end
  local opts = {}
  for k, v in pairs(o.sensitivity or {}) do opts[k] = v end
  opts.types = opts.types or o.types
  return sensitivity.measure(o.model, o.text, opts)
end

local function human(n) return report.count(math.ceil(n)) end

-- The most bytes that a mix can have.
local function largest(order, by)
  local sum = 0
  for _, name in ipairs(order) do
    local most = 0
    for _, r in ipairs(by[name]) do most = math.max(most, r.bytes) end
    sum = sum + most
  end
  return sum
end

-- Why no mix of `rows` can be fast enough, or small enough and fast enough; nil
-- when one can.
local function too_slow(o, order, by, fixed, speed)
  local want = o.budget.tokens_per_second
  local room = o.budget.bytes and o.budget.bytes - fixed or largest(order, by)
  local all = knapsack.fastest(order, by, largest(order, by)) + speed.seconds
  local within = knapsack.fastest(order, by, room) + speed.seconds
  if 1 / all < want then
    return ("recipe.solve: %g tokens a second cannot be met: the fastest mix of these types makes %.1f, %.1f %% too few"):format(
      want, 1 / all, 100 * (1 - 1 / all / want))
  elseif 1 / within < want then
    return ("recipe.solve: %g tokens a second cannot be met within %s bytes: the fastest such mix makes %.1f, %.1f %% too few"):format(
      want, human(o.budget.bytes), 1 / within, 100 * (1 - 1 / within / want))
  end
end

-- Why no mix can meet the budget, before anything of losses is measured; or nil.
local function cannot_be_met(o, speed)
  local rows, fixed, n
  if o.table then
    rows, fixed, n = o.table.rows, o.table.fixed_bytes, o.table.n_values
  else
    rows, fixed, n = sensitivity.choices(o.model, { types = o.sensitivity and o.sensitivity.types or o.types })
  end
  local order, by = options_of(o, rows, speed)
  if not order then return by end
  local least = fixed + knapsack.start(order, knapsack.undominated(order, by)).bytes
  local bytes = o.budget and o.budget.bytes
  if bytes and least > bytes then
    return ("recipe.solve: %s bytes cannot be met: the smallest mix of these types has %s bytes of data, %s more"):format(
      human(bytes), human(least), human(least - bytes))
  elseif o.bpw and least * 8 / n > o.bpw then
    return ("recipe.solve: %g bits per weight cannot be met: the smallest possible is %.3f"):format(o.bpw, least * 8 / n)
  end
  if speed then return too_slow(o, order, by, fixed, speed) end
end

-- Solves for a file of at most that many bytes: headers and padding are whatever
-- the planner says, so the budget for data is corrected until the file fits.
local function solve_file(o, sens, order, by, speed)
  local bytes = o.budget.bytes
  local data, seconds = bytes - sens.fixed_bytes, speed and 1 / o.budget.tokens_per_second - speed.seconds
  for _ = 1, 6 do
    local s, least, slow = knapsack.fill(order, by, data, seconds)
    local head = bytes - sens.fixed_bytes - data
    if not s and least then
      return nil, ("recipe.solve: %s bytes cannot be met: the smallest mix has %s bytes of data beside headers of %s"):format(
        human(bytes), human(least + sens.fixed_bytes), human(head)), "EDATA"
    elseif not s then
      return nil, ("recipe.solve: %g tokens a second cannot be met within %s bytes, headers of %s among them: the fastest such mix makes %.1f")
        :format(o.budget.tokens_per_second, human(bytes), human(head), 1 / (slow + speed.seconds)), "EDATA"
    end
    local solution = finish(sens, order, s, speed)
    local plan, why, code = quantize.plan { from = sens.file, recipe = solution.recipe }
    if not plan then return nil, why, code end
    solution.file_bytes = plan.file_bytes
    if plan.file_bytes <= bytes then return solution end
    data = data - (plan.file_bytes - bytes)
  end
  return nil, "the file does not fit", "EDATA"
end

-- What tokens cost, where that is limited: given, or measured on this machine.
local function rates_of(o)
  if not (o.budget and o.budget.tokens_per_second) then return nil end
  if o.rates then return o.rates end
  local model, message, code = o.model
  if not model then
    model, message, code = require("wane.model").load(o.table.file)
    if not model then return nil, message, code end
  end
  local list = o.types or o.sensitivity and o.sensitivity.types
  if o.table then
    local seen = {}
    list = {}
    for _, r in ipairs(o.table.rows) do
      if not seen[r.type] then list[#list + 1], seen[r.type] = r.type, true end
    end
  end
  local r
  r, message, code = rates.measure(model, { types = list, threads = o.threads })
  if model ~= o.model then model:close() end
  return r, message, code
end

---@class wane.SolveOptions
---@field table wane.Sensitivity?    measured already; or
---@field model wane.Model?          unquantized, and
---@field text string|integer[]|nil  to measure with
---@field sensitivity table?         options of that
---@field bpw number?                one of these four is the goal
---@field bytes integer?
---@field kld number?
---@field budget { bytes: integer?, tokens_per_second: number? }|nil  one limit, or both
---@field rates wane.TokenRates?     what tokens cost (default: measured on this machine, a few seconds)
---@field threads integer?           that tokens are made with (all)
---@field types string[]?            allowed types
---@field floors table[]?            { pattern, type }: at least so many bits
---@field pins table[]?              { pattern, type }: exactly this

--- The mix of least loss under a budget: bits per weight (bpw), bytes of the
--- file, tokens a second (budget: that and bytes), or the cheapest one under a
--- loss (kld). What cannot be met is said before losses are measured.
---
---     local best = assert(wane.recipe.solve { model = model, text = text, bpw = 4.5 })
---     assert(wane.quantize { from = path, to = "best.gguf", recipe = best.recipe })
---@param o wane.SolveOptions
---@return wane.Solution|nil
---@return string? message
---@return string? code
function M.solve(o)
  o = check(o)
  local goals = (o.bpw and 1 or 0) + (o.bytes and 1 or 0) + (o.kld and 1 or 0) + (o.budget and 1 or 0)
  if goals ~= 1 then options.misuse "recipe.solve: want one of bpw, bytes, kld and budget" end
  if not o.table and not (o.model and o.text) then options.misuse "recipe.solve: want a table, or a model and a text" end
  for _, name in ipairs(o.types or {}) do
    if not types.find(name) then options.fail("recipe.solve", "types", "names of types", name) end
  end
  o.budget = o.bytes and { bytes = o.bytes } or o.budget
  local speed, message, code = rates_of(o)
  if message then return nil, message, code end
  local hopeless = cannot_be_met(o, speed)
  if hopeless then return nil, hopeless, "EDATA" end
  local sens
  sens, message, code = sensitivity_of(o)
  if not sens then return nil, message, code end
  local order, by = options_of(o, sens.rows, speed)
  if not order then return nil, by, "EDATA" end
  if o.budget and o.budget.bytes then return solve_file(o, sens, order, by, speed) end
  if o.kld then
    local s, least = knapsack.reach(order, knapsack.undominated(order, by), o.kld)
    if s then return finish(sens, order, s) end
    return nil, ("recipe.solve: a loss of %g cannot be met: the largest mix loses %g"):format(o.kld, least), "EDATA"
  end
  local room = o.bpw and math.floor(o.bpw * sens.n_values / 8) - sens.fixed_bytes or largest(order, by)
  -- cannot_be_met has seen to it that there is a mix
  return finish(sens, order, assert(knapsack.fill(order, by, room, speed and 1 / o.budget.tokens_per_second - speed.seconds)), speed)
end

--- The Pareto front: every mix along the hulls, from the smallest to the
--- largest, as { bpw, bytes, kld }.
---
---     print(wane.recipe.front(s))
---@param o { table: wane.Sensitivity, types: string[]?, floors: table[]?, pins: table[]? }
---@return table[]
---@error a table without choices for a tensor
function M.front(o)
  o = check_front(o)
  local order, by = options_of(o, o.table.rows)
  if not order then error("wane: " .. by, 2) end
  by = knapsack.undominated(order, by)
  local s, points = knapsack.start(order, by), {}
  local function point()
    local bytes = s.bytes + o.table.fixed_bytes
    points[#points + 1] = { bytes = bytes, bpw = bytes * 8 / o.table.n_values, kld = s.kld }
  end
  point()
  for _, step in ipairs(knapsack.upgrades(order, by)) do
    knapsack.take(s, step.tensor, step.to)
    point()
  end
  return points
end

Solution.__tostring = function(self)
  local t = report.table {
    { key = "tensor", title = "tensor" }, { key = "type", title = "type" },
    { key = "bytes", title = "bytes", align = "right" }, { key = "kld", title = "loss", format = "%.3e" },
  }
  for _, c in ipairs(self.choices) do t:add(c) end
  local line = ("%s\n%.3f bits per weight, estimated loss %.5f"):format(t:text(), self.bpw, self.kld)
  return self.tokens_per_second and ("%s, about %.1f tokens a second"):format(line, self.tokens_per_second) or line
end

return M
