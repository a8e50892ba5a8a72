--- Chat templates: integers that a double does not hold.
---
--- Python's integers have no end, so those of a template have none either (up
--- to MAX_DIGITS). A number below 2^53 stays a Lua number; everything else is
--- { k = "big", neg, n, [1..n] }: n digits of base 10^7, lowest first, the
--- highest not zero. Every result passes `normal`, so a value has one form and
--- two big numbers are equal when their texts are.
local M = {}

local BASE, DIGITS = 1e7, 7 -- a double, also where Lua has integers, which would wrap
local EXACT = 2 ^ 53

--- Most decimal digits; Python itself refuses to print more than 4300.
M.MAX_DIGITS = 4300

--- Called when a number grows beyond MAX_DIGITS (value.lua sets it).
function M.too_large() error("number too large", 0) end

local function digits_of(s)
  local out, n = {}, 0
  for i = #s, 1, -DIGITS do
    n = n + 1
    out[n] = tonumber(s:sub(math.max(i - DIGITS + 1, 1), i)) + 0.0
  end
  return out, n
end

--- A magnitude (list of limbs, count) with a sign as an integer value.
local function normal(limbs, n, neg)
  while n > 0 and limbs[n] == 0 do
    limbs[n], n = nil, n - 1
  end
  if n > M.MAX_DIGITS / DIGITS then M.too_large() end
  if n <= 3 then
    local v = ((limbs[3] or 0) * BASE + (limbs[2] or 0)) * BASE + (limbs[1] or 0)
    if v < EXACT then return (neg and v ~= 0) and -v or v end
  end
  limbs.k, limbs.neg, limbs.n = "big", neg, n
  return limbs
end

--- The integer that a text of decimal digits (with a sign) spells.
function M.parse(s)
  local sign, digits = s:match "^([+-]?)0*([0-9]*)$"
  if #digits > M.MAX_DIGITS then M.too_large() end
  local limbs, n = digits_of(digits)
  return normal(limbs, n, sign == "-")
end

--- Limbs, count and sign of an integer value.
local function open(v)
  if type(v) == "table" then return v, v.n, v.neg end
  local limbs, n = digits_of(("%.0f"):format(math.abs(v)))
  return limbs, n, v < 0
end

--- -1, 0, 1: order of magnitudes.
local function order(a, na, b, nb)
  if na ~= nb then return na < nb and -1 or 1 end
  for i = na, 1, -1 do
    if a[i] ~= b[i] then return a[i] < b[i] and -1 or 1 end
  end
  return 0
end

local function sum(a, na, b, nb)
  local out, carry, n = {}, 0, math.max(na, nb)
  for i = 1, n do
    local d = (a[i] or 0) + (b[i] or 0) + carry
    carry = d >= BASE and 1 or 0
    out[i] = d - carry * BASE
  end
  out[n + 1] = carry
  return out, n + 1
end

--- a - b, a not smaller.
local function difference(a, na, b)
  local out, borrow = {}, 0
  for i = 1, na do
    local d = a[i] - (b[i] or 0) - borrow
    borrow = d < 0 and 1 or 0
    out[i] = d + borrow * BASE
  end
  return out, na
end

local function signed_sum(a, na, nega, b, nb, negb)
  if nega == negb then
    local out, n = sum(a, na, b, nb)
    return normal(out, n, nega)
  end
  if order(a, na, b, nb) >= 0 then
    local out, n = difference(a, na, b)
    return normal(out, n, nega)
  end
  local out, n = difference(b, nb, a)
  return normal(out, n, negb)
end

function M.add(x, y)
  local a, na, nega = open(x)
  local b, nb, negb = open(y)
  return signed_sum(a, na, nega, b, nb, negb)
end

function M.sub(x, y)
  local a, na, nega = open(x)
  local b, nb, negb = open(y)
  return signed_sum(a, na, nega, b, nb, not negb)
end

