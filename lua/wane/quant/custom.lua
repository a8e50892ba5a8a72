--- Formats defined in Lua: the registry, and what encoding with one gives.
---
--- Such a format turns each block of a row into a code (any Lua value) and
--- back. It measures like a built-in one (encode, decode, error, explain); it
--- has no bytes and no place in a GGUF file.
local M = {}

local core = require "wane.core"
local keys = require "wane.keys"
local options = require "wane.options"
local explain = require "wane.quant.explain"

--- A format of one's own.
---@class wane.CustomFormat
---@field name string
---@field block integer?   values per block; nil: the whole row is one block
---@field bits number?     bits per weight, where known
local Format = {}
Format.__index = Format
Format.__name = "wane.CustomFormat"

local registry = {} -- lower-case name -> format

local builtin = {}
for _, t in ipairs(core.quant.types()) do builtin[t.name:lower()] = true end

-- The format of this name, or the format itself; nil for anything else.
--
-- @param x any
-- @return wane.CustomFormat?
function M.find(x)
  if type(x) == "string" then return registry[x:lower()] end
  if type(x) == "table" and getmetatable(x) == Format then return x end
  return nil
end

-- All registered formats, by name.
function M.all()
  local list = {}
  for i, name in ipairs(keys.sorted(registry)) do list[i] = registry[name] end
  return list
end

-- Why a format cannot be in a file: nil, message, "EUNSUP".
-- @param format string|wane.CustomFormat
function M.refuse(format)
  local f = M.find(format)
  local why = "format '%s' is defined in Lua: it can be measured, but GGUF has no block type for it;"
    .. " write a type of wane.quant.types() that has an id"
  return nil, why:format(f and f.name or tostring(format)), "EUNSUP"
end

local fields = {
  name = options.required "string", block = options.integer(1, 16777216), encode = options.required "function",
  decode = options.required "function", bits = options.number(0), prepare = "function", explain = "function",
  uses_importance = "boolean",
}
local check_fields = options.checker("quant.define", fields)

local function check_definition(def)
  options.argument("quant.define", "definition", def, "table")
  def = check_fields(def)
  if def.name == "" or builtin[def.name:lower()] then
    options.misuse(("quant.define: option 'name': '%s' is the name of a built-in format"):format(def.name))
  end
  return def
end

---@class wane.FormatDefinition
---@field name string
---@field block integer?
---@field bits number?
---@field encode fun(row: number[], importance: number[]?, prepared: any): any
---@field decode fun(code: any, n: integer, prepared: any): number[]
---@field prepare? fun(w: userdata, importance: number[]?): any
---@field explain? fun(code: any, n: integer, prepared: any): number[]?, string[]?
---@field uses_importance boolean?

