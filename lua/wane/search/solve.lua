--- Spending a budget: the type of every tensor such that the sum of losses is
--- least.
---
--- Losses of tensors add up (small changes), so this is a knapsack with one
--- choice per tensor. Of each tensor only the lower convex hull of (bytes,
--- loss) can be part of a best mix under a Lagrange multiplier; walking all
--- hulls together in order of loss saved per byte gives the whole Pareto
--- front. For one budget a table over all budgets up to it (dynamic
--- programming) does better still, and exchanges use up what rounding left.
local options = require "wane.options"
local quantize = require "wane.quantize"
local recipes = require "wane.recipe"
local report = require "wane.report"
local types = require "wane.recipe.types"

local M = {}

---@class wane.Solution
---@field types table<string, string>  by tensor name
---@field recipe wane.Recipe
---@field bytes integer      of tensor data
---@field file_bytes integer? of the whole file, when the budget was given in bytes
---@field bpw number
---@field kld number         sum of the losses: an estimate
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

local check = options.checker("recipe.solve", {
  table = a_table, model = "table", text = options.either("string", options.token_ids), bpw = a_budget, bytes = a_budget,
  kld = a_budget, types = options.list("string", 1), floors = pairs_of_types, pins = pairs_of_types, sensitivity = "table",
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

-- Options of each tensor, small to large, none dominated.
local function options_of(o, rows)
  local by, order = {}, {}
  for _, r in ipairs(rows) do
    if not by[r.tensor] then
      by[r.tensor] = {}
      order[#order + 1] = r.tensor
    end
    if allowed(o, r) then table.insert(by[r.tensor], r) end
  end
  for _, name in ipairs(order) do
    local list, kept = by[name], {}
    if #list == 0 then return nil, ("no allowed type for %s"):format(name), "EDATA" end
    table.sort(list, function(a, b)
      if a.bytes ~= b.bytes then return a.bytes < b.bytes end
      if a.kld ~= b.kld then return a.kld < b.kld end
      return a.type < b.type
    end)
    for _, r in ipairs(list) do
      if #kept == 0 or r.kld < kept[#kept].kld then kept[#kept + 1] = r end
    end
    by[name] = kept
  end
  return order, by
end

-- Corners of the lower convex hull.
local function hull_of(list)
  local hull = {}
  for _, r in ipairs(list) do
    while #hull >= 2 do
      local a, b = hull[#hull - 1], hull[#hull]
      if (a.kld - b.kld) * (r.bytes - b.bytes) < (b.kld - r.kld) * (b.bytes - a.bytes) then
        hull[#hull] = nil
      else
        break
      end
    end
    hull[#hull + 1] = r
  end
  return hull
end

-- All upgrades along the hulls, best first.
local function upgrades_of(order, by)
  local steps = {}
  for k, name in ipairs(order) do
    local hull = hull_of(by[name])
    for i = 2, #hull do
      steps[#steps + 1] = {
        tensor = name, from = hull[i - 1], to = hull[i], order = k,
        gain = (hull[i - 1].kld - hull[i].kld) / (hull[i].bytes - hull[i - 1].bytes),
      }
    end
  end
  table.sort(steps, function(a, b)
    if a.gain ~= b.gain then return a.gain > b.gain end
    if a.order ~= b.order then return a.order < b.order end
    return a.to.bytes < b.to.bytes
  end)
  return steps
end

local function start(order, by)
  local s = { chosen = {}, bytes = 0, kld = 0 }
  for _, name in ipairs(order) do
    local r = by[name][1]
    s.chosen[name] = r
    s.bytes, s.kld = s.bytes + r.bytes, s.kld + r.kld
  end
  return s
end

local function take(s, name, to)
  local from = s.chosen[name]
  s.bytes, s.kld = s.bytes + to.bytes - from.bytes, s.kld + to.kld - from.kld
  s.chosen[name] = to
end

-- The hulls' mix of at most `budget` bytes.
local function by_hulls(order, by, budget)
  local s = start(order, by)
  for _, step in ipairs(upgrades_of(order, by)) do
    if s.chosen[step.tensor] == step.from and s.bytes + step.to.bytes - step.from.bytes <= budget then
      take(s, step.tensor, step.to)
    end
  end
  return s
end

local function gcd(a, b)
  while b > 0 do a, b = b, a % b end
  return a
end

local STEPS = 20000 -- units that a budget is divided into, at most

-- The best mix by dynamic programming over the budget, in units of bytes:
-- exact when all sizes are multiples of the unit, else sizes round up.
local function by_table(order, by, budget)
  local s = start(order, by)
  local unit, spare = 0, budget - s.bytes
  for _, name in ipairs(order) do
    for _, r in ipairs(by[name]) do unit = gcd(unit, r.bytes - by[name][1].bytes) end
  end
  if unit == 0 then return s end
  unit = math.max(unit, math.ceil(spare / STEPS))
  local n = math.floor(spare / unit)
  local gain, pick = {}, {} -- gain[u]: most loss saved with u units
  for u = 0, n do gain[u] = 0 end
  for k, name in ipairs(order) do
    local list, chosen = by[name], {}
    for u = n, 0, -1 do
      local best, at = gain[u], 1
      for i = 2, #list do
        local cost = math.ceil((list[i].bytes - list[1].bytes) / unit)
        if cost > u then break end
        local value = gain[u - cost] + list[1].kld - list[i].kld
        if value > best then best, at = value, i end
      end
      gain[u], chosen[u] = best, at
    end
    pick[k] = chosen
  end
  local u = n
  for k = #order, 1, -1 do
    local list = by[order[k]]
    local r = list[pick[k][u]]
    take(s, order[k], r)
    u = u - math.ceil((r.bytes - list[1].bytes) / unit)
  end
  return s
end

-- Best mix of at most `budget` bytes.
local function fill(order, by, budget)
  local s = start(order, by)
  if s.bytes > budget then return nil, s.bytes end
  s = by_hulls(order, by, budget)
  local other = by_table(order, by, budget)
  if other.kld < s.kld then s = other end
  -- what rounding left: any change that lowers the sum and fits, the best
  -- first; also one tensor down and another up
  for _ = 1, 4 * #order do
    local best, gain = nil, 0
    for _, a in ipairs(order) do
      local ra = s.chosen[a]
      for _, up in ipairs(by[a]) do
        local need, won = s.bytes + up.bytes - ra.bytes - budget, ra.kld - up.kld
        if won > gain and need <= 0 then best, gain = { { a, up } }, won end
        if won > gain and need > 0 then
          for _, b in ipairs(order) do
            local rb = s.chosen[b]
            for _, down in ipairs(by[b]) do
              local lost = down.kld - rb.kld
              if b ~= a and rb.bytes - down.bytes >= need and won - lost > gain then
                best, gain = { { a, up }, { b, down } }, won - lost
              end
            end
          end
        end
      end
    end
    if not best or gain <= 1e-12 then break end
    for _, c in ipairs(best) do take(s, c[1], c[2]) end
  end
  return s
end

-- Cheapest mix whose loss is at most `limit`.
local function reach(order, by, limit)
  local s = start(order, by)
  for _, step in ipairs(upgrades_of(order, by)) do
    if s.kld <= limit then break end
    take(s, step.tensor, step.to)
  end
  if s.kld > limit then return nil, s.kld end
  return s
end

local function finish(sens, order, s)
  local map, choices = {}, {}
  for i, name in ipairs(order) do
    local r = s.chosen[name]
    map[name] = r.type
    choices[i] = { tensor = name, type = r.type, bytes = r.bytes, kld = r.kld }
  end
  local bytes = s.bytes + sens.fixed_bytes
  return setmetatable({
    types = map, choices = choices, bytes = bytes, bpw = bytes * 8 / sens.n_values, kld = s.kld,
    recipe = recipes(function(t) return map[t.name] or "keep" end),
  }, Solution)
end

local function sensitivity_of(o)
  if o.table then return o.table end
  if not (o.model and o.text) then options.misuse "recipe.solve: want a table, or a model and a text" end
  local opts = {}
  for k, v in pairs(o.sensitivity or {}) do opts[k] = v end
  opts.types = opts.types or o.types
  return require("wane.search.sensitivity").measure(o.model, o.text, opts)
end

local function human(n) return report.count(math.ceil(n)) end

-- Why no mix can meet the budget, before anything is measured; or nil.
local function cannot_be_met(o)
  if o.table or not (o.bytes or o.bpw) then return nil end
  local list = o.sensitivity and o.sensitivity.types or o.types
  local least, n = require("wane.search.sensitivity").least(o.model, { types = list })
  if o.bytes and least > o.bytes then
    return ("recipe.solve: %s bytes cannot be met: the smallest mix of these types has %s bytes of data"):format(
      human(o.bytes), human(least))
  elseif o.bpw and least * 8 / n > o.bpw then
    return ("recipe.solve: %g bits per weight cannot be met: the smallest possible is %.3f"):format(o.bpw, least * 8 / n)
  end
end

-- Solves for a file of at most o.bytes bytes: headers and padding are whatever
-- the planner says, so the budget for data is corrected until the file fits.
local function solve_file(o, sens, order, by)
  local data = o.bytes - sens.fixed_bytes
  local message = "the file does not fit"
  for _ = 1, 6 do
    local s, least = fill(order, by, data)
    if not s then
      local fmt = "recipe.solve: %s bytes cannot be met: the smallest mix has %s bytes of data"
        .. " beside headers of %s"
      local head = o.bytes - sens.fixed_bytes - data
      return nil, fmt:format(human(o.bytes), human(least + sens.fixed_bytes), human(head)), "EDATA"
    end
    local solution = finish(sens, order, s)
    local plan, why, code = quantize.plan { from = sens.file, recipe = solution.recipe }
    if not plan then return nil, why, code end
    solution.file_bytes = plan.file_bytes
    if plan.file_bytes <= o.bytes then return solution end
    data = data - (plan.file_bytes - o.bytes)
  end
  return nil, message, "EDATA"
end

---@class wane.SolveOptions
---@field table wane.Sensitivity?    measured already; or
---@field model wane.Model?          unquantized, and
---@field text string|integer[]|nil  to measure with
---@field sensitivity table?         options of that
---@field bpw number?                one of these three is the goal
---@field bytes integer?
---@field kld number?
---@field types string[]?            allowed types
---@field floors table[]?            { pattern, type }: at least so many bits
---@field pins table[]?              { pattern, type }: exactly this

--- The mix of least loss under a budget: bits per weight (bpw), bytes of the
--- file, or the cheapest one under a loss (kld).
---
---     local best = assert(wane.recipe.solve { model = model, text = text, bpw = 4.5 })
---     assert(wane.quantize { from = path, to = "best.gguf", recipe = best.recipe })
---@param o wane.SolveOptions
---@return wane.Solution|nil
---@return string? message
---@return string? code
function M.solve(o)
  o = check(o)
  local goals = (o.bpw and 1 or 0) + (o.bytes and 1 or 0) + (o.kld and 1 or 0)
  if goals ~= 1 then options.misuse "recipe.solve: want one of bpw, bytes and kld" end
  for _, name in ipairs(o.types or {}) do
    if not types.find(name) then options.fail("recipe.solve", "types", "names of types", name) end
  end
  local hopeless = cannot_be_met(o)
  if hopeless then return nil, hopeless, "EDATA" end
  local sens, message, code = sensitivity_of(o)
  if not sens then return nil, message, code end
  local order, by, kind = options_of(o, sens.rows)
  if not order then return nil, by, kind end
  if o.bytes then return solve_file(o, sens, order, by) end
  if o.kld then
    local s, least = reach(order, by, o.kld)
    if not s then
      local fmt = "recipe.solve: a loss of %g cannot be met: the largest mix loses %g"
      return nil, fmt:format(o.kld, least), "EDATA"
    end
    return finish(sens, order, s)
  end
  local s, least = fill(order, by, math.floor(o.bpw * sens.n_values / 8) - sens.fixed_bytes)
  if not s then
    return nil, ("recipe.solve: %g bits per weight cannot be met: the smallest possible is %.3f"):format(
      o.bpw, (least + sens.fixed_bytes) * 8 / sens.n_values), "EDATA"
  end
  return finish(sens, order, s)
end

--- The Pareto front: every mix along the hulls, from the smallest to the
--- largest, as { bpw, bytes, kld }.
---
---     print(wane.recipe.front(s))
---@param o { table: wane.Sensitivity, types: string[]?, floors: table[]?, pins: table[]? }
---@return table[]
function M.front(o)
  o = check_front(o)
  local order, by = options_of(o, o.table.rows)
  if not order then error("wane: " .. by, 2) end
  local s, points = start(order, by), {}
  local function point()
    local bytes = s.bytes + o.table.fixed_bytes
    points[#points + 1] = { bytes = bytes, bpw = bytes * 8 / o.table.n_values, kld = s.kld }
  end
  point()
  for _, step in ipairs(upgrades_of(order, by)) do
    take(s, step.tensor, step.to)
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
  return ("%s\n%.3f bits per weight, estimated loss %.5f"):format(t:text(), self.bpw, self.kld)
end

return M
