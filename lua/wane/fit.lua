--- Will it fit? Memory of a model before it is loaded, from its header alone.
---
---     print(assert(wane.fit { model = "model.gguf", context = 32768, kv = "q8_0" }))
---     print(assert(wane.fit { model = "model-f16.gguf", ram = "16G", task = "chat" }))
---     print(assert(wane.fit { model = { params = "70B", layers = 80 }, ram = "64G" }))
---
--- The program of the model is built and planned exactly as for running, so
--- buffers and cache are the real ones; the rest is the file and a little
--- overhead. Nothing is guessed for a file; for a model that does not exist,
--- vocabulary and header are.
local levels = require "wane.fit.levels"
local measure = require "wane.fit.measure"
local options = require "wane.options"
local report = require "wane.report"
local types = require "wane.recipe.types"

local GIB = 1024 ^ 3
local QUANTIZED = 15   -- fewer bits per weight than this: no longer F16
local USEFUL = 4096    -- tokens of a context that one can work with

---@class wane.FitOptions
---@field model string|table     a file, or { params = "7B", layers =, width =, heads =, kv_heads =, ff =, vocab =, context =, experts =, used = }
---@field context? integer       tokens (the model's own)
---@field kv? string|table       type of the cache, or { k =, v = } ("f16")
---@field sequences? integer
---@field batch? integer
---@field threads? integer
---@field recipe? any            mix, type, recipe: as if shrunk so (a file as it is)
---@field ram? string|number     "16G" or bytes
---@field reserve? string|number what the system and other programs keep (2 GiB or a tenth, the larger, at most a quarter)
---@field task? string           "classification", "chat" (default), "writing" or "code"
---@field machines? (string|number)[]  sizes for the table of machines
---@field max_context? boolean   also find the longest context that fits

---@class wane.Fit
---@field name string
---@field params integer
---@field bpw number
---@field context integer
---@field need wane.Need         of the model as asked for
---@field fits boolean?          in `ram`
---@field levels table[]?        with `ram`: { name, bpw, bytes, total, fits, max_context }
---@field pick table?            one of the levels
---@field reasons string[]?
---@field partial string?         why weights are all that is known: the architecture has no page, keys, values and buffers come on top
---@field machines table[]       { ram, name, bpw, total }: the largest level on usual machines
local Fit = {}
Fit.__index = Fit

local a_size = options.type('bytes, or a text like "16G"', function(v)
  if type(v) == "number" then return v > 0 and v < math.huge end
  return type(v) == "string" and (tonumber((v:upper():match "^%s*([%d%.]+)%s*[KMGT]?I?B?%s*$")) or 0) > 0
end)
local a_cache = options.type("the name of a type, or { k =, v = } of them", function(v)
  if type(v) == "table" then return types.find(v.k) and types.find(v.v) end
  return types.find(v) ~= nil
end)
local check = options.checker("fit", {
  model = options.required(options.either("path", "table")), context = options.context, kv = a_cache,
  sequences = options.integer(1, 65536), batch = options.batch, threads = options.threads, recipe = "any", ram = a_size,
  reserve = a_size, task = options.one_of(levels.task_names), machines = options.list(a_size, 1), max_context = "boolean",
})

local units = { K = 2 ^ 10, M = 2 ^ 20, G = 2 ^ 30, T = 2 ^ 40 }

-- "16G", "16 GB", "512MiB" -> bytes.
local function bytes_of(v)
  if type(v) == "number" then return v end
  local n, unit = v:upper():match "^%s*([%d%.]+)%s*([KMGT]?)I?B?%s*$"
  return tonumber(n) * (units[unit] or 1)
end

-- Memory left for a model on a machine.
local function available(ram, reserve)
  if reserve then return ram - bytes_of(reserve) end
  return ram - math.min(ram / 4, math.max(2 * GIB, ram / 10))
end

-- The longest context, in steps of 256, that fits; nil when none does.
local function longest(m, chosen, o, room)
  if m.partial then return nil end
  local function fits(n)
    local need = m:need(chosen, { context = n, kv = o.kv, sequences = o.sequences, batch = o.batch, threads = o.threads })
    return need and need.total <= room
  end
  local lo, hi = 0, math.ceil(m.hp.context_length / 256)
  if fits(m.hp.context_length) then return m.hp.context_length end
  while hi - lo > 1 do
    local mid = math.floor((lo + hi) / 2)
    if fits(mid * 256) then lo = mid else hi = mid end
  end
  return lo > 0 and lo * 256 or nil
end

-- All levels with what they take. Mixes that this model cannot have are left
-- out. A quantized file stands first, and what is larger has nothing to give:
-- bits that are lost do not come back.
local function all_levels(m, o)
  local list, own = {}, m:types()
  local function add(name, chosen)
    local need = chosen and m:need(chosen, o)
    if not need then return end
    list[#list + 1] = { name = name, bpw = chosen.bpw, bytes = chosen.bytes, total = need.total, need = need,
      requires_imatrix = chosen.requires_imatrix or false, chosen = chosen, own = chosen == own or nil }
  end
  local quantized = not m.imagined and own.bpw < QUANTIZED
  if quantized then add("this file", own) end
  for _, name in ipairs(levels.names) do
    local chosen = m:types(name)
    if chosen and not (quantized and chosen.bytes >= own.bytes) then add(name, chosen) end
  end
  table.sort(list, function(a, b)
    if a.bytes ~= b.bytes then return a.bytes > b.bytes end
    return a.name < b.name
  end)
  return list
end

local usual = { "8G", "12G", "16G", "24G", "32G", "48G", "64G", "96G", "128G", "192G", "256G", "512G" }

-- The level to pick on each machine.
local function on_machines(self, list, o)
  local rows = {}
  for i, ram in ipairs(o.machines or usual) do
    local bytes = bytes_of(ram)
    local room = available(bytes, o.reserve)
    for _, l in ipairs(list) do l.fits = l.total <= room end
    local pick = levels.pick(list, self.task, self.params)
    rows[i] = { ram = bytes, room = room, name = pick and pick.name or "-", bpw = pick and pick.bpw,
      total = pick and pick.total }
  end
  return rows
end

-- Where the context leaves too little for the weights: what a level that the
-- task wants would fit with.
local function advice(self, m, list, o)
  local least, enough = levels.bounds(self.task, self.params)
  local short, tokens, small
  for _, l in ipairs(list) do
    if l.bpw >= least and l.bpw <= enough then
      local n = longest(m, l.chosen, o, self.room)
      if n and n < self.context and (not short or tokens < math.min(USEFUL, self.trained_context)) then short, tokens = l, n end
      local need = not small and self.kv == "f16" and m:need(l.chosen, { context = o.context, kv = "q8_0", sequences = o.sequences,
        batch = o.batch, threads = o.threads })
      if need and need.total <= self.room then small = l end
    end
  end
  local reasons = self.reasons
  if short then reasons[#reasons + 1] = ("with a context of %s tokens %s fits"):format(report.count(tokens), short.name) end
  if small then reasons[#reasons + 1] = ("with the cache in q8_0 %s fits"):format(small.name) end
end

local function judge_levels(self, m, list, o)
  self.ram = bytes_of(o.ram)
  self.room = available(self.ram, o.reserve)
  self.fits = self.need.total <= self.room
  for _, l in ipairs(list) do
    l.fits = l.total <= self.room
    if o.max_context then l.max_context = longest(m, l.chosen, o, self.room) end
  end
  self.pick, self.reasons = levels.pick(list, self.task, self.params)
  if self.pick then self.pick.max_context = longest(m, self.pick.chosen, o, self.room) end
  if not self.pick or self.pick.bpw < levels.bounds(self.task, self.params) then advice(self, m, list, o) end
end

-- What the cache takes for other types and lengths.
local function cache_rows(m, chosen, o)
  local rows, top = {}, m.hp.context_length
  if m.partial then return rows end
  local lengths, n = {}, math.min(2048, top)
  while n < top and #lengths < 6 do
    lengths[#lengths + 1] = n
    n = n * 4
  end
  lengths[#lengths + 1] = top
  for i, length in ipairs(lengths) do
    rows[i] = { context = length }
    for _, kv in ipairs { "f16", "q8_0", "q4_0" } do
      local need = m:need(chosen, { context = length, kv = kv, sequences = o.sequences, batch = o.batch, threads = o.threads })
      rows[i][kv] = need and need.cache
    end
  end
  return rows
end

local function fill(self, m, o)
  local message, code
  local chosen
  chosen, message, code = m:types(o.recipe)
  if not chosen then return nil, message, code end
  self.need, message, code = m:need(chosen, o)
  if not self.need then return nil, message, code end
  self.params, self.bpw, self.task = m:params(), chosen.bpw, o.task or "chat"
  self.context, self.sequences = o.context or m.hp.context_length, o.sequences or 1
  self.architecture, self.layers, self.trained_context = m.hp.architecture, m.hp.block_count, m.hp.context_length
  self.caches, self.partial = cache_rows(m, chosen, o), m.partial
  self.bytes_per_token = self.need.cache / self.context / self.sequences
  local list = all_levels(m, o)
  self.machines = on_machines(self, list, o)
  if o.ram then
    judge_levels(self, m, list, o)
    self.levels = list
  end
  for _, l in ipairs(list) do l.chosen = nil end
  return self
end

--- Estimates. See the head of this file.
---@param o wane.FitOptions
---@return wane.Fit|nil
---@return string? message
---@return string? code
local function fit(o)
  options.argument("fit", "options", o, "table")
  o = check(o)
  local m, message, code = measure.open(o.model)
  if not m then return nil, message, code end
  local self = setmetatable({ name = m.imagined and (o.model.name or "imagined model") or o.model,
    kv = o.kv or "f16", shape = m.imagined and m.g.shape or nil }, Fit)
  local fine, done
  fine, done, message, code = pcall(fill, self, m, o)
  m:close()
  if not fine then error(done, 0) end
  if not done then return nil, message, code end
  return self
end

-- Models that people run, by their size.
local sizes = {
  { params = "1B", layers = 16, width = 2048, heads = 32, kv_heads = 8, ff = 8192, vocab = 128256, tied = true },
  { params = "3B", layers = 28, width = 3072, heads = 24, kv_heads = 8, ff = 8192, vocab = 128256, tied = true },
  { params = "8B", layers = 32, width = 4096, heads = 32, kv_heads = 8, ff = 14336, vocab = 128256 },
  { params = "14B", layers = 48, width = 5120, heads = 40, kv_heads = 8, ff = 13824, vocab = 152064 },
  { params = "32B", layers = 64, width = 5120, heads = 40, kv_heads = 8, ff = 27648, vocab = 152064 },
  { params = "70B", layers = 80, width = 8192, heads = 64, kv_heads = 8, ff = 28672, vocab = 128256 },
}

local check_survey = options.checker("fit.survey", {
  ram = options.required(a_size), context = options.context, kv = a_cache, task = options.one_of(levels.task_names), reserve = a_size,
})

--- Which models of the usual sizes fit a machine, and at which level.
---
---     print(assert(wane.fit.survey { ram = "16G", task = "chat" }))
---@param o { ram: string|number, context?: integer, kv?: string, task?: string, reserve?: string|number }
---@return wane.Table|nil
---@return string? message
---@return string? code
local function survey(o)
  options.argument("fit.survey", "options", o, "table")
  o = check_survey(o)
  local t = report.table {
    { key = "size", title = "model" }, { key = "name", title = "level for " .. (o.task or "chat") },
    { key = "bpw", title = "bits/w", format = "%.2f" }, { key = "total", title = "needs", format = report.bytes, align = "right" },
    { key = "context", title = "longest context", format = report.count, align = "right" }, { key = "note", title = "" },
  }
  for _, size in ipairs(sizes) do
    local f, message, code = fit { model = size, ram = o.ram, context = o.context or 8192, kv = o.kv, task = o.task,
      reserve = o.reserve }
    if not f then return nil, message, code end
    local pick = f.pick
    t:add { size = size.params, name = pick and pick.name or "-", bpw = pick and pick.bpw, total = pick and pick.total,
      context = pick and pick.max_context,
      note = pick and levels.enough(pick.bpw, f.task, f.params) or not pick and "does not fit" or "" }
  end
  return t
end

-- ---- printing ------------------------------------------------------------------

local function kv_name(kv) return type(kv) == "table" and kv.k .. "/" .. kv.v or kv end

-- The parts of one estimate.
function Fit:parts_table()
  local t = report.table { { key = "part", title = "memory" }, { key = "bytes", title = "bytes", format = report.bytes,
    align = "right" }, { key = "note", title = "" } }
  local n = self.need
  if self.partial then
    t:add { part = "weights", bytes = n.weights, note = ("%.2f bits per weight"):format(self.bpw) }
    t:add { part = "overhead", bytes = n.overhead, note = "header, vocabulary" }
    t:add { part = "so far", bytes = n.total, note = self.partial .. ": keys, values and buffers come on top" }
    return t
  end
  t:add { part = "weights", bytes = n.weights, note = ("%.2f bits per weight, mapped from the file"):format(self.bpw) }
  local windows = n.cache_windowed < n.cache and (", its windows look at %s of it"):format(report.bytes(n.cache_windowed)) or ""
  t:add { part = "KV cache", bytes = n.cache, note = ("%s, %s tokens%s, %s a token%s"):format(
    kv_name(self.kv), report.count(self.context),
      self.sequences > 1 and (" x %d sequences"):format(self.sequences) or "",
      report.bytes(self.bytes_per_token), windows) }
  t:add { part = "buffers", bytes = n.buffers, note = "one step's values" }
  t:add { part = "overhead", bytes = n.overhead + n.vectors, note = "header, vocabulary, program, small tensors" }
  t:add { part = "total", bytes = n.total, note = self.ram and ("%s in %s (%s of %s kept for the system)"):format(
    self.fits and "fits" or "does not fit", report.bytes(self.ram), report.bytes(self.ram - self.room),
    report.bytes(self.ram)) or "" }
  return t
end

--- The levels as a table (with `ram`).
---
---     print(wane.fit({ model = path, ram = "1G" }):levels_table())
---@return wane.Table
---@error none
function Fit:levels_table()
  local t = report.table {
    { key = "name", title = "level" }, { key = "bpw", title = "bits/w", format = "%.2f" },
    { key = "bytes", title = "file", format = report.bytes, align = "right" },
    { key = "total", title = "needs", format = report.bytes, align = "right" },
    { key = "answer", title = "fits" },
  }
  local known = false -- of more than the level to take: option max_context
  for _, l in ipairs(self.levels or {}) do known = known or (l ~= self.pick and l.max_context ~= nil) end
  if known then t.columns[#t.columns + 1] = { key = "max_context", title = "longest context", format = report.count, align = "right" } end
  t.columns[#t.columns + 1] = { key = "note", title = "" }
  for _, l in ipairs(self.levels or {}) do
    t:add { name = l.name, bpw = l.bpw, bytes = l.bytes, total = l.total, answer = l.fits and "yes" or "no",
      max_context = l.max_context,
      note = (l == self.pick and "<- for " .. self.task or "") .. (l.requires_imatrix and " (needs an imatrix)" or "") }
  end
  return t
end

--- Usual machines and the level to pick on each; of those that are alike the
--- smallest.
---
---     print(fit:machines_table())
---@return wane.Table
---@error none
function Fit:machines_table()
  local t = report.table {
    { key = "ram", title = "machine from", format = report.bytes, align = "right" }, { key = "name", title = "level for " .. self.task },
    { key = "bpw", title = "bits/w", format = "%.2f" }, { key = "total", title = "needs", format = report.bytes, align = "right" },
  }
  local last = {}
  for _, row in ipairs(self.machines) do
    if row.name ~= last.name then t:add(row) end
    last = row
  end
  return t
end

--- The cache by length and type.
---
---     print(fit:cache_table())
---@return wane.Table
---@error none
function Fit:cache_table()
  local t = report.table { { key = "context", title = "cache for", format = report.count, align = "right" } }
  for _, kv in ipairs { "f16", "q8_0", "q4_0" } do
    t.columns[#t.columns + 1] = { key = kv, title = kv, format = report.bytes, align = "right" }
  end
  for _, row in ipairs(self.caches) do t:add(row) end
  return t
end

local function parameters(n)
  if n >= 1e9 then return ("%.2f billion"):format(n / 1e9) end
  return ("%.2f million"):format(n / 1e6)
end

--- Everything as text.
---
---     print(fit:text(80))
---@param room? integer  columns of the terminal: tables leave out what does not fit
---@return string
---@error none
function Fit:text(room)
  local head = ("%s: %s, %s parameters, %d layers, made for %s tokens"):format(report.printable(self.name), self.architecture,
    parameters(self.params), self.layers, report.count(self.trained_context))
  local parts = { report.wrap(head, room, "  "), "", self:parts_table():text(room) }
  local function add(...)
    for _, s in ipairs { ... } do parts[#parts + 1] = s end
  end
  if self.levels then
    add("", self:levels_table():text(room), "")
    add(self.pick and ("take %s (%s)"):format(self.pick.name, report.bytes(self.pick.total)) or "nothing fits")
    for _, r in ipairs(self.reasons) do add(report.wrap("  - " .. r, room, "    ")) end
    if self.pick and self.pick.max_context then
      add(("  - with it the context can be %s tokens"):format(report.count(self.pick.max_context)))
    end
  end
  if not self.partial then add("", self:cache_table():text(room)) end
  add("", self:machines_table():text(room))
  return table.concat(parts, "\n")
end

function Fit:__tostring() return self:text() end

--- Raw numbers.
---
---     print(#fit:json() > 100)   --> true
---@error none
function Fit:json()
  local o = {}
  for key, v in pairs(self) do o[key] = v end
  return report.json(o)
end

return setmetatable({ levels = levels, survey = survey }, { __call = function(_, o) return fit(o) end })
