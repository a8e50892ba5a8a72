--- Importance matrices: how much each column of a weight matrix matters,
-- measured as the mean square of the activations that meet it.
--
--     local im = assert(imatrix.open "imatrix.gguf")       -- or a legacy .dat
--     for _, name in ipairs(im:names()) do print(name, im:stats(name).mean) end
--     local both = assert(imatrix.merge { im, assert(imatrix.open "more.dat") })
--     assert(both:save "merged.gguf")
--
-- An entry belongs to a tensor (blk.0.ffn_down.weight) and has one vector per
-- matrix of it: one for ordinary tensors, one per expert for experts. Files
-- hold sums and counts; `values` are sums / counts, in float32 as llama.cpp
-- computes them. An expert that was never used gets importance 1 everywhere.
-- Files are read entry by entry when asked for, so that large matrices need
-- little memory.
local core = require "wane.core"
local options = require "wane.options"
local read = require "wane.imatrix.read"

local M = {}

local shown = read.shown
local ONE = "\0\0\128\63" -- 1 as a float32

---@class wane.Imatrix
---@field format string       "gguf", "dat" or "memory"
---@field path string?
---@field datasets string[]   names of the texts it was made from
---@field chunks integer      chunks of text that were used
---@field chunk_size integer  tokens in each; 0: not known (legacy files)
local Imatrix = {}
Imatrix.__index = Imatrix
Imatrix.__metatable = "wane.imatrix"

