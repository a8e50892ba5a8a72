--- Lua's patterns with fuel: find, match, gmatch and gsub for code that is not
-- trusted.
--
-- The same results as those of the string library; every step of the matcher
-- burns fuel, so that no pattern can hang a host, whatever it repeats. A
-- pattern matches by backtracking: `match(s, p)` tries the rest of the pattern
-- at one place of the subject and gives the place behind it, or nil. String
-- methods are not used here: while foreign code runs they are these functions.
local M = {}

local MAX_DEPTH = 190
local MAX_CAPTURES = 32

local byte, sub = string.byte, string.sub
local L_ESC, OPEN, CLOSE, DOLLAR, DOT = 37, 40, 41, 36, 46 -- % ( ) $ .
local STAR, PLUS, MINUS, QUESTION, LEFT, RIGHT, CARET = 42, 43, 45, 63, 91, 93, 94

local function between(c, a, b) return c >= a and c <= b end

-- Members of the classes, for ASCII: the host's locale decides nothing.
local classes = {
  a = function(c) return between(c, 65, 90) or between(c, 97, 122) end,
  c = function(c) return c < 32 or c == 127 end,
  d = function(c) return between(c, 48, 57) end,
  g = function(c) return between(c, 33, 126) end,
  l = function(c) return between(c, 97, 122) end,
  p = function(c) return between(c, 33, 47) or between(c, 58, 64) or between(c, 91, 96) or between(c, 123, 126) end,
  s = function(c) return between(c, 9, 13) or c == 32 end,
  u = function(c) return between(c, 65, 90) end,
  w = function(c) return between(c, 48, 57) or between(c, 65, 90) or between(c, 97, 122) end,
  x = function(c) return between(c, 48, 57) or between(c, 65, 70) or between(c, 97, 102) end,
  z = function(c) return c == 0 end,
}

-- Is byte c in the class with letter `letter`? A capital means all others.
local function in_class(c, letter)
  local small = string.lower(string.char(letter))
  local test = classes[small]
  if not test then return c == letter end
  if letter <= 90 then return not test(c) end
  return test(c)
end

local function bad(what) error("malformed pattern (" .. what .. ")", 0) end

-- The place behind the single-character class at p.
local function class_end(m, p)
  local c = byte(m.pattern, p)
  if c == L_ESC then
    if p + 1 > #m.pattern then bad "ends with '%'" end
    return p + 2
  end
  if c ~= LEFT then return p + 1 end
  p = p + 1
  if byte(m.pattern, p) == CARET then p = p + 1 end
  repeat -- a ] at once stands for itself
    if p > #m.pattern then bad "missing ']'" end
    local here = byte(m.pattern, p)
    p = p + 1
    if here == L_ESC then p = p + 1 end
  until byte(m.pattern, p) == RIGHT
  return p + 1
end

-- Is byte c in the set from p (its [) to last (its ])?
local function in_set(m, c, p, last)
  local want = true
  if byte(m.pattern, p + 1) == CARET then want, p = false, p + 1 end
  p = p + 1
  while p < last do
    m:burn(1)
    local a = byte(m.pattern, p)
    if a == L_ESC then
      if in_class(c, byte(m.pattern, p + 1)) then return want end
      p = p + 2
    elseif byte(m.pattern, p + 1) == MINUS and p + 2 < last then
      if between(c, a, byte(m.pattern, p + 2)) then return want end
      p = p + 3
    else
      if a == c then return want end
      p = p + 1
    end
  end
  return not want
end

-- Does the class from p to just before e match at s?
local function single(m, s, p, e)
  m:burn(1)
  local c = byte(m.subject, s)
  if not c then return false end
  local a = byte(m.pattern, p)
  if a == DOT then return true end
  if a == L_ESC then return in_class(c, byte(m.pattern, p + 1)) end
  if a == LEFT then return in_set(m, c, p, e - 1) end
  return a == c
end

local match

local function balance(m, s, p)
  local open, close = byte(m.pattern, p, p + 1)
  if not close then bad "missing arguments to '%b'" end
  if byte(m.subject, s) ~= open then return nil end
  local level = 1
  while true do
    m:burn(1)
    s = s + 1
    local c = byte(m.subject, s)
    if not c then return nil end
    if c == close then
      level = level - 1
      if level == 0 then return s + 1 end
    elseif c == open then
      level = level + 1
    end
  end
end

local function longest(m, s, p, e)
  local n = 0
  while single(m, s + n, p, e) do n = n + 1 end
  while n >= 0 do
    local last = match(m, s + n, e + 1)
    if last then return last end
    n = n - 1
  end
end

local function shortest(m, s, p, e)
  while true do
    local last = match(m, s, e + 1)
    if last then return last end
    if not single(m, s, p, e) then return nil end
    s = s + 1
  end
