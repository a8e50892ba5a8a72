--- Chat templates: arithmetic and the text of numbers, as Python has them.
local M = {}

local V = require "wane.template.value"
local big = require "wane.template.big"
local bad, kind = V.bad, V.kind

local EXACT = 2 ^ 53

local function float(n) return { k = "float", n = n } end
M.float = float

-- ---- text -----------------------------------------------------------------------

--- %g and the like, whatever the locale writes for a point.
local function print_number(format, n) return (format:format(n):gsub(",", ".")) end
M.print_number = print_number

--- %.Nf with ties to even, which not every Lua does.
function M.fixed(x, digits)
  local y = math.abs(x) * 2 ^ (digits + 1)
  local twice = digits < 20 and y % 2 == 1 and y * 5 ^ digits or EXACT
  if twice >= EXACT then return print_number(("%%.%df"):format(digits), x) end
  local n = (twice - 1) / 2
  if n % 2 == 1 then n = n + 1 end
  local s = ("%.0f"):format(n)
  if #s <= digits then s = ("0"):rep(digits + 1 - #s) .. s end
  return (x < 0 and "-" or "") .. s:sub(1, #s - digits) .. (digits > 0 and "." .. s:sub(#s - digits + 1) or "")
end

--- Shortest digits that read back as x (positive, finite): digits and the
--- decimal exponent of the first one.
local function shortest(x)
  for precision = 1, 17 do
    local s = print_number("%." .. (precision - 1) .. "e", x)
    if precision == 17 or tonumber(s) == x then
      local digits, exponent = s:match "^([%d.]+)e([+-]%d+)$"
      return digits:gsub("%.", ""):gsub("0+$", ""), tonumber(exponent)
    end
  end
end

--- repr of a float.
function M.repr(x)
  if x ~= x then return "nan" end
  if x == math.huge then return "inf" end
  if x == -math.huge then return "-inf" end
  if x == 0 then return 1 / x < 0 and "-0.0" or "0.0" end
  local sign = x < 0 and "-" or ""
  local digits, e = shortest(math.abs(x))
  if digits == "" then digits = "0" end
  if e < -4 or e >= 16 then
    local mantissa = #digits > 1 and digits:sub(1, 1) .. "." .. digits:sub(2) or digits
    return ("%s%se%s%02d"):format(sign, mantissa, e < 0 and "-" or "+", math.abs(e))
  end
  if e < 0 then return sign .. "0." .. ("0"):rep(-e - 1) .. digits end
  if #digits <= e + 1 then return sign .. digits .. ("0"):rep(e + 1 - #digits) .. ".0" end
  return sign .. digits:sub(1, e + 1) .. "." .. digits:sub(e + 2)
end

--- Text of an integer or float value.
function M.text(v)
  if kind(v) == "float" then return M.repr(v.n) end
  return big.text(V.int(v))
end

-- ---- reading --------------------------------------------------------------------

--- float(text), or nil.
function M.read_float(s)
  local first, last = require("wane.template.unicode").strip_range(s)
  s = s:sub(first, last):lower()
  if s:find "__" or s:find "^_" or s:find "_$" or s:find "_[^0-9]" or s:find "[^0-9]_" then return nil end
  s = s:gsub("_", "")
  local sign, word = s:match "^([+-]?)([a-z]+)$"
  if word == "inf" or word == "infinity" then return sign == "-" and -math.huge or math.huge end
  if word == "nan" then return 0 / 0 end
  if not (s:find "^[+-]?%d+%.?%d*$" or s:find "^[+-]?%.%d+$" or s:find "^[+-]?%d+%.?%d*e[+-]?%d+$"
      or s:find "^[+-]?%.%d+e[+-]?%d+$") then
    return nil
  end
  local n = tonumber((s:gsub("^%+", "")))
  if not n then return nil end
  n = n + 0.0
  if n == 0 and s:sub(1, 1) == "-" then n = -0.0 end
  return n
end

--- int(text, base), or nil.
function M.read_int(s, base)
  local first, last = require("wane.template.unicode").strip_range(s)
  local sign, rest = s:sub(first, last):lower():match "^([+-]?)(.*)$"
  local prefix = ({ ["0x"] = 16, ["0o"] = 8, ["0b"] = 2 })[rest:sub(1, 2)]
  if prefix and (base == 0 or base == prefix) then
    rest, base = rest:sub(3):gsub("^_", ""), prefix
  elseif base == 0 then
    if rest:find "^0[0-9_]*[1-9]" then return nil end
    base = 10
  end
  if rest == "" or rest:find "__" or rest:find "^_" or rest:find "_$" then return nil end
  rest = rest:gsub("_", "")
  if rest:find "[^0-9a-z]" then return nil end
  if base == 10 then
    if rest:find "[^0-9]" then return nil end
    return big.parse(sign .. rest)
  end
  local v = 0
  for c in rest:gmatch "." do
    local d = tonumber(c, 36)
    if d >= base then return nil end
    v = M.add(M.mul(v, base), d)
  end
  return sign == "-" and M.neg(v) or v
end

-- ---- integers -------------------------------------------------------------------

--- Results below 2^53 are exact in doubles and stay there; -0 is 0.
function M.add(a, b)
  if type(a) == "number" and type(b) == "number" then
    local n = a + b
    if n < EXACT and n > -EXACT then return n == 0 and 0 or n end
  end
  return big.add(a, b)
end

function M.sub(a, b)
  if type(a) == "number" and type(b) == "number" then
    local n = a - b
    if n < EXACT and n > -EXACT then return n == 0 and 0 or n end
  end
  return big.sub(a, b)
end

function M.mul(a, b)
  if type(a) == "number" and type(b) == "number" then
    local n = (a + 0.0) * b -- in doubles also where Lua has integers, which would wrap
    if n < EXACT and n > -EXACT then return n == 0 and 0 or n end
  end
  return big.mul(a, b)
end

function M.neg(a)
  if type(a) == "number" then return a == 0 and 0 or -a end
  return big.neg(a)
end

--- Floor of a / b and the remainder.
function M.divmod(a, b)
  if b == 0 then bad "integer division or modulo by zero" end
  if type(a) == "number" and type(b) == "number" then
    local r = math.fmod(a + 0.0, b + 0.0)
    if r ~= 0 and (r < 0) ~= (b < 0) then r = r + b end
    local q = (a - r) / b
    return q == 0 and 0 or q, r == 0 and 0 or r
  end
  return big.divmod(a, b)
end

-- ---- operators on numbers -----------------------------------------------------------

local function float_mod(a, b)
  if b == 0 then bad "float modulo" end
  if a ~= a or b ~= b or a == math.huge or a == -math.huge then return 0 / 0 end
  if b == math.huge or b == -math.huge then
    return (a == 0 or (a < 0) == (b < 0)) and a or b
  end
  local r = math.fmod(a, b)
  if r ~= 0 and (r < 0) ~= (b < 0) then r = r + b end
  if r == 0 then return b < 0 and -0.0 or 0.0 end
  return r
end

local function float_floordiv(a, b)
  if b == 0 then bad "float floor division by zero" end
  local r = float_mod(a, b)
  local q = (a - r) / b
  if q ~= q then return q end
  local f = math.floor(q)
  if q - f > 0.5 then f = f + 1 end
  if f == 0 then return (a / b < 0 or 1 / (a / b) < 0) and -0.0 or 0.0 end
  return f + 0.0
end

local function int_div(a, b)
  if b == 0 then bad "division by zero" end
  if type(a) == "number" and type(b) == "number" then return float(a / b) end
  local x, y = big.float(a), big.float(b)
  if math.abs(x) < math.huge and math.abs(y) < math.huge then return float(x / y) end
  bad "integer division result too large for a float"
end

local function power(a, b)
  local x, y = V.int(a), V.int(b)
  if x and y and V.order(y, 0) >= 0 then
    if x == 0 or x == 1 then return V.order(y, 0) == 0 and 1 or x end
    if x == -1 then return select(2, M.divmod(y, 2)) == 0 and 1 or -1 end
    if type(y) == "table" or y > 20000 then big.too_large() end
    return big.pow(x, y)
  end
  x, y = V.number(a), V.number(b)
  if x == 0 and y < 0 then bad "0.0 cannot be raised to a negative power" end
  if x < 0 and y ~= math.floor(y) then bad "a complex result" end
  local n = x ^ y
  if (n == math.huge or n == -math.huge) and math.abs(x) ~= math.huge and math.abs(y) ~= math.huge then bad "result too large" end
  return float(n)
end

local INT = {
  ["+"] = M.add, ["-"] = M.sub, ["*"] = M.mul, ["/"] = int_div,
  ["//"] = function(a, b) return (M.divmod(a, b)) end,
  ["%"] = function(a, b) return select(2, M.divmod(a, b)) end,
}
local FLOAT = {
  ["+"] = function(a, b) return a + b end,
  ["-"] = function(a, b) return a - b end,
  ["*"] = function(a, b) return a * b end,
  ["/"] = function(a, b)
    if b == 0 then bad "float division by zero" end
    return a / b
  end,
  ["//"] = float_floordiv,
  ["%"] = float_mod,
}

--- a op b of two numbers (or truth values).
function M.apply(op, a, b)
  if op == "**" then return power(a, b) end
  local x, y = V.int(a), V.int(b)
  if x and y then return INT[op](x, y) end
  x, y = V.number(a), V.number(b)
  if (kind(a) ~= "float" and math.abs(x) == math.huge) or (kind(b) ~= "float" and math.abs(y) == math.huge) then
    bad "int too large to convert to float"
  end
  return float(FLOAT[op](x, y))
end

return M
