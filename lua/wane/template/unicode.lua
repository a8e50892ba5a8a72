--- Chat templates: strings as Python counts them, in characters.
---
--- A text is bytes; a byte that belongs to no valid UTF-8 sequence counts as
--- one character of its own. Plain ASCII, the common case, takes short cuts.
--- Case and classes of other characters come from unicode_data.lua, unpacked
--- when first asked for.
local M = {}

local data = require "wane.template.unicode_data"

local floor, char = math.floor, string.char

--- Whether all bytes are ASCII.
function M.ascii(s) return not s:find "[\128-\255]" end

--- Bytes of the character at byte i.
local function width(s, i)
  local b = s:byte(i)
  if b < 0xC2 or b > 0xF4 then return 1 end
  local n = b < 0xE0 and 2 or b < 0xF0 and 3 or 4
  local c = s:byte(i + 1)
  if not c or c < 0x80 or c > 0xBF then return 1 end
  if (b == 0xE0 and c < 0xA0) or (b == 0xED and c > 0x9F) or (b == 0xF0 and c < 0x90) or (b == 0xF4 and c > 0x8F) then
    return 1
  end
  for k = 2, n - 1 do
    c = s:byte(i + k)
    if not c or c < 0x80 or c > 0xBF then return 1 end
  end
  return n
end
M.width = width

--- Number of characters.
function M.len(s)
  if M.ascii(s) then return #s end
  local n, i = 0, 1
  while i <= #s do
    i, n = i + width(s, i), n + 1
  end
  return n
end

--- First byte of every character, and one more behind the last.
function M.starts(s)
  local out, i, n = {}, 1, 0
  while i <= #s do
    n = n + 1
    out[n] = i
    i = i + width(s, i)
  end
  out[n + 1] = #s + 1
  return out, n
end

--- Number of characters before byte i.
function M.index_of(s, i)
  return M.len(s:sub(1, i - 1))
end