--- "wane.Imatrix (gguf, 75 entries)"
function Imatrix:__tostring() return ("wane.Imatrix (%s, %d entries)"):format(self.format, #self.order) end

---@class wane.ImportanceStats
---@field n integer
---@field min number
---@field max number
---@field mean number
---@field zeros integer     values that are 0
---@field bad integer       values that are negative or not finite

-- An entry: { n = values, matrices = , sums = function -> bytes, counts = bytes or number }
local function make(fields)
  table.sort(fields.order)
  return setmetatable(fields, Imatrix)
end

--- Opens an importance matrix in either format.
---
---     local im = assert(wane.imatrix.open "imatrix.gguf")
---     print(#im:names(), im.chunks)
---     im:close()
---@param path string
---@return wane.Imatrix?
---@return string? message
---@return string? code
function M.open(path)
  options.argument("imatrix.open", "path", path, "path")
  local g, msg, code = core.gguf.open(path)
  if g then
    local fields, why, kind = read.gguf(g, path)
    if fields then return make(fields) end
    g:close()
    return nil, why, kind
  end
  -- GGUF says no: broken, or the legacy format, which has no magic number
  if code ~= "EFORMAT" and code ~= "ETRUNC" then return nil, msg, code end
  local f = core.file.kind(path) == "file" and io.open(path, "rb")
  if not f then return nil, msg, code end
  local magic = f:read(4)
  if magic == "GGUF" then
    f:close()
    return nil, msg, code
  end
  local fields, why, kind = read.legacy(f, path)
  f:close()
  if not fields then return nil, why, kind end
  return make(fields)
end

local check_info = options.checker("imatrix.new", {
  datasets = options.list "string", chunks = options.integer(0), chunk_size = options.integer(0),
})

-- In memory -----------------------------------------------------------------------

local function packed(v, what)
  if type(v) == "table" and #v > 0 then return core.imatrix.pack(v) end
  if type(v) == "string" and #v % 4 == 0 and #v > 0 then return v end
  options.misuse(("imatrix.new: %s: want a list of numbers or packed float32, got %s"):format(what, options.shown(v)))
end

--- Makes a matrix from sums and counts (as calibration collects them), or
-- from finished values.
---
---     local im = wane.imatrix.new({ ["blk.0.attn_q.weight"] = { 1, 2, 3, 4 } }, { chunks = 1 })
---     im:close()
---@param entries table<string, table|string>  { sums =, counts = } or values, by tensor name
---@param info { datasets: string[]?, chunks: integer?, chunk_size: integer? }?
---@return wane.Imatrix
---@error an entry that is no list of numbers, packed floats or { sums =, counts = }
function M.new(entries, info)
  options.argument("imatrix.new", "entries", entries, "table")
  info = check_info(info)
  local im = {
    format = "memory", entries = {}, order = {}, datasets = info.datasets or {},
    chunks = info.chunks or 0, chunk_size = info.chunk_size or 0,
  }
  for name, e in pairs(entries) do -- make() sorts
    local sums, counts
    if type(e) == "table" and e.sums then
      sums, counts = packed(e.sums, name), packed(e.counts, name .. ".counts")
    else
      sums, counts = packed(e, name), core.imatrix.pack { 1 }
    end
    if (#sums / #counts) % 1 ~= 0 then
      error(("wane: imatrix: %s: sums do not divide by counts"):format(name), 2)
    end
    im.entries[name] = {
      n = #sums / 4, matrices = #counts / 4, counts = counts,
      sums = function() return sums end,
    }
    im.order[#im.order + 1] = name
  end
  return make(im)
end

-- Asking ----------------------------------------------------------------------------

--- Whether a value is an importance matrix.
---
---     print(wane.imatrix.is(im), wane.imatrix.is "imatrix.gguf")   --> true  false
---@param v any
---@error none
function M.is(v) return getmetatable(v) == "wane.imatrix" end

--- Names of all entries, sorted.
---
---     for _, name in ipairs(im:names()) do print(name) end
---@return string[]
---@error none
function Imatrix:names()
  local list = {}
  for i, name in ipairs(self.order) do list[i] = name end
  return list
end

--- How many values the entry of a tensor has; nil: there is none.
---
---     print(im:width "blk.0.attn_q.weight" == 256)   --> true
---@param name string
---@return integer?
---@error none; an unknown name gives nil
function Imatrix:width(name)
  options.argument("imatrix:width", "name", name, "string")
  local e = self.entries[name]
  return e and e.n
end

-- Legacy files have one count for all experts; one that was never used is all
-- zeros there. Its number: how many, and the values with ones in their place.
local function filled(values, matrices)
  local bytes, n, parts = #values / matrices, 0, {}
  for m = 1, matrices do
    local slice = values:sub((m - 1) * bytes + 1, m * bytes)
    local s = core.imatrix.stats(slice)
    if s.zeros == s.n then
      n, slice = n + 1, ONE:rep(bytes / 4)
    end
    parts[m] = slice
  end
  return n, n > 0 and table.concat(parts) or values
end

-- Sums over counts of an entry.
local function means(e)
  local sums, msg, code = e.sums()
  if not sums then return nil, msg, code end
  if e.legacy and e.counts <= 0 then return sums end
  return core.imatrix.mean(sums, e.counts)
end

-- Whether an entry has many matrices and one count for them.
local function is_folded(e, matrices)
  return e.matrices == 1 and (matrices or 1) > 1 and e.n % matrices == 0
end

--- Importance of a tensor's columns as packed float32: sums / counts. An expert
--- that was never used has ones.
---
---     local bytes = assert(im:values "blk.0.ffn_down.weight")
---@param name string
---@param matrices integer? of the tensor (1): legacy files do not say
---@return string? bytes
---@return string? message
---@return string? code
function Imatrix:values(name, matrices)
  options.argument("imatrix:values", "name", name, "string")
  if matrices ~= nil then options.argument("imatrix:values", "matrices", matrices, options.integer(1)) end
  local e = self.entries[name]
  if not e then return nil, ("no importance for %s"):format(shown(name)), "ENOENT" end
  local values, msg, code = means(e)
  if not values or not is_folded(e, matrices) then return values, msg, code end
  return (select(2, filled(values, matrices)))
end

--- How many matrices of an entry were never used.
---
---     print(im:unseen("blk.0.ffn_up_exps.weight", 128))
---@param name string
---@param matrices integer? of the tensor (1): legacy files do not say
---@return integer? n  nil: there is no such entry, or it cannot be read
---@return string? message
---@return string? code
function Imatrix:unseen(name, matrices)
  options.argument("imatrix:unseen", "name", name, "string")
  local e = self.entries[name]
  if not e then return nil, ("no importance for %s"):format(shown(name)), "ENOENT" end
  if is_folded(e, matrices) then
    local values, msg, code = means(e)
    if not values then return nil, msg, code end
    return (filled(values, matrices))
  end
  local n = 0
  for _, count in ipairs(self:counts(name)) do
    if count == 0 then n = n + 1 end
  end
  return n
end

--- The same matrix in which further tensors use entries that are there.
---
---     im = im:also { ["blk.0.ffn_up_exps.weight"] = "blk.0.ffn_gate_up_exps.weight" }
---@param map table<string, string>  tensor -> entry
---@return wane.Imatrix  shares the data; names() are as before
---@error a name that has no entry
function Imatrix:also(map)
  options.argument("imatrix:also", "map", map, "table")
  local im = {}
  for k, v in pairs(self) do im[k] = v end
  im.entries = {}
  for name, e in pairs(self.entries) do im.entries[name] = e end
  for name, from in pairs(map) do
    if not self.entries[from] then options.misuse(("imatrix:also: no entry '%s'"):format(shown(tostring(from)))) end
    im.entries[name] = self.entries[from]
  end
  return setmetatable(im, Imatrix)
end

--- Rows (tokens) that each matrix of an entry has seen: one number, or one per
-- expert. Legacy files say how many chunks, in which the tokens are unknown.
---
---     print(im:counts("blk.0.attn_q.weight")[1])
---@param name string
---@return integer[]?
---@error none; an unknown name gives nil
function Imatrix:counts(name)
  options.argument("imatrix:counts", "name", name, "string")
  local e = self.entries[name]
  if not e then return nil end
  return type(e.counts) == "number" and { e.counts } or core.imatrix.floats(e.counts)
end

--- Minimum, maximum, mean, zeros of a tensor's importance.
---
---     local s = assert(im:stats "blk.0.attn_q.weight")
---     print(s.n, s.min, s.max, s.mean, s.zeros)
---@param name string
---@return wane.ImportanceStats?
---@return string? message
---@return string? code
function Imatrix:stats(name)
  options.argument("imatrix:stats", "name", name, "string")
  local values, msg, code = self:values(name)
  if not values then return nil, msg, code end
  return core.imatrix.stats(values)
end

--- The first of `parts` that no name contains, or nil.
---
---     print(im:unmatched { "attn_q", "no_such" })   --> no_such
---@param parts string[]
---@return string?
---@error none
function Imatrix:unmatched(parts)
  options.argument("imatrix:unmatched", "parts", parts, options.list "string")
  for _, part in ipairs(parts) do
    local found = false
    for _, name in ipairs(self.order) do found = found or name:find(part, 1, true) ~= nil end
    if not found then return part end
  end
  return nil
end

--- Keeps only entries whose name contains one of `include`, or none of
-- `exclude` (plain text, as llama-quantize's --include-weights).
---
---     local attention = im:filter({ "attn" }, nil)
---@param include? string[]   parts of names: an entry needs one of them
---@param exclude? string[]   and none of these
---@return wane.Imatrix a new matrix that shares the data
---@error none
function Imatrix:filter(include, exclude)
  if include ~= nil then options.argument("imatrix:filter", "include", include, options.list "string") end
  if exclude ~= nil then options.argument("imatrix:filter", "exclude", exclude, options.list "string") end
  local im = {}
  for k, v in pairs(self) do im[k] = v end
  im.order, im.entries = {}, {}
  local function any(name, list)
    for _, part in ipairs(list) do
      if name:find(part, 1, true) then return true end
    end
    return false
  end
  for _, name in ipairs(self.order) do
    if (not include or any(name, include)) and not (exclude and any(name, exclude)) then
      im.entries[name] = self.entries[name]
      im.order[#im.order + 1] = name
    end
  end
  return setmetatable(im, Imatrix)
end

local function count_list(e)
  return type(e.counts) == "number" and { e.counts } or core.imatrix.floats(e.counts)
end

-- Counts must be finite and not negative; 0 marks an expert without data.
local function check_counts(self, name, e, unused)
  for m, count in ipairs(count_list(e)) do
    if count ~= count or count < 0 or count == math.huge then
      return nil, ("%s: entry %s: count %d is %s"):format(self.path or "imatrix", shown(name), m,
        tostring(count)), "EFORMAT"
    end
    if count == 0 then unused[name] = (unused[name] or 0) + 1 end
  end
  return true
end

--- Checks every value and names what is wrong. Also digests all of it.
---
---     print((assert(im:check())))
---@return string? digest  32 hex digits over all names and values
---@return string|table message, or on success: experts without data by entry
---@return string? code
function Imatrix:check()
  local state, unused = nil, {}
  for _, name in ipairs(self.order) do
    local e = self.entries[name]
    local ok, why, kind = check_counts(self, name, e, unused)
    if not ok then return nil, why, kind end
    local values, msg, code = self:values(name)
    if not values then return nil, msg, code end
    local s = core.imatrix.stats(values)
    if s.bad > 0 then
      return nil, ("%s: entry %s: value %d is negative or not finite"):format(
        self.path or "imatrix", shown(name), s.first_bad), "EFORMAT"
    end
    state = core.stream.digest(state, name .. "\0" .. #values .. "\0")
    state = core.stream.digest(state, values)
  end
  return core.stream.digest_hex(state or core.stream.digest(nil, "")), unused
end

--- Closes the file behind it; values cannot be read afterwards.
---
---     im:close()
---@error none; closing twice is fine
function Imatrix:close()
  if self._g then self._g:close() end
  return true
end

-- Merging and writing ------------------------------------------------------------------

-- Sums and counts of an entry in units of tokens. A legacy entry counts calls
-- of chunk_size tokens each.
local function raw(e, unit)
  local sums, msg, code = e.sums()
  if not sums then return nil, msg, code end
  if not e.legacy then return sums, e.counts end
  return core.imatrix.scale(sums, unit), core.imatrix.pack { e.counts * unit }
end

--- Adds up several matrices of the same model.
---
---     local both = assert(wane.imatrix.merge { im, im })
---@param list wane.Imatrix[]
---@return wane.Imatrix?
---@return string? message
---@return string? code
function M.merge(list)
  options.argument("imatrix.merge", "list", list, options.list("table", 1))
  local unit, entries, info = 1, {}, { datasets = {}, chunks = 0, chunk_size = 0 }
  for _, im in ipairs(list) do
    if not M.is(im) then options.misuse("imatrix.merge: list: want importance matrices, got " .. options.shown(im)) end
    if im.chunk_size > 0 then unit, info.chunk_size = im.chunk_size, im.chunk_size end
  end
  for _, im in ipairs(list) do
    info.chunks = info.chunks + im.chunks
    for _, d in ipairs(im.datasets) do info.datasets[#info.datasets + 1] = d end
    for _, name in ipairs(im.order) do
      local sums, counts, code = raw(im.entries[name], unit)
      if not sums then return nil, counts, code end
      if core.imatrix.stats(sums).bad > 0 then
        return nil, ("%s: entry %s has a value that is negative or not finite"):format(
          im.path or "imatrix", shown(name)), "EFORMAT"
      end
      local have = entries[name]
      if have and (#have.sums ~= #sums or #have.counts ~= #counts) then
        return nil, ("%s: entry %s has another shape than in the matrices before"):format(
          im.path or "imatrix", shown(name)), "EFORMAT"
      end
      entries[name] = {
        sums = have and core.imatrix.add(have.sums, sums) or sums,
        counts = have and core.imatrix.add(have.counts, counts) or counts,
      }
    end
  end
  return M.new(entries, info)
end

local function le32(v)
  v = v % 4294967296
  return string.char(v % 256, math.floor(v / 256) % 256, math.floor(v / 65536) % 256,
    math.floor(v / 16777216))
end

local function legacy_bytes(self)
  local parts = { le32(#self.order) }
  local unit = self.chunk_size > 0 and self.chunk_size or 1
  for _, name in ipairs(self.order) do
    local e = self.entries[name]
    local most = 0
    for _, c in ipairs(count_list(e)) do most = math.max(most, c) end
    local calls = e.legacy and e.counts or math.max(1, math.ceil(most / unit))
    local values, msg, code = self:values(name)
    if not values then return nil, msg, code end
    if calls > 0 then values = core.imatrix.scale(values, calls) end
    parts[#parts + 1] = le32(#name) .. name .. le32(calls) .. le32(e.n) .. values
  end
  local dataset = self.datasets[#self.datasets] or ""
  parts[#parts + 1] = le32(self.chunks) .. le32(#dataset) .. dataset
  return table.concat(parts)
end

local function write_gguf(self, path, overwrite)
  local list = {}
  local meta, msg, code = core.gguf.meta()
  if not meta then return nil, msg, code end
  for _, e in ipairs {
    { "general.type", "string", "imatrix" }, { "imatrix.datasets", "array", self.datasets, "string" },
    { "imatrix.chunk_count", "u32", self.chunks }, { "imatrix.chunk_size", "u32", self.chunk_size },
  } do
    local ok
    ok, msg, code = meta:set(e[1], e[2], e[3], e[4])
    if not ok then return nil, msg, code end
  end
  local function shape(a, b) return b > 1 and { a, b } or { a } end
  for _, name in ipairs(self.order) do
    local e = self.entries[name]
    list[#list + 1] = { name = name .. ".in_sum2", type = "f32", shape = shape(e.n / e.matrices, e.matrices) }
    list[#list + 1] = { name = name .. ".counts", type = "f32", shape = shape(1, e.matrices) }
  end
  local layout
  layout, msg, code = core.gguf.layout(meta, list)
  meta:close()
  if not layout then return nil, msg, code end
  local w
  local inputs = self._g and { self._g } or nil
  w, msg, code = core.gguf.writer(layout, 1, path, { overwrite = overwrite, inputs = inputs })
  layout:close()
  if not w then return nil, msg, code end
  for _, name in ipairs(self.order) do
    local sums, counts, kind = raw(self.entries[name], self.chunk_size > 0 and self.chunk_size or 1)
    local ok
    if not sums then
      w:abort()
      return nil, counts, kind
    end
    ok, msg, code = w:put(sums)
    if ok then ok, msg, code = w:put(counts) end
    if not ok then
      w:abort()
      return nil, msg, code
    end
  end
  return w:commit()
end

local check_save = options.checker("imatrix:save", { format = options.one_of { "gguf", "dat" }, overwrite = "boolean" })

--- Writes the matrix; crash-safe.
---
---     assert(im:save("imatrix.dat", { overwrite = true }))
---@param path string
---@param opts { format: "gguf"|"dat"|nil, overwrite: boolean? }?
---@return true?
---@return string? message
---@return string? code
function Imatrix:save(path, opts)
  options.argument("imatrix:save", "path", path, "path")
  opts = check_save(opts)
  local format = opts.format or (path:find "%.dat$" and "dat" or "gguf")
  if format == "gguf" then return write_gguf(self, path, opts.overwrite) end
  local bytes, msg, code = legacy_bytes(self)
  if not bytes then return nil, msg, code end
  return core.file.write(path, bytes, opts.overwrite or false)
end

return M
