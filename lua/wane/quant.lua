--- Block formats: encode weights, decode them, measure and explain what it
--- costs, and invent formats of your own.
---
---   local w = f:tensor "blk.0.attn_q.weight":read()
---   local q = assert(quant.encode("q4_K", w, { importance = imp }))
---   print(q:error(w).relative, q:bits_per_weight())
---   print(q:explain(1))
---
--- Encoders give llama.cpp's bytes. A format defined in Lua (quant.define,
--- quant.codebook, quant.uniform) can be named wherever a format is measured;
--- it cannot be written to a GGUF file, and says so.
---
--- Data that cannot be encoded (NaN, rows that do not fill blocks, a broken
--- importance vector) comes back as nil, message, code; misuse raises.
local M = {}

local core = require "wane.core"
local custom = require "wane.quant.custom"
local options = require "wane.options"
local explain = require "wane.quant.explain"

--- Facts about a format.
---@class wane.Format
---@field name string
---@field id integer?              number in files; nil for one defined in Lua
---@field block integer?           values per block; nil: a whole row
---@field bytes integer?           bytes per block
---@field class string             "plain", "quant", "act" or "custom"
---@field needs_importance boolean
---@field uses_importance boolean
---@field encodable boolean

local by_name, all = {}, {}
for i, t in ipairs(core.quant.types()) do
  by_name[t.name:lower()], all[i] = t, t
end

local function copy(t)
  local c = {}
  for key, v in pairs(t) do c[key] = v end
  return c
end