function M.neg(x)
  local a, n, neg = open(x)
  local out = {}
  for i = 1, n do out[i] = a[i] end
  return normal(out, n, not neg)
end

function M.mul(x, y)
  local a, na, nega = open(x)
  local b, nb, negb = open(y)
  if na + nb > M.MAX_DIGITS / DIGITS + 2 then M.too_large() end
  local out = {}
  for i = 1, na + nb do out[i] = 0 end
  for i = 1, na do
    local carry, d = 0, a[i]
    for j = 1, nb do
      local t = out[i + j - 1] + d * b[j] + carry
      carry = math.floor(t / BASE)
      out[i + j - 1] = t - carry * BASE
    end
    out[i + nb] = out[i + nb] + carry
  end
  return normal(out, na + nb, nega ~= negb)
end

--- Magnitudes: quotient and remainder limbs. Schoolbook; each digit of the
--- quotient by halving, which is slow and surely right.
local function divide(a, na, b, nb)
  local q, r, nr = {}, {}, 0
  for i = na, 1, -1 do
    for j = nr, 1, -1 do r[j + 1] = r[j] end
    r[1], nr = a[i], nr + 1
    while nr > 0 and r[nr] == 0 do
      r[nr], nr = nil, nr - 1
    end
    local low, high = 0, BASE - 1
    while low < high do
      local mid = math.floor((low + high + 1) / 2)
      local t, nt, carry = {}, nb, 0
      for j = 1, nb do
        local d = b[j] * mid + carry
        carry = math.floor(d / BASE)
        t[j] = d - carry * BASE
      end
      if carry > 0 then nt = nb + 1 t[nt] = carry end
      while nt > 0 and t[nt] == 0 do nt = nt - 1 end
      if order(t, nt, r, nr) <= 0 then low = mid else high = mid - 1 end
    end
    q[i] = low
    local carry, borrow = 0, 0
    for j = 1, nr do
      local d = (b[j] or 0) * low + carry
      carry = math.floor(d / BASE)
      local left = r[j] - (d - carry * BASE) - borrow
      borrow = left < 0 and 1 or 0
      r[j] = left + borrow * BASE
    end
    while nr > 0 and r[nr] == 0 do
      r[nr], nr = nil, nr - 1
    end
  end
  return q, na, r, nr
end

--- Floor of x / y and the remainder with y's sign, as Python has them; y is
--- not zero.
function M.divmod(x, y)
  local a, na, nega = open(x)
  local b, nb, negb = open(y)
  local q, nq, r, nr = divide(a, na, b, nb)
  local quotient, rest = normal(q, nq, nega ~= negb), normal(r, nr, nega)
  if rest ~= 0 and nega ~= negb then
    return M.sub(quotient, 1), M.add(rest, y)
  end
  return quotient, rest
end

--- x to the power of a whole number that is not negative.
function M.pow(x, n)
  local out = 1
  while n > 0 do
    if n % 2 == 1 then out = M.mul(out, x) end
    n = math.floor(n / 2)
    if n > 0 then x = M.mul(x, x) end
  end
  return out
end

--- -1, 0, 1.
function M.compare(x, y)
  local a, na, nega = open(x)
  local b, nb, negb = open(y)
  if nega ~= negb then return nega and -1 or 1 end
  local c = order(a, na, b, nb)
  return nega and -c or c
end

--- Decimal digits of an integer value.
function M.text(v)
  if type(v) == "number" then return ("%.0f"):format(v) end
  local out = { v.neg and "-" or "", ("%d"):format(v[v.n]) }
  for i = v.n - 1, 1, -1 do out[#out + 1] = ("%07d"):format(v[i]) end
  return table.concat(out)
end

--- The nearest double.
function M.float(v)
  if type(v) == "number" then return v end
  return tonumber(M.text(v) .. ".0")
end

--- A double without a fraction as an integer value, exactly.
function M.from_float(x)
  if x == 0 then return 0 end
  if math.abs(x) < EXACT then return x end
  return M.parse(("%.0f"):format(x))
end

return M