--- Defines a format and registers its name (a second definition of a name
--- replaces the first).
---
---   quant.define {
---     name = "sign", block = 32, bits = 1.5,
---     encode = function(row)            -- `block` numbers -> any value
---       local sum = 0
---       for i = 1, #row do sum = sum + math.abs(row[i]) end
---       local code = { scale = sum / #row }
---       for i = 1, #row do code[i] = row[i] < 0 and -1 or 1 end
---       return code
---     end,
---     decode = function(code, n)        -- that value -> n numbers
---       local out = {}
---       for i = 1, n do out[i] = code[i] * code.scale end
---       return out
---     end,
---   }
---   print(w:error("sign").relative)
---
--- Without `block` a whole row is one block. `bits` (per weight) is for
--- reports. encode also gets the importance of its columns (a list, or nil)
--- and what `prepare(w, importance)` returned for the whole matrix, if given;
--- decode gets that as third argument. `explain(code, n, prepared)` may return
--- levels (a list) and notes (a list of lines) for the print-out of a block.
---@param def wane.FormatDefinition
---@return wane.CustomFormat
---@error a definition with a key missing, unknown or of a wrong type; the name of a type of ggml
function M.define(def)
  def = check_definition(def)
  local f = setmetatable({}, Format)
  for key in pairs(fields) do f["_" .. key] = def[key] end
  f.name, f.block, f.bits = def.name, def.block, def.bits
  registry[def.name:lower()] = f
  return f
end

--- Forgets a name; true when it was there.
---
---     wane.quant.define { name = "mine", encode = function(v) return v end, decode = function(v) return v end }
---     print(wane.quant.undefine "mine", wane.quant.undefine "mine")   --> true  false
---@param name string
---@error none; a name that is not defined gives false
function M.undefine(name)
  local key = tostring(name):lower()
  local was = registry[key] ~= nil
  registry[key] = nil
  return was
end

--- A row of wane.quant.types() for the format.
---
---     print(nf4:facts().bits)
---@return wane.Format
---@error none
function Format:facts()
  return {
    name = self.name, block = self.block, class = "custom", bits = self.bits, encodable = true,
    needs_importance = false, uses_importance = self._uses_importance or false,
  }
end

function Format:__tostring() return "wane.CustomFormat: " .. self.name end

-- ---------------------------------------------------------------------------

--- What encoding with a format of one's own gives; methods as wane.Blocks.
---@class wane.Coded
local Coded = {}
Coded.__index = Coded
Coded.__name = "wane.Coded"

local function is_finite(x) return x == x and x ~= math.huge and x ~= -math.huge end

--- The row as a list of finite numbers; or nil, message, code.
local function row_of(w, r, policy)
  local row = w:rows(r):table()
  for c = 1, #row do
    if not is_finite(row[c]) then
      if policy ~= "zero" then
        return nil, ("row %d, column %d is %s"):format(r, c, tostring(row[c])), "EDATA"
      end
      row[c] = 0
    end
  end
  return row
end

local function slice(list, from, n)
  if from == 1 and n == #list then return list end
  local out = {}
  for i = 1, n do out[i] = list[from + i - 1] end
  return out
end

--- The importance vector as a checked list, or nil; or false, message, code.
local function importance_list(importance, cols)
  if importance == nil then return nil end
  local list = type(importance) == "table" and importance or importance:table()
  if #list ~= cols then
    local want = "wane: the importance vector has %d values, want one for each of %d columns"
    error(want:format(#list, cols), 4)
  end
  for c = 1, cols do
    local v = list[c]
    if type(v) ~= "number" or not is_finite(v) or v < 0 then
      local want = "importance %d is %s, want a finite number of at least 0"
      return false, want:format(c, tostring(v)), "EFORMAT"
    end
  end
  return list
end

--- Codes of one row, block by block.
local function encode_row(f, row, block, importance, prepared)
  local codes = {}
  for at = 1, #row, block do
    local weights = importance and slice(importance, at, block)
    local code = f._encode(slice(row, at, block), weights, prepared)
    if code == nil then error(("wane: format '%s': encode returned nil"):format(f.name), 4) end
    codes[#codes + 1] = code
  end
  return codes
end

--- Encodes a buffer; opts as for wane.quant.encode.
---
---     local coded = assert(nf4:encode(w))
---@param w userdata
---@param opts? table
---@return wane.Coded|nil
---@return string? message
---@return string? code
function Format:encode(w, opts)
  opts = opts or {}
  local rows, cols = w:shape()
  local block = self.block or cols
  if cols % block ~= 0 then
    local why = "row of %d values is no multiple of %s's block of %d"
    return nil, why:format(cols, self.name, block), "EFORMAT"
  end
  local policy = opts.nonfinite or "error"
  if policy ~= "error" and policy ~= "zero" then
    error(("wane: nonfinite is '%s', want 'error' or 'zero'"):format(tostring(policy)), 3)
  end
  local importance, msg, code = importance_list(opts.importance, cols)
  if importance == false then return nil, msg, code end
  local codes, prepared = {}, nil
  if self._prepare then prepared = self._prepare(w, importance) end
  for r = 1, rows do
    local row, why, what = row_of(w, r, policy)
    if not row then return nil, why, what end
    codes[r] = encode_row(self, row, block, importance, prepared)
  end
  return setmetatable({ _f = self, _codes = codes, _rows = rows, _cols = cols, _block = block,
    _prepared = prepared, _source = w }, Coded)
end

--- The n values of one code, checked.
local function decode_code(self, code)
  local f, n = self._f, self._block
  local values = f._decode(code, n, self._prepared)
  if type(values) ~= "table" or #values ~= n then
    error(("wane: format '%s': decode returned %s, want %d numbers"):format(f.name,
      type(values) == "table" and #values .. " values" or "a " .. type(values), n), 4)
  end
  return values
end

-- Every use of what was closed raises, as of handles.
local function open(self)
  if not self._codes then options.misuse "coded rows are closed" end
end

--- Rows first..last (all by default) as a float32 buffer.
---
---     print(#coded:decode() == #w)   --> true
---@param first? integer   from 1
---@param last? integer    (first)
---@error rows that there are not; after close; what the format's own decode raises
function Coded:decode(first, last)
  open(self)
  if first == nil then
    first, last = 1, self._rows
  else
    last = last or first
    if not (first >= 1 and last >= first and last <= self._rows) then
      error(("wane: rows %s to %s, want 1 to %d"):format(tostring(first), tostring(last), self._rows), 2)
    end
  end
  local out, msg, code = core.quant.buffer(last - first + 1, self._cols)
  if not out then return nil, msg, code end
  for r = first, last do
    local row = {}
    for _, c in ipairs(self._codes[r]) do
      for _, v in ipairs(decode_code(self, c)) do row[#row + 1] = v end
    end
    out:rows(r - first + 1):set(row)
  end
  return out
end

--- Always nil, message, "EUNSUP": there are no bytes to put into a file.
---
---     print(select(3, coded:bytes()))   --> EUNSUP
---@error after close
function Coded:bytes()
  open(self)
  return M.refuse(self._f)
end

function Coded:type() return self._f.name end
function Coded:shape() return self._rows, self._cols end
--- As defined; nil when the definition does not say.
---
---     print(coded:bits_per_weight())
---@error none
function Coded:bits_per_weight() return self._f.bits end
--- Number of blocks (also #q, in Lua 5.4).
---
---     print(coded:count() > 0)   --> true
---@error none
function Coded:count() return math.floor(self._rows * (self._cols / self._block)) end
Coded.__len = Coded.count

--- As wane.Blocks:error.
---
---     print(coded:error(w).mse)
---@param w userdata   float32 buffer of the same shape
---@param importance? number[]|userdata   one weight a column
---@error a buffer of another shape; after close; what the format's own decode raises
function Coded:error(w, importance)
  open(self)
  local decoded, msg, code = self:decode()
  if not decoded then return nil, msg, code end
  local e = core.quant.distance(w, decoded, importance)
  decoded:close()
  return e
end

--- As wane.Blocks:block: type, block, row, column, n, code, values, and
--- levels and notes when the format explains itself.
---
---     print(#coded:block(1).values)
---@param i integer   from 1, row by row
---@error a number that is none of the blocks; after close
function Coded:block(i)
  open(self)
  local per_row = self._cols / self._block
  if type(i) ~= "number" or i ~= math.floor(i) or i < 1 or i > self:count() then
    error(("wane: block %s, want an integer from 1 to %d"):format(tostring(i), self:count()), 2)
  end
  local row = math.floor((i - 1) / per_row) + 1
  local k = (i - 1) % per_row + 1
  local code = self._codes[row][k]
  local b = {
    type = self._f.name, block = i, row = row, column = (k - 1) * self._block + 1, n = self._block,
    code = code, values = decode_code(self, code),
  }
  if self._f._explain then b.levels, b.notes = self._f._explain(code, b.n, self._prepared) end
  return b
end

--- As wane.Blocks:explain.
---
---     print(coded:explain(1, w))
---@param i integer   from 1, row by row
---@param w? userdata   what it was made from (the rows given to encode, while they live)
---@error a number that is none of the blocks; after close
function Coded:explain(i, w)
  local b = self:block(i)
  b.n_blocks, b.cols, b.bits_per_weight = self:count(), self._cols, self:bits_per_weight()
  return explain.block(b, w or self._source)
end

function Coded:__tostring()
  if not self._codes then return "wane.Coded (closed)" end
  return ("wane.Coded: %s, %d x %d"):format(self._f.name, self._rows, self._cols)
end

function Coded:close()
  self._codes, self._source = nil, nil
  return true
end

return M