--- Byte at which character number n (from 0) begins; #s + 1 behind the end.
function M.offset(s, n)
  if M.ascii(s) then return math.min(n, #s) + 1 end
  local i = 1
  while n > 0 and i <= #s do
    i, n = i + width(s, i), n - 1
  end
  return i
end

--- Code point of the character at byte i, and its width; bytes that are no
--- UTF-8 are U+DC80 and on, as Python's surrogateescape has them.
function M.code(s, i)
  local n, b = width(s, i), s:byte(i)
  if n == 1 then return b < 0x80 and b or 0xDC00 + b, 1 end
  local c = n == 2 and b % 32 or n == 3 and b % 16 or b % 8
  for k = 1, n - 1 do c = c * 64 + s:byte(i + k) % 64 end
  return c, n
end

--- UTF-8 of a code point.
function M.char(c)
  if c < 0x80 then return char(c) end
  if c < 0x800 then return char(0xC0 + floor(c / 64), 0x80 + c % 64) end
  if c < 0x10000 then return char(0xE0 + floor(c / 4096), 0x80 + floor(c / 64) % 64, 0x80 + c % 64) end
  return char(0xF0 + floor(c / 262144), 0x80 + floor(c / 4096) % 64, 0x80 + floor(c / 64) % 64, 0x80 + c % 64)
end

-- ---- classes ------------------------------------------------------------------

local unpacked = {}

--- Sorted { first, last, ... } of a class.
local function ranges(name)
  local r = unpacked[name]
  if r then return r end
  local prev = 0
  r = {}
  for item in data.classes[name]:gmatch "[^,]+" do
    local gap, more = item:match "^(%w+) ?(%w*)$"
    local first = prev + tonumber(gap, 36)
    prev = first + (more == "" and 0 or tonumber(more, 36))
    r[#r + 1] = first
    r[#r + 1] = prev
  end
  unpacked[name] = r
  return r
end

local ASCII = {
  alpha = "[A-Za-z]", decimal = "[0-9]", digit = "[0-9]", numeric = "[0-9]", upper = "[A-Z]", lower = "[a-z]",
  title = "[^%z\1-\255]", hidden = "[%z\1-\31\127]", cased = "[A-Za-z]", ignorable = "['%.:^`]",
}

--- Whether a code point is of a class: alpha, decimal, digit, numeric, upper,
--- lower, title, hidden (not printable), cased, ignorable.
function M.is(c, class)
  if c < 0x80 then return char(c):find(ASCII[class]) ~= nil end
  local r = ranges(class)
  local low, high = 1, #r / 2
  while low <= high do
    local mid = floor((low + high) / 2)
    if c < r[2 * mid - 1] then
      high = mid - 1
    elseif c > r[2 * mid] then
      low = mid + 1
    else
      return true
    end
  end
  return false
end

--- Bytes of the white space at byte i (Python's str.isspace), or nil.
function M.space(s, i)
  local b = s:byte(i)
  if not b then return nil end
  if b < 0x80 then return ((b >= 9 and b <= 13) or (b >= 28 and b <= 32)) and 1 or nil end
  if b == 0xC2 then
    local c = s:byte(i + 1)
    return (c == 0x85 or c == 0xA0) and 2 or nil
  end
  if b < 0xE1 or b > 0xE3 then return nil end
  local t = s:sub(i, i + 2)
  if t == "\225\154\128" or t == "\227\128\128" or t == "\226\129\159" then return 3 end
  return t:find "^\226\128[\128-\138\168\169\175]$" and 3 or nil
end

--- Where white space ends at the start of s, and where it begins at its end:
--- s:sub(first, last) is stripped.
function M.strip_range(s)
  local first, last = 1, #s
  while true do
    first = s:find("[^\t-\r\28- ]", first) or #s + 1
    local n = M.space(s, first)
    if not n then break end
    first = first + n
  end
  while last >= first do
    local b, n = s:byte(last), nil
    while (b >= 9 and b <= 13) or (b >= 28 and b <= 32) do
      last = last - 1
      if last < first then return first, last end
      b = s:byte(last)
    end
    for k = 1, 3 do
      if last - k + 1 >= first and M.space(s, last - k + 1) == k then n = k break end
    end
    if not n then break end
    last = last - n
  end
  return first, last
end

-- ---- case ----------------------------------------------------------------------

local maps = {}

local function map_of(name)
  local m = maps[name]
  if m then return m end
  m = {}
  for first, more, step, delta in data[name]:gmatch "(%d+) (%d+) (%d+) (%-?%d+)" do
    for k = 0, more do m[first + k * step] = tonumber(delta) end
  end
  maps[name] = m
  return m
end

--- A character in another case, as text: upper, lower, title or fold.
function M.map(c, name)
  if c < 0x80 then
    local s = char(c)
    if name == "upper" or name == "title" then return (s:gsub("[a-z]", function(x) return char(x:byte() - 32) end)) end
    return (s:gsub("[A-Z]", function(x) return char(x:byte() + 32) end))
  end
  local special = data.special[name][c]
  if special then return special end
  local delta = map_of(name)[c]
  if not delta and name == "title" then
    delta = map_of "upper"[c]
  elseif not delta and name == "fold" then
    delta = map_of "lower"[c]
  end
  return M.char(c + (delta or 0))
end

--- Whether the capital sigma at byte i ends a word, so that it becomes U+03C2.
local function final_sigma(s, i)
  local j, seen = i - 1, false
  while j >= 1 do
    while j > 1 and s:byte(j) >= 0x80 and s:byte(j) < 0xC0 do j = j - 1 end
    local c = M.code(s, j)
    if not M.is(c, "ignorable") then
      seen = M.is(c, "cased")
      break
    end
    j = j - 1
  end
  if not seen then return false end
  j = i + 2
  while j <= #s do
    local c, n = M.code(s, j)
    if not M.is(c, "ignorable") then return not M.is(c, "cased") end
    j = j + n
  end
  return true
end

--- fn(code, byte, width) of every character, joined.
function M.each(s, fn)
  local out, i = {}, 1
  while i <= #s do
    local c, n = M.code(s, i)
    out[#out + 1] = (c >= 0xDC80 and c <= 0xDCFF and n == 1) and s:sub(i, i) or fn(c, i, n)
    i = i + n
  end
  return table.concat(out)
end

--- The character at byte i in lower case, sigma by its place.
function M.lower_at(s, i, c)
  if c == 0x3A3 then return final_sigma(s, i) and "\207\130" or "\207\131" end
  return M.map(c, "lower")
end

local UPPER, LOWER = {}, {}
for i = 65, 90 do
  UPPER[char(i + 32)], LOWER[char(i)] = char(i), char(i + 32)
end

--- ASCII alone, whatever the locale thinks of letters.
local function ascii_case(s, upper)
  return (s:gsub(upper and "[a-z]" or "[A-Z]", upper and UPPER or LOWER))
end

function M.upper(s)
  if M.ascii(s) then return ascii_case(s, true) end
  return M.each(s, function(c) return M.map(c, "upper") end)
end

function M.lower(s)
  if M.ascii(s) then return ascii_case(s, false) end
  return M.each(s, function(c, i) return M.lower_at(s, i, c) end)
end

function M.fold(s)
  if M.ascii(s) then return ascii_case(s, false) end
  return M.each(s, function(c) return M.map(c, "fold") end)
end

function M.swapcase(s)
  return M.each(s, function(c, i)
    if M.is(c, "upper") then return M.lower_at(s, i, c) end
    if M.is(c, "lower") then return M.map(c, "upper") end
    return M.map(c, "upper") == M.char(c) and M.lower_at(s, i, c) or M.map(c, "upper")
  end)
end

--- First character title case, the others lower.
function M.capitalize(s)
  return M.each(s, function(c, i) return i == 1 and M.map(c, "title") or M.lower_at(s, i, c) end)
end

--- str.title: every letter behind something without case in title case.
function M.title(s)
  local cased = false
  return M.each(s, function(c, i)
    local t = cased and M.lower_at(s, i, c) or M.map(c, "title")
    cased = M.is(c, "cased")
    return t
  end)
end

return M
