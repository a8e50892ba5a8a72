--- Ranges of numbers as grammar text: digit by digit.
---
--- A range of decimals with s places is a range of whole numbers with a point
--- before the last s digits. Where a bound has more digits than a double, or a
--- bound is open, what is written lies inside: never wider.
local M = {}

local MOST = 999999999999999 -- 15 digits: every double has them

local function digits(low, high)
  if low == high then return '"' .. low .. '"' end
  return "[" .. low .. "-" .. high .. "]"
end

-- Any digits where the template has some; its point stays.
local function free(template)
  local out, n = {}, 0
  local function flush()
    if n > 0 then out[#out + 1] = n == 1 and "[0-9]" or ("[0-9]{%d}"):format(n) end
    n = 0
  end
  for c in template:gmatch "." do
    if c == "." then
      flush()
      out[#out + 1] = '"."'
    else
      n = n + 1
    end
  end
  flush()
  return table.concat(out, " ")
end

local function fill(s, d) return (s:gsub("%d", d)) end

-- Numbers from low to high, written with the same number of digits.
local function between(low, high)
  if low == high then return low == "" and "" or '"' .. low .. '"' end
  if not low:find "[1-9]" and not high:find "[0-8]" then return free(low) end
  local a, b, rest_a, rest_b = low:sub(1, 1), high:sub(1, 1), low:sub(2), high:sub(2)
  if a == b then return '"' .. a .. '" ' .. between(rest_a, rest_b) end
  local ways, from, to = {}, a + 0, b + 0
  if rest_a:find "[1-9]" then
    ways[#ways + 1] = digits(a, a) .. " " .. between(rest_a, fill(rest_a, "9"))
    from = from + 1
  end
  local last
  if rest_b:find "[0-8]" then
    last = digits(b, b) .. " " .. between(fill(rest_b, "0"), rest_b)
    to = to - 1
  end
  if from <= to then ways[#ways + 1] = (digits(("%d"):format(from), ("%d"):format(to)) .. " " .. free(rest_a)) end
  ways[#ways + 1] = last
  return #ways == 1 and ways[1] or "(" .. table.concat(ways, " | ") .. ")"
end

-- A whole number with a point before its last `places` digits.
local function written(k, places)
  local s = ("%.0f"):format(k)
  if places == 0 then return s end
  s = ("0"):rep(places + 1 - #s) .. s
  return s:sub(1, -places - 1) .. "." .. s:sub(-places)
end

-- Alternatives for low..high, both >= 0, with that many decimal places.
local function positive(low, high, places, out)
  while low <= high do
    local n = math.max(#("%.0f"):format(low), places + 1)
    local top = math.min(high, 10 ^ n - 1)
    out[#out + 1] = between(written(low, places), written(top, places))
    low = top + 1
  end
end

-- low..high of any sign; `behind` follows all but the bound away from zero.
local function range(low, high, places, behind)
  local out = {}
  local function add(a, b, sign)
    local ways = {}
    if behind then
      if a < b then positive(a, b - 1, places, ways) end
      for i = 1, #ways do ways[i] = ways[i] .. " " .. behind end
      positive(b, b, places, ways)
    else
      positive(a, b, places, ways)
    end
    if #ways > 0 then out[#out + 1] = sign .. "(" .. table.concat(ways, " | ") .. ")" end
  end
  if low < 0 then add(math.max(1, -high), -low, '"-" ') end
  if high >= 0 then add(math.max(0, low), high, "") end
  return "(" .. table.concat(out, " | ") .. ")"
end

--- Whole numbers; nil when there is none. Bounds may be nil.
function M.integer(low, high)
  low, high = math.ceil(low or -MOST), math.floor(high or MOST)
  low, high = math.max(low, -MOST), math.min(high, MOST)
  if low > high then return nil end
  return range(low, high, 0)
end

--- Numbers; open bounds are left out. nil when no number that is easily written
--- is in the range.
function M.number(low, high, low_open, high_open)
  local places = 0
  while places <= 9 do
    local scale = 10 ^ places
    local a = math.max(low and low * scale or -MOST, -MOST)
    local b = math.min(high and high * scale or MOST, MOST)
    local from, to = math.ceil(a), math.floor(b)
    if low and low_open and from == a then from = from + 1 end
    if high and high_open and to == b then to = to - 1 end
    if from <= to and (to - from >= 10 or places >= 6 or (from == to and not low_open and not high_open and low == high)) then
      return range(from, to, places, places == 0 and '("." [0-9]{1,6})?' or "[0-9]{0,6}")
    end
    places = places + 1
  end
  return nil
end

return M
