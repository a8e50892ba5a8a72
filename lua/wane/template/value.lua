--- Chat templates: the values they compute with.
---
--- Nothing of Lua can be reached from a template. Values are
---   UNDEF, NONE, true, false, numbers (integers),
---   strings, or { k = "str", s, m } when they hold text that came in from
---     outside; m is true (all of it) or a list { n, flag, n, flag, ... },
---   { k = "float", n }, { k = "arr", n, [1..n], tuple },
---   { k = "obj", n, keys, vals, at }  at: place of a key by its name,
---   { k = "fn", name, call, this }, { k = "kw", key, val }.
--- Marks of outside text stay with it through all operations, so that the
--- tokenizer can tell a message from the template around it.
local M = {}

M.UNDEF = { k = "undef" }
M.NONE = { k = "none" }

--- Largest list, as llama.cpp has none: protects the host.
M.MAX_LIST = 100000

--- Ends lexing, parsing or rendering. pos may be nil: filled in on the way.
function M.fail(pos, message, code)
  error({ pos = pos, message = message, code = code or "EFORMAT" }, 0)
end

--- Ends rendering because a value is of no use here.
function M.bad(message)
  M.fail(nil, message, "EDATA")
end
local bad = M.bad

--- "int", "str", "arr", ... of a value.
function M.kind(v)
  local t = type(v)
  if t == "table" then return v.k end
  return t == "number" and "int" or t == "string" and "str" or "bool"
end
local kind = M.kind

local NAMES = {
  int = "Integer", float = "Float", str = "String", bool = "Boolean", arr = "Array", obj = "Object",
  none = "None", undef = "Undefined", fn = "Function", kw = "KwArg",
}
function M.type_name(v) return NAMES[kind(v)] end

-- ---- strings and their marks -----------------------------------------------

--- The bytes of a string value.
function M.bytes(v) return type(v) == "string" and v or v.s end

--- A string whose text came from outside.
function M.outside(s) return s == "" and "" or { k = "str", s = s, m = true } end

--- s, marked like everything that any of the given strings holds: for results
--- where text cannot be followed piece by piece.
function M.like(s, ...)
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if type(v) == "table" and v.k == "str" then return M.outside(s) end
  end
  return s
end

