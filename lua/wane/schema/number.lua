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

-- Never the zero below 0, which is written "-0".
local function ceil(x) return math.ceil(x) + 0 end
local function floor(x) return math.floor(x) + 0 end

--- Whole numbers; nil when there is none. Bounds may be nil.
function M.integer(low, high)
  low, high = ceil(low or -MOST), floor(high or MOST)
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
    local from, to = ceil(a), floor(b)
    if low and low_open and from == a then from = from + 1 end
    if high and high_open and to == b then to = to - 1 end
    if from <= to and (to - from >= 10 or places >= 6 or (from == to and not low_open and not high_open and low == high)) then
      return range(from, to, places, places == 0 and '("." [0-9]{1,6})?' or "[0-9]{0,6}")
    end
    places = places + 1
  end
  return nil
end

-- ---- multiples -----------------------------------------------------------------------

local MAX_LISTED, MAX_RULES = 200, 6000

-- Whole multiples of m with up to 15 digits, from low to high, both >= 0; `rule`
-- makes a rule, or gives one its body. A rule stands for how many digits follow,
-- what the number so far leaves when it is divided, and which bounds it touches.
local function long_multiples(m, low, high, rule)
  local memo, n = {}, 0
  local function from(at, length, rest, tight_low, tight_high, a, b)
    if at > length then return rest == 0 and '""' or nil end
    local key = table.concat({ length - at, rest, tight_low and "l" .. a or "", tight_high and "h" .. b or "" }, ",")
    if memo[key] ~= nil then return memo[key] or nil end
    n = n + 1
    if n > MAX_RULES then error({ multiples = true }, 0) end
    local ways, order = {}, {}
    for d = tight_low and tonumber(a:sub(at, at)) or 0, tight_high and tonumber(b:sub(at, at)) or 9 do
      local to = from(at + 1, length, (rest * 10 + d) % m, tight_low and d == tonumber(a:sub(at, at)),
        tight_high and d == tonumber(b:sub(at, at)), a, b)
      if to then
        if not ways[to] then order[#order + 1] = to end
        ways[to] = (ways[to] or "") .. d
      end
    end
    local out = {}
    for i, to in ipairs(order) do out[i] = ("[%s] %s"):format(ways[to], to) end
    memo[key] = #out > 0 and rule(table.concat(out, " | ")) or false
    return memo[key] or nil
  end
  local ways = {}
  for length = #("%.0f"):format(low), #("%.0f"):format(high) do
    local a = math.max(low, length > 1 and 10 ^ (length - 1) or 0)
    local b = math.min(high, 10 ^ length - 1)
    ways[#ways + 1] = from(1, length, 0, true, true, ("%.0f"):format(a), ("%.0f"):format(b))
  end
  if #ways == 0 then return nil end
  return "(" .. table.concat(ways, " | ") .. ")"
end

-- Multiples of m from low to high, both >= 0.
local function positive_multiples(m, low, high, rule)
  low = math.ceil(low / m) * m
  if low > high then return nil end
  if (high - low) / m < MAX_LISTED then
    local out = {}
    for v = low, high, m do out[#out + 1] = ('"%.0f"'):format(v) end
    return "(" .. table.concat(out, " | ") .. ")"
  end
  local zeros = 0 -- of a multiple of 10, and what is before them
  while m % 10 == 0 do m, zeros = m / 10, zeros + 1 end
  if zeros == 0 then return long_multiples(m, low, high, rule) end
  local scale, ways = 10 ^ zeros, {}
  if low == 0 then ways[1] = '"0"' end
  local head = positive_multiples(m, math.max(math.ceil(low / scale), 1), math.floor(high / scale), rule)
  if head then ways[#ways + 1] = ('%s "%s"'):format(head, ("0"):rep(zeros)) end
  return #ways > 0 and "(" .. table.concat(ways, " | ") .. ")" or nil
end

local function whole_multiples(m, low, high, rule)
  low, high = ceil(math.max(low or -MOST, -MOST)), floor(math.min(high or MOST, MOST))
  if low > high then return nil end
  if m == 1 then return M.integer(low, high) end
  local out = {}
  if low < 0 then
    local s = positive_multiples(m, math.max(1, -high), -low, rule)
    if s then out[1] = '"-" ' .. s end
  end
  if high >= 0 then out[#out + 1] = positive_multiples(m, math.max(0, low), high, rule) end
  return #out > 0 and "(" .. table.concat(out, " | ") .. ")" or nil
end

-- What m is in units of its last decimal place, and how many places those are.
local function decimal(m)
  for places = 0, 6 do
    local k = m * 10 ^ places
    local near = math.floor(k + 0.5)
    if near > 0 and near / 10 ^ places == m then return near, places end
  end
end

-- Multiples of k / 10^places that are not whole, between whole bounds.
local function broken_multiples(k, places, low, high)
  local part
  if k == 1 then
    part = ("[0-9]{%d}"):format(places)
  else
    local list = {}
    for v = k, 10 ^ places - 1, k do list[#list + 1] = ('"%0' .. places .. '.0f"'):format(v) end
    part = "(" .. table.concat(list, " | ") .. ")"
  end
  local ways = {}
  if low < 0 and -low - 1 >= math.max(0, -high) then
    ways[1] = '"-" ' .. M.integer(math.max(0, -high), -low - 1) .. ' "." ' .. part
  end
  if high - 1 >= math.max(0, low) then ways[#ways + 1] = M.integer(math.max(0, low), high - 1) .. ' "." ' .. part end
  return ways
end

--- Multiples of m between bounds, which may be nil: whole ones (`first`, `last`:
--- without open bounds), or all, exactly in decimals, where 1 is a multiple of m
--- and the bounds are whole and closed.
---@return string|nil expression   nil when there is none
---@return string? what   cannot be expressed
function M.multiples(m, first, last, of, rule)
  local k, places = decimal(m)
  if not k then return nil, "only supported for numbers of up to 6 decimal places" end
  local ok, whole, what = pcall(function()
    if places == 0 then return whole_multiples(k, first, last, rule) end
    if 10 ^ places % k ~= 0 then return nil, "only supported for whole numbers, and where 1 is a multiple of it" end
    return whole_multiples(1, first, last, rule)
  end)
  if not ok then
    if type(whole) ~= "table" or not whole.multiples then error(whole, 0) end
    return nil, "too many remainders"
  end
  if what or places == 0 or of.whole then return whole, what end
  local low, high = math.max(of.low or -MOST, -MOST), math.min(of.high or MOST, MOST)
  if low ~= math.floor(low) or high ~= math.floor(high) or of.low_open or of.high_open then
    return nil, "only supported with whole bounds that belong to the range"
  end
  if 10 ^ places / k > 1000 and k ~= 1 then return nil, "too many decimals" end
  local ways = broken_multiples(k, places, math.max(low, -MOST / 1e6), math.min(high, MOST / 1e6))
  table.insert(ways, 1, whole)
  return #ways > 0 and "(" .. table.concat(ways, " | ") .. ")" or nil
end

return M
