--- Chat templates: the values they compute with.
---
--- They are Python's, because templates are written for jinja2; nothing of
--- Lua can be reached from a template. Values are
---   UNDEF (or another { k = "undef", why }), NONE, true, false,
---   numbers (integers below 2^53) or { k = "big" } (big.lua),
---   { k = "float", n },
---   strings, or { k = "str", s, m, safe } when they hold text that came in
---     from outside; m is true (all of it) or a list { n, flag, n, flag, ... };
---     safe: a Markup, which escapes what is joined to it,
---   { k = "bytes", s },
---   { k = "arr", n, [1..n], tuple }, { k = "range", start, step, n },
---   { k = "obj", n, keys, vals, at }  at: place of a key by its name,
---   { k = "ns" }  a namespace: like obj, but attributes may be set,
---   { k = "view", name, list }  keys(), values(), items() of an object,
---   { k = "iter", name, next }  a generator: gives its values once,
---   { k = "fn", name, call, show }, { k = "thing", show, attrs }.
--- Marks of outside text stay with it through all operations, so that the
--- tokenizer can tell a message from the template around it.
local M = {}

local big = require "wane.template.big"
local unicode = require "wane.template.unicode"

M.UNDEF = { k = "undef" }
M.NONE = { k = "none" }

--- Largest list: protects the host.
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

function big.too_large() M.fail(nil, ("an integer of more than %d digits"):format(big.MAX_DIGITS), "ELIMIT") end

--- An undefined value that tells why when it is used.
function M.undefined(why) return { k = "undef", why = why } end

--- "int", "str", "arr", ... of a value.
function M.kind(v)
  local t = type(v)
  if t == "table" then return v.k end
  return t == "number" and "int" or t == "string" and "str" or "bool"
end
local kind = M.kind

local NAMES = {
  int = "int", big = "int", float = "float", str = "str", bool = "bool", arr = "list", obj = "dict", none = "NoneType",
  undef = "Undefined", fn = "function", iter = "generator", range = "range", ns = "Namespace", bytes = "bytes",
}
--- Python's name of a value's type.
function M.type_name(v)
  local k = kind(v)
  if k == "arr" and v.tuple then return "tuple" end
  if k == "str" and type(v) == "table" and v.safe then return "Markup" end
  return NAMES[k] or v.name or k
end

--- What to say of an undefined value that is used.
function M.not_defined(v) bad((v.why or "a value") .. " is undefined") end

-- ---- strings and their marks -----------------------------------------------

--- The bytes of a string value.
function M.bytes(v) return type(v) == "string" and v or v.s end

--- A string whose text came from outside.
function M.outside(s) return s == "" and "" or { k = "str", s = s, m = true } end

--- Whether some of a value is text from outside.
function M.marked(v)
  if type(v) ~= "table" or v.k ~= "str" then return false end
  if v.m == true then return true end
  for i = 2, #v.m, 2 do
    if v.m[i] then return true end
  end
  return false
end

--- s, marked like everything that any of the given strings holds: for results
--- where text cannot be followed piece by piece.
function M.like(s, ...)
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if M.marked(v) then return M.outside(s) end
  end
  return s
end

