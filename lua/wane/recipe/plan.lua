--- Decides the type of every tensor before anything is written.
--
-- A plan is a list of decisions in output order with the reason of each, the
-- sizes that follow, and everything that the user should know: fallbacks,
-- missing importance, requantizing. Nothing is read from the weights, unless
-- a recipe measures errors.
local account = require "wane.recipe.account"
local choose = require "wane.recipe.choose"
local regex = require "wane.recipe.regex"
local report = require "wane.report"
local types = require "wane.recipe.types"
local view = require "wane.recipe.view"

local M = {}

---@class wane.Decision
---@field name string         in the output
---@field source_name string
---@field index integer       tensor number in the source
---@field role string
---@field shape integer[]
---@field n_values integer
---@field from string         type in the source
---@field to string
---@field wanted string       type that the recipe chose; differs from `to` after a fallback
---@field reason string       which rule chose it
---@field fell_back boolean
---@field requires_imatrix boolean  llama.cpp refuses to make it without one
---@field importance boolean  importance is used for it
---@field bytes_from integer
---@field bytes integer

---@class wane.Plan
---@field tensors wane.Decision[]
---@field recipe string       what was asked for, printable
---@field title string        the same in a few words
---@field file_type integer?  general.file_type of the output
---@field bytes_from integer
---@field bytes integer       tensor data, without header and padding
---@field n_values integer
---@field bpw number          bits per weight of the output
---@field n_fallback integer
---@field fallback_share number  share of all weights that fell back, 0 to 1
---@field requires_imatrix boolean  a real run needs an imatrix that is not given
---@field warnings string[]

local Plan = {}
Plan.__index = Plan

-- An error on its way out of the plan: text and code.
local function fail(code, fmt, ...) error({ plan = fmt:format(...), code = code }, 0) end

local function checked_type(name, what)
  local t, msg = types.usable(name)
  if not t then fail("EARG", "%s: %s", what, msg) end
  return t.name
end

-- Options that name types, checked and in canonical spelling.
local function compile_options(o)
  local c = { patterns = {}, used = {} }
  for _, key in ipairs { "output_tensor_type", "token_embedding_type" } do
    if o[key] ~= nil then c[key] = checked_type(o[key], key) end
  end
  for i, p in ipairs(o.tensor_types or {}) do
    local pattern, to = p[1] or p.pattern, p[2] or p.type
    if type(pattern) ~= "string" then fail("EARG", "tensor_types[%d]: want { pattern, type }", i) end
    local search, msg = regex.compile(pattern)
    if not search then fail("EARG", "tensor_types[%d]: %s", i, msg) end
    local also = p.also and regex.compile(p.also) -- another spelling, from the command line
    if also then
      local exact = search
      search = function(name) return exact(name) or also(name) end
    end
    c.patterns[i] = {
      text = pattern, search = search,
      to = checked_type(to, ("tensor_types[%d]"):format(i)),
    }
  end
  local f = o.fallback
  if f == nil or f == "llama.cpp" or f == "error" then
    c.fallback = f or "llama.cpp"
  else
    c.fallback = checked_type(f, "fallback")
  end
  return c
end

local function is_block_type(name) return types.find(name).class == "quant" end

local function by_pattern(self, t)
  for _, p in ipairs(self.options.patterns) do
    if p.search(t.name) then return p.to, ("tensor_types '%s'"):format(p.text), p end
  end
end

-- What an option decides for a tensor: type, reason, and the pattern if it was one.
local function by_option(self, t)
  local o = self.options
  if self.leave_output and t.name == "output.weight" then
    o.used.leave_output_tensor = true
    return t.type, "leave_output_tensor"
  end
  if o.token_embedding_type and t.role == "token_embd" then
    o.used.token_embedding_type = true
    return o.token_embedding_type, "token_embedding_type"
  end
  if o.output_tensor_type and t.role == "output" then
    o.used.output_tensor_type = true
    return o.output_tensor_type, "output_tensor_type"
  end
  return by_pattern(self, t)
