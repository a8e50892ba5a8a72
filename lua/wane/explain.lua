--- What a type is, and what a label means.
---
---     print(assert(wane.explain "q4_K"))                       -- bits, layout
---     print(assert(wane.explain "Q4_K_M"))                     -- what gets what
---     print(assert(wane.explain("IQ3_XXS", "model-f16.gguf"))) -- in this file
---
--- A name that is both (Q8_0) is explained as both.
local account = require "wane.recipe.account"
local choose = require "wane.recipe.choose"
local layouts = require "wane.explain.layouts"
local options = require "wane.options"
local recipes = require "wane.recipe"
local report = require "wane.report"
local types = require "wane.recipe.types"

---@class wane.Explanation
---@field name string
---@field kind string          "type", "mix", or "type and mix"
---@field bits_per_weight number?   of the type
---@field block integer?
---@field bytes integer?
---@field formula string?
---@field fields table[]?      { name, bytes, content }
---@field note string
---@field mix wane.Mix?
---@field plan wane.Plan?      with a file
local Explanation = {}
Explanation.__index = Explanation

-- Facts about a type of files.
local function explain_type(self, t)
  local l = layouts.of[t.name] or layouts.plain(t)
  self.type, self.block, self.bytes = t.name, t.block, t.bytes
  self.bits_per_weight = t.bits or 8 * t.bytes / t.block
  if t.class == "custom" then
    self.note = "a format defined in Lua: it can be measured, GGUF cannot hold it"
    return
  end
  self.formula, self.note, self.fields = l.formula, l.note, {}
  for i, f in ipairs(l.fields) do self.fields[i] = { name = f[1], bytes = f[2], content = f[3] } end
  self.facts = require("wane.quant").type(t.name)
end

-- What the mix does to a model such as many have: rules that depend on layer
-- and model say little without one.
local function usual_plan(mix)
  local m = assert(require("wane.fit.measure").open { params = "8B", layers = 32, width = 4096, heads = 32, kv_heads = 8,
    ff = 14336, vocab = 128256 })
  local chosen = assert(m:types(mix.name))
  m:close()
  chosen.plan.warnings = {}
  return chosen.plan
end

local check = options.checker("explain", { model = "path", imatrix = "any" })

--- Explains a type (q4_K), a label (Q4_K_M) or a format defined in Lua.
---@param what string
---@param file? string|{ model?: string, imatrix?: any }  a model: which of its tensors get what
---@return wane.Explanation|nil
---@return string? message
---@return string? code
local function explain(what, file)
  options.argument("explain", "what", what, "string")
  if type(file) == "string" then file = { model = file } end
  file = check(file)
  local t, mix = types.find(what), choose.mix(what)
  if t and mix and mix.name ~= what and t.name == what then mix = nil end -- "q4_K" is the type, "Q4_K" the mix too
  if not t and not mix then
    return nil, ("no type and no label '%s'; types: wane.quant.types(), labels: %s"):format(
      report.printable(what), table.concat(recipes.names(), " ")), "ENOENT"
  end
  local self = setmetatable({ name = mix and mix.name or t.name, mix = mix,
    kind = t and mix and "type and mix" or t and "type" or "mix" }, Explanation)
  if t then explain_type(self, t) end
  if mix then self.mix_note = mix.note end
  if file.model then
    local plan, message, code = require("wane.eval.shrink").plan(file.model, mix and mix.name or t.name,
      { imatrix = file.imatrix })
    if not plan then return nil, message, code end
    self.plan, self.file = plan, file.model
  elseif mix and mix.base then
    self.plan, self.file = usual_plan(mix), "a usual model of 8 billion parameters"
  end
  return self
end

local function type_lines(self, add, draw)
  add("%s: %.4g bits per weight%s", self.type, self.bits_per_weight,
    self.bytes and (" (%d bytes for %d weights)"):format(self.bytes, self.block) or "")
  add("%s", self.note)
  if not self.fields then return end
  add("")
  draw(self.fields)
  add("")
  add("%s", self.formula)
  local f = self.facts
  if f.class == "act" then
    add("for activations only: no tensor of a file has it")
  elseif f.needs_importance then
    add("cannot be made without importance (imatrix)")
  elseif f.uses_importance then
    add("importance (imatrix) makes it better")
  elseif f.class == "quant" then
    add("importance (imatrix) changes nothing")
  end