--- All formats: those of files by id, then those defined in Lua by name.
---
---   for _, t in ipairs(quant.types()) do print(t.name, t.block, t.bytes) end
---@return wane.Format[]
---@error none
function M.types()
  local list = {}
  for i, t in ipairs(all) do list[i] = copy(t) end
  for _, f in ipairs(custom.all()) do list[#list + 1] = f:facts() end
  return list
end

--- Facts about one format, or nil when there is none of this name.
---
---   print(quant.type("q4_K").bytes)   --> 144
---@param name string case does not matter
---@return wane.Format?
---@error none; an unknown name gives nil
function M.type(name)
  if type(name) ~= "string" then error("wane: quant.type wants a name, found a " .. type(name), 2) end
  local t = by_name[name:lower()]
  if t then return copy(t) end
  local f = custom.find(name)
  return f and f:facts() or nil
end

--- A float32 buffer. From nothing (zeros), a flat table of numbers, a string
--- of float32 values, or a list of rows.
---
---   local w = quant.buffer(2, 3, { 1, 2, 3, 4, 5, 6 })
---   local w = quant.buffer { { 1, 2, 3 }, { 4, 5, 6 } }
---@param rows integer|number[][]
---@param cols? integer
---@param data? number[]|string
---@return userdata|nil buffer
---@return string? message
---@return string? code
function M.buffer(rows, cols, data)
  if type(rows) ~= "table" then return core.quant.buffer(rows, cols, data) end
  local flat, n_cols = {}, type(rows[1]) == "table" and #rows[1] or 0
  for r, row in ipairs(rows) do
    if type(row) ~= "table" or #row ~= n_cols or n_cols == 0 then
      error(("wane: quant.buffer: row %d is not a list of %d numbers"):format(r, n_cols), 2)
    end
    for c = 1, n_cols do flat[#flat + 1] = row[c] end
  end
  if n_cols == 0 then error("wane: quant.buffer: want a list of rows", 2) end
  return core.quant.buffer(#rows, n_cols, flat)
end

-- ---------------------------------------------------------------------------

--- Encoded rows of one matrix.
---@class wane.Blocks
local Blocks = {}
Blocks.__index = Blocks
Blocks.__name = "wane.Blocks"

local function wrap(handle, source)
  return setmetatable({ _q = handle, _source = source }, Blocks)
end

local check_encode = options.checker("quant.encode", {
  importance = options.type("a buffer or a list of numbers", function(v) return type(v) == "userdata" or type(v) == "table" end),
  nonfinite = options.one_of { "error", "zero" }, threads = options.threads,
})

--- Encodes a buffer. Types that search for the best scale use the importance
--- of each column (a buffer or list of weights >= 0); some need it. A value
--- that is NaN or infinite is an error that names its row and column, or
--- counts as zero with nonfinite = "zero" (f32, f16 and bf16 hold infinities).
--- More threads change the time alone (formats defined in Lua use one).
---
---   local q = assert(quant.encode("q4_K", w, { importance = imp, threads = 4 }))
---@param format string|wane.CustomFormat
---@param w userdata a float32 buffer
---@param opts? { importance?: userdata|number[], nonfinite?: "error"|"zero", threads?: integer }
---@return wane.Blocks|wane.Coded|nil
---@return string? message
---@return string? code
function M.encode(format, w, opts)
  opts = check_encode(opts)
  local own = custom.find(format)
  if own then return own:encode(w, opts) end
  local q, msg, code = core.quant.encode(format, w, opts.importance, opts.nonfinite, opts.threads)
  if not q then return nil, msg, code end
  return wrap(q, w)
end

--- Blocks from their bytes, as they lie in a file.
---
---   local q = assert(quant.blocks(t.type, t:raw(), t.n_rows, t.shape[1]))
---@param format string
---@param bytes string
---@param rows integer
---@param cols integer
---@return wane.Blocks|nil
---@return string? message
---@return string? code
function M.blocks(format, bytes, rows, cols)
  if custom.find(format) then return custom.refuse(format) end
  local q, msg, code = core.quant.blocks(format, bytes, rows, cols)
  if not q then return nil, msg, code end
  return wrap(q, nil)
end

--- What is left of w after encoding and decoding: a buffer.
---
---   local seen = assert(quant.roundtrip("nf4", w))
---@param format string|wane.CustomFormat
---@param w userdata|number[]   float32 buffer, or a list of one row
---@param opts? table   as for wane.quant.encode
---@error an unknown type, a width that its blocks do not divide, importance that is missing or of another length
function M.roundtrip(format, w, opts)
  local q, msg, code = M.encode(format, w, opts)
  if not q then return nil, msg, code end
  return q:decode()
end

--- Rows first..last (all by default) as a float32 buffer.
---
---     print(b:decode()[1])
---@param first? integer
---@param last? integer
---@return userdata|nil buffer
---@return string? message
---@return string? code
function Blocks:decode(first, last) return self._q:decode(first, last) end

--- The blocks as a string, as they would lie in a file.
---
---     print(#b:bytes() * 8 / #w)   --> 4.5
---@return string
---@error after close
function Blocks:bytes() return self._q:bytes() end

---@return string
function Blocks:type() return self._q:type() end

--- rows, cols
---
---     print(b:shape())   --> 4  256
---@error after close
function Blocks:shape() return self._q:shape() end

--- Bytes of all blocks times 8 per weight.
---
---     print(b:bits_per_weight())   --> 4.5
---@return number
---@error after close
function Blocks:bits_per_weight()
  local t = by_name[self._q:type():lower()]
  return 8 * t.bytes / t.block
end

--- How far the decoded blocks are from w: rmse, max (and max_at, its flat
--- position), mean, relative (rmse over the rms of w), n values that were
--- compared, n_nonfinite that could not be; weighted (relative, with each
--- square times its column's importance) when importance is given.
---
---   local e = q:error(w)   print(e.rmse, e.max, e.relative)
---@param w userdata
---@param importance? userdata|number[]
---@return table
---@error a buffer of another shape, importance of another length; after close
function Blocks:error(w, importance) return self._q:error(w, importance) end

--- Block i (from 1, row by row) taken apart: type, block, row, column, n, sub,
--- formula, d, scales, scale_codes, levels, values, bytes; dmin, mins and
--- min_codes where the format has minima. value = scale * level + min.
---
---     local x = b:block(1)
---     print(x.formula, x.d, #x.values)
---@param i integer
---@return table
---@error a number that is none of the blocks; after close
function Blocks:block(i) return self._q:explain(i) end

--- Block i as a textbook would print it: scales, minima, and each weight's
--- level, value and error. `w` is what was encoded (known after
--- quant.encode; without it the print-out has no errors).
---
---   print(q:explain(1))
---@param i integer
---@param w? userdata
---@return string
---@error a number that is none of the blocks, a buffer of another shape; after close
function Blocks:explain(i, w)
  local rows, cols = self._q:shape()
  w = w or self._source
  if w then
    local r, c = w:shape()
    if r ~= rows or c ~= cols then
      error(("wane: explain: the buffer is %d x %d, want %d x %d"):format(r, c, rows, cols), 2)
    end
  end
  local b = self._q:explain(i)
  b.n_blocks, b.cols = #self._q, cols
  b.bits_per_weight = self:bits_per_weight()
  return explain.block(b, w)
end

--- Number of blocks (also #q, in Lua 5.4).
---
---     print(b:count())   --> 4
---@error after close
function Blocks:count() return #self._q end
Blocks.__len = Blocks.count

function Blocks:__tostring()
  local rows, cols = self._q:shape()
  return ("wane.Blocks: %s, %d x %d"):format(self._q:type(), rows, cols)
end

--- Frees the memory now. Later calls raise.
---
---     b:close()
---@error none; closing twice is fine
function Blocks:close()
  self._source = nil
  return self._q:close()
end

-- ---------------------------------------------------------------------------

--- w:error(format [, opts]) for every buffer: the error table of encoding it.
---
---   print(w:error("q4_K").relative, w:error("nf4").relative)
core.quant.buffer_methods.error = function(w, format, opts)
  local q, msg, code = M.encode(format, w, opts)
  if not q then return nil, msg, code end
  local e = q:error(w, opts and opts.importance)
  q:close()
  return e
end

--- The error table of buffer b against buffer a, as Blocks:error.
M.distance = core.quant.distance

--- Formats of one's own: see wane.quant.custom for the contract.
---
---   quant.define { name = "same", encode = function(row) return row end, decode = function(row) return row end }
---@error a definition with a key missing, unknown or of a wrong type; the name of a type of ggml
M.define = custom.define
M.undefine = custom.undefine
M.refuse = custom.refuse

--- Makers of formats and the presets nf4, fp8_e4m3, fp8_e5m2, int8 and int4.
local make = require "wane.quant.make"
M.codebook = make.codebook
M.uniform = make.uniform
M.presets = make.presets

return M