--- A string that is markup already: what is joined to it gets escaped.
function M.markup(v)
  local s = M.bytes(v)
  return { k = "str", s = s, m = type(v) == "table" and v.m or { #s, false }, safe = true }
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
  if type(v) == "string" then return s end
  if #s ~= #v.s and v.m ~= true then return M.outside(s) end
  return { k = "str", s = s, m = v.m }
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

function M.tuple(...) return M.array({ ... }, select("#", ...), true) end

function M.object() return { k = "obj", n = 0, keys = {}, vals = {}, at = {} } end

--- A generator; `next_value` gives one value a call, nil at the end. `name`:
--- Python's name of the type, `of`: the function that made it.
function M.iter(next_value, name, of) return { k = "iter", next = next_value, name = name or "generator", of = of } end

local name_of
--- A tuple's name as a key. Names are short, so that tuples which share parts
--- cannot blow up.
local function tuple_name(v, level)
  if not v.tuple then bad "unhashable type: 'list'" end
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
  if k == "int" or k == "big" then return "n" .. big.text(v) end
  if k == "float" then
    local n = v.n
    if n == math.floor(n) and n - n == 0 then return "n" .. big.text(big.from_float(n)) end
    return "f" .. ("%.17g"):format(n)
  end
  if k == "bool" then return v and "n1" or "n0" end
  if k == "none" or k == "undef" then return k end
  if k == "arr" then return tuple_name(v, level or 0) end
  if k == "bytes" then return "b" .. v.s end
  if k == "range" then return ("r%d %d %d"):format(v.n == 0 and 0 or v.start, v.n < 2 and 0 or v.step, v.n) end
  if k == "obj" or (k == "view" and v.name ~= "dict_values") then bad(("unhashable type: '%s'"):format(M.type_name(v))) end
  return "p" .. tostring(v)
end

M.name_of = name_of

--- Whether a value can be a key.
function M.hashable(v)
  local k = kind(v)
  if k == "arr" then
    if not v.tuple then return false end
    for i = 1, math.min(v.n, 64) do
      if not M.hashable(v[i]) then return false end
    end
    return true
  end
  return k ~= "obj" and not (k == "view" and v.name ~= "dict_values")
end

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
  if i == nil then return nil end
  return obj.vals[i]
end

--- A copy of an object.
function M.copy(obj)
  local out = M.object()
  for i = 1, obj.n do M.set(out, obj.keys[i], obj.vals[i]) end
  return out
end

-- ---- going through values ------------------------------------------------------

--- The characters of a string value, marks included.
function M.characters(v)
  local s, out = M.bytes(v), {}
  local starts, n = unicode.starts(s)
  if n > M.MAX_LIST then M.fail(nil, ("a list of more than %d elements"):format(M.MAX_LIST), "ELIMIT") end
  for i = 1, n do out[i] = M.sub(v, starts[i], starts[i + 1] - 1) end
  return out, n
end

local function drained(v, st)
  local out, n = {}, 0
  while true do
    local x = v.next()
    if x == nil then return out, n end
    n = n + 1
    if n > M.MAX_LIST then M.fail(nil, ("a list of more than %d elements"):format(M.MAX_LIST), "ELIMIT") end
    out[n] = x
    st:spend(1)
  end
end

--- The elements of a value as a Lua list and their number; nil when it has
--- none (is no iterable). A generator is used up.
function M.elements(v, st)
  local k = kind(v)
  if k == "arr" then
    st:spend(1 + v.n / 4)
    return v, v.n
  end
  if k == "str" then
    st:spend(1 + #M.bytes(v) / 2)
    return M.characters(v)
  end
  if k == "obj" then return v.keys, v.n end
  if k == "undef" then
    if v.why == false then M.not_defined(v) end
    return {}, 0
  end
  if k == "view" then return v.list(st) end
  if k == "iter" then return drained(v, st) end
  if k == "range" then
    local out = {}
    st:spend(1 + v.n / 4)
    for i = 1, v.n do out[i] = v.start + (i - 1) * v.step end
    return out, v.n
  end
  if k == "bytes" then return { v.s:byte(1, -1) }, #v.s end
  return nil
end

--- The same, raising for what is no iterable.
function M.each(v, st)
  local list, n = M.elements(v, st)
  if not list then bad(("'%s' object is not iterable"):format(M.type_name(v))) end
  return list, n
end

--- The elements one by one: a function as that of a generator.
function M.cursor(v, st)
  if kind(v) == "iter" then return v.next end
  local list, n = M.each(v, st)
  local i = 0
  return function()
    i = i + 1
    if i <= n then return list[i] end
  end
end

--- len(v), or nil.
function M.length(v, st)
  local k = kind(v)
  if k == "str" then
    st:spend(1 + #M.bytes(v) / 64)
    return unicode.len(M.bytes(v))
  end
  if k == "arr" or k == "obj" or k == "range" then return v.n end
  if k == "view" then return select(2, v.list(st)) end
  if k == "undef" then return 0 end
  if k == "bytes" then return #v.s end
end

-- ---- what values mean --------------------------------------------------------

function M.truthy(v)
  local k = kind(v)
  if k == "bool" then return v end
  if k == "int" then return v ~= 0 end
  if k == "float" then return v.n ~= 0 end
  if k == "str" then return M.bytes(v) ~= "" end
  if k == "arr" or k == "obj" or k == "range" then return v.n > 0 end
  if k == "bytes" then return v.s ~= "" end
  if k == "view" then return v.of.n > 0 end
  return not (k == "none" or k == "undef")
end

--- Whether a value is a whole number, truth values included.
function M.is_int(v)
  local k = kind(v)
  return k == "int" or k == "big" or k == "bool"
end

--- An integer value of an integer or truth value, else nil.
function M.int(v)
  local k = kind(v)
  if k == "int" or k == "big" then return v end
  if k == "bool" then return v and 1 or 0 end
end

--- A small integer as a Lua number, for counts and places; raises otherwise.
--- Big ones are cut to what no list reaches.
function M.index(v)
  local n = M.int(v)
  if n == nil then bad(("'%s' object cannot be interpreted as an integer"):format(M.type_name(v))) end
  if type(n) == "table" then return n.neg and -2 ^ 53 or 2 ^ 53 end
  return n
end

--- A number as a double, or nil when it is none.
function M.number(v)
  local k = kind(v)
  if k == "float" then return v.n end
  local n = M.int(v)
  return n and big.float(n)
end

local equal

local function equal_lists(a, b, st, level)
  if a.n ~= b.n or not a.tuple ~= not b.tuple then return false end
  for i = 1, a.n do
    if not equal(a[i], b[i], st, level) then return false end
  end
  return true
end

local function equal_objects(a, b, st, level)
  if a.n ~= b.n then return false end
  for i = 1, a.n do
    local x = M.get(b, a.keys[i])
    if x == nil or not equal(a.vals[i], x, st, level) then return false end
  end
  return true
end

--- Order of two numbers: -1, 0, 1, or nil when one is not a number (NaN).
function M.order(a, b)
  local x, y = M.int(a), M.int(b)
  if x and y then
    if type(x) == "number" and type(y) == "number" then return x < y and -1 or x > y and 1 or 0 end
    return big.compare(x, y)
  end
  local p, q = M.number(a), M.number(b)
  if p ~= p or q ~= q then return nil end
  -- an integer and a float: exactly, when the float is whole
  if x and q == math.floor(q) and q - q == 0 then return M.order(x, big.from_float(q)) end
  if y and p == math.floor(p) and p - p == 0 then return M.order(big.from_float(p), y) end
  x, y = p, q
  return x < y and -1 or x > y and 1 or 0
end

--- ==; `st` pays for what is looked at.
function equal(a, b, st, level)
  st:spend(6)
  level = (level or 0) + 1
  if level > 100 then M.fail(nil, "compared values nest deeper than 100", "ELIMIT") end
  local ka, kb = kind(a), kind(b)
  if ka == "int" and kb == "int" then return a == b end
  if ka == "str" and kb == "str" then return M.bytes(a) == M.bytes(b) end
  if M.number(a) and M.number(b) then return M.order(a, b) == 0 end
  if ka == "view" and kb == "view" and a.name ~= "dict_values" then
    local x, y = M.array(M.each(a, st), a.of.n), M.array(M.each(b, st), b.of.n)
    if x.n ~= y.n then return false end
    for i = 1, x.n do
      local found = false
      for j = 1, y.n do found = found or equal(x[i], y[j], st, level) end
      if not found then return false end
    end
    return true
  end
  if ka ~= kb then return false end
  if ka == "arr" then return a == b or equal_lists(a, b, st, level) end
  if ka == "obj" then return a == b or equal_objects(a, b, st, level) end
  if ka == "range" then return a.n == b.n and (a.n == 0 or a.start == b.start and (a.n == 1 or a.step == b.step)) end
  if ka == "undef" then return true end
  if ka == "bytes" then return a.s == b.s end
  return a == b
end
M.equal = equal

return M