end

-- Groups decisions by role and type, in the order of their appearance.
local function grouped(plan)
  local groups, order = {}, {}
  for _, d in ipairs(plan.tensors) do
    local role = d.layer and d.name:gsub("^blk%.%d+%.", ""):gsub("%.weight$", "") or d.name:gsub("%.weight$", "")
    local key = role .. "\0" .. d.to
    if not groups[key] then
      groups[key] = { role = role, to = d.to, layers = {}, bytes = 0, values = 0, n = 0, fell_back = 0 }
      order[#order + 1] = groups[key]
    end
    local g = groups[key]
    if d.layer then g.layers[#g.layers + 1] = d.layer end
    g.bytes, g.values, g.n = g.bytes + d.bytes, g.values + d.n_values, g.n + 1
    if d.fell_back then g.fell_back = g.fell_back + 1 end
  end
  return order
end

--- What gets what in the file, as a table.
---
---     print(wane.explain("Q4_K_M", { model = path }):table())
---@return wane.Table
---@error of a type: only a mix chooses types for tensors
function Explanation:table()
  if not self.plan then options.misuse(("explain:table: '%s' is a type: only a mix has a table"):format(self.name)) end
  local t = report.table {
    { key = "role", title = "tensors" }, { key = "to", title = "type" }, { key = "layers", title = "layers" },
    { key = "n", title = "n", format = "%d" }, { key = "bytes", title = "bytes", format = report.count, align = "right" },
    { key = "share", title = "of the file", format = "%.1f %%", align = "right" },
    { key = "note", title = "" },
  }
  for _, g in ipairs(grouped(self.plan)) do
    t:add { role = g.role, to = g.to, layers = account.ranges(g.layers), n = g.n, bytes = g.bytes,
      share = 100 * g.bytes / self.plan.bytes,
      note = g.fell_back > 0 and ("%d fell back: rows do not fill blocks"):format(g.fell_back) or nil }
  end
  return t
end

local function mix_lines(self, add)
  add("%s: %s", self.mix.name, self.mix_note)
  add("a mix of llama.cpp: a base type, and others where errors hurt more")
  add("")
  for line in tostring(recipes.new(self.mix.name)):gmatch "[^\n]+" do
    if line:find "^  " then add("%s", line) end
  end
  if self.mix.base and layouts.of[self.mix.base] and not self.type then
    add("")
    add("most tensors: %s (%s)", self.mix.base, layouts.of[self.mix.base].note)
  end
end

--- Everything as text.
---
---     print(wane.explain("q4_K"):text(80))
---@param room? integer  columns of the terminal: tables leave out what does not fit
---@return string
---@error none
function Explanation:text(room)
  local lines = {}
  local function add(fmt, ...)
    local line = fmt:format(...)
    lines[#lines + 1] = report.wrap(line, room, line:match "^%s*" .. "  ")
  end
  local function draw(fields)
    for _, line in ipairs(layouts.draw(fields, room)) do lines[#lines + 1] = line end
  end
  if self.type then type_lines(self, add, draw) end
  if self.mix then
    if self.type then add("") end
    mix_lines(self, add)
  end
  if self.plan then
    add("")
    add("in %s:", report.printable(self.file))
    lines[#lines + 1] = self:table():text(room)
    add("%s, %.2f bits per weight", report.bytes(self.plan.bytes), self.plan.bpw)
    for _, w in ipairs(self.plan.warnings) do add("warning: %s", w) end
  end
  return table.concat(lines, "\n")
end

function Explanation:__tostring() return self:text() end

--- Raw facts.
---
---     print(#wane.explain("q4_K"):json() > 10)   --> true
---@error none
function Explanation:json()
  local o = { name = self.name, kind = self.kind, type = self.type, note = self.note, block = self.block,
    bytes = self.bytes, bits_per_weight = self.bits_per_weight, formula = self.formula, fields = self.fields,
    mix = self.mix and { name = self.mix.name, base = self.mix.base, note = self.mix.note, id = self.mix.id } }
  if self.plan then
    o.bpw, o.tensors = self.plan.bpw, {}
    for i, d in ipairs(self.plan.tensors) do
      o.tensors[i] = { name = d.name, type = d.to, bytes = d.bytes, reason = d.reason }
    end
  end
  return report.json(o)
end

return explain