--- Calls fn(length, flag) for each stretch of a string.
local function stretches(v, fn)
  if type(v) == "string" then return fn(#v, false) end
  if v.m == true then return fn(#v.s, true) end
  for i = 1, #v.m, 2 do fn(v.m[i], v.m[i + 1]) end
end

--- A string value from text and a list of { n, flag, ... }.
local function with_marks(s, m)
  local out = {}
  for i = 1, #m, 2 do
    if m[i] > 0 then
      if #out > 0 and out[#out] == m[i + 1] then
        out[#out - 1] = out[#out - 1] + m[i]
      else
        out[#out + 1], out[#out + 2] = m[i], m[i + 1]
      end
    end
  end
  if #out == 0 or (#out == 2 and not out[2]) then return s end
  return { k = "str", s = s, m = #out == 2 or out }
end

--- The strings of a list in one.
---@param list table string values
---@return any
function M.concat(list)
  local text, marks, plain = {}, {}, true
  for i = 1, #list do
    local v = list[i]
    text[i] = M.bytes(v)
    plain = plain and type(v) == "string"
  end
  if plain then return table.concat(text) end
  for i = 1, #list do
    stretches(list[i], function(n, flag)
      marks[#marks + 1] = n
      marks[#marks + 1] = flag
    end)
  end
  return with_marks(table.concat(text), marks)
end

--- Whether text a sorts before b: by bytes, in every locale.
function M.before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

--- Bytes i to j of a string value, marks included.
function M.sub(v, i, j)
  if type(v) == "string" then return v:sub(i, j) end
  if v.m == true then return M.outside(v.s:sub(i, j)) end
  local marks, at = {}, 0
  stretches(v, function(n, flag)
    local from, to = math.max(i, at + 1), math.min(j, at + n)
    if from <= to then
      marks[#marks + 1] = to - from + 1
      marks[#marks + 1] = flag
    end
    at = at + n
  end)
  return with_marks(v.s:sub(i, j), marks)
end

--- Another text of the same length under the same marks.
function M.recased(v, s)
  return type(v) == "string" and s or { k = "str", s = s, m = v.m }
end

--- { { text = , input = }, ... } of a string value.
function M.parts(v)
  local out, at = {}, 0
  local s = M.bytes(v)
  stretches(v, function(n, flag)
    if n > 0 then out[#out + 1] = { text = s:sub(at + 1, at + n), input = flag } end
    at = at + n
  end)
  return out
end

-- ---- lists and objects -------------------------------------------------------

--- A list of the n values in t (t is kept).
function M.array(t, n, tuple)
  if n > M.MAX_LIST then M.fail(nil, ("a list of more than %d elements"):format(M.MAX_LIST), "ELIMIT") end
  t.k, t.n, t.tuple = "arr", n, tuple
  return t
end

function M.push(list, v)
  if list.tuple then bad "a tuple cannot change" end
  if list.n >= M.MAX_LIST then M.fail(nil, ("a list of more than %d elements"):format(M.MAX_LIST), "ELIMIT") end
  list.n = list.n + 1
  list[list.n] = v
end

function M.object() return { k = "obj", n = 0, keys = {}, vals = {}, at = {} } end

local name_of
--- A list's name as a key; raises when some element is none. Names are short,
--- so that lists which share parts cannot blow up.
local function tuple_name(v, level)
  if not v.tuple then bad "a list cannot be a key" end
  if level > 8 then M.fail(nil, "a key nests deeper than 8", "ELIMIT") end
  local out, n = {}, 0
  for i = 1, v.n do
    local s = name_of(v[i], level + 1)
    out[i] = #s .. ":" .. s
    n = n + #out[i]
    if n > 65536 then M.fail(nil, "a key of more than 64 KiB", "ELIMIT") end
  end
  return "t" .. table.concat(out)
end

--- What tells keys apart: equal keys have equal names.
function name_of(v, level)
  local k = kind(v)
  if k == "str" then return "s" .. M.bytes(v) end
  if k == "int" then return "n" .. ("%.17g"):format(v) end
  if k == "float" then return "n" .. ("%.17g"):format(v.n) end
  if k == "bool" then return v and "n1" or "n0" end
  if k == "none" then return "none" end
  if k == "arr" then return tuple_name(v, level or 0) end
  bad(M.type_name(v) .. " cannot be a key")
end

M.name_of = name_of

function M.set(obj, key, val)
  local name = name_of(key)
  local i = obj.at[name]
  if not i then
    if obj.n >= M.MAX_LIST then M.fail(nil, ("an object of more than %d keys"):format(M.MAX_LIST), "ELIMIT") end
    i = obj.n + 1
    obj.n, obj.at[name], obj.keys[i] = i, i, key
  end
  obj.vals[i] = val
end

--- The value of a key, or nil.
function M.get(obj, key)
  local i = obj.at[name_of(key)]
  return i and obj.vals[i]
end

-- ---- what values mean --------------------------------------------------------

function M.truthy(v)
  local k = kind(v)
  if k == "bool" then return v end
  if k == "int" then return v ~= 0 end
  if k == "float" then return v.n ~= 0 end
  if k == "str" then return M.bytes(v) ~= "" end
  if k == "arr" or k == "obj" then return v.n > 0 end
  if k == "none" or k == "undef" then return false end
  bad(M.type_name(v) .. " has no truth value")
end

--- A number for arithmetic, or nil.
function M.number(v)
  local k = kind(v)
  return k == "int" and v or k == "float" and v.n or nil
end

--- What == compares of numbers and booleans.
local function numeric(v)
  if type(v) == "boolean" then return v and 1 or 0 end
  return M.number(v)
end

local equal
local function equal_lists(a, b, st)
  if a.n ~= b.n or not a.tuple ~= not b.tuple then return false end
  for i = 1, a.n do
    local x, y = a[i], b[i]
    local kx, ky = kind(x), kind(y)
    -- as llama.cpp: what can change inside is never equal
    if kx == "obj" or ky == "obj" or (kx == "arr" and not x.tuple) or kx == "undef" then return false end
    if not equal(x, y, st) then return false end
  end
  return true
end

local function equal_objects(a, b, st)
  if a.n ~= b.n then return false end
  for i = 1, a.n do
    local x = a.vals[i]
    local k = kind(x)
    if k == "obj" or (k == "arr" and not x.tuple) or k == "undef" then return false end
    if not (equal(a.keys[i], b.keys[i], st) and equal(x, b.vals[i], st)) then return false end
  end
  return true
end

--- ==; `st` pays for what is looked at.
function equal(a, b, st)
  st:spend(4)
  local x, y = numeric(a), numeric(b)
  if x or y then return x == y end
  local ka, kb = kind(a), kind(b)
  if ka ~= kb then return false end
  if ka == "str" then return M.bytes(a) == M.bytes(b) end
  if ka == "arr" then return equal_lists(a, b, st) end
  if ka == "obj" then return equal_objects(a, b, st) end
  if ka == "none" or ka == "undef" then return true end
  return a == b
end
M.equal = equal

require "wane.template.text" (M)

return M
