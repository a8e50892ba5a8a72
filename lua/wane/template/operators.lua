--- Chat templates: operators on two values, as Python has them.
local M = {}

local V = require "wane.template.value"
local format = require "wane.template.format"
local number = require "wane.template.number"
local bad, bytes, kind = V.bad, V.bytes, V.kind

local function unsupported(op, a, b)
  bad(("unsupported operand type(s) for %s: '%s' and '%s'"):format(op, V.type_name(a), V.type_name(b)))
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ["'"] = "&#39;", ['"'] = "&#34;" }

--- A string value with its markup characters escaped; marks follow.
function M.escaped(v, st)
  local s = bytes(v)
  if type(v) == "string" then return (s:gsub("[&<>'\"]", ENTITIES)) end
  local out, at = {}, 1
  while true do
    local i = s:find("[&<>'\"]", at)
    if not i then break end
    out[#out + 1] = V.sub(v, at, i - 1)
    out[#out + 1] = V.like(ENTITIES[s:sub(i, i)], V.sub(v, i, i))
    at = i + 1
  end
  out[#out + 1] = V.sub(v, at, #s)
  return st:joined(out)
end

local function is_safe(v) return type(v) == "table" and v.safe end

--- String values joined; where one is markup, the others get escaped.
function M.join_markup(st, list)
  local safe = false
  for i = 1, #list do safe = safe or is_safe(list[i]) end
  if not safe then return st:joined(list) end
  local out = {}
  for i = 1, #list do out[i] = is_safe(list[i]) and list[i] or M.escaped(list[i], st) end
  return V.markup(st:joined(out))
end

local function add(st, a, b)
  local ka, kb = kind(a), kind(b)
  if ka == "str" and kb == "str" then return M.join_markup(st, { a, b }) end
  if ka == "arr" and kb == "arr" and not a.tuple == not b.tuple then
    st:spend((a.n + b.n) / 4)
    local out = {}
    for i = 1, a.n do out[i] = a[i] end
    for i = 1, b.n do out[a.n + i] = b[i] end
    return V.array(out, a.n + b.n, a.tuple)
  end
  if ka == "bytes" and kb == "bytes" then return { k = "bytes", s = a.s .. b.s } end
  unsupported("+", a, b)
end

local function times(st, v, n)
  n = math.max(V.index(n), 0)
  if kind(v) == "arr" then
    if v.n * n > V.MAX_LIST then V.fail(nil, ("a list of more than %d elements"):format(V.MAX_LIST), "ELIMIT") end
    local out = {}
    st:spend(v.n * n / 4)
    for r = 0, n - 1 do
      for i = 1, v.n do out[r * v.n + i] = v[i] end
    end
    return V.array(out, v.n * n, v.tuple)
  end
  local s = v.k == "bytes" and v.s or bytes(v)
  if s == "" then return v end
  st:room(#s * n)
  if kind(v) == "bytes" then return { k = "bytes", s = s:rep(n) } end
  local out = V.like(s:rep(n), v)
  return is_safe(v) and V.markup(out) or out
end

local REPEATS = { str = true, arr = true, bytes = true }

local function multiply(st, a, b)
  if REPEATS[kind(a)] and V.is_int(b) then return times(st, a, b) end
  if REPEATS[kind(b)] and V.is_int(a) then return times(st, b, a) end
  unsupported("*", a, b)
end

local function difference(st, a, b)
  if kind(a) ~= "view" or a.name == "dict_values" then unsupported("-", a, b) end
  local out = V.object()
  local list, n = a.list(st)
  for i = 1, n do
    if not M.contains(st, list[i], b) then V.set(out, list[i], V.NONE) end
  end
  return V.array(out.keys, out.n)
end

--- a op b for + - * / // % **; `st` pays for text and lists.
function M.apply(st, op, a, b)
  if kind(a) == "undef" then V.not_defined(a) end
  if op == "%" and kind(a) == "str" then return format.percent(a, b, st) end
  if kind(b) == "undef" then V.not_defined(b) end
  if V.number(a) and V.number(b) then
    st:spend((type(a) == "table" or type(b) == "table") and 50 or 1)
    return number.apply(op, a, b)
  end
  if op == "+" then return add(st, a, b) end
  if op == "*" then return multiply(st, a, b) end
  if op == "-" then return difference(st, a, b) end
  unsupported(op, a, b)
end

-- ---- comparing ---------------------------------------------------------------------

--- -1, 0, 1: order of two values that have one; nil for NaN.
function M.order(st, a, b, op)
  st:spend(2)
  local ka, kb = kind(a), kind(b)
  if ka == "str" and kb == "str" then
    local x, y = bytes(a), bytes(b)
    st:spend(math.min(#x, #y) / 32)
    return x == y and 0 or V.before(x, y) and -1 or 1
  end
  if V.number(a) and V.number(b) then return V.order(a, b) end
  if ka == "undef" then V.not_defined(a) end
  if kb == "undef" then V.not_defined(b) end
  if ka == "arr" and kb == "arr" and not a.tuple == not b.tuple then
    for i = 1, math.min(a.n, b.n) do
      if not V.equal(a[i], b[i], st) then return M.order(st, a[i], b[i], op) end
    end
    return a.n < b.n and -1 or a.n > b.n and 1 or 0
  end
  if ka == "bytes" and kb == "bytes" then return a.s == b.s and 0 or V.before(a.s, b.s) and -1 or 1 end
  bad(("'%s' not supported between instances of '%s' and '%s'"):format(op or "<", V.type_name(a), V.type_name(b)))
end

--- needle in haystack
function M.contains(st, needle, haystack)
  local k = kind(haystack)
  if k == "str" then
    if kind(needle) ~= "str" then
      bad(("'in <string>' requires string as left operand, not %s"):format(V.type_name(needle)))
    end
    st:spend(1 + #bytes(haystack) / 64)
    return bytes(haystack):find(bytes(needle), 1, true) ~= nil
  end
  if k == "obj" then return V.get(haystack, needle) ~= nil end
  if k == "range" and V.is_int(needle) then
    local n = V.index(needle) - haystack.start
    return haystack.n > 0 and n % haystack.step == 0 and n / haystack.step >= 0 and n / haystack.step < haystack.n
  end
  if k == "int" or k == "bool" or k == "none" or k == "float" or k == "big" or k == "fn" or k == "ns" then
    bad(("argument of type '%s' is not iterable"):format(V.type_name(haystack)))
  end
  local next_value = V.cursor(haystack, st)
  while true do
    local v = next_value()
    if v == nil then return false end
    if V.equal(needle, v, st) then return true end
  end
end

--- a op b for == != < > <= >= in, not in.
function M.compare(st, op, a, b)
  if op == "==" then return V.equal(a, b, st) end
  if op == "!=" then return not V.equal(a, b, st) end
  if op == "in" then return M.contains(st, a, b) end
  if op == "not in" then return not M.contains(st, a, b) end
  local c = M.order(st, a, b, op)
  if c == nil then return false end
  if op == "<" then return c < 0 end
  if op == ">" then return c > 0 end
  if op == "<=" then return c <= 0 end
  return c >= 0
end

return M