end

local function open_capture(m, s, p, kind)
  if m.level >= MAX_CAPTURES then error("too many captures", 0) end
  m.level = m.level + 1
  m.captures[m.level] = { from = s, len = kind }
  local last = match(m, s, p)
  if not last then m.level = m.level - 1 end
  return last
end

local function close_capture(m, s, p)
  for l = m.level, 1, -1 do
    local c = m.captures[l]
    if c.len == "open" then
      c.len = s - c.from
      local last = match(m, s, p)
      if not last then c.len = "open" end
      return last
    end
  end
  bad "invalid pattern capture"
end

-- %1 to %9: the text of a finished capture again.
local function again(m, s, digit)
  local c = m.captures[digit - 48]
  if digit - 48 > m.level or not c or c.len == "open" then error("invalid capture index", 0) end
  if c.len == "place" then return nil end -- has no text
  m:burn(c.len)
  local text = sub(m.subject, c.from, c.from + c.len - 1)
  if sub(m.subject, s, s + c.len - 1) == text then return s + c.len end
end

-- %f[set]: between a byte outside of the set and one inside; beyond the ends is \0.
local function frontier(m, s, p)
  if byte(m.pattern, p) ~= LEFT then bad "missing '[' after '%f'" end
  local e = class_end(m, p)
  local before, here = byte(m.subject, s - 1) or 0, byte(m.subject, s) or 0
  if s == 1 then before = 0 end
  if not in_set(m, before, p, e - 1) and in_set(m, here, p, e - 1) then return e end
end

-- What begins with % and is more than a class: place, pattern behind; nil when
-- it is a class; false when it does not match.
local function special(m, s, p)
  local c = byte(m.pattern, p + 1)
  if c == 98 then -- b
    local behind = balance(m, s, p + 2)
    return behind or false, p + 4
  end
  if c == 102 then -- f
    local e = frontier(m, s, p + 2)
    return e and s or false, e
  end
  if c and between(c, 48, 57) then return again(m, s, c) or false, p + 2 end
end

-- One step: the place behind the whole rest, or true and where to go on.
local function step(m, s, p)
  local c = byte(m.pattern, p)
  if c == OPEN then
    if byte(m.pattern, p + 1) == CLOSE then return open_capture(m, s, p + 2, "place") end
    return open_capture(m, s, p + 1, "open")
  end
  if c == CLOSE then return close_capture(m, s, p + 1) end
  if c == DOLLAR and p == #m.pattern then return s == #m.subject + 1 and s or nil end
  if c == L_ESC then
    local at, behind = special(m, s, p)
    if at == false then return nil end
    if at then return true, at, behind end
  end
  local e = class_end(m, p)
  local suffix = byte(m.pattern, e)
  if suffix == STAR then return longest(m, s, p, e) end
  if suffix == PLUS then return single(m, s, p, e) and longest(m, s + 1, p, e) or nil end
  if suffix == MINUS then return shortest(m, s, p, e) end
  local here = single(m, s, p, e)
  if suffix == QUESTION then
    local last = here and match(m, s + 1, e + 1)
    if last then return last end
    return true, s, e + 1
  end
  if not here then return nil end
  return true, s + 1, e
end

function match(m, s, p)
  m.depth = m.depth + 1
  if m.depth > MAX_DEPTH then error("pattern too complex", 0) end
  local result
  while true do
    if p > #m.pattern then
      result = s
      break
    end
    m:burn(1)
    local go, at, behind = step(m, s, p)
    if go ~= true then
      result = go
      break
    end
    s, p = at, behind
  end
  m.depth = m.depth - 1
  return result
end

-- Capture i as a value; the whole match when there are none.
local function capture(m, i, from, to)
  if i > m.level then
    if i == 1 then return sub(m.subject, from, to - 1) end
    error("invalid capture index", 0)
  end
  local c = m.captures[i]
  if c.len == "place" then return c.from end
  if c.len == "open" then error("unfinished capture", 0) end
  return sub(m.subject, c.from, c.from + c.len - 1)
end

local function captures(m, from, to)
  local list = {}
  local n = math.max(m.level, 1)
  for i = 1, n do list[i] = capture(m, i, from, to) end
  return list, n
end

local unpack = rawget(_G, "unpack") or rawget(table, "unpack")

local function matcher(subject, pattern, burn)
  return { subject = subject, pattern = pattern, captures = {}, level = 0, depth = 0,
    burn = function(_, n) burn(n) end }
end

-- The first match from `init` on: from, behind; the matcher holds its captures.
local function first(m, init)
  local p, anchored = 1, byte(m.pattern, 1) == CARET
  if anchored then p = 2 end
  for s = init, #m.subject + 1 do
    m.level, m.depth = 0, 0
    local e = match(m, s, p)
    if e then return s, e end
    if anchored then break end
  end
