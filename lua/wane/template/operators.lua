--- Chat templates: operators on two values, with the leniency of llama.cpp:
--- undefined and none join with strings, lists add, strings repeat.
local M = {}

local B = require "wane.template.builtins"
local V = require "wane.template.value"
local bad, bytes, kind = V.bad, V.bytes, V.kind

local function made(n, is_float)
  if is_float then return { k = "float", n = n } end
  return n >= 0 and math.floor(n) or math.ceil(n)
end

--- Remainder with the sign of a, as C's fmod.
local function fmod(a, b)
  if b == 0 then bad "remainder of a division by zero" end
  return math.fmod(a, b)
end

local ARITHMETIC = {
  ["+"] = function(a, b) return a + b end,
  ["-"] = function(a, b) return a - b end,
  ["*"] = function(a, b) return a * b end,
  ["%"] = fmod,
  ["**"] = function(a, b) return a ^ b end,
}
local ORDER = {
  ["<"] = function(a, b) return a < b end,
  [">"] = function(a, b) return a > b end,
  ["<="] = function(a, b) return a <= b end,
  [">="] = function(a, b) return a >= b end,
}

local function numbers(op, a, b, is_float)
  if ORDER[op] then return ORDER[op](a, b) end
  if op == "/" then return { k = "float", n = a / b } end
  if op == "//" then
    if b == 0 then bad "division by zero" end
    return made(math.floor(a / b), is_float)
  end
  if ARITHMETIC[op] then return made(ARITHMETIC[op](a, b), is_float) end
end

local function both_lists(st, op, a, b)
  if op ~= "+" then return nil end
  st:spend((a.n + b.n) / 4)
  local out = {}
  for i = 1, a.n do out[i] = a[i] end
  for i = 1, b.n do out[a.n + i] = b[i] end
  return V.array(out, a.n + b.n)
end

local function times(st, s, n)
  local len = #bytes(s)
  if n <= 0 or len == 0 then return "" end
  st:room(len * n)
  if type(s) == "string" then return s:rep(n) end
  return V.like(s.s:rep(n), s)
end

--- Undefined and none: only `in` and joining with a string make sense.
local function with_nothing(op, a, b)
  local ka, kb = kind(a), kind(b)
  local nothing = { undef = true, none = true }
  if kb == "undef" and (op == "in" or op == "not in") then return op == "not in" end
  if op == "+" or op == "~" then
    if nothing[ka] and kb == "str" then return b end
    if nothing[kb] and ka == "str" then return a end
  end
  local undefined = ka == "undef" or kb == "undef"
  bad(("operator %s on %s values"):format(op, undefined and "undefined" or "none"))
end

--- a op b; `st` pays for text and lists.
function M.apply(st, op, a, b)
  local ka, kb = kind(a), kind(b)
  if ka == "undef" or kb == "undef" or ka == "none" or kb == "none" then
    if not (kb == "arr" and ka == "none" and (op == "in" or op == "not in")) then return with_nothing(op, a, b) end
  end
  local x, y = V.number(a), V.number(b)
  if x and y then
    local v = numbers(op, x, y, ka == "float" or kb == "float")
    if v ~= nil then return v end
  end
  if ka == "arr" and kb == "arr" then
    local v = both_lists(st, op, a, b)
    if v then return v end
  end
  if op == "in" or op == "not in" then
    if kb == "arr" or kb == "obj" or (ka == "str" and kb == "str") then
      return B.contains(st, a, b) == (op == "in")
    end
  elseif (op == "~" or op == "+") and (ka == "str" or kb == "str") then
    return st:joined { V.text(a, st), V.text(b, st) }
  elseif op == "~" then
    return st:joined { V.text(a, st), V.text(b, st) }
  elseif op == "*" and ka == "str" and kb == "int" then
    return times(st, a, b)
  elseif op == "*" and ka == "int" and kb == "str" then
    return times(st, b, a)
  elseif ORDER[op] and ka == "str" and kb == "str" then
    local before, after = V.before(bytes(a), bytes(b)), V.before(bytes(b), bytes(a))
    return ORDER[op](after and 1 or 0, before and 1 or 0)
  end
  bad(("operator %s between %s and %s"):format(op, V.type_name(a), V.type_name(b)))
end

return M