end

-- What the base of the recipe says: a mix or a function.
local function base_choice(self, t, v)
  local base = self.recipe._base
  if base.fn then
    local to = base.fn(v)
    if to == nil then
      fail("EARG", "recipe: the function chose nothing for %s (want a type name or 'keep')", t.name)
    end
    return to, "function"
  end
  local mix = base.mix
  if not is_block_type(mix.base) then return mix.base, mix.name end
  if self.pure then return mix.base, mix.name .. " pure" end
  local output = self.options.output_tensor_type
  if output and t.role == "token_embd" and self.chooser.tied then self.options.used.output_tensor_type = true end
  local to, msg = self.chooser:pick(t, output, types.block_of)
  if not to then fail("EFORMAT", "%s", msg) end
  return to, ("%s: %s"):format(mix.name, t.role)
end

local function by_rules(self, t, v, to, reason)
  local decided, asked = nil, {}
  for _, rule in ipairs(self.recipe._rules) do
    view.set_chosen(v, to)
    -- tests of the user's see the view, those by name, layer and role need none
    local hit
    if rule.selector then hit = rule.test(t) else hit = rule.test(v) end
    if hit then
      asked[#asked + 1] = rule
      local chosen = rule.to
      if type(chosen) == "function" then chosen = chosen(v) end
      if chosen ~= nil then to, reason, decided = chosen, rule.text, rule end
    end
  end
  local by = decided and ("%s (%s)"):format(decided.text, decided.where) or "the base"
  for _, rule in ipairs(asked) do self.account:matched(rule, rule ~= decided and by or nil) end
  return to, reason
end

local function resolve(name, t, reason)
  if name == "keep" then return t.type end
  return checked_type(name, ("recipe: %s for %s"):format(reason, t.name))
end

-- The wanted type of a tensor and why, before rows that do not fit.
local function wanted(self, t)
  if self.only_copy then return t.type, "kept" end
  if not t.quantizable then
    self.account:settled(t)
    return t.type, "kept"
  end
  local chosen, why, winner = by_option(self, t)
  if chosen then
    self.account:settled(t, why, winner)
    return chosen, why
  end
  local v = view.new(t, self.model, self.measure, self.stats and self.stats(t) or nil)
  local to, reason = base_choice(self, t, v)
  to, reason = by_rules(self, t, v, to, reason)
  return resolve(to, t, reason), reason
end

-- The type that is used where rows do not fill the blocks of the wanted one.
local function fitting(self, t, to)
  local block = types.block_of(to)
  if to == t.type or t.n_cols % block == 0 then return to end
  local policy = self.options.fallback
  local problem = ("%s: rows of %d values do not fill the blocks of %d of %s"):format(
    t.name, t.n_cols, block, to)
  if policy == "error" then fail("EFORMAT", "%s; fallback = 'error' forbids another type", problem) end
  if policy ~= "llama.cpp" then
    if t.n_cols % types.block_of(policy) == 0 then return policy end
    fail("EFORMAT", "%s, and not those of fallback type %s either", problem, policy)
  end
  local other = choose.substitute(to, t.n_cols, types.block_of)
  if not other then
    fail("EFORMAT", "%s; no tensor type fallback is defined for type %s (choose one with fallback = TYPE)",
      problem, to)
  end
  return other
end

local source_ok = { f32 = true, f16 = true, bf16 = true }

local function check_conversion(self, d)
  if d.from == d.to then return end
  local t = types.find(d.from)
  if not source_ok[d.from] and t.class ~= "quant" then
    fail("EUNSUP", "%s: cannot convert from type %s", d.name, d.from)
  end
  if t.class == "quant" then
    if not self.allow_requantize then
      fail("EUNSUP", "%s: requantizing from type %s is disabled: it adds the errors of both types; "
        .. "quantize from an F16 or F32 file, or allow it (allow_requantize = true)", d.name, d.from)
    end
    self.n_requantized = self.n_requantized + 1
  end
end

-- Importance of the tensor: present and of the right width, or a reason not.
local function check_importance(self, t, d)
  if not self.imatrix or d.from == d.to then return end
  local n = self.imatrix:width(t.source_name)
  local want = t.n_cols * (t.shape[3] or 1)
  if not n then
    -- nobody measures these two
    if t.role == "token_embd" or t.role == "output" then return end
    self.missing[#self.missing + 1] = t.source_name
  elseif n == want then
    d.importance = true
  elseif t.role == "token_embd" then
    self:warn("%s: the imatrix has %d values, the tensor wants %d: not used", t.name, n, want)
  else
    fail("EFORMAT", "%s: the imatrix has %d values, the tensor wants %d: it was made for another model",
      t.name, n, want)
  end
end

-- Types whose encoder cannot do without importance at all.
local encoder_needs = { iq2_xxs = true, iq2_xs = true, iq1_s = true }

local function check_requirement(self, d)
  if not d.requires_imatrix and not (encoder_needs[d.to] and d.from ~= d.to) then return end
  if d.importance or (self.imatrix and d.from == d.to) then return end
  self.requires_imatrix = self.requires_imatrix or not self.imatrix
  if not self.dry_run then self.unmet[#self.unmet + 1] = d end
end

-- All tensors that lack importance at once, so that one run tells everything.
local function check_unmet(self)
  local d = self.unmet[1]
  if not d then return end
  local names = {}
  for i, u in ipairs(self.unmet) do names[i] = u.name end
  if self.imatrix then
    fail("EDATA", "%s: missing importance matrix for a very low-bit type (%s): "
      .. "calibrate with it, or choose another type for it", account.names(names), d.to)
  end
  fail("EDATA", "%s: %s: this quantization requires an imatrix! "
    .. "(make one with wane.calibrate.imatrix, or choose a larger mix)", account.names(names), d.to)
end

-- Formats defined in Lua have no place in a file.
local function check_writable(self, d)
  local _, msg = types.writable(d.to)
  if msg and not self.in_memory then fail("EUNSUP", "%s: %s", d.name, msg) end
end

local function decide(self, t)
  local want, reason = wanted(self, t)
  local to = fitting(self, t, want)
  local d = {
    name = t.name, source_name = t.source_name, index = t.index, role = t.role, shape = t.shape,
    n_values = t.n_values, from = t.type, to = to, wanted = want, reason = reason,
    layer = t.layer, shard = t.shard, n_cols = t.n_cols, n_rows = t.n_rows,
    fell_back = to ~= want, importance = false, requires_imatrix = false,
    bytes_from = types.bytes_of(t.type, t.n_cols, t.n_rows),
    bytes = types.bytes_of(to, t.n_cols, t.n_rows),
  }
  if t.quantizable and not self.only_copy then
    local mix = self.recipe._base.mix
    d.requires_imatrix = choose.requires_imatrix(t.role, to, mix and mix.name)
    if d.to ~= d.from then check_writable(self, d) end
    check_conversion(self, d)
    check_importance(self, t, d)
    check_requirement(self, d)
  end
  return d
end

-- Options that name one tensor, and why each may have had nothing to say.
local single = {
  output_tensor_type = "no tensor of the model takes it (there is no output.weight, or another option decides)",
  token_embedding_type = "the model has no token embeddings that can be quantized",
  leave_output_tensor = "the model has no output.weight (the token embeddings serve as output)",
}

-- Rules, patterns and options that did nothing are mistakes of the user.
local function check_rules_used(self)
  if self.only_copy then return end
  local idle = self.account:idle()
  if idle then fail("EFORMAT", "%s", idle) end
  for _, key in ipairs { "output_tensor_type", "token_embedding_type" } do
    if self.options[key] and not self.options.used[key] then fail("EFORMAT", "%s: %s", key, single[key]) end
  end
  if self.leave_output and not self.options.used.leave_output_tensor then
    self:warn("leave_output_tensor does nothing: %s", single.leave_output_tensor)
  end
end

-- general.file_type: the mix, else the mix whose base is the commonest type.
local function file_type(self, plan)
  local base = self.recipe._base
  if self.only_copy then return nil end
  if base.mix then return base.mix.id end
  local values, best = {}, nil
  for _, d in ipairs(plan.tensors) do
    values[d.to] = (values[d.to] or 0) + d.n_values
    if not best or values[d.to] > values[best] then best = d.to end
  end
  local usual = { q2_K = 10, q3_K = 12, q4_K = 15, q5_K = 17 }
  if usual[best] then return usual[best] end
  local mixes = require "wane.recipe.mixes"
  for _, name in ipairs(mixes.names) do
    if mixes.mixes[name].base == best then return mixes.mixes[name].id end
  end
  return nil
end

local function warn_all(self, plan)
  if #self.missing > 0 then
    self:warn("the imatrix has no data for %d tensors (%s): they are quantized without",
      #self.missing, account.names(self.missing))
  end
  if plan.n_fallback > 0 then
    self:warn("%d of %d tensors (%.1f %% of the weights) fell back to another type: rows do not fill blocks",
      plan.n_fallback, #plan.tensors, 100 * plan.fallback_share)
  end
  if self.n_requantized > 0 then
    self:warn("%d tensors are requantized: the errors of the source stay and new ones are added; "
      .. "the result is worse than from F16", self.n_requantized)
  end
  if self.requires_imatrix then self:warn("a real run will require an imatrix") end
end

local function summarize(self, plan)
  local fallback_values = 0
  plan.bytes, plan.bytes_from, plan.n_values, plan.n_fallback = 0, 0, 0, 0
  for _, d in ipairs(plan.tensors) do
    plan.bytes, plan.bytes_from = plan.bytes + d.bytes, plan.bytes_from + d.bytes_from
    plan.n_values = plan.n_values + d.n_values
    if d.fell_back then
      plan.n_fallback, fallback_values = plan.n_fallback + 1, fallback_values + d.n_values
    end
  end
  plan.bpw = plan.n_values > 0 and plan.bytes * 8 / plan.n_values or 0
  plan.fallback_share = plan.n_values > 0 and fallback_values / plan.n_values or 0
  plan.requires_imatrix = self.requires_imatrix
  plan.file_type = file_type(self, plan)
end

local Planner = {}
Planner.__index = Planner

function Planner:warn(fmt, ...) self.warnings[#self.warnings + 1] = fmt:format(...) end

-- An imatrix that knows none of the model's tensors is not of this model. (What
-- cannot list its names is not asked.)
local function check_overlap(self)
  local im = self.imatrix
  local first = im and im.names and im:names()[1]
  if not first then return end
  for _, t in ipairs(self.model.tensors) do
    if self.imatrix:width(t.source_name) then return end
  end
  fail("EFORMAT", "the imatrix names no tensor of this model (its first is '%s'): it was made for another model", first)
end

local function run(self)
  local mix = self.recipe._base.mix
  check_overlap(self)
  if mix and not mix.base then
    fail("EUNSUP", "%s: invalid output file type %d: %s", mix.name, mix.id, mix.note)
  end
  if self.pure and not mix then fail("EARG", "pure wants a mix, not a function") end
  if mix then self.chooser = choose.new(self.model, mix, self.imatrix ~= nil) end
  self.account = account.new(self.recipe._rules, self.options.patterns)
  local n_rules = #self.recipe._rules
  local plan = { tensors = {}, warnings = self.warnings, recipe = self.recipe:describe(),
    title = (mix and mix.name or "by function") .. (n_rules > 0 and (" and %d rule%s"):format(n_rules, n_rules > 1 and "s" or "") or "") }
  for i, t in ipairs(self.model.tensors) do plan.tensors[i] = decide(self, t) end
  check_unmet(self)
  check_rules_used(self)
  summarize(self, plan)
  warn_all(self, plan)
  return setmetatable(plan, Plan)
end

--- Plans a model.
---@param model wane.ModelDesc
---@param recipe wane.Recipe
---@param opts table  see wane.quantize; plus imatrix (object), measure, stats
---@return wane.Plan?
---@return string? message
---@return string? code "EARG" for mistakes of the caller
function M.make(model, recipe, opts)
  local ok, result = pcall(function()
    return run(setmetatable({
      model = model, recipe = recipe, options = compile_options(opts), imatrix = opts.imatrix,
      pure = opts.pure, only_copy = opts.only_copy, leave_output = opts.leave_output_tensor,
      allow_requantize = opts.allow_requantize, dry_run = opts.dry_run, in_memory = opts.in_memory,
      measure = opts.measure,
      stats = opts.stats, warnings = {}, missing = {}, unmet = {}, n_requantized = 0, requires_imatrix = false,
    }, Planner))
  end)
  if ok then return result end
  if type(result) == "table" and result.plan then return nil, result.plan, result.code end
  error(result, 0)
end

-- A size for people.
local function human(n)
  local units = { "B", "KiB", "MiB", "GiB", "TiB" }
  local u = 1
  while n >= 1024 and u < #units do n, u = n / 1024, u + 1 end
  return (u == 1 and "%d %s" or "%.1f %s"):format(n, units[u])
end

-- The cells of one decision.
local function cells(d)
  return { name = report.printable(d.name), shape = table.concat(d.shape, "x"), change = ("%-8s -> %s"):format(d.from, d.to),
    bytes = d.bytes, reason = report.printable(d.reason) .. (d.fell_back and (" (wanted " .. d.wanted .. ")") or "") }
end

local function columns(...)
  return { { key = "name", title = "tensor" }, { key = "shape", title = "shape", drop = 5 }, { key = "change", title = "type", drop = 0 },
    { key = "bytes", title = "bytes", format = human, align = "right", drop = 2 }, { key = "reason", title = "why", drop = 4 }, ... }
end

--- The decisions as a table: one row per tensor.
---@return wane.Table
function Plan:table()
  local t = report.table(columns())
  for _, d in ipairs(self.tensors) do t:add(cells(d)) end
  return t
end

--- The same with one row for all layers that are treated alike.
---@return wane.Table
function Plan:groups()
  local t, known = report.table(columns({ key = "where", title = "layers", drop = 3 })), {}
  for _, d in ipairs(self.tensors) do
    local row = cells(d)
    if d.layer then row.name = row.name:gsub("^blk%.%d+%.", "blk.*.") end
    local key = table.concat({ row.name, row.shape, row.change, row.reason }, "\0")
    local group = known[key]
    if group then
      group.bytes = group.bytes + d.bytes
    else
      group, row.layers = row, {}
      known[key] = row
      t:add(row)
    end
    if d.layer then table.insert(group.layers, d.layer) end
  end
  for _, row in ipairs(t.rows) do row.where = account.ranges(row.layers) end
  return t
end

local function with_sum(self, text)
  local lines = { text, ("%s: %s -> %s, %.2f bits per weight"):format(
    report.printable(self.title), human(self.bytes_from), human(self.bytes), self.bpw) }
  for _, w in ipairs(self.warnings) do lines[#lines + 1] = "warning: " .. report.printable(w) end
  return table.concat(lines, "\n")
end

--- The plan as text: a row per tensor, then the sum.
---@param room? integer  columns of the terminal
---@return string
function Plan:text(room) return with_sum(self, self:table():text(room)) end

-- What an interactive Lua prints of a result nobody kept: short.
function Plan:__tostring() return with_sum(self, self:groups():text()) end

M.human = human
return M