end

local function text(v, i, name)
  if type(v) == "number" then v = tostring(v) end
  if type(v) ~= "string" then
    error(string.format("bad argument #%d to '%s' (string expected, got %s)", i, name, type(v)), 0)
  end
  return v
end

-- Where to begin: negative counts from the end.
local function start(init, n)
  init = tonumber(init) or 1
  if init < 0 then init = math.max(1, n + init + 1) end
  return math.max(1, math.floor(init))
end

--- The four functions; burn(n) is called with every n steps and may raise.
---@param burn fun(n: number)
---@return { find: function, match: function, gmatch: function, gsub: function }
function M.functions(burn)
  local f = {}

  function f.find(s, p, init, plain)
    s, p = text(s, 1, "find"), text(p, 2, "find")
    init = start(init, #s)
    if init > #s + 1 then return nil end
    if plain or not string.find(p, "[%^%$%*%+%?%.%(%[%%%-]") then
      burn(#s)
      return string.find(s, p, init, true)
    end
    local m = matcher(s, p, burn)
    local from, to = first(m, init)
    if not from then return nil end
    if m.level == 0 then return from, to - 1 end
    local list, n = captures(m, from, to)
    return from, to - 1, unpack(list, 1, n)
  end

  function f.match(s, p, init)
    s, p = text(s, 1, "match"), text(p, 2, "match")
    init = start(init, #s)
    if init > #s + 1 then return nil end
    local m = matcher(s, p, burn)
    local from, to = first(m, init)
    if not from then return nil end
    local list, n = captures(m, from, to)
    return unpack(list, 1, n)
  end

  function f.gmatch(s, p)
    s, p = text(s, 1, "gmatch"), text(p, 2, "gmatch")
    local at, last = 1, nil
    local m = matcher(s, p, burn)
    return function()
      while at <= #s + 1 do
        m.level, m.depth = 0, 0
        local e = match(m, at, 1)
        local from = at
        if e and e ~= last then
          at, last = e, e
          local list, n = captures(m, from, e)
          return unpack(list, 1, n)
        end
        at = at + 1
      end
    end
  end

  -- What takes the place of a match.
  local function replacement(m, r, from, to)
    local whole = sub(m.subject, from, to - 1)
    local v
    if type(r) == "string" then
      v = f.expand(m, r, from, to)
    elseif type(r) == "table" then
      v = r[capture(m, 1, from, to)]
    else
      local list, n = captures(m, from, to)
      v = r(unpack(list, 1, n))
    end
    if v == nil or v == false then return whole end
    if type(v) ~= "string" and type(v) ~= "number" then
      error(string.format("invalid replacement value (a %s)", type(v)), 0)
    end
    burn(#tostring(v))
    return tostring(v)
  end

  -- %0 to %9 in a replacement string.
  function f.expand(m, r, from, to)
    local out, at = {}, 1
    while true do
      local e = string.find(r, "%", at, true)
      if not e then break end
      out[#out + 1] = sub(r, at, e - 1)
      local c = byte(r, e + 1)
      if c == L_ESC then
        out[#out + 1] = "%"
      elseif c and between(c, 48, 57) then
        out[#out + 1] = c == 48 and sub(m.subject, from, to - 1) or tostring(capture(m, c - 48, from, to))
      else
        error("invalid use of '%' in replacement string", 0)
      end
      at = e + 2
    end
    out[#out + 1] = sub(r, at)
    return table.concat(out)
  end

  function f.gsub(s, p, r, most)
    s, p = text(s, 1, "gsub"), text(p, 2, "gsub")
    if type(r) == "number" then r = tostring(r) end
    if type(r) ~= "string" and type(r) ~= "table" and type(r) ~= "function" then
      error(string.format("bad argument #3 to 'gsub' (string/function/table expected, got %s)", type(r)), 0)
    end
    local anchored = byte(p, 1) == CARET
    local m, out, n, at, last = matcher(s, p, burn), {}, 0, 1, nil
    most = tonumber(most) or math.huge
    while n < most do
      m.level, m.depth = 0, 0
      local e = match(m, at, anchored and 2 or 1)
      if e and e ~= last then
        n = n + 1
        out[#out + 1] = replacement(m, r, at, e)
        at, last = e, e
      elseif at <= #s then
        out[#out + 1] = sub(s, at, at)
        at = at + 1
      else
        break
      end
      if anchored then break end
    end
    out[#out + 1] = sub(s, at)
    return table.concat(out), n
  end

  return { find = f.find, match = f.match, gmatch = f.gmatch, gsub = f.gsub }
end

return M
